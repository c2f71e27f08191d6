/* Timers on sd-event: see timers.h. Nothing here wakes the agent while nothing is due. */
#include "agent/timers.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/drive.h"
#include "common/clk.h"
#include "common/log.h"

#define EXACT_USEC 1
#define RELAXED_USEC (250 * 1000)
#define CLOCK_POLL_USEC (10 * UINT64_C(1000000)) /* only while the clock is not trusted: the kernel does not tell */
#define TIMERFD_FAR_SEC INT64_C(4000000000)

static void source_arm(struct agent *a, sd_event_source *s, int64_t at_ms, bool exact)
{
	uint64_t usec = at_ms > 0 ? (uint64_t) at_ms * 1000 : 0;
	int r;

	(void) a;
	if (at_ms == INT64_MAX) {
		r = sd_event_source_set_enabled(s, SD_EVENT_OFF);
	} else {
		r = sd_event_source_set_time_accuracy(s, exact ? EXACT_USEC : RELAXED_USEC);
		if (r >= 0)
			r = sd_event_source_set_time(s, usec);
		if (r >= 0)
			r = sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	}
	if (r < 0)
		(void) log_err(r, NULL, "arm a timer");
}

static void sources_arm(struct agent *a)
{
	int64_t wall = INT64_MAX, boot = INT64_MAX;
	bool exact = false;
	size_t i;

	for (i = 0; i < a->n; i++) {
		const struct trustpoint *tp = a->tps[i];

		if (tp->due_wall_ms < wall || (tp->due_wall_ms == wall && tp->due_wall_exact)) {
			wall = tp->due_wall_ms;
			exact = tp->due_wall_exact;
		}
		if (tp->due_boot_ms < boot)
			boot = tp->due_boot_ms;
	}
	source_arm(a, a->wall_timer, wall, exact);
	source_arm(a, a->boot_timer, boot, false);
}

/* What the machine waits for beside its named timers. */
static void boot_due_lower(struct trustpoint *tp, int64_t wait_ms, const struct tp_now *now)
{
	bool wall_first = tp->due_wall_ms != INT64_MAX && tp->due_wall_ms - now->wall.ms <= wait_ms;

	if (wait_ms < 0 || wall_first || tp->due_boot_ms - now->boot.ms <= wait_ms)
		return;
	tp->due_boot_ms = now->boot.ms + wait_ms;
}

void timers_look(struct trustpoint *tp)
{
	const struct tp_policy policy = tpconf_policy(&tp->conf);
	const struct tp_now now = agent_now(tp->agent);
	struct tp_due due[TP_TIMER_N_];
	size_t i, n = 0;

	tp->due_wall_ms = tp->due_boot_ms = INT64_MAX;
	tp->due_wall_exact = false;
	if (tp->usable)
		n = tp_timers(&policy, tp->seed, &tp->rec.state, &now, due);
	for (i = 0; i < n; i++) {
		if (due[i].on_boot) {
			if (due[i].at_boot.ms < tp->due_boot_ms)
				tp->due_boot_ms = due[i].at_boot.ms;
		} else if (due[i].at_wall.ms < tp->due_wall_ms) {
			tp->due_wall_ms = due[i].at_wall.ms;
			tp->due_wall_exact = due[i].exact;
		}
	}
	if (tp->usable)
		boot_due_lower(tp, tp_wait_ms(&policy, tp->seed, &tp->rec.state, &now), &now);
	sources_arm(tp->agent);
}

/* A due moment counts once: what stays due although a step was taken waits for the event that ends it (an action in flight). */
static int on_due(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct agent *a = userdata;
	const struct tp_now now = agent_now(a);
	size_t i;

	(void) s;
	(void) usec;
	for (i = 0; i < a->n; i++) {
		struct trustpoint *tp = a->tps[i];

		if (tp->due_wall_ms > now.wall.ms && tp->due_boot_ms > now.boot.ms)
			continue;
		drive_tick(tp);
		if (tp->due_wall_ms <= now.wall.ms)
			tp->due_wall_ms = INT64_MAX;
		if (tp->due_boot_ms <= now.boot.ms)
			tp->due_boot_ms = INT64_MAX;
	}
	sources_arm(a);
	return 0;
}

static void clock_look(struct agent *a, bool jumped)
{
	bool trusted = clk_trusted((enum clk_policy) a->conf.clock);
	int r = sd_event_source_set_time_relative(a->clock_poll, CLOCK_POLL_USEC);
	size_t i;

	if (r >= 0)
		r = sd_event_source_set_enabled(a->clock_poll, trusted ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
	if (r < 0)
		(void) log_err(r, NULL, "arm the look at the clock");
	if (trusted == a->clock_trusted && !jumped)
		return;
	if (!trusted && a->clock_trusted)
		log_event(LOG_EV_NON_AUTHORITATIVE_CLOCK, NULL, "the kernel says that the clock is not synchronised: certificate timers rest");
	if (trusted && !a->clock_trusted)
		log_line(LOG_NOTICE, "the clock is trusted: certificate timers run");
	a->clock_trusted = trusted;
	for (i = 0; i < a->n; i++)
		drive_tick(a->tps[i]);
}

static int on_clock_poll(sd_event_source *s, uint64_t usec, void *userdata)
{
	(void) s;
	(void) usec;
	clock_look(userdata, false);
	return 0;
}

/* TFD_TIMER_CANCEL_ON_SET: readable, with ECANCELED, whenever somebody sets the wall clock. */
static int clock_fd_arm(int fd)
{
	const struct itimerspec far = { .it_value = { .tv_sec = TIMERFD_FAR_SEC } };

	return timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &far, NULL) < 0 ? -errno : 0;
}

static int on_clock_set(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	uint64_t ticks;
	int r;

	(void) s;
	(void) revents;
	if (read(fd, &ticks, sizeof(ticks)) < 0 && errno != ECANCELED)
		return 0;
	r = clock_fd_arm(fd);
	if (r < 0)
		(void) log_err(r, NULL, "watch the clock");
	log_line(LOG_NOTICE, "the clock was set");
	clock_look(userdata, true);
	return 0;
}

static int clock_watch(struct agent *a)
{
	int r;

	a->clock_fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (a->clock_fd < 0)
		return -errno;
	r = clock_fd_arm(a->clock_fd);
	if (r == 0)
		r = sd_event_add_io(a->event, &a->clock_source, a->clock_fd, EPOLLIN, on_clock_set, a);
	if (r >= 0)
		r = sd_event_add_time_relative(a->event, &a->clock_poll, CLOCK_BOOTTIME, CLOCK_POLL_USEC, 0, on_clock_poll, a);
	return r;
}

int timers_open(struct agent *a, struct err *reterr)
{
	int r = sd_event_add_time(a->event, &a->wall_timer, CLOCK_REALTIME, UINT64_MAX, EXACT_USEC, on_due, a);

	if (r >= 0)
		r = sd_event_source_set_enabled(a->wall_timer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time(a->event, &a->boot_timer, CLOCK_BOOTTIME, UINT64_MAX, RELAXED_USEC, on_due, a);
	if (r >= 0)
		r = sd_event_source_set_enabled(a->boot_timer, SD_EVENT_OFF);
	if (r >= 0)
		r = clock_watch(a);
	if (r < 0)
		return err_set(reterr, r, "timers: %s", strerror(-r));
	a->clock_trusted = true; /* so that an untrusted one is said */
	clock_look(a, false);
	return 0;
}

void timers_close(struct agent *a)
{
	a->wall_timer = sd_event_source_disable_unref(a->wall_timer);
	a->boot_timer = sd_event_source_disable_unref(a->boot_timer);
	a->clock_source = sd_event_source_disable_unref(a->clock_source);
	a->clock_poll = sd_event_source_disable_unref(a->clock_poll);
	auto_fd(&a->clock_fd);
}

/* The calendar's timers and events: see calendar.h. */
#include "ca/calendar.h"

#include <errno.h>
#include <string.h>

#include "ca/calendar_internal.h"
#include "common/clk.h"
#include "common/log.h"

#define EXACT_USEC 1000
#define UNTRUSTED_LOOK_MS 10000 /* the kernel does not say when it has been synchronised: look again */
#define USEC_PER_MS 1000ULL

static void arm(struct calendar *c);

void calendar_now(const struct calendar *c, struct tp_now *ret)
{
	AUTO(view) struct view *v = service_view1(c->o.service);

	*ret = (struct tp_now){ .wall.ms = clk_wall_ms(), .boot.ms = clk_boot_ms() };
	ret->trusted = v && clk_trusted(v->conf->clock);
}

const struct cal_state *calendar_state(const struct calendar *c)
{
	return &c->state;
}

bool calendar_generating(const struct calendar *c)
{
	return c->state.busy == CAL_ACT_MAKE_NEXT;
}

/* ---- steps ---- */

/* An operator's command ends with the action it asked for; a failure ends it too, though the calendar goes on trying. */
static void waiter_answer(struct calendar *c, enum cal_act act, int code, const struct err *why)
{
	calendar_done_fn done = c->done;

	if (!done || act != (c->done_cancel ? CAL_ACT_CANCEL_NEXT : CAL_ACT_MAKE_NEXT))
		return;
	c->done = NULL;
	done(c->done_userdata, code, why);
}

static void trust_log(struct calendar *c, const struct tp_now *now)
{
	if (now->trusted == c->was_trusted && c->started)
		return;
	if (!now->trusted)
		log_event(LOG_EV_NON_AUTHORITATIVE_CLOCK, &(struct log_fields){ .ca = c->o.name },
			  "the clock is not trusted: nothing is signed and no timer runs until it is synchronised (Clock=auto)");
	else if (c->started)
		log_line(LOG_NOTICE, "the clock is trusted now");
	c->was_trusted = now->trusted;
	c->started = true;
}

void calendar_event(struct calendar *c, const struct cal_event *event)
{
	AUTO(view) struct view *v = service_view1(c->o.service);
	struct cal_actions actions;
	struct tp_now now;
	size_t i;

	calendar_now(c, &now);
	trust_log(c, &now);
	cal_step(&v->conf->cal, &c->state, event, &now, &actions);
	for (i = 0; i < actions.n; i++)
		calendar_perform(c, actions.list[i]); /* the last one may come back here with its DONE */
	arm(c);
}

void calendar_act_done(struct calendar *c, enum cal_act act, int code, const struct tp_cert *cert, const struct err *why)
{
	struct cal_event event = { .kind = CAL_EV_DONE, .act = act, .ok = code == 0 };

	if (cert)
		event.cert = *cert;
	if (code < 0)
		(void) log_err(code, why, "%s failed and will be tried again", cal_act_name(act));
	calendar_event(c, &event);
	waiter_answer(c, act, code, why);
}

/* ---- timers ---- */

static int tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	static const struct cal_event event = { .kind = CAL_EV_TICK };
	struct calendar *c = userdata;

	(void) source;
	(void) usec; /* cal_step reads the time that is */
	calendar_event(c, &event);
	return 0;
}

static int timer_set(struct calendar *c, sd_event_source **source, clockid_t clock, uint64_t usec)
{
	int r;

	if (!*source)
		return sd_event_add_time(c->o.event, source, clock, usec, EXACT_USEC, tick, c);
	r = sd_event_source_set_time(*source, usec);
	return r < 0 ? r : sd_event_source_set_enabled(*source, SD_EVENT_ONESHOT);
}

static void timer_stop(sd_event_source *source)
{
	if (source)
		(void) sd_event_source_set_enabled(source, SD_EVENT_OFF); /* fails only for what is not ours */
}

/* On both clocks: set forward, the wall's timer is early; set back, the boot's is on time. A tick too many moves nothing. */
static void arm(struct calendar *c)
{
	AUTO(view) struct view *v = service_view1(c->o.service);
	struct tp_now now;
	int64_t wait;
	int r;

	calendar_now(c, &now);
	wait = now.trusted ? cal_wait_ms(&v->conf->cal, &c->state, &now) : UNTRUSTED_LOOK_MS;
	if (wait < 0) {
		timer_stop(c->wall_timer);
		timer_stop(c->boot_timer);
		return;
	}
	r = timer_set(c, &c->wall_timer, CLOCK_REALTIME, (uint64_t) (now.wall.ms + wait) * USEC_PER_MS);
	if (r == 0)
		r = timer_set(c, &c->boot_timer, CLOCK_BOOTTIME, (uint64_t) (now.boot.ms + wait) * USEC_PER_MS);
	if (r < 0)
		(void) log_err(r, NULL, "the calendar's timer cannot be set");
}

/* ---- commands ---- */

static int rollover_refuse(const struct calendar *c, bool cancel, struct err *reterr)
{
	struct tp_now now;

	calendar_now(c, &now);
	if (!now.trusted)
		return err_set(reterr, -ETIME, "the clock is not trusted, so nothing is signed");
	if (c->done || c->state.busy == CAL_ACT_MAKE_NEXT || c->state.busy == CAL_ACT_CANCEL_NEXT)
		return err_set(reterr, -EBUSY, "a rollover CA is being made or deleted already");
	if (!cancel && c->state.next.na_sec != 0)
		return err_set(reterr, -EEXIST, "there is a rollover CA already");
	if (cancel && c->state.next.na_sec == 0 && !c->next_waits)
		return err_set(reterr, -ENODATA, "there is no rollover CA");
	return 0;
}

int calendar_rollover(struct calendar *c, bool cancel, calendar_done_fn done, void *userdata, struct err *reterr)
{
	const struct cal_event event = { .kind = cancel ? CAL_EV_CANCEL : CAL_EV_ROLLOVER };
	int r;

	r = rollover_refuse(c, cancel, reterr);
	if (r < 0)
		return r;
	c->done = done;
	c->done_userdata = userdata;
	c->done_cancel = cancel;
	calendar_event(c, &event);
	if (cancel && c->next_waits) /* it is none to the calendar */
		calendar_perform(c, CAL_ACT_CANCEL_NEXT);
	return 0;
}

static int conf_swap(struct calendar *c, struct view_conf *conf, struct err *reterr)
{
	AUTO(view) struct view *now = service_view1(c->o.service);
	AUTO(view) struct view *v = NULL;
	int r;

	r = view_copy(now, conf, &v, reterr);
	if (r == 0)
		r = view_seal(v, reterr);
	if (r == 0)
		service_publish(c->o.service, TAKE(v));
	return r;
}

int calendar_reload(struct calendar *c, struct view_conf *conf, struct err *reterr)
{
	static const struct cal_event event = { .kind = CAL_EV_TICK };
	int r;

	r = conf_swap(c, conf, reterr);
	if (r == 0)
		calendar_event(c, &event); /* periods may be shorter now */
	return r;
}

/* ---- life ---- */

int calendar_new(const struct calendar_options *o, struct calendar **ret, struct err *reterr)
{
	static const struct cal_event event = { .kind = CAL_EV_START };
	AUTO(calendar) struct calendar *c = calloc(1, sizeof(*c));
	AUTO(view) struct view *v = NULL;
	int r;

	if (!c)
		return err_set(reterr, -ENOMEM, "calendar");
	c->o = *o;
	c->generate_fd = -1;
	r = calendar_load(c, &v, reterr);
	if (r < 0)
		return r;
	service_publish(o->service, TAKE(v));
	calendar_event(c, &event);
	*ret = TAKE(c);
	return 0;
}

void calendar_free(struct calendar *c)
{
	(void) sd_event_source_disable_unref(c->wall_timer);
	(void) sd_event_source_disable_unref(c->boot_timer);
	(void) sd_event_source_disable_unref(c->generate_source);
	auto_fd(&c->generate_fd);
	free(c);
}

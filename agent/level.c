/* The named level: see level.h. */
#include "agent/level.h"

#include <errno.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/drive.h"
#include "common/clk.h"
#include "common/log.h"

#define ALARM_AGAIN_MS (24 * 3600 * INT64_C(1000))

static bool is_named(const struct trustpoint *tp)
{
	return tp->usable && tp->conf.protection != KS_PROTECTION_AUTO;
}

static bool waits(const struct trustpoint *tp)
{
	return is_named(tp) && (!tp->level.known || tp->level.refused[0]);
}

void level_forget(struct agent *a)
{
	for (int p = 0; p < KS_PROTECTION_N_; p++)
		a->levels.of[p].asked = false;
}

static const struct err *answer(struct agent *a, enum ks_protection p)
{
	struct ks *ks = NULL;
	struct err *e = &a->levels.of[p].e;

	if (a->levels.of[p].asked)
		return e;
	*e = (struct err){ .code = 0 };
	e->code = agent_ks(a, &ks, e);
	if (e->code == 0)
		e->code = ks_level(ks, p, e);
	a->levels.of[p].asked = true;
	return e;
}

static void alarm_raise(struct trustpoint *tp, const char *why)
{
	struct log_fields fields = trustpoint_fields(tp);
	int64_t now_ms = clk_boot_ms();
	bool new = strcmp(tp->level.refused, why) != 0;

	fields.protection = ks_protection_name((enum ks_protection) tp->conf.protection);
	(void) snprintf(tp->level.refused, sizeof(tp->level.refused), "%s", why);
	if (!new && now_ms - tp->level.said_ms < ALARM_AGAIN_MS)
		return;
	tp->level.said_ms = now_ms;
	log_event(LOG_EV_KEY_LEVEL, &fields, "%s", why);
}

bool level_look(struct trustpoint *tp)
{
	bool was_refused = tp->level.refused[0] != '\0';
	const struct err *e;

	if (!is_named(tp)) {
		tp->level = (struct level){ .known = false };
		return was_refused;
	}
	e = answer(tp->agent, (enum ks_protection) tp->conf.protection);
	tp->level.known = e->code == 0 || e->code == -ENOTSUP;
	if (e->code == -ENOTSUP)
		alarm_raise(tp, err_text(e, e->code));
	if (e->code != 0)
		return false; /* no custodian, no news: an alarm stays until it is answered */
	tp->level.refused[0] = '\0';
	return was_refused;
}

void level_go_on(struct trustpoint *tp)
{
	const struct tp_state *s = &tp->rec.state;

	log_line(LOG_NOTICE, "%s: Protection=%s is to be had: it goes on", tp->name, ks_protection_name((enum ks_protection) tp->conf.protection));
	if (s->busy != TP_ACT_NONE || s->op == TP_OP_NONE || s->op == TP_OP_AUTH || s->stage > TP_STAGE_PREPARE)
		return;
	if (drive_command(tp, TP_COMMAND_ENROLL) < 0)
		log_line(LOG_NOTICE, "%s: at its next retry", tp->name);
}

void level_ask_now(struct trustpoint *tp)
{
	level_forget(tp->agent);
	if (level_look(tp))
		level_go_on(tp);
	level_watch(tp->agent);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct agent *a = userdata;
	size_t i;

	(void) s;
	(void) usec;
	level_forget(a);
	for (i = 0; i < a->n; i++)
		if (waits(a->tps[i]) && level_look(a->tps[i]))
			level_go_on(a->tps[i]);
	level_watch(a);
	return 0;
}

void level_watch(struct agent *a)
{
	int64_t period_ms = INT64_MAX;
	uint64_t usec;
	size_t i;
	int r;

	for (i = 0; i < a->n; i++)
		if (waits(a->tps[i]) && a->tps[i]->conf.retry_period_ms < period_ms)
			period_ms = a->tps[i]->conf.retry_period_ms;
	a->levels.timer = sd_event_source_disable_unref(a->levels.timer);
	if (period_ms == INT64_MAX)
		return;
	usec = (uint64_t) period_ms * 1000;
	r = sd_event_add_time_relative(a->event, &a->levels.timer, CLOCK_BOOTTIME, usec, 0, on_timer, a);
	if (r < 0)
		(void) log_err(r, NULL, "arm the look at the levels of protection");
}

void level_close(struct agent *a)
{
	a->levels.timer = sd_event_source_disable_unref(a->levels.timer);
}

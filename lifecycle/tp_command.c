/* What an operator asks, and how a trustpoint comes back after a restart. */
#include "lifecycle/tp_internal.h"

#define START_WAIT_MAX_MS (2 * TIMER_DAY_MS) /* no wait that this machine arms is longer: a longer one is of another boot */

static void command_authenticate(struct tp_ctx *c)
{
	struct tp_state *s = c->state;

	if (s->busy == TP_ACT_INSTALL || s->busy == TP_ACT_ACTIVATE)
		return; /* local, and over in a moment */
	tp_abandon(c);
	s->busy = TP_ACT_NONE;
	tp_begin(c, TP_OP_AUTH, false);
}

/* The operation that replaces what is there, by the rule that the timers use too. spec 6.2.2 */
static enum tp_op op_for_enrolment(const struct tp_ctx *c)
{
	const struct tp_state *s = c->state;

	if (!tp_usable(&s->id, c->now))
		return TP_OP_ENROLL;
	return tp_ends_with_ca(&s->id, &s->ca) ? TP_OP_SHADOW : TP_OP_RENEW;
}

static void command_enroll(struct tp_ctx *c)
{
	struct tp_state *s = c->state;

	if (s->busy != TP_ACT_NONE)
		return; /* on its way */
	if (s->op != TP_OP_NONE && !s->ca_only && !s->exhausted) {
		s->retry_armed = false;
		return;
	}
	if (!tp_usable(&s->ca, c->now)) {
		s->hold = TP_HOLD_NONE; /* AUTH follows where a pin is; else it is held again at once */
		return;
	}
	tp_abandon(c);
	s->hold = TP_HOLD_NONE;
	s->alert_at.ms = 0;
	tp_begin(c, op_for_enrolment(c), false);
}

void tp_command(struct tp_ctx *c, enum tp_command command)
{
	c->chained = true;
	switch (command) {
	case TP_COMMAND_AUTHENTICATE:
		command_authenticate(c);
		return;
	case TP_COMMAND_ENROLL:
	case TP_COMMAND_RENEW:
		command_enroll(c);
		return;
	case TP_COMMAND_N_:
		return;
	}
}

/* A fleet that comes back after one power cut must not arrive at once. */
static void start_in_another_boot(struct tp_ctx *c)
{
	struct tp_state *s = c->state;
	int64_t span = c->policy->jitter ? c->policy->retry_period_ms : 0;

	s->last_request.ms = 0;
	s->activate_at.ms = 0;
	s->retry_armed = false;
	if (s->op != TP_OP_NONE && s->stage != TP_STAGE_GRANTED)
		tp_retry_in(c, span > 0 ? (int64_t)(tp_draw(c) % (uint64_t)span) : 0);
}

static void start_in_this_boot(struct tp_ctx *c)
{
	struct tp_state *s = c->state;
	int64_t now = c->now->boot.ms, next = s->last_request.ms + c->policy->retry_period_ms;

	if (s->last_request.ms > now) {
		start_in_another_boot(c);
		return;
	}
	if (s->retry_armed && s->retry_at.ms > now + START_WAIT_MAX_MS)
		s->retry_armed = false;
	if (s->activate_at.ms > now + TIMER_HOUR_MS)
		s->activate_at.ms = 0;
	/* the crash came between a request and its end */
	if (!s->retry_armed && s->op != TP_OP_NONE && s->stage != TP_STAGE_GRANTED && s->last_request.ms != 0 && next > now)
		tp_retry_in(c, next - now);
}

void tp_start(struct tp_ctx *c, const struct tp_event *event)
{
	if (c->state->busy != TP_ACT_NONE)
		return; /* a new policy: what is in flight ends as it does */
	if (event->same_boot)
		start_in_this_boot(c);
	else
		start_in_another_boot(c);
}

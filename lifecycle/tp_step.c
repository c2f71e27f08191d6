/* One step of a trustpoint: digest the event, then look what is due and emit it. */
#include "lifecycle/tp_internal.h"

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

void tp_emit(struct tp_ctx *c, enum tp_act act)
{
	if (c->actions->n < TP_ACTIONS_MAX)
		c->actions->list[c->actions->n++].act = act;
}

void tp_emit_alert(struct tp_ctx *c, enum tp_alert alert)
{
	tp_emit(c, TP_ACT_ALERT);
	c->actions->list[c->actions->n - 1].alert = alert;
}

uint64_t tp_draw(struct tp_ctx *c)
{
	return timer_hash(c->seed, timer_hash(c->state->draws++, 1));
}

void tp_retry_in(struct tp_ctx *c, int64_t wait_ms)
{
	c->state->retry_armed = true;
	c->state->retry_at.ms = c->now->boot.ms + wait_ms;
}

void tp_retry_connect(struct tp_ctx *c, int64_t retry_after_ms)
{
	struct tp_state *s = c->state;
	int64_t left = tp_time_left(s, c->now);
	int64_t wait = timer_connect_ms(c->policy, s->failures, left, tp_draw(c));

	if (s->failures < UINT32_MAX)
		s->failures++;
	tp_retry_in(c, later(wait, timer_retry_after_ms(retry_after_ms, left)));
}

/* The earliest boot time at which a request may leave. */
static int64_t spaced(const struct tp_ctx *c)
{
	if (c->chained || c->state->last_request.ms == 0)
		return c->now->boot.ms;
	return later(c->now->boot.ms, c->state->last_request.ms + c->policy->retry_period_ms);
}

static void keep_spacing(struct tp_ctx *c)
{
	int64_t at = spaced(c);

	c->state->retry_armed = at > c->now->boot.ms;
	c->state->retry_at.ms = at;
}

void tp_begin(struct tp_ctx *c, enum tp_op op, bool ca_only)
{
	struct tp_state *s = c->state;

	s->op = op;
	s->stage = TP_STAGE_BEGIN;
	s->ca_only = ca_only;
	s->polls = 0;
	s->failures = 0;
	s->exhausted = false;
	s->granted = (struct tp_cert){0};
	keep_spacing(c);
}

void tp_finish(struct tp_ctx *c)
{
	struct tp_state *s = c->state;

	s->op = TP_OP_NONE;
	s->stage = TP_STAGE_IDLE;
	s->ca_only = false;
	s->retry_armed = false;
	s->exhausted = false;
	s->polls = 0;
	s->failures = 0;
	s->granted = (struct tp_cert){0};
}

void tp_abandon(struct tp_ctx *c)
{
	if (c->state->stage >= TP_STAGE_PREPARED)
		tp_emit(c, TP_ACT_ABANDON);
	tp_finish(c);
}

/* RENEW and SHADOW are signed by the active ID: once that has ended, or went with the switch, a CA has no reason to accept the signature. */
bool tp_signer_is_dead(const struct tp_ctx *c)
{
	const struct tp_state *s = c->state;

	if (s->op == TP_OP_RENEW)
		return tp_expired(&s->id, c->now);
	return tp_shadow_was_overtaken(s);
}

void tp_restart(struct tp_ctx *c)
{
	enum tp_op op = tp_signer_is_dead(c) ? TP_OP_ENROLL : c->state->op;

	tp_abandon(c);
	tp_begin(c, op, false);
}

static void activate(struct tp_ctx *c)
{
	struct tp_state *s = c->state;

	/* it replaces what is in flight; a request cut short so is repeated no sooner than any other */
	if (tp_act_is_request(s->busy))
		keep_spacing(c);
	if (s->op == TP_OP_RENEW || s->op == TP_OP_ENROLL || s->stage < TP_STAGE_PREPARED)
		tp_abandon(c);
	s->busy = TP_ACT_ACTIVATE;
	tp_emit(c, TP_ACT_ACTIVATE);
}

static bool activate_if_due(struct tp_ctx *c)
{
	const struct tp_state *s = c->state;
	int64_t at;

	if (s->busy == TP_ACT_ACTIVATE || s->busy == TP_ACT_INSTALL)
		return false;
	if (!tp_activate_due(s, c->now, &at) || c->now->wall.ms < at)
		return false;
	if (s->activate_at.ms != 0 && c->now->boot.ms < s->activate_at.ms)
		return false;
	activate(c);
	return true;
}

static void alert_if_due(struct tp_ctx *c)
{
	struct tp_state *s = c->state;
	int64_t next = tp_alert_next(c->policy, s, c->now);

	if (!c->now->trusted)
		return;
	if (next != 0 && s->alert_at.ms != 0 && c->now->wall.ms >= s->alert_at.ms) {
		tp_emit_alert(c, tp_alert_kind(s, c->now));
		s->alert_at.ms = next;
	}
	/* the earlier of the two: a clock that was set back must not silence it */
	if (next == 0 || s->alert_at.ms == 0 || s->alert_at.ms > next)
		s->alert_at.ms = next;
}

static void retire_if_due(struct tp_ctx *c)
{
	int64_t at, latest = c->now->wall.ms + c->policy->previous_grace_ms;

	if (c->now->trusted && c->state->retire_at.ms > latest) /* the clock was set back */
		c->state->retire_at.ms = latest;
	if (!tp_retire_due(c->state, c->now, &at) || c->now->wall.ms < at)
		return;
	c->state->retire_at.ms = 0;
	c->state->old_ca = (struct tp_cert){0};
	tp_emit(c, TP_ACT_RETIRE);
}

/* The issuer ended: nobody will answer. AUTH begins anew, or an operator is waited for. */
static void drop_orphan(struct tp_ctx *c)
{
	struct tp_state *s = c->state;

	if (s->op == TP_OP_NONE || s->op == TP_OP_AUTH || !tp_expired(&s->ca, c->now) || tp_has(&s->next_ca))
		return;
	tp_abandon(c);
	c->chained = false; /* what follows is no part of what ended */
}

static void choose(struct tp_ctx *c)
{
	struct tp_state *s = c->state;
	struct tp_plan plan = tp_plan_idle(c->policy, c->seed, s, c->now);

	if (s->hold != TP_HOLD_REJECTED)
		s->hold = tp_waits_for_operator(c->policy, s, c->now) ? TP_HOLD_OPERATOR : TP_HOLD_NONE;
	if (plan.op != TP_OP_NONE && c->now->wall.ms >= plan.at.ms)
		tp_begin(c, plan.op, plan.ca_only);
}

static enum tp_act next_act(struct tp_ctx *c)
{
	const struct tp_state *s = c->state;

	switch (s->stage) {
	case TP_STAGE_BEGIN:
		if (s->op == TP_OP_AUTH)
			return TP_ACT_AUTHENTICATE;
		return s->op == TP_OP_SHADOW ? TP_ACT_FETCH_NEXT : TP_ACT_PREPARE;
	case TP_STAGE_PREPARE:
		return TP_ACT_PREPARE;
	case TP_STAGE_PREPARED:
		return TP_ACT_REQUEST;
	case TP_STAGE_PENDING:
		return TP_ACT_POLL;
	case TP_STAGE_GRANTED:
		return TP_ACT_INSTALL;
	case TP_STAGE_IDLE:
	case TP_STAGE_N_:
		break;
	}
	return TP_ACT_NONE;
}

static void act(struct tp_ctx *c)
{
	struct tp_state *s = c->state;
	enum tp_act next = next_act(c);

	if (tp_act_is_request(next) && !c->chained && tp_wants_next_beside(c->policy, c->seed, s, c->now))
		next = TP_ACT_FETCH_NEXT;
	if (tp_act_is_request(next))
		s->last_request.ms = later(c->now->boot.ms, 1); /* 0 says never */
	s->retry_armed = false;
	s->busy = next;
	tp_emit(c, next);
}

static void proceed(struct tp_ctx *c)
{
	struct tp_state *s = c->state;

	if (s->op == TP_OP_NONE || (s->retry_armed && c->now->boot.ms < s->retry_at.ms))
		return;
	if (s->exhausted)
		tp_restart(c);
	else if (s->stage == TP_STAGE_PREPARED && s->failures >= TP_DEAD_SIGNER_TRIES && tp_signer_is_dead(c))
		tp_restart(c);
	if (!s->retry_armed || c->now->boot.ms >= s->retry_at.ms)
		act(c);
}

static void look(struct tp_ctx *c)
{
	alert_if_due(c);
	retire_if_due(c);
	if (activate_if_due(c) || c->state->busy != TP_ACT_NONE)
		return;
	drop_orphan(c);
	if (c->state->op == TP_OP_NONE)
		choose(c);
	proceed(c);
}

void tp_step(const struct tp_policy *policy, uint64_t seed, struct tp_state *state, const struct tp_event *event, const struct tp_now *now,
	     struct tp_actions *ret_actions)
{
	struct tp_ctx c = {.policy = policy, .seed = seed, .state = state, .now = now, .actions = ret_actions};

	*ret_actions = (struct tp_actions){0};
	switch (event->kind) {
	case TP_EV_START:
		tp_start(&c, event);
		break;
	case TP_EV_DONE:
		tp_done(&c, event);
		break;
	case TP_EV_COMMAND:
		tp_command(&c, event->command);
		break;
	case TP_EV_TICK:
	case TP_EV_N_:
		break;
	}
	look(&c);
}

/* What the end of each action means. */
#include "lifecycle/tp_internal.h"

static void done_authenticate(struct tp_ctx *c, const struct tp_event *event)
{
	struct tp_state *s = c->state;
	bool ok = event->result == TP_RESULT_OK && tp_usable(&event->cert, c->now);

	if (s->op != TP_OP_AUTH)
		return;
	if (event->result == TP_RESULT_REFUSED && !s->refused) {
		s->refused = true;
		tp_emit_alert(c, TP_ALERT_FINGERPRINT);
		s->alert_at.ms = tp_alert_next(c->policy, s, c->now);
	}
	if (!ok) {
		tp_retry_connect(c, event->retry_after_ms);
		return;
	}
	s->refused = false;
	if (!tp_same_cert(&s->ca, &event->cert)) { /* another CA: nothing of the old one is of use */
		s->id = s->shadow = s->next_ca = (struct tp_cert){0};
		s->ca = event->cert;
	}
	tp_finish(c);
	c->chained = true;
}

/* The rollover CA takes over before or as the active one ends, and outlives it. */
static bool next_ca_fits(const struct tp_state *s, const struct tp_cert *next)
{
	return next->nb_sec <= s->ca.na_sec && s->ca.na_sec < next->na_sec;
}

static void done_fetch_next(struct tp_ctx *c, const struct tp_event *event)
{
	struct tp_state *s = c->state;
	bool ok = event->result == TP_RESULT_OK && next_ca_fits(s, &event->cert);

	if (ok && !tp_same_cert(&s->next_ca, &event->cert)) {
		s->shadow = (struct tp_cert){0}; /* of a rollover that was cancelled */
		s->next_ca = event->cert;
	}
	c->chained = !s->ca_only;
	if (s->op != TP_OP_SHADOW || s->stage != TP_STAGE_BEGIN)
		return; /* fetched beside another operation, which goes on */
	if (!ok)
		tp_retry_connect(c, event->retry_after_ms);
	else if (s->ca_only)
		tp_finish(c);
	else
		s->stage = TP_STAGE_PREPARE;
}

static void done_prepare(struct tp_ctx *c, const struct tp_event *event)
{
	struct tp_state *s = c->state;

	if (event->result != TP_RESULT_OK) {
		tp_retry_connect(c, 0);
		return;
	}
	s->stage = TP_STAGE_PREPARED;
	s->failures = 0;
	c->chained = true;
}

/* A certificate that has ended already is no answer, and the same request would get it again. */
static void exhaust(struct tp_ctx *c, enum tp_alert alert)
{
	c->state->exhausted = true;
	tp_emit_alert(c, alert);
	tp_retry_in(c, TP_EXHAUSTED_WAIT_MS);
}

static void verdict_granted(struct tp_ctx *c, const struct tp_event *event)
{
	struct tp_state *s = c->state;

	if (!tp_usable(&event->cert, c->now)) {
		exhaust(c, TP_ALERT_EXPIRED);
		return;
	}
	if (s->op == TP_OP_SHADOW && tp_has(&s->next_ca)) {
		s->shadow = event->cert;
		tp_finish(c);
		return;
	}
	s->granted = event->cert;
	s->stage = TP_STAGE_GRANTED;
	s->failures = 0;
}

static void verdict_pending(struct tp_ctx *c, const struct tp_event *event)
{
	struct tp_state *s = c->state;
	int64_t left = tp_time_left(s, c->now);
	int64_t wait, asked = timer_retry_after_ms(event->retry_after_ms, left);

	s->stage = TP_STAGE_PENDING;
	s->failures = 0;
	if (s->polls < UINT32_MAX)
		s->polls++;
	if (c->policy->retry_count != 0 && s->polls > c->policy->retry_count) { /* the first PENDING answered no poll */
		exhaust(c, TP_ALERT_EXHAUSTED);
		return;
	}
	wait = timer_poll_ms(c->policy, s->polls - 1, left, tp_draw(c));
	tp_retry_in(c, wait > asked ? wait : asked);
}

static void verdict_rejected(struct tp_ctx *c)
{
	struct tp_state *s = c->state;

	if (tp_signer_is_dead(c)) { /* it says that the signer has ended, and nothing about this router */
		tp_restart(c);
		return;
	}
	tp_abandon(c);
	s->hold = TP_HOLD_REJECTED;
	tp_emit_alert(c, TP_ALERT_REJECTED);
	s->alert_at.ms = tp_alert_next(c->policy, s, c->now);
}

static void done_request(struct tp_ctx *c, const struct tp_event *event)
{
	switch (event->result) {
	case TP_RESULT_GRANTED:
		verdict_granted(c, event);
		return;
	case TP_RESULT_PENDING:
		verdict_pending(c, event);
		return;
	case TP_RESULT_REJECTED:
		verdict_rejected(c);
		return;
	case TP_RESULT_OK:
	case TP_RESULT_NO_VERDICT:
	case TP_RESULT_NOT_YET:
	case TP_RESULT_REFUSED:
	case TP_RESULT_LOCAL:
	case TP_RESULT_N_:
		tp_retry_connect(c, event->retry_after_ms);
		return;
	}
}

static void keep_previous(struct tp_ctx *c)
{
	c->state->retire_at.ms = c->now->wall.ms + c->policy->previous_grace_ms;
}

static void done_install(struct tp_ctx *c, const struct tp_event *event)
{
	struct tp_state *s = c->state;

	if (event->result != TP_RESULT_OK) {
		tp_retry_connect(c, 0);
		return;
	}
	if (tp_has(&s->id) || s->retire_at.ms != 0)
		keep_previous(c);
	s->trimmed = s->op == TP_OP_RENEW && tp_ends_with_ca(&s->id, &s->ca);
	s->id = s->granted;
	s->hold = TP_HOLD_NONE;
	s->alert_at.ms = 0;
	tp_finish(c);
}

static void done_activate(struct tp_ctx *c, const struct tp_event *event)
{
	struct tp_state *s = c->state;
	uint32_t n = s->activate_failures;

	if (event->result != TP_RESULT_OK) {
		if (n < UINT32_MAX)
			s->activate_failures++;
		s->activate_at.ms = c->now->boot.ms + timer_interval_ms(TIMER_SECOND_MS, n, 16 * TIMER_MINUTE_MS);
		return;
	}
	s->old_ca = s->ca;
	s->ca = s->next_ca;
	s->id = s->shadow; /* none: the trustpoint is authenticated, not enrolled */
	s->next_ca = s->shadow = (struct tp_cert){0};
	s->trimmed = false;
	s->activate_failures = 0;
	s->activate_at.ms = 0;
	s->failures = 0;
	s->alert_at.ms = 0;
	keep_previous(c);
}

void tp_done(struct tp_ctx *c, const struct tp_event *event)
{
	if (event->act != c->state->busy || event->act == TP_ACT_NONE)
		return; /* it was replaced while in flight */
	c->state->busy = TP_ACT_NONE;
	switch (event->act) {
	case TP_ACT_AUTHENTICATE:
		done_authenticate(c, event);
		return;
	case TP_ACT_FETCH_NEXT:
		done_fetch_next(c, event);
		return;
	case TP_ACT_PREPARE:
		done_prepare(c, event);
		return;
	case TP_ACT_REQUEST:
	case TP_ACT_POLL:
		done_request(c, event);
		return;
	case TP_ACT_INSTALL:
		done_install(c, event);
		return;
	case TP_ACT_ACTIVATE:
		done_activate(c, event);
		return;
	case TP_ACT_NONE:
	case TP_ACT_ABANDON:
	case TP_ACT_RETIRE:
	case TP_ACT_ALERT:
	case TP_ACT_N_:
		return;
	}
}

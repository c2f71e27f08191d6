/* What is armed, when, why, and what follows when it is missed. */
#include "lifecycle/tp_internal.h"

#include <inttypes.h>
#include <stdio.h>

struct view {
	const struct tp_policy *policy;
	uint64_t seed;
	const struct tp_state *state;
	const struct tp_now *now;
	struct tp_plan plan;
	struct tp_due *due;
	size_t n;
};

static struct tp_due *add(struct view *v, enum tp_timer timer)
{
	struct tp_due *due = &v->due[v->n++];

	due->timer = timer;
	due->on_boot = false;
	due->exact = false;
	due->jitter_ms = 0;
	due->why[0] = due->missed[0] = '\0';
	return due;
}

static void add_wall(struct view *v, enum tp_timer timer, int64_t at_ms)
{
	add(v, timer)->at_wall.ms = at_ms;
}

static void add_boot(struct view *v, enum tp_timer timer, int64_t at_ms)
{
	struct tp_due *due = add(v, timer);

	due->on_boot = true;
	due->at_boot.ms = at_ms;
}

static void add_operation(struct view *v)
{
	const struct tp_state *s = v->state;
	bool poll = s->stage == TP_STAGE_PENDING && s->failures == 0 && !s->exhausted;
	struct timer_at at;

	if (s->busy != TP_ACT_NONE)
		return;
	if (s->op != TP_OP_NONE) {
		add_boot(v, poll ? TP_TIMER_POLL : TP_TIMER_CONNECT_RETRY, s->retry_armed ? s->retry_at.ms : v->now->boot.ms);
		return;
	}
	v->plan = tp_plan_idle(v->policy, v->seed, s, v->now);
	at = v->plan.at;
	if (v->plan.op == TP_OP_NONE)
		return;
	add_wall(v, v->plan.op == TP_OP_SHADOW ? TP_TIMER_SHADOW : TP_TIMER_RENEW, at.ms == INT64_MIN ? v->now->wall.ms : at.ms);
	v->due[v->n - 1].jitter_ms = at.jitter_ms;
}

static void add_activate(struct view *v)
{
	const struct tp_state *s = v->state;
	int64_t at;

	if (s->busy == TP_ACT_ACTIVATE || s->busy == TP_ACT_INSTALL || !tp_activate_due(s, v->now, &at))
		return;
	if (s->activate_at.ms != 0 && v->now->wall.ms >= at)
		add_boot(v, TP_TIMER_ACTIVATE, s->activate_at.ms);
	else
		add_wall(v, TP_TIMER_ACTIVATE, at);
	v->due[v->n - 1].exact = true;
}

static void add_alert(struct view *v)
{
	int64_t at = v->state->alert_at.ms, next;

	if (!v->now->trusted)
		return;
	next = tp_alert_next(v->policy, v->state, v->now);
	if (next != 0)
		add_wall(v, TP_TIMER_ALERT, at != 0 && at < next ? at : next);
}

static void collect(struct view *v)
{
	int64_t at;

	add_operation(v);
	add_activate(v);
	add_alert(v);
	if (tp_retire_due(v->state, v->now, &at))
		add_wall(v, TP_TIMER_RETIRE, at);
}

static int64_t wait_of(const struct tp_due *due, const struct tp_now *now)
{
	int64_t wait = due->on_boot ? due->at_boot.ms - now->boot.ms : due->at_wall.ms - now->wall.ms;

	return wait > 0 ? wait : 0;
}

int64_t tp_wait_ms(const struct tp_policy *policy, uint64_t seed, const struct tp_state *state, const struct tp_now *now)
{
	struct tp_due due[TP_TIMER_N_];
	struct view v = {.policy = policy, .seed = seed, .state = state, .now = now, .due = due};
	int64_t least = -1;

	collect(&v);
	for (size_t i = 0; i < v.n; i++) {
		int64_t wait = wait_of(&due[i], now);

		if (least < 0 || wait < least)
			least = wait;
	}
	return least;
}

static void sort(struct tp_due *due, size_t n, const struct tp_now *now)
{
	for (size_t i = 1; i < n; i++) {
		struct tp_due one = due[i];
		size_t j = i;

		for (; j > 0 && wait_of(&due[j - 1], now) > wait_of(&one, now); j--)
			due[j] = due[j - 1];
		due[j] = one;
	}
}

static int64_t life_of(const struct tp_cert *cert)
{
	return (cert->na_sec - cert->nb_sec) * TIMER_SECOND_MS;
}

/* Texts are cut to their field: snprintf's result is not needed. */
static void explain_percent(const struct view *v, struct tp_due *due, const char *before, int percent, const struct tp_cert *cert)
{
	char life[40], jitter[40];

	(void)timer_span_text(life_of(cert), life, sizeof(life));
	if (due->jitter_ms == 0)
		(void)snprintf(due->why, sizeof(due->why), "%s%d %% of %s", before, percent, life);
	else
		(void)snprintf(due->why, sizeof(due->why), "%s%d %% of %s, jitter %s", before, percent, life,
			       timer_span_text(due->jitter_ms, jitter, sizeof(jitter)));
	(void)v;
}

static void explain_plan(const struct view *v, struct tp_due *due)
{
	const struct tp_state *s = v->state;

	if (v->plan.op == TP_OP_AUTH)
		(void)snprintf(due->why, sizeof(due->why), "not authenticated, fingerprint is configured");
	else if (v->plan.op == TP_OP_ENROLL)
		(void)snprintf(due->why, sizeof(due->why), "no valid certificate");
	else if (v->plan.op == TP_OP_RENEW)
		explain_percent(v, due, "", v->policy->percent, &s->id);
	else if (v->plan.ca_only)
		explain_percent(v, due, "next CA only; ", TIMER_CA_PERCENT, &s->ca);
	else if (tp_has(&s->next_ca) && timer_shadow_at_once(v->policy, &s->id, &s->ca))
		(void)snprintf(due->why, sizeof(due->why), "ends with its CA soon, rollover is there: at once");
	else
		explain_percent(v, due, "ends with its CA; ", v->policy->percent, &s->id);
}

static void explain_missed(const struct view *v, struct tp_due *due)
{
	int64_t period = v->policy->retry_period_ms, left = tp_time_left(v->state, v->now);
	char first[40], second[40], cap[40];

	(void)snprintf(due->missed, sizeof(due->missed), "retry %s, %s ... %s",
		       timer_span_text(timer_interval_ms(period, 0, left), first, sizeof(first)),
		       timer_span_text(timer_interval_ms(period, 1, left), second, sizeof(second)),
		       timer_span_text(timer_cap_ms(period, left), cap, sizeof(cap)));
}

static void explain_retry(const struct view *v, struct tp_due *due)
{
	const struct tp_state *s = v->state;
	char next[40];
	uint32_t n = due->timer == TP_TIMER_POLL ? s->polls : s->failures;

	if (due->timer == TP_TIMER_POLL && v->policy->retry_count != 0)
		(void)snprintf(due->why, sizeof(due->why), "%s pending, try %" PRIu32 " of %" PRIu32, tp_op_name(s->op), s->polls, v->policy->retry_count);
	else if (due->timer == TP_TIMER_POLL)
		(void)snprintf(due->why, sizeof(due->why), "%s pending, try %" PRIu32, tp_op_name(s->op), s->polls);
	else if (s->exhausted)
		(void)snprintf(due->why, sizeof(due->why), "%s without a usable answer, begins anew", tp_op_name(s->op));
	else if (s->failures == 0)
		(void)snprintf(due->why, sizeof(due->why), "%s waits for the minimum between two requests", tp_op_name(s->op));
	else
		(void)snprintf(due->why, sizeof(due->why), "%s without a verdict, %" PRIu32 " in a row", tp_op_name(s->op), s->failures);
	(void)snprintf(due->missed, sizeof(due->missed), "next in %s",
		       timer_span_text(timer_interval_ms(v->policy->retry_period_ms, n, tp_time_left(s, v->now)), next, sizeof(next)));
}

static void explain_alert(const struct view *v, struct tp_due *due)
{
	const struct tp_state *s = v->state;
	char left[40];

	if (s->hold == TP_HOLD_REJECTED)
		(void)snprintf(due->why, sizeof(due->why), "rejected by the CA");
	else if (tp_has(&s->id))
		(void)snprintf(due->why, sizeof(due->why), "certificate ends in %s",
			       timer_span_text(s->id.na_sec * TIMER_SECOND_MS - v->now->wall.ms, left, sizeof(left)));
	else if (tp_has(&s->old_ca))
		(void)snprintf(due->why, sizeof(due->why), "the certificate ended with its CA");
	else
		(void)snprintf(due->why, sizeof(due->why), "the CA has another fingerprint");
	(void)snprintf(due->missed, sizeof(due->missed), "weekly, daily in the last week");
}

static void explain(const struct view *v, struct tp_due *due)
{
	(void)snprintf(due->missed, sizeof(due->missed), "-");
	switch (due->timer) {
	case TP_TIMER_RENEW:
	case TP_TIMER_SHADOW:
		explain_plan(v, due);
		explain_missed(v, due);
		return;
	case TP_TIMER_POLL:
	case TP_TIMER_CONNECT_RETRY:
		explain_retry(v, due);
		return;
	case TP_TIMER_ACTIVATE:
		(void)snprintf(due->why, sizeof(due->why), "CA certificate ends, exact%s", tp_has(&v->state->shadow) ? "" : "; no shadow certificate yet");
		return;
	case TP_TIMER_ALERT:
		explain_alert(v, due);
		return;
	case TP_TIMER_RETIRE:
		(void)snprintf(due->why, sizeof(due->why), "grace of the previous key ends");
		return;
	case TP_TIMER_N_:
		return;
	}
}

size_t tp_timers(const struct tp_policy *policy, uint64_t seed, const struct tp_state *state, const struct tp_now *now, struct tp_due ret[TP_TIMER_N_])
{
	struct view v = {.policy = policy, .seed = seed, .state = state, .now = now, .due = ret};

	collect(&v);
	for (size_t i = 0; i < v.n; i++)
		explain(&v, &ret[i]);
	sort(ret, v.n, now);
	return v.n;
}

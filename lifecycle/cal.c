#include "lifecycle/cal.h"

#include <assert.h>

#include "lifecycle/timer.h"

#define PREVIOUS_GRACE_MS TIMER_DAY_MS

static bool has(const struct tp_cert *cert)
{
	return cert->na_sec != 0;
}

static int64_t end_ms(const struct tp_cert *cert)
{
	return cert->na_sec * TIMER_SECOND_MS;
}

static int64_t generation_ms(const struct cal_policy *policy, const struct cal_state *s)
{
	return end_ms(&s->ca) - policy->overlap_ms;
}

/* Often enough that nothing outlives its life by more than a sixteenth, seldom enough to cost nothing. */
static int64_t sweep_ms(const struct cal_policy *policy)
{
	int64_t every = policy->request_lifetime_ms / 16;

	if (every > TIMER_HOUR_MS)
		return TIMER_HOUR_MS;
	return every < TIMER_MINUTE_MS ? TIMER_MINUTE_MS : every;
}

static bool wants_next(const struct cal_policy *policy, const struct cal_state *s, int64_t now)
{
	if (has(&s->next))
		return false;
	return s->rollover_asked || (policy->overlap_ms > 0 && now >= generation_ms(policy, s));
}

static bool is_due(const struct cal_policy *policy, const struct cal_state *s, enum cal_act act, int64_t now)
{
	switch (act) {
	case CAL_ACT_SWITCH:
		return has(&s->next) && now >= end_ms(&s->ca);
	case CAL_ACT_CANCEL_NEXT:
		return has(&s->next) && s->cancel_asked;
	case CAL_ACT_MAKE_NEXT:
		return wants_next(policy, s, now);
	case CAL_ACT_MAKE_CRL:
		return now >= s->crl_due.ms;
	case CAL_ACT_MAKE_NEXT_CRL:
		return has(&s->next) && now >= s->next_crl_due.ms;
	case CAL_ACT_NONE:
	case CAL_ACT_EXPIRE_REQUESTS:
	case CAL_ACT_RETIRE_PREVIOUS:
	case CAL_ACT_N_:
		break;
	}
	return false;
}

static const enum cal_act by_urgency[] = {
	CAL_ACT_SWITCH, CAL_ACT_CANCEL_NEXT, CAL_ACT_MAKE_NEXT, CAL_ACT_MAKE_CRL, CAL_ACT_MAKE_NEXT_CRL,
};
#define N_BY_URGENCY (sizeof(by_urgency) / sizeof(by_urgency[0]))

static bool waits(const struct cal_state *s, enum cal_act act, const struct tp_now *now)
{
	if (s->retry_at.ms == 0 || now->boot.ms >= s->retry_at.ms)
		return false;
	return act != CAL_ACT_SWITCH || s->failed == CAL_ACT_SWITCH; /* a CRL that fails does not hold up the switch */
}

/* What failed last comes last, so that it starves nobody. */
static enum cal_act most_urgent(const struct cal_policy *policy, const struct cal_state *s, const struct tp_now *now)
{
	for (size_t i = 0; i < N_BY_URGENCY; i++)
		if (by_urgency[i] != s->failed && is_due(policy, s, by_urgency[i], now->wall.ms) && !waits(s, by_urgency[i], now))
			return by_urgency[i];
	if (is_due(policy, s, s->failed, now->wall.ms) && !waits(s, s->failed, now))
		return s->failed;
	return CAL_ACT_NONE;
}

static void emit(struct cal_actions *actions, enum cal_act act)
{
	if (actions->n < CAL_ACTIONS_MAX)
		actions->list[actions->n++] = act;
}

static void housekeeping(const struct cal_policy *policy, struct cal_state *s, int64_t now, struct cal_actions *actions)
{
	if (s->previous_until.ms != 0 && now >= s->previous_until.ms) {
		s->previous_until.ms = 0;
		s->previous = (struct tp_cert){0};
		emit(actions, CAL_ACT_RETIRE_PREVIOUS);
	}
	if (now >= s->sweep_due.ms) {
		s->sweep_due.ms = now + sweep_ms(policy);
		emit(actions, CAL_ACT_EXPIRE_REQUESTS);
	}
}

static void clamp(struct wall *due, int64_t latest)
{
	if (due->ms > latest)
		due->ms = latest;
}

/* A clock that was set back must not put off what is due every so often. */
static void after_set_back(const struct cal_policy *policy, struct cal_state *s, int64_t now)
{
	clamp(&s->crl_due, now + policy->crl_lifetime_ms / 2);
	clamp(&s->next_crl_due, now + policy->crl_lifetime_ms / 2);
	clamp(&s->sweep_due, now + sweep_ms(policy));
	clamp(&s->previous_until, now + PREVIOUS_GRACE_MS);
}

static void look(const struct cal_policy *policy, struct cal_state *s, const struct tp_now *now, struct cal_actions *actions)
{
	enum cal_act act;

	if (!now->trusted || !has(&s->ca))
		return;
	after_set_back(policy, s, now->wall.ms);
	housekeeping(policy, s, now->wall.ms, actions);
	if (s->busy != CAL_ACT_NONE)
		return;
	act = most_urgent(policy, s, now);
	if (act == CAL_ACT_NONE)
		return;
	s->busy = act;
	emit(actions, act);
}

/* When the failed action should have been done: a CRL before its nextUpdate, all else before the CA ends. */
static int64_t deadline_ms(const struct cal_policy *policy, const struct cal_state *s, enum cal_act act)
{
	if (act == CAL_ACT_MAKE_CRL)
		return s->crl_due.ms + policy->crl_lifetime_ms / 2;
	if (act == CAL_ACT_MAKE_NEXT_CRL)
		return s->next_crl_due.ms + policy->crl_lifetime_ms / 2;
	return end_ms(&s->ca);
}

/* A sixteenth of the time left, at most a minute and growing as CONNECT RETRY does: a short-lived CA must not end between two tries. What
 * is late, as a switch always is, is tried after 1 s, 2 s ... 1 min. */
static int64_t retry_ms(const struct cal_policy *policy, const struct cal_state *s, enum cal_act act, int64_t now)
{
	int64_t left = deadline_ms(policy, s, act) - now, period = left / 16;

	if (act == CAL_ACT_SWITCH || left <= 0)
		return timer_interval_ms(TIMER_SECOND_MS, s->failures, 16 * TIMER_MINUTE_MS);
	if (period > TIMER_MINUTE_MS)
		period = TIMER_MINUTE_MS;
	if (period < TIMER_SECOND_MS)
		period = TIMER_SECOND_MS;
	return timer_interval_ms(period, s->failures, left);
}

static void done_failed(const struct cal_policy *policy, struct cal_state *s, enum cal_act act, const struct tp_now *now)
{
	s->failed = act;
	s->retry_at.ms = now->boot.ms + retry_ms(policy, s, act, now->wall.ms);
	if (s->failures < UINT32_MAX)
		s->failures++;
}

static void done_switch(struct cal_state *s, int64_t now)
{
	s->previous = s->ca;
	s->previous_until.ms = now + PREVIOUS_GRACE_MS;
	s->ca = s->next;
	s->crl_due = s->next_crl_due;
	s->next = (struct tp_cert){0};
	s->next_crl_due.ms = 0;
	s->cancel_asked = false;
}

static void done_ok(const struct cal_policy *policy, struct cal_state *s, const struct cal_event *event, int64_t now)
{
	switch (event->act) {
	case CAL_ACT_MAKE_NEXT:
		s->next = event->cert;
		s->next_crl_due.ms = 0;
		s->rollover_asked = false;
		return;
	case CAL_ACT_SWITCH:
		done_switch(s, now);
		return;
	case CAL_ACT_MAKE_CRL:
		s->crl_due.ms = now + policy->crl_lifetime_ms / 2;
		return;
	case CAL_ACT_MAKE_NEXT_CRL:
		s->next_crl_due.ms = now + policy->crl_lifetime_ms / 2;
		return;
	case CAL_ACT_CANCEL_NEXT:
		s->next = (struct tp_cert){0};
		s->cancel_asked = false;
		return;
	case CAL_ACT_NONE:
	case CAL_ACT_EXPIRE_REQUESTS:
	case CAL_ACT_RETIRE_PREVIOUS:
	case CAL_ACT_N_:
		return;
	}
}

static void done(const struct cal_policy *policy, struct cal_state *s, const struct cal_event *event, const struct tp_now *now)
{
	if (event->act == CAL_ACT_NONE || event->act != s->busy)
		return;
	s->busy = CAL_ACT_NONE;
	if (!event->ok) {
		done_failed(policy, s, event->act, now);
		return;
	}
	if (s->failed == event->act) {
		s->failed = CAL_ACT_NONE;
		s->failures = 0;
		s->retry_at.ms = 0;
	}
	done_ok(policy, s, event, now->wall.ms);
}

static void start(struct cal_state *s)
{
	s->retry_at.ms = 0;
	s->failures = 0;
	s->failed = CAL_ACT_NONE;
}

/* An operator who asks does not wait for the next try of what failed. */
static void try_now(struct cal_state *s, enum cal_act act)
{
	if (s->failed == act)
		start(s);
}

void cal_step(const struct cal_policy *policy, struct cal_state *state, const struct cal_event *event, const struct tp_now *now,
	      struct cal_actions *ret_actions)
{
	*ret_actions = (struct cal_actions){0};
	switch (event->kind) {
	case CAL_EV_START:
		start(state);
		break;
	case CAL_EV_DONE:
		done(policy, state, event, now);
		break;
	case CAL_EV_ROLLOVER:
		state->rollover_asked = !has(&state->next);
		try_now(state, CAL_ACT_MAKE_NEXT);
		break;
	case CAL_EV_CANCEL:
		state->cancel_asked = has(&state->next);
		state->rollover_asked = false;
		try_now(state, CAL_ACT_CANCEL_NEXT);
		break;
	case CAL_EV_TICK:
	case CAL_EV_N_:
		break;
	}
	look(policy, state, now, ret_actions);
}

static void add_wall(struct cal_due *ret, size_t *n, enum cal_timer timer, int64_t at_ms)
{
	ret[(*n)++] = (struct cal_due){.timer = timer, .at_wall.ms = at_ms};
}

static size_t collect(const struct cal_policy *policy, const struct cal_state *s, struct cal_due ret[CAL_TIMER_N_])
{
	size_t n = 0;

	add_wall(ret, &n, CAL_TIMER_CERT_EXPIRE, end_ms(&s->ca));
	ret[0].exact = true;
	add_wall(ret, &n, CAL_TIMER_CRL_UPDATE, s->crl_due.ms);
	add_wall(ret, &n, CAL_TIMER_REQUEST_EXPIRE, s->sweep_due.ms);
	if (has(&s->next))
		add_wall(ret, &n, CAL_TIMER_ROLLOVER_CRL_UPDATE, s->next_crl_due.ms);
	else if (policy->overlap_ms > 0)
		add_wall(ret, &n, CAL_TIMER_SHADOW_CERT_GENERATION, generation_ms(policy, s));
	if (s->previous_until.ms != 0)
		add_wall(ret, &n, CAL_TIMER_PREVIOUS_EXPIRE, s->previous_until.ms);
	if (s->retry_at.ms != 0)
		ret[n++] = (struct cal_due){.timer = CAL_TIMER_RETRY, .on_boot = true, .at_boot = s->retry_at};
	return n;
}

static int64_t wait_of(const struct cal_due *due, const struct tp_now *now)
{
	int64_t wait = due->on_boot ? due->at_boot.ms - now->boot.ms : due->at_wall.ms - now->wall.ms;

	return wait > 0 ? wait : 0;
}

size_t cal_timers(const struct cal_policy *policy, const struct cal_state *state, const struct tp_now *now, struct cal_due ret[CAL_TIMER_N_])
{
	size_t n;

	if (!now->trusted || !has(&state->ca))
		return 0;
	n = collect(policy, state, ret);
	for (size_t i = 1; i < n; i++) {
		struct cal_due one = ret[i];
		size_t j = i;

		for (; j > 0 && wait_of(&ret[j - 1], now) > wait_of(&one, now); j--)
			ret[j] = ret[j - 1];
		ret[j] = one;
	}
	return n;
}

/* A timer that would move nothing now must not wake anybody: the end of a CA without a successor, what waits for a retry. */
static bool would_move(const struct cal_policy *policy, const struct cal_state *s, const struct cal_due *due, const struct tp_now *now)
{
	if (wait_of(due, now) > 0)
		return true;
	if (due->timer == CAL_TIMER_PREVIOUS_EXPIRE || due->timer == CAL_TIMER_REQUEST_EXPIRE)
		return true;
	return s->busy == CAL_ACT_NONE && most_urgent(policy, s, now) != CAL_ACT_NONE;
}

int64_t cal_wait_ms(const struct cal_policy *policy, const struct cal_state *state, const struct tp_now *now)
{
	struct cal_due due[CAL_TIMER_N_];
	size_t n = cal_timers(policy, state, now, due);

	for (size_t i = 0; i < n; i++)
		if (would_move(policy, state, &due[i], now))
			return wait_of(&due[i], now);
	return -1;
}

static const char *const timer_names[] = {
	"SHADOW CERT GENERATION", "CERT EXPIRE", "CRL UPDATE", "ROLLOVER CRL UPDATE", "PREVIOUS EXPIRE", "REQUEST EXPIRE", "RETRY",
};
static_assert(sizeof(timer_names) / sizeof(timer_names[0]) == CAL_TIMER_N_, "a name for each timer");

const char *cal_timer_name(enum cal_timer timer)
{
	return (unsigned)timer < CAL_TIMER_N_ ? timer_names[timer] : "unknown";
}

static const char *const act_names[] = {
	"none", "make-next", "switch", "make-crl", "make-next-crl", "expire-requests", "retire-previous", "cancel-next",
};
static_assert(sizeof(act_names) / sizeof(act_names[0]) == CAL_ACT_N_, "a name for each action");

const char *cal_act_name(enum cal_act act)
{
	return (unsigned)act < CAL_ACT_N_ ? act_names[act] : "unknown";
}

static struct tp_cert validity(int64_t nb_sec, int64_t lifetime_ms)
{
	return (struct tp_cert){.nb_sec = nb_sec, .na_sec = nb_sec + lifetime_ms / TIMER_SECOND_MS};
}

struct tp_cert cal_first_validity(const struct cal_policy *policy, const struct tp_now *now)
{
	return validity(now->wall.ms / TIMER_SECOND_MS, policy->ca_lifetime_ms);
}

struct tp_cert cal_next_validity(const struct cal_policy *policy, const struct cal_state *state, const struct tp_now *now)
{
	return validity(policy->rollover_start_now ? now->wall.ms / TIMER_SECOND_MS : state->ca.na_sec, policy->ca_lifetime_ms);
}

struct tp_cert cal_cert_validity(const struct cal_policy *policy, const struct cal_state *state, bool under_next, const struct tp_now *now)
{
	const struct tp_cert *issuer = under_next ? &state->next : &state->ca;
	int64_t nb = now->wall.ms / TIMER_SECOND_MS;
	struct tp_cert cert = validity(nb > issuer->nb_sec ? nb : issuer->nb_sec, policy->cert_lifetime_ms);

	if (cert.na_sec > issuer->na_sec)
		cert.na_sec = issuer->na_sec;
	return cert;
}

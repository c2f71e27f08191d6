/* When: what an idle trustpoint will do and at what moment. tp_step.c and tp_timers.c both ask here, so that what is printed is what will happen. */
#include "lifecycle/tp_internal.h"

static const struct tp_plan plan_nothing = {.op = TP_OP_NONE};

static struct tp_plan plan_at_once(enum tp_op op)
{
	return (struct tp_plan){.op = op, .at = {.ms = INT64_MIN}};
}

bool tp_ends_with_ca(const struct tp_cert *id, const struct tp_cert *ca)
{
	int64_t tolerance = (id->na_sec - id->nb_sec) / 100;

	if (!tp_has(id) || !tp_has(ca))
		return false;
	if (tolerance > 60)
		tolerance = 60;
	return id->na_sec >= ca->na_sec - tolerance;
}

static struct tp_plan plan_without_ca(const struct tp_policy *policy, const struct tp_state *state)
{
	if (tp_has(&state->next_ca))
		return plan_nothing; /* ACTIVATE is due */
	return policy->pinned && state->hold != TP_HOLD_REJECTED ? plan_at_once(TP_OP_AUTH) : plan_nothing;
}

static struct tp_plan plan_next_ca(const struct tp_policy *policy, uint64_t seed, const struct tp_state *state)
{
	if (tp_has(&state->next_ca))
		return plan_nothing;
	return (struct tp_plan){.op = TP_OP_SHADOW, .ca_only = true, .at = timer_shadow_ca_at(policy, seed, &state->ca)};
}

/* Within the tolerance, but the shadow certificate begins only when the CA ends: seconds without either. A RENEW closes the gap, unless one
 * has shown that this CA cannot do better. A second is tolerated. */
static bool leaves_gap(const struct tp_state *state)
{
	return !tp_has(&state->shadow) && !state->trimmed && state->id.na_sec < state->ca.na_sec - 1;
}

static struct tp_plan plan_replacement(const struct tp_policy *policy, uint64_t seed, const struct tp_state *state)
{
	if (!tp_ends_with_ca(&state->id, &state->ca) || leaves_gap(state))
		return (struct tp_plan){.op = TP_OP_RENEW, .at = timer_renew_at(policy, seed, &state->id)};
	if (tp_has(&state->shadow))
		return plan_nothing;
	return (struct tp_plan){.op = TP_OP_SHADOW, .at = timer_shadow_at(policy, seed, &state->id, &state->ca, tp_has(&state->next_ca))};
}

struct tp_plan tp_plan_idle(const struct tp_policy *policy, uint64_t seed, const struct tp_state *state, const struct tp_now *now)
{
	if (!now->trusted)
		return plan_nothing;
	if (!tp_usable(&state->ca, now))
		return plan_without_ca(policy, state);
	if (!policy->auto_enroll || state->hold == TP_HOLD_REJECTED)
		return plan_next_ca(policy, seed, state);
	if (!tp_usable(&state->id, now))
		return plan_at_once(TP_OP_ENROLL);
	return plan_replacement(policy, seed, state);
}

bool tp_waits_for_operator(const struct tp_policy *policy, const struct tp_state *state, const struct tp_now *now)
{
	if (!tp_usable(&state->ca, now))
		return !policy->pinned && !tp_has(&state->next_ca);
	return !policy->auto_enroll && !tp_usable(&state->id, now);
}

static int64_t until_end(const struct tp_cert *cert, const struct tp_now *now)
{
	return cert->na_sec * TIMER_SECOND_MS - now->wall.ms;
}

int64_t tp_time_left(const struct tp_state *state, const struct tp_now *now)
{
	if (!now->trusted || !tp_usable(&state->ca, now))
		return TIMER_NO_DEADLINE;
	if (state->op == TP_OP_RENEW && tp_usable(&state->id, now) && state->id.na_sec < state->ca.na_sec)
		return until_end(&state->id, now);
	return until_end(&state->ca, now);
}

/* The shadow certificate takes over no later than the ID ends. */
static bool shadow_covers(const struct tp_state *state)
{
	return tp_has(&state->shadow) && state->shadow.nb_sec <= state->id.na_sec;
}

int64_t tp_alert_next(const struct tp_policy *policy, const struct tp_state *state, const struct tp_now *now)
{
	if (!now->trusted)
		return state->alert_at.ms;
	if (state->hold == TP_HOLD_REJECTED || (state->refused && state->op == TP_OP_AUTH))
		return now->wall.ms + TIMER_DAY_MS;
	if (!tp_has(&state->id)) /* after a switch without a shadow: what was there has gone */
		return tp_has(&state->old_ca) ? now->wall.ms + TIMER_DAY_MS : 0;
	if (policy->auto_enroll && shadow_covers(state))
		return 0;
	return timer_alert_after(timer_alert_first(policy, &state->id), state->id.na_sec * TIMER_SECOND_MS, now->wall.ms);
}

enum tp_alert tp_alert_kind(const struct tp_state *state, const struct tp_now *now)
{
	if (tp_expired(&state->id, now) || (!tp_has(&state->id) && tp_has(&state->old_ca)))
		return TP_ALERT_EXPIRED;
	if (state->hold == TP_HOLD_REJECTED)
		return TP_ALERT_REJECTED;
	if (state->refused && state->op == TP_OP_AUTH)
		return TP_ALERT_FINGERPRINT;
	return tp_ends_with_ca(&state->id, &state->ca) && !shadow_covers(state) ? TP_ALERT_NO_SHADOW : TP_ALERT_EXPIRING;
}

bool tp_activate_due(const struct tp_state *state, const struct tp_now *now, int64_t *ret_ms)
{
	if (!now->trusted || !tp_has(&state->ca) || !tp_has(&state->next_ca))
		return false;
	*ret_ms = timer_activate_at(&state->ca, &state->next_ca);
	return true;
}

/* The old pair stays until a new one is installed: after a switch without a shadow, polls may still have to be signed with it. */
bool tp_retire_due(const struct tp_state *state, const struct tp_now *now, int64_t *ret_ms)
{
	if (!now->trusted || state->retire_at.ms == 0 || !tp_has(&state->id))
		return false;
	*ret_ms = state->retire_at.ms;
	return true;
}

bool tp_wants_next_beside(const struct tp_policy *policy, uint64_t seed, const struct tp_state *state, const struct tp_now *now)
{
	if (state->op != TP_OP_ENROLL && state->op != TP_OP_RENEW)
		return false;
	if (!now->trusted || !tp_usable(&state->ca, now) || tp_has(&state->next_ca))
		return false;
	return now->wall.ms >= timer_shadow_ca_at(policy, seed, &state->ca).ms;
}

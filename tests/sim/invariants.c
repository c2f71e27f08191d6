/* What must hold after every step, whatever the events. Written from what was promised, not from the code: it uses nothing internal. */
#include "tests/sim/sim.h"

static bool has_done(enum tp_act act)
{
	return act != TP_ACT_NONE && act != TP_ACT_ABANDON && act != TP_ACT_RETIRE && act != TP_ACT_ALERT;
}

static bool is_request(enum tp_act act)
{
	return act == TP_ACT_AUTHENTICATE || act == TP_ACT_FETCH_NEXT || act == TP_ACT_REQUEST || act == TP_ACT_POLL;
}

static const char *check_actions(const struct tp_actions *actions)
{
	if (actions->n > TP_ACTIONS_MAX)
		return "more actions than fit";
	for (size_t i = 0; i < actions->n; i++) {
		if (actions->list[i].act <= TP_ACT_NONE || actions->list[i].act >= TP_ACT_N_)
			return "an action that is none";
		if (has_done(actions->list[i].act) && i + 1 != actions->n)
			return "an action with a DONE is not the last";
		if ((actions->list[i].act == TP_ACT_ALERT) != (actions->list[i].alert != TP_ALERT_NONE))
			return "an alert without its kind, or a kind without an alert";
	}
	return NULL;
}

static enum tp_act last_with_done(const struct tp_actions *actions)
{
	if (actions->n == 0 || !has_done(actions->list[actions->n - 1].act))
		return TP_ACT_NONE;
	return actions->list[actions->n - 1].act;
}

static const char *check_one_in_flight(const struct sim *sim, const struct tp_event *event, enum tp_act act, bool was_flying)
{
	bool by_command = event->kind == TP_EV_COMMAND && act == TP_ACT_AUTHENTICATE;

	if (was_flying && act != TP_ACT_NONE && act != TP_ACT_ACTIVATE && !by_command)
		return "a second operation while one is in flight";
	if (was_flying && act == TP_ACT_ACTIVATE && (sim->flying_act == TP_ACT_ACTIVATE || sim->flying_act == TP_ACT_INSTALL))
		return "the switch cut a delivery short";
	if (sim->tp.busy != (act != TP_ACT_NONE ? act : was_flying ? sim->flying_act : TP_ACT_NONE))
		return "the state does not know what is in flight";
	return NULL;
}

/* The chain: capabilities, CA certificates, PKIOperation. */
static bool continues_chain(enum tp_act before, enum tp_act act)
{
	if (before == TP_ACT_AUTHENTICATE && act == TP_ACT_FETCH_NEXT)
		return true;
	return (before == TP_ACT_AUTHENTICATE || before == TP_ACT_FETCH_NEXT) && (act == TP_ACT_REQUEST || act == TP_ACT_POLL);
}

static const char *check_spacing(const struct sim *sim, enum tp_act act)
{
	if (!is_request(act) || sim->boot_ms - sim->last_request_boot >= sim->policy.retry_period_ms)
		return NULL;
	if (continues_chain(sim->last_request_act, act) || sim->commanded)
		return NULL;
	return "two requests closer than RetryPeriod";
}

static const char *check_due(const struct sim *sim, enum tp_act act, bool was_flying)
{
	struct tp_now now = sim_now(sim);

	if (act != TP_ACT_NONE || was_flying || sim->tp.hold != TP_HOLD_NONE)
		return NULL;
	if (!now.trusted && sim->tp.op == TP_OP_NONE)
		return NULL; /* the clock's trust is the event that moves it */
	if (tp_wait_ms(&sim->policy, sim->seed, &sim->tp, &now) < 0)
		return "neither an operation in flight nor a due time";
	return NULL;
}

static const char *check_retire(const struct sim *sim, const struct tp_actions *actions)
{
	for (size_t i = 0; i < actions->n; i++)
		if (actions->list[i].act == TP_ACT_RETIRE && (sim->tp.id.na_sec == 0 || sim->tp.id.serial_low != sim->delivered.serial_low))
			return "the previous pair was retired before a new one was installed";
	return NULL;
}

static bool is_certificate_timer(enum tp_timer timer)
{
	return timer == TP_TIMER_RENEW || timer == TP_TIMER_SHADOW || timer == TP_TIMER_ACTIVATE || timer == TP_TIMER_ALERT || timer == TP_TIMER_RETIRE;
}

static const char *check_timers(const struct sim *sim)
{
	struct tp_now now = sim_now(sim);
	struct tp_due due[TP_TIMER_N_];
	size_t n = tp_timers(&sim->policy, sim->seed, &sim->tp, &now, due);
	int64_t wait, before = 0;

	for (size_t i = 0; i < n; i++) {
		wait = due[i].on_boot ? due[i].at_boot.ms - now.boot.ms : due[i].at_wall.ms - now.wall.ms;
		wait = wait > 0 ? wait : 0;
		if (wait < before)
			return "the timers are not in order";
		if (i == 0 && wait != tp_wait_ms(&sim->policy, sim->seed, &sim->tp, &now))
			return "the first timer is not the wait";
		if (!now.trusted && is_certificate_timer(due[i].timer))
			return "a certificate timer under an untrusted clock";
		if (due[i].why[0] == '\0' || due[i].missed[0] == '\0')
			return "a timer without its reason";
		before = wait;
	}
	return NULL;
}

static const char *check_state(const struct tp_state *tp)
{
	if ((tp->op == TP_OP_NONE) != (tp->stage == TP_STAGE_IDLE))
		return "an operation without a stage, or a stage without an operation";
	if (tp->shadow.na_sec != 0 && tp->next_ca.na_sec == 0)
		return "a shadow certificate without its CA";
	if ((tp->stage == TP_STAGE_GRANTED) != (tp->granted.na_sec != 0))
		return "GRANTED without a certificate, or a certificate out of place";
	if (tp->next_ca.na_sec != 0 && (tp->next_ca.nb_sec > tp->ca.na_sec || tp->next_ca.na_sec <= tp->ca.na_sec))
		return "a next CA that does not take over from the active one";
	return NULL;
}

const char *sim_check(const struct sim *sim, const struct tp_event *event, const struct tp_actions *actions, bool was_flying)
{
	const char *why = check_actions(actions);
	enum tp_act act = last_with_done(actions);

	if (!why)
		why = check_one_in_flight(sim, event, act, was_flying);
	if (!why)
		why = check_spacing(sim, act);
	if (!why)
		why = check_due(sim, act, was_flying);
	if (!why)
		why = check_retire(sim, actions);
	if (!why)
		why = check_timers(sim);
	return why ? why : check_state(&sim->tp);
}

/* The loop of virtual time, and the performer of actions. */
#include "tests/sim/sim.h"

#include <string.h>

#include "tests/sim/sim_ca.h"

uint64_t sim_draw(struct sim *sim)
{
	return timer_hash(sim->seed ^ 0x51u, sim->draws++);
}

struct tp_now sim_now(const struct sim *sim)
{
	return (struct tp_now){.wall.ms = sim->true_ms + sim->skew_ms, .boot.ms = sim->boot_ms, .trusted = sim->trusted};
}

void sim_init(struct sim *sim, const struct tp_policy *policy, const struct sim_ca *ca, uint64_t seed, int64_t true_ms)
{
	memset(sim, 0, sizeof(*sim));
	sim->policy = *policy;
	sim->ca = ca;
	sim->seed = seed;
	sim->true_ms = true_ms;
	sim->boot_ms = TIMER_MINUTE_MS;
	sim->trusted = true;
	sim->check = true;
	sim->tolerance_ms = TIMER_SECOND_MS;
	sim->serial = 1000;
	sim->last_request_boot = INT64_MIN / 2;
}

static bool has_done(enum tp_act act)
{
	return act != TP_ACT_NONE && act != TP_ACT_ABANDON && act != TP_ACT_RETIRE && act != TP_ACT_ALERT;
}

static bool is_request(enum tp_act act)
{
	return act == TP_ACT_AUTHENTICATE || act == TP_ACT_FETCH_NEXT || act == TP_ACT_REQUEST || act == TP_ACT_POLL;
}

static void count_request(struct sim *sim, enum tp_act act)
{
	int64_t day = sim->boot_ms / SIM_DAY_MS;

	sim->requests++;
	if (day != sim->day)
		sim->day_requests = 0;
	sim->day = day;
	if (++sim->day_requests > sim->max_day_requests)
		sim->max_day_requests = sim->day_requests;
	sim->last_request_boot = sim->boot_ms;
	sim->last_request_act = act;
	if (act != TP_ACT_FETCH_NEXT) /* the command's chain ends here */
		sim->commanded = false;
}

static void perform(struct sim *sim, const struct tp_actions *actions)
{
	for (size_t i = 0; i < actions->n; i++) {
		enum tp_act act = actions->list[i].act;

		sim->alerts += act == TP_ACT_ALERT;
		sim->retires += act == TP_ACT_RETIRE;
		if (!has_done(act))
			continue;
		if (is_request(act))
			count_request(sim, act);
		sim->flying = true;
		sim->flying_act = act;
		sim->lands_ms = sim->true_ms + (is_request(act) ? sim->faults.latency_ms : sim->faults.local_ms);
	}
}

static bool lapsed(const struct sim *sim)
{
	return sim->delivered.na_sec != 0 && sim->true_ms > sim->delivered.na_sec * TIMER_SECOND_MS + sim->tolerance_ms;
}

/* The new pair is in use from now on; was there a gap before? */
static void deliver(struct sim *sim, const struct tp_cert *cert)
{
	sim->expiries += lapsed(sim);
	sim->delivered = *cert;
}

static bool chance(struct sim *sim, unsigned percent)
{
	return percent != 0 && sim_draw(sim) % 100 < percent;
}

static enum tp_result land_request(struct sim *sim, enum tp_act act, struct tp_cert *ret)
{
	enum tp_result unheard = TP_RESULT_NO_VERDICT;

	if (!chance(sim, sim->faults.no_verdict))
		return sim_ca_answer(sim, act, ret);
	if (chance(sim, 50)) /* the CA got it; the reply was lost */
		unheard = sim_ca_answer(sim, act, ret);
	(void)unheard;
	*ret = (struct tp_cert){0};
	return TP_RESULT_NO_VERDICT;
}

static void land_prepare(struct sim *sim)
{
	const struct tp_state *tp = &sim->tp;
	bool to_next = tp->op == TP_OP_SHADOW && tp->next_ca.na_sec != 0;

	sim->txn = (struct sim_txn){.to = to_next ? tp->next_ca : tp->ca};
	if (tp->op != TP_OP_ENROLL)
		sim->txn.signer = tp->id;
}

static void land_local(struct sim *sim, enum tp_act act)
{
	if (act == TP_ACT_PREPARE) {
		land_prepare(sim);
	} else if (act == TP_ACT_INSTALL) {
		sim->enrolments += sim->tp.op == TP_OP_ENROLL;
		sim->renewals += sim->tp.op == TP_OP_RENEW;
		sim->shadows += sim->tp.op == TP_OP_SHADOW;
		deliver(sim, &sim->tp.granted);
	} else if (act == TP_ACT_ACTIVATE) {
		sim->switches++;
		sim->shadows += sim->tp.shadow.na_sec != 0;
		if (sim->tp.shadow.na_sec != 0)
			deliver(sim, &sim->tp.shadow);
	}
}

static void land(struct sim *sim)
{
	struct tp_event done = {.kind = TP_EV_DONE, .act = sim->flying_act};

	sim->flying = false;
	if (is_request(done.act)) {
		done.result = land_request(sim, done.act, &done.cert);
		if (done.result == TP_RESULT_NO_VERDICT || done.result == TP_RESULT_PENDING)
			done.retry_after_ms = sim->faults.retry_after_ms;
	} else if (chance(sim, sim->faults.local)) {
		done.result = TP_RESULT_LOCAL;
	} else {
		land_local(sim, done.act);
		done.result = TP_RESULT_OK;
	}
	sim_event(sim, &done);
}

void sim_event(struct sim *sim, const struct tp_event *event)
{
	struct tp_now now = sim_now(sim);
	struct tp_actions actions;
	bool was_flying = sim->flying;

	sim->steps++;
	tp_step(&sim->policy, sim->seed, &sim->tp, event, &now, &actions);
	if (sim->trace)
		sim->trace(sim, event, &actions, sim->trace_arg);
	if (event->kind == TP_EV_COMMAND)
		sim->commanded = true;
	if (sim->check && !sim->broken) {
		sim->broken = sim_check(sim, event, &actions, was_flying);
		if (sim->last_step_ms != sim->true_ms)
			sim->steps_here = 0;
		if (++sim->steps_here > 200 && !sim->broken)
			sim->broken = "200 steps and no time passed";
		sim->last_step_ms = sim->true_ms;
	}
	perform(sim, &actions);
}

void sim_start(struct sim *sim, bool same_boot)
{
	struct tp_event event = {.kind = TP_EV_START, .same_boot = same_boot};

	sim_event(sim, &event);
}

void sim_command(struct sim *sim, enum tp_command command)
{
	struct tp_event event = {.kind = TP_EV_COMMAND, .command = command};

	sim_event(sim, &event);
}

void sim_crash(struct sim *sim, bool same_boot)
{
	struct tp_cert unheard;

	if (sim->flying && is_request(sim->flying_act) && chance(sim, 50))
		(void)sim_ca_answer(sim, sim->flying_act, &unheard); /* it had reached the CA */
	sim->flying = false;
	sim->tp.busy = TP_ACT_NONE; /* is not stored */
	if (!same_boot) {
		sim->boot_ms = TIMER_MINUTE_MS;
		sim->last_request_boot = INT64_MIN / 2;
	}
	sim_start(sim, same_boot);
}

static void pass(struct sim *sim, int64_t to_ms)
{
	sim->boot_ms += to_ms - sim->true_ms;
	sim->true_ms = to_ms;
}

void sim_run(struct sim *sim, int64_t until_ms)
{
	static const struct tp_event tick = {.kind = TP_EV_TICK};

	while (!sim->broken) {
		struct tp_now now = sim_now(sim);
		int64_t wait = tp_wait_ms(&sim->policy, sim->seed, &sim->tp, &now);
		int64_t next = wait < 0 ? INT64_MAX : sim->true_ms + wait;
		bool lands = sim->flying && sim->lands_ms <= next;

		if (lands)
			next = sim->lands_ms;
		if (next >= until_ms)
			break;
		pass(sim, next);
		if (lands)
			land(sim);
		else
			sim_event(sim, &tick);
	}
	if (!sim->broken && until_ms > sim->true_ms)
		pass(sim, until_ms);
}

void sim_finish(struct sim *sim)
{
	sim->expiries += lapsed(sim);
}

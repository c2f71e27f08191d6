/* The CA's history by the real calendar, and what it answers. */
#include "tests/sim/sim_ca.h"

static bool push(struct sim_ca *ca, int64_t now, const struct cal_state *state)
{
	if (ca->n == SIM_ERAS_MAX)
		return false;
	ca->era[ca->n++] = (struct sim_era){.from_ms = now, .ca = state->ca, .next = state->next, .previous = state->previous};
	return true;
}

/* Performs what the step asked for at once and without fault, and steps on. */
static void perform(struct sim_ca *ca, struct cal_state *state, struct cal_actions actions, const struct tp_now *now, uint64_t *serial)
{
	while (actions.n > 0) {
		struct cal_event done = {.kind = CAL_EV_DONE, .act = actions.list[actions.n - 1], .ok = true};

		if (done.act == CAL_ACT_EXPIRE_REQUESTS || done.act == CAL_ACT_RETIRE_PREVIOUS)
			return;
		if (done.act == CAL_ACT_MAKE_NEXT) {
			done.cert = cal_next_validity(&ca->policy, state, now);
			done.cert.serial_low = ++*serial;
		}
		cal_step(&ca->policy, state, &done, now, &actions);
	}
}

static void one(struct sim_ca *ca, struct cal_state *state, enum cal_event_kind kind, int64_t now_ms, uint64_t *serial)
{
	struct tp_now now = {.wall.ms = now_ms, .boot.ms = now_ms, .trusted = true};
	struct cal_event event = {.kind = kind};
	struct cal_actions actions;

	cal_step(&ca->policy, state, &event, &now, &actions);
	perform(ca, state, actions, &now, serial);
}

static bool changed(const struct sim_era *era, const struct cal_state *state)
{
	return era->ca.serial_low != state->ca.serial_low || era->next.serial_low != state->next.serial_low;
}

bool sim_ca_build(struct sim_ca *ca, int64_t start_ms, int64_t end_ms, const struct sim_order *orders, size_t n_orders)
{
	struct tp_now now = {.wall.ms = start_ms, .boot.ms = start_ms, .trusted = true};
	struct cal_state state = {.ca = cal_first_validity(&ca->policy, &now)};
	enum cal_event_kind kind = CAL_EV_START;
	uint64_t serial = 1;
	size_t next_order = 0;

	state.ca.serial_low = serial;
	ca->n = 0;
	if (!push(ca, start_ms, &state))
		return false;
	while (now.wall.ms < end_ms) {
		int64_t wait;

		one(ca, &state, kind, now.wall.ms, &serial);
		if (changed(&ca->era[ca->n - 1], &state) && !push(ca, now.wall.ms, &state))
			return false;
		wait = cal_wait_ms(&ca->policy, &state, &now);
		now.wall.ms = wait < 0 ? end_ms : now.wall.ms + wait;
		kind = CAL_EV_TICK;
		if (next_order < n_orders && orders[next_order].at_ms <= now.wall.ms) {
			now.wall.ms = orders[next_order].at_ms;
			kind = orders[next_order++].kind;
		}
		now.boot.ms = now.wall.ms;
	}
	return true;
}

static bool same(const struct tp_cert *a, const struct tp_cert *b)
{
	return a->na_sec != 0 && a->na_sec == b->na_sec && a->serial_low == b->serial_low;
}

/* -1: the recipient is no CA certificate of ours. */
static int recipient_of(const struct sim_era *era, const struct sim_txn *txn)
{
	if (same(&txn->to, &era->ca))
		return CAR_RECIPIENT_ACTIVE;
	if (same(&txn->to, &era->next))
		return CAR_RECIPIENT_NEXT;
	return same(&txn->to, &era->previous) ? CAR_RECIPIENT_PREVIOUS : -1;
}

static enum car_signer signer_of(const struct sim *sim)
{
	const struct sim_txn *txn = &sim->txn;

	if (txn->signer.na_sec == 0)
		return CAR_SIGNER_SELF;
	return sim->true_ms < txn->signer.na_sec * TIMER_SECOND_MS ? CAR_SIGNER_ISSUED : CAR_SIGNER_EXPIRED;
}

static void issue(struct sim *sim, bool under_next)
{
	const struct sim_era *era = sim_era(sim);
	struct cal_state state = {.ca = era->ca, .next = era->next};
	struct tp_now now = {.wall.ms = sim->true_ms, .boot.ms = sim->true_ms, .trusted = true};

	sim->txn.cert = cal_cert_validity(&sim->ca->policy, &state, under_next, &now);
	sim->txn.cert.serial_low = ++sim->serial;
	sim->txn.status = CAR_STATUS_GRANTED;
}

static enum tp_result answer(struct sim *sim, struct car_decision decision, bool under_next, struct tp_cert *ret)
{
	switch (decision.verdict) {
	case CAR_VERDICT_GRANT:
	case CAR_VERDICT_FINISH:
		issue(sim, under_next);
		*ret = sim->txn.cert;
		return TP_RESULT_GRANTED;
	case CAR_VERDICT_SAME:
		*ret = sim->txn.cert;
		return TP_RESULT_GRANTED;
	case CAR_VERDICT_PENDING:
		if (sim->txn.status == CAR_STATUS_NONE)
			sim->txn.received_ms = sim->true_ms;
		sim->txn.status = CAR_STATUS_PENDING;
		return TP_RESULT_PENDING;
	case CAR_VERDICT_REJECT:
		sim->txn.status = CAR_STATUS_REJECTED;
		return TP_RESULT_REJECTED;
	case CAR_VERDICT_N_:
		break;
	}
	return TP_RESULT_NO_VERDICT;
}

/* The operator comes by after a while, and forgets what is older than the request lifetime. */
static void operator_decides(struct sim *sim)
{
	struct sim_txn *txn = &sim->txn;
	int64_t age = sim->true_ms - txn->received_ms;

	if (sim->faults.reject)
		txn->status = CAR_STATUS_REJECTED;
	else if (txn->status == CAR_STATUS_PENDING && age >= sim->faults.grant_delay_ms)
		txn->status = CAR_STATUS_AUTHORIZED;
	else if (txn->status == CAR_STATUS_PENDING && age >= sim->ca->policy.request_lifetime_ms)
		txn->status = CAR_STATUS_EXPIRED;
}

static enum tp_result ca_request(struct sim *sim, struct tp_cert *ret)
{
	const struct sim_era *era = sim_era(sim);
	int recipient = recipient_of(era, &sim->txn);
	struct car_facts facts = {
		.signer = signer_of(sim), .same_subject = true, .csr_allowed = true, .stored = sim->txn.status,
	};

	if (recipient < 0)
		return TP_RESULT_REJECTED;
	facts.recipient = (enum car_recipient)recipient;
	if (sim->faults.reject)
		return TP_RESULT_REJECTED;
	return answer(sim, car_decide(&sim->ca->grants, &facts), recipient == CAR_RECIPIENT_NEXT, ret);
}

static enum tp_result ca_poll(struct sim *sim, struct tp_cert *ret)
{
	int recipient = recipient_of(sim_era(sim), &sim->txn);

	operator_decides(sim);
	return answer(sim, car_decide_poll(sim->txn.status), recipient == CAR_RECIPIENT_NEXT, ret);
}

static enum tp_result ca_next(struct sim *sim, struct tp_cert *ret)
{
	const struct sim_era *era = sim_era(sim);

	*ret = era->next;
	return era->next.na_sec != 0 ? TP_RESULT_OK : TP_RESULT_NOT_YET;
}

enum tp_result sim_ca_answer(struct sim *sim, enum tp_act act, struct tp_cert *ret)
{
	if (act == TP_ACT_FETCH_NEXT)
		return ca_next(sim, ret);
	if (act == TP_ACT_REQUEST)
		return ca_request(sim, ret);
	if (act == TP_ACT_POLL)
		return ca_poll(sim, ret);
	if (sim->faults.other_ca)
		return TP_RESULT_REFUSED;
	*ret = sim_era(sim)->ca;
	return TP_RESULT_OK;
}

const struct sim_era *sim_era(struct sim *sim)
{
	while (sim->cursor + 1 < sim->ca->n && sim->ca->era[sim->cursor + 1].from_ms <= sim->true_ms)
		sim->cursor++;
	return &sim->ca->era[sim->cursor];
}

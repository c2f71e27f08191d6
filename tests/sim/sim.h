/* A router and its CA in virtual time: the real tp_step and cal_step, a scripted performer, and a CA that fails as told. After every step the
 * invariants of the machine are checked. All times are milliseconds; `true_ms` is the CA's clock, the router's may be skewed from it. */
#ifndef KEYROLL_TESTS_SIM_SIM_H
#define KEYROLL_TESTS_SIM_SIM_H

#include "lifecycle/cal.h"
#include "lifecycle/car.h"
#include "lifecycle/timer.h"
#include "lifecycle/tp.h"

#define SIM_EPOCH_SEC 1767225600 /* 2026-01-01: day 0, the CA starts */
#define SIM_DAY_MS TIMER_DAY_MS
#define SIM_YEAR_MS (365 * TIMER_DAY_MS)
#define SIM_ERAS_MAX 256

/* Between two changes the CA is one pair of certificates. */
struct sim_era {
	int64_t from_ms;
	struct tp_cert ca, next, previous;
};

struct sim_order {
	int64_t at_ms;
	enum cal_event_kind kind; /* ROLLOVER or CANCEL */
};

/* The CA's history, made once by cal_step and shared by any number of routers. */
struct sim_ca {
	struct cal_policy policy;
	struct car_policy grants;
	struct sim_era era[SIM_ERAS_MAX];
	size_t n;
};

/* Runs the calendar from start to end; false: more changes than SIM_ERAS_MAX. */
bool sim_ca_build(struct sim_ca *ca, int64_t start_ms, int64_t end_ms, const struct sim_order *orders, size_t n_orders);

/* One transaction as the CA remembers it. */
struct sim_txn {
	struct tp_cert to;     /* the CA certificate that it is addressed to */
	struct tp_cert signer; /* na_sec == 0: self-signed */
	enum car_status status;
	int64_t received_ms;
	struct tp_cert cert;
};

struct sim_faults {
	unsigned no_verdict; /* percent of exchanges without a verdict: half lose the request, half the reply */
	unsigned local;	     /* percent of local actions that fail */
	bool reject;	     /* the operator rejects what comes in */
	bool other_ca;	     /* GetCACert shows another fingerprint */
	int64_t grant_delay_ms; /* how long a request stays pending; 0 with Grant=auto */
	int64_t retry_after_ms; /* sent with each refusal */
	int64_t latency_ms;  /* of each exchange */
	int64_t local_ms;    /* of each local action */
};

struct sim;
typedef void (*sim_trace_fn)(const struct sim *sim, const struct tp_event *event, const struct tp_actions *actions, void *arg);

struct sim {
	struct tp_policy policy;
	uint64_t seed;
	const struct sim_ca *ca;
	struct sim_faults faults;
	struct tp_state tp;
	int64_t true_ms, skew_ms, boot_ms;
	bool trusted;

	bool flying; /* an action with a DONE is in flight */
	enum tp_act flying_act;
	int64_t lands_ms; /* true time */
	struct sim_txn txn;
	struct tp_cert delivered; /* the pair that programs use */
	size_t cursor;		  /* era */
	uint64_t draws, serial;

	sim_trace_fn trace;
	void *trace_arg;
	int64_t tolerance_ms; /* a pair may be this much late before it counts as an expiry; 1 s */
	bool check;
	const char *broken; /* the first invariant that did not hold */

	/* what happened */
	uint64_t steps, requests, enrolments, renewals, shadows, switches, expiries, alerts, retires;
	uint32_t day_requests, max_day_requests;
	int64_t day;
	/* for the invariants */
	int64_t last_request_boot;
	enum tp_act last_request_act;
	bool commanded;
	int64_t last_step_ms;
	uint32_t steps_here;
};

/* Router and CA at `true_ms`; nothing has been sent yet. Defaults: trusted, no faults, checks on. */
void sim_init(struct sim *sim, const struct tp_policy *policy, const struct sim_ca *ca, uint64_t seed, int64_t true_ms);
void sim_event(struct sim *sim, const struct tp_event *event);
void sim_start(struct sim *sim, bool same_boot);
void sim_command(struct sim *sim, enum tp_command command);
/* The process dies and comes back: what was in flight may or may not have reached the CA. */
void sim_crash(struct sim *sim, bool same_boot);
/* Until true time `until_ms`, or until an invariant breaks. */
void sim_run(struct sim *sim, int64_t until_ms);
/* Counts an expiry that is still going on at the end. */
void sim_finish(struct sim *sim);
struct tp_now sim_now(const struct sim *sim);
const struct sim_era *sim_era(struct sim *sim);
uint64_t sim_draw(struct sim *sim);

/* tests/sim/invariants.c: after each step. NULL: all hold. */
const char *sim_check(const struct sim *sim, const struct tp_event *event, const struct tp_actions *actions, bool was_flying);

/* Days since day 0. */
static inline double sim_days(int64_t ms)
{
	return (double)(ms - SIM_EPOCH_SEC * TIMER_SECOND_MS) / (double)SIM_DAY_MS;
}

#endif

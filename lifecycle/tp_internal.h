/* What the parts of the trustpoint machine share: tp_step.c decides, tp_done.c digests results, tp_plan.c knows when, tp_timers.c prints it. */
#ifndef KEYROLL_LIFECYCLE_TP_INTERNAL_H
#define KEYROLL_LIFECYCLE_TP_INTERNAL_H

#include "lifecycle/timer.h"
#include "lifecycle/tp.h"

#define TP_EXHAUSTED_WAIT_MS TIMER_HOUR_MS
#define TP_DEAD_SIGNER_TRIES 3 /* a request whose signer has expired is sent this often before a self-signed one takes its place */

/* One step's arguments. */
struct tp_ctx {
	const struct tp_policy *policy;
	uint64_t seed;
	struct tp_state *state;
	const struct tp_now *now;
	struct tp_actions *actions;
	bool chained; /* what begins now continues a chain of requests or obeys an operator: no minimum spacing */
};

/* What an idle trustpoint will do, and when. op NONE: nothing. */
struct tp_plan {
	enum tp_op op;
	bool ca_only;
	struct timer_at at; /* in certificate time; ms == INT64_MIN: at once */
};

static inline bool tp_has(const struct tp_cert *cert)
{
	return cert->na_sec != 0;
}

/* An untrusted clock calls nothing expired. */
static inline bool tp_expired(const struct tp_cert *cert, const struct tp_now *now)
{
	return tp_has(cert) && now->trusted && now->wall.ms >= cert->na_sec * TIMER_SECOND_MS;
}

static inline bool tp_usable(const struct tp_cert *cert, const struct tp_now *now)
{
	return tp_has(cert) && !tp_expired(cert, now);
}

static inline bool tp_same_cert(const struct tp_cert *a, const struct tp_cert *b)
{
	return a->nb_sec == b->nb_sec && a->na_sec == b->na_sec && a->serial_low == b->serial_low;
}

/* After the switch a SHADOW still in progress asks the CA that is active now. */
static inline bool tp_shadow_was_overtaken(const struct tp_state *state)
{
	return state->op == TP_OP_SHADOW && !state->ca_only && state->stage >= TP_STAGE_PREPARED && !tp_has(&state->next_ca);
}

static inline bool tp_act_is_request(enum tp_act act)
{
	return act == TP_ACT_AUTHENTICATE || act == TP_ACT_FETCH_NEXT || act == TP_ACT_REQUEST || act == TP_ACT_POLL;
}

struct tp_plan tp_plan_idle(const struct tp_policy *policy, uint64_t seed, const struct tp_state *state, const struct tp_now *now);
/* Neither a CA nor a way to get one, or no ID and nobody told us to get one: only an operator helps. */
bool tp_waits_for_operator(const struct tp_policy *policy, const struct tp_state *state, const struct tp_now *now);
/* Milliseconds until the end that retries work against; TIMER_NO_DEADLINE when there is none. */
int64_t tp_time_left(const struct tp_state *state, const struct tp_now *now);
/* The next alert; 0: none. */
int64_t tp_alert_next(const struct tp_policy *policy, const struct tp_state *state, const struct tp_now *now);
enum tp_alert tp_alert_kind(const struct tp_state *state, const struct tp_now *now);
/* When ACTIVATE is due in certificate time; false: never, or not by this clock. */
bool tp_activate_due(const struct tp_state *state, const struct tp_now *now, int64_t *ret_ms);
bool tp_retire_due(const struct tp_state *state, const struct tp_now *now, int64_t *ret_ms);
/* The next CA should be fetched beside an operation that makes no progress, lest the switch finds us without it. */
bool tp_wants_next_beside(const struct tp_policy *policy, uint64_t seed, const struct tp_state *state, const struct tp_now *now);

void tp_emit(struct tp_ctx *c, enum tp_act act);
void tp_emit_alert(struct tp_ctx *c, enum tp_alert alert);
void tp_begin(struct tp_ctx *c, enum tp_op op, bool ca_only);
void tp_finish(struct tp_ctx *c);
/* Forgets the operation, and what was prepared for it. */
void tp_abandon(struct tp_ctx *c);
/* The same purpose anew: a new key, CSR and transactionID. */
void tp_restart(struct tp_ctx *c);
void tp_retry_in(struct tp_ctx *c, int64_t wait_ms);
/* CONNECT RETRY: one more exchange without a verdict. */
void tp_retry_connect(struct tp_ctx *c, int64_t retry_after_ms);
uint64_t tp_draw(struct tp_ctx *c);
bool tp_signer_is_dead(const struct tp_ctx *c);

void tp_done(struct tp_ctx *c, const struct tp_event *event);
void tp_start(struct tp_ctx *c, const struct tp_event *event);
void tp_command(struct tp_ctx *c, enum tp_command command);

#endif

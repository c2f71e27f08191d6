/* The CA's calendar: SHADOW CERT GENERATION, CERT EXPIRE, CRL UPDATE and request expiry as one pure function. */
#ifndef KEYROLL_LIFECYCLE_CAL_H
#define KEYROLL_LIFECYCLE_CAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lifecycle/tp.h"

struct cal_policy {
	int64_t ca_lifetime_ms, cert_lifetime_ms, crl_lifetime_ms, request_lifetime_ms;
	int64_t overlap_ms;	  /* AutoRollover; 0: only by command */
	bool rollover_start_now;  /* RolloverStart=now */
};

enum cal_act {
	CAL_ACT_NONE,
	CAL_ACT_MAKE_NEXT,	/* key, certificate from cal_next_validity, durable before it is advertised. DONE: ok (+cert) or not */
	CAL_ACT_SWITCH,		/* next becomes active, active becomes previous. DONE */
	CAL_ACT_MAKE_CRL,	/* of the active key. DONE */
	CAL_ACT_MAKE_NEXT_CRL,	/* of the rollover key. DONE */
	CAL_ACT_EXPIRE_REQUESTS, /* drop what is older than request_lifetime. No DONE */
	CAL_ACT_RETIRE_PREVIOUS, /* forget the previous key. No DONE */
	CAL_ACT_CANCEL_NEXT,	/* delete the rollover key and certificate. DONE */
	CAL_ACT_N_
};

struct cal_state {
	struct tp_cert ca;	/* active; na_sec == 0 before init */
	struct tp_cert next;	/* rollover CA, na_sec == 0: none */
	struct tp_cert previous; /* the CA before the switch: its key answers polls and GetCert until previous_until */
	struct wall previous_until; /* 0: none */
	struct wall crl_due, next_crl_due; /* when the CRL of each key is made again: half of its life */
	struct boot retry_at;	/* after a failed action; 0: none. START clears it */
	uint32_t failures;
	struct wall sweep_due;	/* next EXPIRE_REQUESTS */
	bool rollover_asked, cancel_asked; /* an operator's command that is not done yet */
	/* these two are not stored: NONE after a load */
	enum cal_act failed;	/* the action that failed last */
	enum cal_act busy;	/* the action in flight */
};

enum cal_event_kind { CAL_EV_START, CAL_EV_TICK, CAL_EV_DONE, CAL_EV_ROLLOVER, CAL_EV_CANCEL, CAL_EV_N_ };

struct cal_event {
	enum cal_event_kind kind;
	enum cal_act act;    /* DONE */
	bool ok;	     /* DONE */
	struct tp_cert cert; /* DONE of MAKE_NEXT */
};

#define CAL_ACTIONS_MAX 4
struct cal_actions {
	size_t n;
	enum cal_act list[CAL_ACTIONS_MAX]; /* at most one has a DONE, and it is the last */
};

/* The shell's order: step, persist, perform; START after a load. An untrusted clock makes, switches and retires nothing. A SWITCH may come
 * while another action is in flight: it waits for that DONE. What a clock jump made overdue is made once. */
void cal_step(const struct cal_policy *policy, struct cal_state *state, const struct cal_event *event, const struct tp_now *now,
	      struct cal_actions *ret_actions);

enum cal_timer {
	CAL_TIMER_SHADOW_CERT_GENERATION,
	CAL_TIMER_CERT_EXPIRE,
	CAL_TIMER_CRL_UPDATE,
	CAL_TIMER_ROLLOVER_CRL_UPDATE,
	CAL_TIMER_PREVIOUS_EXPIRE,
	CAL_TIMER_REQUEST_EXPIRE,
	CAL_TIMER_RETRY,
	CAL_TIMER_N_
};
struct cal_due {
	enum cal_timer timer;
	bool on_boot;
	struct wall at_wall;
	struct boot at_boot;
	bool exact;
};
size_t cal_timers(const struct cal_policy *policy, const struct cal_state *state, const struct tp_now *now, struct cal_due ret[CAL_TIMER_N_]);
/* Milliseconds until the next CAL_EV_TICK is wanted; 0: now; -1: never by itself. */
int64_t cal_wait_ms(const struct cal_policy *policy, const struct cal_state *state, const struct tp_now *now);
const char *cal_timer_name(enum cal_timer timer); /* "SHADOW CERT GENERATION" ... as on IOS */
const char *cal_act_name(enum cal_act act);

/* Validity of the first CA certificate, of the rollover CA, and of an issued certificate. NA = NB + lifetime exactly; an issued
 * notAfter is capped at the CA's. under_next: issued by the rollover CA, valid from its NB (or from now if that has begun). */
struct tp_cert cal_first_validity(const struct cal_policy *policy, const struct tp_now *now);
struct tp_cert cal_next_validity(const struct cal_policy *policy, const struct cal_state *state, const struct tp_now *now);
struct tp_cert cal_cert_validity(const struct cal_policy *policy, const struct cal_state *state, bool under_next, const struct tp_now *now);

#endif

/* The trustpoint machine: one pure function moves a trustpoint. No clock, no allocation, no failure.
 *
 * The shell's order is fixed: step, persist, perform. At most one action that talks to anybody is in flight; its completion is one
 * TP_EV_DONE. Recovery after a crash is: load the state, send TP_EV_START. Every action may therefore happen twice.
 * Wall time rules certificates, boot time rules retries. */
#ifndef KEYROLL_LIFECYCLE_TP_H
#define KEYROLL_LIFECYCLE_TP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wall { int64_t ms; }; /* CLOCK_REALTIME, milliseconds since 1970 UTC */
struct boot { int64_t ms; }; /* CLOCK_BOOTTIME, milliseconds */

struct tp_now {
	struct wall wall;
	struct boot boot;
	bool trusted; /* the wall clock may judge certificates */
};

struct tp_policy {
	bool auto_enroll;	  /* an [AutoEnroll] section with Percent */
	int percent;		  /* 10 to 100; meaningless without auto_enroll */
	bool regenerate;	  /* a new key for each RENEW and SHADOW */
	bool jitter;
	bool pinned;		  /* a CAFingerprint is in the file: authentication needs nobody */
	int64_t retry_period_ms;
	uint32_t retry_count;	  /* polls; 0: no limit */
	int64_t previous_grace_ms; /* how long the old key serves after a switch (RETIRE) */
};

/* What the machine needs to know of a certificate. na_sec == 0: there is none. */
struct tp_cert {
	int64_t nb_sec, na_sec;
	uint64_t serial_low; /* jitter */
};

enum tp_op { TP_OP_NONE, TP_OP_AUTH, TP_OP_ENROLL, TP_OP_RENEW, TP_OP_SHADOW, TP_OP_N_ };

enum tp_stage {
	TP_STAGE_IDLE,	   /* no operation; the timers decide */
	TP_STAGE_BEGIN,	   /* AUTH: nothing fetched; SHADOW: next CA not fetched; ENROLL, RENEW: key and CSR to be made */
	TP_STAGE_PREPARE,  /* SHADOW: next CA is stored; key, CSR and transactionID to be made */
	TP_STAGE_PREPARED, /* key, CSR and transactionID are on disk; the request may have left; no verdict */
	TP_STAGE_PENDING,  /* the CA said PENDING */
	TP_STAGE_GRANTED,  /* the certificate is on disk, not yet installed */
	TP_STAGE_N_
};

enum tp_hold {
	TP_HOLD_NONE,
	TP_HOLD_OPERATOR, /* not pinned: waits for `authenticate`; no auto-enroll: waits for `enroll` */
	TP_HOLD_REJECTED, /* the CA said FAILURE: waits for `enroll` or `renew`, alarm repeated daily */
	TP_HOLD_N_
};

enum tp_act {
	TP_ACT_NONE,
	TP_ACT_AUTHENTICATE, /* GetCACaps, GetCACert, compare the pin, store the CA. DONE: OK (+ca), NO_VERDICT, REFUSED (other fingerprint) */
	TP_ACT_FETCH_NEXT,   /* GetCACaps, GetNextCACert, verify, store. DONE: OK (+ca = the next), NOT_YET, NO_VERDICT */
	TP_ACT_PREPARE,	     /* key (new if regenerate or none, slot shadow), CSR, transactionID: on disk, fsynced. DONE: OK, LOCAL */
	TP_ACT_REQUEST,	     /* send the prepared request with a new nonce. DONE: GRANTED (+cert, stored first), PENDING, REJECTED, NO_VERDICT, LOCAL */
	TP_ACT_POLL,	     /* CertPoll. DONE: as REQUEST */
	TP_ACT_INSTALL,	     /* deliver the granted pair as active, promote its key if new. DONE: OK, LOCAL */
	TP_ACT_ACTIVATE,     /* next CA becomes active, shadow pair (if any) becomes active, delivered in one switch. DONE: OK, LOCAL */
	TP_ACT_ABANDON,	     /* forget the prepared request and its unused key. No DONE */
	TP_ACT_RETIRE,	     /* delete the previous key, drop the old CA from the bundle. No DONE */
	TP_ACT_ALERT,	     /* log: `alert` says what. No DONE */
	TP_ACT_N_
};

struct tp_state {
	struct tp_cert ca, next_ca, id, shadow; /* active CA, rollover CA, active ID, shadow ID */
	struct tp_cert granted;			/* at TP_STAGE_GRANTED */
	struct tp_cert old_ca;			/* na_sec != 0 between a switch and RETIRE: CA that was active before */
	enum tp_op op;
	enum tp_stage stage;
	enum tp_hold hold;
	bool under_next;	 /* always false today: an ENROLL asks the active CA, a SHADOW the next one until the switch, then the active */
	bool exhausted;		 /* count of polls used up: begins anew when due */
	uint32_t polls;		 /* PENDING answers to this operation */
	uint32_t failures;	 /* exchanges in a row without a verdict */
	bool retry_armed;	 /* retry_at holds the due moment of POLL, CONNECT RETRY or of a local retry */
	struct boot retry_at;	 /* meaningless in another boot: START re-arms it */
	struct wall retire_at;	 /* 0: nothing to retire */
	struct wall alert_at;	 /* 0: none; next expiry or rejection alert */
	struct boot last_request; /* for the minimum spacing; 0: never in this boot */
	uint64_t draws;		 /* counter: each random draw is a function of (seed, draws) */
	bool ca_only;		 /* the SHADOW in progress fetches the next CA and ends: no auto-enroll, or held */
	bool trimmed;		 /* a RENEW of an ID that ended a little before its CA brought no better one: SHADOW is next all the same */
	bool refused;		 /* the last authentication met another fingerprint: alert daily */
	uint32_t activate_failures; /* ACTIVATE failed locally this many times in a row */
	struct boot activate_at; /* and is tried again then; 0: not failed. START in another boot clears it */
	enum tp_act busy;	 /* the action in flight, NONE: none. Not stored: NONE after a load. START after a policy change leaves it */
};

enum tp_result {
	TP_RESULT_OK,
	TP_RESULT_GRANTED,
	TP_RESULT_PENDING,
	TP_RESULT_REJECTED,   /* FAILURE in a verified CertRep */
	TP_RESULT_NO_VERDICT, /* refused, cut, silence, 4xx, 5xx, unusable or unverifiable body */
	TP_RESULT_NOT_YET,    /* no rollover CA: keyword absent or GetNextCACert refused */
	TP_RESULT_REFUSED,    /* the CA is not the one that the fingerprint names */
	TP_RESULT_LOCAL,      /* disk, custodian, quota: nothing of the peer's */
	TP_RESULT_N_
};

enum tp_command { TP_COMMAND_AUTHENTICATE, TP_COMMAND_ENROLL, TP_COMMAND_RENEW, TP_COMMAND_N_ };

enum tp_event_kind {
	TP_EV_START,   /* loaded from disk, or the policy changed; same_boot tells whether boot times still mean anything */
	TP_EV_TICK,    /* a timer is due, the clock jumped, or its trust changed: look again */
	TP_EV_DONE,    /* the action `act` ended */
	TP_EV_COMMAND, /* an operator asks */
	TP_EV_N_
};

struct tp_event {
	enum tp_event_kind kind;
	bool same_boot;		  /* START */
	enum tp_act act;	  /* DONE */
	enum tp_result result;	  /* DONE */
	struct tp_cert cert;	  /* DONE with a certificate: the CA, the next CA, or the granted ID */
	int64_t retry_after_ms;	  /* DONE: the peer's Retry-After, 0 when there was none */
	enum tp_command command;  /* COMMAND */
};

enum tp_alert {
	TP_ALERT_NONE,
	TP_ALERT_EXPIRING,  /* 60 days before, weekly, daily in the last week */
	TP_ALERT_EXPIRED,
	TP_ALERT_REJECTED,
	TP_ALERT_EXHAUSTED,
	TP_ALERT_FINGERPRINT,
	TP_ALERT_NO_SHADOW, /* the CA ends and no shadow certificate is there */
	TP_ALERT_N_
};

#define TP_ACTIONS_MAX 6
struct tp_actions {
	size_t n;
	struct {
		enum tp_act act;
		enum tp_alert alert; /* for TP_ACT_ALERT */
	} list[TP_ACTIONS_MAX]; /* to be performed in this order; at most one of them has a DONE, and it is the last */
};
/* An action with a DONE that comes while another is in flight (the exact switch, an operator's `authenticate`) replaces it: cancel the old
 * one. A DONE whose act is not the one in flight is ignored, so a late one does no harm. */

/* Moves *state. seed: of this trustpoint on this machine (hash of machine id and name). Deterministic in all arguments. */
void tp_step(const struct tp_policy *policy, uint64_t seed, struct tp_state *state, const struct tp_event *event, const struct tp_now *now,
	     struct tp_actions *ret_actions);

/* Milliseconds from now until tp_step wants its next TP_EV_TICK: 0 = now, -1 = only an event from outside moves this trustpoint. */
int64_t tp_wait_ms(const struct tp_policy *policy, uint64_t seed, const struct tp_state *state, const struct tp_now *now);

enum tp_timer { TP_TIMER_RENEW, TP_TIMER_SHADOW, TP_TIMER_POLL, TP_TIMER_CONNECT_RETRY, TP_TIMER_ACTIVATE, TP_TIMER_ALERT, TP_TIMER_RETIRE, TP_TIMER_N_ };

struct tp_due {
	enum tp_timer timer;
	bool on_boot;	 /* at_boot holds; else at_wall */
	struct wall at_wall;
	struct boot at_boot;
	bool exact;	 /* no jitter, must not be late (ACTIVATE) */
	int64_t jitter_ms; /* that is in at_wall, signed */
	char why[96];	 /* "80 % of 365 d, jitter -11 min" */
	char missed[64]; /* what follows when it is missed, "retry 1 min, 2 min ... 1 h" */
};

/* All armed timers, earliest first (wall and boot compared through now). Returns how many. Send TP_EV_TICK when one is due.
 * None of the certificate timers while now->trusted is false. */
size_t tp_timers(const struct tp_policy *policy, uint64_t seed, const struct tp_state *state, const struct tp_now *now, struct tp_due ret[TP_TIMER_N_]);

/* The ID and its CA end together: then SHADOW, not RENEW. */
bool tp_ends_with_ca(const struct tp_cert *id, const struct tp_cert *ca);

/* One word each, the same in state files, JSON and pages. Never NULL for a value below the end marker. */
const char *tp_op_name(enum tp_op op);		  /* none auth enroll renew shadow */
const char *tp_stage_name(enum tp_stage stage);	  /* idle begin prepare prepared pending granted */
const char *tp_hold_name(enum tp_hold hold);
const char *tp_act_name(enum tp_act act);
const char *tp_result_name(enum tp_result result);
const char *tp_event_name(enum tp_event_kind kind);
const char *tp_timer_name(enum tp_timer timer);	  /* RENEW SHADOW POLL "CONNECT RETRY" ACTIVATE ALERT RETIRE */
const char *tp_alert_name(enum tp_alert alert);
/* What pkictl prints as State: "unauthenticated", "authenticated", "enrolling", "pending", "enrolled", "shadowed", "held", "expired". */
const char *tp_status_name(const struct tp_policy *policy, const struct tp_state *state, const struct tp_now *now);

#endif

/* The CA's control socket, ca/NAME.sock: org.keyroll.ca over common/ctl.h. It prints what the database and the service say; what changes
 * something goes through the table that the service fills. All of it runs on the main event loop's thread. Grant and Reject wait for the
 * database's commit there, a few milliseconds each: an operator's command, never a router's path. */
#ifndef KEYROLL_CA_CA_CONTROL_H
#define KEYROLL_CA_CA_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <systemd/sd-event.h>

#include "keystore/ks.h"
#include "ca/ca_conf.h"
#include "ca/db.h"
#include "common/auto.h"
#include "common/err.h"
#include "common/x509facts.h"

struct ca_control;
struct ca_control_wait; /* a Rollover call that has not been answered */

struct ca_control_timer {
	const char *timer;	/* "CS CRL UPDATE": static */
	int64_t at_sec;		/* wall */
	int64_t left_ms;
	bool exact;
};
#define CA_CONTROL_TIMERS_MAX 12

struct ca_control_status { /* zeroed before it is filled; nothing in it is owned */
	const struct ca_conf *conf;    /* in force; borrowed until the call returns */
	const char *status;	       /* static: "enabled", "waiting-for-clock", "no-signer", ... */
	bool clock_trusted;
	struct x509_facts ca, rollover, previous; /* sha256 "": there is none */
	const char *rollover_status;   /* static: "available", "none", "generating" */
	int64_t crl_next_update_sec;   /* of the active key's CRL; 0: none yet */
	char protection[64];	       /* of the CA key: "kernel"; "": not known */
	char at_rest[32];	       /* "tpm2", "host", "file", "none" */
	char kernel_release[65];       /* as uname -r */
	char better_protection[KS_ADVICE_BYTES]; /* what it would need; "": nothing better is known */
	uint16_t port;		       /* that the listener has */
	struct ca_control_timer timers[CA_CONTROL_TIMERS_MAX];
	size_t n_timers;
};

/* Filled by the service. actor ("uid 0") goes to the audit row. All run on the main thread. */
struct ca_control_ops {
	void (*status)(void *userdata, struct ca_control_status *ret);
	/* -ENOENT: no such request; -EINVAL: not pending; anything else: Failed */
	int (*grant)(void *userdata, int64_t id, const char *actor, struct err *reterr);
	int (*reject)(void *userdata, int64_t id, const char *reason, const char *actor, struct err *reterr);
	/* 0: ca_control_rollover_done is called once, now or later, on this thread. -EEXIST: there is a rollover CA; -ENODATA: (cancel) there is none;
	 * -ETIME: the clock is not trusted; anything else: Failed. After an error, done must not be called. */
	int (*rollover)(void *userdata, bool cancel, const char *actor, struct ca_control_wait *wait, struct err *reterr);
	int (*reload)(void *userdata, struct err *reterr);
};

/* Serves on listen_fd (from ctl_listen or systemd; taken on success). ops and db are borrowed for the control's life. */
int ca_control_new(sd_event *event, int listen_fd, struct db *db, const struct ca_control_ops *ops, void *userdata, struct ca_control **ret,
		   struct err *reterr) CHECKED;
void ca_control_free(struct ca_control *c); /* before the service: a Rollover that still waits is answered Failed, and its wait is gone */
/* Ends the wait: code 0 answers with the rollover CA of ops->status, else Failed (or as for ops->rollover) with error's text. */
void ca_control_rollover_done(struct ca_control_wait *wait, int code, const struct err *error);

AUTO_DEFINE(ca_control, struct ca_control *, ca_control_free);

#endif

/* pkictl: what all verbs share. Everything that comes from outside (streams, terminal, time) is in struct cli_io, so that tests give their own. */
#ifndef KEYROLL_PKICTL_CLI_H
#define KEYROLL_PKICTL_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/auto.h"
#include "common/ctl.h" /* AUTO(json) */

/* Part of the interface: scripts and monitoring depend on them. */
enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_WARNING = 3,  /* inside an alert window, or something waits for the operator */
	CLI_CRITICAL = 4,
	CLI_PENDING = 5,
	CLI_EXPIRED = 6,
	CLI_CLOCK = 7,	  /* the daemon does not trust the clock */
	CLI_UNREACHABLE = 8,
	CLI_CONFLICTS = 9, /* of a plan */
	CLI_REFUSED = 10,  /* by policy: no permission, fingerprint differs, no --yes */
};

struct cli_io {
	FILE *in, *out, *err;
	bool in_tty, out_tty;
	bool colour;	/* out is a terminal, and NO_COLOR is not set */
	int64_t now_ms; /* wall clock, for the columns that say how long */
};

enum cli_json { CLI_JSON_NO, CLI_JSON_SHORT, CLI_JSON_PRETTY };

struct cli {
	const struct cli_io *io;
	enum cli_json json;
	bool legend; /* headings of tables */
	const char *ca, *fingerprint, *challenge_file, *reason, *yes;
	int64_t max; /* 0: not given */
	bool all, cancel;
	char **args; /* after the verb */
	int n_args;
};

/* Runs one command line; the whole program but for main. */
enum cli_exit cli_run(const struct cli_io *io, int argc, char **argv) CHECKED;

/* "pkictl: ..." and "Do: ..." on err. Returns code, so that saying and returning are one breath. */
enum cli_exit cli_fail(const struct cli *c, enum cli_exit code, const char *do_text, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Prints the object as asked for. */
enum cli_exit cli_print_json(const struct cli *c, const json_t *object);

/* One call to keyrolld, or to the CA `name`. params stolen, NULL: {}. Not CLI_OK: it has been said why. */
enum cli_exit cli_ask_agent(const struct cli *c, const char *method, json_t *params, int timeout_ms, json_t **ret) CHECKED;
enum cli_exit cli_ask_ca(const struct cli *c, const char *name, const char *method, json_t *params, int timeout_ms, json_t **ret) CHECKED;
#define CLI_TIMEOUT_MS 10000	  /* the daemon knows the answer */
#define CLI_PEER_TIMEOUT_MS 120000 /* it has to ask a CA first */

/* The CA that is meant: --ca, or the only one that is configured. Owned by the caller. */
enum cli_exit cli_ca_choose(const struct cli *c, char **ret_name) CHECKED;

/* Says below a table that the answer was cut ("more": true), if it was. */
void cli_print_more(const struct cli *c, const json_t *reply, const char *do_text);

/* A string of an object, "" when absent; borrowed. */
const char *cli_text(const json_t *object, const char *key);

typedef enum cli_exit (*cli_verb_fn)(const struct cli *c);
enum cli_exit verb_status(const struct cli *c);
enum cli_exit verb_list(const struct cli *c);
enum cli_exit verb_show(const struct cli *c);
enum cli_exit verb_timers(const struct cli *c);
enum cli_exit verb_authenticate(const struct cli *c);
enum cli_exit verb_enroll(const struct cli *c);
enum cli_exit verb_renew(const struct cli *c);
enum cli_exit verb_reload(const struct cli *c);
enum cli_exit verb_ca_init(const struct cli *c);
enum cli_exit verb_ca_status(const struct cli *c);
enum cli_exit verb_ca_requests(const struct cli *c);
enum cli_exit verb_ca_grant(const struct cli *c);
enum cli_exit verb_ca_reject(const struct cli *c);
enum cli_exit verb_ca_list(const struct cli *c);
enum cli_exit verb_ca_rollover(const struct cli *c);

#endif

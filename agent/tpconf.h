/* Configuration of the agent: one file for each trustpoint, and keyrolld.conf. */
#ifndef KEYROLL_AGENT_TPCONF_H
#define KEYROLL_AGENT_TPCONF_H

#include <stdbool.h>
#include <stdint.h>

#include "common/auto.h"
#include "common/clk.h"
#include "common/err.h"
#include "lifecycle/tp.h"

enum tpconf_profile { TPCONF_PROFILE_DEFAULT, TPCONF_PROFILE_3DES, TPCONF_PROFILE_LEGACY, TPCONF_PROFILE_N_ };

struct tpconf {
	/* [Trustpoint] */
	char *enrollment_url;
	char pin[65];		/* CAFingerprint as hex, "" when there is none */
	char *subject_name;	/* RFC 4514 */
	char *serial_number;	/* added to the subject; NULL or "no": none */
	char **dns, **ip;	/* subjectAltName; NULL: none */
	char *challenge_file;
	bool challenge_on_renewal; /* some CAs want it each time */
	/* [Key] */
	char *label;
	int64_t bits;
	int protection; /* enum ks_protection */
	char *token_uri; /* a key that lies in the token already; NULL: keys are made */
	char **users, **groups;
	/* [AutoEnroll] */
	int64_t percent; /* 0: no auto-enrolment */
	bool regenerate, jitter;
	int64_t retry_count, retry_period_ms;
	/* [Scep] */
	int profile; /* enum tpconf_profile */
	bool allow_des;
	/* [Deliver] */
	char **reload_units;
	char *hook;
	int key_file; /* always "uri" */
	int64_t grace_ms, hook_timeout_ms;
};

/* Reads path with its drop-ins; name is the trustpoint's, the default of the label. -EINVAL "FILE:LINE: ..." or, for what
 * only shows in the whole, "FILE: ...". *ret is owned by the caller also after a failure. */
int tpconf_load(const char *path, const char *name, struct tpconf *ret, struct err *reterr) CHECKED;
/* The same from memory; file stands for the path in messages. */
int tpconf_parse(const char *file, const char *text, size_t len, const char *name, struct tpconf *ret, struct err *reterr) CHECKED;
void tpconf_clear(struct tpconf *c);
/* What the machine needs of it. */
struct tp_policy tpconf_policy(const struct tpconf *c);

struct agentconf {
	int clock; /* enum clk_policy */
	char *keyd_socket;
};
/* A missing file is all defaults. */
int agentconf_load(const char *path, struct agentconf *ret, struct err *reterr) CHECKED;
void agentconf_clear(struct agentconf *c);

static inline void auto_tpconf(struct tpconf *c)
{
	tpconf_clear(c);
}
static inline void auto_agentconf(struct agentconf *c)
{
	agentconf_clear(c);
}

#endif

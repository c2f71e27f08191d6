/* What a trustpoint keeps on disk: one versioned JSON file, replaced as a whole, so that state, certificates and the request in
 * progress can never disagree. The record before the request (agent.k3) and the granted one (agent.k6) are one write each. */
#ifndef KEYROLL_AGENT_STATE_H
#define KEYROLL_AGENT_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/bag.h"
#include "common/buf.h"
#include "common/err.h"
#include "lifecycle/tp.h"

#define STATE_VERSION 1
#define STATE_BYTES_MAX (1024 * 1024)
#define STATE_BOOT_ID_TEXT 40
#define STATE_HEX 65
#define STATE_WORD 32

/* Everything of one request, on disk before it leaves. */
struct request {
	char transaction_id[33]; /* "": there is none */
	char spki[STATE_HEX];	 /* the key that the certificate is asked for */
	bool new_key;		 /* made for this operation: destroyed when it is abandoned */
	bool self_signed;	 /* the signer's key is that same key; else the signer is the active ID */
	bool as_pkcs_req;	 /* the CA answered badRequest to a RenewalReq */
	struct tp_cert recipient; /* the CA that it is addressed to */
	struct buf signer_pem;
	struct buf csr; /* DER; secret, for the challenge is in it */
};

struct notify { /* whom a delivery has still to be told to */
	bool units, hook;
	char reason[STATE_WORD]; /* enroll renew rollover ca */
};

struct record {
	struct tp_state state;
	char boot_id[STATE_BOOT_ID_TEXT];
	struct bag bag;
	struct request request;
	int64_t generation, staged; /* delivered, and built ahead for ACTIVATE; 0: none */
	char generation_sha256[STATE_HEX], staged_sha256[STATE_HEX];
	char previous_spki[STATE_HEX]; /* key of the ID before; destroyed by RETIRE */
	char operator_pin[STATE_HEX];  /* fingerprint that an operator gave */
	struct notify notify;
	char protection[STATE_WORD], at_rest[STATE_WORD]; /* of the active key, for listings */
	int64_t bits;
};

void request_clear(struct request *q);
void record_clear(struct record *r);

/* -ENOMEM only. Certificates that neither the state nor the request names are left out. */
int state_build(const struct record *in, struct buf *ret, struct err *reterr) CHECKED;
/* -EBADMSG what is wrong; -ENOTSUP written by a newer version. *ret is owned by the caller also after a failure. */
int state_parse(const char *text, size_t len, struct record *ret, struct err *reterr) CHECKED;

/* Durable when it returns 0. */
int state_store(const char *path, const struct record *in, struct err *reterr) CHECKED;
int state_load(const char *path, struct record *ret, struct err *reterr) CHECKED; /* -ENOENT: a new trustpoint */

/* Drops certificates that nothing names any more. */
void record_sweep(struct record *r);

static inline void auto_record(struct record *r)
{
	record_clear(r);
}

#endif

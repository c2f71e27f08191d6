/* The CA's database: SQLite, WAL, synchronous=FULL. One thread owns the one connection that writes and checkpoints (SQLite 3.40 can corrupt a WAL with
 * two) and groups commits; readers have read-only connections. Every db_* write blocks its caller until the commit that holds it is durable. */
#ifndef KEYROLL_CA_DB_H
#define KEYROLL_CA_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/auto.h"
#include "common/buf.h"
#include "common/err.h"
#include "lifecycle/car.h"

struct db;

#define DB_SERIAL_HEX 48
#define DB_HEX 65
#define DB_NAME_BYTES 512

/* A request as stored. The first four name it; unique together. */
struct db_request {
	char issuer_spki[DB_HEX];	 /* the CA key that it is addressed to */
	char transaction_id[256];
	char csr_sha256[DB_HEX];
	char signer[DB_HEX + DB_SERIAL_HEX]; /* "self:SPKI" or "cert:ISSUERSPKI16:SERIAL" */
	int64_t id;			 /* given by the database: what operators say */
	enum car_status status;
	char subject[DB_NAME_BYTES];
	char address[64];		 /* of the peer */
	char why[160];			 /* of a rejection */
	bool renewal;
	int64_t received_sec, changed_sec;
	char serial[DB_SERIAL_HEX];	 /* from INTENT on */
	struct buf csr;			 /* DER */
	struct buf signer_cert;		 /* DER: needed to answer a grant made later */
};
void db_request_clear(struct db_request *r);

struct db_cert {
	char issuer_spki[DB_HEX], serial[DB_SERIAL_HEX], subject[DB_NAME_BYTES], spki[DB_HEX];
	int64_t nb_sec, na_sec, issued_sec;
	int64_t revoked_sec;		 /* 0: not */
	int revoked_reason;
	struct buf der;			 /* empty while only the intent is there */
	struct buf tbs;			 /* the intent: complete TBSCertificate; empty again once der is there, which holds it */
};
void db_cert_clear(struct db_cert *c);

/* Creates or opens; checks the schema's version (newer: -ENOTSUP) and quick_check. The writer thread starts. -EBUSY when another process holds it (flock). */
int db_open(const char *path, struct db **ret, struct err *reterr) CHECKED;
void db_close(struct db *db); /* waits for queued writes, checkpoints */
/* +1 when work begins that will write, -1 when it is over: while much is expected a commit waits up to 3 ms for more. A hint, any thread. */
void db_expect(struct db *db, int delta);
/* 0, or -EIO: a sync has failed, nothing will be written until the process is started again (reads go on). */
int db_health(struct db *db) CHECKED;
/* Follows the audit rows' hash chain. -EBADMSG with the first row that does not follow from the one before. ret_rows may be NULL. */
int db_audit_check(struct db *db, int64_t *ret_rows, struct err *reterr) CHECKED;

/* Writes. `now_sec` is the row's time; `actor` goes into the audit row ("scep 192.0.2.1", "uid 0"), written in the same transaction. */
/* Stores a new request as PENDING, or finds the same one: *r is filled with what is stored (status tells). One that has EXPIRED is PENDING again, as if
 * new. -EDQUOT when the queue is full. */
int db_request_add(struct db *db, struct db_request *r, int64_t now_sec, const char *actor, struct err *reterr) CHECKED;
/* -ENOENT; -EINVAL: not from there to there */
int db_request_set_status(struct db *db, int64_t id, enum car_status status, const char *why, int64_t now_sec, const char *actor, struct err *reterr) CHECKED;
/* Intent: request (added if id is 0) becomes INTENT with cert's serial and TBS. -EEXIST with *r filled when the same request has an intent or certificate
 * already; -ENOTUNIQ: serial is taken. */
int db_intent(struct db *db, struct db_request *r, const struct db_cert *cert, int64_t now_sec, const char *actor, struct err *reterr) CHECKED;
/* The signed certificate; request becomes GRANTED. Idempotent for identical bytes. */
int db_issued(struct db *db, const char *issuer_spki, const char *serial, const void *der, size_t len, int64_t now_sec, const char *actor,
	      struct err *reterr) CHECKED;
/* Idempotent: a second revocation keeps the first one's time and reason. -ENOENT. */
int db_revoke(struct db *db, const char *issuer_spki, const char *serial, int reason, int64_t now_sec, const char *actor, struct err *reterr) CHECKED;
/* PENDING and received before, AUTHORIZED and granted before: EXPIRED; settled rows stay */
int db_expire_requests(struct db *db, int64_t before_sec, int64_t now_sec, unsigned *ret_n, struct err *reterr) CHECKED;
/* Next cRLNumber of a key: durable before it is used, only grows. */
int db_crl_number(struct db *db, const char *issuer_spki, int64_t *ret, struct err *reterr) CHECKED;
int db_setting_set(struct db *db, const char *key, const void *data, size_t len, struct err *reterr) CHECKED; /* e.g. calendar state; len 0 deletes */

/* Reads (any thread). */
int db_request_find(struct db *db, struct db_request *r, struct err *reterr) CHECKED;	/* by the four names; -ENOENT */
/* newest; issuer_spki NULL: any */
int db_request_find_poll(struct db *db, const char *issuer_spki, const char *transaction_id, const char *signer, struct db_request *ret,
			 struct err *reterr) CHECKED;
int db_request_get(struct db *db, int64_t id, struct db_request *ret, struct err *reterr) CHECKED;
int db_cert_get(struct db *db, const char *issuer_spki, const char *serial, struct db_cert *ret, struct err *reterr) CHECKED; /* -ENOENT */
/* a certificate (or intent) for this key under another subject, not revoked */
int db_key_other_subject(struct db *db, const char *spki, const char *subject, bool *ret, struct err *reterr) CHECKED;
typedef int (*db_request_fn)(void *userdata, const struct db_request *r); /* nonzero stops and is returned */
typedef int (*db_cert_fn)(void *userdata, const struct db_cert *c);
/* all: settled ones too; max 0: no bound; without the blobs */
int db_requests_each(struct db *db, bool all, size_t max, db_request_fn fn, void *userdata, struct err *reterr) CHECKED;
int db_certs_each(struct db *db, size_t max, db_cert_fn fn, void *userdata, struct err *reterr) CHECKED; /* newest first */
int db_revoked_each(struct db *db, const char *issuer_spki, int64_t not_expired_at_sec, db_cert_fn fn, void *userdata, struct err *reterr) CHECKED;
int db_intents_each(struct db *db, db_request_fn fn, void *userdata, struct err *reterr) CHECKED; /* to be finished after a crash */
int db_counts(struct db *db, int64_t *ret_pending, int64_t *ret_issued, struct err *reterr) CHECKED; /* kept in a row, never counted */
int db_setting_get(struct db *db, const char *key, struct buf *ret, struct err *reterr) CHECKED; /* -ENOENT */

AUTO_DEFINE(db, struct db *, db_close);
static inline void auto_db_request(struct db_request *r)
{
	db_request_clear(r);
}
static inline void auto_db_cert(struct db_cert *c)
{
	db_cert_clear(c);
}

#endif

/* Certificates: the intent before the signature, the certificate after it (fault points ca.c3 and ca.c5), and its revocation. */
#include "ca/db_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/fault.h"

static int audit_cert(struct db_conn *c, const char *issuer_spki, const char *serial, const char *action, int64_t now_sec, const char *actor,
		      struct err *reterr)
{
	char object[160];

	(void) snprintf(object, sizeof(object), "certificate %s of key %.16s", serial, issuer_spki);
	return db_audit_add(c, now_sec, actor, action, object, reterr);
}

/* ---- the intent ---- */

struct intent_job {
	const struct db_request *in;
	const struct db_cert *cert;
	struct db_request out; /* blobs only when it was stored already */
	int64_t now_sec;
	const char *actor;
};

static int serial_free(struct db_conn *c, const struct db_cert *cert, struct err *reterr)
{
	AUTO(stmt) sqlite3_stmt *st = NULL;
	int r = db_conn_bind(c, DB_SQL_CERT_EXISTS, reterr, &st, "tt", cert->issuer_spki, cert->serial);

	if (r == 0)
		r = db_conn_step(c, st, reterr);
	return r == 1 ? err_set(reterr, -ENOTUNIQ, "serial %s is taken", cert->serial) : r;
}

static int cert_insert(struct db_conn *c, const struct db_cert *cert, int64_t request, struct err *reterr)
{
	int r = db_conn_run(c, DB_SQL_CERT_ADD, reterr, "ttttiii", cert->issuer_spki, cert->serial, cert->subject, cert->spki, cert->nb_sec,
			    cert->na_sec, request);

	if (r < 0)
		return r;
	return db_conn_run(c, DB_SQL_CERT_DER_ADD, reterr, "ib", (int64_t) sqlite3_last_insert_rowid(c->h), (const void *) cert->tbs.data,
			   cert->tbs.len);
}

static int intent_new(struct db_conn *c, struct intent_job *j, struct err *reterr)
{
	struct db_request row = *j->in; /* its blobs are borrowed */
	int r;

	row.status = CAR_STATUS_INTENT;
	memcpy(row.serial, j->cert->serial, sizeof(row.serial));
	r = serial_free(c, j->cert, reterr);
	if (r == 0)
		r = db_request_insert(c, &row, j->now_sec, reterr);
	j->out = row;
	j->out.csr = j->out.signer_cert = BUF_EMPTY;
	return r;
}

static bool may_intend(enum car_status s)
{
	return s == CAR_STATUS_PENDING || s == CAR_STATUS_AUTHORIZED || s == CAR_STATUS_EXPIRED;
}

static int intent_stored(struct db_conn *c, struct intent_job *j, struct err *reterr)
{
	int r;

	if (j->out.status == CAR_STATUS_INTENT || j->out.status == CAR_STATUS_GRANTED)
		return err_set(reterr, -EEXIST, "request %lld has certificate %s already", (long long) j->out.id, j->out.serial);
	if (!may_intend(j->out.status))
		return err_set(reterr, -EINVAL, "request %lld is %s, it gets no certificate", (long long) j->out.id, car_status_name(j->out.status));
	r = serial_free(c, j->cert, reterr);
	if (r == 0)
		r = db_request_move(c, &j->out, CAR_STATUS_INTENT, j->cert->serial, NULL, j->now_sec, reterr);
	if (r < 0)
		return r;
	j->out.status = CAR_STATUS_INTENT;
	j->out.changed_sec = j->now_sec;
	memcpy(j->out.serial, j->cert->serial, sizeof(j->out.serial));
	return 0;
}

static int intent_run(struct db_conn *c, void *arg, struct err *reterr)
{
	struct intent_job *j = arg;
	int r;

	db_request_clear(&j->out);
	r = j->in->id ? db_request_read_id(c, j->in->id, &j->out, NULL) : db_request_read(c, j->in, &j->out, NULL);
	if (r == -ENOENT && j->in->id == 0)
		r = intent_new(c, j, reterr);
	else if (r == 0)
		r = intent_stored(c, j, reterr);
	else
		return err_set(reterr, r, "database: request %lld: %s", (long long) j->in->id, strerror(-r));
	if (r == 0)
		r = cert_insert(c, j->cert, j->out.id, reterr);
	if (r == 0)
		r = audit_cert(c, j->cert->issuer_spki, j->cert->serial, "intent", j->now_sec, j->actor, reterr);
	FAULT("ca.c3.written");
	return r;
}

/* The caller's blobs stay where it brought some; else it gets the stored ones. */
static void intent_adopt(struct db_request *r, struct db_request *stored)
{
	struct buf csr = r->csr, signer_cert = r->signer_cert;

	*r = *stored;
	stored->csr = stored->signer_cert = BUF_EMPTY; /* moved */
	if (csr.len > 0) {
		buf_clear(&r->csr);
		r->csr = csr;
	}
	if (signer_cert.len > 0) {
		buf_clear(&r->signer_cert);
		r->signer_cert = signer_cert;
	}
}

int db_intent(struct db *db, struct db_request *r, const struct db_cert *cert, int64_t now_sec, const char *actor, struct err *reterr)
{
	struct intent_job j = { .in = r, .cert = cert, .now_sec = now_sec, .actor = actor };
	int ret = db_write(db, intent_run, &j, reterr);

	FAULT("ca.c3");
	if (ret == 0 || ret == -EEXIST)
		intent_adopt(r, &j.out);
	db_request_clear(&j.out);
	return ret;
}

/* ---- the certificate ---- */

struct issued_job {
	const char *issuer_spki, *serial;
	const void *der;
	size_t len;
	int64_t now_sec;
	const char *actor;
};

static int cert_read(struct db_conn *c, const char *issuer_spki, const char *serial, struct db_cert *ret, struct err *reterr)
{
	AUTO(stmt) sqlite3_stmt *st = NULL;
	int r = db_conn_bind(c, DB_SQL_CERT_GET, reterr, &st, "tt", issuer_spki, serial);

	if (r == 0)
		r = db_conn_step(c, st, reterr);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(reterr, -ENOENT, "database: no certificate %s", serial);
	r = db_row_cert(st, ret);
	return r < 0 ? err_set(reterr, r, "database: out of memory") : 0;
}

static int request_granted(struct db_conn *c, const struct issued_job *j, struct err *reterr)
{
	AUTO(db_request) struct db_request stored = { .id = 0 };
	AUTO(stmt) sqlite3_stmt *st = NULL;
	int r = db_conn_bind(c, DB_SQL_REQUEST_OF_CERT, reterr, &st, "tt", j->issuer_spki, j->serial);

	if (r == 0)
		r = db_conn_step(c, st, reterr);
	if (r == 1)
		r = db_row_request(st, &stored);
	if (r < 0 || stored.id == 0)
		return err_set(reterr, r < 0 ? r : -EUCLEAN, "database: certificate %s has no request", j->serial);
	return db_request_move(c, &stored, CAR_STATUS_GRANTED, NULL, NULL, j->now_sec, reterr);
}

static int issued_store(struct db_conn *c, const struct issued_job *j, struct err *reterr)
{
	int r = db_conn_run(c, DB_SQL_CERT_ISSUED, reterr, "itt", j->now_sec, j->issuer_spki, j->serial);

	if (r == 0)
		r = db_conn_run(c, DB_SQL_CERT_DER_SET, reterr, "btt", j->der, j->len, j->issuer_spki, j->serial);
	if (r == 0)
		r = request_granted(c, j, reterr);
	if (r == 0)
		r = db_conn_run(c, DB_SQL_COUNT_ISSUED, reterr, "");
	return r == 0 ? audit_cert(c, j->issuer_spki, j->serial, "issued", j->now_sec, j->actor, reterr) : r;
}

static int issued_run(struct db_conn *c, void *arg, struct err *reterr)
{
	const struct issued_job *j = arg;
	AUTO(db_cert) struct db_cert stored = { .nb_sec = 0 };
	int r = cert_read(c, j->issuer_spki, j->serial, &stored, reterr);

	if (r < 0)
		return r;
	if (stored.issued_sec == 0) {
		r = issued_store(c, j, reterr);
		FAULT("ca.c5.written");
		return r;
	}
	if (stored.der.len == j->len && memcmp(stored.der.data, j->der, j->len) == 0)
		return 0;
	return err_set(reterr, -EEXIST, "certificate %s is stored with other bytes", j->serial);
}

int db_issued(struct db *db, const char *issuer_spki, const char *serial, const void *der, size_t len, int64_t now_sec, const char *actor,
	      struct err *reterr)
{
	struct issued_job j = { .issuer_spki = issuer_spki, .serial = serial, .der = der, .len = len, .now_sec = now_sec, .actor = actor };
	int r;

	if (len == 0)
		return err_set(reterr, -EINVAL, "certificate %s has no bytes", serial);
	r = db_write(db, issued_run, &j, reterr);
	FAULT("ca.c5");
	return r;
}

/* ---- revocation ---- */

struct revoke_job {
	const char *issuer_spki, *serial;
	int reason;
	int64_t now_sec;
	const char *actor;
};

static int revoke_run(struct db_conn *c, void *arg, struct err *reterr)
{
	const struct revoke_job *j = arg;
	AUTO(db_cert) struct db_cert stored = { .nb_sec = 0 };
	int r = cert_read(c, j->issuer_spki, j->serial, &stored, reterr);

	if (r < 0 || stored.revoked_sec != 0)
		return r;
	r = db_conn_run(c, DB_SQL_CERT_REVOKE, reterr, "iitt", j->now_sec, (int64_t) j->reason, j->issuer_spki, j->serial);
	return r == 0 ? audit_cert(c, j->issuer_spki, j->serial, "revoked", j->now_sec, j->actor, reterr) : r;
}

int db_revoke(struct db *db, const char *issuer_spki, const char *serial, int reason, int64_t now_sec, const char *actor, struct err *reterr)
{
	struct revoke_job j = { .issuer_spki = issuer_spki, .serial = serial, .reason = reason, .now_sec = now_sec, .actor = actor };

	return db_write(db, revoke_run, &j, reterr);
}

/* ---- read ---- */

int db_cert_get(struct db *db, const char *issuer_spki, const char *serial, struct db_cert *ret, struct err *reterr)
{
	struct db_conn *c = NULL;
	int r = db_reader_take(db, &c, reterr);

	if (r < 0)
		return r;
	r = cert_read(c, issuer_spki, serial, ret, reterr);
	db_reader_release(db, c);
	return r;
}

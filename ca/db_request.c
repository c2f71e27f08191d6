/* Requests: stored, found again, moved from status to status. */
#include "ca/db_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/limits.h"

static int read_one(struct db_conn *c, sqlite3_stmt *st, struct db_request *ret, struct err *reterr)
{
	int r = db_conn_step(c, st, reterr);

	if (r < 0)
		return r;
	if (r == 0)
		return err_set(reterr, -ENOENT, "database: no such request");
	r = db_row_request(st, ret);
	return r < 0 ? err_set(reterr, r, "database: out of memory") : 0;
}

int db_request_read(struct db_conn *c, const struct db_request *names, struct db_request *ret, struct err *reterr)
{
	AUTO(stmt) sqlite3_stmt *st = NULL;
	int r = db_conn_bind(c, DB_SQL_REQUEST_FIND, reterr, &st, "tttt", names->transaction_id, names->signer, names->issuer_spki, names->csr_sha256);

	return r == 0 ? read_one(c, st, ret, reterr) : r;
}

int db_request_read_id(struct db_conn *c, int64_t id, struct db_request *ret, struct err *reterr)
{
	AUTO(stmt) sqlite3_stmt *st = NULL;
	int r = db_conn_bind(c, DB_SQL_REQUEST_GET, reterr, &st, "i", id);

	return r == 0 ? read_one(c, st, ret, reterr) : r;
}

/* ---- the queue's bounds: counted in rows, never by a scan ---- */

static int number_get(struct db_conn *c, enum db_sql id, const char *types, const char *arg, int64_t *ret, struct err *reterr)
{
	AUTO(stmt) sqlite3_stmt *st = NULL;
	int r = db_conn_bind(c, id, reterr, &st, types, arg);

	*ret = 0;
	if (r == 0)
		r = db_conn_step(c, st, reterr);
	if (r == 1)
		*ret = sqlite3_column_int64(st, 0);
	return r < 0 ? r : 0;
}

static int pending_bound(struct db_conn *c, const char *address, struct err *reterr)
{
	int64_t all, here;
	int r = number_get(c, DB_SQL_COUNTS, "", NULL, &all, reterr);

	if (r == 0)
		r = number_get(c, DB_SQL_ADDRESS_PENDING, "t", address, &here, reterr);
	if (r < 0)
		return r;
	if (all >= LIMIT_PENDING_REQUESTS)
		return err_set(reterr, -EDQUOT, "%lld requests are pending, no more are stored", (long long) all);
	if (here >= LIMIT_PENDING_PER_ADDRESS)
		return err_set(reterr, -EDQUOT, "%lld requests of %s are pending, no more are stored", (long long) here, address);
	return 0;
}

static int pending_count(struct db_conn *c, const char *address, int64_t delta, struct err *reterr)
{
	int r = db_conn_run(c, DB_SQL_COUNT_PENDING, reterr, "i", delta);

	if (r == 0)
		r = db_conn_run(c, DB_SQL_ADDRESS_ADD, reterr, "ti", address, delta);
	return r == 0 && delta < 0 ? db_conn_run(c, DB_SQL_ADDRESS_DROP, reterr, "t", address) : r;
}

/* ---- rows ---- */

int db_request_insert(struct db_conn *c, struct db_request *r, int64_t now_sec, struct err *reterr)
{
	int ret = r->status == CAR_STATUS_PENDING ? pending_bound(c, r->address, reterr) : 0;

	if (ret < 0)
		return ret;
	ret = db_conn_run(c, DB_SQL_REQUEST_ADD, reterr, "ttttitttiiit", r->issuer_spki, r->transaction_id, r->csr_sha256, r->signer, (int64_t) r->status,
			  r->subject, r->address, r->why, (int64_t) r->renewal, now_sec, now_sec, r->serial[0] ? r->serial : NULL);
	if (ret < 0)
		return ret;
	r->id = sqlite3_last_insert_rowid(c->h);
	r->received_sec = r->changed_sec = now_sec;
	ret = db_conn_run(c, DB_SQL_REQUEST_DER_ADD, reterr, "ibb", r->id, (const void *) r->csr.data, r->csr.len, (const void *) r->signer_cert.data,
			  r->signer_cert.len);
	return ret == 0 && r->status == CAR_STATUS_PENDING ? pending_count(c, r->address, 1, reterr) : ret;
}

int db_request_move(struct db_conn *c, const struct db_request *stored, enum car_status to, const char *serial, const char *why, int64_t now_sec,
		    struct err *reterr)
{
	bool was = stored->status == CAR_STATUS_PENDING, is = to == CAR_STATUS_PENDING;
	int r = db_conn_run(c, DB_SQL_REQUEST_MOVE, reterr, "ittiii", (int64_t) to, serial, why ? why : "", now_sec, is ? now_sec : stored->received_sec,
			    stored->id);

	return r == 0 && was != is ? pending_count(c, stored->address, is ? 1 : -1, reterr) : r;
}

static int audit_request(struct db_conn *c, const struct db_request *r, const char *action, int64_t now_sec, const char *actor, struct err *reterr)
{
	char object[160];

	(void) snprintf(object, sizeof(object), "request %lld csr %s", (long long) r->id, r->csr_sha256);
	return db_audit_add(c, now_sec, actor, action, object, reterr);
}

/* ---- db_request_add ---- */

struct add_job {
	const struct db_request *in;
	struct db_request out; /* what is stored afterwards; blobs empty: the caller has them */
	int64_t now_sec;
	const char *actor;
};

static int add_new(struct db_conn *c, struct add_job *j, struct err *reterr)
{
	struct db_request row = *j->in; /* its blobs are borrowed */
	int r;

	row.status = CAR_STATUS_PENDING;
	row.why[0] = row.serial[0] = 0;
	r = db_request_insert(c, &row, j->now_sec, reterr);
	if (r == 0)
		r = audit_request(c, &row, "request", j->now_sec, j->actor, reterr);
	j->out = row;
	j->out.csr = j->out.signer_cert = BUF_EMPTY;
	return r;
}

static int add_again(struct db_conn *c, struct add_job *j, const struct db_request *stored, struct err *reterr)
{
	int r = pending_bound(c, stored->address, reterr);

	if (r == 0)
		r = db_request_move(c, stored, CAR_STATUS_PENDING, NULL, NULL, j->now_sec, reterr);
	if (r == 0)
		r = audit_request(c, stored, "request-again", j->now_sec, j->actor, reterr);
	return r == 0 ? db_request_read_id(c, stored->id, &j->out, reterr) : r;
}

static int add_run(struct db_conn *c, void *arg, struct err *reterr)
{
	struct add_job *j = arg;
	AUTO(db_request) struct db_request stored = { .id = 0 };
	int r = db_request_read(c, j->in, &stored, NULL);

	db_request_clear(&j->out);
	if (r == -ENOENT)
		return add_new(c, j, reterr);
	if (r < 0)
		return err_set(reterr, r, "database: cannot look for the request");
	if (stored.status == CAR_STATUS_EXPIRED)
		return add_again(c, j, &stored, reterr);
	j->out = stored;
	stored.csr = stored.signer_cert = BUF_EMPTY; /* moved */
	return 0;
}

/* Everything but the blobs, which are the same by definition: the CSR's digest is one of the four names. */
static void request_adopt(struct db_request *r, const struct db_request *stored)
{
	struct buf csr = r->csr, signer_cert = r->signer_cert;

	*r = *stored;
	r->csr = csr;
	r->signer_cert = signer_cert;
}

int db_request_add(struct db *db, struct db_request *r, int64_t now_sec, const char *actor, struct err *reterr)
{
	struct add_job j = { .in = r, .now_sec = now_sec, .actor = actor };
	int ret = db_write(db, add_run, &j, reterr);

	if (ret == 0)
		request_adopt(r, &j.out);
	db_request_clear(&j.out);
	return ret;
}

/* ---- db_request_set_status ---- */

struct status_job {
	int64_t id;
	enum car_status to;
	const char *why;
	int64_t now_sec;
	const char *actor;
};

/* INTENT is db_intent's, GRANTED db_issued's; what is settled stays. */
static bool move_allowed(enum car_status from, enum car_status to)
{
	switch (to) {
	case CAR_STATUS_AUTHORIZED:
		return from == CAR_STATUS_PENDING;
	case CAR_STATUS_EXPIRED:
	case CAR_STATUS_REJECTED:
		return from == CAR_STATUS_PENDING || from == CAR_STATUS_AUTHORIZED;
	case CAR_STATUS_NONE:
	case CAR_STATUS_PENDING:
	case CAR_STATUS_INTENT:
	case CAR_STATUS_GRANTED:
	case CAR_STATUS_N_:
		return false;
	}
	return false;
}

static int status_run(struct db_conn *c, void *arg, struct err *reterr)
{
	const struct status_job *j = arg;
	AUTO(db_request) struct db_request stored = { .id = 0 };
	int r = db_request_read_id(c, j->id, &stored, reterr);

	if (r < 0)
		return r;
	if (!move_allowed(stored.status, j->to))
		return err_set(reterr, -EINVAL, "request %lld is %s, it cannot become %s", (long long) j->id, car_status_name(stored.status),
			       car_status_name(j->to));
	r = db_request_move(c, &stored, j->to, NULL, j->why, j->now_sec, reterr);
	return r == 0 ? audit_request(c, &stored, car_status_name(j->to), j->now_sec, j->actor, reterr) : r;
}

int db_request_set_status(struct db *db, int64_t id, enum car_status status, const char *why, int64_t now_sec, const char *actor, struct err *reterr)
{
	struct status_job j = { .id = id, .to = status, .why = why, .now_sec = now_sec, .actor = actor };

	return db_write(db, status_run, &j, reterr);
}

/* ---- db_expire_requests ---- */

enum { EXPIRE_CHUNK = 256 }; /* rows of one job, so that a router's write waits a few milliseconds at most */

struct expire_job {
	int64_t before_sec, now_sec;
	unsigned n;
	int64_t ids[EXPIRE_CHUNK];
};

static int expire_find(struct db_conn *c, struct expire_job *j, struct err *reterr)
{
	AUTO(stmt) sqlite3_stmt *st = NULL;
	int r = db_conn_bind(c, DB_SQL_REQUESTS_OLD, reterr, &st, "ii", j->before_sec, (int64_t) EXPIRE_CHUNK);

	j->n = 0;
	while (r == 0 && (r = db_conn_step(c, st, reterr)) == 1) {
		j->ids[j->n++] = sqlite3_column_int64(st, 0);
		r = 0;
	}
	return r;
}

static int expire_run(struct db_conn *c, void *arg, struct err *reterr)
{
	struct expire_job *j = arg;
	int r = expire_find(c, j, reterr);

	for (unsigned i = 0; r == 0 && i < j->n; i++) {
		struct status_job one = { .id = j->ids[i], .to = CAR_STATUS_EXPIRED, .now_sec = j->now_sec, .actor = "calendar" };

		r = status_run(c, &one, reterr);
	}
	return r;
}

int db_expire_requests(struct db *db, int64_t before_sec, int64_t now_sec, unsigned *ret_n, struct err *reterr)
{
	struct expire_job j = { .before_sec = before_sec, .now_sec = now_sec, .n = 0 };
	unsigned total = 0;
	int r;

	do {
		r = db_write(db, expire_run, &j, reterr);
		if (r == 0)
			total += j.n;
	} while (r == 0 && j.n == EXPIRE_CHUNK);
	if (ret_n)
		*ret_n = total;
	return r;
}

/* Walks over rows: lists for the operator, revoked ones for the CRL, open intents after a crash. */
#include "ca/db_internal.h"

#include <errno.h>

/* SQLite's LIMIT: negative is none. */
static int64_t limit_of(size_t max)
{
	return max == 0 || max > INT64_MAX ? -1 : (int64_t) max;
}

static int walk_requests(struct db_conn *c, sqlite3_stmt *st, db_request_fn fn, void *userdata, struct err *reterr)
{
	AUTO(db_request) struct db_request row = { .id = 0 };
	int r;

	while ((r = db_conn_step(c, st, reterr)) == 1) {
		if (db_row_request(st, &row) < 0)
			return err_set(reterr, -ENOMEM, "database: out of memory");
		r = fn(userdata, &row);
		if (r != 0)
			return r;
	}
	return r;
}

static int walk_certs(struct db_conn *c, sqlite3_stmt *st, db_cert_fn fn, void *userdata, struct err *reterr)
{
	AUTO(db_cert) struct db_cert row = { .nb_sec = 0 };
	int r;

	while ((r = db_conn_step(c, st, reterr)) == 1) {
		if (db_row_cert(st, &row) < 0)
			return err_set(reterr, -ENOMEM, "database: out of memory");
		r = fn(userdata, &row);
		if (r != 0)
			return r;
	}
	return r;
}

static int requests_run(struct db_conn *c, bool all, size_t max, db_request_fn fn, void *userdata, struct err *reterr)
{
	AUTO(stmt) sqlite3_stmt *st = NULL;
	int r = db_conn_bind(c, all ? DB_SQL_REQUESTS_ALL : DB_SQL_REQUESTS_OPEN, reterr, &st, "i", limit_of(max));

	return r == 0 ? walk_requests(c, st, fn, userdata, reterr) : r;
}

int db_requests_each(struct db *db, bool all, size_t max, db_request_fn fn, void *userdata, struct err *reterr)
{
	struct db_conn *c = NULL;
	int r = db_reader_take(db, &c, reterr);

	if (r < 0)
		return r;
	r = requests_run(c, all, max, fn, userdata, reterr);
	db_reader_release(db, c);
	return r;
}

static int intents_run(struct db_conn *c, db_request_fn fn, void *userdata, struct err *reterr)
{
	AUTO(stmt) sqlite3_stmt *st = NULL;
	int r = db_conn_bind(c, DB_SQL_REQUESTS_INTENT, reterr, &st, "");

	return r == 0 ? walk_requests(c, st, fn, userdata, reterr) : r;
}

int db_intents_each(struct db *db, db_request_fn fn, void *userdata, struct err *reterr)
{
	struct db_conn *c = NULL;
	int r = db_reader_take(db, &c, reterr);

	if (r < 0)
		return r;
	c->deadline_boot_ms = 0; /* each one is signed within the walk: it takes what it takes, and runs once, at start */
	r = intents_run(c, fn, userdata, reterr);
	db_reader_release(db, c);
	return r;
}

static int certs_run(struct db_conn *c, size_t max, db_cert_fn fn, void *userdata, struct err *reterr)
{
	AUTO(stmt) sqlite3_stmt *st = NULL;
	int r = db_conn_bind(c, DB_SQL_CERTS_EACH, reterr, &st, "i", limit_of(max));

	return r == 0 ? walk_certs(c, st, fn, userdata, reterr) : r;
}

int db_certs_each(struct db *db, size_t max, db_cert_fn fn, void *userdata, struct err *reterr)
{
	struct db_conn *c = NULL;
	int r = db_reader_take(db, &c, reterr);

	if (r < 0)
		return r;
	r = certs_run(c, max, fn, userdata, reterr);
	db_reader_release(db, c);
	return r;
}

static int revoked_run(struct db_conn *c, const char *issuer_spki, int64_t after_sec, db_cert_fn fn, void *userdata, struct err *reterr)
{
	AUTO(stmt) sqlite3_stmt *st = NULL;
	int r = db_conn_bind(c, DB_SQL_CERTS_REVOKED, reterr, &st, "ti", issuer_spki, after_sec);

	return r == 0 ? walk_certs(c, st, fn, userdata, reterr) : r;
}

int db_revoked_each(struct db *db, const char *issuer_spki, int64_t not_expired_at_sec, db_cert_fn fn, void *userdata, struct err *reterr)
{
	struct db_conn *c = NULL;
	int r = db_reader_take(db, &c, reterr);

	if (r < 0)
		return r;
	r = revoked_run(c, issuer_spki, not_expired_at_sec, fn, userdata, reterr);
	db_reader_release(db, c);
	return r;
}

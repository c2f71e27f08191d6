/* Reads: read-only connections from a small pool, any thread. */
#include "ca/db_internal.h"

#include <errno.h>

#include "common/clk.h"

int db_reader_take(struct db *db, struct db_conn **ret, struct err *reterr)
{
	struct db_conn *c = NULL;
	int r;

	(void) pthread_mutex_lock(&db->lock);
	if (db->n_idle > 0)
		c = db->idle[--db->n_idle];
	(void) pthread_mutex_unlock(&db->lock);
	if (!c) {
		r = db_conn_open(db->path, false, &c, reterr);
		if (r < 0)
			return r;
	}
	c->deadline_boot_ms = clk_boot_ms() + DB_READ_LIMIT_MS;
	*ret = c;
	return 0;
}

void db_reader_release(struct db *db, struct db_conn *c)
{
	(void) pthread_mutex_lock(&db->lock);
	if (db->n_idle < DB_READERS_IDLE) {
		db->idle[db->n_idle++] = c;
		c = NULL;
	}
	(void) pthread_mutex_unlock(&db->lock);
	db_conn_close(c);
}

void db_readers_close(struct db *db)
{
	while (db->n_idle > 0)
		db_conn_close(db->idle[--db->n_idle]);
}

int db_request_find(struct db *db, struct db_request *r, struct err *reterr)
{
	AUTO(db_request) struct db_request names = *r; /* the four names stay readable while *r is filled */
	struct db_conn *c = NULL;
	int ret = db_reader_take(db, &c, reterr);

	names.csr = names.signer_cert = BUF_EMPTY; /* still r's */
	if (ret < 0)
		return ret;
	ret = db_request_read(c, &names, r, reterr);
	db_reader_release(db, c);
	return ret;
}

static int poll_read(struct db_conn *c, const char *issuer_spki, const char *transaction_id, const char *signer, struct db_request *ret,
		     struct err *reterr)
{
	AUTO(stmt) sqlite3_stmt *st = NULL;
	int r = db_conn_bind(c, DB_SQL_REQUEST_POLL, reterr, &st, "ttt", transaction_id, signer, issuer_spki);

	if (r == 0)
		r = db_conn_step(c, st, reterr);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(reterr, -ENOENT, "database: no request with this transactionID and signer");
	r = db_row_request(st, ret);
	return r < 0 ? err_set(reterr, r, "database: out of memory") : 0;
}

int db_request_find_poll(struct db *db, const char *issuer_spki, const char *transaction_id, const char *signer, struct db_request *ret,
			 struct err *reterr)
{
	struct db_conn *c = NULL;
	int r = db_reader_take(db, &c, reterr);

	if (r < 0)
		return r;
	r = poll_read(c, issuer_spki, transaction_id, signer, ret, reterr);
	db_reader_release(db, c);
	return r;
}

int db_request_get(struct db *db, int64_t id, struct db_request *ret, struct err *reterr)
{
	struct db_conn *c = NULL;
	int r = db_reader_take(db, &c, reterr);

	if (r < 0)
		return r;
	r = db_request_read_id(c, id, ret, reterr);
	db_reader_release(db, c);
	return r;
}

static int counts_read(struct db_conn *c, int64_t *ret_pending, int64_t *ret_issued, struct err *reterr)
{
	AUTO(stmt) sqlite3_stmt *st = NULL;
	int r = db_conn_bind(c, DB_SQL_COUNTS, reterr, &st, "");

	if (r == 0)
		r = db_conn_step(c, st, reterr);
	if (r < 1)
		return r < 0 ? r : err_set(reterr, -EUCLEAN, "database: the row of counters is missing");
	*ret_pending = sqlite3_column_int64(st, 0);
	*ret_issued = sqlite3_column_int64(st, 1);
	return 0;
}

int db_counts(struct db *db, int64_t *ret_pending, int64_t *ret_issued, struct err *reterr)
{
	struct db_conn *c = NULL;
	int r = db_reader_take(db, &c, reterr);

	if (r < 0)
		return r;
	r = counts_read(c, ret_pending, ret_issued, reterr);
	db_reader_release(db, c);
	return r;
}

static int other_subject_read(struct db_conn *c, const char *spki, const char *subject, bool *ret, struct err *reterr)
{
	AUTO(stmt) sqlite3_stmt *st = NULL;
	int r = db_conn_bind(c, DB_SQL_CERT_OTHER_SUBJECT, reterr, &st, "tt", spki, subject);

	if (r == 0)
		r = db_conn_step(c, st, reterr);
	*ret = r == 1;
	return r < 0 ? r : 0;
}

int db_key_other_subject(struct db *db, const char *spki, const char *subject, bool *ret, struct err *reterr)
{
	struct db_conn *c = NULL;
	int r = db_reader_take(db, &c, reterr);

	if (r < 0)
		return r;
	r = other_subject_read(c, spki, subject, ret, reterr);
	db_reader_release(db, c);
	return r;
}

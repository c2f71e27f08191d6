/* Small state: settings and cRLNumbers. */
#include "ca/db_internal.h"

#include <errno.h>
#include <stdio.h>

struct crl_job {
	const char *issuer_spki;
	int64_t number;
};

static int crl_run(struct db_conn *c, void *arg, struct err *reterr)
{
	struct crl_job *j = arg;
	AUTO(stmt) sqlite3_stmt *st = NULL;
	int r = db_conn_bind(c, DB_SQL_CRL_NUMBER, reterr, &st, "t", j->issuer_spki);

	if (r == 0)
		r = db_conn_step(c, st, reterr);
	if (r == 1) {
		j->number = sqlite3_column_int64(st, 0);
		r = db_conn_step(c, st, reterr); /* to the end: only then is it done */
	}
	return r;
}

int db_crl_number(struct db *db, const char *issuer_spki, int64_t *ret, struct err *reterr)
{
	struct crl_job j = { .issuer_spki = issuer_spki };
	int r = db_write(db, crl_run, &j, reterr);

	if (r == 0)
		*ret = j.number;
	return r;
}

struct setting_job {
	const char *key;
	const void *data;
	size_t len;
};

static int setting_run(struct db_conn *c, void *arg, struct err *reterr)
{
	const struct setting_job *j = arg;

	if (j->len == 0)
		return db_conn_run(c, DB_SQL_SETTING_DROP, reterr, "t", j->key);
	return db_conn_run(c, DB_SQL_SETTING_SET, reterr, "tb", j->key, j->data, j->len);
}

int db_setting_set(struct db *db, const char *key, const void *data, size_t len, struct err *reterr)
{
	struct setting_job j = { .key = key, .data = data, .len = len };

	return db_write(db, setting_run, &j, reterr);
}

static int setting_read(struct db_conn *c, const char *key, struct buf *ret, struct err *reterr)
{
	AUTO(stmt) sqlite3_stmt *st = NULL;
	int r = db_conn_bind(c, DB_SQL_SETTING_GET, reterr, &st, "t", key);

	if (r == 0)
		r = db_conn_step(c, st, reterr);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(reterr, -ENOENT, "database: no setting %s", key);
	r = db_row_blob(st, 0, ret);
	return r < 0 ? err_set(reterr, r, "database: out of memory") : 0;
}

int db_setting_get(struct db *db, const char *key, struct buf *ret, struct err *reterr)
{
	struct db_conn *c = NULL;
	int r = db_reader_take(db, &c, reterr);

	if (r < 0)
		return r;
	r = setting_read(c, key, ret, reterr);
	db_reader_release(db, c);
	return r;
}

/* One SQLite connection: how it is opened, its statements, and its errors as errno. */
#include "ca/db_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "common/clk.h"

static const char *const sql_texts[DB_SQL_N_] = {
#define DB_SQL(name, text) [DB_SQL_##name] = text,
#include "ca/db_sql.def"
#undef DB_SQL
};

static int errno_of(int rc, sqlite3 *h)
{
	int sys;

	switch (rc & 0xff) {
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	case SQLITE_INTERRUPT:
		return -ETIME;
	case SQLITE_CANTOPEN:
		sys = h ? sqlite3_system_errno(h) : 0;
		return sys > 0 ? -sys : -EACCES;
	default: /* SQLITE_IOERR, and what should not happen */
		return -EIO;
	}
}

int db_conn_error(struct db_conn *c, int rc, struct err *reterr, const char *what)
{
	int code = errno_of(rc, c->h);

	if (code == -EIO && c->h && sqlite3_system_errno(c->h) == ENOSPC)
		code = -ENOSPC; /* e.g. a failing ftruncate of the shared memory file */
	return err_set(reterr, code, "database: %s: %s (SQLite %d)", what, c->h ? sqlite3_errmsg(c->h) : sqlite3_errstr(rc), rc);
}

int db_conn_exec(struct db_conn *c, const char *sql, struct err *reterr)
{
	int rc = sqlite3_exec(c->h, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : db_conn_error(c, rc, reterr, "exec");
}

static int read_too_long(void *arg)
{
	const struct db_conn *c = arg;

	return c->deadline_boot_ms != 0 && clk_boot_ms() > c->deadline_boot_ms;
}

/* Pragmas fail silently: each is asked what it has become. */
static int pragma_check(struct db_conn *c, const char *sql, const char *want, struct err *reterr)
{
	sqlite3_stmt *st = NULL;
	const char *got;
	int r = 0, rc = sqlite3_prepare_v2(c->h, sql, -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc != SQLITE_ROW) {
		r = db_conn_error(c, rc, reterr, sql);
	} else {
		got = (const char *) sqlite3_column_text(st, 0);
		if (!got || strcmp(got, want) != 0)
			r = err_set(reterr, -ENOTSUP, "database: %s gave %s, wanted %s", sql, got ? got : "nothing", want);
	}
	(void) sqlite3_finalize(st); /* repeats the step's error */
	return r;
}

static int conn_setup_writer(struct db_conn *c, struct err *reterr)
{
	static const struct { const char *sql, *want; } pragmas[] = {
		{ "PRAGMA journal_mode=WAL", "wal" },
		{ "PRAGMA wal_autocheckpoint=0", "0" },
	};
	int r = db_conn_exec(c, "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA cell_size_check=ON", reterr);

	for (size_t i = 0; r == 0 && i < sizeof(pragmas) / sizeof(pragmas[0]); i++)
		r = pragma_check(c, pragmas[i].sql, pragmas[i].want, reterr);
	if (r == 0)
		r = pragma_check(c, "PRAGMA synchronous", "2", reterr);
	return r == 0 ? pragma_check(c, "PRAGMA foreign_keys", "1", reterr) : r;
}

static int conn_setup(struct db_conn *c, bool writer, struct err *reterr)
{
	int rc = sqlite3_extended_result_codes(c->h, 1);

	if (rc == SQLITE_OK)
		rc = sqlite3_busy_timeout(c->h, 5000);
	if (rc == SQLITE_OK)
		rc = sqlite3_db_config(c->h, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_db_config(c->h, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	if (rc == SQLITE_OK && !writer)
		rc = sqlite3_db_config(c->h, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	if (rc != SQLITE_OK)
		return db_conn_error(c, rc, reterr, "set up");
	if (!writer)
		sqlite3_progress_handler(c->h, 10000, read_too_long, c);
	return db_conn_exec(c, "PRAGMA mmap_size=0", reterr);
}

int db_conn_open(const char *path, bool writer, struct db_conn **ret, struct err *reterr)
{
	int flags = writer ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
	AUTO(db_conn) struct db_conn *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_set(reterr, -ENOMEM, "database: out of memory");
	r = sqlite3_open_v2(path, &c->h, flags | SQLITE_OPEN_NOMUTEX, NULL);
	if (r != SQLITE_OK)
		return db_conn_error(c, r, reterr, path);
	r = conn_setup(c, writer, reterr);
	if (r == 0 && writer)
		r = conn_setup_writer(c, reterr);
	if (r < 0)
		return r;
	*ret = TAKE(c);
	return 0;
}

void db_conn_close(struct db_conn *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < DB_SQL_N_; i++)
		(void) sqlite3_finalize(c->stmt[i]); /* repeats the last step's error */
	(void) sqlite3_close(c->h); /* nothing is left open that could refuse */
	free(c);
}

static int conn_statement(struct db_conn *c, enum db_sql id, sqlite3_stmt **ret, struct err *reterr)
{
	int rc;

	if (!c->stmt[id]) {
		rc = sqlite3_prepare_v3(c->h, sql_texts[id], -1, SQLITE_PREPARE_PERSISTENT, &c->stmt[id], NULL);
		if (rc != SQLITE_OK)
			return db_conn_error(c, rc, reterr, "prepare");
	}
	*ret = c->stmt[id];
	return 0;
}

static int bind_one(sqlite3_stmt *st, int i, char type, va_list *args)
{
	const char *text;
	const void *data;
	size_t len;

	switch (type) {
	case 't':
		text = va_arg(*args, const char *);
		return sqlite3_bind_text(st, i, text, -1, SQLITE_STATIC);
	case 'i':
		return sqlite3_bind_int64(st, i, va_arg(*args, int64_t));
	case 'b':
		data = va_arg(*args, const void *);
		len = va_arg(*args, size_t);
		return len == 0 ? sqlite3_bind_zeroblob(st, i, 0) : sqlite3_bind_blob64(st, i, data, len, SQLITE_STATIC);
	default:
		return SQLITE_MISUSE;
	}
}

int db_conn_bind(struct db_conn *c, enum db_sql id, struct err *reterr, sqlite3_stmt **ret, const char *types, ...)
{
	sqlite3_stmt *st = NULL;
	va_list args;
	int rc = SQLITE_OK, r = conn_statement(c, id, &st, reterr);

	if (r < 0)
		return r;
	va_start(args, types);
	for (int i = 0; rc == SQLITE_OK && types[i]; i++)
		rc = bind_one(st, i + 1, types[i], &args);
	va_end(args);
	*ret = st; /* the caller's AUTO resets it, after an error too */
	return rc == SQLITE_OK ? 0 : db_conn_error(c, rc, reterr, "bind");
}

int db_conn_step(struct db_conn *c, sqlite3_stmt *st, struct err *reterr)
{
	int rc = sqlite3_step(st);

	if (rc == SQLITE_ROW)
		return 1;
	return rc == SQLITE_DONE ? 0 : db_conn_error(c, rc, reterr, sqlite3_sql(st));
}

/* Inside the database: connections, the statements' table, and the writer's queue. Only ca/db_*.c and its test include it. */
#ifndef KEYROLL_CA_DB_INTERNAL_H
#define KEYROLL_CA_DB_INTERNAL_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "ca/db.h"
#include "common/auto.h"

#define DB_SCHEMA_VERSION 1

/* Every statement that is ever run after opening: prepared once for each connection. */
enum db_sql {
#define DB_SQL(name, text) DB_SQL_##name,
#include "ca/db_sql.def"
#undef DB_SQL
	DB_SQL_N_
};
extern const char *const db_sql_schema;

/* ---- one connection: used by one thread at a time ---- */
struct db_conn {
	sqlite3 *h;
	sqlite3_stmt *stmt[DB_SQL_N_];
	int64_t deadline_boot_ms; /* readers: a statement that runs longer is interrupted; 0: no bound */
};
int db_conn_open(const char *path, bool writer, struct db_conn **ret, struct err *reterr) CHECKED;
void db_conn_close(struct db_conn *c);
/* SQLite's result as errno, with its words: -ENOSPC full, -EIO, -EUCLEAN corrupt, -EBUSY, -EEXIST constraint, -ETIME interrupted ... */
int db_conn_error(struct db_conn *c, int rc, struct err *reterr, const char *what) CHECKED;
/* The statement, ready, with its parameters bound: t text (NULL: SQL NULL), i int64_t, b blob (pointer, size_t). Bound memory is borrowed until the
 * statement is reset. */
int db_conn_bind(struct db_conn *c, enum db_sql id, struct err *reterr, sqlite3_stmt **ret, const char *types, ...) CHECKED;
/* 1: a row, 0: no more, or an error. */
int db_conn_step(struct db_conn *c, sqlite3_stmt *st, struct err *reterr) CHECKED;
int db_conn_exec(struct db_conn *c, const char *sql, struct err *reterr) CHECKED;
/* Binds and steps to the end; rows are dropped. */
#define db_conn_run(c, id, reterr, ...)                                                                                            \
	__extension__({                                                                                                            \
		AUTO(stmt) sqlite3_stmt *run_st_ = NULL;                                                                           \
		int run_r_ = db_conn_bind(c, id, reterr, &run_st_, __VA_ARGS__);                                                    \
		while (run_r_ == 0 && (run_r_ = db_conn_step(c, run_st_, reterr)) == 1)                                             \
			run_r_ = 0;                                                                                                \
		run_r_;                                                                                                            \
	})

static inline void stmt_done_(sqlite3_stmt *st)
{
	(void) sqlite3_reset(st); /* repeats the step's error, which has been told */
	(void) sqlite3_clear_bindings(st);
}
AUTO_DEFINE(stmt, sqlite3_stmt *, stmt_done_);
AUTO_DEFINE(db_conn, struct db_conn *, db_conn_close);

/* ---- the writer ---- */
enum {
	DB_BATCH_MAX = 64,	      /* jobs in one commit */
	DB_QUEUE_MAX = 4096,	      /* jobs that wait; beyond: -EAGAIN */
	DB_COMMIT_DELAY_MS = 3,	      /* at most, and only while more writes are expected */
	DB_COMMIT_DELAY_BATCH = 32,   /* a batch of this size waits no longer */
	DB_COMMIT_DELAY_EXPECTED = 8, /* requests in work beyond the batch that make waiting worth while */
	DB_WAL_PAGES = 1000,	      /* checkpoint from here on, when nobody waits */
	DB_WAL_PAGES_HIGH = 8000,     /* checkpoint even if somebody waits */
	DB_READERS_IDLE = 32,	      /* read-only connections kept open */
	DB_READ_LIMIT_MS = 20 * 1000, /* of one read: a long reader keeps the WAL from being reset */
};

/* Runs in a transaction of the writer, perhaps more than once: its outputs are written from scratch each time. An error undoes what it wrote. */
typedef int (*db_job_fn)(struct db_conn *c, void *arg, struct err *reterr);

struct db_job {
	db_job_fn run;
	void *arg;
	struct db_job *next;
	pthread_cond_t over;
	bool done;
	int code;
	struct err err;
};

struct db {
	char *path;
	int folder_fd;		  /* flock: one process for each folder */
	struct db_conn *writer;	  /* the writer thread's alone, once that runs */
	pthread_t thread;
	bool running;
	pthread_mutex_t lock;	  /* of what follows */
	pthread_cond_t wake;	  /* the writer: a job, or stop */
	struct db_job *head, *tail;
	unsigned queued;
	bool stop;
	atomic_int broken;	  /* -EIO after a failed sync: no write is tried again on this file */
	struct db_conn *idle[DB_READERS_IDLE];
	unsigned n_idle;
	atomic_int expected;	  /* db_expect */
	atomic_uint commits;	  /* for tests and status */
	atomic_int wal_pages;	  /* since the last reset */
};

/* Queues the job and waits until the commit that holds it is durable (or failed). */
int db_write(struct db *db, db_job_fn run, void *arg, struct err *reterr) CHECKED;
int db_writer_start(struct db *db, struct err *reterr) CHECKED;
void db_writer_stop(struct db *db);

/* A read-only connection, given back with db_reader_release. */
int db_reader_take(struct db *db, struct db_conn **ret, struct err *reterr) CHECKED;
void db_reader_release(struct db *db, struct db_conn *c);
void db_readers_close(struct db *db); /* nobody reads any more */

/* ---- inside a job ---- */
int db_audit_add(struct db_conn *c, int64_t now_sec, const char *actor, const char *action, const char *object, struct err *reterr) CHECKED;
/* The stored request in r's four names: 0, or -ENOENT. Fills *ret (cleared first). */
int db_request_read(struct db_conn *c, const struct db_request *names, struct db_request *ret, struct err *reterr) CHECKED;
int db_request_read_id(struct db_conn *c, int64_t id, struct db_request *ret, struct err *reterr) CHECKED;
/* Writes r as a new row with r->status; r->id is set. -EDQUOT when it is PENDING and the queue is full. */
int db_request_insert(struct db_conn *c, struct db_request *r, int64_t now_sec, struct err *reterr) CHECKED;
/* Moves a row and keeps the counters. */
int db_request_move(struct db_conn *c, const struct db_request *stored, enum car_status to, const char *serial, const char *why, int64_t now_sec,
		    struct err *reterr) CHECKED;

/* ---- rows ---- */
int db_row_request(sqlite3_stmt *st, struct db_request *ret) CHECKED; /* columns of DB_REQUEST_COLUMNS (and DB_REQUEST_DER) */
int db_row_cert(sqlite3_stmt *st, struct db_cert *ret) CHECKED;
int db_row_blob(sqlite3_stmt *st, int column, struct buf *ret) CHECKED;

#endif

/* The thread that writes: takes jobs from the queue, runs each in a savepoint of one transaction, commits when the queue is empty or the batch is full,
 * and only then wakes those who wait. A batch that fails as a whole is run again job by job, so that each gets its own answer. Checkpoints happen here
 * too, between batches. */
#include "ca/db_internal.h"

#include <errno.h>
#include <poll.h>

#include "common/clk.h"

struct batch {
	struct db_job *first, *last; /* in the order they ran */
	unsigned n;
	int64_t begun_boot_ms;
	bool lost; /* SQLite rolled the whole transaction back */
};

static struct db_job *queue_pop(struct db *db)
{
	struct db_job *job = db->head;

	if (!job)
		return NULL;
	db->head = job->next;
	if (!db->head)
		db->tail = NULL;
	db->queued--;
	job->next = NULL;
	return job;
}

/* Waiting makes one sync carry more, but only pays when more is on its way. */
static bool worth_waiting(struct db *db, const struct batch *b)
{
	int expected = atomic_load_explicit(&db->expected, memory_order_relaxed);

	return !db->stop && b->n < DB_COMMIT_DELAY_BATCH && expected - (int) b->n >= DB_COMMIT_DELAY_EXPECTED &&
	       clk_boot_ms() - b->begun_boot_ms < DB_COMMIT_DELAY_MS;
}

/* The delay is meant: it is the bound on how long a commit waits for company. Nothing that is waited for could end it sooner but a full batch. */
static struct db_job *queue_next(struct db *db, const struct batch *b)
{
	struct db_job *job;

	(void) pthread_mutex_lock(&db->lock); /* a default mutex of ours: cannot fail */
	while (!(job = queue_pop(db)) && worth_waiting(db, b)) {
		(void) pthread_mutex_unlock(&db->lock);
		(void) poll(NULL, 0, 1); /* an early end is as good */
		(void) pthread_mutex_lock(&db->lock);
	}
	(void) pthread_mutex_unlock(&db->lock);
	return job;
}

static struct db_job *queue_first(struct db *db)
{
	struct db_job *job;

	(void) pthread_mutex_lock(&db->lock);
	while (!(job = queue_pop(db)) && !db->stop)
		(void) pthread_cond_wait(&db->wake, &db->lock);
	(void) pthread_mutex_unlock(&db->lock);
	return job;
}

static void job_finish(struct db *db, struct db_job *job)
{
	(void) pthread_mutex_lock(&db->lock);
	job->done = true;
	(void) pthread_cond_signal(&job->over); /* under the lock: the job lies on the waiter's stack */
	(void) pthread_mutex_unlock(&db->lock);
}

static void batch_add(struct batch *b, struct db_job *job)
{
	if (b->last)
		b->last->next = job;
	else
		b->first = job;
	b->last = job;
	b->n++;
}

static void job_run(struct db *db, struct db_job *job)
{
	job->err = (struct err){ .code = 0 };
	job->code = db->broken ? err_set(&job->err, db->broken, "database: stopped after an I/O error; the disk must be checked") :
				 job->run(db->writer, job->arg, &job->err);
}

/* One bad job leaves the others of its batch alone. */
static void job_run_saved(struct db *db, struct batch *b, struct db_job *job)
{
	struct db_conn *c = db->writer;

	if (db_conn_run(c, DB_SQL_SAVEPOINT, NULL, "") < 0) {
		b->lost = true;
		return;
	}
	job_run(db, job);
	if (sqlite3_get_autocommit(c->h)) { /* disk full, I/O error: the transaction is gone, and what the others wrote with it */
		b->lost = true;
		return;
	}
	if (job->code < 0 && db_conn_run(c, DB_SQL_ROLLBACK_TO, NULL, "") < 0)
		b->lost = true;
	if (db_conn_run(c, DB_SQL_RELEASE, NULL, "") < 0)
		b->lost = true;
}

static void rollback(struct db *db)
{
	if (!sqlite3_get_autocommit(db->writer->h) && db_conn_run(db->writer, DB_SQL_ROLLBACK, NULL, "") < 0)
		db->broken = -EIO; /* never seen; without a rollback nothing may be written any more */
}

/* After a sync that failed the kernel may have dropped what was to be written and call the next sync good: nothing is tried again on this file. */
static int commit(struct db *db, struct err *reterr)
{
	int r = db_conn_run(db->writer, DB_SQL_COMMIT, reterr, "");

	if (r == 0) {
		atomic_fetch_add_explicit(&db->commits, 1, memory_order_relaxed);
		return 0;
	}
	rollback(db);
	if (r == -EIO)
		db->broken = -EIO;
	return r;
}

static void job_run_alone(struct db *db, struct db_job *job)
{
	int r;

	if (!db->broken && db_conn_run(db->writer, DB_SQL_BEGIN, &job->err, "") < 0) {
		job->code = job->err.code;
		return;
	}
	job_run(db, job);
	if (job->code < 0) {
		rollback(db);
		return;
	}
	r = commit(db, &job->err);
	if (r < 0)
		job->code = r;
}

static void batch_again(struct db *db, struct batch *b)
{
	rollback(db);
	for (struct db_job *job = b->first; job; job = job->next)
		job_run_alone(db, job);
}

static void batch_finish(struct db *db, struct batch *b)
{
	struct db_job *job, *next;

	for (job = b->first; job; job = next) {
		next = job->next;
		job_finish(db, job); /* its memory is the waiter's again */
	}
}

static void checkpoint(struct db *db, bool all)
{
	int rc, pages, moved = 0;
	bool waiting;

	(void) pthread_mutex_lock(&db->lock);
	waiting = db->head != NULL;
	(void) pthread_mutex_unlock(&db->lock);
	pages = atomic_load_explicit(&db->wal_pages, memory_order_relaxed);
	if (db->broken || (!all && (pages < DB_WAL_PAGES || (waiting && pages < DB_WAL_PAGES_HIGH))))
		return;
	rc = sqlite3_wal_checkpoint_v2(db->writer->h, NULL, all ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, &pages, &moved);
	if ((rc & 0xff) == SQLITE_IOERR)
		db->broken = -EIO; /* anything else, e.g. a reader that holds it back: tried again after the next batch */
}

static int wal_grown(void *arg, sqlite3 *h, const char *name, int pages)
{
	struct db *db = arg;

	(void) h;
	(void) name;
	atomic_store_explicit(&db->wal_pages, pages, memory_order_relaxed);
	return SQLITE_OK;
}

static void batch_run(struct db *db, struct db_job *job)
{
	struct batch b = { .begun_boot_ms = clk_boot_ms() };

	b.lost = db->broken || db_conn_run(db->writer, DB_SQL_BEGIN, NULL, "") < 0;
	while (job) {
		batch_add(&b, job);
		if (!b.lost)
			job_run_saved(db, &b, job);
		job = b.n < DB_BATCH_MAX ? queue_next(db, &b) : NULL;
	}
	if (b.lost || commit(db, NULL) < 0)
		batch_again(db, &b);
	batch_finish(db, &b);
}

static void *writer_main(void *arg)
{
	struct db *db = arg;
	struct db_job *job;

	while ((job = queue_first(db))) {
		batch_run(db, job);
		checkpoint(db, false);
	}
	checkpoint(db, true);
	return NULL;
}

int db_writer_start(struct db *db, struct err *reterr)
{
	int e;

	(void) sqlite3_wal_hook(db->writer->h, wal_grown, db); /* returns the hook before it: none */
	e = pthread_create(&db->thread, NULL, writer_main, db);
	db->running = e == 0;
	return e == 0 ? 0 : err_set(reterr, -e, "database: cannot start the writer thread");
}

void db_writer_stop(struct db *db)
{
	if (!db->running)
		return;
	(void) pthread_mutex_lock(&db->lock);
	db->stop = true;
	(void) pthread_cond_signal(&db->wake);
	(void) pthread_mutex_unlock(&db->lock);
	(void) pthread_join(db->thread, NULL); /* our own, joined once */
	db->running = false;
}

int db_write(struct db *db, db_job_fn run, void *arg, struct err *reterr)
{
	struct db_job job = { .run = run, .arg = arg, .over = PTHREAD_COND_INITIALIZER };

	(void) pthread_mutex_lock(&db->lock);
	if (db->stop || db->queued >= DB_QUEUE_MAX) {
		(void) pthread_mutex_unlock(&db->lock);
		return err_set(reterr, db->stop ? -ESHUTDOWN : -EAGAIN, "database: %s", db->stop ? "is closing" : "too many writes wait");
	}
	if (db->tail)
		db->tail->next = &job;
	else
		db->head = &job;
	db->tail = &job;
	db->queued++;
	(void) pthread_cond_signal(&db->wake);
	while (!job.done)
		(void) pthread_cond_wait(&job.over, &db->lock);
	(void) pthread_mutex_unlock(&db->lock);
	(void) pthread_cond_destroy(&job.over);
	if (job.code < 0 && reterr)
		*reterr = job.err;
	return job.code;
}

void db_expect(struct db *db, int delta)
{
	atomic_fetch_add_explicit(&db->expected, delta, memory_order_relaxed);
}

/* The database's life: folder lock, schema, check, writer thread, and the end. */
#include "ca/db_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

static int folder_lock(struct db *db, struct err *reterr)
{
	AUTO(mem) char *folder = strdup(db->path);
	char *slash = folder ? strrchr(folder, '/') : NULL;

	if (!folder)
		return err_set(reterr, -ENOMEM, "database: out of memory");
	if (slash)
		*slash = 0;
	db->folder_fd = open(slash ? (slash == folder ? "/" : folder) : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (db->folder_fd < 0)
		return err_set(reterr, -errno, "database: the folder of %s cannot be opened: %s", db->path, strerror(errno));
	if (flock(db->folder_fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(reterr, errno == EWOULDBLOCK ? -EBUSY : -errno, "database: another process holds the folder of %s", db->path);
	return 0;
}

static int version_get(struct db_conn *c, int *ret, struct err *reterr)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(c->h, "PRAGMA user_version", -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		*ret = sqlite3_column_int(st, 0);
	(void) sqlite3_finalize(st); /* read only */
	return rc == SQLITE_ROW ? 0 : db_conn_error(c, rc, reterr, "version");
}

static int schema_make(struct db_conn *c, struct err *reterr)
{
	int r = db_conn_exec(c, "BEGIN IMMEDIATE", reterr);

	if (r == 0)
		r = db_conn_exec(c, db_sql_schema, reterr);
	if (r == 0)
		r = db_conn_exec(c, "PRAGMA user_version=1", reterr);
	return r == 0 ? db_conn_exec(c, "COMMIT", reterr) : r;
}
_Static_assert(DB_SCHEMA_VERSION == 1, "schema_make writes the version");

static int schema_check(struct db_conn *c, struct err *reterr)
{
	int version = 0, r = version_get(c, &version, reterr);

	if (r < 0)
		return r;
	if (version == 0)
		return schema_make(c, reterr);
	if (version != DB_SCHEMA_VERSION)
		return err_set(reterr, -ENOTSUP, "database: schema version %d, this program knows up to %d", version, DB_SCHEMA_VERSION);
	return 0;
}

static int content_check(struct db_conn *c, struct err *reterr)
{
	sqlite3_stmt *st = NULL;
	const char *text;
	int r = 0, rc = sqlite3_prepare_v2(c->h, "PRAGMA quick_check(1)", -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	text = rc == SQLITE_ROW ? (const char *) sqlite3_column_text(st, 0) : NULL;
	if (!text)
		r = db_conn_error(c, rc, reterr, "quick_check");
	else if (strcmp(text, "ok") != 0)
		r = err_set(reterr, -EUCLEAN, "database: quick_check found: %s", text);
	(void) sqlite3_finalize(st); /* read only */
	return r;
}

static int db_init(struct db *db, const char *path, struct err *reterr)
{
	int r;

	db->path = strdup(path);
	if (!db->path || pthread_mutex_init(&db->lock, NULL) != 0 || pthread_cond_init(&db->wake, NULL) != 0)
		return err_set(reterr, -ENOMEM, "database: out of memory");
	r = folder_lock(db, reterr);
	if (r == 0)
		r = db_conn_open(path, true, &db->writer, reterr);
	if (r == 0)
		r = schema_check(db->writer, reterr);
	if (r == 0)
		r = content_check(db->writer, reterr);
	return r == 0 ? db_writer_start(db, reterr) : r;
}

int db_open(const char *path, struct db **ret, struct err *reterr)
{
	AUTO(db) struct db *db = calloc(1, sizeof(*db));
	int r;

	if (!db)
		return err_set(reterr, -ENOMEM, "database: out of memory");
	db->folder_fd = -1;
	r = db_init(db, path, reterr);
	if (r < 0)
		return r;
	*ret = TAKE(db);
	return 0;
}

void db_close(struct db *db)
{
	if (!db)
		return;
	/* readers first: the last checkpoint empties the WAL when nobody reads it */
	db_readers_close(db);
	db_writer_stop(db);
	db_conn_close(db->writer);
	if (db->folder_fd >= 0)
		(void) close(db->folder_fd); /* nothing was written through it; the lock goes with it */
	(void) pthread_cond_destroy(&db->wake);
	(void) pthread_mutex_destroy(&db->lock);
	free(db->path);
	free(db);
}

int db_health(struct db *db)
{
	return atomic_load(&db->broken);
}

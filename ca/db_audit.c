/* Audit rows: each carries the hash of the one before, written in the transaction of what it tells. */
#include "ca/db_internal.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "common/auto_ssl.h"

#define AUDIT_HASH_BYTES 32

struct audit_row {
	int64_t seq, at;
	const char *actor, *action, *object;
	uint8_t prev[AUDIT_HASH_BYTES];
};

/* SHA-256 over the previous hash and the row; each text with its terminating 0, so that no two rows give the same bytes. */
static int row_hash(const struct audit_row *row, uint8_t ret[AUDIT_HASH_BYTES], struct err *reterr)
{
	AUTO(md_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	char numbers[64];
	int n = snprintf(numbers, sizeof(numbers), "%lld %lld", (long long) row->seq, (long long) row->at);

	if (!ctx || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1 || EVP_DigestUpdate(ctx, row->prev, AUDIT_HASH_BYTES) != 1 ||
	    EVP_DigestUpdate(ctx, numbers, (size_t) n + 1) != 1 || EVP_DigestUpdate(ctx, row->actor, strlen(row->actor) + 1) != 1 ||
	    EVP_DigestUpdate(ctx, row->action, strlen(row->action) + 1) != 1 ||
	    EVP_DigestUpdate(ctx, row->object, strlen(row->object) + 1) != 1 || EVP_DigestFinal_ex(ctx, ret, NULL) != 1)
		return err_from_openssl(reterr, -ENOMEM, "database: hashing an audit row");
	return 0;
}

/* The head of the chain; all zero before the first row. */
static int chain_head(struct db_conn *c, int64_t *ret_seq, uint8_t ret_hash[AUDIT_HASH_BYTES], struct err *reterr)
{
	AUTO(stmt) sqlite3_stmt *st = NULL;
	int r = db_conn_bind(c, DB_SQL_AUDIT_LAST, reterr, &st, "");

	*ret_seq = 0;
	memset(ret_hash, 0, AUDIT_HASH_BYTES);
	if (r == 0)
		r = db_conn_step(c, st, reterr);
	if (r <= 0)
		return r;
	*ret_seq = sqlite3_column_int64(st, 0);
	if (sqlite3_column_bytes(st, 1) != AUDIT_HASH_BYTES)
		return err_set(reterr, -EUCLEAN, "database: audit row %lld has a hash of %d bytes", (long long) *ret_seq, sqlite3_column_bytes(st, 1));
	memcpy(ret_hash, sqlite3_column_blob(st, 1), AUDIT_HASH_BYTES);
	return 0;
}

int db_audit_add(struct db_conn *c, int64_t now_sec, const char *actor, const char *action, const char *object, struct err *reterr)
{
	struct audit_row row = { .at = now_sec, .actor = actor, .action = action, .object = object };
	uint8_t hash[AUDIT_HASH_BYTES];
	int r = chain_head(c, &row.seq, row.prev, reterr);

	row.seq++;
	if (r == 0)
		r = row_hash(&row, hash, reterr);
	if (r < 0)
		return r;
	return db_conn_run(c, DB_SQL_AUDIT_ADD, reterr, "iitttbb", row.seq, row.at, actor, action, object, (const void *) row.prev,
			   (size_t) AUDIT_HASH_BYTES, (const void *) hash, (size_t) AUDIT_HASH_BYTES);
}

static int row_check(sqlite3_stmt *st, struct audit_row *row, int64_t seq, const uint8_t prev[AUDIT_HASH_BYTES], uint8_t ret_hash[AUDIT_HASH_BYTES],
		     struct err *reterr)
{
	int r;

	*row = (struct audit_row){ .seq = sqlite3_column_int64(st, 0),
				   .at = sqlite3_column_int64(st, 1),
				   .actor = (const char *) sqlite3_column_text(st, 2),
				   .action = (const char *) sqlite3_column_text(st, 3),
				   .object = (const char *) sqlite3_column_text(st, 4) };
	memcpy(row->prev, prev, AUDIT_HASH_BYTES);
	if (row->seq != seq)
		return err_set(reterr, -EBADMSG, "audit: row %lld is missing", (long long) seq);
	if (!row->actor || !row->action || !row->object)
		return err_set(reterr, -ENOMEM, "audit: out of memory");
	r = row_hash(row, ret_hash, reterr);
	if (r < 0)
		return r;
	if (sqlite3_column_bytes(st, 5) != AUDIT_HASH_BYTES || memcmp(sqlite3_column_blob(st, 5), prev, AUDIT_HASH_BYTES) != 0 ||
	    sqlite3_column_bytes(st, 6) != AUDIT_HASH_BYTES || memcmp(sqlite3_column_blob(st, 6), ret_hash, AUDIT_HASH_BYTES) != 0)
		return err_set(reterr, -EBADMSG, "audit: row %lld does not follow from the row before it", (long long) seq);
	return 0;
}

static int chain_check(struct db_conn *c, int64_t *ret_rows, struct err *reterr)
{
	uint8_t prev[AUDIT_HASH_BYTES] = { 0 }, hash[AUDIT_HASH_BYTES];
	AUTO(stmt) sqlite3_stmt *st = NULL;
	struct audit_row row;
	int64_t seq = 0;
	int r = db_conn_bind(c, DB_SQL_AUDIT_EACH, reterr, &st, "");

	if (r < 0)
		return r;
	while ((r = db_conn_step(c, st, reterr)) == 1) {
		r = row_check(st, &row, ++seq, prev, hash, reterr);
		if (r < 0)
			return r;
		memcpy(prev, hash, AUDIT_HASH_BYTES);
	}
	if (r == 0 && ret_rows)
		*ret_rows = seq;
	return r;
}

int db_audit_check(struct db *db, int64_t *ret_rows, struct err *reterr)
{
	struct db_conn *c = NULL;
	int r = db_reader_take(db, &c, reterr);

	if (r < 0)
		return r;
	r = chain_check(c, ret_rows, reterr);
	db_reader_release(db, c);
	return r;
}

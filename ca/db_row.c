/* Rows as structs. */
#include "ca/db_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void db_request_clear(struct db_request *r)
{
	buf_clear(&r->csr);
	buf_clear(&r->signer_cert);
	*r = (struct db_request){ .id = 0 };
}

void db_cert_clear(struct db_cert *c)
{
	buf_clear(&c->der);
	buf_clear(&c->tbs);
	*c = (struct db_cert){ .nb_sec = 0 };
}

int db_row_blob(sqlite3_stmt *st, int column, struct buf *ret)
{
	const void *data = sqlite3_column_blob(st, column);
	int len = sqlite3_column_bytes(st, column);

	return buf_set(ret, data, len > 0 ? (size_t) len : 0);
}

/* What we wrote fits; a longer one (a tampered file) is cut. NULL is "". */
static void row_text(sqlite3_stmt *st, int column, char *ret, size_t bytes)
{
	const char *text = (const char *) sqlite3_column_text(st, column);

	(void) snprintf(ret, bytes, "%s", text ? text : "");
}
#define ROW_TEXT(st, column, field) row_text(st, column, field, sizeof(field))

static enum car_status status_of(int n)
{
	return n > CAR_STATUS_NONE && n < CAR_STATUS_N_ ? (enum car_status) n : CAR_STATUS_REJECTED; /* unknown: deny */
}

int db_row_request(sqlite3_stmt *st, struct db_request *ret)
{
	int r = 0;

	db_request_clear(ret);
	ret->id = sqlite3_column_int64(st, 0);
	ROW_TEXT(st, 1, ret->issuer_spki);
	ROW_TEXT(st, 2, ret->transaction_id);
	ROW_TEXT(st, 3, ret->csr_sha256);
	ROW_TEXT(st, 4, ret->signer);
	ret->status = status_of(sqlite3_column_int(st, 5));
	ROW_TEXT(st, 6, ret->subject);
	ROW_TEXT(st, 7, ret->address);
	ROW_TEXT(st, 8, ret->why);
	ret->renewal = sqlite3_column_int(st, 9) != 0;
	ret->received_sec = sqlite3_column_int64(st, 10);
	ret->changed_sec = sqlite3_column_int64(st, 11);
	ROW_TEXT(st, 12, ret->serial);
	if (sqlite3_column_count(st) > 13) {
		r = db_row_blob(st, 13, &ret->csr);
		if (r == 0)
			r = db_row_blob(st, 14, &ret->signer_cert);
	}
	return r;
}

int db_row_cert(sqlite3_stmt *st, struct db_cert *ret)
{
	int r = 0;

	db_cert_clear(ret);
	ROW_TEXT(st, 0, ret->issuer_spki);
	ROW_TEXT(st, 1, ret->serial);
	ROW_TEXT(st, 2, ret->subject);
	ROW_TEXT(st, 3, ret->spki);
	ret->nb_sec = sqlite3_column_int64(st, 4);
	ret->na_sec = sqlite3_column_int64(st, 5);
	ret->issued_sec = sqlite3_column_int64(st, 6);
	ret->revoked_sec = sqlite3_column_int64(st, 7);
	ret->revoked_reason = sqlite3_column_int(st, 8);
	if (sqlite3_column_count(st) > 9) {
		r = db_row_blob(st, 9, &ret->der);
		if (r == 0)
			r = db_row_blob(st, 10, &ret->tbs);
	}
	return r;
}

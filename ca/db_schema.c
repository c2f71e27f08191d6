/* The schema, version 1. Blobs lie in tables of their own: the rows that indexes and lists walk stay small. */
#include "ca/db_internal.h"

const char *const db_sql_schema =
	"CREATE TABLE setting(key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL) STRICT;"
	"CREATE TABLE counter(id INTEGER PRIMARY KEY CHECK (id = 1), pending INTEGER NOT NULL CHECK (pending >= 0), issued INTEGER NOT NULL) STRICT;"
	"INSERT INTO counter(id, pending, issued) VALUES (1, 0, 0);"
	"CREATE TABLE pending_address(address TEXT PRIMARY KEY NOT NULL, n INTEGER NOT NULL) STRICT;"
	"CREATE TABLE request("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, issuer_spki TEXT NOT NULL, transaction_id TEXT NOT NULL, csr_sha256 TEXT NOT NULL,"
	" signer TEXT NOT NULL, status INTEGER NOT NULL, subject TEXT NOT NULL, address TEXT NOT NULL, why TEXT NOT NULL,"
	" renewal INTEGER NOT NULL, received INTEGER NOT NULL, changed INTEGER NOT NULL, serial TEXT,"
	/* the same request; this order serves polls too, which know no CSR and perhaps no issuer */
	" UNIQUE (transaction_id, signer, issuer_spki, csr_sha256)) STRICT;"
	"CREATE INDEX request_open ON request(status, received) WHERE status IN (1, 2, 3);"
	"CREATE UNIQUE INDEX request_serial ON request(issuer_spki, serial) WHERE serial IS NOT NULL;"
	"CREATE TABLE request_der(id INTEGER PRIMARY KEY REFERENCES request(id), csr BLOB NOT NULL, signer_cert BLOB NOT NULL) STRICT;"
	"CREATE TABLE cert("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, issuer_spki TEXT NOT NULL, serial TEXT NOT NULL, subject TEXT NOT NULL, spki TEXT NOT NULL,"
	" nb INTEGER NOT NULL, na INTEGER NOT NULL, issued INTEGER NOT NULL, revoked INTEGER NOT NULL, reason INTEGER NOT NULL,"
	" request INTEGER NOT NULL REFERENCES request(id), UNIQUE (issuer_spki, serial)) STRICT;"
	"CREATE INDEX cert_spki ON cert(spki);"
	"CREATE INDEX cert_revoked ON cert(issuer_spki, serial) WHERE revoked > 0;"
	"CREATE TABLE cert_der(id INTEGER PRIMARY KEY REFERENCES cert(id), tbs BLOB, der BLOB) STRICT;"
	"CREATE TABLE crl(issuer_spki TEXT PRIMARY KEY NOT NULL, number INTEGER NOT NULL) STRICT;"
	"CREATE TABLE audit(seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, object TEXT NOT NULL,"
	" prev BLOB NOT NULL, hash BLOB NOT NULL) STRICT;";

/* The numbers stand in the SQL texts. */
_Static_assert(CAR_STATUS_PENDING == 1 && CAR_STATUS_AUTHORIZED == 2 && CAR_STATUS_INTENT == 3 && CAR_STATUS_GRANTED == 4,
	       "the schema's statuses are enum car_status");

/* The CA's database: idempotence, serials, statuses, audit, group commit, crashes. */
#include <CUnit/CUnit.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ca/db_internal.h"
#include "common/fs.h"
#include "common/limits.h"
#include "tests/test_main.h"

#define NOW 1800000000

static char folder[] = "/tmp/test_db.XXXXXX";
static char path[64];
static struct db *db;

static atomic_int syncs, sync_fails;	/* calls of fdatasync; calls that are still to fail */
static atomic_bool sync_stops;		/* the next call waits at the gate */
static sem_t sync_reached, sync_gate;

static int db_up(void)
{
	return db_open(path, &db, NULL);
}
static void db_down(void)
{
	db_close(db);
	db = NULL;
}
static void db_wipe(void)
{
	static const char *const ends[] = { "", "-wal", "-shm" };
	char name[80];

	for (size_t i = 0; i < 3; i++) {
		(void) snprintf(name, sizeof(name), "%s%s", path, ends[i]);
		(void) unlink(name); /* may be absent */
	}
}
static int suite_init(void)
{
	if (!mkdtemp(folder))
		return -1;
	(void) snprintf(path, sizeof(path), "%s/ca.db", folder);
	return sem_init(&sync_reached, 0, 0) < 0 || sem_init(&sync_gate, 0, 0) < 0;
}
static int suite_clean(void)
{
	return fs_remove_tree(folder, NULL);
}
/* Each test starts on an empty database. */
static void test_up(void)
{
	db_wipe();
	CU_ASSERT_FATAL(db_up() == 0);
}
static void test_down(void)
{
	db_down();
}

/* ---- material ---- */

static void request_make(struct db_request *r, const char *transaction, const char *csr)
{
	*r = (struct db_request){ .subject = "CN=spoke-1", .address = "192.0.2.1" };
	(void) snprintf(r->issuer_spki, sizeof(r->issuer_spki), "%s", "aa01");
	(void) snprintf(r->transaction_id, sizeof(r->transaction_id), "%s", transaction);
	(void) snprintf(r->csr_sha256, sizeof(r->csr_sha256), "%s", csr);
	(void) snprintf(r->signer, sizeof(r->signer), "self:%s", "bb");
	CU_ASSERT(buf_set(&r->csr, csr, strlen(csr)) == 0);
	CU_ASSERT(buf_set(&r->signer_cert, "signer", 6) == 0);
}
static void cert_make(struct db_cert *c, const char *serial)
{
	*c = (struct db_cert){ .issuer_spki = "aa01", .subject = "CN=spoke-1", .spki = "bb", .nb_sec = NOW, .na_sec = NOW + 1000 };
	(void) snprintf(c->serial, sizeof(c->serial), "%s", serial);
	CU_ASSERT(buf_set(&c->tbs, "tbs", 3) == 0);
}
static int add(const char *transaction, const char *csr, int64_t now, struct db_request *r)
{
	request_make(r, transaction, csr);
	return db_request_add(db, r, now, "scep 192.0.2.1", NULL);
}
static int add_only(const char *transaction, const char *csr, int64_t now)
{
	struct db_request r;
	int ret = add(transaction, csr, now, &r);

	db_request_clear(&r);
	return ret;
}
/* Intent and certificate for a new request. */
static int grant(const char *transaction, const char *csr, const char *serial, struct db_request *r)
{
	AUTO(db_cert) struct db_cert c;
	int ret;

	request_make(r, transaction, csr);
	cert_make(&c, serial);
	ret = db_intent(db, r, &c, NOW, "scep 192.0.2.1", NULL);
	return ret < 0 ? ret : db_issued(db, "aa01", serial, serial, strlen(serial), NOW + 1, "scep 192.0.2.1", NULL);
}
static int64_t pending(void)
{
	int64_t p = -1, i = -1;

	CU_ASSERT(db_counts(db, &p, &i, NULL) == 0);
	return p;
}
static int64_t issued(void)
{
	int64_t p = -1, i = -1;

	CU_ASSERT(db_counts(db, &p, &i, NULL) == 0);
	return i;
}

/* ---- requests ---- */

static void same_request_is_found_again(void)
{
	AUTO(db_request) struct db_request a, b, f;

	CU_ASSERT(add("t1", "c1", NOW, &a) == 0);
	CU_ASSERT(add("t1", "c1", NOW + 60, &b) == 0);
	CU_ASSERT(a.id > 0 && a.id == b.id);
	CU_ASSERT(b.status == CAR_STATUS_PENDING);
	CU_ASSERT(b.received_sec == NOW);
	CU_ASSERT(pending() == 1);
	request_make(&f, "t1", "c1");
	buf_clear(&f.csr);
	CU_ASSERT(db_request_find(db, &f, NULL) == 0);
	CU_ASSERT(f.id == a.id && f.csr.len == 2 && memcmp(f.csr.data, "c1", 2) == 0);
	CU_ASSERT(f.signer_cert.len == 6);
	CU_ASSERT_STRING_EQUAL(f.subject, "CN=spoke-1");
}
static void each_of_the_four_names_makes_another_request(void)
{
	static const struct { const char *why; size_t offset; } names[] = {
		{ "transaction", offsetof(struct db_request, transaction_id) },
		{ "csr", offsetof(struct db_request, csr_sha256) },
		{ "signer", offsetof(struct db_request, signer) },
		{ "issuer", offsetof(struct db_request, issuer_spki) },
	};
	AUTO(db_request) struct db_request a;
	int64_t last;

	CU_ASSERT(add("t1", "c1", NOW, &a) == 0);
	last = a.id;
	for (size_t i = 0; i < 4; i++) {
		AUTO(db_request) struct db_request b;

		request_make(&b, "t1", "c1");
		((char *) &b)[names[i].offset] = 'x';
		CU_ASSERT(db_request_find(db, &b, NULL) == -ENOENT);
		CU_ASSERT(db_request_add(db, &b, NOW, "scep", NULL) == 0);
		CU_ASSERT(b.id > last);
		last = b.id;
	}
	CU_ASSERT(pending() == 5);
}
static void poll_finds_the_newest_of_transaction_and_signer(void)
{
	AUTO(db_request) struct db_request a, b, f = { .id = 0 };

	CU_ASSERT(add("t1", "c1", NOW, &a) == 0);
	CU_ASSERT(add("t1", "c2", NOW, &b) == 0);
	CU_ASSERT(db_request_find_poll(db, "aa01", "t1", "self:bb", &f, NULL) == 0);
	CU_ASSERT(f.id == b.id);
	CU_ASSERT(db_request_find_poll(db, NULL, "t1", "self:bb", &f, NULL) == 0);
	CU_ASSERT(f.id == b.id && f.signer_cert.len == 6);
	CU_ASSERT(db_request_find_poll(db, "aa02", "t1", "self:bb", &f, NULL) == -ENOENT);
	CU_ASSERT(db_request_find_poll(db, NULL, "t1", "self:cc", &f, NULL) == -ENOENT);
	CU_ASSERT(db_request_find_poll(db, NULL, "t", "self:bb", &f, NULL) == -ENOENT);
}
static void statuses_move_only_forwards(void)
{
	static const struct { const char *why; enum car_status first, then; int want; } rows[] = {
		{ "pending to authorized", CAR_STATUS_AUTHORIZED, CAR_STATUS_NONE, 0 },
		{ "pending to rejected", CAR_STATUS_REJECTED, CAR_STATUS_NONE, 0 },
		{ "pending to expired", CAR_STATUS_EXPIRED, CAR_STATUS_NONE, 0 },
		{ "authorized to rejected", CAR_STATUS_AUTHORIZED, CAR_STATUS_REJECTED, 0 },
		{ "authorized twice", CAR_STATUS_AUTHORIZED, CAR_STATUS_AUTHORIZED, -EINVAL },
		{ "rejected to authorized", CAR_STATUS_REJECTED, CAR_STATUS_AUTHORIZED, -EINVAL },
		{ "expired to authorized", CAR_STATUS_EXPIRED, CAR_STATUS_AUTHORIZED, -EINVAL },
		{ "authorized to expired", CAR_STATUS_AUTHORIZED, CAR_STATUS_EXPIRED, 0 },
		{ "granted by hand", CAR_STATUS_GRANTED, CAR_STATUS_NONE, -EINVAL },
		{ "intent by hand", CAR_STATUS_INTENT, CAR_STATUS_NONE, -EINVAL },
		{ "back to pending", CAR_STATUS_AUTHORIZED, CAR_STATUS_PENDING, -EINVAL },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(db_request) struct db_request r;
		int got;

		CU_ASSERT(add(rows[i].why, "c1", NOW, &r) == 0);
		got = db_request_set_status(db, r.id, rows[i].first, "said so", NOW + 1, "uid 0", NULL);
		if (got == 0 && rows[i].then != CAR_STATUS_NONE)
			got = db_request_set_status(db, r.id, rows[i].then, "said so", NOW + 2, "uid 0", NULL);
		if (got != rows[i].want)
			printf("%s: %d, wanted %d\n", rows[i].why, got, rows[i].want);
		CU_ASSERT(got == rows[i].want);
	}
	CU_ASSERT(db_request_set_status(db, 4711, CAR_STATUS_AUTHORIZED, NULL, NOW, "uid 0", NULL) == -ENOENT);
	CU_ASSERT(pending() == 2); /* the two that were refused at the first step */
}
static void rejection_keeps_its_reason(void)
{
	AUTO(db_request) struct db_request r;

	CU_ASSERT(add("t1", "c1", NOW, &r) == 0);
	CU_ASSERT(db_request_set_status(db, r.id, CAR_STATUS_REJECTED, "not one of ours", NOW + 5, "uid 0", NULL) == 0);
	CU_ASSERT(db_request_get(db, r.id, &r, NULL) == 0);
	CU_ASSERT(r.status == CAR_STATUS_REJECTED && r.changed_sec == NOW + 5);
	CU_ASSERT_STRING_EQUAL(r.why, "not one of ours");
	CU_ASSERT(add_only("t1", "c1", NOW + 6) == 0);
	CU_ASSERT(pending() == 0); /* the same request again is still the rejected one */
}
static void old_pending_requests_expire_and_may_come_again(void)
{
	AUTO(db_request) struct db_request old, other, again;
	unsigned n = 0;

	CU_ASSERT(add("t1", "c1", NOW, &old) == 0);
	CU_ASSERT(add("t2", "c2", NOW + 100, &other) == 0);
	CU_ASSERT(db_expire_requests(db, NOW + 1, NOW + 200, &n, NULL) == 0 && n == 1);
	CU_ASSERT(pending() == 1);
	CU_ASSERT(db_request_get(db, old.id, &old, NULL) == 0 && old.status == CAR_STATUS_EXPIRED);
	CU_ASSERT(add("t1", "c1", NOW + 300, &again) == 0);
	CU_ASSERT(again.id == old.id && again.status == CAR_STATUS_PENDING && again.received_sec == NOW + 300);
	CU_ASSERT(pending() == 2);
	CU_ASSERT(db_expire_requests(db, NOW + 101, NOW + 301, &n, NULL) == 0 && n == 1);
}
static void what_was_granted_and_never_collected_expires_too(void)
{
	AUTO(db_request) struct db_request r;
	unsigned n = 0;

	CU_ASSERT(add("t1", "c1", NOW, &r) == 0);
	CU_ASSERT(db_request_set_status(db, r.id, CAR_STATUS_AUTHORIZED, NULL, NOW + 50, "uid 0", NULL) == 0);
	CU_ASSERT(db_expire_requests(db, NOW + 50, NOW + 200, &n, NULL) == 0 && n == 0); /* its time runs from the grant on */
	CU_ASSERT(db_expire_requests(db, NOW + 51, NOW + 200, &n, NULL) == 0 && n == 1);
	CU_ASSERT(db_request_get(db, r.id, &r, NULL) == 0 && r.status == CAR_STATUS_EXPIRED);
	CU_ASSERT(pending() == 0);
	CU_ASSERT(add_only("t1", "c1", NOW + 300) == 0);
	CU_ASSERT(pending() == 1); /* asked for anew, it needs another grant */
}
static void expiry_works_in_chunks(void)
{
	char name[16];
	unsigned n = 0;

	for (int i = 0; i < 300; i++) {
		(void) snprintf(name, sizeof(name), "t%d", i);
		CU_ASSERT(add_only(name, "c", NOW) == 0);
	}
	CU_ASSERT(db_expire_requests(db, NOW + 1, NOW + 2, &n, NULL) == 0);
	CU_ASSERT(n == 300 && pending() == 0);
}
static void one_address_cannot_fill_the_queue(void)
{
	char name[16];
	struct err e = { .code = 0 };
	AUTO(db_request) struct db_request r;

	for (int i = 0; i < LIMIT_PENDING_PER_ADDRESS; i++) {
		(void) snprintf(name, sizeof(name), "t%d", i);
		CU_ASSERT(add_only(name, "c", NOW) == 0);
	}
	request_make(&r, "one more", "c");
	CU_ASSERT(db_request_add(db, &r, NOW, "scep", &e) == -EDQUOT);
	CU_ASSERT(strstr(e.text, "192.0.2.1") != NULL);
	CU_ASSERT(add_only("t5", "c", NOW) == 0); /* one of them again is no new one */
	(void) strcpy(r.address, "192.0.2.2");
	CU_ASSERT(db_request_add(db, &r, NOW, "scep", NULL) == 0);
	CU_ASSERT(pending() == LIMIT_PENDING_PER_ADDRESS + 1);
	CU_ASSERT(db_request_set_status(db, 1, CAR_STATUS_REJECTED, "", NOW, "uid 0", NULL) == 0);
	CU_ASSERT(add_only("after a rejection", "c", NOW) == 0);
}

/* ---- certificates ---- */

static void intent_comes_before_the_certificate(void)
{
	AUTO(db_request) struct db_request r;
	AUTO(db_cert) struct db_cert c, got = { .nb_sec = 0 };

	CU_ASSERT(db_issued(db, "aa01", "01", "der", 3, NOW, "scep", NULL) == -ENOENT);
	request_make(&r, "t1", "c1");
	cert_make(&c, "01");
	CU_ASSERT(db_intent(db, &r, &c, NOW, "scep", NULL) == 0);
	CU_ASSERT(r.id > 0 && r.status == CAR_STATUS_INTENT && r.csr.len == 2);
	CU_ASSERT_STRING_EQUAL(r.serial, "01");
	CU_ASSERT(db_cert_get(db, "aa01", "01", &got, NULL) == 0);
	CU_ASSERT(got.issued_sec == 0 && got.tbs.len == 3 && got.der.len == 0 && got.na_sec == NOW + 1000);
	CU_ASSERT(db_issued(db, "aa01", "01", "der", 3, NOW + 1, "scep", NULL) == 0);
	CU_ASSERT(db_cert_get(db, "aa01", "01", &got, NULL) == 0);
	CU_ASSERT(got.issued_sec == NOW + 1 && got.tbs.len == 0 && got.der.len == 3);
	CU_ASSERT(db_request_get(db, r.id, &r, NULL) == 0 && r.status == CAR_STATUS_GRANTED);
	CU_ASSERT(issued() == 1);
}
static void certificate_is_stored_once(void)
{
	AUTO(db_request) struct db_request r;

	CU_ASSERT(grant("t1", "c1", "01", &r) == 0);
	CU_ASSERT(db_issued(db, "aa01", "01", "01", 2, NOW + 9, "scep", NULL) == 0);
	CU_ASSERT(db_issued(db, "aa01", "01", "02", 2, NOW + 9, "scep", NULL) == -EEXIST);
	CU_ASSERT(db_issued(db, "aa01", "01", "011", 3, NOW + 9, "scep", NULL) == -EEXIST);
	CU_ASSERT(db_issued(db, "aa01", "01", "", 0, NOW + 9, "scep", NULL) == -EINVAL);
	CU_ASSERT(issued() == 1);
}
static void second_intent_of_one_request_gets_the_first(void)
{
	AUTO(db_request) struct db_request r, again;
	AUTO(db_cert) struct db_cert c, lost = { .nb_sec = 0 };

	CU_ASSERT(grant("t1", "c1", "01", &r) == 0);
	request_make(&again, "t1", "c1");
	cert_make(&c, "02");
	CU_ASSERT(db_intent(db, &again, &c, NOW, "scep", NULL) == -EEXIST);
	CU_ASSERT(again.id == r.id && again.status == CAR_STATUS_GRANTED);
	CU_ASSERT_STRING_EQUAL(again.serial, "01");
	CU_ASSERT(db_cert_get(db, "aa01", "02", &lost, NULL) == -ENOENT);
}
static void serial_is_used_once_for_an_issuer(void)
{
	AUTO(db_request) struct db_request r, other, third;
	AUTO(db_cert) struct db_cert c;

	CU_ASSERT(grant("t1", "c1", "01", &r) == 0);
	request_make(&other, "t2", "c2");
	cert_make(&c, "01");
	CU_ASSERT(db_intent(db, &other, &c, NOW, "scep", NULL) == -ENOTUNIQ);
	CU_ASSERT(db_request_find(db, &other, NULL) == -ENOENT); /* nothing of it stays */
	request_make(&third, "t3", "c3");
	(void) strcpy(third.issuer_spki, "aa02");
	(void) strcpy(c.issuer_spki, "aa02");
	CU_ASSERT(db_intent(db, &third, &c, NOW, "scep", NULL) == 0); /* another issuer's 01 */
}
static void stored_request_becomes_an_intent(void)
{
	AUTO(db_request) struct db_request r, rejected;
	AUTO(db_cert) struct db_cert c, d;

	CU_ASSERT(add("t1", "c1", NOW, &r) == 0);
	CU_ASSERT(db_request_set_status(db, r.id, CAR_STATUS_AUTHORIZED, "", NOW, "uid 0", NULL) == 0);
	cert_make(&c, "01");
	CU_ASSERT(db_intent(db, &r, &c, NOW, "scep", NULL) == 0);
	CU_ASSERT(r.status == CAR_STATUS_INTENT && pending() == 0);
	CU_ASSERT(add("t2", "c2", NOW, &rejected) == 0);
	CU_ASSERT(db_request_set_status(db, rejected.id, CAR_STATUS_REJECTED, "", NOW, "uid 0", NULL) == 0);
	cert_make(&d, "02");
	CU_ASSERT(db_intent(db, &rejected, &d, NOW, "scep", NULL) == -EINVAL);
	rejected.id = 4711;
	CU_ASSERT(db_intent(db, &rejected, &d, NOW, "scep", NULL) == -ENOENT);
}
static int count_request(void *userdata, const struct db_request *r)
{
	(void) r;
	++*(int *) userdata;
	return 0;
}
static int count_cert(void *userdata, const struct db_cert *c)
{
	(void) c;
	++*(int *) userdata;
	return 0;
}
static int stop_at_two(void *userdata, const struct db_cert *c)
{
	(void) c;
	return ++*(int *) userdata == 2 ? 7 : 0;
}
static void open_intents_survive_a_restart(void)
{
	AUTO(db_request) struct db_request a, b;
	AUTO(db_cert) struct db_cert c;
	int n = 0;

	CU_ASSERT(grant("t1", "c1", "01", &a) == 0);
	request_make(&b, "t2", "c2");
	cert_make(&c, "02");
	CU_ASSERT(db_intent(db, &b, &c, NOW, "scep", NULL) == 0);
	db_down();
	CU_ASSERT_FATAL(db_up() == 0);
	CU_ASSERT(db_intents_each(db, count_request, &n, NULL) == 0 && n == 1);
	CU_ASSERT(db_issued(db, "aa01", "02", "der", 3, NOW, "scep", NULL) == 0);
	n = 0;
	CU_ASSERT(db_intents_each(db, count_request, &n, NULL) == 0 && n == 0);
}
static void lists_are_bounded_and_stop_when_told(void)
{
	AUTO(db_request) struct db_request a, b, c;
	int n = 0;

	CU_ASSERT(grant("t1", "c1", "01", &a) == 0);
	CU_ASSERT(grant("t2", "c2", "02", &b) == 0);
	CU_ASSERT(add("t3", "c3", NOW, &c) == 0);
	CU_ASSERT(db_certs_each(db, 0, count_cert, &n, NULL) == 0 && n == 2);
	n = 0;
	CU_ASSERT(db_certs_each(db, 1, count_cert, &n, NULL) == 0 && n == 1);
	n = 0;
	CU_ASSERT(db_certs_each(db, 0, stop_at_two, &n, NULL) == 7);
	n = 0;
	CU_ASSERT(db_requests_each(db, false, 0, count_request, &n, NULL) == 0 && n == 1);
	n = 0;
	CU_ASSERT(db_requests_each(db, true, 0, count_request, &n, NULL) == 0 && n == 3);
	n = 0;
	CU_ASSERT(db_requests_each(db, true, 2, count_request, &n, NULL) == 0 && n == 2);
}
static void revoked_certificates_are_listed_until_they_expire(void)
{
	AUTO(db_request) struct db_request a, b;
	AUTO(db_cert) struct db_cert c = { .nb_sec = 0 };
	int n = 0;

	CU_ASSERT(grant("t1", "c1", "01", &a) == 0);
	CU_ASSERT(grant("t2", "c2", "02", &b) == 0);
	CU_ASSERT(db_revoke(db, "aa01", "03", 1, NOW, "uid 0", NULL) == -ENOENT);
	CU_ASSERT(db_revoke(db, "aa01", "02", 1, NOW + 5, "uid 0", NULL) == 0);
	CU_ASSERT(db_revoke(db, "aa01", "02", 4, NOW + 6, "uid 0", NULL) == 0);
	CU_ASSERT(db_cert_get(db, "aa01", "02", &c, NULL) == 0 && c.revoked_sec == NOW + 5 && c.revoked_reason == 1);
	CU_ASSERT(db_revoked_each(db, "aa01", NOW + 999, count_cert, &n, NULL) == 0 && n == 1);
	n = 0;
	CU_ASSERT(db_revoked_each(db, "aa01", NOW + 1000, count_cert, &n, NULL) == 0 && n == 0);
	CU_ASSERT(db_revoked_each(db, "aa02", NOW, count_cert, &n, NULL) == 0 && n == 0);
}
static void key_under_another_subject_is_seen(void)
{
	AUTO(db_request) struct db_request a;
	bool other = true;

	CU_ASSERT(grant("t1", "c1", "01", &a) == 0);
	CU_ASSERT(db_key_other_subject(db, "bb", "CN=spoke-1", &other, NULL) == 0 && !other);
	CU_ASSERT(db_key_other_subject(db, "bb", "CN=spoke-2", &other, NULL) == 0 && other);
	CU_ASSERT(db_key_other_subject(db, "cc", "CN=spoke-2", &other, NULL) == 0 && !other);
	CU_ASSERT(db_revoke(db, "aa01", "01", 1, NOW, "uid 0", NULL) == 0);
	CU_ASSERT(db_key_other_subject(db, "bb", "CN=spoke-2", &other, NULL) == 0 && !other);
}
static void crl_numbers_grow_for_each_key(void)
{
	int64_t n = 0;

	CU_ASSERT(db_crl_number(db, "aa01", &n, NULL) == 0 && n == 1);
	CU_ASSERT(db_crl_number(db, "aa01", &n, NULL) == 0 && n == 2);
	CU_ASSERT(db_crl_number(db, "aa02", &n, NULL) == 0 && n == 1);
	db_down();
	CU_ASSERT_FATAL(db_up() == 0);
	CU_ASSERT(db_crl_number(db, "aa01", &n, NULL) == 0 && n == 3);
}
static void settings_are_kept_and_deleted(void)
{
	AUTO(buf) struct buf b = BUF_EMPTY;

	CU_ASSERT(db_setting_get(db, "calendar", &b, NULL) == -ENOENT);
	CU_ASSERT(db_setting_set(db, "calendar", "ab\0c", 4, NULL) == 0);
	CU_ASSERT(db_setting_set(db, "calendar", "ab\0d", 4, NULL) == 0);
	CU_ASSERT(db_setting_get(db, "calendar", &b, NULL) == 0 && b.len == 4 && memcmp(b.data, "ab\0d", 4) == 0);
	CU_ASSERT(db_setting_set(db, "calendar", NULL, 0, NULL) == 0);
	CU_ASSERT(db_setting_get(db, "calendar", &b, NULL) == -ENOENT);
}

/* ---- opening, audit ---- */

static void second_opener_is_refused(void)
{
	struct db *other = NULL;

	CU_ASSERT(db_open(path, &other, NULL) == -EBUSY);
	db_down();
	CU_ASSERT(db_open(path, &other, NULL) == 0);
	db_close(other);
	CU_ASSERT(db_open("/nonexistent/ca.db", &other, NULL) == -ENOENT);
	CU_ASSERT_FATAL(db_up() == 0);
}
static int sql_outside(const char *sql)
{
	AUTO(db_conn) struct db_conn *c = NULL;

	return db_conn_open(path, true, &c, NULL) < 0 ? -1 : db_conn_exec(c, sql, NULL);
}
static void newer_schema_is_refused(void)
{
	struct err e = { .code = 0 };

	db_down();
	CU_ASSERT(sql_outside("PRAGMA user_version=99") == 0);
	CU_ASSERT(db_open(path, &db, &e) == -ENOTSUP);
	CU_ASSERT(strstr(e.text, "99") != NULL);
	CU_ASSERT(sql_outside("PRAGMA user_version=1") == 0);
	CU_ASSERT_FATAL(db_up() == 0);
}
static void audit_chain_holds_and_shows_tampering(void)
{
	static const char *const deeds[] = {
		"UPDATE audit SET actor = 'uid 1' WHERE seq = 2",
		"DELETE FROM audit WHERE seq = 2",
		"UPDATE audit SET at = at + 1 WHERE seq = 1",
	};
	AUTO(db_request) struct db_request a = { .id = 0 }, b = { .id = 0 };
	int64_t rows = 0;

	for (size_t i = 0; i < 3; i++) {
		db_request_clear(&a);
		CU_ASSERT(grant("t1", "c1", "01", &a) == 0);
		CU_ASSERT(add("t2", "c2", NOW, &b) == 0);
		db_request_clear(&b);
		CU_ASSERT(db_audit_check(db, &rows, NULL) == 0 && rows == 3); /* intent, issued, request */
		db_down();
		CU_ASSERT(sql_outside(deeds[i]) == 0);
		CU_ASSERT_FATAL(db_up() == 0);
		CU_ASSERT(db_audit_check(db, NULL, NULL) == -EBADMSG);
		db_down();
		db_wipe();
		CU_ASSERT_FATAL(db_up() == 0);
	}
}
static void spoilt_file_is_refused(void)
{
	FILE *f;

	for (int i = 0; i < 20; i++)
		CU_ASSERT(add_only("t1", (char[]){ (char) ('a' + i), 0 }, NOW) == 0);
	db_down();
	f = fopen(path, "r+b");
	CU_ASSERT(f && fseek(f, 4096, SEEK_SET) == 0 && fwrite("spoilt spoilt spoilt", 20, 1, f) == 1 && fclose(f) == 0);
	CU_ASSERT(db_up() == -EUCLEAN);
	db_wipe();
	CU_ASSERT_FATAL(db_up() == 0);
}

/* ---- the writer ---- */

enum { COPIES = 64 };
static pthread_barrier_t barrier;
static int copies_code[COPIES];
static char copies_serial[COPIES][DB_SERIAL_HEX];

static void *copy_main(void *arg)
{
	intptr_t i = (intptr_t) arg;
	struct db_request r;
	struct db_cert c;
	char serial[16];

	(void) snprintf(serial, sizeof(serial), "%02X", (unsigned) i + 1);
	request_make(&r, "t1", "c1");
	cert_make(&c, serial);
	(void) pthread_barrier_wait(&barrier);
	copies_code[i] = db_intent(db, &r, &c, NOW, "scep", NULL);
	(void) strcpy(copies_serial[i], r.serial);
	db_request_clear(&r);
	db_cert_clear(&c);
	return NULL;
}
static void copies_of_one_request_give_one_intent(void)
{
	pthread_t threads[COPIES];
	int won = 0, told = 0;

	CU_ASSERT(pthread_barrier_init(&barrier, NULL, COPIES) == 0);
	db_expect(db, COPIES);
	for (intptr_t i = 0; i < COPIES; i++)
		CU_ASSERT(pthread_create(&threads[i], NULL, copy_main, (void *) i) == 0);
	for (int i = 0; i < COPIES; i++)
		CU_ASSERT(pthread_join(threads[i], NULL) == 0);
	db_expect(db, -COPIES);
	for (int i = 0; i < COPIES; i++) {
		won += copies_code[i] == 0;
		told += copies_code[i] == -EEXIST;
		CU_ASSERT_STRING_EQUAL(copies_serial[i], copies_serial[0]);
	}
	CU_ASSERT(won == 1 && told == COPIES - 1);
	CU_ASSERT(atomic_load(&db->commits) < COPIES); /* they shared commits */
	(void) pthread_barrier_destroy(&barrier);
}

struct mixed {
	bool bad;
	int code;
	char key[16];
};
static int mixed_run(struct db_conn *c, void *arg, struct err *reterr)
{
	struct mixed *m = arg;
	int r = db_conn_run(c, DB_SQL_SETTING_SET, reterr, "tb", m->key, (const void *) "x", (size_t) 1);

	return r == 0 && m->bad ? err_set(reterr, -EPROTO, "bad on purpose") : r;
}
static void *mixed_main(void *arg)
{
	struct mixed *m = arg;

	(void) pthread_barrier_wait(&barrier);
	m->code = db_write(db, mixed_run, m, NULL);
	return NULL;
}
static void bad_job_does_not_spoil_its_batch(void)
{
	pthread_t threads[COPIES];
	struct mixed jobs[COPIES];
	AUTO(buf) struct buf b = BUF_EMPTY;

	CU_ASSERT(pthread_barrier_init(&barrier, NULL, COPIES) == 0);
	db_expect(db, COPIES); /* so that they meet in few batches */
	for (int i = 0; i < COPIES; i++) {
		jobs[i] = (struct mixed){ .bad = i % 3 == 0 };
		(void) snprintf(jobs[i].key, sizeof(jobs[i].key), "k%d", i);
		CU_ASSERT(pthread_create(&threads[i], NULL, mixed_main, &jobs[i]) == 0);
	}
	for (int i = 0; i < COPIES; i++)
		CU_ASSERT(pthread_join(threads[i], NULL) == 0);
	db_expect(db, -COPIES);
	for (int i = 0; i < COPIES; i++) {
		CU_ASSERT(jobs[i].code == (jobs[i].bad ? -EPROTO : 0));
		CU_ASSERT(db_setting_get(db, jobs[i].key, &b, NULL) == (jobs[i].bad ? -ENOENT : 0));
	}
	(void) pthread_barrier_destroy(&barrier);
}

/* ---- crashes ---- */

/* The child grants one request after another and says each serial when the call has returned. */
static void child_main(int out, int round)
{
	struct db_request r;
	char name[32], line[32];

	if (db_up() < 0)
		_exit(9);
	for (int i = 0;; i++) {
		(void) snprintf(name, sizeof(name), "%d-%d", round, i);
		(void) snprintf(line, sizeof(line), "%04X%08X\n", (unsigned) round, (unsigned) i);
		line[12] = 0;
		if (grant(name, name, line, &r) < 0)
			_exit(8);
		line[12] = '\n';
		db_request_clear(&r);
		if (write(out, line, 13) != 13)
			_exit(7);
	}
}
static void acknowledged_all_there(const char *text, size_t len)
{
	AUTO(db_cert) struct db_cert c = { .nb_sec = 0 };
	char serial[13];

	for (size_t at = 0; at + 13 <= len; at += 13) {
		memcpy(serial, text + at, 12);
		serial[12] = 0;
		if (db_cert_get(db, "aa01", serial, &c, NULL) != 0 || c.der.len != 12)
			CU_FAIL("an acknowledged certificate is lost");
	}
}
static size_t read_until(int fd, char *text, size_t bytes, size_t lines)
{
	size_t len = 0;
	ssize_t n;

	while (len < bytes && (lines == 0 || len < lines * 13) && (n = read(fd, text + len, bytes - len)) > 0)
		len += (size_t) n;
	return len;
}
static void killed_writer_loses_nothing_acknowledged(void)
{
	static char text[1 << 20];
	unsigned seed = 4711;

	for (int round = 1; round <= 12; round++) {
		int fds[2], status = 0;
		size_t len;
		pid_t pid;

		db_down();
		CU_ASSERT_FATAL(pipe(fds) == 0);
		pid = fork();
		CU_ASSERT_FATAL(pid >= 0);
		if (pid == 0) {
			(void) close(fds[0]);
			child_main(fds[1], round);
		}
		(void) close(fds[1]);
		len = read_until(fds[0], text, sizeof(text), 1 + (unsigned) rand_r(&seed) % 60);
		CU_ASSERT(kill(pid, SIGKILL) == 0);
		len += read_until(fds[0], text + len, sizeof(text) - len, 0);
		CU_ASSERT(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
		(void) close(fds[0]);
		CU_ASSERT_FATAL(db_up() == 0);
		CU_ASSERT(len >= 13);
		acknowledged_all_there(text, len);
		CU_ASSERT(db_audit_check(db, NULL, NULL) == 0);
	}
}

/* ---- a disk that fails: fdatasync as SQLite's library finds it (see Makefile.am) ---- */

int fdatasync(int fd)
{
	atomic_fetch_add(&syncs, 1);
	if (atomic_exchange(&sync_stops, false)) {
		(void) sem_post(&sync_reached);
		while (sem_wait(&sync_gate) < 0)
			;
	}
	if (atomic_load(&sync_fails) > 0) {
		atomic_fetch_sub(&sync_fails, 1);
		errno = EIO;
		return -1;
	}
	return (int) syscall(SYS_fdatasync, fd);
}

static void every_commit_is_synced(void)
{
	int before;

	for (int i = 0; i < 5; i++) {
		before = atomic_load(&syncs);
		CU_ASSERT(db_setting_set(db, "k", &i, sizeof(i), NULL) == 0);
		CU_ASSERT(atomic_load(&syncs) > before);
	}
}
static void failed_sync_stops_writing_for_good(void)
{
	AUTO(db_request) struct db_request r = { .id = 0 };
	AUTO(buf) struct buf b = BUF_EMPTY;
	struct err e = { .code = 0 };

	CU_ASSERT(db_setting_set(db, "before", "x", 1, NULL) == 0);
	CU_ASSERT(db_health(db) == 0);
	atomic_store(&sync_fails, 1);
	CU_ASSERT(db_setting_set(db, "lost", "x", 1, &e) == -EIO);
	CU_ASSERT(atomic_load(&sync_fails) == 0);
	CU_ASSERT(db_health(db) == -EIO);
	CU_ASSERT(grant("t1", "c1", "01", &r) == -EIO); /* the disk would take it again: we do not ask it */
	CU_ASSERT(db_setting_get(db, "before", &b, NULL) == 0); /* reads go on */
	CU_ASSERT(db_setting_get(db, "lost", &b, NULL) == -ENOENT);
	db_down();
	CU_ASSERT_FATAL(db_up() == 0);
	CU_ASSERT(db_health(db) == 0);
	CU_ASSERT(db_setting_get(db, "before", &b, NULL) == 0);
	CU_ASSERT(db_setting_set(db, "after", "x", 1, NULL) == 0);
	CU_ASSERT(db_audit_check(db, NULL, NULL) == 0);
}

static void *slow_main(void *arg)
{
	*(atomic_int *) arg = db_setting_set(db, "slow", "x", 1, NULL);
	return NULL;
}
static void nobody_is_told_before_the_sync(void)
{
	AUTO(buf) struct buf b = BUF_EMPTY;
	atomic_int told = 4711;
	pthread_t t;

	atomic_store(&sync_stops, true);
	CU_ASSERT(pthread_create(&t, NULL, slow_main, &told) == 0);
	CU_ASSERT(sem_wait(&sync_reached) == 0);
	CU_ASSERT(atomic_load(&told) == 4711);
	CU_ASSERT(db_setting_get(db, "slow", &b, NULL) == -ENOENT); /* readers neither wait nor see it */
	CU_ASSERT(sem_post(&sync_gate) == 0);
	CU_ASSERT(pthread_join(t, NULL) == 0);
	CU_ASSERT(atomic_load(&told) == 0);
	CU_ASSERT(db_setting_get(db, "slow", &b, NULL) == 0);
}

/* ---- a full disk ---- */

static bool small_disk(void)
{
	/* a mount namespace of our own: nobody else sees the disk, and it goes when we go */
	return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("tmpfs", folder, "tmpfs", 0, "size=1m") == 0;
}
static void full_disk_is_a_clean_refusal(void)
{
	AUTO(mem) char *big = calloc(1, 32 * 1024);
	char key[16];
	int r = 0, i;
	AUTO(buf) struct buf b = BUF_EMPTY;

	db_down();
	if (!big || !small_disk()) {
		printf("(skipped: no mount) ");
		CU_ASSERT_FATAL(db_up() == 0);
		return;
	}
	CU_ASSERT(db_up() == 0);
	for (i = 0; i < 100 && r == 0; i++) {
		(void) snprintf(key, sizeof(key), "k%d", i);
		memset(big, 'a' + i % 26, 32 * 1024);
		r = db_setting_set(db, key, big, 32 * 1024, NULL);
	}
	CU_ASSERT(r == -ENOSPC);
	CU_ASSERT(db_health(db) == 0);
	CU_ASSERT(db_setting_get(db, key, &b, NULL) == -ENOENT);
	CU_ASSERT(i > 1 && db_setting_get(db, "k0", &b, NULL) == 0 && b.len == 32 * 1024);
	CU_ASSERT(db_audit_check(db, NULL, NULL) == 0);
	CU_ASSERT(mount("tmpfs", folder, "tmpfs", MS_REMOUNT, "size=16m") == 0);
	CU_ASSERT(db_setting_set(db, key, big, 32 * 1024, NULL) == 0); /* space again: it goes on */
	db_down();
	CU_ASSERT(umount(folder) == 0);
	CU_ASSERT_FATAL(db_up() == 0);
}

static CU_TestInfo request_tests[] = {
	{ "the same request is found again", same_request_is_found_again },
	{ "each of the four names makes another request", each_of_the_four_names_makes_another_request },
	{ "a poll finds the newest of transaction and signer", poll_finds_the_newest_of_transaction_and_signer },
	{ "statuses move only forwards", statuses_move_only_forwards },
	{ "a rejection keeps its reason", rejection_keeps_its_reason },
	{ "old pending requests expire and may come again", old_pending_requests_expire_and_may_come_again },
	{ "what was granted and never collected expires too", what_was_granted_and_never_collected_expires_too },
	{ "expiry works in chunks", expiry_works_in_chunks },
	{ "one address cannot fill the queue", one_address_cannot_fill_the_queue },
	CU_TEST_INFO_NULL,
};
static CU_TestInfo cert_tests[] = {
	{ "the intent comes before the certificate", intent_comes_before_the_certificate },
	{ "a certificate is stored once", certificate_is_stored_once },
	{ "a second intent of one request gets the first", second_intent_of_one_request_gets_the_first },
	{ "a serial is used once for an issuer", serial_is_used_once_for_an_issuer },
	{ "a stored request becomes an intent", stored_request_becomes_an_intent },
	{ "open intents survive a restart", open_intents_survive_a_restart },
	{ "lists are bounded and stop when told", lists_are_bounded_and_stop_when_told },
	{ "revoked certificates are listed until they expire", revoked_certificates_are_listed_until_they_expire },
	{ "a key under another subject is seen", key_under_another_subject_is_seen },
	{ "CRL numbers grow for each key", crl_numbers_grow_for_each_key },
	{ "settings are kept and deleted", settings_are_kept_and_deleted },
	CU_TEST_INFO_NULL,
};
static CU_TestInfo file_tests[] = {
	{ "a second opener is refused", second_opener_is_refused },
	{ "a newer schema is refused", newer_schema_is_refused },
	{ "the audit chain holds and shows tampering", audit_chain_holds_and_shows_tampering },
	{ "a spoilt file is refused", spoilt_file_is_refused },
	{ "a full disk is a clean refusal", full_disk_is_a_clean_refusal },
	CU_TEST_INFO_NULL,
};
static CU_TestInfo writer_tests[] = {
	{ "64 copies of one request give one intent", copies_of_one_request_give_one_intent },
	{ "a bad job does not spoil its batch", bad_job_does_not_spoil_its_batch },
	{ "every commit is synced", every_commit_is_synced },
	{ "nobody is told before the sync", nobody_is_told_before_the_sync },
	{ "a failed sync stops writing for good", failed_sync_stops_writing_for_good },
	{ "a killed writer loses nothing acknowledged", killed_writer_loses_nothing_acknowledged },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = {
	{ "requests", suite_init, NULL, test_up, test_down, request_tests },
	{ "certificates", NULL, NULL, test_up, test_down, cert_tests },
	{ "the file", NULL, NULL, test_up, test_down, file_tests },
	{ "the writer", NULL, suite_clean, test_up, test_down, writer_tests },
	CU_SUITE_INFO_NULL,
};

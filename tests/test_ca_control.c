/* The CA's control socket, asked as pkictl asks it: a real database, a service that is played. */
#include <CUnit/CUnit.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ca/ca_control.h"
#include "ca/db_internal.h"
#include "common/auto_ssl.h"
#include "common/ctl.h"
#include "common/fs.h"
#include "tests/test_main.h"

#define NOW 1800000000

static char folder[] = "/tmp/test_ca_control.XXXXXX";
static char socket_path[64];
static struct db *db;
static struct ca_conf *conf;
static pthread_t thread;
static atomic_bool stop;

/* ---- the service, played: it lives on the loop's thread ---- */

static struct play {
	int rollover_code;		/* of the op itself */
	int done_code;			/* of its end, which comes later */
	bool has_rollover;
	int reload_code;
	int64_t stale;			/* the request that a grant is too late for */
	int grant_code;			/* of every grant, when not 0 */
	struct ca_control_wait *wait;
	sd_event_source *later;
} play;

static void op_status(void *userdata, struct ca_control_status *ret)
{
	(void) userdata;
	ret->conf = conf;
	ret->status = "enabled";
	ret->clock_trusted = true;
	ret->rollover_status = play.has_rollover ? "available" : "none";
	ret->port = 8080;
	ret->crl_next_update_sec = NOW + 60;
	ret->ca = (struct x509_facts){ .nb_sec = NOW, .na_sec = NOW + 100, .serial = "01", .subject = "CN=X", .issuer = "CN=X", .sha256 = "aa" };
	if (play.has_rollover)
		ret->rollover = (struct x509_facts){ .nb_sec = NOW + 100, .na_sec = NOW + 200, .serial = "02", .subject = "CN=X", .sha256 = "bb",
						     .spki_sha256 = "next" };
	ret->timers[0] = (struct ca_control_timer){ .timer = "CS CRL UPDATE", .at_sec = NOW + 30, .left_ms = 30000, .exact = false };
	ret->n_timers = 1;
}
static int op_grant(void *userdata, int64_t id, const char *actor, struct err *reterr)
{
	(void) userdata;
	if (play.grant_code < 0 || id == play.stale)
		return err_set(reterr, id == play.stale ? -ESTALE : play.grant_code, "played refusal");
	return db_request_set_status(db, id, CAR_STATUS_AUTHORIZED, NULL, NOW + 1, actor, reterr);
}
static int op_reject(void *userdata, int64_t id, const char *reason, const char *actor, struct err *reterr)
{
	(void) userdata;
	return db_request_set_status(db, id, CAR_STATUS_REJECTED, reason, NOW + 1, actor, reterr);
}
static int rollover_later(sd_event_source *s, void *userdata)
{
	struct err e = { .code = 0 };

	(void) s;
	(void) userdata;
	if (play.done_code < 0)
		(void) err_set(&e, play.done_code, "played failure"); /* the code goes beside it */
	else
		play.has_rollover = true;
	ca_control_rollover_done(play.wait, play.done_code, &e);
	return 0;
}
static int op_rollover(void *userdata, bool cancel, const char *actor, struct ca_control_wait *wait, struct err *reterr)
{
	sd_event *event = userdata;

	(void) actor;
	if (play.rollover_code < 0)
		return err_set(reterr, play.rollover_code, "played refusal");
	play.wait = wait;
	if (cancel) { /* at once */
		play.has_rollover = false;
		ca_control_rollover_done(wait, 0, NULL);
		return 0;
	}
	play.later = sd_event_source_unref(play.later);
	return sd_event_add_defer(event, &play.later, rollover_later, NULL);
}
static int op_reload(void *userdata, struct err *reterr)
{
	(void) userdata;
	return play.reload_code < 0 ? err_set(reterr, play.reload_code, "X.conf:3: Grant= is wrong") : 0;
}
static const struct ca_control_ops ops = { op_status, op_grant, op_reject, op_rollover, op_reload };

static void *loop_main(void *arg)
{
	sd_event *event = arg;

	while (!atomic_load(&stop) && sd_event_run(event, 20 * 1000) >= 0)
		;
	return NULL;
}

static sd_event *event;
static struct ca_control *control;

static int suite_up(void)
{
	char path[80];
	struct err e = { .code = 0 };
	int fd;

	if (!mkdtemp(folder))
		return -1;
	(void) snprintf(path, sizeof(path), "%s/ca.db", folder);
	(void) snprintf(socket_path, sizeof(socket_path), "%s/ca.sock", folder);
	fd = ctl_listen(socket_path, 0600, &e);
	if (fd < 0 || db_open(path, &db, &e) < 0 || ca_conf_parse("X", "[CA]\nAutoRollover=90d\n", 22, &conf, &e) < 0 || sd_event_new(&event) < 0 ||
	    ca_control_new(event, fd, db, &ops, event, &control, &e) < 0 || pthread_create(&thread, NULL, loop_main, event) != 0) {
		printf("%s\n", e.text);
		return -1;
	}
	return 0;
}
static int suite_down(void)
{
	atomic_store(&stop, true);
	(void) pthread_join(thread, NULL);
	ca_control_free(control);
	play.later = sd_event_source_unref(play.later);
	event = sd_event_unref(event);
	db_close(db);
	ca_conf_free(conf);
	return fs_remove_tree(folder, NULL);
}
static void test_up(void)
{
	play.rollover_code = play.done_code = play.reload_code = 0;
	play.has_rollover = false;
}

/* ---- asking ---- */

/* 0 and the reply, or -1 and the error's last word in `error`. */
static json_t *ask(const char *method, json_t *params, char error[96])
{
	char full[80];
	struct ctl_failure f = { .error = "" };
	json_t *reply = NULL;
	int r;

	(void) snprintf(full, sizeof(full), "org.keyroll.ca.%s", method);
	r = ctl_ask(socket_path, full, params, 5000, &reply, &f, NULL);
	(void) snprintf(error, 96, "%s", r == 0 ? "" : strrchr(f.error, '.') ? strrchr(f.error, '.') + 1 : f.error);
	if (r == -EREMOTEIO) {
		CU_ASSERT(f.message[0] && f.do_text[0]); /* every error says what to do */
	} else {
		CU_ASSERT(r == 0);
	}
	return r == 0 ? reply : NULL;
}
static void refused(const char *method, json_t *params, const char *want)
{
	char error[96];
	AUTO(json) json_t *reply = ask(method, params, error);

	if (reply || strcmp(error, want) != 0)
		printf("%s: \"%s\", wanted \"%s\"\n", method, error, want);
	CU_ASSERT(reply == NULL);
	CU_ASSERT_STRING_EQUAL(error, want);
}
static const char *text_of(const json_t *o, const char *key)
{
	const char *t = json_string_value(json_object_get(o, key));

	return t ? t : "(none)";
}

static int64_t add(const char *transaction, const char *issuer)
{
	struct db_request r = { .subject = "CN=spoke", .address = "192.0.2.1", .csr_sha256 = "cc", .signer = "self:dd" };
	int ret;

	(void) snprintf(r.transaction_id, sizeof(r.transaction_id), "%s", transaction);
	(void) snprintf(r.issuer_spki, sizeof(r.issuer_spki), "%s", issuer);
	ret = db_request_add(db, &r, NOW, "scep", NULL);
	CU_ASSERT(ret == 0);
	return r.id;
}
static json_t *ids(int64_t a, int64_t b)
{
	return b ? json_pack("{s:[I,I]}", "ids", (json_int_t) a, (json_int_t) b) : json_pack("{s:[I]}", "ids", (json_int_t) a);
}

/* ---- tests ---- */

static void status_tells_all(void)
{
	char error[96];
	AUTO(json) json_t *s = ask("Status", NULL, error);
	const json_t *timer = json_array_get(json_object_get(s, "timers"), 0);

	CU_ASSERT_FATAL(s != NULL);
	CU_ASSERT_STRING_EQUAL(text_of(s, "name"), "X");
	CU_ASSERT_STRING_EQUAL(text_of(s, "status"), "enabled");
	CU_ASSERT_STRING_EQUAL(text_of(s, "issuer"), "CN=X");
	CU_ASSERT_STRING_EQUAL(text_of(s, "grant"), "manual");
	CU_ASSERT_STRING_EQUAL(text_of(s, "clock"), "trusted");
	CU_ASSERT_STRING_EQUAL(text_of(s, "rollover_status"), "none");
	CU_ASSERT_STRING_EQUAL(text_of(s, "crl_next_update"), "2027-01-15T08:01:00Z");
	CU_ASSERT(strstr(text_of(s, "url"), ":8080") != NULL && strstr(text_of(s, "url"), "http://") != NULL);
	CU_ASSERT_STRING_EQUAL(text_of(json_object_get(s, "ca"), "not_before"), "2027-01-15T08:00:00Z");
	CU_ASSERT(json_object_get(s, "rollover") == NULL && json_object_get(s, "protection") == NULL);
	CU_ASSERT(json_integer_value(json_object_get(s, "overlap_ms")) == INT64_C(90) * 86400000);
	CU_ASSERT_STRING_EQUAL(text_of(timer, "timer"), "CS CRL UPDATE");
	CU_ASSERT(json_integer_value(json_object_get(timer, "left_ms")) == 30000);
}
static void requests_are_listed_granted_and_rejected(void)
{
	int64_t a = add("t1", "active"), b = add("t2", "next"), c = add("t3", "active");
	char error[96];
	AUTO(json) json_t *open = NULL, *granted = NULL, *rejected = NULL, *all = NULL;

	play.has_rollover = true;
	open = ask("Requests", NULL, error);
	CU_ASSERT(json_array_size(json_object_get(open, "requests")) == 3);
	CU_ASSERT(json_is_false(json_object_get(json_array_get(json_object_get(open, "requests"), 0), "rollover")));
	CU_ASSERT(json_is_true(json_object_get(json_array_get(json_object_get(open, "requests"), 1), "rollover")));
	granted = ask("Grant", ids(a, b), error);
	CU_ASSERT(json_array_size(json_object_get(granted, "requests")) == 2);
	CU_ASSERT_STRING_EQUAL(text_of(json_array_get(json_object_get(granted, "requests"), 0), "status"), "authorized");
	rejected = ask("Reject", json_pack("{s:b, s:s}", "all", 1, "reason", "who are you"), error);
	CU_ASSERT(json_array_size(json_object_get(rejected, "requests")) == 1);
	CU_ASSERT_STRING_EQUAL(text_of(json_array_get(json_object_get(rejected, "requests"), 0), "why"), "who are you");
	refused("Grant", ids(c, 0), "NotPending");
	refused("Grant", ids(4711, 0), "NoSuchRequest");
	all = ask("Requests", json_pack("{s:b}", "all", 1), error);
	CU_ASSERT(json_array_size(json_object_get(all, "requests")) == 3);
	CU_ASSERT(json_object_get(all, "more") == NULL);
}
static void a_stale_request_does_not_stop_the_others(void)
{
	int64_t stale = add("t11", "previous"), fresh = add("t12", "active");
	char error[96];
	AUTO(json) json_t *got = NULL;

	play.grant_code = -ETIME;
	refused("Grant", ids(fresh, 0), "ClockNotTrusted");
	play.grant_code = 0;
	play.stale = stale;
	refused("Grant", ids(stale, 0), "Failed");
	got = ask("Grant", json_pack("{s:b}", "all", 1), error);
	CU_ASSERT(json_array_size(json_object_get(got, "requests")) == 1);
	CU_ASSERT(json_integer_value(json_object_get(json_array_get(json_object_get(got, "requests"), 0), "id")) == fresh);
	play.stale = 0;
	CU_ASSERT_EQUAL(db_request_set_status(db, stale, CAR_STATUS_REJECTED, "late", NOW + 2, "uid 0", NULL), 0);
}
static void nothing_pending_is_an_empty_list(void)
{
	char error[96];
	AUTO(json) json_t *got = ask("Grant", json_pack("{s:b}", "all", 1), error);

	CU_ASSERT(got && json_is_array(json_object_get(got, "requests")) && json_array_size(json_object_get(got, "requests")) == 0);
}
static void wrong_parameters_are_named(void)
{
	refused("Grant", NULL, "InvalidParameter");
	refused("Grant", json_pack("{s:[]}", "ids"), "InvalidParameter");
	refused("Grant", json_pack("{s:[s]}", "ids", "7"), "InvalidParameter");
	refused("Grant", json_pack("{s:i}", "ids", 7), "InvalidParameter");
	refused("Grant", json_pack("{s:s}", "all", "yes"), "InvalidParameter");
	refused("Reject", json_pack("{s:b, s:i}", "all", 1, "reason", 7), "InvalidParameter");
	refused("List", json_pack("{s:i}", "max", 0), "InvalidParameter");
	refused("List", json_pack("{s:s}", "max", "1"), "InvalidParameter");
	refused("Rollover", json_pack("{s:i}", "cancel", 1), "InvalidParameter");
	refused("Requests", json_pack("{s:i}", "all", 1), "InvalidParameter");
}
static int issue(const char *transaction, const char *serial, const void *der, size_t len)
{
	struct db_request r = { .issuer_spki = "active", .subject = "CN=spoke", .address = "192.0.2.1", .csr_sha256 = "cc", .signer = "self:dd" };
	struct db_cert c = { .issuer_spki = "active", .subject = "CN=from the row", .spki = "dd", .nb_sec = NOW, .na_sec = NOW + 9 };
	int ret;

	(void) snprintf(r.transaction_id, sizeof(r.transaction_id), "%s", transaction);
	(void) snprintf(c.serial, sizeof(c.serial), "%s", serial);
	ret = db_intent(db, &r, &c, NOW, "scep", NULL);
	return ret < 0 ? ret : db_issued(db, "active", serial, der, len, NOW, "scep", NULL);
}
/* A self-signed certificate's DER. */
static void cert_der(struct buf *ret)
{
	AUTO(pkey) EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t) 2048);
	AUTO(x509) X509 *x = X509_new();
	X509_NAME *name = x ? X509_get_subject_name(x) : NULL;

	CU_ASSERT(key && name && X509_set_version(x, 2) && ASN1_INTEGER_set(X509_get_serialNumber(x), 0x77) && X509_set_pubkey(x, key));
	CU_ASSERT(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *) "real", -1, -1, 0) && X509_set_issuer_name(x, name));
	CU_ASSERT(ASN1_TIME_set(X509_getm_notBefore(x), NOW) && ASN1_TIME_set(X509_getm_notAfter(x), NOW + 5) && X509_sign(x, key, EVP_sha256()));
	CU_ASSERT(x509_to_der(x, ret, NULL) == 0);
}
static void certificates_are_listed_from_their_bytes(void)
{
	AUTO(buf) struct buf der = BUF_EMPTY;
	char error[96];
	AUTO(json) json_t *one = NULL, *both = NULL;
	const json_t *c;

	cert_der(&der);
	CU_ASSERT(issue("c1", "77", der.data, der.len) == 0);
	CU_ASSERT(issue("c2", "78", "spoilt", 6) == 0);
	CU_ASSERT(db_revoke(db, "active", "77", 1, NOW + 2, "uid 0", NULL) == 0);
	one = ask("List", json_pack("{s:i}", "max", 1), error);
	CU_ASSERT(json_array_size(json_object_get(one, "certificates")) == 1);
	both = ask("List", NULL, error);
	CU_ASSERT(json_array_size(json_object_get(both, "certificates")) == 2);
	c = json_array_get(json_object_get(both, "certificates"), 0); /* newest first */
	CU_ASSERT_STRING_EQUAL(text_of(c, "serial"), "78");
	CU_ASSERT_STRING_EQUAL(text_of(c, "subject"), "CN=from the row");
	CU_ASSERT(json_object_get(c, "sha256") == NULL && json_object_get(c, "revoked") == NULL);
	c = json_array_get(json_object_get(both, "certificates"), 1);
	CU_ASSERT_STRING_EQUAL(text_of(c, "subject"), "CN=real");
	CU_ASSERT_STRING_EQUAL(text_of(c, "not_after"), "2027-01-15T08:00:05Z");
	CU_ASSERT_STRING_EQUAL(text_of(c, "revoked"), "2027-01-15T08:00:02Z");
	CU_ASSERT(strlen(text_of(c, "sha256")) == 64);
}
enum { MANY = 6000 };
static int many_run(struct db_conn *c, void *arg, struct err *reterr)
{
	int r = 0;

	(void) arg;
	for (int i = 0; r == 0 && i < MANY; i++) {
		struct db_request row = { .issuer_spki = "active", .csr_sha256 = "cc", .signer = "self:many", .status = CAR_STATUS_REJECTED };

		(void) snprintf(row.transaction_id, sizeof(row.transaction_id), "%0250d", i);
		(void) snprintf(row.subject, sizeof(row.subject), "CN=%0500d", i);
		r = db_request_insert(c, &row, NOW, reterr);
	}
	return r;
}
static void long_list_says_that_there_is_more(void)
{
	char error[96];
	AUTO(json) json_t *all = NULL;
	size_t n;

	CU_ASSERT(db_write(db, many_run, NULL, NULL) == 0);
	all = ask("Requests", json_pack("{s:b}", "all", 1), error);
	n = json_array_size(json_object_get(all, "requests"));
	CU_ASSERT(all && json_is_true(json_object_get(all, "more")));
	CU_ASSERT(n > 1000 && n < MANY);
}
static void rollover_is_answered_when_it_is_done(void)
{
	char error[96];
	AUTO(json) json_t *made = ask("Rollover", NULL, error), *gone = NULL;

	CU_ASSERT_STRING_EQUAL(text_of(json_object_get(made, "rollover"), "serial"), "02");
	gone = ask("Rollover", json_pack("{s:b}", "cancel", 1), error);
	CU_ASSERT(gone && json_object_get(gone, "rollover") == NULL);
}
static void rollover_failures_have_their_names(void)
{
	play.rollover_code = -EEXIST;
	refused("Rollover", NULL, "RolloverExists");
	play.rollover_code = -ENODATA;
	refused("Rollover", json_pack("{s:b}", "cancel", 1), "NoRollover");
	play.rollover_code = -ETIME;
	refused("Rollover", NULL, "ClockNotTrusted");
	play.rollover_code = -EIO;
	refused("Rollover", NULL, "Failed");
	play.rollover_code = 0;
	play.done_code = -EIO;
	refused("Rollover", NULL, "Failed");
}
static void reload_tells_what_is_wrong(void)
{
	char error[96];
	AUTO(json) json_t *ok = ask("Reload", NULL, error);

	CU_ASSERT(ok != NULL);
	play.reload_code = -EINVAL;
	refused("Reload", NULL, "Failed");
}

static CU_TestInfo tests[] = {
	{ "Status tells all", status_tells_all },
	{ "requests are listed, granted and rejected", requests_are_listed_granted_and_rejected },
	{ "a stale request does not stop the others", a_stale_request_does_not_stop_the_others },
	{ "nothing pending is an empty list", nothing_pending_is_an_empty_list },
	{ "wrong parameters are named", wrong_parameters_are_named },
	{ "certificates are listed from their bytes", certificates_are_listed_from_their_bytes },
	{ "a long list says that there is more", long_list_says_that_there_is_more },
	{ "a rollover is answered when it is done", rollover_is_answered_when_it_is_done },
	{ "rollover failures have their names", rollover_failures_have_their_names },
	{ "Reload tells what is wrong", reload_tells_what_is_wrong },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "the control socket", suite_up, suite_down, test_up, NULL, tests }, CU_SUITE_INFO_NULL };

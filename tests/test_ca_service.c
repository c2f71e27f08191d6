/* The SCEP service against a real signer: what each request is answered. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

#include "ca/issue.h"
#include "ca/x509sig.h"
#include "common/auto_ssl.h"
#include "common/x509facts.h"
#include "tests/ca_fixture.h"
#include "tests/test_main.h"

#define AUTO_ANSWER AUTO(fx_answer) struct fx_answer

static struct fx fx;

static int suite_init(void)
{
	return fx_start(&fx);
}

static int suite_clean(void)
{
	fx_stop(&fx);
	return 0;
}

static void auto_router(struct fx_router *r)
{
	fx_router_clear(r);
}

static bool answered(const struct fx_answer *a, enum scep_status status)
{
	bool ok = a->http == 200 && a->opened == 0 && a->reply.status == status;

	if (!ok)
		(void) fprintf(stderr, "HTTP %d, opened %d, status %d, failInfo %d; wanted status %d\n", a->http, a->opened, a->reply.status,
			       a->reply.fail, status);
	return ok;
}

static bool granted(const struct fx_answer *a)
{
	return answered(a, SCEP_STATUS_SUCCESS) && a->reply.cert;
}

static bool failed(const struct fx_answer *a, enum scep_fail fail)
{
	bool ok = answered(a, SCEP_STATUS_FAILURE) && a->reply.fail == fail;

	if (!ok)
		(void) fprintf(stderr, "failInfo %d, wanted %d\n", a->reply.fail, fail);
	return ok;
}

static void view(enum car_grant grant, bool renewals, bool next)
{
	fx.trusted = true;
	fx.now_sec = FX_NOW;
	CU_ASSERT_EQUAL(fx_view(&fx, grant, renewals, next, false), 0);
}

static int64_t pending_id(const char *tid);

struct finding {
	const char *tid;
	int64_t id;
};

static int find_one(void *userdata, const struct db_request *r)
{
	struct finding *f = userdata;

	if (strcmp(r->transaction_id, f->tid) == 0)
		f->id = r->id;
	return 0;
}

static int64_t pending_id(const char *tid)
{
	struct finding f = { .tid = tid, .id = -1 };

	CU_ASSERT_EQUAL(db_requests_each(fx.db, false, 0, find_one, &f, NULL), 0);
	return f.id;
}

static struct fx_ask poll_for(const struct fx_ask *enrol, X509_NAME *subject, struct buf *content)
{
	struct fx_ask ask = *enrol;

	CU_ASSERT_EQUAL(scep_issuer_and_subject_build(X509_get_subject_name(fx.ca), subject, content), 0);
	ask.type = SCEP_TYPE_CERT_POLL;
	ask.content = content->data;
	ask.content_len = content->len;
	return ask;
}

/* ---- enrolment ---- */

static void enrol_auto(void)
{
	AUTO(router) struct fx_router r = { .csr = BUF_EMPTY };
	AUTO_ANSWER a = { 0 };
	AUTO_ANSWER again = { 0 };
	struct x509_facts facts;
	struct fx_ask ask;

	view(CAR_GRANT_AUTO, false, false);
	CU_ASSERT_EQUAL(fx_router_make(&r, "CN=spoke-1,OU=CVO", "spoke-1.example.com"), 0);
	ask = fx_enrol(&fx, &r, "auto-1");
	fx_ask(&fx, &ask, &a);
	CU_ASSERT(granted(&a));
	if (!granted(&a) || x509_facts_get(a.reply.cert, &facts, NULL) < 0)
		return;
	CU_ASSERT_STRING_EQUAL(facts.subject, "CN=spoke-1,OU=CVO");
	CU_ASSERT_EQUAL(facts.nb_sec, FX_NOW);
	CU_ASSERT_EQUAL(facts.na_sec, FX_NOW + 30 * FX_DAY); /* capped: the CA ends before 365 d are over */
	CU_ASSERT_FALSE(facts.is_ca);
	CU_ASSERT_EQUAL(x509_check_issued(a.reply.cert, fx.ca, FX_NOW, NULL), 0);
	CU_ASSERT_EQUAL(X509_check_host(a.reply.cert, "spoke-1.example.com", 0, 0, NULL), 1);
	fx_ask(&fx, &ask, &again); /* the reply was lost: the same request with a new nonce */
	CU_ASSERT(granted(&again) && X509_cmp(a.reply.cert, again.reply.cert) == 0);
}

static void id_reused(void)
{
	AUTO(router) struct fx_router one = { .csr = BUF_EMPTY };
	AUTO(router) struct fx_router two = { .csr = BUF_EMPTY };
	AUTO_ANSWER a = { 0 };
	AUTO_ANSWER b = { 0 };
	struct fx_ask ask;

	view(CAR_GRANT_AUTO, false, false);
	CU_ASSERT_EQUAL(fx_router_make(&one, "CN=reuse-1", NULL), 0);
	CU_ASSERT_EQUAL(fx_router_make(&two, "CN=reuse-2", NULL), 0);
	ask = fx_enrol(&fx, &one, "reused");
	fx_ask(&fx, &ask, &a);
	ask = fx_enrol(&fx, &two, "reused");
	fx_ask(&fx, &ask, &b);
	CU_ASSERT(granted(&a) && granted(&b));
	CU_ASSERT(granted(&a) && granted(&b) && ASN1_INTEGER_cmp(X509_get0_serialNumber(a.reply.cert), X509_get0_serialNumber(b.reply.cert)) != 0);
}

static void pending_grant_poll(void)
{
	AUTO(router) struct fx_router r = { .csr = BUF_EMPTY };
	AUTO(buf) struct buf content = BUF_EMPTY;
	AUTO_ANSWER first = { 0 };
	AUTO_ANSWER waiting = { 0 };
	AUTO_ANSWER collected = { 0 };
	AUTO_ANSWER repeated = { 0 };
	AUTO_ANSWER lost = { 0 };
	struct fx_ask ask, poll;
	int64_t id;

	view(CAR_GRANT_MANUAL, true, false);
	CU_ASSERT_EQUAL(fx_router_make(&r, "CN=waits", NULL), 0);
	ask = fx_enrol(&fx, &r, "waits");
	poll = poll_for(&ask, X509_get_subject_name(r.self), &content);
	fx_ask(&fx, &ask, &first);
	CU_ASSERT(answered(&first, SCEP_STATUS_PENDING));
	fx_ask(&fx, &poll, &waiting);
	CU_ASSERT(answered(&waiting, SCEP_STATUS_PENDING));
	id = pending_id("waits");
	CU_ASSERT(id > 0);
	CU_ASSERT_EQUAL(service_grant(fx.service, id, "uid 0", NULL), 0);
	fx_ask(&fx, &poll, &collected);
	CU_ASSERT(granted(&collected));
	fx_ask(&fx, &poll, &repeated);
	CU_ASSERT(granted(&collected) && granted(&repeated) && X509_cmp(collected.reply.cert, repeated.reply.cert) == 0);
	fx_ask(&fx, &ask, &lost); /* the PKCSReq again gets it too */
	CU_ASSERT(granted(&collected) && granted(&lost) && X509_cmp(collected.reply.cert, lost.reply.cert) == 0);
}

static void rejected(void)
{
	AUTO(router) struct fx_router r = { .csr = BUF_EMPTY };
	AUTO(router) struct fx_router stranger = { .csr = BUF_EMPTY };
	AUTO(buf) struct buf content = BUF_EMPTY;
	AUTO_ANSWER first = { 0 };
	AUTO_ANSWER foreign = { 0 };
	AUTO_ANSWER after = { 0 };
	AUTO_ANSWER unknown = { 0 };
	struct fx_ask ask, poll, other;

	view(CAR_GRANT_MANUAL, true, false);
	CU_ASSERT_EQUAL(fx_router_make(&r, "CN=rejected", NULL), 0);
	CU_ASSERT_EQUAL(fx_router_make(&stranger, "CN=stranger", NULL), 0);
	ask = fx_enrol(&fx, &r, "rejected");
	poll = poll_for(&ask, X509_get_subject_name(r.self), &content);
	fx_ask(&fx, &ask, &first);
	CU_ASSERT(answered(&first, SCEP_STATUS_PENDING));
	other = poll; /* somebody else's poll with the same id */
	other.signer = stranger.self;
	other.signer_key = stranger.key;
	fx_ask(&fx, &other, &foreign);
	CU_ASSERT(failed(&foreign, SCEP_FAIL_BAD_CERT_ID));
	CU_ASSERT_EQUAL(db_request_set_status(fx.db, pending_id("rejected"), CAR_STATUS_REJECTED, "no", FX_NOW, "uid 0", NULL), 0);
	fx_ask(&fx, &poll, &after);
	CU_ASSERT(failed(&after, SCEP_FAIL_BAD_REQUEST));
	poll.tid = "never asked";
	fx_ask(&fx, &poll, &unknown);
	CU_ASSERT(failed(&unknown, SCEP_FAIL_BAD_CERT_ID));
}

static void grant_none(void)
{
	AUTO(router) struct fx_router r = { .csr = BUF_EMPTY };
	AUTO_ANSWER a = { 0 };
	struct fx_ask ask;

	view(CAR_GRANT_NONE, false, false);
	CU_ASSERT_EQUAL(fx_router_make(&r, "CN=none", NULL), 0);
	ask = fx_enrol(&fx, &r, "none");
	fx_ask(&fx, &ask, &a);
	CU_ASSERT(failed(&a, SCEP_FAIL_BAD_REQUEST));
}

/* ---- who may ask for what ---- */

static X509 *enrolled(struct fx_router *r, const char *subject, const char *tid)
{
	AUTO_ANSWER a = { 0 };
	struct fx_ask ask;

	CU_ASSERT_EQUAL(fx_view(&fx, CAR_GRANT_AUTO, true, false, false), 0);
	CU_ASSERT_EQUAL(fx_router_make(r, subject, NULL), 0);
	ask = fx_enrol(&fx, r, tid);
	fx_ask(&fx, &ask, &a);
	CU_ASSERT(granted(&a));
	return granted(&a) ? TAKE(a.reply.cert) : NULL;
}

static void renewal(void)
{
	static const struct {
		const char *why, *subject;
		enum scep_type type;
		bool renewals;
		enum scep_status want;
	} rows[] = {
		{ "type 17, same subject", "CN=renews", SCEP_TYPE_RENEWAL_REQ, true, SCEP_STATUS_SUCCESS },
		{ "type 19, same subject", "CN=renews", SCEP_TYPE_PKCS_REQ, true, SCEP_STATUS_SUCCESS },
		{ "type 17, another subject", "CN=somebody else", SCEP_TYPE_RENEWAL_REQ, true, SCEP_STATUS_PENDING },
		{ "type 17, GrantRenewals=no", "CN=renews", SCEP_TYPE_RENEWAL_REQ, false, SCEP_STATUS_PENDING },
	};
	AUTO(router) struct fx_router old = { .csr = BUF_EMPTY };
	AUTO(x509) X509 *cert = enrolled(&old, "CN=renews", "renews");
	size_t i;

	for (i = 0; cert && i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(router) struct fx_router fresh = { .csr = BUF_EMPTY };
		AUTO_ANSWER a = { 0 };
		struct fx_ask ask;

		view(CAR_GRANT_MANUAL, rows[i].renewals, false);
		CU_ASSERT_EQUAL(fx_router_make(&fresh, rows[i].subject, NULL), 0);
		ask = fx_renew(&fx, &fresh, cert, old.key, rows[i].type, rows[i].why);
		fx_ask(&fx, &ask, &a);
		if (!answered(&a, rows[i].want))
			(void) fprintf(stderr, "%s\n", rows[i].why);
		CU_ASSERT(answered(&a, rows[i].want));
	}
}

static void renewal_twins(void)
{
	AUTO(router) struct fx_router old = { .csr = BUF_EMPTY };
	AUTO(router) struct fx_router fresh = { .csr = BUF_EMPTY };
	AUTO(x509) X509 *cert = enrolled(&old, "CN=ends", "ends");
	AUTO_ANSWER late = { 0 };
	AUTO_ANSWER self = { 0 };
	AUTO_ANSWER revoked = { 0 };
	struct x509_facts facts, ca;
	struct fx_ask ask;

	if (!cert || x509_facts_get(cert, &facts, NULL) < 0 || x509_facts_get(fx.ca, &ca, NULL) < 0)
		return;
	CU_ASSERT_EQUAL(fx_router_make(&fresh, "CN=ends", NULL), 0);
	view(CAR_GRANT_MANUAL, true, false);
	fx.now_sec = facts.na_sec; /* an ended certificate proves nothing more: an operator decides */
	ask = fx_renew(&fx, &fresh, cert, old.key, SCEP_TYPE_RENEWAL_REQ, "late");
	fx_ask(&fx, &ask, &late);
	CU_ASSERT(answered(&late, SCEP_STATUS_PENDING));
	fx.now_sec = FX_NOW;
	ask = fx_enrol(&fx, &fresh, "self 17"); /* a RenewalReq signed by nobody's certificate */
	ask.type = SCEP_TYPE_RENEWAL_REQ;
	fx_ask(&fx, &ask, &self);
	CU_ASSERT(failed(&self, SCEP_FAIL_BAD_REQUEST));
	CU_ASSERT_EQUAL(db_revoke(fx.db, ca.spki_sha256, facts.serial, 1, FX_NOW, "uid 0", NULL), 0);
	ask = fx_renew(&fx, &fresh, cert, old.key, SCEP_TYPE_RENEWAL_REQ, "revoked");
	fx_ask(&fx, &ask, &revoked);
	CU_ASSERT(failed(&revoked, SCEP_FAIL_BAD_MESSAGE_CHECK));
}

/* Issuer, subject and serial of a good certificate over an attacker's key, signed by whatever key the attacker has. */
static int forge(X509 *like, EVP_PKEY *key, EVP_PKEY *signing_key, X509 **ret)
{
	AUTO(x509) X509 *x = X509_dup(like);

	if (!x || X509_set_pubkey(x, key) != 1 || X509_sign(x, signing_key, EVP_sha256()) <= 0)
		return -1;
	*ret = TAKE(x);
	return 0;
}

static void forged_signer(void)
{
	AUTO(router) struct fx_router victim = { .csr = BUF_EMPTY };
	AUTO(router) struct fx_router attacker = { .csr = BUF_EMPTY };
	AUTO(x509) X509 *cert = enrolled(&victim, "CN=victim", "victim");
	AUTO(x509) X509 *forged = NULL;
	AUTO(x509) X509 *self = NULL;
	AUTO_ANSWER a = { 0 };
	AUTO_ANSWER b = { 0 };
	struct fx_ask ask;

	CU_ASSERT_EQUAL(fx_router_make(&attacker, "CN=victim", NULL), 0);
	if (!cert || forge(cert, attacker.key, victim.key, &forged) < 0 || forge(cert, attacker.key, attacker.key, &self) < 0) {
		CU_FAIL("no forged certificate");
		return;
	}
	view(CAR_GRANT_MANUAL, true, false);
	ask = fx_renew(&fx, &attacker, forged, attacker.key, SCEP_TYPE_RENEWAL_REQ, "forged");
	fx_ask(&fx, &ask, &a);
	CU_ASSERT(failed(&a, SCEP_FAIL_BAD_MESSAGE_CHECK));
	ask = fx_renew(&fx, &attacker, self, attacker.key, SCEP_TYPE_PKCS_REQ, "self-made"); /* proves its key and nothing else: never a renewal */
	fx_ask(&fx, &ask, &b);
	CU_ASSERT(answered(&b, SCEP_STATUS_PENDING));
}

static void other_keys(void)
{
	AUTO(router) struct fx_router one = { .csr = BUF_EMPTY };
	AUTO(router) struct fx_router two = { .csr = BUF_EMPTY };
	AUTO(router) struct fx_router thief = { .csr = BUF_EMPTY };
	AUTO(x509) X509 *cert = enrolled(&one, "CN=owner", "owner");
	AUTO_ANSWER mixed = { 0 };
	AUTO_ANSWER in_use = { 0 };
	struct fx_ask ask;

	CU_ASSERT_PTR_NOT_NULL(cert);
	CU_ASSERT_EQUAL(fx_router_make(&two, "CN=two", NULL), 0);
	view(CAR_GRANT_AUTO, true, false);
	ask = fx_enrol(&fx, &two, "mixed"); /* its CSR, signed by another key's self-signed certificate */
	ask.signer = one.self;
	ask.signer_key = one.key;
	fx_ask(&fx, &ask, &mixed);
	CU_ASSERT(failed(&mixed, SCEP_FAIL_BAD_REQUEST));
	CU_ASSERT_EQUAL(EVP_PKEY_up_ref(one.key), 1);
	thief.key = one.key;
	CU_ASSERT_EQUAL(fx_router_make(&thief, "CN=thief", NULL), 0);
	ask = fx_enrol(&fx, &thief, "in use");
	fx_ask(&fx, &ask, &in_use);
	CU_ASSERT(failed(&in_use, SCEP_FAIL_BAD_REQUEST));
}

static int intent_count(void *userdata, const struct db_request *r)
{
	(void) r; /* each counts */
	++*(unsigned *) userdata;
	return 0;
}

/* The signer's floor would refuse it; an intent that nobody can sign would stay for ever. */
static void own_name(void)
{
	static const char *const names[] = { "CN=Test CA,O=Test", "CN=test  ca,O=TEST" };
	unsigned intents = 0;
	size_t i;

	view(CAR_GRANT_AUTO, true, false);
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		AUTO(router) struct fx_router r = { .csr = BUF_EMPTY };
		AUTO_ANSWER a = { 0 };
		struct fx_ask ask;

		CU_ASSERT_EQUAL(fx_router_make(&r, names[i], NULL), 0);
		ask = fx_enrol(&fx, &r, names[i]);
		fx_ask(&fx, &ask, &a);
		CU_ASSERT(failed(&a, SCEP_FAIL_BAD_REQUEST));
	}
	CU_ASSERT_EQUAL(db_intents_each(fx.db, intent_count, &intents, NULL), 0);
	CU_ASSERT_EQUAL(intents, 0);
}

/* ---- what cannot be opened ---- */

static void wrong_recipient(void)
{
	AUTO(router) struct fx_router r = { .csr = BUF_EMPTY };
	AUTO_ANSWER a = { 0 };
	struct fx_ask ask;

	view(CAR_GRANT_AUTO, false, false);
	CU_ASSERT_EQUAL(fx_router_make(&r, "CN=lost", NULL), 0);
	ask = fx_enrol(&fx, &r, "lost");
	ask.recipient = fx.next; /* there is no rollover CA in this view */
	fx_ask(&fx, &ask, &a);
	CU_ASSERT(failed(&a, SCEP_FAIL_BAD_REQUEST));
}

static void sealed_all_the_same(void)
{
	static const uint8_t rubbish[] = "rubbish", half[] = { 0x30, 0x82, 0x02, 0x00, 0x30 };
	AUTO(router) struct fx_router r = { .csr = BUF_EMPTY };
	AUTO(router) struct fx_router other = { .csr = BUF_EMPTY };
	AUTO(x509) X509 *wrong_key = NULL;
	AUTO_ANSWER a = { 0 };
	AUTO_ANSWER b = { 0 };
	AUTO_ANSWER c = { 0 };
	struct fx_ask ask;

	view(CAR_GRANT_AUTO, false, false);
	CU_ASSERT_EQUAL(fx_router_make(&r, "CN=sealed", NULL), 0);
	CU_ASSERT_EQUAL(fx_router_make(&other, "CN=other", NULL), 0);
	CU_ASSERT_EQUAL(forge(fx.ca, other.key, other.key, &wrong_key), 0); /* the CA's issuer and serial over another key: decryption fails */
	ask = fx_enrol(&fx, &r, "sealed");
	ask.recipient = wrong_key;
	fx_ask(&fx, &ask, &a);
	ask.recipient = fx.ca;
	ask.content = rubbish;
	ask.content_len = sizeof(rubbish);
	fx_ask(&fx, &ask, &b);
	ask.content = half;
	ask.content_len = sizeof(half);
	fx_ask(&fx, &ask, &c);
	CU_ASSERT(failed(&a, SCEP_FAIL_BAD_MESSAGE_CHECK));
	CU_ASSERT(failed(&b, SCEP_FAIL_BAD_MESSAGE_CHECK));
	CU_ASSERT(failed(&c, SCEP_FAIL_BAD_MESSAGE_CHECK));
	CU_ASSERT_EQUAL(a.bytes, b.bytes);
	CU_ASSERT_EQUAL(b.bytes, c.bytes);
}

static void malformed(void)
{
	static const uint8_t bytes[] = { 0x30, 0x03, 0x02, 0x01, 0x01 };
	struct http_request request = { .op = HTTP_OP_PKI_OPERATION, .message = "", .body = BUF_EMPTY, .address = "192.0.2.1" };
	struct http_reply reply = { .body = BUF_EMPTY };

	view(CAR_GRANT_AUTO, false, false);
	CU_ASSERT_EQUAL(buf_set(&request.body, bytes, sizeof(bytes)), 0);
	service_handle(fx.service, &request, &reply);
	CU_ASSERT_EQUAL(reply.status, 400);
	CU_ASSERT_EQUAL(reply.body.len, 0);
	buf_clear(&request.body);
}

/* ---- rollover ---- */

static void rollover(void)
{
	AUTO(router) struct fx_router old = { .csr = BUF_EMPTY };
	AUTO(router) struct fx_router fresh = { .csr = BUF_EMPTY };
	AUTO(x509) X509 *cert = enrolled(&old, "CN=rolls", "rolls");
	AUTO_ANSWER a = { 0 };
	struct x509_facts facts;
	struct fx_ask ask;

	if (!cert)
		return;
	CU_ASSERT_EQUAL(fx_router_make(&fresh, "CN=rolls", NULL), 0);
	view(CAR_GRANT_MANUAL, true, true);
	ask = fx_renew(&fx, &fresh, cert, old.key, SCEP_TYPE_PKCS_REQ, "shadow");
	ask.recipient = fx.next;
	fx_ask(&fx, &ask, &a);
	CU_ASSERT(granted(&a));
	if (!granted(&a) || x509_facts_get(a.reply.cert, &facts, NULL) < 0)
		return;
	CU_ASSERT_EQUAL(facts.nb_sec, FX_NOW + 30 * FX_DAY); /* valid from the switch on */
	CU_ASSERT_EQUAL(facts.na_sec, FX_NOW + (30 + 365) * FX_DAY);
	CU_ASSERT_EQUAL(x509_check_issued(a.reply.cert, fx.next, facts.nb_sec, NULL), 0);
	CU_ASSERT_EQUAL(x509_check_issued(a.reply.cert, fx.ca, FX_NOW, NULL), -EKEYREJECTED);
	CU_ASSERT_EQUAL(a.reply.signer, 1); /* signed by the CA that was addressed */
}

static void after_the_switch(void)
{
	AUTO(router) struct fx_router r = { .csr = BUF_EMPTY };
	AUTO(router) struct fx_router late = { .csr = BUF_EMPTY };
	AUTO(buf) struct buf content = BUF_EMPTY;
	AUTO_ANSWER before = { 0 };
	AUTO_ANSWER poll_old = { 0 };
	AUTO_ANSWER new_old = { 0 };
	struct fx_ask ask, poll;

	view(CAR_GRANT_MANUAL, true, true);
	CU_ASSERT_EQUAL(fx_router_make(&r, "CN=across", NULL), 0);
	CU_ASSERT_EQUAL(fx_router_make(&late, "CN=late", NULL), 0);
	ask = fx_enrol(&fx, &r, "across");
	poll = poll_for(&ask, X509_get_subject_name(r.self), &content);
	fx_ask(&fx, &ask, &before);
	CU_ASSERT(answered(&before, SCEP_STATUS_PENDING));
	CU_ASSERT_EQUAL(fx_view(&fx, CAR_GRANT_AUTO, true, true, true), 0);
	fx_ask(&fx, &poll, &poll_old);
	CU_ASSERT(answered(&poll_old, SCEP_STATUS_PENDING)); /* the previous key still answers polls */
	ask = fx_enrol(&fx, &late, "late");
	fx_ask(&fx, &ask, &new_old);
	CU_ASSERT(failed(&new_old, SCEP_FAIL_BAD_REQUEST)); /* and issues nothing */
}

/* A shadow request that an operator grants after the switch: the CA that it was addressed to is the active one now. */
static void shadow_across_the_switch(void)
{
	AUTO(router) struct fx_router old = { .csr = BUF_EMPTY };
	AUTO(router) struct fx_router fresh = { .csr = BUF_EMPTY };
	AUTO(x509) X509 *cert = enrolled(&old, "CN=shadow waits", "shadow waits");
	AUTO(buf) struct buf content = BUF_EMPTY;
	AUTO_ANSWER before = { 0 };
	AUTO_ANSWER waiting = { 0 };
	AUTO_ANSWER collected = { 0 };
	struct x509_facts facts;
	struct fx_ask ask, poll;

	if (!cert)
		return;
	CU_ASSERT_EQUAL(fx_router_make(&fresh, "CN=shadow waits", NULL), 0);
	view(CAR_GRANT_MANUAL, false, true);
	ask = fx_renew(&fx, &fresh, cert, old.key, SCEP_TYPE_RENEWAL_REQ, "shadow across");
	ask.recipient = fx.next;
	poll = poll_for(&ask, X509_get_subject_name(cert), &content);
	fx_ask(&fx, &ask, &before);
	CU_ASSERT(answered(&before, SCEP_STATUS_PENDING));
	CU_ASSERT_EQUAL(fx_view(&fx, CAR_GRANT_MANUAL, false, true, true), 0);
	fx.now_sec = FX_NOW + 30 * FX_DAY + 60; /* and the router's old certificate has ended with the old CA */
	fx_ask(&fx, &poll, &waiting);
	CU_ASSERT(answered(&waiting, SCEP_STATUS_PENDING));
	CU_ASSERT_EQUAL(service_grant(fx.service, pending_id("shadow across"), "uid 0", NULL), 0);
	fx_ask(&fx, &poll, &collected);
	CU_ASSERT(granted(&collected));
	if (!granted(&collected) || x509_facts_get(collected.reply.cert, &facts, NULL) < 0)
		return;
	CU_ASSERT_EQUAL(facts.nb_sec, fx.now_sec);
	CU_ASSERT_EQUAL(x509_check_issued(collected.reply.cert, fx.next, fx.now_sec, NULL), 0);
	CU_ASSERT_EQUAL(collected.reply.signer, 1);
	fx.now_sec = FX_NOW;
}

/* What pkictl ca grant is told. */
static void grants_refused(void)
{
	AUTO(router) struct fx_router r = { .csr = BUF_EMPTY };
	AUTO(router) struct fx_router shadow = { .csr = BUF_EMPTY };
	AUTO_ANSWER a = { 0 };
	AUTO_ANSWER b = { 0 };
	struct fx_ask ask;
	int64_t id, next_id;

	view(CAR_GRANT_MANUAL, false, true);
	CU_ASSERT_EQUAL(fx_router_make(&r, "CN=too late", NULL), 0);
	CU_ASSERT_EQUAL(fx_router_make(&shadow, "CN=in time", NULL), 0);
	ask = fx_enrol(&fx, &r, "too late");
	fx_ask(&fx, &ask, &a);
	ask = fx_enrol(&fx, &shadow, "in time");
	ask.recipient = fx.next;
	fx_ask(&fx, &ask, &b);
	CU_ASSERT(answered(&a, SCEP_STATUS_PENDING) && answered(&b, SCEP_STATUS_PENDING));
	id = pending_id("too late");
	next_id = pending_id("in time");
	fx.trusted = false;
	CU_ASSERT_EQUAL(service_grant(fx.service, id, "uid 0", NULL), -ETIME);
	fx.trusted = true;
	CU_ASSERT_EQUAL(service_grant(fx.service, 4711, "uid 0", NULL), -ENOENT);
	fx.now_sec = FX_NOW + 30 * FX_DAY; /* the CA has ended, the calendar has not switched yet */
	CU_ASSERT_EQUAL(service_grant(fx.service, id, "uid 0", NULL), -ESTALE);
	CU_ASSERT_EQUAL(fx_view(&fx, CAR_GRANT_MANUAL, false, true, true), 0);
	CU_ASSERT_EQUAL(service_grant(fx.service, id, "uid 0", NULL), -ESTALE);
	CU_ASSERT_EQUAL(service_grant(fx.service, next_id, "uid 0", NULL), 0);
	CU_ASSERT_EQUAL(service_grant(fx.service, next_id, "uid 0", NULL), -EINVAL);
	fx.now_sec = FX_NOW;
}

/* ---- queries ---- */

static void queries(void)
{
	AUTO(router) struct fx_router r = { .csr = BUF_EMPTY };
	AUTO(x509) X509 *cert = enrolled(&r, "CN=queried", "queried");
	AUTO(asn1_int) ASN1_INTEGER *unknown = ASN1_INTEGER_new();
	AUTO(buf) struct buf content = BUF_EMPTY;
	AUTO(buf) struct buf nobody = BUF_EMPTY;
	AUTO_ANSWER a = { 0 };
	AUTO_ANSWER b = { 0 };
	AUTO_ANSWER c = { 0 };
	struct fx_ask ask;

	if (!cert || ASN1_INTEGER_set(unknown, 4711) != 1)
		return;
	CU_ASSERT_EQUAL(scep_issuer_and_serial_build(X509_get_subject_name(fx.ca), X509_get0_serialNumber(cert), &content), 0);
	CU_ASSERT_EQUAL(scep_issuer_and_serial_build(X509_get_subject_name(fx.ca), unknown, &nobody), 0);
	ask = fx_renew(&fx, &r, cert, r.key, SCEP_TYPE_GET_CERT, "get cert");
	ask.content = content.data;
	ask.content_len = content.len;
	ask.subject_key = NULL;
	fx_ask(&fx, &ask, &a);
	CU_ASSERT(granted(&a) && X509_cmp(a.reply.cert, cert) == 0);
	ask.type = SCEP_TYPE_GET_CRL;
	fx_ask(&fx, &ask, &b);
	CU_ASSERT(answered(&b, SCEP_STATUS_SUCCESS));
	CU_ASSERT(b.reply.crl && X509_CRL_verify(b.reply.crl, X509_get0_pubkey(fx.ca)) == 1);
	ask.type = SCEP_TYPE_GET_CERT;
	ask.content = nobody.data;
	ask.content_len = nobody.len;
	fx_ask(&fx, &ask, &c);
	CU_ASSERT(failed(&c, SCEP_FAIL_BAD_CERT_ID));
}

static int get(enum http_op op, const char *message, struct buf *ret)
{
	struct http_request request = { .op = op, .message = message, .body = BUF_EMPTY, .address = "192.0.2.1" };
	struct http_reply reply = { .body = BUF_EMPTY };

	service_handle(fx.service, &request, &reply);
	buf_clear(ret);
	buf_take(ret, &reply.body);
	return reply.status;
}

static void statics(void)
{
	AUTO(buf) struct buf body = BUF_EMPTY;
	AUTO(x509) X509 *next = NULL;
	char name[ISSUE_CRL_NAME_BYTES];
	struct x509_facts facts;

	view(CAR_GRANT_AUTO, false, false);
	CU_ASSERT_EQUAL(get(HTTP_OP_GET_CA_CAPS, "", &body), 200);
	CU_ASSERT_EQUAL(scep_caps_parse(body.data, body.len) & (SCEP_CAP_GET_NEXT_CA_CERT | SCEP_CAP_SHA384 | SCEP_CAP_STANDARD),
			SCEP_CAP_SHA384 | SCEP_CAP_STANDARD);
	CU_ASSERT_EQUAL(get(HTTP_OP_GET_NEXT_CA_CERT, "", &body), 404);
	view(CAR_GRANT_AUTO, false, true);
	CU_ASSERT_EQUAL(get(HTTP_OP_GET_CA_CAPS, "", &body), 200);
	CU_ASSERT(scep_caps_parse(body.data, body.len) & SCEP_CAP_GET_NEXT_CA_CERT);
	CU_ASSERT_EQUAL(get(HTTP_OP_GET_NEXT_CA_CERT, "", &body), 200);
	CU_ASSERT_EQUAL(scep_next_ca_open(body.data, body.len, fx.ca, &scep_policy_default, &next, NULL), 0);
	CU_ASSERT(next && X509_cmp(next, fx.next) == 0);
	CU_ASSERT_EQUAL(x509_facts_get(fx.ca, &facts, NULL), 0);
	issue_crl_name(facts.spki_sha256, name);
	CU_ASSERT_EQUAL(get(HTTP_OP_CRL, name, &body), 200);
	CU_ASSERT_EQUAL(get(HTTP_OP_CRL, "", &body), 200); /* operation=GetCRL: the active key's */
	CU_ASSERT_EQUAL(get(HTTP_OP_CRL, "0000000000000000.crl", &body), 404);
}

static void untrusted(void)
{
	AUTO(router) struct fx_router r = { .csr = BUF_EMPTY };
	AUTO(buf) struct buf body = BUF_EMPTY;
	AUTO_ANSWER a = { 0 };
	AUTO_ANSWER b = { 0 };
	struct fx_ask ask;

	view(CAR_GRANT_AUTO, false, false);
	CU_ASSERT_EQUAL(fx_router_make(&r, "CN=no clock", NULL), 0);
	ask = fx_enrol(&fx, &r, "no clock");
	fx.trusted = false;
	fx_ask(&fx, &ask, &a);
	CU_ASSERT_EQUAL(a.http, 503);
	CU_ASSERT_EQUAL(get(HTTP_OP_GET_CA_CERT, "", &body), 200);
	fx.trusted = true;
	fx_ask(&fx, &ask, &b);
	CU_ASSERT(granted(&b));
}

/* ---- a signer that hangs ---- */

/* The fixture's signer is this process's only child. */
static pid_t signer_pid(void)
{
	char path[64];
	int pid = -1;
	FILE *f;

	(void) snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int) getpid());
	f = fopen(path, "re");
	if (!f)
		return -1;
	if (fscanf(f, "%d", &pid) != 1)
		pid = -1;
	(void) fclose(f);
	return pid;
}

static void signer_hangs(void)
{
	AUTO(router) struct fx_router r = { .csr = BUF_EMPTY };
	AUTO(router) struct fx_router waits = { .csr = BUF_EMPTY };
	AUTO(buf) struct buf content = BUF_EMPTY;
	AUTO_ANSWER pending = { 0 };
	AUTO_ANSWER envelope = { 0 };
	AUTO_ANSWER collected = { 0 };
	AUTO_ANSWER after = { 0 };
	struct fx_ask ask, first, poll;
	pid_t pid = signer_pid();

	CU_ASSERT(pid > 0);
	CU_ASSERT_EQUAL(fx_router_make(&r, "CN=patient", NULL), 0);
	CU_ASSERT_EQUAL(fx_router_make(&waits, "CN=granted to", NULL), 0);
	view(CAR_GRANT_MANUAL, true, false);
	first = fx_enrol(&fx, &waits, "granted to");
	poll = poll_for(&first, X509_get_subject_name(waits.self), &content);
	fx_ask(&fx, &first, &pending);
	CU_ASSERT(answered(&pending, SCEP_STATUS_PENDING));
	CU_ASSERT_EQUAL(service_grant(fx.service, pending_id("granted to"), "uid 0", NULL), 0);
	view(CAR_GRANT_AUTO, false, false);
	ask = fx_enrol(&fx, &r, "patient");
	if (pid <= 0 || kill(pid, SIGSTOP) < 0) {
		CU_FAIL("the signer cannot be stopped");
		return;
	}
	fx_ask(&fx, &ask, &envelope); /* the envelope is good, only nobody opens it: never the client's fault */
	fx_ask(&fx, &poll, &collected);
	CU_ASSERT_EQUAL(kill(pid, SIGCONT), 0);
	CU_ASSERT_EQUAL(envelope.http, 503);
	CU_ASSERT_EQUAL(collected.http, 503);
	fx_ask(&fx, &ask, &after);
	CU_ASSERT(granted(&after));
	fx_answer_clear(&collected);
	fx_ask(&fx, &poll, &collected); /* the grant has waited */
	CU_ASSERT(granted(&collected));
}

/* ---- after a crash ---- */

/* The intent as service_issue writes it, and then nothing: the power went. */
static int intent_leave(const struct fx_router *r, struct db_cert *c, struct db_request *request)
{
	AUTO(req) X509_REQ *csr = NULL;
	const unsigned char *p = r->csr.data;
	struct issue_leaf leaf = { .ca = fx.ca, .serial = c->serial, .nb_sec = FX_NOW, .na_sec = FX_NOW + FX_DAY, .hash = SCEP_DIGEST_SHA384 };
	struct x509_facts ca;

	csr = d2i_X509_REQ(NULL, &p, (long) r->csr.len);
	if (!csr || x509_facts_get(fx.ca, &ca, NULL) < 0 || issue_serial(1, c->serial, NULL) < 0)
		return -1;
	leaf.csr = csr;
	(void) snprintf(request->issuer_spki, sizeof(request->issuer_spki), "%s", ca.spki_sha256);
	(void) snprintf(c->issuer_spki, sizeof(c->issuer_spki), "%s", ca.spki_sha256);
	(void) snprintf(request->transaction_id, sizeof(request->transaction_id), "crashed");
	sha256_hex(r->csr.data, r->csr.len, request->csr_sha256);
	if (spki_sha256(r->key, c->spki, NULL) < 0)
		return -1;
	(void) snprintf(request->signer, sizeof(request->signer), "self:%s", c->spki);
	(void) snprintf(request->subject, sizeof(request->subject), "CN=crashed");
	(void) snprintf(c->subject, sizeof(c->subject), "CN=crashed");
	c->nb_sec = leaf.nb_sec;
	c->na_sec = leaf.na_sec;
	if (buf_set(&request->csr, r->csr.data, r->csr.len) < 0 || x509_to_der(r->self, &request->signer_cert, NULL) < 0 ||
	    issue_leaf_tbs(&leaf, &c->tbs, NULL) < 0)
		return -1;
	return db_intent(fx.db, request, c, FX_NOW, "scep 192.0.2.1", NULL);
}

static void crash_finished(void)
{
	AUTO(router) struct fx_router r = { .csr = BUF_EMPTY };
	AUTO(db_cert) struct db_cert left = { 0 };
	AUTO(db_cert) struct db_cert stored = { 0 };
	AUTO(db_request) struct db_request request = { 0 };
	AUTO(der) unsigned char *tbs = NULL;
	AUTO_ANSWER a = { 0 };
	struct fx_ask ask;
	unsigned done = 0, unsigned_left = 0;
	int n;

	view(CAR_GRANT_MANUAL, false, false);
	CU_ASSERT_EQUAL(fx_router_make(&r, "CN=crashed", NULL), 0);
	CU_ASSERT_EQUAL(intent_leave(&r, &left, &request), 0);
	CU_ASSERT_EQUAL(service_finish(fx.service, &done, &unsigned_left, NULL), 0);
	CU_ASSERT_EQUAL(done, 1);
	CU_ASSERT_EQUAL(unsigned_left, 0);
	CU_ASSERT_EQUAL(db_cert_get(fx.db, left.issuer_spki, left.serial, &stored, NULL), 0);
	CU_ASSERT(stored.der.len > 0);
	ask = fx_enrol(&fx, &r, "crashed"); /* the client comes again: no operator is asked */
	fx_ask(&fx, &ask, &a);
	CU_ASSERT(granted(&a));
	if (!granted(&a))
		return;
	CU_ASSERT_EQUAL(x509_check_issued(a.reply.cert, fx.ca, FX_NOW, NULL), 0);
	n = i2d_re_X509_tbs(a.reply.cert, &tbs);
	CU_ASSERT(n > 0 && (size_t) n == left.tbs.len && memcmp(tbs, left.tbs.data, left.tbs.len) == 0); /* what was recorded, to the byte */
}

/* ---- the signer itself, past the service */

static int key_decrypts(int padding, const struct buf *cipher)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, fx.ca_key, NULL);
	unsigned char plain[512];
	size_t len = sizeof(plain);
	unsigned version = 0x0303;
	OSSL_PARAM params[] = { OSSL_PARAM_construct_uint(OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION, &version), OSSL_PARAM_construct_end() };
	int ok = ctx && EVP_PKEY_decrypt_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, padding) == 1 &&
		 (padding != RSA_PKCS1_WITH_TLS_PADDING || EVP_PKEY_CTX_set_params(ctx, params) == 1) &&
		 EVP_PKEY_decrypt(ctx, plain, &len, cipher->data, cipher->len) == 1;

	if (padding == RSA_PKCS1_WITH_TLS_PADDING && ok)
		CU_ASSERT_EQUAL(len, 48);
	return ok;
}

static int encrypted(int padding, struct buf *ret)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, fx.ca_key, NULL);
	static const unsigned char text[48] = { 3, 3 };
	unsigned char cipher[512];
	size_t len = sizeof(cipher);

	return ctx && EVP_PKEY_encrypt_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, padding) == 1 &&
	       EVP_PKEY_encrypt(ctx, cipher, &len, text, sizeof(text)) == 1 && buf_set(ret, cipher, len) == 0;
}

/* What SCEP needs and no more: a key that also opens other paddings is one more thing to be asked. */
static void signer_decrypts(void)
{
	static const struct { const char *why; int encrypt, decrypt, want; const char *says; } rows[] = {
		{ "PKCS#1 v1.5", RSA_PKCS1_PADDING, RSA_PKCS1_PADDING, 1, NULL },
		{ "OAEP", RSA_PKCS1_OAEP_PADDING, RSA_PKCS1_OAEP_PADDING, 0, "only PKCS#1 v1.5 is decrypted here" },
		{ "a premaster secret", RSA_PKCS1_PADDING, RSA_PKCS1_WITH_TLS_PADDING, 0, "only PKCS#1 v1.5 is decrypted here" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(buf) struct buf cipher = BUF_EMPTY;
		const char *text = "";
		int got;

		CU_ASSERT(encrypted(rows[i].encrypt, &cipher));
		got = key_decrypts(rows[i].decrypt, &cipher);
		if (got == 0)
			(void) ERR_peek_error_all(NULL, NULL, NULL, &text, NULL); /* the text is what is wanted */
		if (got != rows[i].want || (rows[i].says && !strstr(text, rows[i].says)))
			(void) fprintf(stderr, "%s: %d (%s)\n", rows[i].why, got, text);
		CU_ASSERT_EQUAL(got, rows[i].want);
		CU_ASSERT(!rows[i].says || strstr(text, rows[i].says) != NULL);
		ERR_clear_error();
	}
}

static void signer_signs_no_digest(void)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, fx.ca_key, NULL);
	static const unsigned char digest[32] = { 1 };
	unsigned char sig[512];
	size_t len = sizeof(sig);
	const char *text = "";

	CU_ASSERT_EQUAL(EVP_PKEY_sign_init(ctx), 1);
	CU_ASSERT_EQUAL(EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()), 1);
	CU_ASSERT_NOT_EQUAL(EVP_PKEY_sign(ctx, sig, &len, digest, sizeof(digest)), 1);
	(void) ERR_peek_error_all(NULL, NULL, NULL, &text, NULL); /* as above */
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "a digest alone is not signed here"));
	ERR_clear_error();
}

static CU_TestInfo tests[] = {
	{ "Grant=auto issues at once, and the same for the same request", enrol_auto },
	{ "a transactionID with another CSR is another request", id_reused },
	{ "pending, granted, collected, collected again", pending_grant_poll },
	{ "rejected stays rejected, and polls need the same signer", rejected },
	{ "Grant=none refuses", grant_none },
	{ "renewals by type 17 and 19", renewal },
	{ "renewals by ended, revoked and no certificate", renewal_twins },
	{ "a forged signer is refused", forged_signer },
	{ "keys of others are refused", other_keys },
	{ "the CA's own name is issued to nobody", own_name },
	{ "an unknown recipient is badRequest", wrong_recipient },
	{ "what fails inside the envelope is answered all the same", sealed_all_the_same },
	{ "rubbish is HTTP 400 with nothing in it", malformed },
	{ "a request to the rollover CA is issued by it, from the switch on", rollover },
	{ "the previous CA answers polls and issues nothing", after_the_switch },
	{ "a shadow request granted after the switch gets the new CA's certificate", shadow_across_the_switch },
	{ "a grant that cannot come true is refused with its reason", grants_refused },
	{ "GetCert and GetCRL", queries },
	{ "GetCACaps, GetNextCACert and the CRL's path", statics },
	{ "an untrusted clock signs nothing and serves the rest", untrusted },
	{ "the signer decrypts what SCEP needs and no other padding", signer_decrypts },
	{ "the signer signs no digest alone", signer_signs_no_digest },
	{ "a signer that hangs is 503, and nothing is lost", signer_hangs },
	{ "an intent that a crash left is finished as recorded", crash_finished },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = {
	{ "the SCEP service", suite_init, suite_clean, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

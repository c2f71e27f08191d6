/* Every operation there and back, with every algorithm that may be sent. */
#include <errno.h>
#include <string.h>

#include "tests/scep_fixture.h"
#include "tests/test_main.h"

static struct fixture fx;

static int up(void)
{
	return fixture_init(&fx);
}

static int down(void)
{
	fixture_clear(&fx);
	return 0;
}

static int request_pass(const struct scep_request_in *in, const struct scep_policy *policy, struct scep_request *ret)
{
	AUTO(buf) struct buf der = BUF_EMPTY;
	struct err e = { 0 };
	int r = scep_request_build(in, &der, &e);

	if (r == 0)
		r = scep_request_open(der.data, der.len, fx.identities, 2, policy, FX_NOW, ret, &e);
	if (r < 0)
		printf("    %s\n", e.text);
	return r;
}

static void request_comes_back_whole(void)
{
	struct scep_request r = { 0 };

	CU_ASSERT_EQUAL(request_pass(&fx.request, &scep_policy_default, &r), 0);
	CU_ASSERT_EQUAL(r.stage, SCEP_OPEN_DONE);
	CU_ASSERT_EQUAL(r.type, SCEP_TYPE_PKCS_REQ);
	CU_ASSERT_STRING_EQUAL(r.transaction_id, fx.request.transaction_id);
	CU_ASSERT_EQUAL(r.sender_nonce_len, SCEP_NONCE_BYTES);
	CU_ASSERT_EQUAL(memcmp(r.sender_nonce, fx.nonce, SCEP_NONCE_BYTES), 0);
	CU_ASSERT_EQUAL(r.recipient, 0);
	CU_ASSERT_TRUE(r.signer_self_signed);
	CU_ASSERT_EQUAL(r.signer ? X509_cmp(r.signer, fx.self_signed) : -1, 0);
	CU_ASSERT_PTR_NOT_NULL(r.csr);
	CU_ASSERT_EQUAL(r.csr_der.len, fx.csr.len);
	CU_ASSERT_EQUAL(strlen(r.csr_sha256), 64);
	CU_ASSERT_EQUAL(r.challenge.len, strlen("open sesame"));
	CU_ASSERT_TRUE(r.challenge.secret);
	CU_ASSERT_EQUAL(r.challenge.len ? memcmp(r.challenge.data, "open sesame", 11) : -1, 0);
	scep_request_clear(&r);
}

static void every_allowed_algorithm_is_mirrored(void)
{
	struct scep_request_in in = fx.request;
	unsigned c, d;

	for (c = 0; c < SCEP_CIPHER_N_; c++)
		for (d = 0; d < SCEP_DIGEST_MD5; d++) {
			struct scep_request r = { 0 };

			in.algs = (struct scep_algs){ (enum scep_cipher) c, (enum scep_digest) d };
			CU_ASSERT_EQUAL(request_pass(&in, &scep_policy_legacy, &r), 0);
			CU_ASSERT_EQUAL(r.algs.cipher, c);
			CU_ASSERT_EQUAL(r.algs.digest, d);
			scep_request_clear(&r);
		}
}

static void renewal_to_the_next_ca_names_it(void)
{
	struct scep_request_in in = fx.request;
	struct scep_request r = { 0 };

	in.type = SCEP_TYPE_RENEWAL_REQ;
	in.signer = fx.client;
	in.signer_key = fx.client_key;
	in.recipient = fx.next;
	in.signing_time_sec = FX_NOW;
	CU_ASSERT_EQUAL(request_pass(&in, &scep_policy_default, &r), 0);
	CU_ASSERT_EQUAL(r.type, SCEP_TYPE_RENEWAL_REQ);
	CU_ASSERT_EQUAL(r.recipient, 1);
	CU_ASSERT_FALSE(r.signer_self_signed);
	scep_request_clear(&r);
}

static void poll_and_queries_come_back(void)
{
	AUTO(buf) struct buf poll = BUF_EMPTY;
	AUTO(buf) struct buf query = BUF_EMPTY;
	struct scep_request_in in = fx.request;
	enum scep_type queries[] = { SCEP_TYPE_GET_CERT, SCEP_TYPE_GET_CRL };
	struct scep_request r = { 0 };
	size_t i;

	CU_ASSERT_EQUAL(scep_issuer_and_subject_build(X509_get_subject_name(fx.ca), fx.subject, &poll), 0);
	CU_ASSERT_EQUAL(scep_issuer_and_serial_build(X509_get_subject_name(fx.ca), X509_get0_serialNumber(fx.client), &query), 0);
	in.type = SCEP_TYPE_CERT_POLL;
	in.content = poll.data;
	in.content_len = poll.len;
	CU_ASSERT_EQUAL(request_pass(&in, &scep_policy_default, &r), 0);
	CU_ASSERT_EQUAL(r.poll_subject ? X509_NAME_cmp(r.poll_subject, fx.subject) : -1, 0);
	CU_ASSERT_EQUAL(r.poll_issuer ? X509_NAME_cmp(r.poll_issuer, X509_get_subject_name(fx.ca)) : -1, 0);
	scep_request_clear(&r);
	in.content = query.data;
	in.content_len = query.len;
	for (i = 0; i < 2; i++) {
		in.type = queries[i];
		CU_ASSERT_EQUAL(request_pass(&in, &scep_policy_default, &r), 0);
		CU_ASSERT_EQUAL(r.query_serial ? ASN1_INTEGER_cmp(r.query_serial, X509_get0_serialNumber(fx.client)) : -1, 0);
		CU_ASSERT_EQUAL(r.query_issuer ? X509_NAME_cmp(r.query_issuer, X509_get_subject_name(fx.ca)) : -1, 0);
		scep_request_clear(&r);
	}
}

static int reply_pass(const struct scep_reply_in *in, const struct scep_reply_want *want, struct scep_reply *ret)
{
	AUTO(buf) struct buf der = BUF_EMPTY;
	struct err e = { 0 };
	int r = scep_reply_build(in, &der, &e);

	if (r == 0)
		r = scep_reply_open(der.data, der.len, want, FX_NOW, ret, &e);
	if (r < 0)
		printf("    %s\n", e.text);
	return r;
}

static void success_brings_the_certificate(void)
{
	X509 *certs[] = { fx.fresh, fx.ca, fx.next };
	struct scep_reply_in in = fx.reply;
	struct scep_reply r = { 0 };
	unsigned c;

	in.certs = certs;
	in.n_certs = 3;
	fx.want.policy = &scep_policy_legacy;
	for (c = 0; c < SCEP_CIPHER_N_; c++) {
		in.algs.cipher = (enum scep_cipher) c;
		CU_ASSERT_EQUAL(reply_pass(&in, &fx.want, &r), 0);
		CU_ASSERT_EQUAL(r.status, SCEP_STATUS_SUCCESS);
		CU_ASSERT_EQUAL(r.cert ? X509_cmp(r.cert, fx.fresh) : -1, 0);
		CU_ASSERT_EQUAL(sk_X509_num(r.others), 2);
		CU_ASSERT_EQUAL(sk_X509_num(r.others) == 2 ? X509_cmp(sk_X509_value(r.others, 0), fx.ca) : -1, 0);
		CU_ASSERT_EQUAL(r.signer, 0);
		scep_reply_clear(&r);
	}
	fx.want.policy = &scep_policy_default;
}

static void shadow_reply_may_be_signed_by_the_next_ca(void)
{
	struct scep_reply_in in = fx.reply;
	struct scep_reply r = { 0 };

	in.signer = fx.next;
	in.signer_key = fx.next_key;
	CU_ASSERT_EQUAL(reply_pass(&in, &fx.want, &r), 0);
	CU_ASSERT_EQUAL(r.signer, 1);
	scep_reply_clear(&r);
}

static void pending_and_every_failure_come_back(void)
{
	struct scep_reply_in in = fx.reply;
	struct scep_reply r = { 0 };
	unsigned f;

	in.status = SCEP_STATUS_PENDING;
	CU_ASSERT_EQUAL(reply_pass(&in, &fx.want, &r), 0);
	CU_ASSERT_EQUAL(r.status, SCEP_STATUS_PENDING);
	scep_reply_clear(&r);
	in.status = SCEP_STATUS_FAILURE;
	in.fail_text = "no such thing";
	for (f = 0; f < SCEP_FAIL_N_; f++) {
		in.fail = (enum scep_fail) f;
		CU_ASSERT_EQUAL(reply_pass(&in, &fx.want, &r), 0);
		CU_ASSERT_EQUAL(r.status, SCEP_STATUS_FAILURE);
		CU_ASSERT_EQUAL(r.fail, f);
		CU_ASSERT_STRING_EQUAL(r.fail_text, "no such thing");
		scep_reply_clear(&r);
	}
}

static void crl_comes_back(void)
{
	struct scep_reply_want want = fx.want;
	struct scep_reply_in in = fx.reply;
	struct scep_reply r = { 0 };

	in.certs = NULL;
	in.n_certs = 0;
	in.crl = fx.crl;
	want.want_crl = true;
	want.subject_key = NULL;
	CU_ASSERT_EQUAL(reply_pass(&in, &want, &r), 0);
	CU_ASSERT_EQUAL(r.crl ? X509_CRL_cmp(r.crl, fx.crl) : -1, 0);
	CU_ASSERT_PTR_NULL(r.cert);
	scep_reply_clear(&r);
}

static void next_ca_comes_back(void)
{
	AUTO(buf) struct buf body = BUF_EMPTY;
	AUTO(x509) X509 *next = NULL;
	struct err e = { 0 };

	CU_ASSERT_EQUAL(scep_next_ca_build(&fx.next, 1, fx.ca, fx.ca_key, &body, &e), 0);
	CU_ASSERT_EQUAL(scep_next_ca_open(body.data, body.len, fx.ca, &scep_policy_default, &next, &e), 0);
	CU_ASSERT_EQUAL(next ? X509_cmp(next, fx.next) : -1, 0);
	if (e.code)
		printf("    %s\n", e.text);
}

static void ca_comes_back_alone_and_in_company(void)
{
	AUTO(buf) struct buf body = BUF_EMPTY;
	X509 *both[] = { fx.client, fx.ca };
	struct scep_ca ca;
	struct x509_facts facts;
	struct err e = { 0 };

	CU_ASSERT_EQUAL(x509_facts_get(fx.ca, &facts, &e), 0);
	CU_ASSERT_EQUAL(scep_ca_build(&fx.ca, 1, &body, &e), 0);
	CU_ASSERT_EQUAL(scep_ca_open(body.data, body.len, facts.sha256, FX_NOW, &ca, &e), 0);
	CU_ASSERT_EQUAL(ca.ca ? X509_cmp(ca.ca, fx.ca) : -1, 0);
	CU_ASSERT_PTR_EQUAL(ca.encrypt, ca.ca);
	scep_ca_clear(&ca);
	CU_ASSERT_EQUAL(scep_ca_build(both, 2, &body, &e), 0);
	CU_ASSERT_EQUAL(scep_ca_open(body.data, body.len, facts.sha256, FX_NOW, &ca, &e), 0);
	CU_ASSERT_EQUAL(ca.encrypt ? X509_cmp(ca.encrypt, fx.client) : -1, 0);
	CU_ASSERT_EQUAL(ca.all ? X509_cmp(sk_X509_value(ca.all, 0), fx.client) : -1, 0); /* the order that went in */
	scep_ca_clear(&ca);
	if (e.code)
		printf("    %s\n", e.text);
}

static CU_TestInfo tests[] = {
	{ "a request comes back whole", request_comes_back_whole },
	{ "every allowed algorithm is mirrored", every_allowed_algorithm_is_mirrored },
	{ "a renewal to the next CA names it", renewal_to_the_next_ca_names_it },
	{ "poll and queries come back", poll_and_queries_come_back },
	{ "SUCCESS brings the certificate", success_brings_the_certificate },
	{ "a shadow's reply may be signed by the next CA", shadow_reply_may_be_signed_by_the_next_ca },
	{ "PENDING and every FAILURE come back", pending_and_every_failure_come_back },
	{ "a CRL comes back", crl_comes_back },
	{ "the next CA comes back", next_ca_comes_back },
	{ "the CA comes back alone and in company", ca_comes_back_alone_and_in_company },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "SCEP there and back", up, down, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

/* Opening a reply, and what GetCACert and GetNextCACert bring: from one good message, exactly one thing is broken. */
#include <errno.h>
#include <openssl/cms.h>
#include <stdio.h>
#include <string.h>

#include "scep/scep_oid.h"
#include "tests/scep_edit.h"
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

static void refused(const char *why, const struct buf *der, const struct scep_reply_want *want, int code, const char *words)
{
	struct scep_reply r = { 0 };
	struct err e = { 0 };
	int rc = scep_reply_open(der->data, der->len, want, FX_NOW, &r, &e);
	bool same = rc == code && (!words || strstr(e.text, words)) && !r.cert && !r.crl && !r.others;

	if (!same)
		printf("\n    %s: %d \"%s\", wanted %d \"%s\"\n", why, rc, e.text, code, words ? words : "");
	CU_ASSERT_TRUE(same);
	scep_reply_clear(&r);
}

static void refused_in(const char *why, const struct scep_reply_in *in, const struct scep_reply_want *want, int code, const char *words)
{
	AUTO(buf) struct buf der = BUF_EMPTY;

	CU_ASSERT_EQUAL(scep_reply_build(in, &der, NULL), 0);
	refused(why, &der, want, code, words);
}

static void recipient_nonce_must_be_ours(void)
{
	struct scep_reply_in in = fx.reply;
	uint8_t nonce[LIMIT_NONCE_BYTES];

	memcpy(nonce, fx.nonce, SCEP_NONCE_BYTES);
	in.recipient_nonce = nonce;
	nonce[SCEP_NONCE_BYTES - 1] ^= 1;
	refused_in("last bit", &in, &fx.want, -EKEYREJECTED, "recipientNonce");
	memcpy(nonce, fx.nonce, SCEP_NONCE_BYTES);
	in.recipient_nonce_len = SCEP_NONCE_BYTES - 1;
	refused_in("15 bytes", &in, &fx.want, -EKEYREJECTED, "recipientNonce");
	in.recipient_nonce_len = SCEP_NONCE_BYTES + 1;
	refused_in("17 bytes", &in, &fx.want, -EKEYREJECTED, "recipientNonce");
	in.status = SCEP_STATUS_PENDING;
	refused_in("of a PENDING", &in, &fx.want, -EKEYREJECTED, "recipientNonce");
	in.status = SCEP_STATUS_FAILURE;
	refused_in("of a FAILURE", &in, &fx.want, -EKEYREJECTED, "recipientNonce");
}

static void transaction_id_must_be_ours(void)
{
	struct scep_reply_in in = fx.reply;

	in.transaction_id = "0123456789ABCDEf";
	refused_in("case", &in, &fx.want, -EKEYREJECTED, "transactionID");
	in.transaction_id = "0123456789ABCDE";
	refused_in("prefix", &in, &fx.want, -EKEYREJECTED, "transactionID");
}

static void signer_must_be_the_ca(void)
{
	struct scep_reply_in in = fx.reply;
	struct fx_cert c = { .subject = "CN=RootCA,O=Example", .key = fx.client_key, .nb_sec = FX_NOW, .na_sec = FX_NOW + FX_DAY, .is_ca = true,
			     .serial = 1, .version = X509_VERSION_3 };
	AUTO(x509) X509 *twin = fx_cert_make(&c);

	in.signer = fx.client;
	in.signer_key = fx.client_key;
	refused_in("another certificate of the CA", &in, &fx.want, -EKEYREJECTED, "not among");
	in.signer = twin; /* same name, same serial, another key */
	refused_in("a CA of the same name", &in, &fx.want, -EKEYREJECTED, "does not verify");
}

static void certificate_must_be_for_our_key(void)
{
	struct scep_reply_in in = fx.reply;
	X509 *certs[] = { fx.client };

	in.certs = certs;
	refused_in("another key", &in, &fx.want, -EKEYREJECTED, "request's key");
}

static void leaf_is_found_wherever_it_stands(void)
{
	X509 *certs[] = { fx.ca, fx.next, fx.fresh };
	struct scep_reply_in in = fx.reply;
	AUTO(buf) struct buf der = BUF_EMPTY;
	struct scep_reply r = { 0 };

	in.certs = certs;
	in.n_certs = 3;
	CU_ASSERT_EQUAL(scep_reply_build(&in, &der, NULL), 0);
	CU_ASSERT_EQUAL(scep_reply_open(der.data, der.len, &fx.want, FX_NOW, &r, NULL), 0);
	CU_ASSERT_EQUAL(r.cert ? X509_cmp(r.cert, fx.fresh) : -1, 0);
	CU_ASSERT_EQUAL(sk_X509_num(r.others), 2);
	scep_reply_clear(&r);
}

static void envelope_must_be_for_us(void)
{
	struct scep_reply_in in = fx.reply;

	in.recipient = fx.client;
	refused_in("another recipient", &in, &fx.want, -EKEYREJECTED, "another recipient");
}

static void weak_algorithms_are_refused(void)
{
	struct scep_reply_in in = fx.reply;

	in.algs.cipher = SCEP_CIPHER_DES;
	refused_in("DES", &in, &fx.want, -EPROTO, "DES-CBC");
	in.algs.cipher = SCEP_CIPHER_DES3;
	refused_in("3DES", &in, &fx.want, -EPROTO, "DES3-CBC");
	in.algs = (struct scep_algs){ SCEP_CIPHER_AES128, SCEP_DIGEST_SHA1 };
	refused_in("SHA-1", &in, &fx.want, -EPROTO, "SHA-1");
}

static void crl_and_certificate_do_not_stand_in_for_each_other(void)
{
	struct scep_reply_in in = fx.reply;
	struct scep_reply_want want = fx.want;

	want.want_crl = true;
	refused_in("certificate for GetCRL", &in, &want, -EPROTO, "one CRL");
	in.certs = NULL;
	in.n_certs = 0;
	in.crl = fx.crl;
	refused_in("CRL for PKCSReq", &in, &fx.want, -EPROTO, "without a certificate");
}

/* ---- attributes and content of a reply, properly signed ---- */

struct attr {
	int oid;
	uint8_t tag;
	const char *data;
	size_t len;
};
#define TEXT(oid, s) { oid, DER_PRINTABLE, s, sizeof(s) - 1 }
#define NONCE "\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11"

static int reply_with(const struct attr *attrs, size_t n, const void *content, size_t len, struct buf *ret)
{
	AUTO(buf) struct buf list = BUF_EMPTY;
	struct sign_in in = { .content = content, .content_len = len, .attrs = &list, .signer = fx.ca, .key = fx.ca_key };
	size_t i;

	for (i = 0; i < n; i++)
		if (attrs[i].oid && attr_put(&list, attrs[i].oid, attrs[i].tag, attrs[i].data, attrs[i].len) < 0)
			return -1;
	return signed_build(&in, ret, NULL);
}

#define N_BASE 6
static const struct attr base[N_BASE] = {
	TEXT(OID_MESSAGE_TYPE, "3"),
	TEXT(OID_PKI_STATUS, "2"),
	TEXT(OID_FAIL_INFO, "4"),
	TEXT(OID_TRANSACTION_ID, "0123456789ABCDEF"),
	{ OID_RECIPIENT_NONCE, DER_OCTETS, NONCE, 16 },
	{ OID_SENDER_NONCE, DER_OCTETS, NONCE, 16 },
};

static void reply_attributes_must_be_as_the_rfc_has_them(void)
{
	static const struct {
		const char *why;
		unsigned at;
		struct attr attr; /* oid 0: left out */
		int code;
		const char *words;
	} twins[] = {
		{ "good", 0, TEXT(OID_MESSAGE_TYPE, "3"), 0, NULL },
		{ "no messageType", 0, { 0 }, -EBADMSG, "no messageType" },
		{ "messageType 19", 0, TEXT(OID_MESSAGE_TYPE, "19"), -EBADMSG, "without pkcsPKIEnvelope" },
		{ "messageType 03", 0, TEXT(OID_MESSAGE_TYPE, "03"), -EBADMSG, "no messageType" },
		{ "no pkiStatus", 1, { 0 }, -EBADMSG, "no pkiStatus" },
		{ "pkiStatus 1", 1, TEXT(OID_PKI_STATUS, "1"), -EBADMSG, "no pkiStatus" },
		{ "pkiStatus 4", 1, TEXT(OID_PKI_STATUS, "4"), -EBADMSG, "no pkiStatus" },
		{ "pkiStatus as OCTET STRING", 1, { OID_PKI_STATUS, DER_OCTETS, "2", 1 }, -EBADMSG, "of type" },
		{ "SUCCESS without envelope", 1, TEXT(OID_PKI_STATUS, "0"), -EBADMSG, "without an envelope" },
		{ "FAILURE without failInfo", 2, { 0 }, -EBADMSG, "without a failInfo" },
		{ "failInfo 5", 2, TEXT(OID_FAIL_INFO, "5"), -EBADMSG, "without a failInfo" },
		{ "failInfo 44", 2, TEXT(OID_FAIL_INFO, "44"), -EBADMSG, "without a failInfo" },
		{ "no transactionID", 3, { 0 }, -EBADMSG, "no transactionID" },
		{ "no recipientNonce", 4, { 0 }, -EBADMSG, "no recipientNonce" },
		{ "recipientNonce as text", 4, TEXT(OID_RECIPIENT_NONCE, NONCE), -EBADMSG, "of type" },
		{ "no senderNonce", 5, { 0 }, -EBADMSG, "no senderNonce" },
	};
	size_t i;

	for (i = 0; i < sizeof(twins) / sizeof(twins[0]); i++) {
		AUTO(buf) struct buf der = BUF_EMPTY;
		struct attr attrs[N_BASE];

		memcpy(attrs, base, sizeof(base));
		attrs[twins[i].at] = twins[i].attr;
		CU_ASSERT_EQUAL(reply_with(attrs, N_BASE, NULL, 0, &der), 0);
		refused(twins[i].why, &der, &fx.want, twins[i].code, twins[i].words);
	}
}

static void each_reply_attribute_stands_once_in_its_type(void)
{
	size_t i;

	for (i = 0; i < N_BASE; i++) {
		AUTO(buf) struct buf twice = BUF_EMPTY;
		AUTO(buf) struct buf retagged = BUF_EMPTY;
		struct attr attrs[N_BASE + 1];
		char why[32];

		memcpy(attrs, base, sizeof(base));
		attrs[N_BASE] = base[i];
		(void) snprintf(why, sizeof(why), "attribute %zu twice", i); /* fits, as below */
		CU_ASSERT_EQUAL(reply_with(attrs, N_BASE + 1, NULL, 0, &twice), 0);
		refused(why, &twice, &fx.want, -EBADMSG, "twice");
		attrs[i].tag = base[i].tag == DER_OCTETS ? DER_PRINTABLE : DER_OCTETS;
		(void) snprintf(why, sizeof(why), "attribute %zu of another type", i);
		CU_ASSERT_EQUAL(reply_with(attrs, N_BASE, NULL, 0, &retagged), 0);
		refused(why, &retagged, &fx.want, -EBADMSG, "of type");
	}
}

/* The same good envelope under other types: nothing else is wrong with it. */
static void only_a_cert_rep_is_a_reply(void)
{
	static const struct {
		struct attr type;
		int code;
	} rows[] = {
		{ TEXT(OID_MESSAGE_TYPE, "3"), 0 },       { TEXT(OID_MESSAGE_TYPE, "17"), -EPROTO }, { TEXT(OID_MESSAGE_TYPE, "19"), -EPROTO },
		{ TEXT(OID_MESSAGE_TYPE, "20"), -EPROTO }, { TEXT(OID_MESSAGE_TYPE, "21"), -EPROTO }, { TEXT(OID_MESSAGE_TYPE, "22"), -EPROTO },
	};
	AUTO(buf) struct buf good = BUF_EMPTY;
	struct shape_signed s;
	struct der at;
	size_t i;

	CU_ASSERT_EQUAL(scep_reply_build(&fx.reply, &good, NULL), 0);
	at = (struct der){ .at = good.data, .left = good.len };
	CU_ASSERT_EQUAL(shape_message(&at, &s, NULL), 0);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(buf) struct buf der = BUF_EMPTY;
		struct attr attrs[N_BASE];
		struct scep_reply r = { 0 };
		struct err e = { 0 };
		int rc;

		memcpy(attrs, base, sizeof(base));
		attrs[0] = rows[i].type;
		attrs[1] = (struct attr) TEXT(OID_PKI_STATUS, "0");
		attrs[2].oid = 0;
		CU_ASSERT_EQUAL(reply_with(attrs, N_BASE, s.content.at, s.content.left, &der), 0);
		rc = scep_reply_open(der.data, der.len, &fx.want, FX_NOW, &r, &e);
		if (rc != rows[i].code || (rc < 0 && !strstr(e.text, "wanted CertRep")))
			printf("\n    type %s: %d \"%s\"\n", rows[i].type.data, rc, e.text);
		CU_ASSERT_EQUAL(rc, rows[i].code);
		CU_ASSERT_EQUAL(r.cert != NULL, rc == 0);
		CU_ASSERT_TRUE(rc == 0 || strstr(e.text, "wanted CertRep"));
		scep_reply_clear(&r);
	}
}

static void failure_content_is_absent_empty_or_one_byte(void)
{
	AUTO(buf) struct buf der = BUF_EMPTY;
	struct scep_reply r = { 0 };

	CU_ASSERT_EQUAL(reply_with(base, N_BASE, NULL, 0, &der), 0);
	CU_ASSERT_EQUAL(scep_reply_open(der.data, der.len, &fx.want, FX_NOW, &r, NULL), 0);
	CU_ASSERT_EQUAL(r.fail, SCEP_FAIL_BAD_CERT_ID);
	scep_reply_clear(&r);
	CU_ASSERT_EQUAL(edit_at(&der, "1.0.2.1", EDIT_DELETE, NULL, 0, &der), 0); /* the digest of nothing is the same */
	CU_ASSERT_EQUAL(scep_reply_open(der.data, der.len, &fx.want, FX_NOW, &r, NULL), 0);
	scep_reply_clear(&r);
	CU_ASSERT_EQUAL(reply_with(base, N_BASE, "\0", 1, &der), 0); /* NDES */
	CU_ASSERT_EQUAL(scep_reply_open(der.data, der.len, &fx.want, FX_NOW, &r, NULL), 0);
	scep_reply_clear(&r);
	CU_ASSERT_EQUAL(reply_with(base, N_BASE, "\0\0", 2, &der), 0);
	refused("two bytes", &der, &fx.want, -EBADMSG, "not SUCCESS");
}

static void failure_and_pending_omit_the_envelope(void)
{
	enum scep_status status[] = { SCEP_STATUS_FAILURE, SCEP_STATUS_PENDING };
	struct scep_reply_in in = fx.reply;
	struct shape_signed s;
	size_t i;

	for (i = 0; i < 2; i++) {
		AUTO(buf) struct buf der = BUF_EMPTY;
		struct der at;

		in.status = status[i];
		CU_ASSERT_EQUAL(scep_reply_build(&in, &der, NULL), 0);
		at = (struct der){ .at = der.data, .left = der.len };
		CU_ASSERT_EQUAL(shape_message(&at, &s, NULL), 0);
		CU_ASSERT_TRUE(s.content_present);
		CU_ASSERT_EQUAL(s.content.left, 0);
		CU_ASSERT_PTR_NOT_NULL(s.attrs.sender_nonce.at);
		CU_ASSERT_EQUAL(s.attrs.fail.at != NULL, status[i] == SCEP_STATUS_FAILURE);
		CU_ASSERT_PTR_NULL(s.attrs.signing_time.at); /* no clock was read */
	}
}

static void fail_text_is_made_printable(void)
{
	struct attr attrs[N_BASE + 1];
	AUTO(buf) struct buf der = BUF_EMPTY;
	struct scep_reply r = { 0 };

	memcpy(attrs, base, sizeof(base));
	attrs[N_BASE] = (struct attr){ OID_FAIL_INFO_TEXT, DER_UTF8, "a\x1b[31m\n", 7 };
	CU_ASSERT_EQUAL(reply_with(attrs, N_BASE + 1, NULL, 0, &der), 0);
	CU_ASSERT_EQUAL(scep_reply_open(der.data, der.len, &fx.want, FX_NOW, &r, NULL), 0);
	CU_ASSERT_STRING_EQUAL(r.fail_text, "a?[31m?");
	scep_reply_clear(&r);
}

/* ---- GetNextCACert: forged as in the table of the SCEP notes ---- */

static void next_refused(const char *why, const struct buf *body, int code, const char *words)
{
	X509 *next = NULL;
	struct err e = { 0 };
	int rc = scep_next_ca_open(body->data, body->len, fx.ca, &scep_policy_default, &next, &e);
	bool same = rc == code && !next && (!words || strstr(e.text, words));

	if (!same)
		printf("\n    %s: %d \"%s\", wanted %d \"%s\"\n", why, rc, e.text, code, words ? words : "");
	CU_ASSERT_TRUE(same);
	X509_free(next);
}

static void forged_next_cas_are_refused(void)
{
	struct fx_cert c = { .subject = "CN=RootCA,O=Example", .key = fx.client_key, .nb_sec = FX_NOW - FX_DAY, .na_sec = FX_NOW + 999 * FX_DAY,
			     .is_ca = true, .serial = 1, .version = X509_VERSION_3 };
	AUTO(x509) X509 *evil = fx_cert_make(&c);
	AUTO(buf) struct buf body = BUF_EMPTY;
	AUTO(buf) struct buf cert = BUF_EMPTY;
	struct sign_in empty = { .signer = fx.ca, .key = fx.ca_key };

	CU_ASSERT_EQUAL(scep_ca_build(&fx.next, 1, &body, NULL), 0);
	next_refused("a bare certificate", &body, -EKEYREJECTED, "not signed");
	{
		X509 *two[] = { fx.next, fx.ca };

		CU_ASSERT_EQUAL(scep_ca_build(two, 2, &body, NULL), 0);
		next_refused("unsigned certs-only", &body, -EKEYREJECTED, "not signed");
	}
	CU_ASSERT_EQUAL(scep_next_ca_build(&fx.next, 1, evil, fx.client_key, &body, NULL), 0);
	next_refused("signed by a CA of the same name and serial", &body, -EKEYREJECTED, "does not verify");
	CU_ASSERT_EQUAL(scep_next_ca_build(&fx.next, 1, fx.client, fx.client_key, &body, NULL), 0);
	next_refused("signed by a client", &body, -EKEYREJECTED, "not among");
	CU_ASSERT_EQUAL(scep_next_ca_build(&fx.next, 1, fx.next, fx.next_key, &body, NULL), 0);
	next_refused("signed by itself", &body, -EKEYREJECTED, "not among");
	CU_ASSERT_EQUAL(signed_build(&empty, &body, NULL), 0);
	next_refused("empty content", &body, -EPROTO, "no signed content");
	CU_ASSERT_EQUAL(x509_to_der(fx.next, &cert, NULL), 0);
	CU_ASSERT_EQUAL(edit_at(&body, "1.0.3", EDIT_APPEND, cert.data, cert.len, &body), 0);
	next_refused("the certificate in the outer bag only", &body, -EPROTO, "no signed content");
	CU_ASSERT_EQUAL(edit_at(&body, "1.0.2.1", EDIT_DELETE, NULL, 0, &body), 0);
	next_refused("the same without content (jscep)", &body, -EPROTO, "no signed content");
	CU_ASSERT_EQUAL(scep_next_ca_build(&fx.next, 1, fx.ca, fx.ca_key, &body, NULL), 0);
	CU_ASSERT_EQUAL(edit_at(&body, "1.0.4.0", EDIT_TWICE, NULL, 0, &body), 0);
	next_refused("two signers", &body, -EKEYREJECTED, "one signer");
	CU_ASSERT_EQUAL(scep_next_ca_build(&fx.next, 1, fx.ca, fx.ca_key, &body, NULL), 0);
	CU_ASSERT_EQUAL(edit_at(&body, "1.0.4.0.3", EDIT_DELETE, NULL, 0, &body), 0);
	next_refused("no signed attributes", &body, -EKEYREJECTED, "one signer");
}

static void an_injected_outer_certificate_is_ignored(void)
{
	AUTO(buf) struct buf body = BUF_EMPTY;
	AUTO(buf) struct buf cert = BUF_EMPTY;
	AUTO(x509) X509 *next = NULL;

	CU_ASSERT_EQUAL(scep_next_ca_build(&fx.next, 1, fx.ca, fx.ca_key, &body, NULL), 0);
	CU_ASSERT_EQUAL(x509_to_der(fx.client, &cert, NULL), 0);
	CU_ASSERT_EQUAL(edit_at(&body, "1.0.3", EDIT_APPEND, cert.data, cert.len, &body), 0);
	CU_ASSERT_EQUAL(scep_next_ca_open(body.data, body.len, fx.ca, &scep_policy_default, &next, NULL), 0);
	CU_ASSERT_EQUAL(next ? X509_cmp(next, fx.next) : -1, 0);
}

static void next_ca_must_be_a_successor(void)
{
	const struct fx_cert good = { .subject = "CN=RootCA,O=Example", .key = fx.next_key, .nb_sec = FX_CA_END, .na_sec = FX_CA_END + FX_DAY, .is_ca = true,
				      .serial = 5, .version = X509_VERSION_3 };
	const struct {
		const char *why;
		const char *subject;
		EVP_PKEY *key, *issuer_key;
		int64_t nb_sec, na_sec;
		bool no_ca;
		const char *words;
	} twins[] = {
		{ .why = "begins a second after the end", .nb_sec = FX_CA_END + 1, .words = "valid from" },
		{ .why = "ends with the current", .na_sec = FX_CA_END, .nb_sec = FX_NOW, .words = "valid from" },
		{ .why = "the current's key", .key = fx.ca_key, .words = "current CA's key" },
		{ .why = "1024 bits", .key = fx.small_key, .words = "1024 bits" },
		{ .why = "another name", .subject = "CN=OtherCA,O=Example", .words = "no next CA" },
		{ .why = "no CA", .no_ca = true, .words = "no next CA" },
		{ .why = "signed by another key", .issuer_key = fx.client_key, .words = "own key did not sign" },
	};
	size_t i;

	for (i = 0; i < sizeof(twins) / sizeof(twins[0]); i++) {
		struct fx_cert c = good;
		AUTO(x509) X509 *next = NULL;
		AUTO(buf) struct buf body = BUF_EMPTY;

		c.subject = twins[i].subject ? twins[i].subject : good.subject;
		c.key = twins[i].key ? twins[i].key : good.key;
		c.nb_sec = twins[i].nb_sec ? twins[i].nb_sec : good.nb_sec;
		c.na_sec = twins[i].na_sec ? twins[i].na_sec : good.na_sec;
		c.is_ca = !twins[i].no_ca;
		if (twins[i].issuer_key) {
			c.issuer = fx.ca;
			c.issuer_key = twins[i].issuer_key;
		}
		next = fx_cert_make(&c);
		CU_ASSERT_EQUAL(scep_next_ca_build(&next, 1, fx.ca, fx.ca_key, &body, NULL), 0);
		next_refused(twins[i].why, &body, -EPROTO, twins[i].words);
	}
	{
		AUTO(x509) X509 *other = fx_cert_make(&good);
		X509 *two[] = { fx.next, other };
		AUTO(buf) struct buf body = BUF_EMPTY;

		CU_ASSERT_EQUAL(scep_next_ca_build(two, 2, fx.ca, fx.ca_key, &body, NULL), 0);
		next_refused("two of them", &body, -EPROTO, "several");
	}
}

static void next_ca_may_come_as_signed_data(void)
{
	AUTO(buf) struct buf bag = BUF_EMPTY;
	struct shape_bag shape;
	struct der in, info, oid, explicit;

	CU_ASSERT_EQUAL(bag_build(&fx.next, 1, NULL, &bag, NULL), 0);
	in = (struct der){ .at = bag.data, .left = bag.len };
	CU_ASSERT_EQUAL(shape_bag(&in, &shape, NULL), 0);
	CU_ASSERT_EQUAL(shape.n_certs, 1);
	CU_ASSERT_TRUE(der_take(&in, DER_SEQUENCE, &info) && der_take(&info, DER_OID, &oid) && der_take(&info, DER_CONTEXT_0, &explicit));
	CU_ASSERT_EQUAL(shape_bag(&explicit, &shape, NULL), 0); /* the bare SignedData */
	CU_ASSERT_EQUAL(shape.n_certs, 1);
}

/* OpenSSL says there what the content is; we send id-data. */
static int signed_as_signed_data(const struct buf *bag, struct buf *ret)
{
	const unsigned flags = CMS_BINARY | CMS_NOSMIMECAP;
	CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, NULL, flags | CMS_PARTIAL);
	BIO *content = BIO_new_mem_buf(bag->data, (int) bag->len);
	unsigned char *der = NULL;
	int len = -1;

	if (cms && content && CMS_set1_eContentType(cms, OBJ_nid2obj(NID_pkcs7_signed)) == 1 &&
	    CMS_add1_signer(cms, fx.ca, fx.ca_key, EVP_sha256(), flags) && CMS_final(cms, content, NULL, flags) == 1)
		len = i2d_CMS_ContentInfo(cms, &der);
	len = len > 0 ? buf_set(ret, der, (size_t) len) : -1;
	OPENSSL_free(der);
	BIO_free(content);
	CMS_ContentInfo_free(cms);
	return len;
}

static void next_ca_may_come_under_id_signed_data(void)
{
	AUTO(buf) struct buf bag = BUF_EMPTY;
	AUTO(buf) struct buf body = BUF_EMPTY;
	AUTO(x509) X509 *next = NULL;
	struct err e = { 0 };

	CU_ASSERT_EQUAL(bag_build(&fx.next, 1, NULL, &bag, NULL), 0);
	CU_ASSERT_EQUAL(signed_as_signed_data(&bag, &body), 0);
	CU_ASSERT_EQUAL(scep_next_ca_open(body.data, body.len, fx.ca, &scep_policy_default, &next, &e), 0);
	CU_ASSERT_STRING_EQUAL(e.text, "");
	CU_ASSERT_EQUAL(next ? X509_cmp(next, fx.next) : -1, 0);
}

static void certs_only_has_neither_content_nor_signer(void)
{
	static const struct {
		const char *why, *path;
		const void *bytes;
		size_t len;
	} twins[] = {
		{ "content", "1.0.2", "\xa0\x02\x04\x00", 4 },
		{ "a signer", "1.0.4", "\x30\x00", 2 },
	};
	size_t i;

	for (i = 0; i < sizeof(twins) / sizeof(twins[0]); i++) {
		AUTO(buf) struct buf bag = BUF_EMPTY;
		AUTO(buf) struct buf body = BUF_EMPTY;
		struct sign_in in = { .signer = fx.ca, .key = fx.ca_key, .digest = SCEP_DIGEST_SHA256 };

		CU_ASSERT_EQUAL(bag_build(&fx.next, 1, NULL, &bag, NULL), 0);
		CU_ASSERT_EQUAL(edit_at(&bag, twins[i].path, EDIT_APPEND, twins[i].bytes, twins[i].len, &bag), 0);
		in.content = bag.data;
		in.content_len = bag.len;
		CU_ASSERT_EQUAL(signed_build(&in, &body, NULL), 0);
		next_refused(twins[i].why, &body, -EBADMSG, "certs-only");
	}
}

/* ---- GetCACert ---- */

static void ca_refused(const char *why, X509 *const *certs, size_t n, const char *pin, int code, const char *words)
{
	AUTO(buf) struct buf body = BUF_EMPTY;
	struct scep_ca ca;
	struct err e = { 0 };
	int rc;

	CU_ASSERT_EQUAL(scep_ca_build(certs, n, &body, NULL), 0);
	rc = scep_ca_open(body.data, body.len, pin, FX_NOW, &ca, &e);
	if (rc != code || ca.ca || (words && !strstr(e.text, words))) {
		printf("\n    %s: %d \"%s\", wanted %d \"%s\"\n", why, rc, e.text, code, words ? words : "");
		CU_FAIL("otherwise");
	}
	CU_ASSERT_PTR_NULL(ca.ca);
	scep_ca_clear(&ca);
}

static void ca_must_have_the_pinned_fingerprint(void)
{
	struct x509_facts ca, client;
	X509 *with_stranger[] = { fx.ca, fx.next };

	CU_ASSERT_EQUAL(x509_facts_get(fx.ca, &ca, NULL), 0);
	CU_ASSERT_EQUAL(x509_facts_get(fx.client, &client, NULL), 0);
	ca_refused("another CA", &fx.next, 1, ca.sha256, -EKEYREJECTED, ca.sha256);
	ca_refused("a pinned certificate that is no CA", &fx.client, 1, client.sha256, -EBADMSG, "CA:TRUE");
	ca_refused("a stranger in company", with_stranger, 2, ca.sha256, -EBADMSG, "did not issue");
	ca_refused("no CA at all", &fx.client, 1, NULL, -EBADMSG, "no CA");
}

static void roles_are_told_by_key_usage(void)
{
	struct fx_cert c = { .subject = "CN=RA", .key = fx.client_key, .issuer = fx.ca, .issuer_key = fx.ca_key, .nb_sec = FX_NOW - 1,
			     .na_sec = FX_NOW + FX_DAY, .usage = "digitalSignature", .serial = 50, .version = X509_VERSION_3 };
	AUTO(x509) X509 *sign = fx_cert_make(&c);
	AUTO(x509) X509 *encrypt = NULL;
	AUTO(buf) struct buf body = BUF_EMPTY;
	struct x509_facts facts;
	struct scep_ca ca;
	int turn;

	c.usage = "keyEncipherment";
	c.key = fx.fresh_key;
	c.serial = 51;
	encrypt = fx_cert_make(&c);
	CU_ASSERT_EQUAL(x509_facts_get(fx.ca, &facts, NULL), 0);
	for (turn = 0; turn < 2; turn++) {
		X509 *certs[] = { turn ? sign : encrypt, fx.ca, turn ? encrypt : sign };

		CU_ASSERT_EQUAL(scep_ca_build(certs, 3, &body, NULL), 0);
		CU_ASSERT_EQUAL(scep_ca_open(body.data, body.len, facts.sha256, FX_NOW, &ca, NULL), 0);
		CU_ASSERT_EQUAL(ca.encrypt ? X509_cmp(ca.encrypt, encrypt) : -1, 0);
		CU_ASSERT_EQUAL(ca.sign ? X509_cmp(ca.sign, sign) : -1, 0);
		scep_ca_clear(&ca);
	}
}

static void intermediates_are_walked_down_and_roots_above_passed_over(void)
{
	struct fx_cert c = { .subject = "CN=SubCA", .key = fx.next_key, .issuer = fx.ca, .issuer_key = fx.ca_key, .nb_sec = FX_NOW - 1,
			     .na_sec = FX_NOW + FX_DAY, .is_ca = true, .usage = "keyCertSign,digitalSignature,keyEncipherment", .serial = 60,
			     .version = X509_VERSION_3 };
	AUTO(x509) X509 *sub = fx_cert_make(&c);
	X509 *certs[] = { fx.ca, sub };
	AUTO(buf) struct buf body = BUF_EMPTY;
	struct x509_facts root, low;
	struct scep_ca ca;

	CU_ASSERT_EQUAL(x509_facts_get(fx.ca, &root, NULL), 0);
	CU_ASSERT_EQUAL(x509_facts_get(sub, &low, NULL), 0);
	CU_ASSERT_EQUAL(scep_ca_build(certs, 2, &body, NULL), 0);
	CU_ASSERT_EQUAL(scep_ca_open(body.data, body.len, root.sha256, FX_NOW, &ca, NULL), 0); /* root pinned: the lower one is spoken to */
	CU_ASSERT_EQUAL(ca.ca ? X509_cmp(ca.ca, fx.ca) : -1, 0);
	CU_ASSERT_EQUAL(ca.encrypt ? X509_cmp(ca.encrypt, sub) : -1, 0);
	CU_ASSERT_EQUAL(sk_X509_num(ca.all), 2);
	scep_ca_clear(&ca);
	CU_ASSERT_EQUAL(scep_ca_open(body.data, body.len, low.sha256, FX_NOW, &ca, NULL), 0); /* the lower one pinned: the root is no part of it */
	CU_ASSERT_EQUAL(ca.ca ? X509_cmp(ca.ca, sub) : -1, 0);
	CU_ASSERT_EQUAL(sk_X509_num(ca.all), 1);
	scep_ca_clear(&ca);
}

static void trailing_bytes_and_garbage_are_no_ca(void)
{
	AUTO(buf) struct buf body = BUF_EMPTY;
	struct scep_ca ca;

	CU_ASSERT_EQUAL(scep_ca_build(&fx.ca, 1, &body, NULL), 0);
	CU_ASSERT_EQUAL(buf_add(&body, "\n", 1), 0);
	CU_ASSERT_EQUAL(scep_ca_open(body.data, body.len, NULL, FX_NOW, &ca, NULL), -EBADMSG);
	CU_ASSERT_EQUAL(scep_ca_open("<html>", 6, NULL, FX_NOW, &ca, NULL), -EBADMSG);
	CU_ASSERT_EQUAL(scep_ca_open("", 0, NULL, FX_NOW, &ca, NULL), -EBADMSG);
}

static void self_signed_signer_has_both_usages_and_the_csr_subject(void)
{
	CU_ASSERT_EQUAL(X509_get_key_usage(fx.self_signed), KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT);
	CU_ASSERT_EQUAL(X509_NAME_cmp(X509_get_subject_name(fx.self_signed), fx.subject), 0);
	CU_ASSERT_EQUAL(X509_NAME_cmp(X509_get_issuer_name(fx.self_signed), fx.subject), 0);
	CU_ASSERT_EQUAL(X509_verify(fx.self_signed, fx.fresh_key), 1);
}

static CU_TestInfo tests[] = {
	{ "the recipientNonce must be ours", recipient_nonce_must_be_ours },
	{ "the transactionID must be ours", transaction_id_must_be_ours },
	{ "the signer must be the CA", signer_must_be_the_ca },
	{ "the certificate must be for our key", certificate_must_be_for_our_key },
	{ "the leaf is found wherever it stands", leaf_is_found_wherever_it_stands },
	{ "the envelope must be for us", envelope_must_be_for_us },
	{ "weak algorithms are refused", weak_algorithms_are_refused },
	{ "CRL and certificate do not stand in for each other", crl_and_certificate_do_not_stand_in_for_each_other },
	{ "reply attributes must be as the RFC has them", reply_attributes_must_be_as_the_rfc_has_them },
	{ "each reply attribute stands once, in its type", each_reply_attribute_stands_once_in_its_type },
	{ "only a CertRep is a reply", only_a_cert_rep_is_a_reply },
	{ "a FAILURE's content is absent, empty or one byte", failure_content_is_absent_empty_or_one_byte },
	{ "FAILURE and PENDING omit the envelope", failure_and_pending_omit_the_envelope },
	{ "failInfoText is made printable", fail_text_is_made_printable },
	{ "forged next CAs are refused", forged_next_cas_are_refused },
	{ "an injected outer certificate is ignored", an_injected_outer_certificate_is_ignored },
	{ "the next CA must be a successor", next_ca_must_be_a_successor },
	{ "the next CA may come as SignedData", next_ca_may_come_as_signed_data },
	{ "the next CA may come under id-signedData", next_ca_may_come_under_id_signed_data },
	{ "certs-only has neither content nor signer", certs_only_has_neither_content_nor_signer },
	{ "the CA must have the pinned fingerprint", ca_must_have_the_pinned_fingerprint },
	{ "roles are told by key usage", roles_are_told_by_key_usage },
	{ "intermediates are walked down, roots above passed over", intermediates_are_walked_down_and_roots_above_passed_over },
	{ "trailing bytes and garbage are no CA", trailing_bytes_and_garbage_are_no_ca },
	{ "the self-signed signer has both usages and the CSR's subject", self_signed_signer_has_both_usages_and_the_csr_subject },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "opening what a CA sends", up, down, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

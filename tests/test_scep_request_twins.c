/* Opening a request: from one good message, exactly one thing is broken, and exactly that is refused. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "scep/scep_oid.h"
#include "tests/scep_edit.h"
#include "tests/scep_fixture.h"
#include "tests/test_main.h"

static struct fixture fx;
static struct buf good, envelope; /* a request, and the envelope in it */

static int up(void)
{
	if (fixture_init(&fx) < 0 || scep_request_build(&fx.request, &good, NULL) < 0)
		return -1;
	return envelope_seal(fx.csr.data, fx.csr.len, fx.ca, SCEP_CIPHER_AES128, &envelope, NULL);
}

static int down(void)
{
	buf_clear(&good);
	buf_clear(&envelope);
	fixture_clear(&fx);
	return 0;
}

/* Opens, and compares result, stage and the words of the reason. */
static void refused(const char *why, const struct buf *der, const struct scep_policy *policy, int code, enum scep_open_stage stage, const char *words)
{
	struct scep_request r = { 0 };
	struct err e = { 0 };
	int rc = scep_request_open(der->data, der->len, fx.identities, 2, policy, FX_NOW, &r, &e);
	bool same = rc == code && r.stage == stage && (!words || strstr(e.text, words)) && !r.csr;

	if (!same)
		printf("\n    %s: %d stage %d \"%s\", wanted %d stage %d \"%s\"\n", why, rc, (int) r.stage, e.text, code, (int) stage, words ? words : "");
	CU_ASSERT_TRUE(same);
	scep_request_clear(&r);
}

/* ---- signed attributes: a message with these, properly signed ---- */

struct attr {
	int oid;
	uint8_t tag;
	const char *data;
	size_t len;
};
#define TEXT(oid, s) { oid, DER_PRINTABLE, s, sizeof(s) - 1 }
#define BYTES(oid, s) { oid, DER_OCTETS, s, sizeof(s) - 1 }
#define NONCE "0123456789abcdef"

static int signed_with(const struct attr *attrs, size_t n, const struct buf *content, enum scep_digest digest, int64_t time_sec, struct buf *ret)
{
	AUTO(buf) struct buf list = BUF_EMPTY;
	struct sign_in in = { .content = content->data, .content_len = content->len, .attrs = &list, .signer = fx.self_signed, .key = fx.fresh_key,
			      .digest = digest, .signing_time_sec = time_sec };
	size_t i;

	for (i = 0; i < n; i++)
		if (attr_put(&list, attrs[i].oid, attrs[i].tag, attrs[i].data, attrs[i].len) < 0)
			return -1;
	return signed_build(&in, ret, NULL);
}

static const struct attr base[] = { TEXT(OID_MESSAGE_TYPE, "19"), TEXT(OID_TRANSACTION_ID, "T1"), BYTES(OID_SENDER_NONCE, NONCE) };

static void good_twin_opens(void)
{
	AUTO(buf) struct buf der = BUF_EMPTY;
	struct scep_request r = { 0 };

	CU_ASSERT_EQUAL(signed_with(base, 3, &envelope, SCEP_DIGEST_SHA256, 0, &der), 0);
	CU_ASSERT_EQUAL(scep_request_open(der.data, der.len, fx.identities, 2, &scep_policy_default, FX_NOW, &r, NULL), 0);
	CU_ASSERT_EQUAL(r.stage, SCEP_OPEN_DONE);
	scep_request_clear(&r);
	CU_ASSERT_EQUAL(scep_shape_check(der.data, der.len, NULL), 0);
}

static char id_long[LIMIT_TRANSACTION_ID_BYTES + 1], nonce_long[LIMIT_NONCE_BYTES + 1];

static void attributes_must_be_as_the_rfc_has_them(void)
{
	static const struct {
		const char *why;
		unsigned instead_of; /* index into base; 3: added */
		struct attr attr;    /* data NULL: left out */
		const char *words;
	} twins[] = {
		{ "no messageType", 0, { .data = NULL }, "no messageType" },
		{ "no transactionID", 1, { .data = NULL }, "no transactionID" },
		{ "no senderNonce", 2, { .data = NULL }, "no senderNonce" },
		{ "messageType as OCTET STRING", 0, BYTES(OID_MESSAGE_TYPE, "19"), "of type" },
		{ "messageType as INTEGER", 0, { OID_MESSAGE_TYPE, DER_INTEGER, "\x13", 1 }, "of type" },
		{ "transactionID as OCTET STRING", 1, BYTES(OID_TRANSACTION_ID, "T1"), "of type" },
		{ "transactionID empty", 1, TEXT(OID_TRANSACTION_ID, ""), "of type" },
		{ "transactionID with a line feed", 1, TEXT(OID_TRANSACTION_ID, "T\n1"), "of type" },
		{ "transactionID with a NUL", 1, TEXT(OID_TRANSACTION_ID, "T\0001"), "of type" },
		{ "transactionID of 256", 1, { OID_TRANSACTION_ID, DER_PRINTABLE, id_long, sizeof(id_long) }, "no transactionID" },
		{ "senderNonce as PrintableString", 2, TEXT(OID_SENDER_NONCE, NONCE), "of type" },
		{ "senderNonce empty", 2, BYTES(OID_SENDER_NONCE, ""), "of type" },
		{ "senderNonce of 65", 2, { OID_SENDER_NONCE, DER_OCTETS, nonce_long, sizeof(nonce_long) }, "no senderNonce" },
		{ "messageType twice", 3, TEXT(OID_MESSAGE_TYPE, "17"), "twice" },
		{ "transactionID twice", 3, TEXT(OID_TRANSACTION_ID, "T2"), "twice" },
		{ "senderNonce twice", 3, BYTES(OID_SENDER_NONCE, NONCE), "twice" },
		{ "messageDigest twice", 3, BYTES(OID_MESSAGE_DIGEST, NONCE NONCE), "twice" },
		{ "contentType twice", 3, { OID_CONTENT_TYPE, DER_OID, "\x2a", 1 }, "twice" },
	};
	size_t i;

	memset(id_long, 'x', sizeof(id_long));
	memset(nonce_long, 'x', sizeof(nonce_long));
	for (i = 0; i < sizeof(twins) / sizeof(twins[0]); i++) {
		struct attr attrs[4] = { base[0], base[1], base[2] };
		AUTO(buf) struct buf der = BUF_EMPTY;
		size_t n = 3;

		if (twins[i].attr.data) {
			attrs[twins[i].instead_of] = twins[i].attr;
			n = twins[i].instead_of == 3 ? 4 : 3;
		} else {
			attrs[twins[i].instead_of] = attrs[2];
			n = 2;
		}
		CU_ASSERT_EQUAL(signed_with(attrs, n, &envelope, SCEP_DIGEST_SHA256, 0, &der), 0);
		refused(twins[i].why, &der, &scep_policy_default, -EBADMSG, SCEP_OPEN_MALFORMED, twins[i].words);
	}
}

static bool type_passes(const char *text, struct scep_request *r)
{
	struct attr attrs[3] = { { OID_MESSAGE_TYPE, DER_PRINTABLE, text, strlen(text) }, base[1], base[2] };
	AUTO(buf) struct buf der = BUF_EMPTY;

	CU_ASSERT_EQUAL(signed_with(attrs, 3, &envelope, SCEP_DIGEST_SHA256, 0, &der), 0);
	return scep_request_open(der.data, der.len, fx.identities, 2, &scep_policy_default, FX_NOW, r, NULL) == 0;
}

/* CVE-2026-30836: type 18 was parsed like 19 and authorised like nothing. */
static void undefined_message_types_are_errors(void)
{
	static const char *const odd[] = { "019", "+19", " 19", "19 ", "0x13", "-1", "1e1", "19.0" };
	struct scep_request r = { 0 };
	unsigned i, passed = 0;
	char text[8];
	bool ok;

	for (i = 0; i <= 300; i++) {
		(void) snprintf(text, sizeof(text), "%u", i); /* fits */
		ok = type_passes(text, &r);
		CU_ASSERT_EQUAL(ok, i == SCEP_TYPE_PKCS_REQ || i == SCEP_TYPE_RENEWAL_REQ); /* the content is a CSR */
		if (!ok && i != 20 && i != 21 && i != 22)
			CU_ASSERT_EQUAL(r.stage, SCEP_OPEN_MALFORMED);
		passed += ok;
		scep_request_clear(&r);
	}
	CU_ASSERT_EQUAL(passed, 2);
	for (i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		CU_ASSERT_FALSE(type_passes(odd[i], &r));
		CU_ASSERT_EQUAL(r.stage, SCEP_OPEN_MALFORMED);
		scep_request_clear(&r);
	}
}

static void transaction_id_of_any_text_and_nonce_of_any_size_are_kept(void)
{
	static const struct attr odd[] = {
		{ OID_TRANSACTION_ID, DER_UTF8, "a+/=()'", 7 }, { OID_TRANSACTION_ID, DER_IA5, "a_b@c", 5 }, { OID_TRANSACTION_ID, DER_T61, "x", 1 }
	};
	struct attr attrs[3] = { base[0], base[1], { OID_SENDER_NONCE, DER_OCTETS, nonce_long, LIMIT_NONCE_BYTES } };
	size_t i;

	for (i = 0; i < 3; i++) {
		AUTO(buf) struct buf der = BUF_EMPTY;
		struct scep_request r = { 0 };

		attrs[1] = odd[i];
		CU_ASSERT_EQUAL(signed_with(attrs, 3, &envelope, SCEP_DIGEST_SHA256, 0, &der), 0);
		CU_ASSERT_EQUAL(scep_request_open(der.data, der.len, fx.identities, 2, &scep_policy_default, FX_NOW, &r, NULL), 0);
		CU_ASSERT_EQUAL(strlen(r.transaction_id), odd[i].len);
		CU_ASSERT_EQUAL(r.sender_nonce_len, LIMIT_NONCE_BYTES);
		scep_request_clear(&r);
	}
}

/* ---- the shape ---- */

static void outer_shape_is_an_allow_list(void)
{
	static const struct {
		const char *why, *path;
		enum edit op;
		const char *bytes;
		size_t len;
		const char *words;
	} twins[] = {
		{ "trailing byte", "", EDIT_AFTER, "\0", 1, "after the message" },
		{ "second value", "", EDIT_AFTER, "\x05\x00", 2, "after the message" },
		{ "outer type envelopedData", "0", EDIT_REPLACE, "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03", 11, "wanted SignedData" },
		{ "outer type authEnvelopedData", "0", EDIT_REPLACE, "\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17", 13, "wanted SignedData" },
		{ "no version", "1.0.0", EDIT_DELETE, NULL, 0, "no version" },
		{ "version 0", "1.0.0", EDIT_REPLACE, "\x02\x01\x00", 3, "no version" },
		{ "empty digestAlgorithms (CVE-2026-45447)", "1.0.1.0", EDIT_DELETE, NULL, 0, "digest algorithm" },
		{ "two digestAlgorithms", "1.0.1.0", EDIT_TWICE, NULL, 0, "digest algorithm" },
		{ "unknown digest", "1.0.1.0.0", EDIT_REPLACE, "\x06\x01\x2a", 3, "digest algorithm" },
		{ "digest with parameters", "1.0.1.0.1", EDIT_REPLACE, "\x04\x01\x00", 3, "digest algorithm" },
		{ "eContent in a SEQUENCE", "1.0.2.1.0", EDIT_RETAG, "\x30", 1, "wanted id-data" },
		{ "eContent twice", "1.0.2.1.0", EDIT_TWICE, NULL, 0, "wanted id-data" },
		{ "eContent absent in a request", "1.0.2.1", EDIT_DELETE, NULL, 0, "without pkcsPKIEnvelope" },
		{ "eContent empty in a request", "1.0.2.1.0", EDIT_REPLACE, "\x04\x00", 2, "without pkcsPKIEnvelope" },
		{ "eContentType signedData", "1.0.2.0", EDIT_REPLACE, "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02", 11, "contentType attribute" },
		{ "no certificates", "1.0.3", EDIT_DELETE, NULL, 0, "0 certificates" },
		{ "a number among the certificates", "1.0.3", EDIT_APPEND, "\x02\x01\x00", 3, "certificates" },
		{ "CRLs", "1.0.3", EDIT_AFTER, "\xa1\x00", 2, "CRLs" },
		{ "no SignerInfo", "1.0.4.0", EDIT_DELETE, NULL, 0, "one (RFC" },
		{ "two SignerInfos", "1.0.4.0", EDIT_TWICE, NULL, 0, "one (RFC" },
		{ "SignerInfo version 3", "1.0.4.0.0", EDIT_REPLACE, "\x02\x01\x03", 3, "signer identifier" },
		{ "signer by key identifier", "1.0.4.0.1", EDIT_REPLACE, "\x80\x01\x00", 3, "signer identifier" },
		{ "another digest in the SignerInfo", "1.0.4.0.2.0", EDIT_REPLACE, "\x06\x05\x2b\x0e\x03\x02\x1a", 7, "one and the same" },
		{ "no signed attributes", "1.0.4.0.3", EDIT_DELETE, NULL, 0, "no signed attributes" },
		{ "an attribute without value", "1.0.4.0.3.0.1", EDIT_REPLACE, "\x31\x00", 2, "none or several" },
		{ "an attribute with two values", "1.0.4.0.3.0.1.0", EDIT_TWICE, NULL, 0, "none or several" },
		{ "an attribute that is none", "1.0.4.0.3.0", EDIT_REPLACE, "\x05\x00", 2, "no signed attribute" },
		{ "the signed attributes empty", "1.0.4.0.3", EDIT_REPLACE, "\xa0\x00", 2, "no contentType" },
		{ "signature algorithm PSS", "1.0.4.0.4.0", EDIT_REPLACE, "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", 11, "signature algorithm" },
		{ "signature algorithm of another digest", "1.0.4.0.4.0", EDIT_REPLACE, "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", 11,
			"signature algorithm" },
		{ "signature empty", "1.0.4.0.5", EDIT_REPLACE, "\x04\x00", 2, "signature algorithm" },
		{ "unsigned attributes", "1.0.4.0.5", EDIT_AFTER, "\xa1\x00", 2, "unsigned attributes" },
		{ "a long tag", "1.0.0", EDIT_REPLACE, "\x1f\x22\x01\x00", 4, "at byte" },
		{ "an OID of 33 bytes", "1.0.1.0.0", EDIT_REPLACE, "\x06\x21" NONCE NONCE "x", 35, "DER" },
	};
	size_t i;

	for (i = 0; i < sizeof(twins) / sizeof(twins[0]); i++) {
		AUTO(buf) struct buf der = BUF_EMPTY;

		CU_ASSERT_EQUAL(edit_at(&good, twins[i].path, twins[i].op, twins[i].bytes, twins[i].len, &der), 0);
		refused(twins[i].why, &der, &scep_policy_legacy, -EBADMSG, SCEP_OPEN_MALFORMED,
			strcmp(twins[i].words, "after the message") == 0 ? NULL : twins[i].words);
		CU_ASSERT_NOT_EQUAL(scep_shape_check(der.data, der.len, NULL), 0);
	}
}

static void depth_is_bounded(void)
{
	AUTO(buf) struct buf deep = BUF_EMPTY;
	unsigned i;

	CU_ASSERT_EQUAL(der_put_small(&deep, 1), 0);
	for (i = 0; i < 40; i++) {
		AUTO(buf) struct buf outer = BUF_EMPTY;

		CU_ASSERT_EQUAL(der_put_buf(&outer, DER_SEQUENCE, &deep), 0);
		buf_take(&deep, &outer);
	}
	refused("40 deep", &deep, &scep_policy_default, -EBADMSG, SCEP_OPEN_MALFORMED, "bounds");
	CU_ASSERT_NOT_EQUAL(scep_shape_check(deep.data, deep.len, NULL), 0);
}

static void every_prefix_is_refused(void)
{
	struct buf part = good; /* borrowed */

	for (part.len = 0; part.len < good.len; part.len++)
		refused("prefix", &part, &scep_policy_default, -EBADMSG, SCEP_OPEN_MALFORMED, NULL);
}

/* Whatever byte changes: never a different content, and never a crash. Free are the signer's certificate, which is judged elsewhere, but for its key
 * and its identifier, and few others (the upper half of a version...). */
static void every_changed_byte_is_harmless(void)
{
	AUTO(buf) struct buf der = BUF_EMPTY;
	AUTO(buf) struct buf cert = BUF_EMPTY;
	unsigned opened = 0;
	uint8_t *signer;
	size_t i;

	CU_ASSERT_EQUAL(buf_set(&der, good.data, good.len), 0);
	CU_ASSERT_EQUAL(x509_to_der(fx.self_signed, &cert, NULL), 0);
	signer = memmem(der.data, der.len, cert.data, cert.len);
	CU_ASSERT_PTR_NOT_NULL(signer);
	for (i = 0; i < good.len; i++) {
		struct scep_request r = { 0 };

		der.data[i] ^= 0x01;
		if (scep_request_open(der.data, der.len, fx.identities, 2, &scep_policy_default, FX_NOW, &r, NULL) == 0) {
			opened += der.data + i < signer || der.data + i >= signer + cert.len;
			CU_ASSERT_EQUAL(r.csr_der.len, fx.csr.len);
			CU_ASSERT_EQUAL(memcmp(r.csr_der.data, fx.csr.data, fx.csr.len), 0);
			CU_ASSERT_STRING_EQUAL(r.transaction_id, fx.request.transaction_id);
		}
		scep_request_clear(&r);
		der.data[i] ^= 0x01;
	}
	CU_ASSERT_TRUE(opened < 8);
}

static void signature_over_anything_else_is_refused(void)
{
	static const struct {
		const char *why, *path;
	} twins[] = {
		{ "content changed", "1.0.2.1.0" },
		{ "signature changed", "1.0.4.0.5" },
	};
	size_t i;

	for (i = 0; i < 2; i++) {
		AUTO(buf) struct buf der = BUF_EMPTY;
		uint8_t other[256] = { 0x11 };
		AUTO(buf) struct buf octets = BUF_EMPTY;

		CU_ASSERT_EQUAL(der_put(&octets, DER_OCTETS, other, sizeof(other)), 0);
		CU_ASSERT_EQUAL(edit_at(&good, twins[i].path, EDIT_REPLACE, octets.data, octets.len, &der), 0);
		refused(twins[i].why, &der, &scep_policy_default, -EKEYREJECTED, SCEP_OPEN_MALFORMED, "does not verify");
	}
}

static void signer_certificate_must_be_in_the_message(void)
{
	AUTO(buf) struct buf der = BUF_EMPTY;
	AUTO(buf) struct buf cert = BUF_EMPTY;

	CU_ASSERT_EQUAL(x509_to_der(fx.client, &cert, NULL), 0);
	CU_ASSERT_EQUAL(edit_at(&good, "1.0.3.0", EDIT_REPLACE, cert.data, cert.len, &der), 0);
	refused("another certificate", &der, &scep_policy_default, -EKEYREJECTED, SCEP_OPEN_MALFORMED, "not among");
}

static void signer_is_found_by_identifier_not_position(void)
{
	AUTO(buf) struct buf der = BUF_EMPTY;
	AUTO(buf) struct buf both = BUF_EMPTY;
	AUTO(buf) struct buf set = BUF_EMPTY;
	struct scep_request r = { 0 };

	CU_ASSERT_EQUAL(x509_to_der(fx.client, &both, NULL), 0);
	{
		AUTO(buf) struct buf own = BUF_EMPTY;

		CU_ASSERT_EQUAL(x509_to_der(fx.self_signed, &own, NULL), 0);
		CU_ASSERT_EQUAL(buf_add(&both, own.data, own.len), 0);
	}
	CU_ASSERT_EQUAL(der_put_buf(&set, DER_CONTEXT_0, &both), 0);
	CU_ASSERT_EQUAL(edit_at(&good, "1.0.3", EDIT_REPLACE, set.data, set.len, &der), 0);
	CU_ASSERT_EQUAL(scep_request_open(der.data, der.len, fx.identities, 2, &scep_policy_default, FX_NOW, &r, NULL), 0);
	CU_ASSERT_EQUAL(r.signer ? X509_cmp(r.signer, fx.self_signed) : -1, 0);
	scep_request_clear(&r);
}

/* ---- BER ---- */

static void ber_of_real_clients_opens(void)
{
	static const char *const outer[] = { "1.0.2.1.0", "1.0.2.1", "1.0.2", "1.0.4", "1.0.3", "1.0", "1", "" };
	AUTO(buf) struct buf der = BUF_EMPTY;
	AUTO(buf) struct buf inner = BUF_EMPTY;
	static const char *const within[] = { "1.0.2.2", "1.0.2", "1.0", "1", "" };
	size_t i;

	for (i = 0; i < sizeof(within) / sizeof(within[0]); i++) {
		struct scep_request r = { 0 };

		CU_ASSERT_EQUAL(edit_at(&envelope, within[i], EDIT_INDEFINITE, NULL, 0, &inner), 0);
		CU_ASSERT_EQUAL(signed_with(base, 3, &inner, SCEP_DIGEST_SHA256, 0, &der), 0);
		CU_ASSERT_EQUAL(scep_request_open(der.data, der.len, fx.identities, 2, &scep_policy_default, FX_NOW, &r, NULL), 0);
		CU_ASSERT_EQUAL(r.stage, SCEP_OPEN_DONE);
		scep_request_clear(&r);
	}
	for (i = 0; i < sizeof(outer) / sizeof(outer[0]); i++) {
		AUTO(buf) struct buf ber = BUF_EMPTY;
		struct scep_request r = { 0 };

		CU_ASSERT_EQUAL(edit_at(&good, outer[i], EDIT_INDEFINITE, NULL, 0, &ber), 0);
		CU_ASSERT_EQUAL(scep_request_open(ber.data, ber.len, fx.identities, 2, &scep_policy_default, FX_NOW, &r, NULL), 0);
		CU_ASSERT_EQUAL(r.stage, SCEP_OPEN_DONE);
		scep_request_clear(&r);
	}
}

/* ---- the floor, time, recipient ---- */

static void weak_algorithms_are_bad_alg(void)
{
	static const struct {
		const char *why;
		struct scep_algs algs;
		const struct scep_policy *policy;
		const char *words;
	} twins[] = {
		{ "single DES by default", { SCEP_CIPHER_DES, SCEP_DIGEST_SHA256 }, &scep_policy_default, "found DES-CBC" },
		{ "single DES with 3DES allowed", { SCEP_CIPHER_DES, SCEP_DIGEST_SHA256 }, &scep_policy_3des, "found DES-CBC" },
		{ "3DES by default", { SCEP_CIPHER_DES3, SCEP_DIGEST_SHA256 }, &scep_policy_default, "found DES3-CBC" },
		{ "SHA-1 by default", { SCEP_CIPHER_AES128, SCEP_DIGEST_SHA1 }, &scep_policy_default, "found SHA-1" },
	};
	size_t i;

	for (i = 0; i < sizeof(twins) / sizeof(twins[0]); i++) {
		struct scep_request_in in = fx.request;
		AUTO(buf) struct buf der = BUF_EMPTY;

		in.algs = twins[i].algs;
		CU_ASSERT_EQUAL(scep_request_build(&in, &der, NULL), 0);
		refused(twins[i].why, &der, twins[i].policy, -EPROTO, SCEP_OPEN_BAD_ALG, twins[i].words);
	}
	CU_ASSERT_FALSE(scep_policy_legacy.digests & (1u << SCEP_DIGEST_MD5));
}

static void md5_is_never_sent(void)
{
	struct scep_request_in in = fx.request;
	AUTO(buf) struct buf der = BUF_EMPTY;

	in.algs.digest = SCEP_DIGEST_MD5;
	CU_ASSERT_EQUAL(scep_request_build(&in, &der, NULL), -EINVAL);
	CU_ASSERT_EQUAL(der.len, 0);
}

static void unknown_cipher_is_bad_alg(void)
{
	AUTO(buf) struct buf inner = BUF_EMPTY;
	AUTO(buf) struct buf der = BUF_EMPTY;

	CU_ASSERT_EQUAL(edit_at(&envelope, "1.0.2.1.0", EDIT_REPLACE, "\x06\x08\x2a\x86\x48\x86\xf7\x0d\x03\x02", 10, &inner), 0); /* RC2 */
	CU_ASSERT_EQUAL(signed_with(base, 3, &inner, SCEP_DIGEST_SHA256, 0, &der), 0);
	refused("RC2", &der, &scep_policy_legacy, -EPROTO, SCEP_OPEN_BAD_ALG, "unknown cipher");
}

static void signing_time_far_off_is_bad_time(void)
{
	struct scep_policy policy = scep_policy_default;
	static const int64_t off[] = { -601, 601 };
	struct scep_request r = { 0 };
	AUTO(buf) struct buf near = BUF_EMPTY;
	size_t i;

	policy.max_skew_sec = 600;
	for (i = 0; i < 2; i++) {
		AUTO(buf) struct buf der = BUF_EMPTY;

		CU_ASSERT_EQUAL(signed_with(base, 3, &envelope, SCEP_DIGEST_SHA256, FX_NOW + off[i], &der), 0);
		refused("signingTime", &der, &policy, -EPROTO, SCEP_OPEN_BAD_TIME, "badTime");
	}
	CU_ASSERT_EQUAL(signed_with(base, 3, &envelope, SCEP_DIGEST_SHA256, FX_NOW + 600, &near), 0);
	CU_ASSERT_EQUAL(scep_request_open(near.data, near.len, fx.identities, 2, &policy, FX_NOW, &r, NULL), 0);
	scep_request_clear(&r);
}

static void another_recipient_is_told_apart(void)
{
	struct scep_request_in in = fx.request;
	AUTO(buf) struct buf der = BUF_EMPTY;

	in.recipient = fx.client;
	CU_ASSERT_EQUAL(scep_request_build(&in, &der, NULL), 0);
	refused("for the client", &der, &scep_policy_default, -ENOKEY, SCEP_OPEN_UNKNOWN_RECIPIENT, "another recipient");
}

/* ---- the envelope's shape: after a good signature, one answer ---- */

static void envelope_shape_is_an_allow_list(void)
{
	static const struct {
		const char *why, *path;
		enum edit op;
		const char *bytes;
		size_t len;
	} twins[] = {
		{ "trailing bytes", "", EDIT_AFTER, "\x05\x00", 2 },
		{ "authEnvelopedData (CVE-2025-15467)", "0", EDIT_REPLACE, "\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17", 13 },
		{ "plain data", "0", EDIT_REPLACE, "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01", 11 },
		{ "version 3", "1.0.0", EDIT_REPLACE, "\x02\x01\x03", 3 },
		{ "originatorInfo", "1.0.0", EDIT_AFTER, "\xa0\x00", 2 },
		{ "no recipient", "1.0.1.0", EDIT_DELETE, NULL, 0 },
		{ "two recipients", "1.0.1.0", EDIT_TWICE, NULL, 0 },
		{ "KeyAgreeRecipientInfo (CVE-2026-28389)", "1.0.1.0", EDIT_RETAG, "\xa1", 1 },
		{ "KEKRecipientInfo (CVE-2026-63072)", "1.0.1.0", EDIT_RETAG, "\xa2", 1 },
		{ "PasswordRecipientInfo (CVE-2026-9076)", "1.0.1.0", EDIT_RETAG, "\xa3", 1 },
		{ "OtherRecipientInfo", "1.0.1.0", EDIT_RETAG, "\xa4", 1 },
		{ "recipient by key identifier", "1.0.1.0.1", EDIT_REPLACE, "\x80\x01\x00", 3 },
		{ "recipient version 2", "1.0.1.0.0", EDIT_REPLACE, "\x02\x01\x02", 3 },
		{ "OAEP without parameters (CVE-2026-28390)", "1.0.1.0.2.0", EDIT_REPLACE, "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x07", 11 },
		{ "encryptedKey empty", "1.0.1.0.3", EDIT_REPLACE, "\x04\x00", 2 },
		{ "encryptedKey shorter than the modulus", "1.0.1.0.3", EDIT_REPLACE, "\x04\x01\x01", 3 },
		{ "encryptedKey longer than the modulus", "1.0.1.0.3", EDIT_APPEND, "\x00", 1 },
		{ "content of type signedData", "1.0.2.0", EDIT_REPLACE, "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02", 11 },
		{ "no initialisation vector", "1.0.2.1.1", EDIT_DELETE, NULL, 0 },
		{ "initialisation vector of 8", "1.0.2.1.1", EDIT_REPLACE, "\x04\x08" "01234567", 10 },
		{ "no encryptedContent", "1.0.2.2", EDIT_DELETE, NULL, 0 },
		{ "encryptedContent not of whole blocks", "1.0.2.2", EDIT_APPEND, "\x00", 1 },
		{ "encryptedContent empty", "1.0.2.2", EDIT_REPLACE, "\x80\x00", 2 },
		{ "unprotectedAttrs", "1.0.2", EDIT_AFTER, "\xa1\x00", 2 },
	};
	size_t i;

	for (i = 0; i < sizeof(twins) / sizeof(twins[0]); i++) {
		AUTO(buf) struct buf inner = BUF_EMPTY;
		AUTO(buf) struct buf der = BUF_EMPTY;
		struct scep_request r = { 0 };

		CU_ASSERT_EQUAL(edit_at(&envelope, twins[i].path, twins[i].op, twins[i].bytes, twins[i].len, &inner), 0);
		CU_ASSERT_EQUAL(signed_with(base, 3, &inner, SCEP_DIGEST_SHA256, 0, &der), 0);
		if (scep_request_open(der.data, der.len, fx.identities, 2, &scep_policy_default, FX_NOW, &r, NULL) == 0 || r.stage != SCEP_OPEN_SEALED) {
			printf("\n    %s: stage %d\n", twins[i].why, (int) r.stage);
			CU_FAIL("refused otherwise");
		}
		CU_ASSERT_PTR_NULL(r.csr);
		CU_ASSERT_PTR_NOT_NULL(r.signer); /* who to answer is known */
		scep_request_clear(&r);
	}
}

/* The padding oracle: key, padding, content and CSR fail with the same words. */
static void every_failure_inside_is_one_answer(void)
{
	static const struct {
		const char *why, *path;
	} twins[] = { { "bad RSA block", "1.0.1.0.3" }, { "bad content", "1.0.2.2" } };
	AUTO(buf) struct buf text = BUF_EMPTY;
	struct err first = { 0 };
	unsigned cipher, i, k;

	CU_ASSERT_EQUAL(buf_set(&text, "not a CSR at all", 16), 0);
	for (cipher = 0; cipher < SCEP_CIPHER_N_; cipher++)
		for (i = 0; i < 4; i++) {
			AUTO(buf) struct buf inner = BUF_EMPTY;
			AUTO(buf) struct buf der = BUF_EMPTY;
			struct scep_request r = { 0 };
			struct err e = { 0 };
			const void *content = i == 2 ? (const void *) text.data : fx.csr.data;
			size_t len = i == 2 ? text.len : i == 3 ? fx.csr.len - 1 : fx.csr.len;

			CU_ASSERT_EQUAL(envelope_seal(content, len, fx.ca, (enum scep_cipher) cipher, &inner, NULL), 0);
			if (i < 2) {
				uint8_t noise[256];
				AUTO(buf) struct buf value = BUF_EMPTY;

				for (k = 0; k < sizeof(noise); k++)
					noise[k] = (uint8_t) (k * 37 + 5);
				CU_ASSERT_EQUAL(der_put(&value, i == 0 ? DER_OCTETS : DER_CONTEXT_0_PRIMITIVE, noise, sizeof(noise)), 0);
				CU_ASSERT_EQUAL(edit_at(&inner, twins[i].path, EDIT_REPLACE, value.data, value.len, &inner), 0);
			}
			CU_ASSERT_EQUAL(signed_with(base, 3, &inner, SCEP_DIGEST_SHA256, 0, &der), 0);
			CU_ASSERT_EQUAL(scep_request_open(der.data, der.len, fx.identities, 2, &scep_policy_legacy, FX_NOW, &r, &e), -EKEYREJECTED);
			CU_ASSERT_EQUAL(r.stage, SCEP_OPEN_SEALED);
			CU_ASSERT_PTR_NULL(r.csr);
			CU_ASSERT_EQUAL(r.challenge.len, 0);
			CU_ASSERT_EQUAL(e.ssl, 0);
			if (!first.code)
				first = e;
			CU_ASSERT_STRING_EQUAL(e.text, first.text);
			scep_request_clear(&r);
		}
}

static void csr_must_be_signed_by_its_own_key(void)
{
	struct scep_request_in in = fx.request;
	AUTO(buf) struct buf der = BUF_EMPTY;
	AUTO(buf) struct buf csr = BUF_EMPTY;

	CU_ASSERT_EQUAL(buf_set(&csr, fx.csr.data, fx.csr.len), 0);
	csr.data[csr.len - 1] ^= 1;
	in.content = csr.data;
	CU_ASSERT_EQUAL(scep_request_build(&in, &der, NULL), 0);
	refused("CSR signature", &der, &scep_policy_default, -EKEYREJECTED, SCEP_OPEN_SEALED, "badMessageCheck");
}

static void small_keys_are_bad_alg(void)
{
	const struct scep_csr_in csr_in = { .subject = fx.subject, .key = fx.small_key, .digest = SCEP_DIGEST_SHA256 };
	struct scep_request_in in = fx.request;
	AUTO(buf) struct buf der = BUF_EMPTY;
	AUTO(buf) struct buf csr = BUF_EMPTY;
	AUTO(x509) X509 *small = NULL;

	CU_ASSERT_EQUAL(scep_csr_build(&csr_in, &csr, NULL), 0);
	in.content = csr.data;
	in.content_len = csr.len;
	CU_ASSERT_EQUAL(scep_request_build(&in, &der, NULL), 0);
	refused("1024 bits in the CSR", &der, &scep_policy_default, -EPROTO, SCEP_OPEN_BAD_ALG, "below 2048");
	in = fx.request;
	CU_ASSERT_EQUAL(scep_self_signed(fx.subject, fx.small_key, "T", FX_NOW, &small, NULL), 0);
	in.signer = small;
	in.signer_key = fx.small_key;
	CU_ASSERT_EQUAL(scep_request_build(&in, &der, NULL), 0);
	refused("1024 bits of the signer", &der, &scep_policy_default, -EPROTO, SCEP_OPEN_BAD_ALG, "1024 bits");
}

static void version_1_signers_are_fine(void)
{
	const struct fx_cert c = { .subject = "CN=spoke-1", .key = fx.fresh_key, .nb_sec = FX_NOW, .na_sec = FX_NOW + FX_DAY, .serial = 9,
				   .version = X509_VERSION_1 };
	AUTO(x509) X509 *v1 = fx_cert_make(&c);
	struct scep_request_in in = fx.request;
	AUTO(buf) struct buf der = BUF_EMPTY;
	struct scep_request r = { 0 };

	in.signer = v1;
	CU_ASSERT_EQUAL(scep_request_build(&in, &der, NULL), 0);
	CU_ASSERT_EQUAL(scep_request_open(der.data, der.len, fx.identities, 2, &scep_policy_default, FX_NOW, &r, NULL), 0);
	CU_ASSERT_TRUE(r.signer_self_signed);
	scep_request_clear(&r);
}

static void cert_rep_is_no_request(void)
{
	AUTO(buf) struct buf der = BUF_EMPTY;

	CU_ASSERT_EQUAL(scep_reply_build(&fx.reply, &der, NULL), 0);
	refused("CertRep", &der, &scep_policy_default, -EBADMSG, SCEP_OPEN_MALFORMED, "CertRep");
}

static void large_messages_are_refused_unread(void)
{
	AUTO(buf) struct buf der = BUF_EMPTY;
	AUTO(mem) uint8_t *big = calloc(1, LIMIT_SCEP_MESSAGE_BYTES + 1);

	CU_ASSERT_EQUAL(buf_set(&der, big, LIMIT_SCEP_MESSAGE_BYTES + 1), 0);
	refused("64 KiB and one", &der, &scep_policy_default, -EBADMSG, SCEP_OPEN_MALFORMED, "bytes");
}

static CU_TestInfo tests[] = {
	{ "the good twin opens", good_twin_opens },
	{ "attributes must be as the RFC has them", attributes_must_be_as_the_rfc_has_them },
	{ "undefined message types are errors", undefined_message_types_are_errors },
	{ "a transactionID of any text and a nonce of any size are kept", transaction_id_of_any_text_and_nonce_of_any_size_are_kept },
	{ "the outer shape is an allow-list", outer_shape_is_an_allow_list },
	{ "depth is bounded", depth_is_bounded },
	{ "every prefix is refused", every_prefix_is_refused },
	{ "every changed byte is harmless", every_changed_byte_is_harmless },
	{ "a signature over anything else is refused", signature_over_anything_else_is_refused },
	{ "the signer's certificate must be in the message", signer_certificate_must_be_in_the_message },
	{ "the signer is found by identifier, not position", signer_is_found_by_identifier_not_position },
	{ "BER of real clients opens", ber_of_real_clients_opens },
	{ "weak algorithms are badAlg", weak_algorithms_are_bad_alg },
	{ "MD5 is never sent", md5_is_never_sent },
	{ "an unknown cipher is badAlg", unknown_cipher_is_bad_alg },
	{ "a signingTime far off is badTime", signing_time_far_off_is_bad_time },
	{ "another recipient is told apart", another_recipient_is_told_apart },
	{ "the envelope's shape is an allow-list", envelope_shape_is_an_allow_list },
	{ "every failure inside is one answer", every_failure_inside_is_one_answer },
	{ "a CSR must be signed by its own key", csr_must_be_signed_by_its_own_key },
	{ "small keys are badAlg", small_keys_are_bad_alg },
	{ "version 1 signers are fine", version_1_signers_are_fine },
	{ "a CertRep is no request", cert_rep_is_no_request },
	{ "large messages are refused unread", large_messages_are_refused_unread },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "opening a request", up, down, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

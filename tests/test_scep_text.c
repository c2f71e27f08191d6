/* What of SCEP is text: capabilities, URLs, base64; and the walker's parts that need no message. */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <stdio.h>
#include <string.h>

#include "scep/scep_internal.h"
#include "tests/test_main.h"

#define STANDARD (SCEP_CAP_STANDARD | SCEP_CAP_AES | SCEP_CAP_POST | SCEP_CAP_SHA256)

static void capabilities_are_read_as_the_rfc_says(void)
{
	static const struct {
		const char *why, *text;
		unsigned want;
	} rows[] = {
		{ "LF", "AES\nRenewal\n", SCEP_CAP_AES | SCEP_CAP_RENEWAL },
		{ "CRLF", "AES\r\nRenewal\r\n", SCEP_CAP_AES | SCEP_CAP_RENEWAL },
		{ "no end of line", "GetNextCACert", SCEP_CAP_GET_NEXT_CA_CERT },
		{ "case", "aes\nPOSTPKIOPERATION\nsha-256", SCEP_CAP_AES | SCEP_CAP_POST | SCEP_CAP_SHA256 },
		{ "what SCEPStandard implies", "SCEPStandard", STANDARD },
		{ "unknown words", "x.example.com\nfuture\nDES3\n", SCEP_CAP_DES3 },
		{ "blank lines set nothing", "\n\r\n\n", 0 },
		{ "a prefix is not the word", "SHA-25\nSHA\nRenewa\n", 0 },
		{ "nor is the word a prefix", "RenewalX\nAES256\nSHA-2567\n", 0 },
		{ "empty", "", 0 },
		{ "an error page", "<html><body>AES</body></html>", 0 },
		{ "not text", "AES\n\xff\xfe", 0 },
		{ "NDES", "POSTPKIOperation\nRenewal\nSHA-512\nSHA-256\nSHA-1\nDES3\n",
		  SCEP_CAP_POST | SCEP_CAP_RENEWAL | SCEP_CAP_SHA512 | SCEP_CAP_SHA256 | SCEP_CAP_SHA1 | SCEP_CAP_DES3 },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned caps = scep_caps_parse(rows[i].text, strlen(rows[i].text));

		if (caps != rows[i].want)
			printf("\n    %s: %#x, wanted %#x\n", rows[i].why, caps, rows[i].want);
		CU_ASSERT_EQUAL(caps, rows[i].want);
	}
	CU_ASSERT_EQUAL(scep_caps_parse("AES\0\n", 5), 0);
}

static void capabilities_come_back_from_their_text(void)
{
	unsigned caps;

	for (caps = 0; caps < 1024; caps++) {
		AUTO(buf) struct buf text = BUF_EMPTY;

		if ((caps & SCEP_CAP_STANDARD) && (caps & STANDARD) != STANDARD)
			continue;
		CU_ASSERT_EQUAL(scep_caps_build(caps, &text), 0);
		CU_ASSERT_EQUAL(scep_caps_parse(text.data, text.len), caps);
		CU_ASSERT_FALSE(text.len > 0 && text.data[0] == '\n');
		CU_ASSERT_PTR_NULL(text.len > 0 ? strstr((char *) text.data, "\n\n") : NULL);
	}
}

static void keywords_are_in_the_case_of_the_rfc(void)
{
	AUTO(buf) struct buf text = BUF_EMPTY;

	CU_ASSERT_EQUAL(scep_caps_build(0x3ff, &text), 0);
	CU_ASSERT_EQUAL(strcmp((char *) text.data,
			       "AES\nDES3\nGetNextCACert\nPOSTPKIOperation\nRenewal\nSHA-1\nSHA-256\nSHA-384\nSHA-512\nSCEPStandard\n"),
			0);
}

static void urls_are_built_and_escaped(void)
{
	static const struct {
		const char *base, *operation, *message;
		bool base64;
		const char *want; /* NULL: refused */
	} rows[] = {
		{ "http://172.16.1.1:80", "GetCACaps", NULL, false, "http://172.16.1.1:80/cgi-bin/pkiclient.exe?operation=GetCACaps" },
		{ "http://ca/", "GetCACert", NULL, false, "http://ca/cgi-bin/pkiclient.exe?operation=GetCACert" },
		{ "http://[::1]:8080/scep", "GetCACert", "CA ident&x=1", false, "http://[::1]:8080/scep?operation=GetCACert&message=CA%20ident%26x%3D1" },
		{ "https://ca/a/b", "PKIOperation", "\xfb\xff\xfe", true, "https://ca/a/b?operation=PKIOperation&message=%2B%2F%2F%2B" },
		{ "http://ca/x", "PKIOperation", "a", true, "http://ca/x?operation=PKIOperation&message=YQ%3D%3D" },
		{ "http://", "GetCACaps", NULL, false, NULL },
		{ "http:///path", "GetCACaps", NULL, false, NULL },
		{ "ftp://ca/", "GetCACaps", NULL, false, NULL },
		{ "ca.example.com", "GetCACaps", NULL, false, NULL },
		{ "http://ca/?x=1", "GetCACaps", NULL, false, NULL },
		{ "http://ca/#x", "GetCACaps", NULL, false, NULL },
		{ "http://ca/a b", "GetCACaps", NULL, false, NULL },
		{ "http://ca/a\r\nHost: x", "GetCACaps", NULL, false, NULL },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(buf) struct buf url = BUF_EMPTY;
		size_t len = rows[i].message ? strlen(rows[i].message) : 0;
		int r = scep_url_build(rows[i].base, rows[i].operation, rows[i].message, len, rows[i].base64, &url, NULL);

		CU_ASSERT_EQUAL(r, rows[i].want ? 0 : -EINVAL);
		if (rows[i].want && (!url.data || strcmp((char *) url.data, rows[i].want) != 0)) {
			printf("\n    %s, wanted %s\n", url.data ? (char *) url.data : "nothing", rows[i].want);
			CU_FAIL("another URL");
		}
	}
}

static void urls_are_bounded(void)
{
	AUTO(mem) char *big = calloc(1, LIMIT_URI_BYTES);
	AUTO(buf) struct buf url = BUF_EMPTY;

	CU_ASSERT_EQUAL(scep_url_build("http://ca", "PKIOperation", big, LIMIT_URI_BYTES, true, &url, NULL), -EMSGSIZE);
	CU_ASSERT_EQUAL(url.len, 0);
}

static void base64_is_read_leniently(void)
{
	static const struct {
		const char *text;
		int code;
		const char *want;
	} rows[] = {
		{ "Zm9vYmFy", 0, "foobar" },	 { "Zm9v\nYmFy\r\n", 0, "foobar" }, { "Zm9vYg==", 0, "foob" },
		{ "Zm9vYg", 0, "foob" },	 { "Zm9vYmE=", 0, "fooba" },	    { "Zm9vYmE", 0, "fooba" },
		{ "++//", 0, "\xfb\xef\xff" },	 { "  //", 0, "\xfb\xef\xff" },	    { "", -EBADMSG, NULL },
		{ "Zm9vY", -EBADMSG, NULL },	 { "====", -EBADMSG, NULL },	    { "Zg==Zg==", -EBADMSG, NULL },
		{ "Zm9v%0A", -EBADMSG, NULL }, { "Zm9v\x80", -EBADMSG, NULL }, { "Zg===", -EBADMSG, NULL },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(buf) struct buf out = BUF_EMPTY;

		CU_ASSERT_EQUAL(scep_message_decode(rows[i].text, strlen(rows[i].text), &out, NULL), rows[i].code);
		CU_ASSERT_EQUAL(out.len, rows[i].want ? strlen(rows[i].want) : 0);
		if (rows[i].want && out.len == strlen(rows[i].want))
			CU_ASSERT_EQUAL(memcmp(out.data, rows[i].want, out.len), 0);
	}
}

static void base64_is_bounded(void)
{
	size_t len = (LIMIT_SCEP_MESSAGE_BYTES / 3 + 2) * 4;
	AUTO(mem) char *big = malloc(len);
	AUTO(buf) struct buf out = BUF_EMPTY;

	memset(big, 'A', len);
	CU_ASSERT_EQUAL(scep_message_decode(big, len, &out, NULL), -EMSGSIZE);
}

static void numbers_have_names(void)
{
	CU_ASSERT_STRING_EQUAL(scep_type_name(SCEP_TYPE_PKCS_REQ), "PKCSReq");
	CU_ASSERT_PTR_NULL(scep_type_name((enum scep_type) 18));
	CU_ASSERT_STRING_EQUAL(scep_fail_name(SCEP_FAIL_BAD_CERT_ID), "badCertId");
	CU_ASSERT_PTR_NULL(scep_fail_name(SCEP_FAIL_N_));
	CU_ASSERT_STRING_EQUAL(scep_cipher_name(SCEP_CIPHER_DES), "DES-CBC");
	CU_ASSERT_STRING_EQUAL(scep_digest_name(SCEP_DIGEST_SHA384), "SHA-384");
}

static void ber_comes_out_as_der(void)
{
	static const struct {
		const char *why;
		const char *in;
		size_t in_len;
		const char *out; /* NULL: refused */
		size_t out_len;
	} rows[] = {
		{ "DER", "\x30\x03\x02\x01\x05", 5, "\x30\x03\x02\x01\x05", 5 },
		{ "indefinite", "\x30\x80\x02\x01\x05\x00\x00", 7, "\x30\x03\x02\x01\x05", 5 },
		{ "long length", "\x30\x82\x00\x03\x02\x01\x05", 7, "\x30\x03\x02\x01\x05", 5 },
		{ "pieces", "\x24\x80\x04\x01x\x04\x02yz\x00\x00", 11, "\x04\x03xyz", 5 },
		{ "pieces in pieces", "\x24\x09\x24\x03\x04\x01x\x04\x02yz", 11, "\x04\x03xyz", 5 },
		{ "no pieces", "\x24\x80\x00\x00", 4, "\x04\x00", 2 },
		{ "a number among the pieces", "\x24\x80\x02\x01\x05\x00\x00", 7, NULL, 0 },
		{ "no end", "\x30\x80\x02\x01\x05", 5, NULL, 0 },
		{ "end without beginning", "\x00\x00", 2, NULL, 0 },
		{ "indefinite primitive", "\x04\x80\x00\x00", 4, NULL, 0 },
		{ "child beyond its parent", "\x30\x03\x02\x02\x05\x06", 6, NULL, 0 },
		{ "indefinite child beyond its parent", "\x30\x03\x30\x80\x00\x00", 6, NULL, 0 },
		{ "length of five bytes", "\x30\x85\x00\x00\x00\x00\x00", 7, NULL, 0 },
		{ "length beyond the end", "\x30\x7f\x00", 3, NULL, 0 },
		{ "long tag", "\x3f\x81\x01\x00", 4, NULL, 0 },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(buf) struct buf out = BUF_EMPTY;
		int r = ber_to_der(rows[i].in, rows[i].in_len, false, &out, NULL);

		if (r != (rows[i].out ? 0 : -EBADMSG) || out.len != rows[i].out_len || (out.len && memcmp(out.data, rows[i].out, out.len) != 0)) {
			printf("\n    %s: %d, %zu bytes\n", rows[i].why, r, out.len);
			CU_FAIL("otherwise");
		}
	}
}

/* A public key with this exponent and a modulus of that many bits: enough for a judgement that must come before any computing. */
static EVP_PKEY *public_make(unsigned bits, const char *exponent_hex)
{
	AUTO(bn) BIGNUM *n = BN_new();
	AUTO(bn) BIGNUM *e = NULL;
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	OSSL_PARAM_BLD *list = OSSL_PARAM_BLD_new();
	OSSL_PARAM *params = NULL;
	EVP_PKEY *key = NULL;

	if (n && BN_set_bit(n, (int) bits - 1) == 1 && BN_set_bit(n, 0) == 1 && BN_hex2bn(&e, exponent_hex) > 0 &&
	    OSSL_PARAM_BLD_push_BN(list, OSSL_PKEY_PARAM_RSA_N, n) == 1 && OSSL_PARAM_BLD_push_BN(list, OSSL_PKEY_PARAM_RSA_E, e) == 1)
		params = OSSL_PARAM_BLD_to_param(list);
	if (params && EVP_PKEY_fromdata_init(ctx) == 1)
		(void) EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params); /* NULL tells */
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(list);
	return key;
}

static void keys_of_peers_are_bounded(void)
{
	static const struct {
		unsigned bits;
		const char *exponent;
		bool fine;
	} rows[] = {
		{ 2048, "10001", true }, { 2048, "3", true },	 { 8192, "10001", true }, { 2048, "FFFFFFFFFFFFFFFF", true },
		{ 8193, "10001", false }, { 2048, "1", false }, { 2048, "10000", false }, { 2048, "10000000000000001", false },
		{ 511, "10001", false },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		EVP_PKEY *key = public_make(rows[i].bits, rows[i].exponent);

		CU_ASSERT_PTR_NOT_NULL(key);
		CU_ASSERT_EQUAL(key_bounded(key), rows[i].fine);
		EVP_PKEY_free(key);
	}
	CU_ASSERT_FALSE(key_bounded(NULL));
}

static CU_TestInfo tests[] = {
	{ "capabilities are read as the RFC says", capabilities_are_read_as_the_rfc_says },
	{ "capabilities come back from their text", capabilities_come_back_from_their_text },
	{ "keywords are in the case of the RFC", keywords_are_in_the_case_of_the_rfc },
	{ "URLs are built and escaped", urls_are_built_and_escaped },
	{ "URLs are bounded", urls_are_bounded },
	{ "base64 is read leniently", base64_is_read_leniently },
	{ "base64 is bounded", base64_is_bounded },
	{ "numbers have names", numbers_have_names },
	{ "BER comes out as DER", ber_comes_out_as_der },
	{ "keys of peers are bounded", keys_of_peers_are_bounded },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "the text of SCEP", NULL, NULL, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

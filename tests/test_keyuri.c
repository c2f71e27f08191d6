/* Names of keys, in a URI and in a file: good ones are read, and each mistake alone is refused. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keystore/keyuri.h"
#include "tests/test_main.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define N(a) (sizeof(a) / sizeof((a)[0]))

static void good_uris_are_read(void)
{
	static const struct {
		const char *uri, *label;
		enum ks_slot slot;
		const char *spki, *socket;
	} rows[] = {
		{ "keyroll://spoke-1", "spoke-1", KS_SLOT_ACTIVE, "", "" },
		{ "keyroll:spoke-1", "spoke-1", KS_SLOT_ACTIVE, "", "" },
		{ "keyroll:object=spoke-1", "spoke-1", KS_SLOT_ACTIVE, "", "" },
		{ "keyroll://spoke-1/active", "spoke-1", KS_SLOT_ACTIVE, "", "" },
		{ "keyroll://spoke-1/shadow", "spoke-1", KS_SLOT_SHADOW, "", "" },
		{ "keyroll://spoke-1/previous", "spoke-1", KS_SLOT_PREVIOUS, "", "" },
		{ "keyroll://a.b_c?spki=" HEX64, "a.b_c", KS_SLOT_ACTIVE, HEX64, "" },
		{ "keyroll://tp?socket=/run/x.sock", "tp", KS_SLOT_ACTIVE, "", "/run/x.sock" },
		{ "keyroll://tp/shadow?socket=/run/x.sock&spki=" HEX64, "tp", KS_SLOT_SHADOW, HEX64, "/run/x.sock" },
	};

	for (size_t i = 0; i < N(rows); i++) {
		struct keyuri u;

		CU_ASSERT_EQUAL(keyuri_parse(rows[i].uri, strlen(rows[i].uri), &u, NULL), 0);
		CU_ASSERT_STRING_EQUAL(u.label, rows[i].label);
		CU_ASSERT_EQUAL(u.slot, rows[i].slot);
		CU_ASSERT_STRING_EQUAL(u.spki, rows[i].spki);
		CU_ASSERT_STRING_EQUAL(u.socket, rows[i].socket);
	}
}

static void uri_refused(const char *why, const char *uri, size_t len, const char *words)
{
	struct keyuri u;
	struct err e = { .code = 0 };
	int r = keyuri_parse(uri, len, &u, &e);

	if (r != -EINVAL || !strstr(e.text, words))
		printf("\n    %s: %d \"%s\", wanted \"%s\"\n", why, r, e.text, words);
	CU_ASSERT_EQUAL(r, -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, words));
}

static void each_mistake_in_a_uri_is_refused(void)
{
	static const struct { const char *why, *uri, *words; } twins[] = {
		{ "another scheme", "file://spoke-1", "keyroll://LABEL" },
		{ "nothing", "", "keyroll://LABEL" },
		{ "no label", "keyroll://", "key label of 0" },
		{ "no label before the slot", "keyroll:///shadow", "key label of 0" },
		{ "a slash too many", "keyroll://a/shadow/b", "active, shadow or previous" },
		{ "an unknown slot", "keyroll://a/next", "active, shadow or previous" },
		{ "half a slot", "keyroll://a/shad", "active, shadow or previous" },
		{ "a hidden label", "keyroll://.a", "starts with" },
		{ "an option for a label", "keyroll://-a", "starts with" },
		{ "a blank", "keyroll://a b", "character 0x20" },
		{ "a percent escape", "keyroll://a%2f", "character 0x25" },
		{ "an unknown option", "keyroll://a?pin=1", "spki= or socket= is wanted" },
		{ "an empty option", "keyroll://a?", "spki= or socket= is wanted" },
		{ "spki= twice", "keyroll://a?spki=" HEX64 "&spki=" HEX64, "twice" },
		{ "socket= twice", "keyroll://a?socket=/a&socket=/b", "twice" },
		{ "spki= with 63 digits", "keyroll://a?spki=123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "64 lower-case" },
		{ "spki= in capitals", "keyroll://a?spki=ABCDEF6789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "character 0x41" },
		{ "an empty socket=", "keyroll://a?socket=", "socket= of 0" },
		{ "a line end in socket=", "keyroll://a?socket=/a\n", "character 0x0a" },
	};
	static const char zero[] = "keyroll://a\0b";
	char big[KEYURI_BYTES + 2];

	for (size_t i = 0; i < N(twins); i++)
		uri_refused(twins[i].why, twins[i].uri, strlen(twins[i].uri), twins[i].words);
	uri_refused("a NUL within", zero, sizeof(zero) - 1, "spki= or socket= is wanted");
	memset(big, 'a', sizeof(big));
	memcpy(big, "keyroll://", 10);
	uri_refused("a byte too many", big, KEYURI_BYTES + 1, "at most");
	uri_refused("a label too long", big, KEYURI_BYTES, "key label of");
}

/* The DER that the PEM block holds. */
static size_t der_of(const char *uri, uint8_t out[2 * KEYURI_DER_BYTES])
{
	AUTO(buf) struct buf pem = BUF_EMPTY;
	char *from, *to;
	size_t n = 0;
	int len;

	if (keyuri_pem_build(uri, &pem) < 0 || buf_add(&pem, "", 1) < 0)
		return 0;
	from = strchr((char *) pem.data, '\n');
	to = from ? strstr(from, "-----END") : NULL;
	if (!to)
		return 0;
	for (char *p = from; p < to; p++)
		if (*p != '\n')
			((char *) pem.data)[n++] = *p;
	len = EVP_DecodeBlock(out, pem.data, (int) n);
	for (; n > 0 && pem.data[n - 1] == '='; n--)
		len--; /* EVP_DecodeBlock counts the padding */
	return len > 0 ? (size_t) len : 0;
}

static void a_file_gives_its_uri_back(void)
{
	char uri[KEYURI_BYTES + 1];

	for (size_t len = 1; len <= KEYURI_BYTES; len += len < 300 ? 1 : 53) { /* one, two and three bytes of length in DER */
		uint8_t der[2 * KEYURI_DER_BYTES];
		const char *text = NULL;
		size_t n, got = 0;

		memset(uri, 'u', len);
		uri[len] = '\0';
		n = der_of(uri, der);
		CU_ASSERT_EQUAL(keyuri_der_parse(der, n, &text, &got), 0);
		CU_ASSERT_EQUAL(got, len);
		CU_ASSERT_EQUAL(text ? memcmp(text, uri, len) : -1, 0);
	}
}

static void what_is_no_uri_is_passed_over(void)
{
	uint8_t good[2 * KEYURI_DER_BYTES], der[2 * KEYURI_DER_BYTES];
	const char *text;
	size_t len = der_of("keyroll://spoke-1", good), n;

	CU_ASSERT_TRUE(len > 0);
	for (size_t i = 0; i < 15; i++) { /* two heads and the mark */
		memcpy(der, good, len);
		der[i] ^= 1;
		CU_ASSERT_EQUAL(keyuri_der_parse(der, len, &text, &n), -EBADMSG);
	}
	for (size_t short_len = 0; short_len < len; short_len++)
		CU_ASSERT_EQUAL(keyuri_der_parse(good, short_len, &text, &n), -EBADMSG);
	memcpy(der, good, len);
	der[len] = 0;
	CU_ASSERT_EQUAL(keyuri_der_parse(der, len + 1, &text, &n), -EBADMSG);
}

static CU_TestInfo tests[] = {
	{ "good URIs are read", good_uris_are_read },
	{ "each mistake in a URI is refused", each_mistake_in_a_uri_is_refused },
	{ "a file gives its URI back", a_file_gives_its_uri_back },
	{ "what is no URI is passed over", what_is_no_uri_is_passed_over },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "names of keys", NULL, NULL, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

/* A granted certificate: one that is right, and its twins with one thing wrong each. */
#include <CUnit/CUnit.h>
#include <errno.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <string.h>

#include "agent/profile.h"
#include "agent/verify.h"
#include "common/auto_ssl.h"
#include "common/x509facts.h"
#include "tests/agent_fixture.h"
#include "tests/test_main.h"

#define T0 INT64_C(1800000000)
#define DAY INT64_C(86400)

static EVP_PKEY *ca_key, *key, *other_key;
static X509 *ca, *twin_ca, *next_ca, *old;
static char spki[X509F_SHA256_HEX];

static int setup(void)
{
	ca_key = EVP_RSA_gen(2048);
	key = EVP_RSA_gen(2048);
	other_key = EVP_RSA_gen(2048);
	if (!ca_key || !key || !other_key || spki_sha256(key, spki, NULL) < 0)
		return -1;
	ca = fixture_cert("CA", ca_key, NULL, NULL, T0, T0 + 100 * DAY, 1, true);
	twin_ca = fixture_cert("CA", other_key, NULL, NULL, T0, T0 + 100 * DAY, 1, true);
	next_ca = fixture_cert("CA", ca_key, NULL, NULL, T0 + 100 * DAY, T0 + 200 * DAY, 2, true);
	old = fixture_cert("router", key, ca, ca_key, T0, T0 + 10 * DAY, 77, false);
	return ca && twin_ca && next_ca && old ? 0 : -1;
}

static int teardown(void)
{
	X509_free(ca);
	X509_free(twin_ca);
	X509_free(next_ca);
	X509_free(old);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other_key);
	return 0;
}

static void one_wrong_thing_is_one_refusal(void)
{
	const struct {
		const char *why, *says;
		EVP_PKEY *key;
		X509 *issuer;
		EVP_PKEY *issuer_key;
		int64_t nb, na;
		long serial;
		bool is_ca;
		X509 *want_issuer;
		int want;
	} rows[] = {
		{ "right", "", key, ca, ca_key, T0, T0 + 20 * DAY, 78, false, ca, 0 },
		{ "begins in an hour: the CA's clock is ahead", "", key, ca, ca_key, T0 + DAY + 3600, T0 + 20 * DAY, 78, false, ca, 0 },
		{ "shadow: begins when its CA does", "", key, next_ca, ca_key, T0 + 100 * DAY, T0 + 110 * DAY, 78, false, next_ca, 0 },
		{ "another key", "found key", other_key, ca, ca_key, T0, T0 + 20 * DAY, 78, false, ca, -EKEYREJECTED },
		{ "signed by a stranger of the same name", "", key, twin_ca, other_key, T0, T0 + 20 * DAY, 78, false, ca, -EKEYREJECTED },
		{ "a CA's", "CA:TRUE", key, ca, ca_key, T0, T0 + 20 * DAY, 78, true, ca, -EPROTO },
		{ "expired already", "expired", key, ca, ca_key, T0 - 9 * DAY, T0 + DAY, 78, false, ca, -EPROTO },
		{ "ends before it begins", "not before", key, ca, ca_key, T0 + 9 * DAY, T0 + 8 * DAY, 78, false, ca, -EPROTO },
		{ "serial and end of the old one", "of the old one", key, ca, ca_key, T0 + 1, T0 + 10 * DAY, 77, false, ca, -EKEYREJECTED },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct verify_want want = { .issuer = rows[i].want_issuer, .spki = spki, .old = old, .now_sec = T0 + DAY, .trusted = true };
		AUTO(x509) X509 *x = fixture_cert("router", rows[i].key, rows[i].issuer, rows[i].issuer_key, rows[i].nb, rows[i].na, rows[i].serial,
						  rows[i].is_ca);
		struct err e = { 0 };
		int r;

		CU_ASSERT_PTR_NOT_NULL(x);
		if (!x)
			continue;
		r = verify_granted(x, &want, &e);
		CU_ASSERT_EQUAL(r, rows[i].want);
		CU_ASSERT_PTR_NOT_NULL(strstr(e.text, rows[i].says));
		if (r != rows[i].want || !strstr(e.text, rows[i].says))
			(void) fprintf(stderr, "%s: found %d '%s'\n", rows[i].why, r, e.text);
	}
}

static void the_old_one_itself_is_refused(void)
{
	struct verify_want want = { .issuer = ca, .spki = spki, .old = old, .now_sec = T0 + DAY, .trusted = true };

	CU_ASSERT_EQUAL(verify_granted(old, &want, NULL), -EKEYREJECTED);
	want.old = NULL;
	CU_ASSERT_EQUAL(verify_granted(old, &want, NULL), 0);
}

static void an_untrusted_clock_calls_nothing_expired(void)
{
	struct verify_want want = { .issuer = ca, .spki = spki, .now_sec = T0 + 90 * DAY, .trusted = true };

	CU_ASSERT_EQUAL(verify_granted(old, &want, NULL), -EPROTO);
	want.trusted = false;
	CU_ASSERT_EQUAL(verify_granted(old, &want, NULL), 0);
}

static void only_names_that_were_asked_for(void)
{
	static const struct {
		const char *why, *asked, *found; /* NULL: none */
		int want;
	} rows[] = {
		{ "what was asked", "DNS:a.example,IP:10.0.0.1", "IP:10.0.0.1,DNS:a.example", 0 },
		{ "less", "DNS:a.example,IP:10.0.0.1", "DNS:a.example", 0 },
		{ "none", "DNS:a.example", NULL, 0 },
		{ "in capitals", "DNS:a.example", "DNS:A.example", 0 },
		{ "one more", "DNS:a.example", "DNS:a.example,DNS:b.example", -EPROTO },
		{ "another", "DNS:a.example", "DNS:b.example", -EPROTO },
		{ "a longer one", "DNS:a.example", "DNS:a.example.org", -EPROTO },
		{ "another address", "IP:10.0.0.1", "IP:10.0.0.2", -EPROTO },
		{ "of another type", "DNS:a.example", "email:a.example", -EPROTO },
		{ "one, where none was asked for", NULL, "DNS:a.example", -EPROTO },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(req) X509_REQ *csr = fixture_csr(key, rows[i].asked);
		AUTO(x509) X509 *x = fixture_cert("router", key, ca, ca_key, T0, T0 + 20 * DAY, 78, false);
		const struct verify_want want = { .issuer = ca, .spki = spki, .csr = csr, .now_sec = T0 + DAY, .trusted = true };
		struct err e = { 0 };
		int r;

		CU_ASSERT_TRUE(csr && x && (!rows[i].found || fixture_san_add(x, rows[i].found)) && X509_sign(x, ca_key, EVP_sha256()) > 0);
		if (!csr || !x)
			continue;
		r = verify_granted(x, &want, &e);
		CU_ASSERT_EQUAL(r, rows[i].want);
		CU_ASSERT_TRUE(r == 0 || strstr(e.text, "subjectAltName") != NULL);
		if (r != rows[i].want)
			(void) fprintf(stderr, "%s: found %d '%s'\n", rows[i].why, r, e.text);
	}
}

static void two_lists_of_names_are_refused(void)
{
	AUTO(req) X509_REQ *csr = fixture_csr(key, "DNS:a.example");
	AUTO(x509) X509 *x = fixture_cert("router", key, ca, ca_key, T0, T0 + 20 * DAY, 78, false);
	const struct verify_want want = { .issuer = ca, .spki = spki, .csr = csr, .now_sec = T0 + DAY, .trusted = true };

	CU_ASSERT_TRUE(csr && x && fixture_san_add(x, "DNS:a.example") && fixture_san_add(x, "DNS:a.example") && X509_sign(x, ca_key, EVP_sha256()) > 0);
	CU_ASSERT_TRUE(x && verify_granted(x, &want, NULL) < 0);
}

static void capabilities_choose_within_the_profile(void)
{
	static const struct {
		struct tpconf conf;
		unsigned caps;
		enum scep_cipher cipher;
		enum scep_digest digest;
	} rows[] = {
		{ { .profile = TPCONF_PROFILE_DEFAULT }, 0, SCEP_CIPHER_AES128, SCEP_DIGEST_SHA256 },
		{ { .profile = TPCONF_PROFILE_DEFAULT }, SCEP_CAP_DES3 | SCEP_CAP_SHA1, SCEP_CIPHER_AES128, SCEP_DIGEST_SHA256 },
		{ { .profile = TPCONF_PROFILE_3DES }, SCEP_CAP_STANDARD, SCEP_CIPHER_AES128, SCEP_DIGEST_SHA256 },
		{ { .profile = TPCONF_PROFILE_3DES }, SCEP_CAP_DES3 | SCEP_CAP_SHA256, SCEP_CIPHER_DES3, SCEP_DIGEST_SHA256 },
		{ { .profile = TPCONF_PROFILE_3DES }, 0, SCEP_CIPHER_DES3, SCEP_DIGEST_SHA1 },
		{ { .profile = TPCONF_PROFILE_LEGACY }, 0, SCEP_CIPHER_DES3, SCEP_DIGEST_SHA1 },
		{ { .profile = TPCONF_PROFILE_LEGACY, .allow_des = true }, 0, SCEP_CIPHER_DES, SCEP_DIGEST_SHA1 },
		{ { .profile = TPCONF_PROFILE_LEGACY, .allow_des = true }, SCEP_CAP_AES, SCEP_CIPHER_AES128, SCEP_DIGEST_SHA1 },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct scep_algs a = profile_algs(&rows[i].conf, rows[i].caps);

		CU_ASSERT_EQUAL(a.cipher, rows[i].cipher);
		CU_ASSERT_EQUAL(a.digest, rows[i].digest);
	}
	CU_ASSERT_EQUAL(profile_renewal_type(SCEP_CAP_RENEWAL), SCEP_TYPE_PKCS_REQ);
	CU_ASSERT_EQUAL(profile_renewal_type(SCEP_CAP_RENEWAL | SCEP_CAP_STANDARD), SCEP_TYPE_RENEWAL_REQ);
	CU_ASSERT_FALSE(profile_post(SCEP_CAP_AES));
	CU_ASSERT_TRUE(profile_post(SCEP_CAP_POST));
}

static CU_TestInfo tests[] = {
	{ "only names that were asked for", only_names_that_were_asked_for },
	{ "two lists of names are refused", two_lists_of_names_are_refused },
	{ "one wrong thing is one refusal", one_wrong_thing_is_one_refusal },
	{ "the old certificate itself is refused", the_old_one_itself_is_refused },
	{ "an untrusted clock calls nothing expired", an_untrusted_clock_calls_nothing_expired },
	{ "capabilities choose within the profile", capabilities_choose_within_the_profile },
	CU_TEST_INFO_NULL,
};
CU_SuiteInfo test_suites[] = { { "granted certificates", setup, teardown, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

#include "tests/test_main.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "common/limits.h"
#include "common/x509facts.h"

#define T0 1767225600LL /* 2026-01-01T00:00:00Z */
#define DAY 86400LL

/* One CA, one other CA of the same name, one certificate; keys are 2048 bits because the point is the checks. */
static struct {
	EVP_PKEY *ca_key, *other_key, *id_key;
	X509 *ca, *other, *id;
} f;

struct recipe {
	const char *subject;
	X509 *issuer; /* NULL: self-signed */
	EVP_PKEY *key, *signer;
	int64_t nb_sec, na_sec;
	const char *constraints; /* NULL: none */
	int constraints_twice;
	const char *serial;
};

static int times_set(X509 *x, const struct recipe *r)
{
	AUTO(asn1_time) ASN1_TIME *nb = NULL;
	AUTO(asn1_time) ASN1_TIME *na = NULL;

	if (asn1_time_from_sec(r->nb_sec, &nb) < 0 || asn1_time_from_sec(r->na_sec, &na) < 0)
		return -1;
	return X509_set1_notBefore(x, nb) == 1 && X509_set1_notAfter(x, na) == 1 ? 0 : -1;
}

static int constraints_add(X509 *x, const struct recipe *r)
{
	AUTO(ext) X509_EXTENSION *ext = NULL;
	int i;

	if (!r->constraints)
		return 0;
	ext = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, r->constraints);
	for (i = 0; ext && i <= r->constraints_twice; i++)
		if (X509_add_ext(x, ext, -1) != 1)
			return -1;
	return ext ? 0 : -1;
}

static int serial_set(X509 *x, const char *hex)
{
	AUTO(bn) BIGNUM *n = NULL;

	return BN_hex2bn(&n, hex) > 0 && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) ? 0 : -1;
}

static X509 *bake(const struct recipe *r)
{
	AUTO(x509) X509 *x = X509_new();
	AUTO(name) X509_NAME *subject = NULL;

	if (!x || x509_name_parse(r->subject, &subject, NULL) < 0 || X509_set_version(x, X509_VERSION_3) != 1 ||
	    serial_set(x, r->serial ? r->serial : "0A1B2C3D4E5F60718293") < 0 || times_set(x, r) < 0 ||
	    X509_set_subject_name(x, subject) != 1 ||
	    X509_set_issuer_name(x, r->issuer ? X509_get_subject_name(r->issuer) : subject) != 1 || X509_set_pubkey(x, r->key) != 1 ||
	    constraints_add(x, r) < 0 || X509_sign(x, r->signer, EVP_sha256()) <= 0)
		return NULL;
	return TAKE(x);
}

static int fixture_make(void)
{
	f.ca_key = EVP_RSA_gen(2048);
	f.other_key = EVP_RSA_gen(2048);
	f.id_key = EVP_RSA_gen(2048);
	if (!f.ca_key || !f.other_key || !f.id_key)
		return -1;
	f.ca = bake(&(struct recipe){ "CN=RootCA,O=Example", NULL, f.ca_key, f.ca_key, T0, T0 + 730 * DAY, "critical,CA:TRUE", 0, "01" });
	f.other = bake(&(struct recipe){ "CN=RootCA,O=Example", NULL, f.other_key, f.other_key, T0, T0 + 730 * DAY, "critical,CA:TRUE", 0,
					 NULL });
	if (!f.ca || !f.other)
		return -1;
	f.id = bake(&(struct recipe){ "CN=spoke-1,OU=CVO", f.ca, f.id_key, f.ca_key, T0 + DAY, T0 + 366 * DAY, NULL, 0, NULL });
	return f.id ? 0 : -1;
}

static int fixture_drop(void)
{
	X509_free(f.id);
	X509_free(f.other);
	X509_free(f.ca);
	EVP_PKEY_free(f.id_key);
	EVP_PKEY_free(f.other_key);
	EVP_PKEY_free(f.ca_key);
	return 0;
}

static void facts_are_those_of_the_certificate(void)
{
	struct x509_facts facts;
	char spki[X509F_SHA256_HEX];

	CU_ASSERT_EQUAL(x509_facts_get(f.id, &facts, NULL), 0);
	CU_ASSERT_EQUAL(facts.nb_sec, T0 + DAY);
	CU_ASSERT_EQUAL(facts.na_sec, T0 + 366 * DAY);
	CU_ASSERT_STRING_EQUAL(facts.serial, "A1B2C3D4E5F60718293");
	CU_ASSERT_EQUAL(facts.serial_low, 0x2C3D4E5F60718293ULL);
	CU_ASSERT_STRING_EQUAL(facts.subject, "CN=spoke-1,OU=CVO");
	CU_ASSERT_STRING_EQUAL(facts.issuer, "CN=RootCA,O=Example");
	CU_ASSERT_EQUAL(facts.bits, 2048);
	CU_ASSERT_FALSE(facts.is_ca);
	CU_ASSERT_FALSE(facts.self_issued);
	CU_ASSERT_EQUAL(facts.key_usage, UINT32_MAX);
	CU_ASSERT_EQUAL(spki_sha256(f.id_key, spki, NULL), 0);
	CU_ASSERT_STRING_EQUAL(facts.spki_sha256, spki);
	CU_ASSERT_EQUAL(x509_facts_get(f.ca, &facts, NULL), 0);
	CU_ASSERT(facts.is_ca);
	CU_ASSERT(facts.self_issued);
	CU_ASSERT_STRING_EQUAL(facts.serial, "1");
	CU_ASSERT_STRING_NOT_EQUAL(facts.spki_sha256, spki);
}

static void long_subject_is_cut_with_dots(void)
{
	char subject[600] = "CN=a";
	struct x509_facts facts;
	X509 *x;
	int i;

	for (i = 0; i < 12; i++)
		(void) strcat(subject, ",OU=0123456789012345678901234567890123456789"); /* 532 characters */
	x = bake(&(struct recipe){ subject, f.ca, f.id_key, f.ca_key, T0, T0 + DAY, NULL, 0, NULL });
	CU_ASSERT_PTR_NOT_NULL(x);
	CU_ASSERT_EQUAL(x509_facts_get(x, &facts, NULL), 0);
	CU_ASSERT_EQUAL(strlen(facts.subject), X509F_NAME_BYTES - 1);
	CU_ASSERT_STRING_EQUAL(facts.subject + X509F_NAME_BYTES - 4, "...");
	X509_free(x);
}

static void broken_certificates_have_no_facts(void)
{
	X509 *twice = bake(&(struct recipe){ "CN=a", f.ca, f.id_key, f.ca_key, T0, T0 + DAY, "CA:TRUE", 1, NULL });
	X509 *serial = bake(&(struct recipe){ "CN=a", f.ca, f.id_key, f.ca_key, T0, T0 + DAY, NULL, 0,
					      "0102030405060708090A0B0C0D0E0F101112131415" });
	X509 *longest = bake(&(struct recipe){ "CN=a", f.ca, f.id_key, f.ca_key, T0, T0 + DAY, NULL, 0,
					       "0102030405060708090A0B0C0D0E0F1011121314" });
	struct x509_facts facts;
	struct err e = { 0 };

	CU_ASSERT_EQUAL(x509_facts_get(twice, &facts, &e), -EBADMSG);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "invalid extensions"));
	CU_ASSERT_EQUAL(x509_facts_get(serial, &facts, &e), -EBADMSG);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "serial number of 21 bytes"));
	CU_ASSERT_EQUAL(x509_facts_get(longest, &facts, &e), 0);
	CU_ASSERT_EQUAL(ERR_peek_error(), 0);
	X509_free(twice);
	X509_free(serial);
	X509_free(longest);
}

static void der_round_trips_and_nothing_may_follow(void)
{
	AUTO(buf) struct buf der = BUF_EMPTY;
	AUTO(x509) X509 *x = NULL;
	struct err e = { 0 };
	X509 *none = NULL;

	CU_ASSERT_EQUAL(x509_to_der(f.id, &der, NULL), 0);
	CU_ASSERT_EQUAL(x509_from_der(der.data, der.len, &x, NULL), 0);
	CU_ASSERT_EQUAL(X509_cmp(x, f.id), 0);
	CU_ASSERT_EQUAL(x509_from_der(der.data, der.len - 1, &none, &e), -EBADMSG);
	CU_ASSERT_EQUAL(x509_from_der(der.data, der.len + 1, &none, &e), -EBADMSG); /* the buffer's own NUL */
	CU_ASSERT_STRING_EQUAL(e.text, "1 bytes follow the certificate");
	CU_ASSERT_EQUAL(x509_from_der("", 0, &none, &e), -EBADMSG);
	CU_ASSERT_EQUAL(x509_from_der(der.data, LIMIT_CA_REPLY_BYTES + 1, &none, &e), -EBADMSG);
	CU_ASSERT_PTR_NULL(none);
	CU_ASSERT_EQUAL(ERR_peek_error(), 0);
}

static void pem_bundle_round_trips(void)
{
	AUTO(buf) struct buf pem = BUF_EMPTY;
	AUTO(x509_sk) STACK_OF(X509) *all = NULL;

	CU_ASSERT_EQUAL(buf_add(&pem, "words before\n", 13), 0);
	CU_ASSERT_EQUAL(x509_to_pem(f.id, &pem, NULL), 0);
	CU_ASSERT_EQUAL(x509_to_pem(f.ca, &pem, NULL), 0);
	CU_ASSERT_EQUAL(x509_from_pem(pem.data, pem.len, &all, NULL), 0);
	CU_ASSERT_EQUAL(sk_X509_num(all), 2);
	CU_ASSERT_EQUAL(X509_cmp(sk_X509_value(all, 0), f.id), 0);
	CU_ASSERT_EQUAL(X509_cmp(sk_X509_value(all, 1), f.ca), 0);
	CU_ASSERT_EQUAL(ERR_peek_error(), 0);
}

static void other_pem_is_refused(void)
{
	AUTO(buf) struct buf pem = BUF_EMPTY;
	STACK_OF(X509) *none = NULL;
	struct err e = { 0 };
	int i;

	CU_ASSERT_EQUAL(x509_from_pem("nothing", 7, &none, &e), -EBADMSG);
	CU_ASSERT_EQUAL(x509_from_pem("", 0, &none, &e), -EBADMSG);
	for (i = 0; i <= LIMIT_BUNDLE_CERTS; i++)
		CU_ASSERT_EQUAL(x509_to_pem(f.ca, &pem, NULL), 0);
	CU_ASSERT_EQUAL(x509_from_pem(pem.data, pem.len, &none, &e), -EBADMSG);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "more than 32"));
	pem.data[40] = '!'; /* inside the base64 of the first */
	CU_ASSERT_EQUAL(x509_from_pem(pem.data, pem.len, &none, &e), -EBADMSG);
	CU_ASSERT_PTR_NULL(none);
	CU_ASSERT_EQUAL(ERR_peek_error(), 0);
}

static ASN1_TIME *time_raw(int type, const char *text)
{
	ASN1_TIME *t = ASN1_STRING_type_new(type);

	if (t && ASN1_STRING_set(t, text, -1) != 1) {
		ASN1_TIME_free(t);
		return NULL;
	}
	return t;
}

static void times_are_those_of_rfc_5280(void)
{
	static const struct {
		int type;
		const char *text;
		int64_t sec; /* -1: refused */
	} rows[] = {
		{ V_ASN1_UTCTIME, "700101000000Z", 0 },
		{ V_ASN1_UTCTIME, "491231235959Z", 2524607999 },
		{ V_ASN1_UTCTIME, "500101000000Z", -631152000 },
		{ V_ASN1_GENERALIZEDTIME, "20500101000000Z", 2524608000 },
		{ V_ASN1_GENERALIZEDTIME, "99991231235959Z", 253402300799 },
		{ V_ASN1_UTCTIME, "7001010000Z", -1 },
		{ V_ASN1_UTCTIME, "700101000000+0000", -1 },
		{ V_ASN1_UTCTIME, "700230000000Z", -1 },
		{ V_ASN1_UTCTIME, "700101240000Z", -1 },
		{ V_ASN1_UTCTIME, "70010100000xZ", -1 },
		{ V_ASN1_GENERALIZEDTIME, "20500101000000.5Z", -1 },
		{ V_ASN1_GENERALIZEDTIME, "205001010000Z", -1 },
		{ V_ASN1_UTCTIME, "", -1 },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(asn1_time) ASN1_TIME *t = time_raw(rows[i].type, rows[i].text);
		int64_t sec = -7;
		int r = asn1_time_sec(t, &sec);

		if (rows[i].sec == -1 ? r != -EBADMSG : r != 0 || sec != rows[i].sec) {
			CU_FAIL("other time");
			printf("   %s: %d %lld\n", rows[i].text, r, (long long) sec);
		}
	}
}

static void seconds_become_the_right_type(void)
{
	static const struct {
		int64_t sec;
		int type;
	} rows[] = { { 0, V_ASN1_UTCTIME }, { 2524607999, V_ASN1_UTCTIME }, { 2524608000, V_ASN1_GENERALIZEDTIME },
		     { 253402300799, V_ASN1_GENERALIZEDTIME } };
	ASN1_TIME *none = NULL;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(asn1_time) ASN1_TIME *t = NULL;
		int64_t back = -1;

		CU_ASSERT_EQUAL(asn1_time_from_sec(rows[i].sec, &t), 0);
		CU_ASSERT_EQUAL(ASN1_STRING_type(t), rows[i].type);
		CU_ASSERT_EQUAL(asn1_time_sec(t, &back), 0);
		CU_ASSERT_EQUAL(back, rows[i].sec);
	}
	CU_ASSERT_EQUAL(asn1_time_from_sec(253402300800, &none), -ERANGE);
	CU_ASSERT_EQUAL(asn1_time_from_sec(INT64_MIN, &none), -ERANGE);
	CU_ASSERT_PTR_NULL(none);
}

static void names_print_as_they_were_written(void)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "CN=spoke-1,OU=CVO", "CN=spoke-1,OU=CVO" },
		{ "cn = spoke-1 , ou = C V O ", "CN=spoke-1,OU=C V O" },
		{ "CN=a+serialNumber=FTX1,O=x", "CN=a+serialNumber=FTX1,O=x" },
		{ "CN=a\\,b\\+c\\\"d\\\\e", "CN=a\\,b\\+c\\\"d\\\\e" },
		{ "CN=\\41\\42c", "CN=ABc" },
		{ "CN=\\ a\\ ", "CN=\\ a\\ " },
		{ "2.5.4.3=oid", "CN=oid" },
		{ "1.3.6.1.4.1.99999.1=own", "1.3.6.1.4.1.99999.1=#0C036F776E" },
		{ "C=DE,O=M\xc3\xbcller", "C=DE,O=M\\C3\\BCller" },
		{ "DC=example,DC=com", "DC=example,DC=com" },
		{ "CN=a=b", "CN=a=b" },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(name) X509_NAME *name = NULL;
		AUTO(bio) BIO *bio = BIO_new(BIO_s_mem());
		char *text = NULL;
		long len;

		CU_ASSERT_EQUAL(x509_name_parse(rows[i].in, &name, NULL), 0);
		CU_ASSERT(X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0);
		len = BIO_get_mem_data(bio, &text);
		if ((size_t) len != strlen(rows[i].out) || memcmp(text, rows[i].out, (size_t) len) != 0) {
			CU_FAIL("other name");
			printf("   %s: %.*s\n", rows[i].in, (int) len, text);
		}
	}
}

static void first_written_is_encoded_last_in_utf8(void)
{
	AUTO(name) X509_NAME *name = NULL;
	X509_NAME_ENTRY *first, *last;

	CU_ASSERT_EQUAL(x509_name_parse("CN=a,C=DE", &name, NULL), 0);
	CU_ASSERT_EQUAL(X509_NAME_entry_count(name), 2);
	first = X509_NAME_get_entry(name, 0);
	last = X509_NAME_get_entry(name, 1);
	CU_ASSERT_EQUAL(OBJ_obj2nid(X509_NAME_ENTRY_get_object(first)), NID_countryName);
	CU_ASSERT_EQUAL(ASN1_STRING_type(X509_NAME_ENTRY_get_data(first)), V_ASN1_PRINTABLESTRING);
	CU_ASSERT_EQUAL(OBJ_obj2nid(X509_NAME_ENTRY_get_object(last)), NID_commonName);
	CU_ASSERT_EQUAL(ASN1_STRING_type(X509_NAME_ENTRY_get_data(last)), V_ASN1_UTF8STRING);
}

static void bad_names_say_the_place(void)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{ "", "character 1: an attribute type" },
		{ "CN", "character 3: '=' is wanted" },
		{ "CN=", "character 4: empty value" },
		{ "CN= ,O=x", "empty value" },
		{ "CN=a,", "character 6: an attribute type" },
		{ "CN=a,,O=b", "character 6: an attribute type" },
		{ "CN=a,Foo=b", "character 6: unknown attribute type" },
		{ "9.9.9=b", "character 1: unknown attribute type" },
		{ "CN=a\\", "after \\" },
		{ "CN=a\\4", "after \\" },
		{ "CN=a\\zz", "after \\" },
		{ "CN=a\\00", "not 00" },
		{ "CN=a\"b", "character 5: this character must be escaped" },
		{ "CN=a;b", "must be escaped" },
		{ "CN=#0403", "#hex" },
		{ "C=DEU", "does not fit" },
		{ "CN=\xff", "does not fit" },
		{ "serialNumber=a\xc3\xa9", "does not fit" },
		{ "CN=01234567890123456789012345678901234567890123456789012345678901234", "does not fit" },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		X509_NAME *name = NULL;
		struct err e = { 0 };

		CU_ASSERT_EQUAL(x509_name_parse(rows[i].in, &name, &e), -EINVAL);
		CU_ASSERT_PTR_NULL(name);
		if (!strstr(e.text, rows[i].want)) {
			CU_FAIL("other words");
			printf("   %s: %s\n", rows[i].in, e.text);
		}
	}
	CU_ASSERT_EQUAL(ERR_peek_error(), 0);
}

static void issued_certificate_passes_and_each_break_is_named(void)
{
	X509 *plain = bake(&(struct recipe){ "CN=RootCA,O=Example", NULL, f.ca_key, f.ca_key, T0, T0 + 730 * DAY, NULL, 0, NULL });
	X509 *named = bake(&(struct recipe){ "CN=Other,O=Example", NULL, f.ca_key, f.ca_key, T0, T0 + 730 * DAY, "CA:TRUE", 0, NULL });
	X509 *ended = bake(&(struct recipe){ "CN=RootCA,O=Example", NULL, f.ca_key, f.ca_key, T0, T0 + 10 * DAY, "CA:TRUE", 0, NULL });
	const struct {
		X509 *issuer;
		int64_t at_sec;
		const char *want; /* NULL: passes */
	} rows[] = {
		{ f.ca, T0 + 2 * DAY, NULL },
		{ f.ca, T0 + DAY, NULL },
		{ f.ca, T0 + DAY - 1, "the certificate is not valid before 2026-01-02T00:00:00Z" },
		{ f.ca, T0 + 366 * DAY - 1, NULL },
		{ f.ca, T0 + 366 * DAY, "the certificate ended at 2027-01-02T00:00:00Z" },
		{ f.other, T0 + 2 * DAY, "signature" },
		{ plain, T0 + 2 * DAY, "not a CA certificate" },
		{ named, T0 + 2 * DAY, "not issued by this CA" },
		{ ended, T0 + 11 * DAY, "the CA certificate ended at 2026-01-11T00:00:00Z" },
		{ ended, T0 + 9 * DAY, NULL },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct err e = { 0 };
		int r = x509_check_issued(f.id, rows[i].issuer, rows[i].at_sec, &e);

		if (rows[i].want ? r != -EKEYREJECTED || !strstr(e.text, rows[i].want) : r != 0) {
			CU_FAIL("other verdict");
			printf("   row %zu: %d %s\n", i, r, e.text);
		}
	}
	CU_ASSERT_EQUAL(ERR_peek_error(), 0);
	X509_free(plain);
	X509_free(named);
	X509_free(ended);
}

#define ABC_HEX "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" /* of "abc", FIPS 180 */

static void fingerprints_are_sha_256_with_or_without_colons(void)
{
	char hex[X509F_SHA256_HEX];

	sha256_hex("abc", 3, hex);
	CU_ASSERT_STRING_EQUAL(hex, ABC_HEX);
	CU_ASSERT_EQUAL(fingerprint_parse("sha256:" ABC_HEX, hex, NULL), 0);
	CU_ASSERT_STRING_EQUAL(hex, ABC_HEX);
	hex[0] = '\0';
	CU_ASSERT_EQUAL(fingerprint_parse("SHA256:BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:B0:03:61:A3:96:17:7A:9C:B4:10:FF:61:F2:"
					  "00:15:AD",
					  hex, NULL),
			0);
	CU_ASSERT_STRING_EQUAL(hex, ABC_HEX);
}

static void other_fingerprints_are_refused_by_name(void)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{ "md5:900150983cd24fb0d6963f7d28e17f72", "MD5" },
		{ "900150983cd24fb0d6963f7d28e17f72", "MD5" },
		{ "sha1:a9993e364706816aba3e25717850c26c9cd0d89d", "SHA-1" },
		{ "A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D", "SHA-1" },
		{ ABC_HEX, "write sha256:" },
		{ "", "write sha256:" },
		{ "sha256:", "0 hex digits" },
		{ "sha256:" ABC_HEX "00", "66 hex digits" },
		{ "sha256:ba78", "4 hex digits" },
		{ "sha256:" ABC_HEX " ", "only hex digits" },
		{ "sha256:b:a7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "only hex digits" },
		{ "sha256::" ABC_HEX, "only hex digits" },
		{ "sha256:" ABC_HEX ":", "only hex digits" },
	};
	char hex[X509F_SHA256_HEX] = "untouched";
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct err e = { 0 };

		CU_ASSERT_EQUAL(fingerprint_parse(rows[i].in, hex, &e), -EINVAL);
		if (!strstr(e.text, rows[i].want)) {
			CU_FAIL("other words");
			printf("   %s: %s\n", rows[i].in, e.text);
		}
	}
	CU_ASSERT_STRING_EQUAL(hex, "untouched");
}

static CU_TestInfo cert_tests[] = {
	{ "facts are those of the certificate", facts_are_those_of_the_certificate },
	{ "a long subject is cut with dots", long_subject_is_cut_with_dots },
	{ "broken certificates have no facts", broken_certificates_have_no_facts },
	{ "DER round-trips and nothing may follow", der_round_trips_and_nothing_may_follow },
	{ "a PEM bundle round-trips", pem_bundle_round_trips },
	{ "other PEM is refused", other_pem_is_refused },
	{ "an issued certificate passes and each break is named", issued_certificate_passes_and_each_break_is_named },
	CU_TEST_INFO_NULL,
};
static CU_TestInfo plain_tests[] = {
	{ "times are those of RFC 5280", times_are_those_of_rfc_5280 },
	{ "seconds become the right type", seconds_become_the_right_type },
	{ "names print as they were written", names_print_as_they_were_written },
	{ "first written is encoded last, in UTF-8", first_written_is_encoded_last_in_utf8 },
	{ "bad names say the place", bad_names_say_the_place },
	{ "fingerprints are SHA-256, with or without colons", fingerprints_are_sha_256_with_or_without_colons },
	{ "other fingerprints are refused by name", other_fingerprints_are_refused_by_name },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = {
	{ "certificates as facts", fixture_make, fixture_drop, NULL, NULL, cert_tests },
	{ "times, names, fingerprints", NULL, NULL, NULL, NULL, plain_tests },
	CU_SUITE_INFO_NULL,
};

/* The signer's floor: each form that a CA may sign, and its twins that differ in one thing and are refused. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ca/issue.h"
#include "ca/x509sig.h"
#include "ca/signer_floor.h"
#include "common/auto_ssl.h"
#include "common/fs.h"
#include "common/x509facts.h"
#include "tests/test_main.h"

#define NB 1750000000LL
#define DAY 86400LL
#define CA_LIFETIME (730 * DAY)

static char folder[] = "/tmp/keyroll-floor-XXXXXX";
static struct floor *fl;
static EVP_PKEY *ca_key, *other_key;
static X509 *ca, *ca_other_name;
static struct buf ca_tbs, ca_spki_der;
static char ca_spki[X509F_SHA256_HEX], other_spki[X509F_SHA256_HEX];

/* ---- material ---- */

static struct floor_ask ask_for(const struct buf *bytes)
{
	return (struct floor_ask) { .spki = ca_spki, .spki_der = ca_spki_der.data, .spki_der_len = ca_spki_der.len, .digest = SCEP_DIGEST_SHA256,
		.bytes = bytes->data, .len = bytes->len };
}

static int ca_make(const char *name_text, EVP_PKEY *key, int64_t na_sec, struct buf *ret_tbs, X509 **ret)
{
	AUTO(name) X509_NAME *name = NULL;
	AUTO(buf) struct buf der = BUF_EMPTY;
	char serial[DB_SERIAL_HEX];
	struct issue_ca in = { .key = key, .serial = serial, .nb_sec = NB, .na_sec = na_sec, .hash = SCEP_DIGEST_SHA256 };

	if (x509_name_parse(name_text, &name, NULL) < 0 || issue_serial(1, serial, NULL) < 0)
		return -1;
	in.name = name;
	if (issue_ca_tbs(&in, ret_tbs, NULL) < 0)
		return -1;
	if (!ret)
		return 0;
	return x509sig_make(ret_tbs->data, ret_tbs->len, SCEP_DIGEST_SHA256, key, &der, NULL) < 0 ? -1 : x509_from_der(der.data, der.len, ret, NULL);
}

static int csr_make(const char *name_text, EVP_PKEY *key, X509_REQ **ret)
{
	AUTO(name) X509_NAME *name = NULL;
	AUTO(req) X509_REQ *req = X509_REQ_new();

	if (x509_name_parse(name_text, &name, NULL) < 0 || !req || X509_REQ_set_version(req, X509_REQ_VERSION_1) != 1 ||
	    X509_REQ_set_subject_name(req, name) != 1 ||
	    X509_REQ_set_pubkey(req, key) != 1 || X509_REQ_sign(req, key, EVP_sha256()) <= 0)
		return -1;
	*ret = TAKE(req);
	return 0;
}

static int csr_tbs_make(const char *name_text, EVP_PKEY *key, struct buf *ret)
{
	AUTO(req) X509_REQ *req = NULL;
	AUTO(der) unsigned char *der = NULL;
	int n;

	if (csr_make(name_text, key, &req) < 0)
		return -1;
	n = i2d_re_X509_REQ_tbs(req, &der);
	return n <= 0 ? -1 : buf_set(ret, der, (size_t) n);
}

static int leaf_tbs(X509 *issuer, int64_t na_sec, struct buf *ret)
{
	AUTO(req) X509_REQ *csr = NULL;
	char serial[DB_SERIAL_HEX];
	struct issue_leaf in = { .ca = issuer, .serial = serial, .nb_sec = NB + DAY, .na_sec = na_sec, .hash = SCEP_DIGEST_SHA256 };

	if (csr_make("CN=spoke-1,OU=CVO", other_key, &csr) < 0 || issue_serial(1, serial, NULL) < 0)
		return -1;
	in.csr = csr;
	return issue_leaf_tbs(&in, ret, NULL);
}

static int crl_tbs(X509 *issuer, struct buf *ret)
{
	static const struct issue_revoked gone[] = { { .serial = "01AB", .at_sec = NB + DAY, .reason = 1 } };
	const struct issue_crl in = { .ca = issuer, .number = 7, .this_sec = NB + DAY, .next_sec = NB + 2 * DAY, .revoked = gone, .n_revoked = 1,
		.hash = SCEP_DIGEST_SHA256 };

	return issue_crl_tbs(&in, ret, NULL);
}

static int key_spki_der(EVP_PKEY *key, struct buf *ret)
{
	AUTO(der) unsigned char *der = NULL;
	int n = i2d_PUBKEY(key, &der);

	return n <= 0 ? -1 : buf_set(ret, der, (size_t) n);
}

static int suite_init(void)
{
	AUTO(buf) struct buf tbs = BUF_EMPTY;

	ca_key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t) 2048);
	other_key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t) 2048);
	if (!mkdtemp(folder) || !ca_key || !other_key || floor_new("CN=Floor CA,O=Test", CA_LIFETIME * 1000, folder, &fl, NULL) < 0)
		return -1;
	if (key_spki_der(ca_key, &ca_spki_der) < 0 || spki_sha256(ca_key, ca_spki, NULL) < 0 || spki_sha256(other_key, other_spki, NULL) < 0)
		return -1;
	if (ca_make("CN=Floor CA,O=Test", ca_key, NB + CA_LIFETIME, &ca_tbs, &ca) < 0)
		return -1;
	return ca_make("CN=Another CA,O=Test", ca_key, NB + CA_LIFETIME, &tbs, &ca_other_name);
}

static int suite_clean(void)
{
	floor_free(fl);
	X509_free(ca);
	X509_free(ca_other_name);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(other_key);
	buf_clear(&ca_tbs);
	buf_clear(&ca_spki_der);
	return fs_remove_tree(folder, NULL);
}

static void check(const char *why, const struct floor_ask *ask, int want, enum floor_form want_form)
{
	enum floor_form form = FLOOR_FORM_N_;
	struct err e = { 0 };
	int r = floor_check(fl, ask, &form, &e);

	if (r != want || (want == 0 && form != want_form))
		(void) fprintf(stderr, "%s: %d (%s), form %d\n", why, r, e.text, form);
	CU_ASSERT_EQUAL(r, want);
	CU_ASSERT(want != 0 || form == want_form);
	CU_ASSERT(want == 0 || e.text[0] != '\0');
}

static void check_bytes(const char *why, const struct buf *bytes, int want, enum floor_form want_form)
{
	struct floor_ask ask = ask_for(bytes);

	check(why, &ask, want, want_form);
}

/* ---- order matters: before its own certificate a key issues nothing ---- */

static void leaf_before_own(void)
{
	AUTO(buf) struct buf tbs = BUF_EMPTY;

	CU_ASSERT_EQUAL(leaf_tbs(ca, NB + 10 * DAY, &tbs), 0);
	check_bytes("a router's certificate under a key without CA certificate", &tbs, -EPERM, FLOOR_FORM_LEAF);
}

static void own_ca(void)
{
	AUTO(buf) struct buf longer = BUF_EMPTY;
	AUTO(buf) struct buf named = BUF_EMPTY;
	struct floor_ask ask;

	CU_ASSERT_EQUAL(ca_make("CN=Floor CA,O=Test", ca_key, NB + CA_LIFETIME + 1, &longer, NULL), 0);
	CU_ASSERT_EQUAL(ca_make("CN=Another CA,O=Test", ca_key, NB + CA_LIFETIME, &named, NULL), 0);
	check_bytes("own certificate, one second too long", &longer, -EPERM, FLOOR_FORM_OWN_CA);
	floor_set_lifetime(fl, (CA_LIFETIME + 1) * 1000);
	check_bytes("the same after CACertificateLifetime= grew", &longer, 0, FLOOR_FORM_OWN_CA);
	floor_set_lifetime(fl, CA_LIFETIME * 1000);
	check_bytes("own certificate under another name", &named, -EPERM, FLOOR_FORM_OWN_CA);
	ask = ask_for(&ca_tbs);
	ask.spki = other_spki; /* asks the other key to sign it */
	check("CA:TRUE for another key than the one that signs", &ask, -EPERM, FLOOR_FORM_LEAF);
	ask = ask_for(&ca_tbs);
	ask.digest = SCEP_DIGEST_SHA384;
	check("own certificate that says SHA-256, signed with SHA-384", &ask, -EPERM, FLOOR_FORM_OWN_CA);
	ask.digest = SCEP_DIGEST_SHA1;
	check("own certificate signed with SHA-1", &ask, -EPERM, FLOOR_FORM_OWN_CA);
	check_bytes("own certificate", &ca_tbs, 0, FLOOR_FORM_OWN_CA);
	check_bytes("own certificate once more", &ca_tbs, 0, FLOOR_FORM_OWN_CA);
}

/* ---- certificates of routers, each twin one change away from a good one ---- */

static int tweak_none(X509 *x)
{
	(void) x;
	return 1;
}

static int tweak_v1(X509 *x)
{
	return X509_set_version(x, X509_VERSION_1);
}

static int serial_put(X509 *x, const char *hex, bool negative)
{
	AUTO(bn) BIGNUM *n = NULL;
	AUTO(asn1_int) ASN1_INTEGER *serial = NULL;

	if (BN_hex2bn(&n, hex) == 0)
		return 0;
	BN_set_negative(n, negative);
	serial = BN_to_ASN1_INTEGER(n, NULL);
	return serial && X509_set_serialNumber(x, serial);
}

static int tweak_serial_zero(X509 *x)
{
	return serial_put(x, "0", false);
}

static int tweak_serial_negative(X509 *x)
{
	return serial_put(x, "1234", true);
}

static int tweak_serial_20(X509 *x)
{
	return serial_put(x, "7F00000000000000000000000000000000000001", false);
}

static int tweak_serial_21(X509 *x)
{
	return serial_put(x, "8000000000000000000000000000000000000001", false);
}

static int tweak_issuer(X509 *x)
{
	return X509_set_issuer_name(x, X509_get_subject_name(ca_other_name));
}

static int tweak_own_name(X509 *x)
{
	return X509_set_subject_name(x, X509_get_subject_name(ca));
}

static int basic_put(X509 *x, int is_ca)
{
	BASIC_CONSTRAINTS *b = BASIC_CONSTRAINTS_new();
	int r;

	b->ca = is_ca;
	r = X509_add1_ext_i2d(x, NID_basic_constraints, b, 1, X509V3_ADD_REPLACE);
	BASIC_CONSTRAINTS_free(b);
	return r;
}

static int tweak_ca_true(X509 *x)
{
	return basic_put(x, 0xff);
}

static int usage_put(X509 *x, int bit)
{
	ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();
	int r = ASN1_BIT_STRING_set_bit(bits, bit, 1) && X509_add1_ext_i2d(x, NID_key_usage, bits, 1, X509V3_ADD_REPLACE);

	ASN1_BIT_STRING_free(bits);
	return r;
}

static int tweak_cert_sign(X509 *x)
{
	return usage_put(x, 5);
}

static int tweak_crl_sign(X509 *x)
{
	return usage_put(x, 6);
}

static int end_put(X509 *x, int64_t sec)
{
	AUTO(asn1_time) ASN1_TIME *t = NULL;

	return asn1_time_from_sec(sec, &t) == 0 && X509_set1_notAfter(x, t);
}

static int tweak_end_at_ca(X509 *x)
{
	return end_put(x, NB + CA_LIFETIME);
}

static int tweak_end_after_ca(X509 *x)
{
	return end_put(x, NB + CA_LIFETIME + 1);
}

static int tweak_end_before_start(X509 *x)
{
	return end_put(x, NB);
}

static int tbs_tweaked(const struct buf *tbs, int (*tweak)(X509 *x), struct buf *ret)
{
	AUTO(buf) struct buf der = BUF_EMPTY;
	AUTO(x509) X509 *x = NULL;
	AUTO(der) unsigned char *again = NULL;
	int n;

	if (x509sig_build(tbs->data, tbs->len, SCEP_DIGEST_SHA256, NULL, 0, &der) < 0 || x509_from_der(der.data, der.len, &x, NULL) < 0 || !tweak(x))
		return -1;
	n = i2d_re_X509_tbs(x, &again);
	return n <= 0 ? -1 : buf_set(ret, again, (size_t) n);
}

static void leaf(void)
{
	static const struct {
		const char *why;
		int (*tweak)(X509 *x);
		int want;
	} rows[] = {
		{ "a router's certificate", tweak_none, 0 },
		{ "of version 1", tweak_v1, -EPERM },
		{ "serial 0", tweak_serial_zero, -EPERM },
		{ "negative serial", tweak_serial_negative, -EPERM },
		{ "serial of 20 bytes", tweak_serial_20, 0 },
		{ "serial of 21 bytes", tweak_serial_21, -EPERM },
		{ "another issuer", tweak_issuer, -EPERM },
		{ "the CA's name for another key", tweak_own_name, -EPERM },
		{ "CA:TRUE", tweak_ca_true, -EPERM },
		{ "keyCertSign", tweak_cert_sign, -EPERM },
		{ "cRLSign", tweak_crl_sign, -EPERM },
		{ "ends with the CA", tweak_end_at_ca, 0 },
		{ "ends a second after the CA", tweak_end_after_ca, -EPERM },
		{ "ends before it begins", tweak_end_before_start, -EPERM },
	};
	AUTO(buf) struct buf good = BUF_EMPTY;
	size_t i;

	CU_ASSERT_EQUAL(leaf_tbs(ca, NB + 10 * DAY, &good), 0);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(buf) struct buf tbs = BUF_EMPTY;

		CU_ASSERT_EQUAL(tbs_tweaked(&good, rows[i].tweak, &tbs), 0);
		check_bytes(rows[i].why, &tbs, rows[i].want, FLOOR_FORM_LEAF);
	}
}

static void leaf_bytes(void)
{
	AUTO(buf) struct buf tbs = BUF_EMPTY;
	struct floor_ask ask;

	CU_ASSERT_EQUAL(leaf_tbs(ca, NB + 10 * DAY, &tbs), 0);
	CU_ASSERT_EQUAL(buf_add(&tbs, "", 1), 0);
	check_bytes("a byte behind the certificate", &tbs, -EPERM, FLOOR_FORM_LEAF);
	ask = ask_for(&tbs);
	ask.len -= 2;
	check("a certificate cut off", &ask, -EPERM, FLOOR_FORM_LEAF);
	ask.len = 1;
	check("one byte", &ask, -EPERM, FLOOR_FORM_LEAF);
	ask = ask_for(&tbs);
	ask.len -= 1;
	check("the certificate alone", &ask, 0, FLOOR_FORM_LEAF);
	tbs.data[4] = 0xa1; /* where [0] version stands */
	check("neither certificate nor CRL nor request", &ask, -EPERM, FLOOR_FORM_LEAF);
}

static void own_after_restart(void)
{
	struct floor *again = NULL, *kept = fl;
	AUTO(buf) struct buf tbs = BUF_EMPTY;

	CU_ASSERT_EQUAL(leaf_tbs(ca, NB + 10 * DAY, &tbs), 0);
	CU_ASSERT_EQUAL(floor_new("CN=Floor CA,O=Test", CA_LIFETIME * 1000, folder, &again, NULL), 0);
	fl = again;
	check_bytes("a certificate after the signer was started again", &tbs, 0, FLOOR_FORM_LEAF);
	fl = kept;
	floor_free(again);
}

/* ---- CRLs ---- */

static void crl(void)
{
	AUTO(buf) struct buf good = BUF_EMPTY;
	AUTO(buf) struct buf foreign = BUF_EMPTY;
	struct floor_ask ask;

	CU_ASSERT_EQUAL(crl_tbs(ca, &good), 0);
	CU_ASSERT_EQUAL(crl_tbs(ca_other_name, &foreign), 0);
	check_bytes("its CRL", &good, 0, FLOOR_FORM_CRL);
	check_bytes("another CA's CRL", &foreign, -EPERM, FLOOR_FORM_CRL);
	ask = ask_for(&good);
	ask.digest = SCEP_DIGEST_SHA512;
	check("a CRL that says SHA-256, signed with SHA-512", &ask, -EPERM, FLOOR_FORM_CRL);
	CU_ASSERT_EQUAL(buf_add(&good, "", 1), 0);
	check_bytes("a byte behind the CRL", &good, -EPERM, FLOOR_FORM_CRL);
}

/* ---- requests ---- */

static void csr(void)
{
	AUTO(buf) struct buf good = BUF_EMPTY;
	AUTO(buf) struct buf named = BUF_EMPTY;
	AUTO(buf) struct buf other = BUF_EMPTY;

	CU_ASSERT_EQUAL(csr_tbs_make("CN=Floor CA,O=Test", ca_key, &good), 0);
	CU_ASSERT_EQUAL(csr_tbs_make("CN=spoke-1", ca_key, &named), 0);
	CU_ASSERT_EQUAL(csr_tbs_make("CN=Floor CA,O=Test", other_key, &other), 0);
	check_bytes("its own request", &good, 0, FLOOR_FORM_CSR);
	check_bytes("a request for another name", &named, -EPERM, FLOOR_FORM_CSR);
	check_bytes("a request for another key", &other, -EPERM, FLOOR_FORM_CSR);
}

/* ---- signed attributes ---- */

#define OID_CONTENT_TYPE 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03
#define OID_MESSAGE_DIGEST 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04
#define ATTR_CONTENT_TYPE(last) 0x30, 0x18, OID_CONTENT_TYPE, 0x31, 0x0b, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, (last)
#define ATTR_DIGEST(type) 0x30, 0x1f, OID_MESSAGE_DIGEST, 0x31, 0x12, (type), 0x10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16
#define ID_DATA 0x01
#define ID_SIGNED_DATA 0x02
#define BYTES(...) { (uint8_t[]) { __VA_ARGS__ }, sizeof((uint8_t[]) { __VA_ARGS__ }) }

static void attributes(void)
{
	const struct {
		const char *why;
		struct {
			uint8_t *data;
			size_t len;
		} der;
		int want;
	} rows[] = {
		{ "signed attributes", BYTES(0x31, 59, ATTR_CONTENT_TYPE(ID_DATA), ATTR_DIGEST(0x04)), 0 },
		{ "contentType signed-data", BYTES(0x31, 59, ATTR_CONTENT_TYPE(ID_SIGNED_DATA), ATTR_DIGEST(0x04)), -EPERM },
		{ "no messageDigest", BYTES(0x31, 26, ATTR_CONTENT_TYPE(ID_DATA)), -EPERM },
		{ "no contentType", BYTES(0x31, 33, ATTR_DIGEST(0x04)), -EPERM },
		{ "messageDigest of another type", BYTES(0x31, 59, ATTR_CONTENT_TYPE(ID_DATA), ATTR_DIGEST(0x0c)), -EPERM },
		{ "out of order", BYTES(0x31, 59, ATTR_DIGEST(0x04), ATTR_CONTENT_TYPE(ID_DATA)), -EPERM },
		{ "one doubled", BYTES(0x31, 85, ATTR_CONTENT_TYPE(ID_DATA), ATTR_CONTENT_TYPE(ID_DATA), ATTR_DIGEST(0x04)), -EPERM },
		{ "a byte behind", BYTES(0x31, 59, ATTR_CONTENT_TYPE(ID_DATA), ATTR_DIGEST(0x04), 0x00), -EPERM },
		{ "a SEQUENCE instead of a SET", BYTES(0x30, 59, ATTR_CONTENT_TYPE(ID_DATA), ATTR_DIGEST(0x04)), -EPERM },
		{ "an empty SET", BYTES(0x31, 0), -EPERM },
		{ "a bare digest", BYTES(ATTR_DIGEST(0x04)), -EPERM },
	};
	struct floor_ask ask = ask_for(&ca_tbs);
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ask.bytes = rows[i].der.data;
		ask.len = rows[i].der.len;
		check(rows[i].why, &ask, rows[i].want, FLOOR_FORM_ATTRIBUTES);
	}
}

static CU_TestInfo tests[] = {
	{ "a key without its CA certificate issues nothing", leaf_before_own },
	{ "its own CA certificate, and what is not quite it", own_ca },
	{ "a router's certificate, and what is not quite one", leaf },
	{ "bytes that do not read back the same are refused", leaf_bytes },
	{ "the end of the CA is known after a restart", own_after_restart },
	{ "its CRL, and what is not quite it", crl },
	{ "its own request, and what is not quite it", csr },
	{ "signed attributes, and what is not quite them", attributes },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = {
	{ "the signer's floor", suite_init, suite_clean, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

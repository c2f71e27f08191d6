/* What the CA issues, read back as a stranger would; and what a request may not ask for. */
#include <errno.h>
#include <string.h>

#include "ca/issue.h"
#include "ca/selfsign.h"
#include "ca/x509sig.h"
#include "common/auto_ssl.h"
#include "common/x509facts.h"
#include "scep/scep.h"
#include "tests/test_main.h"

AUTO_DEFINE(crldp, CRL_DIST_POINTS *, CRL_DIST_POINTS_free);

#define NB 1750000000LL
#define DAY 86400LL
#define SHA2 (1u << SCEP_DIGEST_SHA256 | 1u << SCEP_DIGEST_SHA384 | 1u << SCEP_DIGEST_SHA512)

static EVP_PKEY *ca_key, *key, *weak_key, *ec_key;
static X509 *ca;

static int suite_init(void)
{
	AUTO(name) X509_NAME *name = NULL;
	struct selfsign in = { .hash = SCEP_DIGEST_SHA256, .validity = { .nb_sec = NB, .na_sec = NB + 730 * DAY } };

	ca_key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t) 2048);
	key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t) 2048);
	weak_key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t) 1024);
	ec_key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	if (!ca_key || !key || !weak_key || !ec_key || x509_name_parse("CN=RootCA,OU=TAC,O=Example", &name, NULL) < 0)
		return -1;
	in.name = name;
	in.key = ca_key;
	return selfsign_make(&in, &ca, NULL);
}

static int suite_clean(void)
{
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(key);
	EVP_PKEY_free(weak_key);
	EVP_PKEY_free(ec_key);
	X509_free(ca);
	return 0;
}

/* ---- requests ---- */

struct ask {
	const char *why, *subject;
	EVP_PKEY **key;
	const EVP_MD *(*md)(void);
	const char *san, *basic;
	int want;
};

static int ext_push(STACK_OF(X509_EXTENSION) *exts, int nid, const char *text)
{
	AUTO(ext) X509_EXTENSION *ext = text ? X509V3_EXT_conf_nid(NULL, NULL, nid, text) : NULL;

	if (!text)
		return 0;
	if (!ext || !sk_X509_EXTENSION_push(exts, ext))
		return -1;
	(void) TAKE(ext); /* the stack owns it now */
	return 0;
}

static int csr_make(const struct ask *a, X509_REQ **ret)
{
	AUTO(ext_sk) STACK_OF(X509_EXTENSION) *exts = sk_X509_EXTENSION_new_null();
	AUTO(name) X509_NAME *name = X509_NAME_new();
	AUTO(req) X509_REQ *req = X509_REQ_new();

	if (a->subject) {
		X509_NAME_free(TAKE(name));
		if (x509_name_parse(a->subject, &name, NULL) < 0)
			return -1;
	}
	if (!exts || ext_push(exts, NID_subject_alt_name, a->san) < 0 || ext_push(exts, NID_basic_constraints, a->basic) < 0)
		return -1;
	if (!req || X509_REQ_set_version(req, X509_REQ_VERSION_1) != 1 || X509_REQ_set_subject_name(req, name) != 1 || X509_REQ_set_pubkey(req, *a->key) != 1)
		return -1;
	if (sk_X509_EXTENSION_num(exts) > 0 && X509_REQ_add_extensions(req, exts) != 1)
		return -1;
	if (X509_REQ_sign(req, *a->key, a->md()) <= 0)
		return -1;
	*ret = TAKE(req);
	return 0;
}

static void requests(void)
{
	static const struct ask rows[] = {
		{ "plain", "CN=spoke-1", &key, EVP_sha256, NULL, NULL, 0 },
		{ "names", "CN=spoke-1", &key, EVP_sha384, "DNS:spoke-1.example.com,IP:192.0.2.1,IP:2001:db8::1", NULL, 0 },
		{ "CA:FALSE may be said", "CN=spoke-1", &key, EVP_sha256, NULL, "CA:FALSE", 0 },
		{ "CA:TRUE", "CN=spoke-1", &key, EVP_sha256, NULL, "CA:TRUE", -EPROTO },
		{ "no subject", NULL, &key, EVP_sha256, NULL, NULL, -EPROTO },
		{ "mail address", "CN=spoke-1", &key, EVP_sha256, "email:a@example.com", NULL, -EPROTO },
		{ "URI beside a good name", "CN=spoke-1", &key, EVP_sha256, "DNS:a.example.com,URI:http://example.com/", NULL, -EPROTO },
		{ "host name with a space", "CN=spoke-1", &key, EVP_sha256, "DNS:spoke 1", NULL, -EPROTO },
		{ "1024 bits", "CN=spoke-1", &weak_key, EVP_sha256, NULL, NULL, -EINVAL },
		{ "elliptic curve", "CN=spoke-1", &ec_key, EVP_sha256, NULL, NULL, -EINVAL },
		{ "SHA-1", "CN=spoke-1", &key, EVP_sha1, NULL, NULL, -EINVAL },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(req) X509_REQ *csr = NULL;
		struct err e = { 0 };
		int r;

		CU_ASSERT_EQUAL(csr_make(&rows[i], &csr), 0);
		if (!csr)
			continue;
		r = issue_csr_check(csr, SHA2, &e);
		if (r != rows[i].want)
			(void) fprintf(stderr, "%s: %d %s\n", rows[i].why, r, e.text);
		CU_ASSERT_EQUAL(r, rows[i].want);
	}
}

/* ---- certificates ---- */

static X509 *issued(const char *san, const char *crl_url)
{
	const struct ask ask = { "", "CN=spoke-1,OU=CVO", &key, EVP_sha256, san, NULL, 0 };
	struct issue_leaf in = { .ca = ca, .nb_sec = NB + DAY, .na_sec = NB + 366 * DAY, .hash = SCEP_DIGEST_SHA384,
		.serial = "1ABCDEF0123456789ABCDEF0123456789", .crl_url = crl_url };
	AUTO(buf) struct buf tbs = BUF_EMPTY;
	AUTO(buf) struct buf der = BUF_EMPTY;
	AUTO(req) X509_REQ *csr = NULL;
	X509 *x = NULL;

	if (csr_make(&ask, &csr) < 0)
		return NULL;
	in.csr = csr;
	if (issue_leaf_tbs(&in, &tbs, NULL) < 0 || x509sig_make(tbs.data, tbs.len, in.hash, ca_key, &der, NULL) < 0 ||
	    x509_from_der(der.data, der.len, &x, NULL) < 0)
		return NULL;
	return x;
}

static void leaf(void)
{
	AUTO(x509) X509 *x = issued("DNS:spoke-1.example.com,IP:192.0.2.1", "http://ca.example.com/crl/00.crl");
	struct x509_facts f;
	AUTO(crldp) CRL_DIST_POINTS *points = NULL;

	CU_ASSERT_PTR_NOT_NULL(x);
	if (!x || x509_facts_get(x, &f, NULL) < 0)
		return;
	CU_ASSERT_STRING_EQUAL(f.subject, "CN=spoke-1,OU=CVO");
	CU_ASSERT_STRING_EQUAL(f.issuer, "CN=RootCA,OU=TAC,O=Example");
	CU_ASSERT_STRING_EQUAL(f.serial, "1ABCDEF0123456789ABCDEF0123456789");
	CU_ASSERT_EQUAL(f.nb_sec, NB + DAY);
	CU_ASSERT_EQUAL(f.na_sec, NB + 366 * DAY);
	CU_ASSERT_FALSE(f.is_ca);
	CU_ASSERT_EQUAL(f.key_usage, KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT);
	CU_ASSERT_EQUAL(X509_get_version(x), X509_VERSION_3);
	CU_ASSERT_EQUAL(X509_get_signature_nid(x), NID_sha384WithRSAEncryption);
	CU_ASSERT_EQUAL(x509_check_issued(x, ca, NB + 2 * DAY, NULL), 0);
	CU_ASSERT_EQUAL(ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(x), X509_get0_subject_key_id(ca)), 0);
	CU_ASSERT_EQUAL(X509_check_host(x, "spoke-1.example.com", 0, 0, NULL), 1);
	CU_ASSERT_EQUAL(X509_check_ip_asc(x, "192.0.2.1", 0), 1);
	points = X509_get_ext_d2i(x, NID_crl_distribution_points, NULL, NULL);
	CU_ASSERT_EQUAL(points ? sk_DIST_POINT_num(points) : 0, 1);
}

static void same_bytes(void)
{
	AUTO(x509) X509 *one = issued(NULL, NULL);
	AUTO(x509) X509 *two = issued(NULL, NULL);

	CU_ASSERT(one && two && X509_cmp(one, two) == 0);
	CU_ASSERT(one && X509_get_ext_by_NID(one, NID_subject_alt_name, -1) == -1);
	CU_ASSERT(one && X509_get_ext_by_NID(one, NID_crl_distribution_points, -1) == -1);
}

static void new_names(void)
{
	static const struct {
		const char *san;
		bool want;
	} rows[] = { { NULL, false }, { "DNS:a.example.com", false }, { "DNS:b.example.com", true }, { "DNS:a.example.com,IP:192.0.2.1", true } };
	AUTO(x509) X509 *x = issued("DNS:a.example.com", NULL);
	size_t i;

	for (i = 0; x && i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct ask ask = { "", "CN=spoke-1,OU=CVO", &key, EVP_sha256, rows[i].san, NULL, 0 };
		AUTO(req) X509_REQ *csr = NULL;

		CU_ASSERT_EQUAL(csr_make(&ask, &csr), 0);
		CU_ASSERT_EQUAL(issue_csr_new_names(csr, x), rows[i].want);
	}
}

static void own(void)
{
	struct x509_facts f;

	if (x509_facts_get(ca, &f, NULL) < 0) {
		CU_FAIL("no facts");
		return;
	}
	CU_ASSERT(f.is_ca && f.self_issued);
	CU_ASSERT_EQUAL(f.key_usage, KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT | KU_KEY_CERT_SIGN | KU_CRL_SIGN);
	CU_ASSERT_EQUAL(X509_verify(ca, ca_key), 1);
	CU_ASSERT_EQUAL(ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(ca), X509_get0_subject_key_id(ca)), 0);
	CU_ASSERT(X509_get_extension_flags(ca) & EXFLAG_BCONS);
}

static void serials(void)
{
	char a[DB_SERIAL_HEX], b[DB_SERIAL_HEX];

	CU_ASSERT_EQUAL(issue_serial(1, a, NULL), 0);
	CU_ASSERT_EQUAL(issue_serial(1, b, NULL), 0);
	CU_ASSERT_STRING_NOT_EQUAL(a, b);
	CU_ASSERT_EQUAL(strlen(a), 33);
	CU_ASSERT_EQUAL(issue_serial(0x7f, a, NULL), 0);
	CU_ASSERT_EQUAL(strncmp(a, "7F", 2), 0);
	CU_ASSERT_EQUAL(issue_serial(0, a, NULL), -EINVAL);
	CU_ASSERT_EQUAL(issue_serial(0x80, a, NULL), -EINVAL); /* would need a 0 before it */
}

static void no_time(void)
{
	const struct ask ask = { "", "CN=spoke-1", &key, EVP_sha256, NULL, NULL, 0 };
	struct issue_leaf in = { .ca = ca, .nb_sec = NB, .na_sec = NB, .hash = SCEP_DIGEST_SHA256, .serial = "1A" };
	AUTO(buf) struct buf tbs = BUF_EMPTY;
	AUTO(req) X509_REQ *csr = NULL;

	CU_ASSERT_EQUAL(csr_make(&ask, &csr), 0);
	in.csr = csr;
	CU_ASSERT_EQUAL(issue_leaf_tbs(&in, &tbs, NULL), -EINVAL);
	in.na_sec = NB + 1;
	CU_ASSERT_EQUAL(issue_leaf_tbs(&in, &tbs, NULL), 0);
	in.hash = SCEP_DIGEST_SHA1;
	CU_ASSERT_EQUAL(issue_leaf_tbs(&in, &tbs, NULL), -EINVAL);
}

/* ---- CRL ---- */

static void crl(void)
{
	static const struct issue_revoked gone[] = { { "2B", NB + DAY, 1 }, { "1A", NB + 2 * DAY, 0 } };
	const struct issue_crl in = { .ca = ca, .number = 300, .this_sec = NB + 3 * DAY, .next_sec = NB + 4 * DAY, .revoked = gone, .n_revoked = 2,
		.hash = SCEP_DIGEST_SHA256 };
	AUTO(buf) struct buf tbs = BUF_EMPTY;
	AUTO(buf) struct buf der = BUF_EMPTY;
	AUTO(crl) X509_CRL *list = NULL;
	AUTO(asn1_int) ASN1_INTEGER *number = NULL;
	const unsigned char *p;
	X509_REVOKED *entry = NULL;
	int64_t sec = 0;

	CU_ASSERT_EQUAL(issue_crl_tbs(&in, &tbs, NULL), 0);
	CU_ASSERT_EQUAL(x509sig_make(tbs.data, tbs.len, SCEP_DIGEST_SHA256, ca_key, &der, NULL), 0);
	p = der.data;
	list = p ? d2i_X509_CRL(NULL, &p, (long) der.len) : NULL;
	CU_ASSERT_PTR_NOT_NULL(list);
	if (!list)
		return;
	CU_ASSERT_EQUAL(X509_CRL_verify(list, ca_key), 1);
	CU_ASSERT_EQUAL(X509_CRL_get_version(list), X509_CRL_VERSION_2);
	CU_ASSERT_EQUAL(sk_X509_REVOKED_num(X509_CRL_get_REVOKED(list)), 2);
	CU_ASSERT(asn1_time_sec(X509_CRL_get0_nextUpdate(list), &sec) == 0 && sec == NB + 4 * DAY);
	number = X509_CRL_get_ext_d2i(list, NID_crl_number, NULL, NULL);
	CU_ASSERT_EQUAL(number ? ASN1_INTEGER_get(number) : -1, 300);
	number = (ASN1_INTEGER_free(number), ASN1_INTEGER_new());
	CU_ASSERT(number && ASN1_INTEGER_set(number, 0x2b) == 1 && X509_CRL_get0_by_serial(list, &entry, number) == 1);
	CU_ASSERT(number && ASN1_INTEGER_set(number, 0x3c) == 1 && X509_CRL_get0_by_serial(list, &entry, number) == 0);
}

static CU_TestInfo tests[] = {
	{ "what a request may ask for", requests },
	{ "a router's certificate", leaf },
	{ "the same facts give the same bytes", same_bytes },
	{ "names that the old certificate lacks are seen", new_names },
	{ "the CA's own certificate", own },
	{ "serial numbers", serials },
	{ "no certificate without a lifetime, none under SHA-1", no_time },
	{ "a CRL", crl },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = {
	{ "what the CA issues", suite_init, suite_clean, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

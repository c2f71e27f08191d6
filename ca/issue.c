/* Certificates that the CA issues: see issue.h. CRLs are in issue_crl.c, the checks of a request in issue_csr.c. */
#include "ca/issue.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "ca/issue_internal.h"
#include "ca/x509sig.h"
#include "common/x509facts.h"

#define SERIAL_RANDOM_BYTES 16
#define KEY_ID_BYTES 20

AUTO_DEFINE(crldp, CRL_DIST_POINTS *, CRL_DIST_POINTS_free);
AUTO_DEFINE(dist_point, DIST_POINT *, DIST_POINT_free);
AUTO_DEFINE(basic, BASIC_CONSTRAINTS *, BASIC_CONSTRAINTS_free);
AUTO_DEFINE(gen, GENERAL_NAME *, GENERAL_NAME_free);

int issue_serial(uint8_t instance, char ret_hex[DB_SERIAL_HEX], struct err *reterr)
{
	unsigned char random[SERIAL_RANDOM_BYTES];
	size_t i;

	if (instance < 1 || instance > 127)
		return err_set(reterr, -EINVAL, "instance byte %u, 1 to 127 wanted", instance);
	if (RAND_bytes(random, sizeof(random)) != 1)
		return err_from_openssl(reterr, -EIO, "no random bytes for a serial number");
	(void) snprintf(ret_hex, DB_SERIAL_HEX, "%X", (unsigned) instance); /* fits: 2 + 32 */
	for (i = 0; i < sizeof(random); i++)
		(void) sprintf(ret_hex + strlen(ret_hex), "%02X", random[i]);
	return 0;
}

void issue_crl_name(const char *spki, char ret[ISSUE_CRL_NAME_BYTES])
{
	(void) snprintf(ret, ISSUE_CRL_NAME_BYTES, "%.16s.crl", spki); /* 16 and 4 */
}

/* ---- extensions ---- */

static int ext_add(X509 *x, int nid, void *value, bool critical, struct err *reterr)
{
	if (X509_add1_ext_i2d(x, nid, value, critical, X509V3_ADD_DEFAULT) != 1)
		return err_from_openssl(reterr, -ENOMEM, "extension %s", OBJ_nid2sn(nid));
	return 0;
}

static int basic_add(X509 *x, bool ca, struct err *reterr)
{
	AUTO(basic) BASIC_CONSTRAINTS *basic = BASIC_CONSTRAINTS_new();

	if (!basic)
		return err_from_openssl(reterr, -ENOMEM, "basicConstraints");
	basic->ca = ca ? 0xff : 0;
	return ext_add(x, NID_basic_constraints, basic, true, reterr);
}

static int usage_add(X509 *x, bool ca, struct err *reterr)
{
	AUTO(asn1_octets) ASN1_OCTET_STRING *bits = ASN1_BIT_STRING_new();
	static const int leaf[] = { 0, 2 }, both[] = { 0, 2, 5, 6 }; /* digitalSignature keyEncipherment keyCertSign cRLSign */
	const int *list = ca ? both : leaf;
	size_t i, n = ca ? 4 : 2;

	if (!bits)
		return err_from_openssl(reterr, -ENOMEM, "keyUsage");
	for (i = 0; i < n; i++)
		if (ASN1_BIT_STRING_set_bit(bits, list[i], 1) != 1)
			return err_from_openssl(reterr, -ENOMEM, "keyUsage");
	return ext_add(x, NID_key_usage, bits, true, reterr);
}

/* RFC 7093 section 2, method 1: the left 160 bits of SHA-256 over the key's bits. */
static int key_id(X509_PUBKEY *key, unsigned char ret[KEY_ID_BYTES], struct err *reterr)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	const unsigned char *bits = NULL;
	int len = 0;
	unsigned n = 0;

	if (!key || X509_PUBKEY_get0_param(NULL, &bits, &len, NULL, key) != 1 ||
	    EVP_Digest(bits, (size_t) len, digest, &n, EVP_sha256(), NULL) != 1 || n < KEY_ID_BYTES)
		return err_from_openssl(reterr, -EINVAL, "key identifier");
	memcpy(ret, digest, KEY_ID_BYTES);
	return 0;
}

static int key_id_octets(X509 *x, ASN1_OCTET_STRING **ret, struct err *reterr)
{
	AUTO(asn1_octets) ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
	unsigned char bytes[KEY_ID_BYTES];
	int r;

	r = key_id(X509_get_X509_PUBKEY(x), bytes, reterr);
	if (r < 0)
		return r;
	if (!id || ASN1_OCTET_STRING_set(id, bytes, sizeof(bytes)) != 1)
		return err_from_openssl(reterr, -ENOMEM, "subjectKeyIdentifier");
	*ret = TAKE(id);
	return 0;
}

static int ski_add(X509 *x, struct err *reterr)
{
	AUTO(asn1_octets) ASN1_OCTET_STRING *id = NULL;
	int r;

	r = key_id_octets(x, &id, reterr);
	return r < 0 ? r : ext_add(x, NID_subject_key_identifier, id, false, reterr);
}

int issue_akid_make(const ASN1_OCTET_STRING *issuer_id, AUTHORITY_KEYID **ret, struct err *reterr)
{
	AUTO(akid) AUTHORITY_KEYID *akid = AUTHORITY_KEYID_new();

	if (!issuer_id)
		return err_set(reterr, -EINVAL, "the CA certificate has no subjectKeyIdentifier");
	if (akid)
		akid->keyid = ASN1_OCTET_STRING_dup(issuer_id);
	if (!akid || !akid->keyid)
		return err_from_openssl(reterr, -ENOMEM, "authorityKeyIdentifier");
	*ret = TAKE(akid);
	return 0;
}

static int akid_add(X509 *x, X509 *ca, struct err *reterr)
{
	AUTO(akid) AUTHORITY_KEYID *akid = NULL;
	int r;

	r = issue_akid_make(X509_get0_subject_key_id(ca), &akid, reterr);
	return r < 0 ? r : ext_add(x, NID_authority_key_identifier, akid, false, reterr);
}

/* A certificate that is being made has no extensions to be asked for: OpenSSL would cache what it sees now. */
static int akid_add_own(X509 *x, struct err *reterr)
{
	AUTO(asn1_octets) ASN1_OCTET_STRING *id = NULL;
	AUTO(akid) AUTHORITY_KEYID *akid = NULL;
	int r;

	if ((r = key_id_octets(x, &id, reterr)) < 0 || (r = issue_akid_make(id, &akid, reterr)) < 0)
		return r;
	return ext_add(x, NID_authority_key_identifier, akid, false, reterr);
}

static int uri_make(const char *url, GENERAL_NAME **ret)
{
	AUTO(gen) GENERAL_NAME *name = GENERAL_NAME_new();
	AUTO(asn1_octets) ASN1_OCTET_STRING *text = ASN1_IA5STRING_new();

	if (!name || !text || ASN1_STRING_set(text, url, -1) != 1)
		return -ENOMEM;
	GENERAL_NAME_set0_value(name, GEN_URI, TAKE(text)); /* the name owns it now */
	*ret = TAKE(name);
	return 0;
}

static int dist_point_make(const char *url, DIST_POINT **ret)
{
	AUTO(dist_point) DIST_POINT *point = DIST_POINT_new();
	AUTO(gen) GENERAL_NAME *name = NULL;

	if (!point || uri_make(url, &name) < 0)
		return -ENOMEM;
	point->distpoint = DIST_POINT_NAME_new();
	if (!point->distpoint)
		return -ENOMEM;
	point->distpoint->type = 0;
	point->distpoint->name.fullname = GENERAL_NAMES_new();
	if (!point->distpoint->name.fullname || !sk_GENERAL_NAME_push(point->distpoint->name.fullname, name))
		return -ENOMEM;
	(void) TAKE(name); /* the stack owns it now */
	*ret = TAKE(point);
	return 0;
}

static int cdp_add(X509 *x, const char *url, struct err *reterr)
{
	AUTO(crldp) CRL_DIST_POINTS *points = CRL_DIST_POINTS_new();
	AUTO(dist_point) DIST_POINT *point = NULL;

	if (!points || dist_point_make(url, &point) < 0 || !sk_DIST_POINT_push(points, point))
		return err_from_openssl(reterr, -ENOMEM, "cRLDistributionPoints");
	(void) TAKE(point); /* the stack owns it now */
	return ext_add(x, NID_crl_distribution_points, points, false, reterr);
}

static int san_add(X509 *x, X509_REQ *csr, struct err *reterr)
{
	AUTO(gens) GENERAL_NAMES *names = NULL;
	int r;

	r = issue_csr_names(csr, &names, reterr);
	if (r < 0 || !names)
		return r;
	return ext_add(x, NID_subject_alt_name, names, false, reterr);
}

/* ---- the frame of a certificate ---- */

static int serial_set(X509 *x, const char *hex, struct err *reterr)
{
	AUTO(asn1_int) ASN1_INTEGER *serial = NULL;
	AUTO(bn) BIGNUM *n = NULL;

	if (!*hex || BN_hex2bn(&n, hex) != (int) strlen(hex))
		return err_from_openssl(reterr, -EINVAL, "serial number in hex wanted");
	serial = BN_to_ASN1_INTEGER(n, NULL);
	if (!serial || X509_set_serialNumber(x, serial) != 1)
		return err_from_openssl(reterr, -ENOMEM, "serial number");
	return 0;
}

static int validity_set(X509 *x, int64_t nb_sec, int64_t na_sec, struct err *reterr)
{
	AUTO(asn1_time) ASN1_TIME *nb = NULL;
	AUTO(asn1_time) ASN1_TIME *na = NULL;

	if (na_sec <= nb_sec)
		return err_set(reterr, -EINVAL, "no validity is left: notAfter would not be after notBefore");
	if (asn1_time_from_sec(nb_sec, &nb) < 0 || asn1_time_from_sec(na_sec, &na) < 0)
		return err_set(reterr, -EINVAL, "validity beyond the year 9999");
	if (X509_set1_notBefore(x, nb) != 1 || X509_set1_notAfter(x, na) != 1)
		return err_from_openssl(reterr, -ENOMEM, "validity");
	return 0;
}

static int algorithm_set(const X509_ALGOR *inside, enum scep_digest hash, struct err *reterr)
{
	int nid = x509sig_algorithm_nid(hash);
	X509_ALGOR *algor = (X509_ALGOR *) inside; /* the only setters are the signing functions, and here the record comes first */

	if (nid == NID_undef || X509_ALGOR_set0(algor, OBJ_nid2obj(nid), V_ASN1_NULL, NULL) != 1)
		return err_from_openssl(reterr, -EINVAL, "no certificate is signed with %s", scep_digest_name(hash));
	return 0;
}

struct frame {
	const X509_NAME *subject, *issuer;
	EVP_PKEY *key;
	const char *serial;
	int64_t nb_sec, na_sec;
	enum scep_digest hash;
};

static int frame_make(const struct frame *in, X509 **ret, struct err *reterr)
{
	AUTO(x509) X509 *x = X509_new();
	int r;

	if (!x || X509_set_version(x, X509_VERSION_3) != 1 || X509_set_subject_name(x, in->subject) != 1 ||
	    X509_set_issuer_name(x, in->issuer) != 1 || X509_set_pubkey(x, in->key) != 1)
		return err_from_openssl(reterr, -ENOMEM, "certificate");
	if ((r = serial_set(x, in->serial, reterr)) < 0 || (r = validity_set(x, in->nb_sec, in->na_sec, reterr)) < 0 ||
	    (r = algorithm_set(X509_get0_tbs_sigalg(x), in->hash, reterr)) < 0)
		return r;
	*ret = TAKE(x);
	return 0;
}

static int tbs_out(X509 *x, struct buf *ret, struct err *reterr)
{
	AUTO(der) unsigned char *der = NULL;
	int n = i2d_re_X509_tbs(x, &der);

	if (n <= 0)
		return err_from_openssl(reterr, -ENOMEM, "TBSCertificate");
	return buf_set(ret, der, (size_t) n);
}

int issue_leaf_tbs(const struct issue_leaf *in, struct buf *ret_tbs, struct err *reterr)
{
	struct frame frame = {
		.subject = X509_REQ_get_subject_name(in->csr),
		.issuer = X509_get_subject_name(in->ca),
		.key = X509_REQ_get0_pubkey(in->csr),
		.serial = in->serial,
		.nb_sec = in->nb_sec,
		.na_sec = in->na_sec,
		.hash = in->hash,
	};
	AUTO(x509) X509 *x = NULL;
	int r;

	r = frame_make(&frame, &x, reterr);
	if (r < 0)
		return r;
	if ((r = basic_add(x, false, reterr)) < 0 || (r = usage_add(x, false, reterr)) < 0 || (r = ski_add(x, reterr)) < 0 ||
	    (r = akid_add(x, in->ca, reterr)) < 0 || (r = san_add(x, in->csr, reterr)) < 0)
		return r;
	if (in->crl_url && (r = cdp_add(x, in->crl_url, reterr)) < 0)
		return r;
	return tbs_out(x, ret_tbs, reterr);
}

int issue_ca_tbs(const struct issue_ca *in, struct buf *ret_tbs, struct err *reterr)
{
	struct frame frame = {
		.subject = in->name,
		.issuer = in->name,
		.key = in->key,
		.serial = in->serial,
		.nb_sec = in->nb_sec,
		.na_sec = in->na_sec,
		.hash = in->hash,
	};
	AUTO(x509) X509 *x = NULL;
	int r;

	r = frame_make(&frame, &x, reterr);
	if (r < 0)
		return r;
	if ((r = basic_add(x, true, reterr)) < 0 || (r = usage_add(x, true, reterr)) < 0 || (r = ski_add(x, reterr)) < 0 ||
	    (r = akid_add_own(x, reterr)) < 0)
		return r;
	return tbs_out(x, ret_tbs, reterr);
}

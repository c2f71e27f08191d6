/* CRLs: see issue.h. */
#include "ca/issue.h"

#include <errno.h>
#include <string.h>

#include "ca/issue_internal.h"
#include "ca/x509sig.h"
#include "common/x509facts.h"

AUTO_DEFINE(algor, X509_ALGOR *, X509_ALGOR_free);
AUTO_DEFINE(asn1_enum, ASN1_ENUMERATED *, ASN1_ENUMERATED_free);
AUTO_DEFINE(revoked, X509_REVOKED *, X509_REVOKED_free);

/* The least TBSCertList: version 2, algorithm, issuer, a time. OpenSSL has no setter for the algorithm inside a CRL but its signing functions. */
static int skeleton_tbs(const struct issue_crl *in, struct buf *ret)
{
	static const unsigned char version[] = { 0x02, 0x01, 0x01 },
				   when[] = { 0x17, 0x0d, '7', '0', '0', '1', '0', '1', '0', '0', '0', '0', '0', '0', 'Z' };
	AUTO(algor) X509_ALGOR *algor = X509_ALGOR_new();
	AUTO(der) unsigned char *algor_der = NULL;
	AUTO(der) unsigned char *name_der = NULL;
	unsigned char head[16], *p = head;
	int n_algor, n_name, nid = x509sig_algorithm_nid(in->hash);

	if (!algor || nid == NID_undef || X509_ALGOR_set0(algor, OBJ_nid2obj(nid), V_ASN1_NULL, NULL) != 1)
		return -EINVAL;
	n_algor = i2d_X509_ALGOR(algor, &algor_der);
	n_name = i2d_X509_NAME(X509_get_subject_name(in->ca), &name_der);
	if (n_algor <= 0 || n_name <= 0)
		return -ENOMEM;
	ASN1_put_object(&p, 1, (int) (sizeof(version) + sizeof(when)) + n_algor + n_name, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
	if (buf_set(ret, head, (size_t) (p - head)) < 0 || buf_add(ret, version, sizeof(version)) < 0 ||
	    buf_add(ret, algor_der, (size_t) n_algor) < 0 || buf_add(ret, name_der, (size_t) n_name) < 0 ||
	    buf_add(ret, when, sizeof(when)) < 0)
		return -ENOMEM;
	return 0;
}

static int frame_make(const struct issue_crl *in, X509_CRL **ret, struct err *reterr)
{
	AUTO(buf) struct buf tbs = BUF_EMPTY;
	AUTO(buf) struct buf der = BUF_EMPTY;
	const unsigned char *p;
	int r;

	if ((r = skeleton_tbs(in, &tbs)) < 0 || (r = x509sig_build(tbs.data, tbs.len, in->hash, NULL, 0, &der)) < 0)
		return err_from_openssl(reterr, r, "CRL");
	p = der.data;
	*ret = d2i_X509_CRL(NULL, &p, (long) der.len);
	return *ret ? 0 : err_from_openssl(reterr, -ENOMEM, "CRL");
}

static int revoked_reason(X509_REVOKED *entry, int reason)
{
	AUTO(asn1_enum) ASN1_ENUMERATED *code = NULL;

	if (reason == 0)
		return 0; /* unspecified: RFC 5280 5.3.1 wants it absent */
	code = ASN1_ENUMERATED_new();
	if (!code || ASN1_ENUMERATED_set(code, reason) != 1 ||
	    X509_REVOKED_add1_ext_i2d(entry, NID_crl_reason, code, 0, X509V3_ADD_DEFAULT) != 1)
		return -ENOMEM;
	return 0;
}

static int revoked_add(X509_CRL *crl, const struct issue_revoked *in, struct err *reterr)
{
	AUTO(revoked) X509_REVOKED *entry = X509_REVOKED_new();
	AUTO(asn1_int) ASN1_INTEGER *serial = NULL;
	AUTO(asn1_time) ASN1_TIME *at = NULL;
	AUTO(bn) BIGNUM *n = NULL;

	if (BN_hex2bn(&n, in->serial) != (int) strlen(in->serial) || asn1_time_from_sec(in->at_sec, &at) < 0)
		return err_from_openssl(reterr, -EINVAL, "revoked certificate %s", in->serial);
	serial = BN_to_ASN1_INTEGER(n, NULL);
	if (!entry || !serial || X509_REVOKED_set_serialNumber(entry, serial) != 1 || X509_REVOKED_set_revocationDate(entry, at) != 1 ||
	    revoked_reason(entry, in->reason) < 0 || X509_CRL_add0_revoked(crl, entry) != 1)
		return err_from_openssl(reterr, -ENOMEM, "revoked certificate %s", in->serial);
	(void) TAKE(entry); /* the CRL owns it now */
	return 0;
}

static int times_set(X509_CRL *crl, const struct issue_crl *in, struct err *reterr)
{
	AUTO(asn1_time) ASN1_TIME *this_update = NULL;
	AUTO(asn1_time) ASN1_TIME *next_update = NULL;

	if (asn1_time_from_sec(in->this_sec, &this_update) < 0 || asn1_time_from_sec(in->next_sec, &next_update) < 0)
		return err_set(reterr, -EINVAL, "CRL times beyond the year 9999");
	if (X509_CRL_set1_lastUpdate(crl, this_update) != 1 || X509_CRL_set1_nextUpdate(crl, next_update) != 1)
		return err_from_openssl(reterr, -ENOMEM, "CRL times");
	return 0;
}

static int extensions_add(X509_CRL *crl, const struct issue_crl *in, struct err *reterr)
{
	AUTO(akid) AUTHORITY_KEYID *akid = NULL;
	AUTO(asn1_int) ASN1_INTEGER *number = ASN1_INTEGER_new();
	int r;

	r = issue_akid_make(X509_get0_subject_key_id(in->ca), &akid, reterr);
	if (r < 0)
		return r;
	if (!number || ASN1_INTEGER_set_int64(number, in->number) != 1 ||
	    X509_CRL_add1_ext_i2d(crl, NID_authority_key_identifier, akid, 0, X509V3_ADD_DEFAULT) != 1 ||
	    X509_CRL_add1_ext_i2d(crl, NID_crl_number, number, 0, X509V3_ADD_DEFAULT) != 1)
		return err_from_openssl(reterr, -ENOMEM, "CRL extensions");
	return 0;
}

static int tbs_out(X509_CRL *crl, struct buf *ret, struct err *reterr)
{
	AUTO(der) unsigned char *der = NULL;
	int n;

	if (X509_CRL_sort(crl) != 1)
		return err_from_openssl(reterr, -ENOMEM, "TBSCertList");
	n = i2d_re_X509_CRL_tbs(crl, &der);
	if (n <= 0)
		return err_from_openssl(reterr, -ENOMEM, "TBSCertList");
	return buf_set(ret, der, (size_t) n);
}

int issue_crl_tbs(const struct issue_crl *in, struct buf *ret_tbs, struct err *reterr)
{
	AUTO(crl) X509_CRL *crl = NULL;
	size_t i;
	int r;

	r = frame_make(in, &crl, reterr);
	if (r < 0)
		return r;
	if ((r = times_set(crl, in, reterr)) < 0 || (r = extensions_add(crl, in, reterr)) < 0)
		return r;
	for (i = 0; i < in->n_revoked; i++) {
		r = revoked_add(crl, &in->revoked[i], reterr);
		if (r < 0)
			return r;
	}
	return tbs_out(crl, ret_tbs, reterr);
}

/* Verifying the one signature of a message that the walker has accepted. The signer's certificate is found by its identifier, never by position,
 * and its key is bounded before OpenSSL computes with it. */
#include <assert.h>
#include <errno.h>
#include <openssl/cms.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <string.h>

#include "common/x509facts.h"
#include "scep/scep_internal.h"

bool key_bounded(EVP_PKEY *key)
{
	AUTO(bn) BIGNUM *e = NULL;
	int bits;

	if (!key || !EVP_PKEY_is_a(key, "RSA"))
		return false;
	bits = EVP_PKEY_get_bits(key);
	if (bits < 512 || bits > SCEP_RSA_BITS_MAX)
		return false;
	if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e) != 1)
		return false;
	return BN_is_odd(e) && !BN_is_one(e) && BN_num_bits(e) <= SCEP_RSA_EXPONENT_BITS_MAX;
}

int signing_time_check(const struct shape_attrs *attrs, const struct scep_policy *policy, int64_t now_sec, struct err *reterr)
{
	AUTO(asn1_time) ASN1_TIME *t = NULL;
	const unsigned char *at = attrs->signing_time.at;
	int64_t then_sec;

	if (!at || policy->max_skew_sec == 0)
		return 0;
	t = d2i_ASN1_TIME(NULL, &at, (long) attrs->signing_time.left);
	if (!t || at != attrs->signing_time.at + attrs->signing_time.left || asn1_time_sec(t, &then_sec) < 0)
		return err_from_openssl(reterr, -EPROTO, "found a signingTime that is no time (RFC 5652 11.3)");
	if (then_sec > now_sec + policy->max_skew_sec || then_sec < now_sec - policy->max_skew_sec)
		return err_set(reterr, -EPROTO, "found signingTime %+lld s off, wanted at most %lld (RFC 8894 3.2.1.4, badTime)",
			       (long long) (then_sec - now_sec), (long long) policy->max_skew_sec);
	return 0;
}

/* The certificate that the SignerInfo names: borrowed from its owner. */
static X509 *signer_among(CMS_SignerInfo *si, X509 *const *signers, size_t n, size_t *ret_index)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (CMS_SignerInfo_cert_cmp(si, signers[i]) == 0) {
			*ret_index = i;
			return signers[i];
		}
	return NULL;
}

static X509 *signer_within(CMS_SignerInfo *si, STACK_OF(X509) *certs)
{
	int i;

	for (i = 0; i < sk_X509_num(certs); i++)
		if (CMS_SignerInfo_cert_cmp(si, sk_X509_value(certs, i)) == 0)
			return sk_X509_value(certs, i);
	return NULL;
}

/* A CMS object of exactly these bytes. */
static int cms_read(const struct buf *der, CMS_ContentInfo **ret, struct err *reterr)
{
	const unsigned char *at = der->data;
	AUTO(cms) CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &at, (long) der->len);

	if (!cms || at != der->data + der->len)
		return err_from_openssl(reterr, -EBADMSG, "found no CMS message that OpenSSL reads");
	*ret = TAKE(cms);
	return 0;
}

static int signature_verify(CMS_ContentInfo *cms, X509 *signer, bool content_present, struct err *reterr)
{
	AUTO(bio) BIO *nothing = content_present ? NULL : BIO_new_mem_buf("", 0);
	STACK_OF(X509) *only = sk_X509_new_null();
	int r = 0;

	if (!only || (!content_present && !nothing) || !sk_X509_push(only, signer))
		r = -ENOMEM;
	/* who signed is the caller's question; the signature and the digest are OpenSSL's */
	else if (CMS_verify(cms, only, NULL, nothing, NULL, CMS_BINARY | CMS_NOINTERN | CMS_NO_SIGNER_CERT_VERIFY) != 1)
		r = -EKEYREJECTED;
	sk_X509_free(only); /* borrowed its certificate */
	return r < 0 ? err_from_openssl(reterr, r, "the signature does not verify (RFC 8894 3.2)") : 0;
}

int signed_verify(const struct buf *der, const struct shape_signed *shape, X509 *const *signers, size_t n, X509 **ret_signer, size_t *ret_index,
		  struct err *reterr)
{
	AUTO(cms) CMS_ContentInfo *cms = NULL;
	AUTO(x509_sk) STACK_OF(X509) *certs = NULL;
	X509 *signer;
	CMS_SignerInfo *si;
	size_t index = 0;
	int r;

	r = cms_read(der, &cms, reterr);
	if (r < 0)
		return r;
	si = sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(cms), 0);
	if (!si)
		return err_from_openssl(reterr, -EBADMSG, "found no SignerInfo");
	if (n == 0)
		certs = CMS_get1_certs(cms);
	signer = n == 0 ? signer_within(si, certs) : signer_among(si, signers, n, &index);
	if (!signer)
		return err_from_openssl(reterr, -EKEYREJECTED, "found a signer that is not among the %s (RFC 8894 3.2)",
					n == 0 ? "message's certificates" : "CA's certificates");
	if (!key_bounded(X509_get0_pubkey(signer)))
		return err_from_openssl(reterr, -EKEYREJECTED, "found a signer's key that is not RSA of at most %d bits", SCEP_RSA_BITS_MAX);
	r = signature_verify(cms, signer, shape->content_present, reterr);
	if (r < 0)
		return r;
	if (!X509_up_ref(signer))
		return err_from_openssl(reterr, -ENOMEM, "out of memory");
	*ret_signer = signer;
	if (ret_index)
		*ret_index = index;
	return 0;
}

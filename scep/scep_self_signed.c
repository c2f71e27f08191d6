/* The throw-away certificate that signs a first request, RFC 8894 2.3. */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>

#include "common/x509facts.h"
#include "scep/scep.h"

enum { SERIAL_BYTES = 16, BEFORE_SEC = 3600, AFTER_SEC = 30 * 86400 };

/* From the transactionID, so that a repeated request has the same signer. */
static int serial_set(X509 *x, const char *transaction_id)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned int len = 0;
	AUTO(bn) BIGNUM *bn = NULL;

	if (EVP_Digest(transaction_id, strlen(transaction_id), md, &len, EVP_sha256(), NULL) != 1)
		return -ENOMEM;
	md[0] = (unsigned char) ((md[0] & 0x7f) | 0x40); /* positive, and of full length */
	bn = BN_bin2bn(md, SERIAL_BYTES, NULL);
	if (!bn || !BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x)))
		return -ENOMEM;
	return 0;
}

static int times_set(X509 *x, int64_t now_sec)
{
	AUTO(asn1_time) ASN1_TIME *nb = NULL;
	AUTO(asn1_time) ASN1_TIME *na = NULL;
	int r;

	r = asn1_time_from_sec(now_sec - BEFORE_SEC, &nb);
	if (r == 0)
		r = asn1_time_from_sec(now_sec + AFTER_SEC, &na);
	if (r < 0)
		return r;
	return X509_set1_notBefore(x, nb) == 1 && X509_set1_notAfter(x, na) == 1 ? 0 : -ENOMEM;
}

static int usage_set(X509 *x)
{
	ASN1_BIT_STRING *usage = ASN1_BIT_STRING_new();
	int r = -ENOMEM;

	if (usage && ASN1_BIT_STRING_set_bit(usage, 0, 1) == 1 && ASN1_BIT_STRING_set_bit(usage, 2, 1) == 1 && /* digitalSignature, keyEncipherment */
	    X509_add1_ext_i2d(x, NID_key_usage, usage, 1, X509V3_ADD_DEFAULT) == 1)
		r = 0;
	ASN1_BIT_STRING_free(usage);
	return r;
}

int scep_self_signed(X509_NAME *subject, EVP_PKEY *key, const char *transaction_id, int64_t now_sec, X509 **ret, struct err *reterr)
{
	AUTO(x509) X509 *x = X509_new();

	if (!x || X509_set_version(x, X509_VERSION_3) != 1 || X509_set_subject_name(x, subject) != 1 || X509_set_issuer_name(x, subject) != 1 ||
	    X509_set_pubkey(x, key) != 1 || serial_set(x, transaction_id) < 0 || times_set(x, now_sec) < 0 || usage_set(x) < 0)
		return err_from_openssl(reterr, -ENOMEM, "cannot fill the self-signed certificate");
	if (X509_sign(x, key, EVP_sha256()) <= 0)
		return err_from_openssl(reterr, -ENOKEY, "the key cannot sign");
	*ret = TAKE(x);
	return 0;
}

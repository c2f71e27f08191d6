/* PKCS#10 as IOS asks: subject, challenge, subjectAltName, and the key usage of a router. */
#include <errno.h>
#include <openssl/objects.h>
#include <string.h>

#include "scep/scep.h"

AUTO_DEFINE(general_names, GENERAL_NAMES *, GENERAL_NAMES_free);
AUTO_DEFINE(general_name, GENERAL_NAME *, GENERAL_NAME_free);

static const EVP_MD *csr_md(enum scep_digest d)
{
	switch (d) {
	case SCEP_DIGEST_SHA256:
	case SCEP_DIGEST_SHA1: /* a legacy peer's digest is no reason for a weak CSR */
	case SCEP_DIGEST_MD5:
		return EVP_sha256();
	case SCEP_DIGEST_SHA384:
		return EVP_sha384();
	case SCEP_DIGEST_SHA512:
		return EVP_sha512();
	case SCEP_DIGEST_N_:
		break;
	}
	return NULL;
}

static int name_add(GENERAL_NAMES *names, int type, const char *text)
{
	AUTO(general_name) GENERAL_NAME *name = a2i_GENERAL_NAME(NULL, NULL, NULL, type, text, 0);

	if (!name || !sk_GENERAL_NAME_push(names, name))
		return -EINVAL;
	(void) TAKE(name); /* the list owns it now */
	return 0;
}

static int names_add(GENERAL_NAMES *names, int type, const char *const *list, struct err *reterr)
{
	for (; list && *list; list++)
		if (name_add(names, type, *list) < 0)
			return err_from_openssl(reterr, -EINVAL, "found %.100s, wanted %s", *list, type == GEN_IPADD ? "an IP address" : "a DNS name");
	return 0;
}

static int ext_add(STACK_OF(X509_EXTENSION) **exts, int nid, void *value, bool critical)
{
	return X509V3_add1_i2d(exts, nid, value, critical, X509V3_ADD_APPEND) == 1 ? 0 : -ENOMEM;
}

static int usage_add(STACK_OF(X509_EXTENSION) **exts)
{
	ASN1_BIT_STRING *usage = ASN1_BIT_STRING_new();
	int r = -ENOMEM;

	if (usage && ASN1_BIT_STRING_set_bit(usage, 0, 1) == 1 && ASN1_BIT_STRING_set_bit(usage, 2, 1) == 1) /* digitalSignature, keyEncipherment */
		r = ext_add(exts, NID_key_usage, usage, true);
	ASN1_BIT_STRING_free(usage);
	return r;
}

static int extensions_add(X509_REQ *csr, const struct scep_csr_in *in, struct err *reterr)
{
	AUTO(ext_sk) STACK_OF(X509_EXTENSION) *exts = sk_X509_EXTENSION_new_null();
	AUTO(general_names) GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	int r;

	if (!exts || !names || usage_add(&exts) < 0)
		return err_from_openssl(reterr, -ENOMEM, "out of memory");
	r = names_add(names, GEN_DNS, in->dns, reterr);
	if (r == 0)
		r = names_add(names, GEN_IPADD, in->ip, reterr);
	if (r < 0)
		return r;
	if (sk_GENERAL_NAME_num(names) > 0 && ext_add(&exts, NID_subject_alt_name, names, false) < 0)
		return err_from_openssl(reterr, -ENOMEM, "out of memory");
	if (X509_REQ_add_extensions(csr, exts) != 1)
		return err_from_openssl(reterr, -ENOMEM, "cannot add extensions to the CSR");
	return 0;
}

static bool is_printable_string(const char *text)
{
	return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?") == strlen(text);
}

static int challenge_add(X509_REQ *csr, const char *challenge, struct err *reterr)
{
	size_t len = challenge ? strlen(challenge) : 0;

	if (len == 0)
		return 0;
	if (len > LIMIT_CHALLENGE_BYTES)
		return err_set(reterr, -EINVAL, "found a challenge of %zu bytes, wanted at most %d", len, LIMIT_CHALLENGE_BYTES);
	if (X509_REQ_add1_attr_by_NID(csr, NID_pkcs9_challengePassword, is_printable_string(challenge) ? V_ASN1_PRINTABLESTRING : V_ASN1_UTF8STRING,
				      (const unsigned char *) challenge, (int) len) != 1)
		return err_from_openssl(reterr, -ENOMEM, "cannot add the challenge to the CSR");
	return 0;
}

static int csr_write(X509_REQ *csr, struct buf *ret, struct err *reterr)
{
	unsigned char *der = NULL;
	int len = i2d_X509_REQ(csr, &der), r;

	if (len <= 0)
		return err_from_openssl(reterr, -ENOMEM, "cannot write the CSR");
	r = buf_set(ret, der, (size_t) len);
	OPENSSL_clear_free(der, (size_t) len); /* it holds the challenge */
	return r < 0 ? err_set(reterr, r, "out of memory") : 0;
}

int scep_csr_build(const struct scep_csr_in *in, struct buf *ret_der, struct err *reterr)
{
	AUTO(req) X509_REQ *csr = X509_REQ_new();
	int r;

	if (!csr_md(in->digest))
		return err_set(reterr, -EINVAL, "found no digest for the CSR");
	if (!csr || X509_REQ_set_version(csr, X509_REQ_VERSION_1) != 1 || X509_REQ_set_subject_name(csr, in->subject) != 1 ||
	    X509_REQ_set_pubkey(csr, in->key) != 1)
		return err_from_openssl(reterr, -ENOMEM, "cannot fill the CSR");
	r = challenge_add(csr, in->challenge, reterr);
	if (r == 0)
		r = extensions_add(csr, in, reterr);
	if (r < 0)
		return r;
	if (X509_REQ_sign(csr, in->key, csr_md(in->digest)) <= 0)
		return err_from_openssl(reterr, -ENOKEY, "the key cannot sign the CSR");
	return csr_write(csr, ret_der, reterr);
}

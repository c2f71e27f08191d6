/* SIGNED{} of X.509: see x509sig.h. */
#include "ca/x509sig.h"

#include <errno.h>
#include <openssl/objects.h>
#include <string.h>
#include <strings.h>

#include "common/auto_ssl.h"
#include "common/x509facts.h"

AUTO_DEFINE(algor, X509_ALGOR *, X509_ALGOR_free);

static const struct {
	int md_nid, sig_nid;
	const char *name, *name3; /* as OpenSSL 1 and OpenSSL 3 say it */
} digests[SCEP_DIGEST_N_] = {
	[SCEP_DIGEST_SHA256] = { NID_sha256, NID_sha256WithRSAEncryption, "SHA256", "SHA2-256" },
	[SCEP_DIGEST_SHA384] = { NID_sha384, NID_sha384WithRSAEncryption, "SHA384", "SHA2-384" },
	[SCEP_DIGEST_SHA512] = { NID_sha512, NID_sha512WithRSAEncryption, "SHA512", "SHA2-512" },
	/* mirrored in CMS for old clients: no certificate is signed with it */
	[SCEP_DIGEST_SHA1] = { NID_sha1, NID_undef, "SHA1", "SHA-1" },
};

int x509sig_algorithm_nid(enum scep_digest digest)
{
	return digest < SCEP_DIGEST_N_ ? digests[digest].sig_nid : NID_undef;
}

const EVP_MD *x509sig_md(enum scep_digest digest)
{
	return x509sig_algorithm_nid(digest) == NID_undef ? NULL : EVP_get_digestbynid(digests[digest].md_nid);
}

int x509sig_digest_from_name(const char *name, enum scep_digest *ret)
{
	size_t i;

	for (i = 0; i < SCEP_DIGEST_N_; i++)
		if (digests[i].name && (strcasecmp(name, digests[i].name) == 0 || strcasecmp(name, digests[i].name3) == 0)) {
			*ret = (enum scep_digest) i;
			return 0;
		}
	return -EINVAL;
}

static int algorithm_der(enum scep_digest digest, unsigned char **ret, size_t *ret_len)
{
	AUTO(algor) X509_ALGOR *algor = X509_ALGOR_new();
	int nid = x509sig_algorithm_nid(digest), n;

	if (!algor || nid == NID_undef || X509_ALGOR_set0(algor, OBJ_nid2obj(nid), V_ASN1_NULL, NULL) != 1)
		return -ENOMEM;
	n = i2d_X509_ALGOR(algor, ret);
	if (n <= 0)
		return -ENOMEM;
	*ret_len = (size_t) n;
	return 0;
}

static int bits_der(const void *signature, size_t len, unsigned char **ret, size_t *ret_len)
{
	AUTO(asn1_octets) ASN1_OCTET_STRING *bits = ASN1_BIT_STRING_new();
	int n;

	if (!bits || ASN1_STRING_set(bits, signature ? signature : "", (int) len) != 1)
		return -ENOMEM;
	bits->flags = (bits->flags & ~0x07L) | ASN1_STRING_FLAG_BITS_LEFT; /* no unused bits, also when the last byte is 0 */
	n = i2d_ASN1_BIT_STRING(bits, ret);
	if (n <= 0)
		return -ENOMEM;
	*ret_len = (size_t) n;
	return 0;
}

int x509sig_build(const void *tbs, size_t tbs_len, enum scep_digest digest, const void *signature, size_t signature_len, struct buf *ret)
{
	AUTO(der) unsigned char *algorithm = NULL;
	AUTO(der) unsigned char *bits = NULL;
	AUTO(buf) struct buf out = BUF_EMPTY;
	size_t algorithm_len = 0, bits_len = 0;
	unsigned char head[16], *p = head;
	int r;

	if (tbs_len > LIMIT_CA_REPLY_BYTES || signature_len > LIMIT_SCEP_MESSAGE_BYTES)
		return -EMSGSIZE;
	if ((r = algorithm_der(digest, &algorithm, &algorithm_len)) < 0 || (r = bits_der(signature, signature_len, &bits, &bits_len)) < 0)
		return err_from_openssl(NULL, r, "signed");
	ASN1_put_object(&p, 1, (int) (tbs_len + algorithm_len + bits_len), V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
	if ((r = buf_set(&out, head, (size_t) (p - head))) < 0 || (r = buf_add(&out, tbs, tbs_len)) < 0 ||
	    (r = buf_add(&out, algorithm, algorithm_len)) < 0 || (r = buf_add(&out, bits, bits_len)) < 0)
		return r;
	buf_take(ret, &out);
	return 0;
}

int x509sig_tbs_digest(const void *tbs, size_t tbs_len, enum scep_digest *ret)
{
	AUTO(buf) struct buf der = BUF_EMPTY;
	AUTO(x509) X509 *x = NULL;
	const ASN1_OBJECT *oid = NULL;
	int i;

	if (x509sig_build(tbs, tbs_len, SCEP_DIGEST_SHA256, NULL, 0, &der) < 0 || x509_from_der(der.data, der.len, &x, NULL) < 0)
		return -EINVAL;
	X509_ALGOR_get0(&oid, NULL, NULL, X509_get0_tbs_sigalg(x));
	for (i = 0; i < SCEP_DIGEST_N_; i++)
		if (digests[i].sig_nid != NID_undef && digests[i].sig_nid == OBJ_obj2nid(oid)) {
			*ret = (enum scep_digest) i;
			return 0;
		}
	return -EINVAL;
}

int x509sig_make(const void *tbs, size_t tbs_len, enum scep_digest digest, EVP_PKEY *key, struct buf *ret, struct err *reterr)
{
	AUTO(md_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	AUTO(der) unsigned char *signature = NULL;
	size_t len = (size_t) EVP_PKEY_get_size(key);
	const EVP_MD *md = x509sig_md(digest);
	int r;

	if (!md)
		return err_set(reterr, -EINVAL, "no certificate is signed with that digest, sha256 sha384 or sha512 wanted");
	signature = ctx ? OPENSSL_malloc(len) : NULL;
	if (!signature)
		return err_from_openssl(reterr, -ENOMEM, "signature");
	if (EVP_DigestSignInit_ex(ctx, NULL, EVP_MD_get0_name(md), NULL, NULL, key, NULL) != 1 ||
	    EVP_DigestSign(ctx, signature, &len, tbs, tbs_len) != 1)
		return err_from_openssl(reterr, -EIO, "the signer did not sign");
	r = x509sig_build(tbs, tbs_len, digest, signature, len, ret);
	if (r < 0)
		return err_set(reterr, r, "signed structure of %zu bytes cannot be built", tbs_len);
	return 0;
}

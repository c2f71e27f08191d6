/* The pkcsPKIEnvelope: sealing, and opening without telling why it failed. */
#include <errno.h>
#include <openssl/cms.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <string.h>

#include "scep/scep_internal.h"
#include "scep/scep_oid.h"

enum { DES_KEY_BYTES = 8, PLAIN_KEY_BYTES_MAX = SCEP_RSA_BITS_MAX / 8 };

static void cipher_free_(EVP_CIPHER *c)
{
	EVP_CIPHER_free(c);
}
AUTO_DEFINE(cipher, EVP_CIPHER *, cipher_free_);
AUTO_DEFINE(cipher_ctx, EVP_CIPHER_CTX *, EVP_CIPHER_CTX_free);

static int cms_write(CMS_ContentInfo *cms, struct buf *ret)
{
	AUTO(der) unsigned char *der = NULL;
	int len = i2d_CMS_ContentInfo(cms, &der);

	if (len <= 0)
		return -ENOMEM;
	return buf_set(ret, der, (size_t) len);
}

static int seal(BIO *in, STACK_OF(X509) *to, enum scep_cipher which, struct buf *ret, struct err *reterr)
{
	OSSL_LIB_CTX *libctx = which == SCEP_CIPHER_DES ? legacy_context() : NULL;
	AUTO(cipher) EVP_CIPHER *cipher = NULL;
	AUTO(cms) CMS_ContentInfo *cms = NULL;

	if (which == SCEP_CIPHER_DES && !libctx)
		return err_from_openssl(reterr, -ENOTSUP, "found no DES in OpenSSL's legacy provider");
	cipher = EVP_CIPHER_fetch(libctx, scep_cipher_ossl(which), NULL);
	if (!cipher)
		return err_from_openssl(reterr, -ENOTSUP, "OpenSSL has no %s", scep_cipher_name(which));
	cms = CMS_encrypt_ex(to, in, cipher, CMS_BINARY, libctx, NULL);
	if (!cms)
		return err_from_openssl(reterr, -EINVAL, "cannot encrypt to the recipient");
	if (cms_write(cms, ret) < 0)
		return err_from_openssl(reterr, -ENOMEM, "out of memory");
	return 0;
}

/* CMS_encrypt says yes when memory fails at the content, and leaves it out: what goes out passes the walker that guards what comes in. */
static int sealed_check(const struct buf *der, size_t len, enum scep_cipher which, struct err *reterr)
{
	size_t block = scep_cipher_block_bytes(which);
	struct der in = { .at = der->data, .left = der->len };
	struct shape_envelope shape;
	int r;

	r = shape_envelope(&in, &shape, reterr);
	if (r < 0)
		return r;
	if (!shape.cipher_known || shape.cipher != which || shape.content.left != (len / block + 1) * block)
		return err_set(reterr, -ENOMEM, "found an envelope of %zu bytes for a content of %zu", shape.content.left, len);
	return 0;
}

int envelope_seal(const void *content, size_t len, X509 *recipient, enum scep_cipher cipher, struct buf *ret, struct err *reterr)
{
	AUTO(bio) BIO *in = BIO_new_mem_buf(content, (int) len);
	AUTO(buf) struct buf out = BUF_EMPTY;
	STACK_OF(X509) *to = sk_X509_new_null();
	int r;

	if (!key_bounded(X509_get0_pubkey(recipient)))
		r = err_from_openssl(reterr, -EINVAL, "found a recipient without RSA key of at most %d bits (RFC 8894 3.2)", SCEP_RSA_BITS_MAX);
	else if (!in || !to || !sk_X509_push(to, recipient))
		r = err_from_openssl(reterr, -ENOMEM, "out of memory");
	else
		r = seal(in, to, cipher, &out, reterr);
	sk_X509_free(to); /* borrowed its certificate */
	if (r == 0)
		r = sealed_check(&out, len, cipher, reterr);
	if (r == 0)
		buf_take(ret, &out);
	return r;
}

static int cms_read(const struct buf *der, CMS_ContentInfo **ret)
{
	const unsigned char *at = der->data;

	*ret = d2i_CMS_ContentInfo(NULL, &at, (long) der->len);
	return *ret && at == der->data + der->len ? 0 : -EBADMSG;
}

int envelope_is_for(const struct buf *der, X509 *recipient, struct err *reterr)
{
	AUTO(cms) CMS_ContentInfo *cms = NULL;
	CMS_RecipientInfo *ri;

	if (cms_read(der, &cms) < 0)
		return err_from_openssl(reterr, -EBADMSG, "found no envelope that OpenSSL reads");
	ri = sk_CMS_RecipientInfo_value(CMS_get0_RecipientInfos(cms), 0);
	if (!ri || CMS_RecipientInfo_type(ri) != CMS_RECIPINFO_TRANS)
		return err_from_openssl(reterr, -EBADMSG, "found another kind of recipient");
	return CMS_RecipientInfo_ktri_cert_cmp(ri, recipient) == 0;
}

/* CMS_decrypt with the recipient's certificate hides a bad padding behind a random content key. */
static bool unseal_cms(const struct buf *der, X509 *recipient, EVP_PKEY *key, struct buf *ret)
{
	AUTO(cms) CMS_ContentInfo *cms = NULL;
	AUTO(bio) BIO *out = BIO_new(BIO_s_secmem()); /* wiped when freed */
	char *plain = NULL;
	long len;

	if (!out || cms_read(der, &cms) < 0 || CMS_decrypt(cms, key, recipient, NULL, out, CMS_BINARY) != 1)
		return false;
	len = BIO_get_mem_data(out, &plain);
	return len > 0 && buf_set(ret, plain, (size_t) len) == 0;
}

/* 0xff when equal, else 0, without a branch on either. */
static uint8_t mask_equal(size_t a, size_t b)
{
	size_t x = a ^ b;

	return (uint8_t) ~((0 - ((x | (0 - x)) >> (8 * sizeof(x) - 1))) & 0xff);
}

/* The content key by RSA in the default context, where a provider's handle lives. A bad padding yields the random key that was drawn before: what
 * follows is the same work with the same outcome as a wrong key. */
static bool des_key_get(EVP_PKEY *key, const struct der *sealed, uint8_t ret[DES_KEY_BYTES])
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	uint8_t plain[PLAIN_KEY_BYTES_MAX] = { 0 }, good;
	size_t len = sizeof(plain), i;
	int ok;

	if (!ctx || RAND_bytes(ret, DES_KEY_BYTES) != 1 || EVP_PKEY_decrypt_init(ctx) != 1 ||
	    EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) != 1)
		return false;
	ok = EVP_PKEY_decrypt(ctx, plain, &len, sealed->at, sealed->left);
	good = mask_equal((size_t) ok, 1) & mask_equal(len, DES_KEY_BYTES);
	for (i = 0; i < DES_KEY_BYTES; i++)
		ret[i] = (uint8_t) ((ret[i] & ~good) | (plain[i] & good));
	OPENSSL_cleanse(plain, sizeof(plain));
	return true;
}

static bool des_content_get(const struct shape_envelope *shape, const uint8_t *key, struct buf *ret)
{
	OSSL_LIB_CTX *libctx = legacy_context();
	AUTO(cipher) EVP_CIPHER *des = libctx ? EVP_CIPHER_fetch(libctx, scep_cipher_ossl(SCEP_CIPHER_DES), NULL) : NULL;
	AUTO(cipher_ctx) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	AUTO(buf) struct buf plain = BUF_SECRET;
	int n = 0, last = 0;

	/* room first; the content is as long as its plaintext at most */
	if (!des || !ctx || buf_set(&plain, shape->content.at, shape->content.left) < 0 || EVP_DecryptInit_ex2(ctx, des, key, shape->iv.at, NULL) != 1)
		return false;
	if (EVP_DecryptUpdate(ctx, plain.data, &n, shape->content.at, (int) shape->content.left) != 1 ||
	    EVP_DecryptFinal_ex(ctx, plain.data + n, &last) != 1)
		return false;
	return n + last > 0 && buf_set(ret, plain.data, (size_t) (n + last)) == 0;
}

static bool unseal_des(const struct shape_envelope *shape, EVP_PKEY *key, struct buf *ret)
{
	uint8_t content_key[DES_KEY_BYTES];
	bool ok;

	if (!des_key_get(key, &shape->key, content_key))
		return false;
	ok = des_content_get(shape, content_key, ret);
	OPENSSL_cleanse(content_key, sizeof(content_key));
	return ok;
}

bool envelope_unseal(const struct buf *der, const struct shape_envelope *shape, X509 *recipient, EVP_PKEY *key, struct buf *ret)
{
	AUTO(buf) struct buf plain = BUF_SECRET;
	bool ok = false;

	if (shape->key.left == (size_t) EVP_PKEY_get_size(key))
		ok = shape->cipher == SCEP_CIPHER_DES ? unseal_des(shape, key, &plain) : unseal_cms(der, recipient, key, &plain);
	(void) err_from_openssl(NULL, 0, "%s", ""); /* only empties the queue: nobody learns the reason */
	if (ok)
		buf_take(ret, &plain);
	return ok;
}

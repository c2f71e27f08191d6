/* What all backends share: choice, the checked private operation, throw-away keys. */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "common/fs.h"
#include "keystore/backend.h"
#include "keystore/pad.h"
#include "keystore/seal.h"

const struct backend *backend_get(enum ks_protection p)
{
	switch (p) {
	case KS_PROTECTION_KERNEL:
		return &backend_kernel;
	case KS_PROTECTION_KEYRING:
		return &backend_keyring;
	case KS_PROTECTION_TOKEN:
		return &backend_token;
	case KS_PROTECTION_AUTO:
	case KS_PROTECTION_N_:
		break;
	}
	return NULL;
}

bool backend_there(const struct backend_levels *l, enum ks_protection p)
{
	/* the kernel has parsed the key when it counts it */
	return backend_get(p) && (l->why_not[p].code == 0 || l->why_not[p].code == -EDQUOT);
}

int backend_choose(const struct backend_levels *l, enum ks_protection wanted, const struct backend **ret, struct err *reterr)
{
	if (wanted == KS_PROTECTION_AUTO)
		wanted = backend_there(l, KS_PROTECTION_KERNEL) ? KS_PROTECTION_KERNEL : KS_PROTECTION_KEYRING;
	*ret = backend_get(wanted);
	if (!backend_there(l, wanted))
		return err_set(reterr, -ENOTSUP, "Protection=%s is not to be had here: %s", ks_protection_name(wanted), l->why_not[wanted].text);
	return 0;
}

int backend_public(EVP_PKEY *pub, const uint8_t *in, uint8_t *out, size_t k, struct err *reterr)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pub, NULL);
	size_t len = k;

	if (!ctx || EVP_PKEY_encrypt_init(ctx) != 1 || EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) != 1 || EVP_PKEY_encrypt(ctx, out, &len, in, k) != 1 ||
	    len != k)
		return err_from_openssl(reterr, -EINVAL, "public operation");
	return 0;
}

int backend_private(const struct backend *b, const struct backend_key *key, const uint8_t *in, uint8_t *out, size_t k, struct err *reterr)
{
	uint8_t back[PAD_K_MAX];
	int r;

	if (k > sizeof(back))
		return err_set(reterr, -EINVAL, "key of %zu bytes, at most %zu", k, sizeof(back));
	r = b->private_op(key, in, out, k, reterr);
	if (r == 0 && (backend_public(key->pub, out, back, k, NULL) < 0 || CRYPTO_memcmp(back, in, k) != 0)) /* it may not even be below the modulus */
		r = err_set(reterr, -EIO, "the private operation gave a wrong result, which is withheld");
	if (r < 0)
		OPENSSL_cleanse(out, k);
	return r;
}

int backend_pkcs8(const EVP_PKEY *key, struct buf *ret, struct err *reterr)
{
	AUTO(p8) PKCS8_PRIV_KEY_INFO *p8 = EVP_PKEY2PKCS8(key);
	unsigned char *der = NULL;
	int len = p8 ? i2d_PKCS8_PRIV_KEY_INFO(p8, &der) : -1, r;

	if (len <= 0)
		return err_from_openssl(reterr, -ENOMEM, "encoding a key");
	r = buf_set(ret, der, (size_t) len);
	OPENSSL_clear_free(der, (size_t) len);
	return r;
}

/* The throw-away key: what lies at path, else a new one. It guards nothing. */
static EVP_PKEY *throw_away(const char *path, struct buf *ret_pkcs8, struct err *reterr)
{
	const unsigned char *p;
	EVP_PKEY *key = NULL;

	if (fs_read(path, SEAL_BLOB_BYTES, ret_pkcs8, NULL) == 0) {
		p = ret_pkcs8->data;
		key = d2i_AutoPrivateKey(NULL, &p, (long) ret_pkcs8->len);
		if (key)
			return key;
		(void) err_from_openssl(NULL, -EBADMSG, "probe"); /* damaged: another is as good */
	}
	key = EVP_RSA_gen(2048);
	if (!key || backend_pkcs8(key, ret_pkcs8, reterr) < 0 || fs_write(path, ret_pkcs8->data, ret_pkcs8->len, 0600, reterr) < 0) {
		EVP_PKEY_free(key);
		return NULL;
	}
	return key;
}

int backend_probe(const char *probe_path, struct backend_levels *ret, struct err *reterr)
{
	AUTO(buf) struct buf pkcs8 = BUF_SECRET;
	struct err why = { .code = -ENOMEM, .text = "making the key of the probe" };
	AUTO(pkey) EVP_PKEY *key = throw_away(probe_path, &pkcs8, &why);

	if (!key)
		return err_from_openssl(reterr, why.code, "%s", why.text);
	*ret = (struct backend_levels){ .why_not = { { .code = 0 } } };
	for (int p = 0; p < KS_PROTECTION_N_; p++) {
		const struct backend *b = backend_get(p);
		int r = b ? b->probe(&pkcs8, key, &ret->why_not[p]) : 0;

		if (r < 0)
			ret->why_not[p].code = r;
	}
	return 0;
}

static int raw_sign(const struct backend *b, const struct backend_key *key, const struct backend_digest *d, uint8_t *out, size_t k, struct err *reterr)
{
	uint8_t salt[PAD_K_MAX], em[PAD_K_MAX];
	int r;

	if (d->pss && (d->salt_len > sizeof(salt) || RAND_bytes(salt, (int) d->salt_len) != 1))
		return err_from_openssl(reterr, -EINVAL, "PSS salt of %u bytes", d->salt_len);
	if (d->pss)
		r = pad_pss_sign(d->md, d->bytes, d->len, salt, d->salt_len, key->bits, em, k, reterr);
	else
		r = pad_pkcs1_sign(d->md, d->bytes, d->len, em, k, reterr);
	return r < 0 ? r : backend_private(b, key, em, out, k, reterr);
}

/* A device may make PSS salts of a length of its own. */
static int signature_check(EVP_PKEY *pub, const struct backend_digest *d, const uint8_t *signature, size_t k, struct err *reterr)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pub, NULL);

	if (!ctx || EVP_PKEY_verify_init(ctx) != 1 || EVP_PKEY_CTX_set_signature_md(ctx, d->md) != 1 ||
	    EVP_PKEY_CTX_set_rsa_padding(ctx, d->pss ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING) != 1 ||
	    (d->pss && EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, (int) d->salt_len) != 1))
		return err_from_openssl(reterr, -ENOMEM, "verifying a signature");
	if (EVP_PKEY_verify(ctx, signature, k, d->bytes, d->len) == 1)
		return 0;
	if (d->pss && EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_AUTO) == 1 && EVP_PKEY_verify(ctx, signature, k, d->bytes, d->len) == 1)
		return err_from_openssl(reterr, -ENOTSUP, "the device makes no PSS salt of %u bytes", d->salt_len);
	return err_from_openssl(reterr, -EIO, "the signature is wrong, and withheld");
}

int backend_sign(const struct backend *b, const struct backend_key *key, const struct backend_digest *d, uint8_t *out, size_t k, struct err *reterr)
{
	int r;

	if (!b->device)
		return raw_sign(b, key, d, out, k, reterr);
	r = b->device->sign(key, d, out, k, reterr);
	if (r == 0)
		r = signature_check(key->pub, d, out, k, reterr);
	if (r < 0)
		OPENSSL_cleanse(out, k);
	return r;
}

static int device_test(const struct backend *b, const struct backend_key *key, size_t k, struct err *reterr)
{
	uint8_t digest[32], out[PAD_K_MAX], zero[PAD_K_MAX] = { 0 };
	const struct backend_digest d = { .md = EVP_sha256(), .bytes = digest, .len = sizeof(digest) };
	int r;

	if (RAND_bytes(digest, sizeof(digest)) != 1)
		return err_from_openssl(reterr, -EIO, "testing a key of %d bits", key->bits);
	r = backend_sign(b, key, &d, out, k, reterr);
	return r < 0 ? r : b->device->open_pkcs1(key, zero, out, k, reterr); /* whatever is asked, a decryption with a known result is made before */
}

int backend_test(const struct backend *b, const struct backend_key *key, struct err *reterr)
{
	uint8_t in[PAD_K_MAX], out[PAD_K_MAX];
	size_t k = ((size_t) key->bits + 7) / 8;

	if (b->device)
		return k > sizeof(in) ? -EINVAL : device_test(b, key, k, reterr);
	if (k > sizeof(in) || RAND_bytes(in, (int) k) != 1)
		return err_from_openssl(reterr, -EIO, "testing a key of %d bits", key->bits);
	in[0] = 0; /* below the modulus */
	return backend_private(b, key, in, out, k, reterr);
}

/* Keys in a device: see token.h. A provider reports a dead device and a wrong padding in the same way. So each decryption is preceded by
 * one whose result is known: it tells the two apart, and finds a device that must be opened anew. The time that device and provider take for a refusal is
 * their own. */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/encoder.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <string.h>
#include <strings.h>

#include "common/auto_ssl.h"
#include "keystore/custody_jobs.h"
#include "keystore/pad.h"
#include "keystore/token.h"
#include "keystore/token_device.h"

enum { CONTROL_BYTES = 32 };

/* ---- keys */

/* Whether it is RSA, the device's own, and stays there. */
static int key_check(const EVP_PKEY *key, struct err *reterr)
{
	const OSSL_PROVIDER *of = EVP_PKEY_get0_provider(key);
	AUTO(bn) BIGNUM *d = NULL;
	int ok;

	jobs_block();
	ok = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_D, &d);
	jobs_unblock();
	if (ok)
		return err_set(reterr, -EPERM, "provider %s gives the private key out, so it is no token", token.provider);
	(void) err_from_openssl(NULL, -EPERM, "as it should be"); /* the queue is emptied */
	if (!of || strcmp(OSSL_PROVIDER_get0_name(of), token.provider) != 0)
		return err_set(reterr, -EPERM, "the key is not one of provider %s", token.provider);
	if (!EVP_PKEY_is_a(key, "RSA"))
		return err_set(reterr, -ENOTSUP, "the token's key is not RSA");
	return 0;
}

static OSSL_STORE_CTX *store_open(const struct buf *reference, BIO *bio)
{
	char uri[TOKEN_URI_BYTES + 1], preferred[sizeof(token.properties) + 1];

	if (bio) { /* its decoder is the device's, the reading of PEM is everybody's */
		(void) snprintf(preferred, sizeof(preferred), "?%s", token.properties); /* fits */
		return OSSL_STORE_attach(bio, "file", token.lib, preferred, token.pin, NULL, NULL, NULL, NULL);
	}
	if (reference->len >= sizeof(uri))
		return NULL;
	memcpy(uri, reference->data, reference->len);
	uri[reference->len] = '\0';
	return OSSL_STORE_open_ex(uri, token.lib, token.properties, token.pin, NULL, NULL, NULL, NULL);
}

static bool is_pem(const struct buf *reference)
{
	return reference->len > 11 && memcmp(reference->data, "-----BEGIN ", 11) == 0;
}

static EVP_PKEY *key_look(const struct buf *reference)
{
	AUTO(bio) BIO *bio = is_pem(reference) ? BIO_new_mem_buf(reference->data, (int) reference->len) : NULL;
	AUTO(uri_store) OSSL_STORE_CTX *store = store_open(reference, bio);
	EVP_PKEY *key = NULL;

	while (store && !key && !OSSL_STORE_eof(store)) {
		OSSL_STORE_INFO *info = OSSL_STORE_load(store);

		if (!info)
			break;
		if (OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY)
			key = OSSL_STORE_INFO_get1_PKEY(info);
		OSSL_STORE_INFO_free(info);
	}
	return key;
}

static EVP_PKEY *key_find(const struct buf *reference)
{
	EVP_PKEY *key;

	jobs_block();
	key = key_look(reference);
	jobs_unblock();
	return key;
}

static bool same(const struct buf *a, const struct buf *b)
{
	return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

/* The key, borrowed. */
static int key_get(const struct buf *reference, EVP_PKEY **ret, struct err *reterr)
{
	int r = token_device_open(reterr);

	if (r < 0)
		return r;
	if (!token.key || !same(&token.key_reference, reference)) {
		token_key_drop();
		token.key = key_find(reference);
		if (!token.key)
			return err_from_openssl(reterr, -ENODEV, "the token does not find the key");
		r = key_check(token.key, reterr);
		if (r == 0)
			r = buf_set(&token.key_reference, reference->data, reference->len);
		if (r < 0) {
			token_key_drop();
			return r;
		}
	}
	*ret = token.key;
	return 0;
}

typedef int (*key_fn)(EVP_PKEY *key, void *arg, struct err *reterr);

/* Whether a failure may be the PIN's: it was given for this key, and has never been right. */
static bool pin_is_in_doubt(const struct buf *reference)
{
	return token.pin_given && !same(reference, &token.proved);
}

static void pin_is_right(void)
{
	token.pin_given = false;
	if (buf_set(&token.proved, token.key_reference.data, token.key_reference.len) < 0)
		buf_clear(&token.proved); /* out of memory: it is in doubt again */
}

/* One attempt. -EACCES is final; *ret_again: it may be tried once more, with the device opened anew. */
static int attempt(const struct buf *reference, key_fn fn, void *arg, bool *ret_again, struct err *reterr)
{
	EVP_PKEY *key = NULL;
	bool doubt;
	int r;

	*ret_again = false;
	token.pin_withheld = false;
	r = key_get(reference, &key, reterr);
	if (r == 0)
		r = fn(key, arg, reterr);
	if (r != -ENODEV)
		return r;
	doubt = pin_is_in_doubt(reference);
	token_device_close();
	if (token.pin_withheld)
		return token_pin_words(reterr);
	if (doubt) /* if the device is there, it is that which it refused; in any case it is not tried twice */
		return token_device_open(NULL) == 0 ? token_pin_refuse(reterr) : r;
	*ret_again = true;
	return r;
}

/* A device that was reset or unplugged meanwhile is opened anew, once. */
static int with_key(const struct buf *reference, key_fn fn, void *arg, struct err *reterr)
{
	bool again;
	int r;

	token_device_enter(TOKEN_OPERATION_SEC);
	r = attempt(reference, fn, arg, &again, reterr);
	if (again)
		r = attempt(reference, fn, arg, &again, reterr);
	if (r == -ENODEV)
		buf_clear(&token.proved); /* it may be another PIN by now */
	if (r == -EIO)
		token_key_drop();
	token_device_leave();
	return r;
}

static int spki_of(EVP_PKEY *key, struct buf *spki, struct err *reterr)
{
	AUTO(der) unsigned char *der = NULL;
	int len;

	jobs_block();
	len = i2d_PUBKEY(key, &der);
	jobs_unblock();
	return len <= 0 ? err_from_openssl(reterr, -ENODEV, "the token does not give the public key") : buf_set(spki, der, (size_t) len);
}

static int key_adopt(EVP_PKEY *key, void *arg, struct err *reterr)
{
	return spki_of(key, arg, reterr);
}

int token_adopt(const char *uri, struct buf *reference, struct buf *spki, struct err *reterr)
{
	if (!strchr(uri, ':') || strncasecmp(uri, "file:", 5) == 0 || strncasecmp(uri, "keyroll:", 8) == 0 || uri[0] == '-')
		return err_set(reterr, -EINVAL, "TokenURI=%s: the URI of a key in a device is wanted", uri);
	if (buf_set(reference, uri, strlen(uri)) < 0)
		return -ENOMEM;
	token_device_enter(TOKEN_OPERATION_SEC);
	token_key_drop(); /* another key may lie there by now */
	token_device_leave();
	return with_key(reference, key_adopt, spki, reterr);
}

static int key_write(EVP_PKEY *key, struct buf *reference, struct err *reterr)
{
	OSSL_ENCODER_CTX *encoder;
	AUTO(der) unsigned char *pem = NULL;
	size_t len = 0;
	int ok;

	jobs_block();
	encoder = OSSL_ENCODER_CTX_new_for_pkey(key, EVP_PKEY_KEYPAIR, "PEM", NULL, token.properties);
	ok = encoder && OSSL_ENCODER_to_data(encoder, &pem, &len);
	OSSL_ENCODER_CTX_free(encoder);
	jobs_unblock();
	if (!ok || len > TOKEN_REFERENCE_BYTES)
		return err_from_openssl(reterr, -ENOTSUP, "provider %s does not say how its key is found again", token.provider);
	return buf_set(reference, pem, len);
}

static int key_generate(EVP_PKEY_CTX *ctx, const OSSL_PARAM *params, EVP_PKEY **ret)
{
	int ok;

	jobs_block();
	ok = EVP_PKEY_keygen_init(ctx) == 1 && EVP_PKEY_CTX_set_params(ctx, params) == 1 && EVP_PKEY_generate(ctx, ret) == 1;
	jobs_unblock();
	return ok ? 0 : -ENODEV;
}

static int key_make(int bits, EVP_PKEY **ret, struct err *reterr)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = NULL;
	size_t n = (size_t) bits;
	OSSL_PARAM params[] = { OSSL_PARAM_size_t(OSSL_PKEY_PARAM_RSA_BITS, &n), OSSL_PARAM_END };
	int r = token_device_open(reterr);

	if (r < 0)
		return r;
	ctx = EVP_PKEY_CTX_new_from_name(token.lib, "RSA", token.properties);
	if (!ctx || key_generate(ctx, params, ret) < 0)
		return err_from_openssl(reterr, -ENOTSUP, "the token makes no key of %d bits", bits);
	return key_check(*ret, reterr);
}

/* A device that has gone meanwhile makes none either, in the same words: it is opened anew, once. */
static int key_make_twice(int bits, EVP_PKEY **ret, struct err *reterr)
{
	bool was_open = token.device != NULL;
	int r = key_make(bits, ret, reterr);

	if (r != -ENOTSUP || !was_open || token_device_answers())
		return r;
	token_device_close();
	return key_make(bits, ret, reterr);
}

int token_make(int bits, struct buf *reference, struct buf *spki, struct err *reterr)
{
	AUTO(pkey) EVP_PKEY *key = NULL;
	int r;

	token_device_enter(TOKEN_MAKING_SEC);
	token_key_drop(); /* room in the device */
	r = key_make_twice(bits, &key, reterr);
	if (r == 0)
		r = key_write(key, reference, reterr);
	if (r == 0)
		r = spki_of(key, spki, reterr);
	jobs_block();
	EVP_PKEY_free(TAKE(key)); /* which the device is told */
	jobs_unblock();
	token_device_leave();
	return r;
}

/* ---- operations */

struct sign_arg {
	const struct token_digest *d;
	uint8_t *out;
	size_t k;
};

static int pss_set(EVP_PKEY_CTX *ctx, int salt)
{
	return salt < 0 || EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, salt) == 1;
}

/* -ENOTSUP: not with that digest or padding; -ENODEV. */
static int sign_now(EVP_PKEY *key, const struct sign_arg *a, size_t *len)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(token.lib, key, token.properties);

	if (!ctx || EVP_PKEY_sign_init(ctx) != 1)
		return -ENODEV;
	if (EVP_PKEY_CTX_set_rsa_padding(ctx, a->d->pss_salt < 0 ? RSA_PKCS1_PADDING : RSA_PKCS1_PSS_PADDING) != 1 ||
	    EVP_PKEY_CTX_set_signature_md(ctx, a->d->md) != 1 || !pss_set(ctx, a->d->pss_salt))
		return -ENOTSUP;
	return EVP_PKEY_sign(ctx, a->out, len, a->d->bytes, a->d->len) == 1 ? 0 : -ENODEV;
}

static int key_sign(EVP_PKEY *key, void *arg, struct err *reterr)
{
	const struct sign_arg *a = arg;
	size_t len = a->k;
	int r;

	jobs_block();
	r = sign_now(key, a, &len);
	jobs_unblock();
	if (r < 0)
		return err_from_openssl(reterr, r, "the token does not sign %s%s", EVP_MD_get0_name(a->d->md), r == -ENOTSUP ? " with that padding" : "");
	pin_is_right();
	return len == a->k ? 0 : err_set(reterr, -EIO, "the token's signature has %zu bytes, %zu are wanted", len, a->k);
}

int token_sign(const struct buf *reference, const struct token_digest *d, uint8_t *out, size_t k, struct err *reterr)
{
	struct sign_arg a = { .d = d, .out = out, .k = k };

	return with_key(reference, key_sign, &a, reterr);
}

struct open_arg {
	EVP_PKEY *pub;
	const EVP_MD *oaep; /* NULL: PKCS#1 v1.5 */
	const uint8_t *in;
	size_t k;
	uint8_t *out;
	size_t len;
	bool refused;
};

/* -ENOTSUP: the digest. */
static int padding_set(EVP_PKEY_CTX *ctx, const EVP_MD *oaep)
{
	if (EVP_PKEY_CTX_set_rsa_padding(ctx, oaep ? RSA_PKCS1_OAEP_PADDING : RSA_PKCS1_PADDING) != 1)
		return -ENOTSUP;
	return !oaep || EVP_PKEY_CTX_set_rsa_oaep_md_name(ctx, EVP_MD_get0_name(oaep), NULL) == 1 ? 0 : -ENOTSUP;
}

/* As decrypt. */
static int decrypt_now(EVP_PKEY *key, const EVP_MD *oaep, const uint8_t *in, size_t k, uint8_t *out, size_t *ret_len)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(token.lib, key, token.properties);

	*ret_len = k;
	if (!ctx || EVP_PKEY_decrypt_init(ctx) != 1)
		return -ENODEV;
	if (padding_set(ctx, oaep) < 0)
		return -ENOTSUP;
	return EVP_PKEY_decrypt(ctx, out, ret_len, in, k) == 1 && *ret_len <= k ? 0 : -EINVAL;
}

/* -EINVAL: refused, without a text, so that no more is done for it than for a text that came; -ENOTSUP: not with that padding; -ENODEV. */
static int decrypt(EVP_PKEY *key, const EVP_MD *oaep, const uint8_t *in, size_t k, uint8_t *out, size_t *ret_len, struct err *reterr)
{
	int r;

	jobs_block();
	r = decrypt_now(key, oaep, in, k, out, ret_len);
	jobs_unblock();
	if (r == 0 || r == -EINVAL) {
		(void) err_from_openssl(NULL, r, "the token"); /* the queue is emptied */
		return r;
	}
	return err_from_openssl(reterr, r, "the token does not decrypt%s", r == -ENOTSUP ? " with that padding" : "");
}

/* A ciphertext of our own, with the same padding, must come back. */
static int control(EVP_PKEY *key, const struct open_arg *a, struct err *reterr)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, a->pub, NULL);
	uint8_t text[CONTROL_BYTES], in[PAD_K_MAX], back[PAD_K_MAX];
	size_t len = sizeof(in);
	int r;

	if (!ctx || RAND_bytes(text, sizeof(text)) != 1 || EVP_PKEY_encrypt_init(ctx) != 1 || padding_set(ctx, a->oaep) < 0 ||
	    EVP_PKEY_encrypt(ctx, in, &len, text, sizeof(text)) != 1 || len != a->k)
		return err_from_openssl(reterr, -ENOMEM, "encrypting to the token's key");
	r = decrypt(key, a->oaep, in, a->k, back, &len, reterr);
	if (r == -EINVAL || (r == 0 && (len != sizeof(text) || memcmp(back, text, len) != 0)))
		return err_set(reterr, -ENODEV, "the token does not decrypt what was encrypted to its key");
	if (r == 0)
		pin_is_right();
	return r;
}

/* What every level refuses in words, since it is no secret, a device refuses like a wrong padding. */
static int number_check(const struct open_arg *a, struct err *reterr)
{
	AUTO(bn) BIGNUM *n = NULL;
	AUTO(bn) BIGNUM *x = BN_bin2bn(a->in, (int) a->k, NULL);

	if (!x || !EVP_PKEY_get_bn_param(a->pub, OSSL_PKEY_PARAM_RSA_N, &n))
		return err_from_openssl(reterr, -ENOMEM, "reading a ciphertext");
	return BN_cmp(x, n) < 0 ? 0 : err_set(reterr, -EINVAL, "the number is not below the modulus");
}

static int key_open(EVP_PKEY *key, void *arg, struct err *reterr)
{
	struct open_arg *a = arg;
	int r;

	if (a->k > PAD_K_MAX)
		return err_set(reterr, -EINVAL, "key of %zu bytes, at most %d", a->k, PAD_K_MAX);
	r = number_check(a, reterr);
	if (r == 0)
		r = control(key, a, reterr);
	if (r < 0)
		return r;
	r = decrypt(key, a->oaep, a->in, a->k, a->out, &a->len, reterr);
	a->refused = r == -EINVAL;
	return a->refused ? 0 : r;
}

int token_open_pkcs1(const struct buf *reference, EVP_PKEY *pub, const uint8_t *in, uint8_t *em, size_t k, struct err *reterr)
{
	uint8_t plain[PAD_K_MAX];
	struct open_arg a = { .pub = pub, .in = in, .k = k, .out = plain };
	int r = with_key(reference, key_open, &a, reterr);

	memset(em, 0, k);
	if (r == 0 && !a.refused && a.len + 11 <= k) {
		em[1] = 2;
		memset(em + 2, 0xff, k - a.len - 3);
		memcpy(em + k - a.len, plain, a.len);
	}
	OPENSSL_cleanse(plain, sizeof(plain));
	return r;
}

int token_open_oaep(const struct buf *reference, EVP_PKEY *pub, const EVP_MD *md, const uint8_t *in, size_t k, uint8_t *out, size_t *ret_len,
		    struct err *reterr)
{
	struct open_arg a = { .pub = pub, .oaep = md, .in = in, .k = k, .out = out };
	int r = with_key(reference, key_open, &a, reterr);

	*ret_len = a.len;
	return r == 0 && a.refused ? err_set(reterr, -EINVAL, "OAEP decryption failed") : r;
}

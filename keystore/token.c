/* Devices: see token.h. A provider reports a dead device and a wrong padding in the same way. So each decryption is preceded by one whose result is
 * known: it tells the two apart, finds a device that must be opened anew, and takes the same time whatever the ciphertext is. */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/encoder.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/ui.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "common/auto_ssl.h"
#include "common/fs.h"
#include "keystore/pad.h"
#include "keystore/token.h"

enum { CONTROL_BYTES = 32 };

/* All under the lock. The last key used stays loaded: a TPM takes longer for loading one than for an operation with it, and holds three. */
static struct {
	pthread_mutex_t lock;
	const char *provider, *pin_file;
	char properties[96]; /* "provider=NAME" */
	OSSL_LIB_CTX *lib;
	OSSL_PROVIDER *base, *device;
	UI_METHOD *pin;
	EVP_PKEY *key;
	struct buf key_reference;
	bool pin_given;		 /* and not proved right yet, which an operation does */
	struct stat pin_refused; /* the PIN file that the device did not take; st_ino 0: none */
} token = { .lock = PTHREAD_MUTEX_INITIALIZER };

void token_configure(const char *provider, const char *pin_file)
{
	token.provider = provider;
	token.pin_file = pin_file;
}

/* ---- opening and closing */

static void key_drop(void)
{
	EVP_PKEY_free(TAKE(token.key));
	buf_clear(&token.key_reference);
}

static void device_close(void)
{
	key_drop();
	if (token.device)
		(void) OSSL_PROVIDER_unload(TAKE(token.device)); /* nothing to be done about a failure, as below */
	if (token.base)
		(void) OSSL_PROVIDER_unload(TAKE(token.base));
	OSSL_LIB_CTX_free(TAKE(token.lib));
	UI_destroy_method(TAKE(token.pin));
}

/* Asked by the provider for the PIN, when it loads a key. */
static int pin_give(char *out, int room, int verify, void *userdata)
{
	AUTO(buf) struct buf pin = BUF_SECRET;
	size_t len;

	(void) verify;
	(void) userdata;
	if (!token.pin_file || fs_read(token.pin_file, TOKEN_PIN_BYTES, &pin, NULL) < 0)
		return -1;
	token.pin_given = true;
	for (len = pin.len; len > 0 && (pin.data[len - 1] == '\n' || pin.data[len - 1] == '\r'); len--)
		;
	if (len > (size_t) room)
		return -1;
	memcpy(out, pin.data, len);
	return (int) len;
}

static int pin_check(struct err *reterr)
{
	struct stat st;

	if (!token.pin_file)
		return 0;
	if (stat(token.pin_file, &st) < 0)
		return err_set(reterr, -ENODEV, "[Token] PINFile=%s: %s", token.pin_file, strerror(errno));
	if ((st.st_mode & 077) != 0)
		return err_set(reterr, -EPERM, "[Token] PINFile=%s may be read by others (mode %04o), 0600 is wanted", token.pin_file, st.st_mode & 07777);
	return 0;
}

/* Devices count wrong PINs, and lock themselves after a few: one that was refused is not tried again until its file has changed. */
static bool pin_is_refused(void)
{
	const struct stat *was = &token.pin_refused;
	struct stat now;

	return was->st_ino != 0 && stat(token.pin_file, &now) == 0 && now.st_ino == was->st_ino && now.st_size == was->st_size &&
	       now.st_mtim.tv_sec == was->st_mtim.tv_sec && now.st_mtim.tv_nsec == was->st_mtim.tv_nsec;
}

static int pin_refuse(struct err *reterr)
{
	if (stat(token.pin_file, &token.pin_refused) < 0)
		token.pin_refused.st_ino = 0;
	return err_set(reterr, -EACCES, "the token refuses the key with the PIN of %s, which is not tried again until that file changes", token.pin_file);
}

static int device_open(struct err *reterr)
{
	int r;

	if (token.device)
		return 0;
	if (!token.provider)
		return err_set(reterr, -ENOTSUP, "[Token] Provider= is not set");
	if (snprintf(token.properties, sizeof(token.properties), "provider=%s", token.provider) >= (int) sizeof(token.properties))
		return err_set(reterr, -EINVAL, "[Token] Provider=%s: too long", token.provider);
	r = pin_check(reterr);
	if (r < 0)
		return r;
	token.lib = OSSL_LIB_CTX_new();
	token.base = token.lib ? OSSL_PROVIDER_load(token.lib, "default") : NULL;
	token.device = token.base ? OSSL_PROVIDER_load(token.lib, token.provider) : NULL;
	token.pin = token.device ? UI_UTIL_wrap_read_pem_callback(pin_give, 0) : NULL;
	if (token.pin)
		return 0;
	r = err_from_openssl(reterr, -ENODEV, "the token of provider %s does not open", token.provider); /* in its words, which go with it */
	device_close();
	return r;
}

int token_ready(struct err *reterr)
{
	int r;

	if (pthread_mutex_trylock(&token.lock) == EBUSY)
		return 0; /* it is at work, for up to a minute */
	r = device_open(reterr);
	(void) pthread_mutex_unlock(&token.lock);
	return r;
}

void token_close(void)
{
	(void) pthread_mutex_lock(&token.lock);
	device_close();
	(void) pthread_mutex_unlock(&token.lock);
}

/* ---- keys */

/* Whether it is RSA, the device's own, and stays there. */
static int key_check(const EVP_PKEY *key, struct err *reterr)
{
	const OSSL_PROVIDER *of = EVP_PKEY_get0_provider(key);
	AUTO(bn) BIGNUM *d = NULL;

	if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_D, &d))
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

static EVP_PKEY *key_find(const struct buf *reference)
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

static bool same(const struct buf *a, const struct buf *b)
{
	return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

/* The key, borrowed. */
static int key_get(const struct buf *reference, EVP_PKEY **ret, struct err *reterr)
{
	int r = device_open(reterr);

	if (r < 0)
		return r;
	if (!token.key || !same(&token.key_reference, reference)) {
		key_drop();
		token.key = key_find(reference);
		if (!token.key)
			return err_from_openssl(reterr, -ENODEV, "the token does not find the key");
		r = key_check(token.key, reterr);
		if (r == 0)
			r = buf_set(&token.key_reference, reference->data, reference->len);
		if (r < 0) {
			key_drop();
			return r;
		}
	}
	*ret = token.key;
	return 0;
}

typedef int (*key_fn)(EVP_PKEY *key, void *arg, struct err *reterr);

/* A device that was reset or unplugged meanwhile is opened anew, once. */
static int with_key(const struct buf *reference, key_fn fn, void *arg, struct err *reterr)
{
	EVP_PKEY *key = NULL;
	int r = -ENODEV;

	(void) pthread_mutex_lock(&token.lock);
	for (int i = 0; i < 2 && r == -ENODEV; i++) {
		r = pin_is_refused() ? pin_refuse(reterr) : key_get(reference, &key, reterr);
		if (r == 0)
			r = fn(key, arg, reterr);
		if (r == -ENODEV)
			device_close();
		if (r == -ENODEV && token.pin_given)
			r = pin_refuse(reterr);
	}
	if (r == -EIO)
		key_drop();
	(void) pthread_mutex_unlock(&token.lock);
	return r;
}

static int spki_of(EVP_PKEY *key, struct buf *spki, struct err *reterr)
{
	AUTO(der) unsigned char *der = NULL;
	int len = i2d_PUBKEY(key, &der);

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
	(void) pthread_mutex_lock(&token.lock);
	key_drop(); /* another key may lie there by now */
	(void) pthread_mutex_unlock(&token.lock);
	return with_key(reference, key_adopt, spki, reterr);
}

static int key_write(EVP_PKEY *key, struct buf *reference, struct err *reterr)
{
	OSSL_ENCODER_CTX *encoder = OSSL_ENCODER_CTX_new_for_pkey(key, EVP_PKEY_KEYPAIR, "PEM", NULL, token.properties);
	AUTO(der) unsigned char *pem = NULL;
	size_t len = 0;
	int ok = encoder && OSSL_ENCODER_to_data(encoder, &pem, &len);

	OSSL_ENCODER_CTX_free(encoder);
	if (!ok || len > TOKEN_REFERENCE_BYTES)
		return err_from_openssl(reterr, -ENOTSUP, "provider %s does not say how its key is found again", token.provider);
	return buf_set(reference, pem, len);
}

static int key_make(int bits, EVP_PKEY **ret, struct err *reterr)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = NULL;
	size_t n = (size_t) bits;
	OSSL_PARAM params[] = { OSSL_PARAM_size_t(OSSL_PKEY_PARAM_RSA_BITS, &n), OSSL_PARAM_END };
	int r = device_open(reterr);

	if (r < 0)
		return r;
	ctx = EVP_PKEY_CTX_new_from_name(token.lib, "RSA", token.properties);
	if (!ctx || EVP_PKEY_keygen_init(ctx) != 1 || EVP_PKEY_CTX_set_params(ctx, params) != 1 || EVP_PKEY_generate(ctx, ret) != 1)
		return err_from_openssl(reterr, -ENODEV, "the token makes no key of %d bits", bits);
	return key_check(*ret, reterr);
}

/* Why no key was made: -ENOTSUP when the device is there and will not. */
static int make_judge(int r, struct err *reterr)
{
	struct err why = { .code = 0 };

	if (r != -ENODEV)
		return r;
	if (reterr)
		why = *reterr;
	device_close();
	return device_open(reterr) < 0 ? -ENODEV : err_set(reterr, -ENOTSUP, "%s", why.text);
}

int token_make(int bits, struct buf *reference, struct buf *spki, struct err *reterr)
{
	AUTO(pkey) EVP_PKEY *key = NULL;
	int r;

	(void) pthread_mutex_lock(&token.lock);
	key_drop(); /* room in the device */
	r = key_make(bits, &key, reterr);
	if (r == 0)
		r = key_write(key, reference, reterr);
	if (r == 0)
		r = spki_of(key, spki, reterr);
	EVP_PKEY_free(TAKE(key));
	r = make_judge(r, reterr);
	(void) pthread_mutex_unlock(&token.lock);
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

static int key_sign(EVP_PKEY *key, void *arg, struct err *reterr)
{
	const struct sign_arg *a = arg;
	const char *digest = EVP_MD_get0_name(a->d->md);
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(token.lib, key, token.properties);
	size_t len = a->k;

	if (!ctx || EVP_PKEY_sign_init(ctx) != 1)
		return err_from_openssl(reterr, -ENODEV, "the token does not sign");
	if (EVP_PKEY_CTX_set_rsa_padding(ctx, a->d->pss_salt < 0 ? RSA_PKCS1_PADDING : RSA_PKCS1_PSS_PADDING) != 1 ||
	    EVP_PKEY_CTX_set_signature_md(ctx, a->d->md) != 1 || !pss_set(ctx, a->d->pss_salt))
		return err_from_openssl(reterr, -ENOTSUP, "the token does not sign %s with that padding", digest);
	if (EVP_PKEY_sign(ctx, a->out, &len, a->d->bytes, a->d->len) != 1)
		return err_from_openssl(reterr, -ENODEV, "the token does not sign %s", digest);
	token.pin_given = false;
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

/* -EINVAL: refused. */
static int decrypt(EVP_PKEY *key, const EVP_MD *oaep, const uint8_t *in, size_t k, uint8_t *out, size_t *ret_len, struct err *reterr)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(token.lib, key, token.properties);

	*ret_len = k;
	if (!ctx || EVP_PKEY_decrypt_init(ctx) != 1)
		return err_from_openssl(reterr, -ENODEV, "the token does not decrypt");
	if (padding_set(ctx, oaep) < 0)
		return err_from_openssl(reterr, -ENOTSUP, "the token does not decrypt with that padding");
	if (EVP_PKEY_decrypt(ctx, out, ret_len, in, k) != 1 || *ret_len > k)
		return err_from_openssl(reterr, -EINVAL, "the token refuses the ciphertext");
	return 0;
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
		token.pin_given = false;
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

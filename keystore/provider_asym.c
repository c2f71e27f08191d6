/* Decryption of PKCS#1 v1.5 by the custodian; encryption with the public half is the default provider's. Bad padding is not an error here: the
 * custodian answers with random bytes instead (implicit rejection). OAEP is refused until it is built. */
#include <errno.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "keystore/provider.h"

struct asym {
	struct provider *provider;
	struct provider_key *key;
};

static void *asym_new(void *provctx)
{
	struct asym *a = calloc(1, sizeof(*a));

	if (a)
		a->provider = provctx;
	return a;
}

static void asym_free(void *ctx)
{
	struct asym *a = ctx;

	provider_key_free(a->key);
	free(a);
}

static void *asym_dup(void *ctx)
{
	const struct asym *a = ctx;
	struct asym *copy = malloc(sizeof(*copy));

	if (!copy)
		return NULL;
	*copy = *a;
	if (copy->key)
		(void) provider_key_ref(copy->key); /* the pointer is copied already */
	return copy;
}

static int asym_set_params(void *ctx, const OSSL_PARAM params[])
{
	const OSSL_PARAM *p = params ? OSSL_PARAM_locate_const(params, OSSL_ASYM_CIPHER_PARAM_PAD_MODE) : NULL;
	int n = 0;

	(void) ctx; /* there is one padding */
	if (!p)
		return 1;
	if (p->data_type == OSSL_PARAM_UTF8_STRING)
		return strcmp(p->data, OSSL_PKEY_RSA_PAD_MODE_PKCSV15) == 0 || provider_fail(NULL, -ENOTSUP);
	return (OSSL_PARAM_get_int(p, &n) && n == RSA_PKCS1_PADDING) || provider_fail(NULL, -ENOTSUP);
}

static const OSSL_PARAM settable[] = {
	OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, NULL, 0),
	OSSL_PARAM_END,
};

static const OSSL_PARAM *asym_settable(void *ctx, void *provctx)
{
	(void) ctx; /* the same for all */
	(void) provctx;
	return settable;
}

static int asym_get_params(void *ctx, OSSL_PARAM params[])
{
	OSSL_PARAM *p = OSSL_PARAM_locate(params, OSSL_ASYM_CIPHER_PARAM_PAD_MODE);

	(void) ctx; /* there is one padding */
	if (!p)
		return 1;
	return p->data_type == OSSL_PARAM_INTEGER ? OSSL_PARAM_set_int(p, RSA_PKCS1_PADDING) : OSSL_PARAM_set_utf8_string(p, OSSL_PKEY_RSA_PAD_MODE_PKCSV15);
}

static int asym_init(void *ctx, void *keydata, const OSSL_PARAM params[])
{
	struct asym *a = ctx;

	if (keydata) {
		provider_key_free(a->key);
		a->key = provider_key_ref(keydata);
	}
	return a->key && asym_set_params(ctx, params);
}

static int decrypt(void *ctx, unsigned char *out, size_t *out_len, size_t room, const unsigned char *in, size_t len)
{
	struct asym *a = ctx;
	AUTO(custody_msg) struct custody_msg m = CUSTODY_MSG_EMPTY;
	AUTO(custody_msg) struct custody_msg reply = { .body = { .secret = true } };
	size_t k = provider_key_bytes(a->key);
	struct err e = { .code = 0 };
	int r;

	*out_len = k;
	if (!out)
		return 1;
	m.op = CUSTODY_OP_DECRYPT;
	strcpy(m.label, a->key->label);
	strcpy(m.spki, a->key->spki);
	r = buf_set(&m.body, in, len);
	if (r == 0)
		r = custody_ask(a->key->pool, &m, &reply, &e);
	if (r == 0 && reply.body.len > room)
		r = err_set(&e, -EINVAL, "room for %zu bytes of plaintext, it has %zu", room, reply.body.len);
	if (r < 0)
		return provider_fail(&e, r);
	if (reply.body.len > 0)
		memcpy(out, reply.body.data, reply.body.len);
	*out_len = reply.body.len;
	return 1;
}

static int encrypt(void *ctx, unsigned char *out, size_t *out_len, size_t room, const unsigned char *in, size_t len)
{
	struct asym *a = ctx;
	AUTO(pkey_ctx) EVP_PKEY_CTX *pctx = EVP_PKEY_CTX_new_from_pkey(a->provider->libctx, a->key->pub, NULL);

	*out_len = room;
	return pctx && EVP_PKEY_encrypt_init(pctx) == 1 && EVP_PKEY_encrypt(pctx, out, out_len, in, len) == 1;
}

const OSSL_DISPATCH provider_asym_cipher[] = {
	{ OSSL_FUNC_ASYM_CIPHER_NEWCTX, (void (*)(void)) asym_new },
	{ OSSL_FUNC_ASYM_CIPHER_FREECTX, (void (*)(void)) asym_free },
	{ OSSL_FUNC_ASYM_CIPHER_DUPCTX, (void (*)(void)) asym_dup },
	{ OSSL_FUNC_ASYM_CIPHER_DECRYPT_INIT, (void (*)(void)) asym_init },
	{ OSSL_FUNC_ASYM_CIPHER_DECRYPT, (void (*)(void)) decrypt },
	{ OSSL_FUNC_ASYM_CIPHER_ENCRYPT_INIT, (void (*)(void)) asym_init },
	{ OSSL_FUNC_ASYM_CIPHER_ENCRYPT, (void (*)(void)) encrypt },
	{ OSSL_FUNC_ASYM_CIPHER_GET_CTX_PARAMS, (void (*)(void)) asym_get_params },
	{ OSSL_FUNC_ASYM_CIPHER_GETTABLE_CTX_PARAMS, (void (*)(void)) asym_settable },
	{ OSSL_FUNC_ASYM_CIPHER_SET_CTX_PARAMS, (void (*)(void)) asym_set_params },
	{ OSSL_FUNC_ASYM_CIPHER_SETTABLE_CTX_PARAMS, (void (*)(void)) asym_settable },
	{ 0, NULL },
};

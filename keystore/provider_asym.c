/* Decryption by the custodian, which undoes the padding too; encryption with the public half is the default provider's. Bad PKCS#1 v1.5 padding is
 * not an error: the custodian answers with random bytes instead (implicit rejection). */
#include <errno.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "keystore/provider.h"

enum { LABEL_BYTES = 1024, PREMASTER_BYTES = 48 };

struct asym {
	struct provider *provider;
	struct provider_key *key;
	int padding; /* RSA_PKCS1_PADDING, RSA_PKCS1_OAEP_PADDING or RSA_PKCS1_WITH_TLS_PADDING */
	char digest[DIGEST_NAME_BYTES], mgf1[DIGEST_NAME_BYTES]; /* of OAEP; mgf1 "": the same */
	struct buf label;
	unsigned tls_version, tls_other;
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
	buf_clear(&a->label);
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
	copy->label = BUF_EMPTY;
	if (buf_set(&copy->label, a->label.data, a->label.len) == 0)
		return copy;
	asym_free(copy);
	return NULL;
}

static const struct { const char *name; int padding; } paddings[] = {
	{ OSSL_PKEY_RSA_PAD_MODE_PKCSV15, RSA_PKCS1_PADDING },
	{ OSSL_PKEY_RSA_PAD_MODE_OAEP, RSA_PKCS1_OAEP_PADDING },
	{ "", RSA_PKCS1_WITH_TLS_PADDING }, /* libssl asks by number */
};

static int padding_set(struct asym *a, const OSSL_PARAM *p)
{
	int n = 0;

	if (p->data_type == OSSL_PARAM_INTEGER && !OSSL_PARAM_get_int(p, &n))
		n = 0; /* none of them */
	for (size_t i = 0; i < sizeof(paddings) / sizeof(paddings[0]); i++)
		if (p->data && p->data_type == OSSL_PARAM_UTF8_STRING ? strcmp(p->data, paddings[i].name) == 0 : n == paddings[i].padding) {
			a->padding = paddings[i].padding;
			return 1;
		}
	return provider_param_refuse(p, OSSL_PKEY_RSA_PAD_MODE_PKCSV15 " or " OSSL_PKEY_RSA_PAD_MODE_OAEP);
}

static int label_set(struct asym *a, const OSSL_PARAM *p)
{
	if (p->data_type != OSSL_PARAM_OCTET_STRING)
		return provider_param_refuse(p, "a label in bytes");
	if (p->data_size > LABEL_BYTES)
		return provider_refuse(-EMSGSIZE, "OAEP label: found %zu bytes, wanted at most %d", p->data_size, LABEL_BYTES);
	return buf_set(&a->label, p->data, p->data_size) == 0 || provider_fail(NULL, -ENOMEM);
}

static int version_set(const OSSL_PARAM *p, unsigned *ret)
{
	return OSSL_PARAM_get_uint(p, ret) ? 1 : provider_param_refuse(p, "the number of a TLS version");
}

static int asym_set_params(void *ctx, const OSSL_PARAM params[])
{
	struct asym *a = ctx;
	const OSSL_PARAM *p = params;

	for (; p && p->key; p++) {
		int ok = 1;

		if (strcmp(p->key, OSSL_ASYM_CIPHER_PARAM_PAD_MODE) == 0)
			ok = padding_set(a, p);
		else if (strcmp(p->key, OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST) == 0)
			ok = provider_digest_set(a->provider, p, a->digest);
		else if (strcmp(p->key, OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST) == 0)
			ok = provider_digest_set(a->provider, p, a->mgf1);
		else if (strcmp(p->key, OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL) == 0)
			ok = label_set(a, p);
		else if (strcmp(p->key, OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION) == 0)
			ok = version_set(p, &a->tls_version);
		else if (strcmp(p->key, OSSL_ASYM_CIPHER_PARAM_TLS_NEGOTIATED_VERSION) == 0)
			ok = version_set(p, &a->tls_other);
		if (!ok)
			return 0;
	}
	return 1;
}

static const OSSL_PARAM settable[] = {
	OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, NULL, 0),
	OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, NULL, 0),
	OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, NULL, 0),
	OSSL_PARAM_octet_string(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL, NULL, 0),
	OSSL_PARAM_uint(OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION, NULL),
	OSSL_PARAM_uint(OSSL_ASYM_CIPHER_PARAM_TLS_NEGOTIATED_VERSION, NULL),
	OSSL_PARAM_END,
};

static const OSSL_PARAM *asym_settable(void *ctx, void *provctx)
{
	(void) ctx; /* the same for all */
	(void) provctx;
	return settable;
}

static int padding_get(const struct asym *a, OSSL_PARAM *p)
{
	if (p->data_type == OSSL_PARAM_INTEGER)
		return OSSL_PARAM_set_int(p, a->padding);
	return OSSL_PARAM_set_utf8_string(p, a->padding == RSA_PKCS1_OAEP_PADDING ? OSSL_PKEY_RSA_PAD_MODE_OAEP : OSSL_PKEY_RSA_PAD_MODE_PKCSV15);
}

static int asym_get_params(void *ctx, OSSL_PARAM params[])
{
	struct asym *a = ctx;
	OSSL_PARAM *p = OSSL_PARAM_locate(params, OSSL_ASYM_CIPHER_PARAM_PAD_MODE);

	if (p && !padding_get(a, p))
		return provider_param_full(p);
	p = OSSL_PARAM_locate(params, OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST);
	if (p && !OSSL_PARAM_set_utf8_string(p, a->digest))
		return provider_param_full(p);
	p = OSSL_PARAM_locate(params, OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST);
	if (p && !OSSL_PARAM_set_utf8_string(p, a->mgf1[0] != '\0' ? a->mgf1 : a->digest))
		return provider_param_full(p);
	p = OSSL_PARAM_locate(params, OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL);
	return !p || OSSL_PARAM_set_octet_ptr(p, a->label.data, a->label.len) || provider_param_full(p);
}

static const OSSL_PARAM gettable[] = {
	OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, NULL, 0),
	OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, NULL, 0),
	OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, NULL, 0),
	OSSL_PARAM_octet_ptr(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL, NULL, 0),
	OSSL_PARAM_END,
};

static const OSSL_PARAM *asym_gettable(void *ctx, void *provctx)
{
	(void) ctx; /* the same for all */
	(void) provctx;
	return gettable;
}

static int asym_init(void *ctx, void *keydata, const OSSL_PARAM params[])
{
	struct asym *a = ctx;

	if (keydata) {
		provider_key_free(a->key);
		a->key = provider_key_ref(keydata);
	}
	a->padding = RSA_PKCS1_PADDING;
	strcpy(a->digest, "SHA1"); /* RFC 8017's default */
	a->mgf1[0] = '\0';
	a->tls_version = a->tls_other = 0;
	buf_clear(&a->label);
	return a->key ? asym_set_params(ctx, params) : provider_refuse(-EINVAL, "found no key, wanted one of keyroll's");
}

/* As custody_proto.h has it. */
static int request_fill(const struct asym *a, const unsigned char *in, size_t len, struct custody_msg *m)
{
	int r;

	m->op = CUSTODY_OP_DECRYPT;
	strcpy(m->label, a->key->label);
	strcpy(m->spki, a->key->spki);
	r = buf_set(&m->body, in, len);
	if (a->padding == RSA_PKCS1_WITH_TLS_PADDING) {
		m->padding = CUSTODY_PADDING_TLS;
		m->number = (a->tls_version & 0xffff) << 16 | (a->tls_other & 0xffff);
	} else if (a->padding == RSA_PKCS1_OAEP_PADDING) {
		m->padding = CUSTODY_PADDING_OAEP;
		m->number = (uint32_t) a->label.len;
		(void) snprintf(m->name, sizeof(m->name), "%s,%s", a->digest, a->mgf1[0] != '\0' ? a->mgf1 : a->digest); /* it has room */
		if (r == 0)
			r = buf_add(&m->body, a->label.data, a->label.len);
	}
	return r;
}

static int decrypt(void *ctx, unsigned char *out, size_t *out_len, size_t room, const unsigned char *in, size_t len)
{
	struct asym *a = ctx;
	AUTO(custody_msg) struct custody_msg m = CUSTODY_MSG_EMPTY;
	AUTO(custody_msg) struct custody_msg reply = { .body = { .secret = true } };
	size_t k = provider_key_bytes(a->key), most = a->padding == RSA_PKCS1_WITH_TLS_PADDING ? PREMASTER_BYTES : k;
	struct err e = { .code = 0 };
	int r;

	*out_len = k;
	if (!out)
		return 1;
	if (room < most) /* judged before the text's length is known, which must not show */
		return provider_refuse(-EMSGSIZE, "room for a plaintext: found %zu bytes, wanted %zu", room, most);
	r = request_fill(a, in, len, &m);
	if (r == 0)
		r = custody_ask(a->key->pool, &m, &reply, &e);
	if (r == 0 && reply.body.len > room)
		r = err_set(&e, -EBADMSG, "the custodian's plaintext: found more than %zu bytes, wanted at most those", room);
	if (r < 0)
		return provider_fail(&e, r);
	if (reply.body.len > 0)
		memcpy(out, reply.body.data, reply.body.len);
	*out_len = reply.body.len;
	return 1;
}

static int oaep_tell(const struct asym *a, EVP_PKEY_CTX *pctx)
{
	OSSL_PARAM params[4];

	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, (char *) a->digest, 0);
	params[1] = OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, (char *) (a->mgf1[0] != '\0' ? a->mgf1 : a->digest), 0);
	params[2] = OSSL_PARAM_construct_octet_string(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL, a->label.data, a->label.len);
	params[a->label.len > 0 ? 3 : 2] = OSSL_PARAM_construct_end();
	return EVP_PKEY_CTX_set_params(pctx, params) == 1;
}

/* Before the default provider judges it, whose reasons have no numbers. */
static int encrypt_check(const struct asym *a, size_t room, size_t len)
{
	size_t k = provider_key_bytes(a->key), overhead = 11;

	if (a->padding == RSA_PKCS1_WITH_TLS_PADDING)
		return provider_refuse(-ENOTSUP, "padding to encrypt with: found that of a TLS premaster secret, wanted pkcs1 or oaep");
	if (a->padding == RSA_PKCS1_OAEP_PADDING)
		overhead = 2 * (size_t) EVP_MD_get_size(EVP_get_digestbyname(a->digest)) + 2; /* RFC 8017 7.1.1 */
	if (len > k - overhead)
		return provider_refuse(-EMSGSIZE, "plaintext: found %zu bytes, wanted at most %zu with this padding and key", len, k - overhead);
	return room >= k ? 1 : provider_refuse(-EMSGSIZE, "room for a ciphertext: found %zu bytes, wanted %zu", room, k);
}

static int encrypt(void *ctx, unsigned char *out, size_t *out_len, size_t room, const unsigned char *in, size_t len)
{
	struct asym *a = ctx;
	AUTO(pkey_ctx) EVP_PKEY_CTX *pctx = EVP_PKEY_CTX_new_from_pkey(a->provider->libctx, a->key->pub, NULL);

	*out_len = room;
	if (out && !encrypt_check(a, room, len))
		return 0;
	return pctx && EVP_PKEY_encrypt_init(pctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(pctx, a->padding) == 1 &&
	       (a->padding != RSA_PKCS1_OAEP_PADDING || oaep_tell(a, pctx)) && EVP_PKEY_encrypt(pctx, out, out_len, in, len) == 1;
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
	{ OSSL_FUNC_ASYM_CIPHER_GETTABLE_CTX_PARAMS, (void (*)(void)) asym_gettable },
	{ OSSL_FUNC_ASYM_CIPHER_SET_CTX_PARAMS, (void (*)(void)) asym_set_params },
	{ OSSL_FUNC_ASYM_CIPHER_SETTABLE_CTX_PARAMS, (void (*)(void)) asym_settable },
	{ 0, NULL },
};

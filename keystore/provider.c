/* The provider's frame: what it offers, and its keys. */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/x509.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "keystore/keyuri.h"
#include "keystore/provider.h"

#define PROPERTIES "provider=keyroll"

static const OSSL_ALGORITHM keymgmts[] = {
	{ "RSA:rsaEncryption:1.2.840.113549.1.1.1", PROPERTIES, provider_keymgmt, "RSA keys in Keyroll's custody" },
	{ NULL, NULL, NULL, NULL },
};
static const OSSL_ALGORITHM signatures[] = {
	{ "RSA:rsaEncryption:1.2.840.113549.1.1.1", PROPERTIES, provider_signature, "RSA signatures by Keyroll's custodian" },
	{ NULL, NULL, NULL, NULL },
};
static const OSSL_ALGORITHM asym_ciphers[] = {
	{ "RSA:rsaEncryption:1.2.840.113549.1.1.1", PROPERTIES, provider_asym_cipher, "RSA decryption by Keyroll's custodian" },
	{ NULL, NULL, NULL, NULL },
};
static const OSSL_ALGORITHM decoders[] = {
	{ "DER", PROPERTIES ",input=pem", provider_decoder_pem, "a file that names a Keyroll key" },
	{ "RSA:rsaEncryption:1.2.840.113549.1.1.1", PROPERTIES ",input=der,structure=" KEYURI_STRUCTURE, provider_decoder_der, "the key that it names" },
	{ NULL, NULL, NULL, NULL },
};
static const OSSL_ALGORITHM stores[] = {
	{ "keyroll", PROPERTIES, provider_store, "keyroll: URIs" },
	{ NULL, NULL, NULL, NULL },
};

static const OSSL_ALGORITHM *query(void *provctx, int operation, int *no_cache)
{
	(void) provctx; /* the same for all */
	*no_cache = 0;
	switch (operation) {
	case OSSL_OP_KEYMGMT:
		return keymgmts;
	case OSSL_OP_SIGNATURE:
		return signatures;
	case OSSL_OP_ASYM_CIPHER:
		return asym_ciphers;
	case OSSL_OP_DECODER:
		return decoders;
	case OSSL_OP_STORE:
		return stores;
	default: /* OpenSSL's numbers, not an enum of ours */
		return NULL;
	}
}

static const OSSL_PARAM gettable[] = {
	OSSL_PARAM_DEFN(OSSL_PROV_PARAM_NAME, OSSL_PARAM_UTF8_PTR, NULL, 0),
	OSSL_PARAM_DEFN(OSSL_PROV_PARAM_VERSION, OSSL_PARAM_UTF8_PTR, NULL, 0),
	OSSL_PARAM_DEFN(OSSL_PROV_PARAM_STATUS, OSSL_PARAM_INTEGER, NULL, 0),
	OSSL_PARAM_END,
};

static const OSSL_PARAM *gettable_params(void *provctx)
{
	(void) provctx; /* the same for all */
	return gettable;
}

static int get_params(void *provctx, OSSL_PARAM params[])
{
	OSSL_PARAM *p;

	(void) provctx; /* the same for all */
	p = OSSL_PARAM_locate(params, OSSL_PROV_PARAM_NAME);
	if (p && !OSSL_PARAM_set_utf8_ptr(p, "Keyroll"))
		return 0;
	p = OSSL_PARAM_locate(params, OSSL_PROV_PARAM_VERSION);
	if (p && !OSSL_PARAM_set_utf8_ptr(p, PACKAGE_VERSION))
		return 0;
	p = OSSL_PARAM_locate(params, OSSL_PROV_PARAM_STATUS);
	return !p || OSSL_PARAM_set_int(p, 1);
}

/* The pool to a socket, made when it is first asked for and kept: a server with hundreds of keys holds as few connections as one that has one. */
struct provider_pool {
	struct provider_pool *next;
	struct custody_pool *pool;
	char socket[];
};

static int pool_get(struct provider *p, const char *socket, struct custody_pool **ret, struct err *reterr)
{
	struct provider_pool *found;
	int r = 0;

	(void) pthread_mutex_lock(&p->lock); /* cannot fail: initialised, not recursive */
	for (found = p->pools; found && strcmp(found->socket, socket) != 0; found = found->next)
		;
	if (!found) {
		found = calloc(1, sizeof(*found) + strlen(socket) + 1);
		r = found ? custody_pool_new(socket, &found->pool, reterr) : -ENOMEM;
		if (r == 0) {
			strcpy(found->socket, socket);
			found->next = p->pools;
			p->pools = found;
		} else {
			free(found);
		}
	}
	if (r == 0)
		*ret = found->pool;
	(void) pthread_mutex_unlock(&p->lock); /* as above */
	return r;
}

static void pools_free(struct provider_pool *first)
{
	while (first) {
		struct provider_pool *next = first->next;

		custody_pool_free(first->pool);
		free(first);
		first = next;
	}
}

static void teardown(void *provctx)
{
	struct provider *p = provctx;

	pools_free(p->pools);
	(void) pthread_mutex_destroy(&p->lock); /* no thread uses it any more */
	OSSL_LIB_CTX_free(p->libctx);
	free(p->socket);
	free(p);
}

static const OSSL_DISPATCH dispatch[] = {
	{ OSSL_FUNC_PROVIDER_TEARDOWN, (void (*)(void)) teardown },
	{ OSSL_FUNC_PROVIDER_GETTABLE_PARAMS, (void (*)(void)) gettable_params },
	{ OSSL_FUNC_PROVIDER_GET_PARAMS, (void (*)(void)) get_params },
	{ OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void)) query },
	{ 0, NULL },
};

/* socket= of our section in openssl.cnf. */
static const char *configured_socket(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in)
{
	const char *path = NULL;
	OSSL_PARAM params[] = { OSSL_PARAM_utf8_ptr("socket", (char **) &path, 0), OSSL_PARAM_END };

	for (; in->function_id != 0; in++)
		if (in->function_id == OSSL_FUNC_CORE_GET_PARAMS && !OSSL_FUNC_core_get_params(in)(handle, params))
			return NULL;
	return path ? path : CUSTODY_SOCKET_DEFAULT;
}

int provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **provctx)
{
	const char *path = configured_socket(handle, in);
	struct provider *p = calloc(1, sizeof(*p));

	if (!p)
		return 0;
	if (pthread_mutex_init(&p->lock, NULL) != 0) {
		free(p);
		return 0;
	}
	p->handle = handle;
	p->socket = path ? strdup(path) : NULL;
	p->libctx = OSSL_LIB_CTX_new_from_dispatch(handle, in);
	if (!p->socket || !p->libctx) {
		teardown(p);
		return 0;
	}
	*provctx = p;
	*out = dispatch;
	return 1;
}

int provider_fail(const struct err *e, int code)
{
	ERR_raise_data(ERR_LIB_PROV, ERR_R_OPERATION_FAIL, "keyroll: %s", err_text(e, code));
	return 0;
}

int provider_refuse(int code, const char *fmt, ...)
{
	char text[ERR_TEXT_BYTES];
	struct err e;
	va_list ap;

	va_start(ap, fmt);
	(void) vsnprintf(text, sizeof(text), fmt, ap); /* cut is fine */
	va_end(ap);
	return provider_fail(&e, err_set(&e, code, "%s", text));
}

const char *provider_param_text(const OSSL_PARAM *p, char ret[PARAM_TEXT_BYTES])
{
	int64_t n = 0;

	if (p->data && p->data_type == OSSL_PARAM_UTF8_STRING)
		(void) snprintf(ret, PARAM_TEXT_BYTES, "'%.40s'", (const char *) p->data); /* cut is fine, it fits */
	else if (p->data && OSSL_PARAM_get_int64(p, &n))
		(void) snprintf(ret, PARAM_TEXT_BYTES, "%" PRId64, n); /* fits any */
	else
		(void) snprintf(ret, PARAM_TEXT_BYTES, "%zu bytes of type %u", p->data_size, p->data_type); /* fits any */
	return ret;
}

int provider_param_refuse(const OSSL_PARAM *p, const char *wanted)
{
	char text[PARAM_TEXT_BYTES];

	return provider_refuse(-EINVAL, "%s: found %s, wanted %s", p->key, provider_param_text(p, text), wanted);
}

int provider_param_full(const OSSL_PARAM *p)
{
	if (p->return_size > p->data_size)
		return provider_refuse(-EMSGSIZE, "%s: found room for %zu bytes, wanted %zu", p->key, p->data_size, p->return_size);
	return provider_refuse(-EINVAL, "%s: found %zu bytes of type %u, wanted another type", p->key, p->data_size, p->data_type);
}

static int key_take(struct provider_key *k, const struct custody_msg *reply, struct err *reterr)
{
	const unsigned char *der = reply->body.data;

	k->pub = der ? d2i_PUBKEY_ex(NULL, &der, (long) reply->body.len, k->provider->libctx, NULL) : NULL;
	if (!k->pub || der != reply->body.data + reply->body.len || !EVP_PKEY_is_a(k->pub, "RSA"))
		return err_from_openssl(reterr, -EBADMSG, "the custodian's public key of %s", k->label);
	k->bits = EVP_PKEY_get_bits(k->pub);
	memcpy(k->spki, reply->spki, sizeof(k->spki));
	return 0;
}

int provider_key_new(struct provider *p, const char *socket, const char *label, enum ks_slot slot, const char *spki, struct provider_key **ret,
		     struct err *reterr)
{
	AUTO(custody_msg) struct custody_msg m = CUSTODY_MSG_EMPTY;
	AUTO(custody_msg) struct custody_msg reply = CUSTODY_MSG_EMPTY;
	AUTO(provider_key) struct provider_key *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return -ENOMEM;
	atomic_init(&k->refs, 1);
	k->provider = p;
	if (strlen(label) >= sizeof(k->label) || strlen(spki) >= sizeof(m.spki))
		return err_set(reterr, -EINVAL, "found a key label of %zu bytes and spki of %zu, wanted at most %d and %d", strlen(label), strlen(spki),
			       LIMIT_LABEL_BYTES, CUSTODY_SPKI_BYTES);
	strcpy(k->label, label);
	strcpy(m.label, label);
	strcpy(m.spki, spki);
	m.op = CUSTODY_OP_LOAD;
	m.slot = (uint8_t) slot;
	r = pool_get(p, socket, &k->pool, reterr);
	if (r == 0)
		r = custody_ask(k->pool, &m, &reply, reterr);
	if (r == 0)
		r = key_take(k, &reply, reterr);
	if (r == 0)
		*ret = TAKE(k);
	return r;
}

int provider_key_open(struct provider *p, const char *uri, size_t len, struct provider_key **ret, struct err *reterr)
{
	struct keyuri u;
	int r = keyuri_parse(uri, len, &u, reterr);

	return r < 0 ? r : provider_key_new(p, u.socket[0] != '\0' ? u.socket : p->socket, u.label, u.slot, u.spki, ret, reterr);
}

struct provider_key *provider_key_ref(struct provider_key *k)
{
	(void) atomic_fetch_add(&k->refs, 1); /* the old count is of no interest */
	return k;
}

void provider_key_free(struct provider_key *k)
{
	if (!k || atomic_fetch_sub(&k->refs, 1) > 1)
		return;
	EVP_PKEY_free(k->pub);
	free(k);
}

size_t provider_key_bytes(const struct provider_key *k)
{
	return ((size_t) k->bits + 7) / 8;
}

int provider_digest_set(struct provider *p, const OSSL_PARAM *name, char ret[DIGEST_NAME_BYTES])
{
	AUTO(md) EVP_MD *md = name->data && name->data_type == OSSL_PARAM_UTF8_STRING ? EVP_MD_fetch(p->libctx, name->data, NULL) : NULL;
	static const char *const names[] = { "SHA1", "SHA224", "SHA256", "SHA384", "SHA512" }; /* what the custodian pads */

	for (size_t i = 0; md && i < sizeof(names) / sizeof(names[0]); i++)
		if (EVP_MD_is_a(md, names[i])) {
			strcpy(ret, names[i]);
			return 1;
		}
	return provider_param_refuse(name, PROVIDER_DIGESTS);
}

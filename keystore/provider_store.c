/* The store: keys by their URI (keyuri.h). */
#include <errno.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/params.h>
#include <openssl/store.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "keystore/provider.h"

struct loader {
	struct provider_key *key; /* given out once */
	bool done;
};

static void *store_open(void *provctx, const char *text)
{
	struct loader *l = calloc(1, sizeof(*l));
	struct err e = { .code = 0 };
	int r = l ? provider_key_open(provctx, text, strlen(text), &l->key, &e) : -ENOMEM;

	if (r == 0)
		return l;
	free(l);
	(void) provider_fail(&e, r); /* NULL says it */
	return NULL;
}

static const OSSL_PARAM settable[] = {
	OSSL_PARAM_int(OSSL_STORE_PARAM_EXPECT, NULL),
	OSSL_PARAM_utf8_string(OSSL_STORE_PARAM_PROPERTIES, NULL, 0),
	OSSL_PARAM_END,
};

static const OSSL_PARAM *store_settable(void *provctx)
{
	(void) provctx; /* the same for all */
	return settable;
}

static int store_set_params(void *loader, const OSSL_PARAM params[])
{
	const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_EXPECT);
	struct loader *l = loader;
	int expect = 0;

	if (p && !OSSL_PARAM_get_int(p, &expect))
		return provider_param_refuse(p, "the number of a kind of object");
	if (expect == 0 || expect == OSSL_STORE_INFO_PKEY || expect == OSSL_STORE_INFO_PUBKEY)
		return 1;
	l->done = true;
	return provider_refuse(-ENOTSUP, "found a request for a %s, wanted one for a key: nothing else is kept here", OSSL_STORE_INFO_type_string(expect));
}

static int store_load(void *loader, OSSL_CALLBACK *cb, void *cbarg, OSSL_PASSPHRASE_CALLBACK *pass, void *passarg)
{
	struct loader *l = loader;
	int type = OSSL_OBJECT_PKEY;
	OSSL_PARAM params[4];

	(void) pass; /* the custodian judges by the peer's user */
	(void) passarg;
	if (l->done)
		return 0;
	l->done = true;
	params[0] = OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type);
	params[1] = OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE, (char *) "RSA", 0);
	params[2] = OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_REFERENCE, &l->key, sizeof(l->key));
	params[3] = OSSL_PARAM_construct_end();
	return cb(params, cbarg);
}

static int store_eof(void *loader)
{
	return ((struct loader *) loader)->done;
}

static int store_close(void *loader)
{
	struct loader *l = loader;

	provider_key_free(l->key);
	free(l);
	return 1;
}

/* For a key management other than ours: the public half, as everywhere. */
static int store_export(void *loader, const void *reference, size_t reference_len, OSSL_CALLBACK *cb, void *cbarg)
{
	(void) loader; /* the reference says which key */
	(void) reference;
	(void) reference_len;
	(void) cb;
	(void) cbarg;
	return 0; /* refused, so that the store falls back to our own key management */
}

const OSSL_DISPATCH provider_store[] = {
	{ OSSL_FUNC_STORE_OPEN, (void (*)(void)) store_open },
	{ OSSL_FUNC_STORE_SETTABLE_CTX_PARAMS, (void (*)(void)) store_settable },
	{ OSSL_FUNC_STORE_SET_CTX_PARAMS, (void (*)(void)) store_set_params },
	{ OSSL_FUNC_STORE_LOAD, (void (*)(void)) store_load },
	{ OSSL_FUNC_STORE_EOF, (void (*)(void)) store_eof },
	{ OSSL_FUNC_STORE_CLOSE, (void (*)(void)) store_close },
	{ OSSL_FUNC_STORE_EXPORT_OBJECT, (void (*)(void)) store_export },
	{ 0, NULL },
};

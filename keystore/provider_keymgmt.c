/* Key management: a key is loaded by reference from our store, and only its public half ever leaves. */
#include <errno.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "keystore/provider.h"

static void params_free_(OSSL_PARAM *p)
{
	OSSL_PARAM_free(p);
}
AUTO_DEFINE(params, OSSL_PARAM *, params_free_);

static void *key_load(const void *reference, size_t reference_len)
{
	struct provider_key *k;

	if (reference_len != sizeof(k))
		return NULL;
	memcpy(&k, reference, sizeof(k));
	return provider_key_ref(k);
}

static void key_free(void *keydata)
{
	provider_key_free(keydata);
}

static void *key_dup(const void *keydata, int selection)
{
	(void) selection; /* nothing in it is ever changed, so a copy is another reference */
	return provider_key_ref((struct provider_key *) keydata);
}

static int key_has(const void *keydata, int selection)
{
	(void) selection; /* both halves: one here, one with the custodian */
	return keydata != NULL;
}

static int key_match(const void *a, const void *b, int selection)
{
	const struct provider_key *ka = a, *kb = b;

	(void) selection; /* the public key decides, the private one follows from it */
	return strcmp(ka->spki, kb->spki) == 0;
}

static int key_validate(const void *keydata, int selection, int checktype)
{
	(void) selection; /* the custodian has tested the pair; no more can be seen here */
	(void) checktype;
	return keydata != NULL;
}

static int key_export(void *keydata, int selection, OSSL_CALLBACK *cb, void *cbarg)
{
	struct provider_key *k = keydata;
	AUTO(params) OSSL_PARAM *params = NULL;

	/* Refused as a whole: a public half handed out for a private request makes every later use fail. OpenSSL asks so at each operation, to no effect,
	 * and takes the reason out of its queue again. */
	if (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY)
		return provider_refuse(-EPERM, "found a request for the private half of %s, wanted one for the public: the other stays with the custodian", k->label);
	return EVP_PKEY_todata(k->pub, EVP_PKEY_PUBLIC_KEY, &params) && cb(params, cbarg);
}

static const OSSL_PARAM public_params[] = {
	OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
	OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
	OSSL_PARAM_END,
};

static const OSSL_PARAM *key_export_types(int selection)
{
	return selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY ? NULL : public_params;
}

static const OSSL_PARAM gettable[] = {
	OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
	OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
	OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
	OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
	OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
	OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
	OSSL_PARAM_END,
};

static const OSSL_PARAM *key_gettable(void *provctx)
{
	(void) provctx; /* the same for all */
	return gettable;
}

/* All that may be asked is public: the default provider's key answers it. */
static int key_get_params(void *keydata, OSSL_PARAM params[])
{
	return EVP_PKEY_get_params(((struct provider_key *) keydata)->pub, params);
}

static const char *operation_name(int operation)
{
	(void) operation; /* all go by the key's type */
	return "RSA";
}

const OSSL_DISPATCH provider_keymgmt[] = {
	{ OSSL_FUNC_KEYMGMT_LOAD, (void (*)(void)) key_load },
	{ OSSL_FUNC_KEYMGMT_FREE, (void (*)(void)) key_free },
	{ OSSL_FUNC_KEYMGMT_DUP, (void (*)(void)) key_dup },
	{ OSSL_FUNC_KEYMGMT_HAS, (void (*)(void)) key_has },
	{ OSSL_FUNC_KEYMGMT_MATCH, (void (*)(void)) key_match },
	{ OSSL_FUNC_KEYMGMT_VALIDATE, (void (*)(void)) key_validate },
	{ OSSL_FUNC_KEYMGMT_EXPORT, (void (*)(void)) key_export },
	{ OSSL_FUNC_KEYMGMT_EXPORT_TYPES, (void (*)(void)) key_export_types },
	{ OSSL_FUNC_KEYMGMT_GET_PARAMS, (void (*)(void)) key_get_params },
	{ OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, (void (*)(void)) key_gettable },
	{ OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, (void (*)(void)) operation_name },
	{ 0, NULL },
};

/* Single DES lives in a context of its own, made at first use, so that nothing else in the process gains it. */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/provider.h>
#include <pthread.h>

#include "scep/scep_internal.h"

static pthread_mutex_t legacy_lock = PTHREAD_MUTEX_INITIALIZER;
static OSSL_LIB_CTX *legacy; /* kept until the process ends */

AUTO_DEFINE(libctx, OSSL_LIB_CTX *, OSSL_LIB_CTX_free);

static OSSL_LIB_CTX *context_make(void)
{
	AUTO(libctx) OSSL_LIB_CTX *ctx = OSSL_LIB_CTX_new();
	EVP_CIPHER *des;

	if (!ctx || !OSSL_PROVIDER_load(ctx, "default") || !OSSL_PROVIDER_load(ctx, "legacy"))
		return NULL; /* the context's end unloads what was loaded */
	des = EVP_CIPHER_fetch(ctx, "DES-CBC", NULL);
	if (!des)
		return NULL;
	EVP_CIPHER_free(des);
	return TAKE(ctx);
}

OSSL_LIB_CTX *legacy_context(void)
{
	OSSL_LIB_CTX *ctx;

	(void) pthread_mutex_lock(&legacy_lock); /* cannot fail: initialised, not recursive */
	if (!legacy)
		legacy = context_make();
	ctx = legacy;
	(void) pthread_mutex_unlock(&legacy_lock);
	return ctx;
}

int scep_des_check(struct err *reterr)
{
	if (!legacy_context())
		return err_from_openssl(reterr, -ENOTSUP, "found no DES in OpenSSL's legacy provider, which AllowDES=yes needs");
	return 0;
}

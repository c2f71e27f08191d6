/* keyroll.so: the one symbol that OpenSSL looks for in a provider module. */
#include <openssl/core_dispatch.h>

#include "keystore/provider.h"

OSSL_provider_init_fn OSSL_provider_init;

int OSSL_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **provctx)
{
	return provider_init(handle, in, out, provctx);
}

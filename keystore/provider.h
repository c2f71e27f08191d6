/* Our OpenSSL provider "keyroll": RSA keys that live with a custodian, by URI or by a file that holds one (keyuri.h). It refuses to
 * export the private half, whereupon OpenSSL uses this provider for every private operation without any property query. */
#ifndef KEYROLL_KEYSTORE_PROVIDER_H
#define KEYROLL_KEYSTORE_PROVIDER_H

#include <openssl/core.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>

#include "keystore/custody_conn.h"
#include "keystore/custody_server.h"

struct provider { /* one for each load of the provider */
	const OSSL_CORE_HANDLE *handle;
	/* of its own (but it reads the caller's BIOs), with the default provider alone: public operations and digests cannot come back to us */
	OSSL_LIB_CTX *libctx;
	char *socket;	      /* where no URI says another */
	pthread_mutex_t lock; /* of pools */
	struct provider_pool *pools; /* one for each socket */
};

struct provider_key { /* shared by EVP_PKEYs and contexts; the private half is with the custodian */
	atomic_uint refs;
	struct provider *provider;
	struct custody_pool *pool; /* the provider's */
	char label[LIMIT_LABEL_BYTES + 1];
	char spki[CUSTODY_SPKI_BYTES + 1];
	int bits;
	EVP_PKEY *pub; /* in provider->libctx */
};

int provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **provctx);

/* Asks the custodian at socket for the key. spki may be "" (then the slot says which). */
int provider_key_new(struct provider *p, const char *socket, const char *label, enum ks_slot slot, const char *spki, struct provider_key **ret,
		     struct err *reterr) CHECKED;
/* The same by URI (keyuri.h). */
int provider_key_open(struct provider *p, const char *uri, size_t len, struct provider_key **ret, struct err *reterr) CHECKED;
struct provider_key *provider_key_ref(struct provider_key *k);
void provider_key_free(struct provider_key *k);
/* k bytes of the modulus. */
size_t provider_key_bytes(const struct provider_key *k);
/* The digest that a parameter names, by the name that the custodian knows it by. 0, with the reason in the error queue: another. */
#define PROVIDER_DIGESTS "SHA1, SHA224, SHA256, SHA384 or SHA512"
enum { DIGEST_NAME_BYTES = 16, PARAM_TEXT_BYTES = 64 };
int provider_digest_set(struct provider *p, const OSSL_PARAM *name, char ret[DIGEST_NAME_BYTES]);
/* Puts the reason into OpenSSL's error queue and returns 0, as dispatch functions must. */
int provider_fail(const struct err *e, int code);
/* The same in words: what was found, what is wanted. */
int provider_refuse(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same of a parameter: its name, what it holds, what is wanted. */
int provider_param_refuse(const OSSL_PARAM *p, const char *wanted);
/* The same of a parameter to be filled that has no room, or is of another type. */
int provider_param_full(const OSSL_PARAM *p);
/* What a parameter holds: its word or number, else its type. Returns ret. */
const char *provider_param_text(const OSSL_PARAM *p, char ret[PARAM_TEXT_BYTES]);

extern const OSSL_DISPATCH provider_keymgmt[], provider_signature[], provider_asym_cipher[], provider_store[], provider_decoder_pem[], provider_decoder_der[];

AUTO_DEFINE(md, EVP_MD *, EVP_MD_free);
AUTO_DEFINE(provider_key, struct provider_key *, provider_key_free);

#endif

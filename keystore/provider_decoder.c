/* A file that holds only a key's URI, for programs that insist on a key file. Two stages, as OpenSSL chains them: PEM to DER, DER to a key of ours.
 * What is not ours is passed over in silence (1, and nothing in the error queue), so that the next decoder tries. */
#include <errno.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "keystore/keyuri.h"
#include "keystore/provider.h"

static void *decoder_new(void *provctx)
{
	return provctx; /* nothing is kept between two calls */
}

static void decoder_free(void *ctx)
{
	(void) ctx; /* the provider's */
}

struct pem {
	char *name, *header;
	unsigned char *data;
	long len;
};

static void auto_pem(struct pem *p)
{
	OPENSSL_free(p->name);
	OPENSSL_free(p->header);
	OPENSSL_clear_free(p->data, (size_t) p->len); /* it may be another key */
}

/* Takes one block, whatever it is, so that every decoder leaves the file at the same place. */
static bool pem_read(struct provider *p, OSSL_CORE_BIO *core, struct pem *ret)
{
	AUTO(bio) BIO *in = BIO_new_from_core_bio(p->libctx, core);
	bool found;

	ERR_set_mark();
	found = in && PEM_read_bio(in, &ret->name, &ret->header, &ret->data, &ret->len) == 1;
	ERR_pop_to_mark();
	return found;
}

static int pem_decode(void *ctx, OSSL_CORE_BIO *core, int selection, OSSL_CALLBACK *cb, void *cbarg, OSSL_PASSPHRASE_CALLBACK *pass, void *passarg)
{
	AUTO(pem) struct pem pem = { .name = NULL };
	OSSL_PARAM params[3];
	const char *text = NULL;
	size_t len = 0;

	(void) selection; /* judged by what is found */
	(void) pass;	  /* nothing is encrypted */
	(void) passarg;
	if (!pem_read(ctx, core, &pem) || strcmp(pem.name, KEYURI_PEM_NAME) != 0)
		return 1;
	if (keyuri_der_parse(pem.data, (size_t) pem.len, &text, &len) < 0)
		return provider_refuse(-EBADMSG, KEYURI_PEM_NAME ": found %ld bytes of another form, wanted a URI of at most %d, as delivered", pem.len, KEYURI_BYTES);
	params[0] = OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_DATA, pem.data, (size_t) pem.len);
	params[1] = OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_STRUCTURE, (char *) KEYURI_STRUCTURE, 0);
	params[2] = OSSL_PARAM_construct_end();
	return cb(params, cbarg);
}

static int key_give(struct provider_key *k, OSSL_CALLBACK *cb, void *cbarg)
{
	int type = OSSL_OBJECT_PKEY;
	OSSL_PARAM params[4];

	params[0] = OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type);
	params[1] = OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE, (char *) "RSA", 0);
	params[2] = OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_REFERENCE, &k, sizeof(k));
	params[3] = OSSL_PARAM_construct_end();
	return cb(params, cbarg);
}

static int der_decode(void *ctx, OSSL_CORE_BIO *core, int selection, OSSL_CALLBACK *cb, void *cbarg, OSSL_PASSPHRASE_CALLBACK *pass, void *passarg)
{
	struct provider *p = ctx;
	AUTO(bio) BIO *in = BIO_new_from_core_bio(p->libctx, core);
	AUTO(provider_key) struct provider_key *k = NULL;
	unsigned char der[KEYURI_DER_BYTES + 1];
	struct err e = { .code = 0 };
	const char *text = NULL;
	size_t len = 0;
	int n = in ? BIO_read(in, der, sizeof(der)) : 0, r;

	(void) selection; /* both halves are there */
	(void) pass;	  /* nothing is encrypted */
	(void) passarg;
	r = n <= 0 ? -1 : keyuri_der_parse(der, (size_t) n, &text, &len);
	if (r < 0) {
		OPENSSL_cleanse(der, sizeof(der)); /* another's key came by */
		return 1;
	}
	r = provider_key_open(p, text, len, &k, &e);
	return r < 0 ? provider_fail(&e, r) : key_give(k, cb, cbarg);
}

const OSSL_DISPATCH provider_decoder_pem[] = {
	{ OSSL_FUNC_DECODER_NEWCTX, (void (*)(void)) decoder_new },
	{ OSSL_FUNC_DECODER_FREECTX, (void (*)(void)) decoder_free },
	{ OSSL_FUNC_DECODER_DECODE, (void (*)(void)) pem_decode },
	{ 0, NULL },
};

const OSSL_DISPATCH provider_decoder_der[] = {
	{ OSSL_FUNC_DECODER_NEWCTX, (void (*)(void)) decoder_new },
	{ OSSL_FUNC_DECODER_FREECTX, (void (*)(void)) decoder_free },
	{ OSSL_FUNC_DECODER_DECODE, (void (*)(void)) der_decode },
	{ 0, NULL },
};

/* Signatures: the bytes themselves go to the custodian, so that a floor can judge them; verification is the default provider's. */
#include <errno.h>
#include <openssl/asn1.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/obj_mac.h>
#include <openssl/objects.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "keystore/pad.h"
#include "keystore/provider.h"

struct sig {
	struct provider *provider;
	struct provider_key *key;
	bool verify;
	int padding; /* RSA_PKCS1_PADDING or RSA_PKCS1_PSS_PADDING */
	int salt_len; /* bytes, or RSA_PSS_SALTLEN_* */
	char digest[DIGEST_NAME_BYTES]; /* "" until it is known */
	char mgf1[DIGEST_NAME_BYTES];	/* of PSS; "": the same */
	struct buf bytes; /* digest_sign_update's, up to CUSTODY_BODY_BYTES */
	EVP_MD_CTX *running; /* the digest of them, once there are more; else NULL */
};

static void *sig_new(void *provctx, const char *propq)
{
	struct sig *s = calloc(1, sizeof(*s));

	(void) propq; /* one implementation */
	if (s)
		s->provider = provctx;
	return s;
}

static void sig_free(void *ctx)
{
	struct sig *s = ctx;

	provider_key_free(s->key);
	buf_clear(&s->bytes);
	EVP_MD_CTX_free(s->running);
	free(s);
}

static void *sig_dup(void *ctx)
{
	const struct sig *s = ctx;
	struct sig *copy = malloc(sizeof(*copy));

	if (!copy)
		return NULL;
	*copy = *s;
	copy->bytes = BUF_EMPTY;
	copy->running = s->running ? EVP_MD_CTX_new() : NULL;
	if (copy->key)
		(void) provider_key_ref(copy->key); /* the pointer is copied already */
	if (buf_set(&copy->bytes, s->bytes.data, s->bytes.len) == 0 && (!s->running || (copy->running && EVP_MD_CTX_copy_ex(copy->running, s->running) == 1)))
		return copy;
	sig_free(copy);
	return NULL;
}

static int digest_set(struct sig *s, const char *name)
{
	OSSL_PARAM p = OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, (char *) name, 0);

	return provider_digest_set(s->provider, &p, s->digest);
}

static int padding_set(struct sig *s, const OSSL_PARAM *p)
{
	static const struct { const char *name; int padding; } names[] = {
		{ OSSL_PKEY_RSA_PAD_MODE_PKCSV15, RSA_PKCS1_PADDING }, { OSSL_PKEY_RSA_PAD_MODE_PSS, RSA_PKCS1_PSS_PADDING } };
	int n = 0;

	if (p->data_type == OSSL_PARAM_INTEGER && !OSSL_PARAM_get_int(p, &n))
		n = 0; /* none of them */
	for (size_t i = 0; i < 2; i++)
		if (n == names[i].padding || (p->data_type == OSSL_PARAM_UTF8_STRING && p->data && strcmp(p->data, names[i].name) == 0)) {
			s->padding = names[i].padding;
			return 1;
		}
	return provider_param_refuse(p, OSSL_PKEY_RSA_PAD_MODE_PKCSV15 " or " OSSL_PKEY_RSA_PAD_MODE_PSS);
}

static bool salt_read(const char *text, int *ret)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (strcmp(text, OSSL_PKEY_RSA_PSS_SALT_LEN_DIGEST) == 0)
		*ret = RSA_PSS_SALTLEN_DIGEST;
	else if (strcmp(text, OSSL_PKEY_RSA_PSS_SALT_LEN_MAX) == 0)
		*ret = RSA_PSS_SALTLEN_MAX;
	else if (strcmp(text, OSSL_PKEY_RSA_PSS_SALT_LEN_AUTO) == 0)
		*ret = RSA_PSS_SALTLEN_AUTO;
	else if (end == text || *end != '\0' || n < 0 || n > PAD_K_MAX)
		return false;
	else
		*ret = (int) n;
	return true;
}

static int salt_set(struct sig *s, const OSSL_PARAM *p)
{
	int n = 0;
	bool ok = p->data && (p->data_type == OSSL_PARAM_UTF8_STRING ? salt_read(p->data, &n) : OSSL_PARAM_get_int(p, &n));

	if (!ok || n < RSA_PSS_SALTLEN_MAX || n > PAD_K_MAX) /* the words' numbers are negative, MAX is the last */
		return provider_param_refuse(p, "digest, max, auto or a number of bytes");
	s->salt_len = n;
	return 1;
}

/* Nobody signs with another one, and the custodian's padding knows one digest. Either may be set first. */
static bool mgf1_fits(const struct sig *s)
{
	return s->verify || s->mgf1[0] == '\0' || s->digest[0] == '\0' || strcmp(s->mgf1, s->digest) == 0;
}

static int sig_set_params(void *ctx, const OSSL_PARAM params[])
{
	struct sig *s = ctx;
	const OSSL_PARAM *p = params ? OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_DIGEST) : NULL;

	if (!params)
		return 1;
	if (p && !provider_digest_set(s->provider, p, s->digest))
		return 0;
	p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
	if (p && !padding_set(s, p))
		return 0;
	p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PSS_SALTLEN);
	if (p && !salt_set(s, p))
		return 0;
	p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_MGF1_DIGEST);
	if (p && !provider_digest_set(s->provider, p, s->mgf1))
		return 0;
	return mgf1_fits(s) ? 1 : provider_refuse(-ENOTSUP, "MGF1: found %s, wanted the signature's own digest %s", s->mgf1, s->digest);
}

static const OSSL_PARAM settable[] = {
	OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
	OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
	OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
	OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, NULL, 0),
	OSSL_PARAM_END,
};

static const OSSL_PARAM *sig_settable(void *ctx, void *provctx)
{
	(void) ctx; /* the same for all */
	(void) provctx;
	return settable;
}

static int init(struct sig *s, void *keydata, const char *digest, const OSSL_PARAM params[], bool verify)
{
	if (keydata) { /* NULL: once more with the same key */
		provider_key_free(s->key);
		s->key = provider_key_ref(keydata);
	}
	if (!s->key)
		return provider_refuse(-EINVAL, "found no key, wanted one of keyroll's");
	buf_clear(&s->bytes);
	EVP_MD_CTX_free(TAKE(s->running));
	s->verify = verify;
	s->padding = RSA_PKCS1_PADDING;
	s->salt_len = RSA_PSS_SALTLEN_AUTO;
	s->digest[0] = s->mgf1[0] = '\0';
	if (digest && *digest && !digest_set(s, digest))
		return 0;
	return sig_set_params(s, params);
}

static int sign_init(void *ctx, void *keydata, const OSSL_PARAM params[])
{
	return init(ctx, keydata, NULL, params, false);
}

static int verify_init(void *ctx, void *keydata, const OSSL_PARAM params[])
{
	return init(ctx, keydata, NULL, params, true);
}

static int digest_sign_init(void *ctx, const char *digest, void *keydata, const OSSL_PARAM params[])
{
	return init(ctx, keydata, digest && *digest ? digest : "SHA256", params, false);
}

static int digest_verify_init(void *ctx, const char *digest, void *keydata, const OSSL_PARAM params[])
{
	return init(ctx, keydata, digest && *digest ? digest : "SHA256", params, true);
}

static bool digest_known(const struct sig *s)
{
	return s->digest[0] != '\0' || provider_refuse(-EINVAL, "found no digest, wanted " PROVIDER_DIGESTS);
}

/* The salt in bytes, as the custodian wants it told. */
static int salt_bytes(const struct sig *s)
{
	int h_len = EVP_MD_get_size(EVP_get_digestbyname(s->digest));

	if (s->salt_len >= 0)
		return s->salt_len;
	if (s->salt_len == RSA_PSS_SALTLEN_DIGEST)
		return h_len;
	return (s->key->bits - 1 + 7) / 8 - h_len - 2;
}

static int custodian_sign(struct sig *s, enum custody_op op, unsigned char *out, size_t *out_len, size_t room, const unsigned char *in, size_t len)
{
	AUTO(custody_msg) struct custody_msg m = CUSTODY_MSG_EMPTY;
	AUTO(custody_msg) struct custody_msg reply = CUSTODY_MSG_EMPTY;
	size_t k = provider_key_bytes(s->key);
	struct err e = { .code = 0 };
	int r;

	*out_len = k;
	if (!out)
		return 1;
	if (!digest_known(s))
		return 0;
	if (room < k)
		return provider_refuse(-EMSGSIZE, "room for a signature: found %zu bytes, wanted %zu", room, k);
	m.op = op;
	strcpy(m.label, s->key->label);
	strcpy(m.spki, s->key->spki);
	strcpy(m.name, s->digest);
	m.padding = s->padding == RSA_PKCS1_PSS_PADDING ? CUSTODY_PADDING_PSS : CUSTODY_PADDING_PKCS1;
	m.number = m.padding == CUSTODY_PADDING_PSS ? (uint32_t) salt_bytes(s) : 0;
	r = buf_set(&m.body, in, len);
	if (r == 0)
		r = custody_ask(s->key->pool, &m, &reply, &e);
	if (r == 0 && reply.body.len != k)
		r = err_set(&e, -EBADMSG, "a signature of %zu bytes, %zu are wanted", reply.body.len, k);
	if (r < 0)
		return provider_fail(&e, r);
	memcpy(out, reply.body.data, k);
	return 1;
}

static int sign(void *ctx, unsigned char *out, size_t *out_len, size_t room, const unsigned char *digest, size_t len)
{
	return custodian_sign(ctx, CUSTODY_OP_SIGN_DIGEST, out, out_len, room, digest, len);
}

/* More than the custodian takes goes to it as a digest, which a signer refuses: nothing of that size is for a CA to sign. */
static int running_begin(struct sig *s)
{
	AUTO(md) EVP_MD *md = EVP_MD_fetch(s->provider->libctx, s->digest, NULL);

	s->running = EVP_MD_CTX_new();
	if (!md || !s->running || EVP_DigestInit_ex(s->running, md, NULL) != 1 || EVP_DigestUpdate(s->running, s->bytes.data, s->bytes.len) != 1)
		return provider_fail(NULL, -ENOMEM);
	buf_clear(&s->bytes);
	return 1;
}

static int update(void *ctx, const unsigned char *data, size_t len)
{
	struct sig *s = ctx;

	if (!s->running && len <= CUSTODY_BODY_BYTES - s->bytes.len)
		return buf_add(&s->bytes, data, len) == 0 || provider_fail(NULL, -ENOMEM);
	return (s->running || running_begin(s)) && EVP_DigestUpdate(s->running, data, len) == 1;
}

/* Of a copy: the caller may go on, or ask for the size first. */
static int running_end(const struct sig *s, unsigned char digest[EVP_MAX_MD_SIZE], unsigned *len)
{
	AUTO(md_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	return ctx && EVP_MD_CTX_copy_ex(ctx, s->running) == 1 && EVP_DigestFinal_ex(ctx, digest, len) == 1;
}

static int digest_sign_final(void *ctx, unsigned char *out, size_t *out_len, size_t room)
{
	struct sig *s = ctx;
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len;

	if (!s->running)
		return custodian_sign(s, CUSTODY_OP_SIGN, out, out_len, room, s->bytes.data, s->bytes.len);
	return running_end(s, digest, &len) && custodian_sign(s, CUSTODY_OP_SIGN_DIGEST, out, out_len, room, digest, len);
}

static int digest_sign(void *ctx, unsigned char *out, size_t *out_len, size_t room, const unsigned char *data, size_t len)
{
	const struct sig *s = ctx;
	unsigned char digest[EVP_MAX_MD_SIZE];
	size_t digest_len;

	if (!out || len <= CUSTODY_BODY_BYTES) /* who asks for the size gives the same data again */
		return custodian_sign(ctx, CUSTODY_OP_SIGN, out, out_len, room, data, len);
	return EVP_Q_digest(s->provider->libctx, s->digest, NULL, data, len, digest, &digest_len) == 1 &&
	       custodian_sign(ctx, CUSTODY_OP_SIGN_DIGEST, out, out_len, room, digest, digest_len);
}

static int pss_tell(const struct sig *s, EVP_PKEY_CTX *pctx)
{
	return EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, s->salt_len) == 1 &&
	       (s->mgf1[0] == '\0' || EVP_PKEY_CTX_set_rsa_mgf1_md_name(pctx, s->mgf1, NULL) == 1);
}

static int verify(void *ctx, const unsigned char *sig, size_t sig_len, const unsigned char *digest, size_t len)
{
	struct sig *s = ctx;
	AUTO(pkey_ctx) EVP_PKEY_CTX *pctx = EVP_PKEY_CTX_new_from_pkey(s->provider->libctx, s->key->pub, NULL);
	AUTO(md) EVP_MD *md = digest_known(s) ? EVP_MD_fetch(s->provider->libctx, s->digest, NULL) : NULL;

	return pctx && md && EVP_PKEY_verify_init(pctx) == 1 && EVP_PKEY_CTX_set_signature_md(pctx, md) == 1 &&
	       EVP_PKEY_CTX_set_rsa_padding(pctx, s->padding) == 1 &&
	       (s->padding != RSA_PKCS1_PSS_PADDING || pss_tell(s, pctx)) &&
	       EVP_PKEY_verify(pctx, sig, sig_len, digest, len) == 1;
}

static int digest_verify(void *ctx, const unsigned char *sig, size_t sig_len, const unsigned char *data, size_t len)
{
	struct sig *s = ctx;
	unsigned char digest[EVP_MAX_MD_SIZE];
	size_t digest_len;

	return EVP_Q_digest(s->provider->libctx, s->digest, NULL, data, len, digest, &digest_len) == 1 &&
	       verify(ctx, sig, sig_len, digest, digest_len) == 1;
}

static int digest_verify_final(void *ctx, const unsigned char *sig, size_t sig_len)
{
	struct sig *s = ctx;
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len;

	if (!s->running)
		return digest_verify(ctx, sig, sig_len, s->bytes.data, s->bytes.len);
	return running_end(s, digest, &len) && verify(ctx, sig, sig_len, digest, len) == 1;
}

/* OpenSSL's own refusal would not say what to do instead. */
static int recover_init(void *ctx, void *keydata, const OSSL_PARAM params[])
{
	(void) ctx; /* whatever is asked */
	(void) keydata;
	(void) params;
	return provider_refuse(-ENOTSUP, "found a signature to recover a digest from, wanted one to verify");
}

/* OpenSSL takes the one only beside the other. */
static int recover(void *ctx, unsigned char *out, size_t *out_len, size_t room, const unsigned char *sig, size_t sig_len)
{
	(void) out; /* as without an init */
	(void) out_len;
	(void) room;
	(void) sig;
	(void) sig_len;
	return recover_init(ctx, NULL, NULL);
}

/* ---- what is said about a signature in being made */

static int algorithm_pss(const struct sig *s, X509_ALGOR *alg)
{
	RSA_PSS_PARAMS *pss = RSA_PSS_PARAMS_new();
	X509_ALGOR *hash = X509_ALGOR_new(), *mgf_hash = X509_ALGOR_new(), *mgf = X509_ALGOR_new();
	ASN1_INTEGER *salt = ASN1_INTEGER_new();
	ASN1_STRING *mgf_der = NULL, *der = NULL;
	int ok = pss && hash && mgf_hash && mgf && salt && ASN1_INTEGER_set(salt, salt_bytes(s)) &&
		 X509_ALGOR_set0(hash, OBJ_nid2obj(OBJ_txt2nid(s->digest)), V_ASN1_NULL, NULL) &&
		 X509_ALGOR_set0(mgf_hash, OBJ_nid2obj(OBJ_txt2nid(s->digest)), V_ASN1_NULL, NULL) &&
		 ASN1_item_pack(mgf_hash, ASN1_ITEM_rptr(X509_ALGOR), &mgf_der) && X509_ALGOR_set0(mgf, OBJ_nid2obj(NID_mgf1), V_ASN1_SEQUENCE, mgf_der);

	if (ok) {
		mgf_der = NULL; /* mgf owns it */
		pss->hashAlgorithm = hash;
		pss->maskGenAlgorithm = mgf;
		pss->saltLength = salt;
		hash = mgf = NULL; /* pss owns all three */
		salt = NULL;
		ok = ASN1_item_pack(pss, ASN1_ITEM_rptr(RSA_PSS_PARAMS), &der) && X509_ALGOR_set0(alg, OBJ_nid2obj(NID_rsassaPss), V_ASN1_SEQUENCE, der);
		if (ok)
			der = NULL; /* alg owns it */
	}
	X509_ALGOR_free(hash);
	X509_ALGOR_free(mgf_hash);
	X509_ALGOR_free(mgf);
	ASN1_INTEGER_free(salt);
	ASN1_STRING_free(mgf_der);
	ASN1_STRING_free(der);
	RSA_PSS_PARAMS_free(pss);
	return ok;
}

static int algorithm_get(const struct sig *s, OSSL_PARAM *p)
{
	X509_ALGOR *alg = X509_ALGOR_new();
	AUTO(der) unsigned char *der = NULL;
	int nid = NID_undef, len, ok;

	if (!alg || !digest_known(s)) {
		X509_ALGOR_free(alg);
		return 0;
	}
	if (s->padding == RSA_PKCS1_PSS_PADDING)
		ok = algorithm_pss(s, alg);
	else
		ok = OBJ_find_sigid_by_algs(&nid, OBJ_txt2nid(s->digest), NID_rsaEncryption) && X509_ALGOR_set0(alg, OBJ_nid2obj(nid), V_ASN1_NULL, NULL);
	len = ok ? i2d_X509_ALGOR(alg, &der) : -1;
	X509_ALGOR_free(alg);
	return len > 0 && (OSSL_PARAM_set_octet_string(p, der, (size_t) len) || provider_param_full(p));
}

static int padding_get(const struct sig *s, OSSL_PARAM *p)
{
	if (p->data_type == OSSL_PARAM_INTEGER)
		return OSSL_PARAM_set_int(p, s->padding);
	return OSSL_PARAM_set_utf8_string(p, s->padding == RSA_PKCS1_PSS_PADDING ? OSSL_PKEY_RSA_PAD_MODE_PSS : OSSL_PKEY_RSA_PAD_MODE_PKCSV15);
}

static int salt_get(const struct sig *s, OSSL_PARAM *p)
{
	char text[16];

	if (p->data_type == OSSL_PARAM_INTEGER)
		return OSSL_PARAM_set_int(p, s->salt_len);
	(void) snprintf(text, sizeof(text), "%d", salt_bytes(s)); /* fits any int */
	return OSSL_PARAM_set_utf8_string(p, text);
}

static int sig_get_params(void *ctx, OSSL_PARAM params[])
{
	const struct sig *s = ctx;
	OSSL_PARAM *p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_ALGORITHM_ID);

	if (p && !algorithm_get(s, p))
		return 0;
	p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
	if (p && !padding_get(s, p))
		return provider_param_full(p);
	p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_DIGEST);
	if (p && !OSSL_PARAM_set_utf8_string(p, s->digest))
		return provider_param_full(p);
	p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_MGF1_DIGEST);
	if (p && !OSSL_PARAM_set_utf8_string(p, s->mgf1[0] != '\0' ? s->mgf1 : s->digest))
		return provider_param_full(p);
	p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_PSS_SALTLEN);
	return !p || salt_get(s, p) || provider_param_full(p);
}

static const OSSL_PARAM gettable[] = {
	OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, NULL, 0),
	OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
	OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
	OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, NULL, 0),
	OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
	OSSL_PARAM_END,
};

static const OSSL_PARAM *sig_gettable(void *ctx, void *provctx)
{
	(void) ctx; /* the same for all */
	(void) provctx;
	return gettable;
}

const OSSL_DISPATCH provider_signature[] = {
	{ OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void)) sig_new },
	{ OSSL_FUNC_SIGNATURE_FREECTX, (void (*)(void)) sig_free },
	{ OSSL_FUNC_SIGNATURE_DUPCTX, (void (*)(void)) sig_dup },
	{ OSSL_FUNC_SIGNATURE_SIGN_INIT, (void (*)(void)) sign_init },
	{ OSSL_FUNC_SIGNATURE_SIGN, (void (*)(void)) sign },
	{ OSSL_FUNC_SIGNATURE_VERIFY_INIT, (void (*)(void)) verify_init },
	{ OSSL_FUNC_SIGNATURE_VERIFY, (void (*)(void)) verify },
	{ OSSL_FUNC_SIGNATURE_VERIFY_RECOVER_INIT, (void (*)(void)) recover_init },
	{ OSSL_FUNC_SIGNATURE_VERIFY_RECOVER, (void (*)(void)) recover },
	{ OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, (void (*)(void)) digest_sign_init },
	{ OSSL_FUNC_SIGNATURE_DIGEST_SIGN_UPDATE, (void (*)(void)) update },
	{ OSSL_FUNC_SIGNATURE_DIGEST_SIGN_FINAL, (void (*)(void)) digest_sign_final },
	{ OSSL_FUNC_SIGNATURE_DIGEST_SIGN, (void (*)(void)) digest_sign },
	{ OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_INIT, (void (*)(void)) digest_verify_init },
	{ OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_UPDATE, (void (*)(void)) update },
	{ OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_FINAL, (void (*)(void)) digest_verify_final },
	{ OSSL_FUNC_SIGNATURE_DIGEST_VERIFY, (void (*)(void)) digest_verify },
	{ OSSL_FUNC_SIGNATURE_GET_CTX_PARAMS, (void (*)(void)) sig_get_params },
	{ OSSL_FUNC_SIGNATURE_GETTABLE_CTX_PARAMS, (void (*)(void)) sig_gettable },
	{ OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, (void (*)(void)) sig_set_params },
	{ OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, (void (*)(void)) sig_settable },
	{ 0, NULL },
};

/* Private operations: see custody_op.h. */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>

#include "keystore/custody_op.h"
#include "keystore/custody_server.h"
#include "keystore/pad.h"

static int digest_of(const struct custody_msg *m, const EVP_MD *md, uint8_t *digest, unsigned *len, struct err *reterr)
{
	if (m->op == CUSTODY_OP_SIGN) {
		if (EVP_Digest(m->body.data ? m->body.data : (const uint8_t *) "", m->body.len, digest, len, md, NULL) != 1)
			return err_from_openssl(reterr, -ENOMEM, "digest %s", m->name);
		return 0;
	}
	if (m->body.len != (size_t) EVP_MD_get_size(md))
		return err_set(reterr, -EINVAL, "digest: found %zu bytes, wanted the %d of %s", m->body.len, EVP_MD_get_size(md), m->name);
	memcpy(digest, m->body.data, m->body.len);
	*len = (unsigned) m->body.len;
	return 0;
}

static int sign(const struct backend *b, const struct backend_key *key, const struct custody_msg *m, struct buf *ret, struct err *reterr)
{
	uint8_t digest[EVP_MAX_MD_SIZE], out[PAD_K_MAX];
	struct backend_digest d = { .md = pad_digest(m->name), .bytes = digest, .pss = m->padding == CUSTODY_PADDING_PSS, .salt_len = m->number };
	size_t bytes = ((size_t) key->bits + 7) / 8;
	int r;

	if (!d.md)
		return err_set(reterr, -EINVAL, "digest '%s': SHA1, SHA224, SHA256, SHA384, SHA512 are known", m->name);
	if (m->padding != CUSTODY_PADDING_PKCS1 && !d.pss)
		return err_set(reterr, -EINVAL, "padding %u: PKCS#1 v1.5 and PSS are known", m->padding);
	r = digest_of(m, d.md, digest, &d.len, reterr);
	if (r == 0)
		r = backend_sign(b, key, &d, out, bytes, reterr);
	return r < 0 ? r : buf_set(ret, out, bytes);
}

/* "DIGEST,MGF1-DIGEST" */
static int oaep_digests(const char *names, const EVP_MD **ret_md, const EVP_MD **ret_mgf, struct err *reterr)
{
	char first[CUSTODY_NAME_BYTES + 1];
	const char *comma = strchr(names, ',');
	size_t len = comma ? (size_t) (comma - names) : 0;

	memcpy(first, names, len);
	first[len] = '\0';
	*ret_md = pad_digest(first);
	*ret_mgf = comma ? pad_digest(comma + 1) : NULL;
	return *ret_md && *ret_mgf ? 0 : err_set(reterr, -EINVAL, "OAEP digests '%s': two of SHA1, SHA224, SHA256, SHA384, SHA512", names);
}

static int oaep_open(const struct custody_msg *m, uint8_t *em, size_t bytes, uint8_t *plain, size_t *len, struct err *reterr)
{
	const EVP_MD *md, *mgf;
	int r = oaep_digests(m->name, &md, &mgf, reterr);

	if (r < 0)
		return r;
	r = pad_oaep_open(md, mgf, m->body.data + bytes, m->number, em, bytes, plain, len);
	return r < 0 ? err_set(reterr, r, "OAEP decryption failed") : 0;
}

static int device_oaep(const struct backend *b, const struct backend_key *key, const struct custody_msg *m, size_t bytes, uint8_t *plain, size_t *len,
		       struct err *reterr)
{
	const EVP_MD *md, *mgf;
	int r = oaep_digests(m->name, &md, &mgf, reterr);

	if (r < 0)
		return r;
	if (md != mgf || m->number != 0)
		return err_set(reterr, -ENOTSUP, "OAEP with a label, or with another digest in MGF1, is not to be had from a device");
	return b->device->open_oaep(key, md, m->body.data, bytes, plain, len, reterr);
}

static int tls_open(const struct custody_msg *m, const uint8_t *em, size_t bytes, uint8_t *plain, size_t *len, struct err *reterr)
{
	uint8_t random[PAD_PREMASTER_BYTES];
	int r;

	if (RAND_bytes(random, sizeof(random)) != 1) /* before it is known whether it is wanted */
		return err_from_openssl(reterr, -ENOMEM, "random premaster secret");
	r = pad_tls_open(em, bytes, m->number >> 16, m->number & 0xffff, random, plain);
	*len = sizeof(random);
	OPENSSL_cleanse(random, sizeof(random));
	return r;
}

static int unpad(const struct vault_key *k, const struct custody_msg *m, uint8_t *em, size_t bytes, uint8_t *plain, size_t *len, struct err *reterr)
{
	if (m->padding == CUSTODY_PADDING_PKCS1)
		return pad_pkcs1_open(em, bytes, k->reject_key, m->body.data, plain, len);
	return m->padding == CUSTODY_PADDING_OAEP ? oaep_open(m, em, bytes, plain, len, reterr) : tls_open(m, em, bytes, plain, len, reterr);
}

/* What can be judged without the key. */
static int decrypt_check(const struct custody_msg *m, size_t bytes, struct err *reterr)
{
	size_t label = m->padding == CUSTODY_PADDING_OAEP ? m->number : 0;

	if (m->padding != CUSTODY_PADDING_PKCS1 && m->padding != CUSTODY_PADDING_OAEP && m->padding != CUSTODY_PADDING_TLS)
		return err_set(reterr, -EINVAL, "padding %u: PKCS#1 v1.5, OAEP and TLS are known for decryption", m->padding);
	if (m->body.len < bytes || m->body.len - bytes != label)
		return err_set(reterr, -EINVAL, "ciphertext of %zu bytes and a label of %zu, the key has %zu", m->body.len, label, bytes);
	return 0;
}

static int decrypt(const struct vault_key *k, const struct backend *b, const struct backend_key *key, const struct custody_msg *m, struct buf *ret,
		   struct err *reterr)
{
	uint8_t em[PAD_K_MAX], plain[PAD_K_MAX];
	size_t bytes = ((size_t) key->bits + 7) / 8, len = 0;
	int r = decrypt_check(m, bytes, reterr);

	if (r == 0 && b->device && m->padding == CUSTODY_PADDING_OAEP) {
		r = device_oaep(b, key, m, bytes, plain, &len, reterr);
	} else if (r == 0) {
		r = b->device ? b->device->open_pkcs1(key, m->body.data, em, bytes, reterr) : b->private_op(key, m->body.data, em, bytes, reterr);
		if (r == 0)
			r = unpad(k, m, em, bytes, plain, &len, reterr);
	}
	if (r == 0)
		r = buf_set(ret, plain, len);
	OPENSSL_cleanse(em, sizeof(em));
	OPENSSL_cleanse(plain, sizeof(plain));
	return r;
}

int custody_op_run(const struct vault_key *k, const struct backend *backend, const struct backend_key *material,
		   const struct custody_msg *request, struct buf *ret, struct err *reterr)
{
	if (material->serial == 0)
		return err_set(reterr, -ENOKEY, "key %s is not in its keyring", k->label);
	if (request->op == CUSTODY_OP_DECRYPT)
		return decrypt(k, backend, material, request, ret, reterr);
	return sign(backend, material, request, ret, reterr);
}

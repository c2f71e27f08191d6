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
		return err_set(reterr, -EINVAL, "a digest of %zu bytes is not %s", m->body.len, m->name);
	memcpy(digest, m->body.data, m->body.len);
	*len = (unsigned) m->body.len;
	return 0;
}

static int sign(const struct backend *b, const struct backend_key *key, const struct custody_msg *m, struct buf *ret, struct err *reterr)
{
	uint8_t digest[EVP_MAX_MD_SIZE], salt[PAD_K_MAX], em[PAD_K_MAX], out[PAD_K_MAX];
	size_t bytes = ((size_t) key->bits + 7) / 8;
	const EVP_MD *md = pad_digest(m->name);
	unsigned len;
	int r;

	if (!md)
		return err_set(reterr, -EINVAL, "digest '%s': SHA1, SHA224, SHA256, SHA384, SHA512 are known", m->name);
	r = digest_of(m, md, digest, &len, reterr);
	if (r < 0)
		return r;
	if (m->padding == CUSTODY_PADDING_PSS) {
		if (m->number > sizeof(salt) || RAND_bytes(salt, (int) m->number) != 1)
			return err_from_openssl(reterr, -EINVAL, "PSS salt of %u bytes", m->number);
		r = pad_pss_sign(md, digest, len, salt, m->number, key->bits, em, bytes, reterr);
	} else if (m->padding == CUSTODY_PADDING_PKCS1) {
		r = pad_pkcs1_sign(md, digest, len, em, bytes, reterr);
	} else {
		r = err_set(reterr, -EINVAL, "padding %u: PKCS#1 v1.5 and PSS are known", m->padding);
	}
	if (r == 0)
		r = backend_private(b, key, em, out, bytes, reterr);
	return r < 0 ? r : buf_set(ret, out, bytes);
}

static int decrypt(const struct vault_key *k, const struct backend *b, const struct backend_key *key, const struct custody_msg *m, struct buf *ret, struct err *reterr)
{
	uint8_t em[PAD_K_MAX], plain[PAD_K_MAX];
	size_t bytes = ((size_t) key->bits + 7) / 8, len = 0;
	int r;

	if (m->body.len != bytes)
		return err_set(reterr, -EINVAL, "ciphertext of %zu bytes, the key has %zu", m->body.len, bytes);
	r = backend_private(b, key, m->body.data, em, bytes, reterr);
	if (r == 0)
		r = pad_pkcs1_open(em, bytes, k->reject_key, m->body.data, plain, &len);
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

/* Level keyring: a `user` key in a keyring that only the custodian possesses; OpenSSL computes with it in our memory, which is locked and wiped. */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>
#include <sys/mman.h>

#include "common/auto_ssl.h"
#include "keystore/backend.h"
#include "keystore/ring.h"

#define TYPE "user"

enum { PKCS8_BYTES = 4096 }; /* 4096 bits need 2375 */

static int load(key_serial_t ring, const char *label, const struct buf *pkcs8, key_serial_t *ret, struct err *reterr)
{
	int r;

	if (pkcs8->len > PKCS8_BYTES)
		return err_set(reterr, -EFBIG, "a key of %zu bytes, at most %d", pkcs8->len, PKCS8_BYTES);
	r = rings_key_add(ring, TYPE, label, pkcs8, ret);
	return r < 0 ? rings_error(-r, "loading a key into a keyring", reterr) : 0;
}

static EVP_PKEY *decode(const uint8_t *der, size_t len)
{
	const unsigned char *p = der;
	AUTO(p8) PKCS8_PRIV_KEY_INFO *p8 = d2i_PKCS8_PRIV_KEY_INFO(NULL, &p, (long) len);

	return p8 && p == der + len ? EVP_PKCS82PKEY(p8) : NULL;
}

/* What is wrong with the key costs it, where there is no copy; a want of memory passes. OpenSSL says it first or, with more after it, last. */
static int decode_error(void)
{
	const unsigned long first = ERR_peek_error(), last = ERR_peek_last_error();

	return ERR_GET_REASON(first) == ERR_R_MALLOC_FAILURE || ERR_GET_REASON(last) == ERR_R_MALLOC_FAILURE ? -ENOMEM : -ENOKEY;
}

static int parse(key_serial_t serial, EVP_PKEY **ret, struct err *reterr)
{
	uint8_t der[PKCS8_BYTES] = { 0 };
	long n;
	int r;

	(void) mlock(der, sizeof(der)); /* best effort: without the limit's room it is the wiping that protects */
	n = keyctl_read(serial, (char *) der, sizeof(der));
	if (n < 0 || n > (long) sizeof(der))
		return err_set(reterr, n < 0 && errno == ENOMEM ? -ENOMEM : -ENOKEY, "reading the key from its keyring: %s",
			       n < 0 ? strerror(errno) : "too long");
	*ret = decode(der, (size_t) n);
	OPENSSL_cleanse(der, sizeof(der));
	if (*ret)
		return err_from_openssl(NULL, 0, "decoded"); /* only to empty the queue of what did not come to it */
	r = decode_error();
	return err_from_openssl(reterr, r, r == -ENOMEM ? "decoding the key" : "what lies in the keyring is not the key that was put there");
}

static int private_op(const struct backend_key *key, const uint8_t *in, uint8_t *out, size_t k, struct err *reterr)
{
	AUTO(pkey) EVP_PKEY *own = NULL;
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = NULL;
	size_t len = k;
	int r = key->parsed ? 0 : parse(key->serial, &own, reterr);

	if (r < 0)
		return r;
	if (own && EVP_PKEY_eq(own, key->pub) != 1)
		return err_from_openssl(reterr, -ENOKEY, "another key lies in the keyring");
	ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key->parsed ? key->parsed : own, NULL);
	if (!ctx || EVP_PKEY_decrypt_init(ctx) != 1 || EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) != 1 || EVP_PKEY_decrypt(ctx, out, &len, in, k) != 1 ||
	    len != k)
		return err_from_openssl(reterr, -EINVAL, "private operation");
	return 0;
}

static int find(key_serial_t ring, const char *label, key_serial_t *ret)
{
	return rings_key_find(ring, TYPE, label, ret);
}

static int remove_key(key_serial_t ring, const char *label)
{
	return rings_key_remove(ring, TYPE, label);
}

static int probe(const struct buf *pkcs8, EVP_PKEY *pub, struct err *reterr)
{
	struct backend_key key = { .bits = EVP_PKEY_get_bits(pub), .pub = pub };
	int r = load(KEY_SPEC_PROCESS_KEYRING, "keyroll-probe", pkcs8, &key.serial, reterr);

	if (r < 0)
		return r;
	r = backend_test(&backend_keyring, &key, reterr);
	(void) keyctl_invalidate(key.serial); /* it dies with the process at the latest */
	return r;
}

const struct backend backend_keyring = {
	.protection = KS_PROTECTION_KEYRING,
	.probe = probe,
	.load = load,
	.private_op = private_op,
	.find = find,
	.remove = remove_key,
	.parse = parse,
};

/* Level kernel: an `asymmetric` key that no system call gives back. The kernel's raw operation neither blinds nor checks its result; both are
 * done here with the public key alone. */
#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "keystore/backend.h"
#include "keystore/pad.h"
#include "keystore/ring.h"

#define TYPE "asymmetric"

static int load(key_serial_t ring, const char *label, const struct buf *pkcs8, key_serial_t *ret, struct err *reterr)
{
	key_serial_t id = add_key(TYPE, label, pkcs8->data, pkcs8->len, ring);

	if (id < 0)
		return rings_error(errno, "loading a key into the kernel", reterr);
	*ret = id;
	return 0;
}

struct mask { /* what hides one number from the time that the kernel takes, and the result from ours */
	BN_CTX *ctx;
	BIGNUM *n;
	BN_MONT_CTX *mont;
	BN_BLINDING *blinding;
};

static void mask_clear(struct mask *m)
{
	BN_BLINDING_free(m->blinding);
	BN_MONT_CTX_free(m->mont);
	BN_free(m->n);
	BN_CTX_free(m->ctx);
}

/* Drawn anew for each operation. */
static int mask_draw(EVP_PKEY *pub, struct mask *ret, struct err *reterr)
{
	AUTO(bn) BIGNUM *e = NULL;

	ret->ctx = BN_CTX_secure_new();
	ret->mont = BN_MONT_CTX_new();
	if (!ret->ctx || !ret->mont || !EVP_PKEY_get_bn_param(pub, OSSL_PKEY_PARAM_RSA_E, &e) || !EVP_PKEY_get_bn_param(pub, OSSL_PKEY_PARAM_RSA_N, &ret->n))
		return err_from_openssl(reterr, -ENOMEM, "blinding");
	BN_set_flags(ret->n, BN_FLG_CONSTTIME);
	if (BN_MONT_CTX_set(ret->mont, ret->n, ret->ctx))
		ret->blinding = BN_BLINDING_create_param(NULL, e, ret->n, ret->ctx, BN_mod_exp_mont_consttime, ret->mont);
	return ret->blinding ? 0 : err_from_openssl(reterr, -EIO, "blinding");
}

/* EINVAL does not tell: the kernel says it when the serial names another key by now, and of a number, from 6.12 of 1 and n-1 too. So the key is asked. */
static bool key_gone(key_serial_t serial, size_t k)
{
	struct keyctl_pkey_query q;

	return keyctl_pkey_query(serial, "enc=raw", &q) < 0 ? errno != ENOMEM : (q.key_size + 7) / 8 != k;
}

static int raw(key_serial_t serial, const uint8_t *in, uint8_t *out, size_t k, struct err *reterr)
{
	/* exactly k bytes of room: several kernels write them all whatever the length says */
	long n = keyctl_pkey_decrypt(serial, "enc=raw", in, k, out, k);
	int r = n < 0 ? -errno : -EIO;

	if (n == (long) k)
		return 0;
	if (key_gone(serial, k))
		return err_set(reterr, -ENOKEY, "the key is gone from its keyring, or not what it was (%s)", strerror(-r));
	return n < 0 ? err_set(reterr, r, "the kernel's private operation: %s", strerror(-r)) :
		       err_set(reterr, r, "the kernel's private operation gave %ld bytes, %zu are wanted", n, k);
}

/* Whether another key of the same size lies there, which refuses what is not below its own modulus: one operation on a number below both. */
static bool is_another(const struct backend_key *key, size_t k)
{
	uint8_t in[PAD_K_MAX], out[PAD_K_MAX], back[PAD_K_MAX];

	if (RAND_bytes(in, (int) k) != 1)
		return false;
	in[0] = 0;
	return raw(key->serial, in, out, k, NULL) == 0 && (backend_public(key->pub, out, back, k, NULL) < 0 || memcmp(back, in, k) != 0);
}

/* The kernel's answer to what was blinded, checked while it is: the time that the check takes would tell of the plain result (CVE-2022-4304 was such). */
static int raw_checked(const struct backend_key *key, uint8_t *blinded, size_t k, struct err *reterr)
{
	uint8_t result[PAD_K_MAX], back[PAD_K_MAX];
	int r = raw(key->serial, blinded, result, k, reterr);

	if (r == -EINVAL && is_another(key, k))
		return err_set(reterr, -ENOKEY, "another key lies in the keyring");
	if (r == 0 && (backend_public(key->pub, result, back, k, NULL) < 0 || memcmp(back, blinded, k) != 0)) /* it may not even be below the modulus */
		r = err_set(reterr, -EIO, "the kernel's private operation gave a wrong result, which is withheld");
	if (r == 0)
		memcpy(blinded, result, k);
	OPENSSL_cleanse(result, sizeof(result));
	return r;
}

static int masked_op(const struct backend_key *key, const struct mask *m, BIGNUM *x, uint8_t *out, size_t k, struct err *reterr)
{
	uint8_t blinded[PAD_K_MAX];
	int r = 0;

	if (BN_cmp(x, m->n) >= 0 || !BN_BLINDING_convert_ex(x, NULL, m->blinding, m->ctx) || BN_bn2binpad(x, blinded, (int) k) != (int) k)
		return err_from_openssl(reterr, -EINVAL, "the number is not below the modulus");
	r = raw_checked(key, blinded, k, reterr);
	if (r == 0 && (!BN_bin2bn(blinded, (int) k, x) || !BN_BLINDING_invert_ex(x, NULL, m->blinding, m->ctx) || BN_bn2binpad(x, out, (int) k) != (int) k))
		r = err_from_openssl(reterr, -EIO, "unblinding");
	OPENSSL_cleanse(blinded, sizeof(blinded));
	return r;
}

static int private_op(const struct backend_key *key, const uint8_t *in, uint8_t *out, size_t k, struct err *reterr)
{
	AUTO(bn) BIGNUM *x = BN_secure_new();
	struct mask m = { .ctx = NULL };
	int r;

	if (!x || k > PAD_K_MAX || !BN_bin2bn(in, (int) k, x))
		return -ENOMEM;
	if (BN_is_zero(x)) { /* stays zero under any blinding, and from 6.12 the kernel refuses it */
		memset(out, 0, k);
		return 0;
	}
	r = mask_draw(key->pub, &m, reterr);
	if (r == 0)
		r = masked_op(key, &m, x, out, k, reterr);
	mask_clear(&m);
	return r;
}

static int find(key_serial_t ring, const char *label, key_serial_t *ret)
{
	return rings_key_find(ring, TYPE, label, ret);
}

static int remove_key(key_serial_t ring, const char *label)
{
	return rings_key_remove(ring, TYPE, label);
}

static int probe_key(key_serial_t id, EVP_PKEY *pub, struct err *reterr)
{
	struct backend_key key = { .serial = id, .bits = EVP_PKEY_get_bits(pub), .pub = pub };
	char read_back[8];
	int r = backend_test(&backend_kernel, &key, reterr);

	if (r < 0)
		return r;
	if (keyctl_read(id, read_back, sizeof(read_back)) >= 0 || errno != EOPNOTSUPP)
		return err_set(reterr, -ENOTSUP, "the kernel gives the key back (keyctl read)");
	return 0;
}

static int probe(const struct buf *pkcs8, EVP_PKEY *pub, struct err *reterr)
{
	key_serial_t id = 0;
	int r = load(KEY_SPEC_PROCESS_KEYRING, "keyroll-probe", pkcs8, &id, reterr);

	if (r == -EBADMSG) /* said of any bytes while the parser is missing */
		return err_set(reterr, -ENOPKG, "the kernel has no PKCS#8 parser (module pkcs8_key_parser)");
	if (r == -ENODEV)
		return err_set(reterr, -ENODEV, "the kernel has no asymmetric keys");
	if (r < 0)
		return r;
	r = probe_key(id, pub, reterr);
	(void) keyctl_invalidate(id); /* it dies with the process at the latest */
	return r;
}

const struct backend backend_kernel = {
	.protection = KS_PROTECTION_KERNEL,
	.probe = probe,
	.load = load,
	.private_op = private_op,
	.find = find,
	.remove = remove_key,
};

/* Level kernel's private operation where it fails: a key that is gone is told from a number that the kernel refuses, since only the first is restored.
 * KEYROLL_BACKENDS that names kernel says that it must be there. */
#include <errno.h>
#include <keyutils.h>
#include <openssl/core_names.h>
#include <openssl/rsa.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "keystore/backend.h"
#include "keystore/pad.h"
#include "tests/test_main.h"

enum { K = 256, TRIES = 200 };

static EVP_PKEY *key2048, *key3072;
static key_serial_t serial2048, serial3072, other_type;
static bool there;

static int load(unsigned bits, EVP_PKEY **ret, key_serial_t *ret_serial, struct err *reterr)
{
	AUTO(buf) struct buf pkcs8 = BUF_SECRET;
	int r;

	*ret = EVP_RSA_gen(bits);
	r = *ret ? backend_pkcs8(*ret, &pkcs8, reterr) : -ENOMEM;
	return r < 0 ? r : backend_kernel.load(KEY_SPEC_PROCESS_KEYRING, *ret == key2048 ? "a" : "b", &pkcs8, ret_serial, reterr);
}

static int setup(void)
{
	const char *list = getenv("KEYROLL_BACKENDS");
	bool must = list && strstr(list, "kernel");
	struct err e = { .code = 0 };
	int r = load(2048, &key2048, &serial2048, &e);

	if (r == 0)
		r = load(3072, &key3072, &serial3072, &e);
	there = r == 0;
	if (!there)
		printf("\n  %s: %s\n", must ? "not there" : "skipped", e.text);
	other_type = add_key("user", "c", "x", 1, KEY_SPEC_PROCESS_KEYRING);
	return other_type < 0 || (must && !there);
}

static int teardown(void)
{
	EVP_PKEY_free(key2048);
	EVP_PKEY_free(key3072);
	return keyctl_clear(KEY_SPEC_PROCESS_KEYRING) < 0;
}

static int operate(key_serial_t serial, EVP_PKEY *pub, size_t k)
{
	struct backend_key key = { .serial = serial, .bits = (int) k * 8, .pub = pub };
	uint8_t in[PAD_K_MAX] = { 0 }, out[PAD_K_MAX];

	in[k - 1] = 7;
	return backend_kernel.private_op(&key, in, out, k, NULL);
}

static void test_gone(void)
{
	NEED(there, NULL);
	CU_ASSERT_EQUAL(operate(serial2048, key2048, K), 0);
	CU_ASSERT_EQUAL(operate(serial2048, key3072, 384), -ENOKEY); /* the serial names a smaller key */
	CU_ASSERT_EQUAL(operate(serial3072, key2048, K), -ENOKEY);   /* a larger one */
	CU_ASSERT_EQUAL(operate(other_type, key2048, K), -ENOKEY);
	CU_ASSERT_EQUAL(keyctl_invalidate(serial3072), 0);
	CU_ASSERT_EQUAL(operate(serial3072, key3072, 384), -ENOKEY);
}

/* A public key whose modulus is a prime just below 2^2048: what is blinded under it is too large for the kernel's key every now and then. */
static EVP_PKEY *wide_public(void)
{
	AUTO(bn) BIGNUM *n = BN_get_rfc3526_prime_2048(NULL);
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	unsigned char bytes[K];
	unsigned e = 65537;
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_N, bytes, sizeof(bytes)),
		OSSL_PARAM_construct_uint(OSSL_PKEY_PARAM_RSA_E, &e),
		OSSL_PARAM_construct_end(),
	};
	EVP_PKEY *pub = NULL;

	if (!n || BN_bn2nativepad(n, bytes, sizeof(bytes)) < 0 || EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &pub, EVP_PKEY_PUBLIC_KEY, params) != 1)
		return NULL;
	return pub;
}

static void test_number_refused(void)
{
	AUTO(pkey) EVP_PKEY *wide = wide_public();
	int refused = 0;

	NEED(there, NULL);
	CU_ASSERT_PTR_NOT_NULL(wide);
	for (int i = 0; wide && i < TRIES && refused == 0; i++) {
		int r = operate(serial2048, wide, K);

		CU_ASSERT_TRUE(r == -EIO || r == -ENOKEY); /* a wrong result is withheld */
		refused += r == -ENOKEY;
	}
	CU_ASSERT_EQUAL(refused, 1);
}

static CU_TestInfo tests[] = {
	{ "a number that another key refuses: that one is not the key", test_number_refused },
	{ "a serial that is not the key's any more is one", test_gone },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "the kernel's private operation", setup, teardown, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

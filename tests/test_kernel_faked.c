/* Level kernel before a kernel that is this test: its calls are replaced (see Makefile.am), so that what they are handed is seen, on any kernel. */
#include <errno.h>
#include <keyutils.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "common/auto_ssl.h"
#include "keystore/backend.h"
#include "keystore/custody_op.h"
#include "keystore/custody_server.h"
#include "keystore/pad.h"
#include "tests/test_main.h"

enum { SERIAL = 4711, ASKED_MAX = 4 };

/* ---- the kernel */

static struct {
	EVP_PKEY *key;	  /* what add_key was given, or the test puts here */
	int add_errno;	  /* of add_key; 0: it succeeds */
	int read_errno;	  /* of keyctl_read; 0: it gives bytes */
	int query_errno;  /* of keyctl_pkey_query; 0: it tells the key's size */
	int op_errno;	  /* of the private operation */
	bool wrong;	  /* its result has one wrong bit */
	bool one_less;	  /* it says to have written a byte less */
	size_t n_asked;	  /* private operations */
	uint8_t asked[ASKED_MAX][PAD_K_MAX];
	int invalidated;
	size_t n_public; /* public operations, ours */
	uint8_t public_in[ASKED_MAX][PAD_K_MAX];
} fake;

key_serial_t __wrap_add_key(const char *type, const char *description, const void *payload, size_t len, key_serial_t ring);
long __wrap_keyctl_pkey_decrypt(key_serial_t id, const char *info, const void *in, size_t in_len, void *out, size_t out_len);
long __wrap_keyctl_pkey_query(key_serial_t id, const char *info, struct keyctl_pkey_query *ret);
long __wrap_keyctl_read(key_serial_t id, char *out, size_t len);
long __wrap_keyctl_invalidate(key_serial_t id);
int __real_EVP_PKEY_encrypt(EVP_PKEY_CTX *ctx, unsigned char *out, size_t *len, const unsigned char *in, size_t in_len);
int __wrap_EVP_PKEY_encrypt(EVP_PKEY_CTX *ctx, unsigned char *out, size_t *len, const unsigned char *in, size_t in_len);

static long refuse(int errnum)
{
	errno = errnum;
	return -1;
}

key_serial_t __wrap_add_key(const char *type, const char *description, const void *payload, size_t len, key_serial_t ring)
{
	const unsigned char *p = payload;

	(void) description;
	CU_ASSERT_STRING_EQUAL(type, "asymmetric");
	CU_ASSERT_EQUAL(ring, KEY_SPEC_PROCESS_KEYRING);
	if (fake.add_errno != 0)
		return (key_serial_t) refuse(fake.add_errno);
	EVP_PKEY_free(fake.key);
	fake.key = d2i_AutoPrivateKey(NULL, &p, (long) len);
	return fake.key ? SERIAL : (key_serial_t) refuse(EBADMSG);
}

static bool compute(EVP_PKEY *key, const uint8_t *in, uint8_t *out, size_t k)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	size_t len = k;

	return ctx && EVP_PKEY_decrypt_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) == 1 &&
	       EVP_PKEY_decrypt(ctx, out, &len, in, k) == 1 && len == k;
}

/* Like several real ones it writes as many bytes as its key has, whatever room it is told of. */
long __wrap_keyctl_pkey_decrypt(key_serial_t id, const char *info, const void *in, size_t in_len, void *out, size_t out_len)
{
	size_t k = (size_t) EVP_PKEY_get_size(fake.key);

	CU_ASSERT_EQUAL(id, SERIAL);
	CU_ASSERT_STRING_EQUAL(info, "enc=raw");
	CU_ASSERT_EQUAL(in_len, k);
	CU_ASSERT_EQUAL(out_len, k);
	if (in_len != k || out_len < k)
		return refuse(EINVAL);
	if (fake.n_asked < ASKED_MAX)
		memcpy(fake.asked[fake.n_asked], in, k);
	fake.n_asked++;
	if (fake.op_errno != 0 || !compute(fake.key, in, out, k))
		return refuse(fake.op_errno != 0 ? fake.op_errno : EIO);
	((uint8_t *) out)[k / 2] ^= fake.wrong;
	return (long) k - fake.one_less;
}

long __wrap_keyctl_pkey_query(key_serial_t id, const char *info, struct keyctl_pkey_query *ret)
{
	(void) info;
	CU_ASSERT_EQUAL(id, SERIAL);
	if (fake.query_errno != 0)
		return refuse(fake.query_errno);
	*ret = (struct keyctl_pkey_query){ .key_size = (uint32_t) EVP_PKEY_get_bits(fake.key) };
	return 0;
}

long __wrap_keyctl_read(key_serial_t id, char *out, size_t len)
{
	CU_ASSERT_EQUAL(id, SERIAL);
	if (fake.read_errno != 0)
		return refuse(fake.read_errno);
	memset(out, 'x', len);
	return 1200; /* what there is, though less has room */
}

long __wrap_keyctl_invalidate(key_serial_t id)
{
	CU_ASSERT_EQUAL(id, SERIAL);
	fake.invalidated++;
	return 0;
}

int __wrap_EVP_PKEY_encrypt(EVP_PKEY_CTX *ctx, unsigned char *out, size_t *len, const unsigned char *in, size_t in_len)
{
	if (fake.n_public < ASKED_MAX && in_len <= PAD_K_MAX)
		memcpy(fake.public_in[fake.n_public], in, in_len);
	fake.n_public++;
	return __real_EVP_PKEY_encrypt(ctx, out, len, in, in_len);
}

/* ---- keys, and room that ends before a page that kills */

static const int sizes[] = { 2048, 3072, 4096 };
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

static EVP_PKEY *keys[SIZES];
static uint8_t *room_in, *room_out; /* their ends */

static uint8_t *room_end(void)
{
	size_t page = (size_t) sysconf(_SC_PAGESIZE);
	uint8_t *at = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at == MAP_FAILED || mprotect(at + page, page, PROT_NONE) < 0 ? NULL : at + page;
}

static int room_free(uint8_t *end)
{
	size_t page = (size_t) sysconf(_SC_PAGESIZE);

	return munmap(end - page, 2 * page);
}

static int setup(void)
{
	room_in = room_end();
	room_out = room_end();
	for (int i = 0; i < SIZES; i++) {
		keys[i] = EVP_RSA_gen((unsigned) sizes[i]);
		if (!keys[i])
			return 1;
	}
	return !room_in || !room_out;
}

static int teardown(void)
{
	for (int i = 0; i < SIZES; i++)
		EVP_PKEY_free(keys[i]);
	EVP_PKEY_free(fake.key);
	return room_free(room_in) < 0 || room_free(room_out) < 0;
}

static void fake_begin(EVP_PKEY *key)
{
	EVP_PKEY_free(fake.key);
	memset(&fake, 0, sizeof(fake));
	fake.read_errno = EOPNOTSUPP;
	if (key && EVP_PKEY_up_ref(key) == 1)
		fake.key = key;
}

static int operate(EVP_PKEY *key, const uint8_t *in, uint8_t *out)
{
	struct backend_key bk = { .serial = SERIAL, .bits = EVP_PKEY_get_bits(key), .pub = key };

	return backend_kernel.private_op(&bk, in, out, (size_t) EVP_PKEY_get_size(key), NULL);
}

/* ---- the operation */

static void test_sizes(void)
{
	for (int i = 0; i < SIZES; i++) {
		size_t k = (size_t) sizes[i] / 8;
		uint8_t *in = room_in - k, *out = room_out - k, want[PAD_K_MAX];

		fake_begin(keys[i]);
		CU_ASSERT_EQUAL(RAND_bytes(in, (int) k), 1);
		in[0] = 0;
		memset(out - 1, 0xa5, k + 1);
		CU_ASSERT_EQUAL(operate(keys[i], in, out), 0);
		CU_ASSERT_TRUE(compute(keys[i], in, want, k));
		CU_ASSERT_EQUAL(memcmp(out, want, k), 0);
		CU_ASSERT_EQUAL(out[-1], 0xa5);
		CU_ASSERT_EQUAL(fake.n_asked, 1);
	}
}

/* What the number asked was multiplied with, r^e, taken to r by the key. */
static bool blinding_of(EVP_PKEY *key, const uint8_t *asked, const uint8_t *in, size_t k, BIGNUM *ret_r)
{
	AUTO(bn_ctx) BN_CTX *ctx = BN_CTX_new();
	AUTO(bn) BIGNUM *n = NULL;
	AUTO(bn) BIGNUM *x = BN_bin2bn(in, (int) k, NULL);
	AUTO(bn) BIGNUM *y = BN_bin2bn(asked, (int) k, NULL);
	uint8_t r_e[PAD_K_MAX], r[PAD_K_MAX];

	return EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n) && BN_mod_inverse(x, x, n, ctx) && BN_mod_mul(y, y, x, n, ctx) &&
	       BN_bn2binpad(y, r_e, (int) k) == (int) k && compute(key, r_e, r, k) && BN_bin2bn(r, (int) k, ret_r);
}

static void test_blinded(void)
{
	const size_t k = 256;
	uint8_t in[256], out[2][256], want[256];
	AUTO(bn) BIGNUM *r0 = BN_new();
	AUTO(bn) BIGNUM *r1 = BN_new();

	fake_begin(keys[0]);
	CU_ASSERT_EQUAL(RAND_bytes(in, sizeof(in)), 1);
	in[0] = 0;
	CU_ASSERT_TRUE(compute(keys[0], in, want, k));
	for (int i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL(operate(keys[0], in, out[i]), 0);
		CU_ASSERT_EQUAL(memcmp(out[i], want, k), 0);
		CU_ASSERT_NOT_EQUAL(memcmp(fake.asked[i], in, k), 0);
	}
	CU_ASSERT_EQUAL(fake.n_asked, 2);
	CU_ASSERT_NOT_EQUAL(memcmp(fake.asked[0], fake.asked[1], k), 0);
	CU_ASSERT_TRUE(blinding_of(keys[0], fake.asked[0], in, k, r0));
	CU_ASSERT_TRUE(blinding_of(keys[0], fake.asked[1], in, k, r1));
	CU_ASSERT_NOT_EQUAL(BN_cmp(r0, r1), 0);
	CU_ASSERT_TRUE(BN_num_bits(r0) > 2048 - 128); /* drawn from all below n: a shorter one is met once in 2^128 */
	CU_ASSERT_TRUE(BN_num_bits(r1) > 2048 - 128);
}

static void test_not_asked(void)
{
	uint8_t in[256], out[256], zero[256] = { 0 };

	fake_begin(keys[0]);
	memset(in, 0xff, sizeof(in));
	CU_ASSERT_EQUAL(operate(keys[0], in, out), -EINVAL);
	memset(out, 0xa5, sizeof(out));
	CU_ASSERT_EQUAL(operate(keys[0], zero, out), 0);
	CU_ASSERT_EQUAL(memcmp(out, zero, sizeof(zero)), 0);
	CU_ASSERT_EQUAL(fake.n_asked, 0);
}

static void test_failures(void)
{
	static const struct { const char *why; int op, query; bool one_less, wrong; int want; } rows[] = {
		{ .why = "a result one byte short", .one_less = true, .want = -EIO },
		{ .why = "a wrong result", .wrong = true, .want = -EIO },
		{ .why = "the operation is forbidden, the key is there", .op = EPERM, .want = -EPERM },
		{ .why = "the number is refused", .op = EINVAL, .want = -EINVAL },
		{ .why = "the key is gone", .op = EINVAL, .query = ENOKEY, .want = -ENOKEY },
		{ .why = "no memory, nor for the question", .op = ENOMEM, .query = ENOMEM, .want = -ENOMEM },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t in[256] = { 0 }, out[256];
		int r;

		in[255] = 7;
		fake_begin(keys[0]);
		fake.op_errno = rows[i].op;
		fake.query_errno = rows[i].query;
		fake.one_less = rows[i].one_less;
		fake.wrong = rows[i].wrong;
		r = operate(keys[0], in, out);
		if (r != rows[i].want)
			printf("\n    %s: %d\n", rows[i].why, r);
		CU_ASSERT_EQUAL(r, rows[i].want);
	}
}

/* ---- a decryption: the public operation's time depends on its number, so that it must not be the plaintext */

static void test_plain_hidden(void)
{
	AUTO(custody_msg) struct custody_msg m = { .op = CUSTODY_OP_DECRYPT, .padding = CUSTODY_PADDING_PKCS1, .body = BUF_EMPTY };
	AUTO(buf) struct buf plain = BUF_EMPTY;
	const struct vault_key k = { .label = "router" };
	const struct backend_key at = { .serial = SERIAL, .bits = 2048, .pub = keys[0] };
	uint8_t em[256], cipher[256];

	fake_begin(keys[0]);
	memset(em, 7, sizeof(em));
	em[0] = 0;
	em[1] = 2;
	em[200] = 0;
	CU_ASSERT_EQUAL(backend_public(keys[0], em, cipher, sizeof(cipher), NULL), 0);
	CU_ASSERT_EQUAL(memcmp(fake.public_in[0], em, sizeof(em)), 0); /* this one is seen */
	fake.n_public = 0;
	CU_ASSERT_EQUAL(buf_set(&m.body, cipher, sizeof(cipher)), 0);
	CU_ASSERT_EQUAL(custody_op_run(&k, &backend_kernel, &at, &m, &plain, NULL), 0);
	CU_ASSERT_TRUE(plain.len == 55 && memcmp(plain.data, em + 201, 55) == 0);
	CU_ASSERT_EQUAL(fake.n_public, 1); /* the check of the kernel's result */
	CU_ASSERT_NOT_EQUAL(memcmp(fake.public_in[0], em, sizeof(em)), 0);
	fake.wrong = true;
	CU_ASSERT_EQUAL(custody_op_run(&k, &backend_kernel, &at, &m, &plain, NULL), -EIO);
}

/* ---- the probe */

static void test_probe(void)
{
	static const struct { const char *why; int add, read; bool wrong; int want, loaded; } rows[] = {
		{ .why = "all is well", .read = EOPNOTSUPP, .want = 0, .loaded = 1 },
		{ .why = "a wrong result", .read = EOPNOTSUPP, .wrong = true, .want = -EIO, .loaded = 1 },
		{ .why = "the key can be read", .want = -ENOTSUP, .loaded = 1 },
		{ .why = "reading is forbidden, not unknown", .read = EACCES, .want = -ENOTSUP, .loaded = 1 },
		{ .why = "no PKCS#8 parser", .add = EBADMSG, .want = -ENOPKG },
		{ .why = "no asymmetric keys", .add = ENODEV, .want = -ENODEV },
		{ .why = "a full quota", .add = EDQUOT, .want = -EDQUOT },
		{ .why = "no key calls", .add = ENOSYS, .want = -ENOSYS },
	};
	AUTO(buf) struct buf pkcs8 = BUF_SECRET;

	CU_ASSERT_EQUAL(backend_pkcs8(keys[0], &pkcs8, NULL), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct err e = { .code = 0 };
		int r;

		fake_begin(NULL);
		fake.add_errno = rows[i].add;
		fake.read_errno = rows[i].read;
		fake.wrong = rows[i].wrong;
		r = backend_kernel.probe(&pkcs8, keys[0], &e);
		if (r != rows[i].want || fake.invalidated != rows[i].loaded)
			printf("\n    %s: %d (%s), %d invalidated\n", rows[i].why, r, e.text, fake.invalidated);
		CU_ASSERT_EQUAL(r, rows[i].want);
		CU_ASSERT_EQUAL(fake.invalidated, rows[i].loaded); /* the throw-away key does not stay */
	}
}

static CU_TestInfo tests[] = {
	{ "exactly the key's bytes go in and come out", test_sizes },
	{ "each operation is blinded anew, and the result is right", test_blinded },
	{ "zero, and what is not below the modulus, are not asked", test_not_asked },
	{ "a key that is gone is told from what else fails", test_failures },
	{ "no public operation on a plaintext, and no plaintext of a wrong result", test_plain_hidden },
	{ "the probe says what is missing or wrong", test_probe },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "level kernel before a faked kernel", setup, teardown, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

/* What a backend computed is not believed: wrong results are withheld, of the bare operation, a signature and a key's first test, from a device and
 * without one. And a result takes the key's own length, not a byte more. */
#include <errno.h>
#include <keyutils.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/auto_ssl.h"
#include "keystore/backend.h"
#include "keystore/pad.h"
#include "tests/test_main.h"

enum { SIZES = 3, FILL = 0xa5 };

static const int sizes[SIZES] = { 2048, 3072, 4096 };
static EVP_PKEY *keys[SIZES];

static int setup(void)
{
	for (int i = 0; i < SIZES; i++)
		if (!keys[i] && !(keys[i] = EVP_RSA_gen((unsigned) sizes[i]))) /* for both suites */
			return 1;
	return 0;
}

static int teardown(void)
{
	for (int i = 0; i < SIZES; i++)
		EVP_PKEY_free(keys[i]);
	return keyctl_clear(KEY_SPEC_PROCESS_KEYRING) < 0;
}

static struct backend_key key_of(int size)
{
	return (struct backend_key){ .bits = sizes[size], .pub = keys[size], .parsed = keys[size] };
}

static struct backend_digest digest_of(const uint8_t bytes[32], bool pss)
{
	return (struct backend_digest){ .md = EVP_sha256(), .bytes = bytes, .len = 32, .pss = pss, .salt_len = pss ? 32 : 0 };
}

static bool all(const uint8_t *bytes, uint8_t byte, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i] != byte)
			return false;
	return true;
}

/* ---- without a device */

static struct fault { /* what becomes of a right result */
	const char *why;
	size_t at;
	uint8_t turned; /* bits of the byte there */
	bool above;	/* the modulus */
	int want;
} fault;

static int flipping_op(const struct backend_key *key, const uint8_t *in, uint8_t *out, size_t k, struct err *reterr)
{
	int r = backend_keyring.private_op(key, in, out, k, reterr);

	out[fault.at] ^= fault.turned;
	if (fault.above)
		memset(out, 0xff, k);
	return r;
}

static const struct backend flipping = { .private_op = flipping_op };

/* Bare operation, signatures of both kinds and the test of a key: all of them give what is wanted, and nothing but zeros where it is an error. */
static void raw_expect(void)
{
	const struct backend_key key = key_of(0);
	uint8_t in[256], digest[32] = { 7 }, out[256];
	int got[4];

	CU_ASSERT_EQUAL(RAND_bytes(in, sizeof(in)), 1);
	in[0] = 0;
	for (int i = 0; i < 3; i++) {
		const struct backend_digest d = digest_of(digest, i == 2);

		memset(out, FILL, sizeof(out));
		got[i] = i == 0 ? backend_private(&flipping, &key, in, out, sizeof(out), NULL) : backend_sign(&flipping, &key, &d, out, sizeof(out), NULL);
		CU_ASSERT_EQUAL(all(out, 0, sizeof(out)), fault.want < 0);
	}
	got[3] = backend_test(&flipping, &key, NULL);
	for (int i = 0; i < 4; i++) {
		if (got[i] != fault.want)
			printf("\n  %s, call %d: %d, wanted %d ", fault.why, i, got[i], fault.want);
		CU_ASSERT_EQUAL(got[i], fault.want);
	}
}

static void test_raw(void)
{
	static const struct fault rows[] = {
		{ "nothing", .want = 0 },
		{ "the last bit", .at = 255, .turned = 1, .want = -EIO },
		{ "one in the middle", .at = 128, .turned = 16, .want = -EIO },
		{ "the first bit", .at = 0, .turned = 128, .want = -EIO },
		{ "above the modulus", .above = true, .want = -EIO },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		fault = rows[i];
		raw_expect();
	}
}

static int failing_op(const struct backend_key *key, const uint8_t *in, uint8_t *out, size_t k, struct err *reterr)
{
	(void) key;
	(void) reterr;
	memcpy(out, in, k); /* what it has begun must not stay */
	return -ENOKEY;
}

static void test_raw_fails(void)
{
	static const struct backend failing = { .private_op = failing_op };
	const struct backend_key key = key_of(0);
	uint8_t in[256] = { 0, 1 }, out[256];

	CU_ASSERT_EQUAL(backend_private(&failing, &key, in, out, sizeof(out), NULL), -ENOKEY);
	CU_ASSERT_TRUE(all(out, 0, sizeof(out)));
	CU_ASSERT_EQUAL(backend_test(&failing, &key, NULL), -ENOKEY);
}

/* ---- a device */

static struct { /* what it does wrong, and what it was asked */
	int sign_error, open_error, salt_len;
	bool flips, other_digest, other_padding;
	int signs, opens;
} device_is;

static int device_sign(const struct backend_key *key, const struct backend_digest *d, uint8_t *out, size_t k, struct err *reterr)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key->parsed, NULL);
	bool pss = d->pss != device_is.other_padding;
	uint8_t digest[32];
	size_t len = k;

	(void) reterr;
	device_is.signs++;
	memcpy(digest, d->bytes, sizeof(digest));
	digest[0] ^= device_is.other_digest;
	if (!ctx || EVP_PKEY_sign_init(ctx) != 1 || EVP_PKEY_CTX_set_signature_md(ctx, d->md) != 1 ||
	    EVP_PKEY_CTX_set_rsa_padding(ctx, pss ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING) != 1 ||
	    (pss && EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, device_is.salt_len) != 1) || EVP_PKEY_sign(ctx, out, &len, digest, sizeof(digest)) != 1)
		return -EBADF; /* no row wants it */
	out[k / 2] ^= device_is.flips;
	return device_is.sign_error;
}

static int device_open(const struct backend_key *key, const uint8_t *in, uint8_t *em, size_t k, struct err *reterr)
{
	(void) key;
	(void) in;
	(void) reterr;
	device_is.opens++;
	memset(em, 0, k);
	return device_is.open_error;
}

static const struct backend_device device_table = { .sign = device_sign, .open_pkcs1 = device_open };
static const struct backend device = { .device = &device_table };

static void device_good(void)
{
	memset(&device_is, 0, sizeof(device_is));
	device_is.salt_len = 32;
}

static void device_expect(const char *why, bool pss, int want)
{
	const struct backend_key key = key_of(0);
	uint8_t digest[32] = { 7 }, out[256];
	const struct backend_digest d = digest_of(digest, pss);
	int got;

	memset(out, FILL, sizeof(out));
	got = backend_sign(&device, &key, &d, out, sizeof(out), NULL);
	if (got != want)
		printf("\n  %s: %d, wanted %d ", why, got, want);
	CU_ASSERT_EQUAL(got, want);
	CU_ASSERT_EQUAL(all(out, 0, sizeof(out)), want < 0);
}

static void test_device_sign(void)
{
	device_good();
	device_expect("as it should be", false, 0);
	device_expect("PSS as it should be", true, 0);
	device_is.flips = true;
	device_expect("one bit", false, -EIO);
	device_expect("one bit of PSS", true, -EIO);
	device_good();
	device_is.other_digest = true;
	device_expect("of another digest", false, -EIO);
	device_expect("PSS of another digest", true, -EIO);
	device_good();
	device_is.other_padding = true;
	device_expect("PSS, unasked", false, -EIO);
	device_expect("no PSS, which was asked for", true, -EIO);
	device_good();
	device_is.salt_len = 20;
	device_expect("a salt of its own", true, -ENOTSUP);
	device_good();
	device_is.sign_error = -ENODEV;
	device_expect("an error after a good signature", false, -ENODEV);
}

/* A new key is kept only when both of its uses work. */
static void test_device_test(void)
{
	const struct backend_key key = key_of(0);

	device_good();
	CU_ASSERT_EQUAL(backend_test(&device, &key, NULL), 0);
	CU_ASSERT_EQUAL(device_is.signs, 1);
	CU_ASSERT_EQUAL(device_is.opens, 1);
	device_is.open_error = -EIO;
	CU_ASSERT_EQUAL(backend_test(&device, &key, NULL), -EIO);
	CU_ASSERT_EQUAL(device_is.opens, 2);
	device_good();
	device_is.flips = true;
	CU_ASSERT_EQUAL(backend_test(&device, &key, NULL), -EIO);
	device_good();
	device_is.sign_error = -ENODEV;
	CU_ASSERT_EQUAL(backend_test(&device, &key, NULL), -ENODEV);
}

/* ---- room for k bytes: behind the result, and behind what is asked, lies a page that kills who touches it */

struct guarded {
	uint8_t *page;
	size_t size;
};

static bool guarded_make(struct guarded *g)
{
	g->size = (size_t) sysconf(_SC_PAGESIZE);
	g->page = mmap(NULL, 2 * g->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (g->page == MAP_FAILED || mprotect(g->page + g->size, g->size, PROT_NONE) < 0)
		return false;
	memset(g->page, FILL, g->size);
	return true;
}

static void guarded_free(struct guarded *g)
{
	(void) munmap(g->page, 2 * g->size); /* cannot fail */
}

/* What is before the last k bytes is as it was made. */
static bool guarded_kept(const struct guarded *g, size_t k)
{
	return all(g->page, FILL, g->size - k);
}

static int room_sign(const struct backend *b, const struct backend_key *key, bool pss, uint8_t *out, size_t k)
{
	uint8_t digest[32] = { 7 };
	const struct backend_digest d = digest_of(digest, pss);

	return backend_sign(b, key, &d, out, k, NULL);
}

/* Bare, checked, and as signatures: 0 when all of it is right. */
static int room_try(const struct backend *b, const struct backend_key *key, struct guarded *in, struct guarded *out)
{
	size_t k = ((size_t) key->bits + 7) / 8;
	uint8_t *from = in->page + in->size - k, *to = out->page + out->size - k;
	int r;

	if (RAND_bytes(from, (int) k) != 1)
		return -EIO;
	from[0] = 0;
	r = b->private_op(key, from, to, k, NULL);
	if (r == 0)
		r = backend_private(b, key, from, to, k, NULL);
	if (r == 0)
		r = room_sign(b, key, false, to, k);
	if (r == 0)
		r = room_sign(b, key, true, to, k);
	return r == 0 && guarded_kept(out, k) && guarded_kept(in, k) ? 0 : r < 0 ? r : -EFAULT;
}

static int room_in_ring(const struct backend *b, int size, struct guarded *in, struct guarded *out)
{
	AUTO(buf) struct buf pkcs8 = BUF_SECRET;
	struct backend_key key = key_of(size);
	int r = backend_pkcs8(keys[size], &pkcs8, NULL);

	key.parsed = NULL;
	if (r == 0)
		r = b->load(KEY_SPEC_PROCESS_KEYRING, "room", &pkcs8, &key.serial, NULL);
	if (r == 0)
		r = room_try(b, &key, in, out);
	return r < 0 ? r : b->remove(KEY_SPEC_PROCESS_KEYRING, "room");
}

/* Whether the level is to be had; KEYROLL_BACKENDS that names it says that it must be. */
static bool level_there(const struct backend *b)
{
	const char *list = getenv("KEYROLL_BACKENDS");
	AUTO(buf) struct buf pkcs8 = BUF_SECRET;
	struct err e = { .code = 0 };
	bool there;

	if (list && !strstr(list, ks_protection_name(b->protection)))
		return false;
	CU_ASSERT_EQUAL(backend_pkcs8(keys[0], &pkcs8, NULL), 0);
	there = b->probe(&pkcs8, keys[0], &e) == 0;
	if (!there)
		printf("(%s: %s) ", list ? "not there" : "skipped", e.text);
	CU_ASSERT_TRUE(there || !list);
	return there;
}

static void room_of_level(const struct backend *b)
{
	struct guarded in, out;

	if (!level_there(b))
		return;
	CU_ASSERT_TRUE(guarded_make(&in) && guarded_make(&out));
	for (int i = 0; i < SIZES; i++) {
		int r = room_in_ring(b, i, &in, &out);

		if (r < 0)
			printf("\n  %d bits: %s ", sizes[i], strerror(-r));
		CU_ASSERT_EQUAL(r, 0);
	}
	guarded_free(&out);
	guarded_free(&in);
}

static void test_room_kernel(void)
{
	room_of_level(&backend_kernel);
}

static void test_room_keyring(void)
{
	room_of_level(&backend_keyring);
}

static void test_room_parsed(void)
{
	struct guarded in, out;

	CU_ASSERT_TRUE(guarded_make(&in) && guarded_make(&out));
	for (int i = 0; i < SIZES; i++) {
		const struct backend_key key = key_of(i);

		CU_ASSERT_EQUAL(room_try(&backend_keyring, &key, &in, &out), 0);
	}
	guarded_free(&out);
	guarded_free(&in);
}

static size_t beyond; /* how far behind the result a greedy backend writes */

static int greedy_op(const struct backend_key *key, const uint8_t *in, uint8_t *out, size_t k, struct err *reterr)
{
	int r = backend_keyring.private_op(key, in, out, k, reterr);

	if (beyond > 0)
		out[k + beyond - 1] = 0;
	return r;
}

/* In a child, which may die of it: its words would be noise. */
static bool greedy_lives(size_t bytes)
{
	static const struct backend greedy = { .private_op = greedy_op };
	struct backend_key key = key_of(0);
	struct guarded in, out;
	int status = -1;
	pid_t pid;

	if (!guarded_make(&in) || !guarded_make(&out))
		return false;
	beyond = bytes;
	pid = fork();
	if (pid == 0) {
		(void) close(STDERR_FILENO); /* nothing is lost */
		_exit(room_try(&greedy, &key, &in, &out) != 0);
	}
	CU_ASSERT_TRUE(pid > 0 && waitpid(pid, &status, 0) == pid);
	guarded_free(&out);
	guarded_free(&in);
	return status == 0;
}

static void test_room_twin(void)
{
	CU_ASSERT_TRUE(greedy_lives(0));
	CU_ASSERT_FALSE(greedy_lives(1));
}

static CU_TestInfo wrong[] = {
	{ "a bit that a fault turns is seen, and the result withheld", test_raw },
	{ "nothing of an operation that failed", test_raw_fails },
	{ "a device's wrong signature is withheld", test_device_sign },
	{ "a device's key that cannot sign or decrypt fails its test", test_device_test },
	CU_TEST_INFO_NULL,
};

static CU_TestInfo room[] = {
	{ "level kernel", test_room_kernel },
	{ "level keyring", test_room_keyring },
	{ "level keyring, kept decoded", test_room_parsed },
	{ "who writes a byte more dies of it", test_room_twin },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = {
	{ "wrong results", setup, NULL, NULL, NULL, wrong },
	{ "a result of k bytes", setup, teardown, NULL, NULL, room },
	CU_SUITE_INFO_NULL,
};

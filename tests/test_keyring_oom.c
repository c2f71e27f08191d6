/* Level keyring without memory: an error that passes is told from a key that is gone, which costs it where no copy is. OpenSSL's allocations fail, each of
 * them alone and all from it on, and the kernel's reading does (--wrap). */
#include <errno.h>
#include <keyutils.h>
#include <openssl/crypto.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "keystore/backend.h"
#include "tests/test_main.h"

#define LABEL "oom"

static EVP_PKEY *key;
static key_serial_t serial;
static long allocations, fail_at;
static bool and_on;
static int read_error;

static bool fails(void)
{
	allocations++;
	return fail_at > 0 && (and_on ? allocations >= fail_at : allocations == fail_at);
}

static void *count_malloc(size_t n, const char *file, int line)
{
	(void) file; /* OpenSSL's interface has them */
	(void) line;
	return fails() ? NULL : malloc(n);
}

static void *count_realloc(void *old, size_t n, const char *file, int line)
{
	(void) file; /* as above */
	(void) line;
	return fails() ? NULL : realloc(old, n);
}

static void count_free(void *p, const char *file, int line)
{
	(void) file; /* as above */
	(void) line;
	free(p);
}

/* Before main: OpenSSL takes these only as long as it has allocated nothing. */
__attribute__((constructor)) static void functions_set(void)
{
	if (CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free) != 1)
		abort();
}

long __real_keyctl_read(key_serial_t id, char *out, size_t room);
long __wrap_keyctl_read(key_serial_t id, char *out, size_t room);

long __wrap_keyctl_read(key_serial_t id, char *out, size_t room)
{
	errno = read_error;
	return read_error != 0 ? -1 : __real_keyctl_read(id, out, room);
}

static int setup(void)
{
	AUTO(buf) struct buf pkcs8 = BUF_SECRET;

	key = EVP_RSA_gen(2048);
	return !key || backend_pkcs8(key, &pkcs8, NULL) < 0 || backend_keyring.load(KEY_SPEC_PROCESS_KEYRING, LABEL, &pkcs8, &serial, NULL) < 0;
}

static int teardown(void)
{
	EVP_PKEY_free(key);
	return backend_keyring.remove(KEY_SPEC_PROCESS_KEYRING, LABEL);
}

static int parse_with(long at)
{
	EVP_PKEY *parsed = NULL;
	int r;

	allocations = 0;
	fail_at = at;
	r = backend_keyring.parse(serial, &parsed, NULL);
	fail_at = 0;
	EVP_PKEY_free(parsed);
	return r;
}

/* The key is there all the time. */
static void test_openssl(void)
{
	long all;

	CU_ASSERT_EQUAL(parse_with(0), 0);
	CU_ASSERT_EQUAL(parse_with(0), 0); /* and what is made once, by the first */
	all = allocations;
	for (int way = 0; way < 2; way++) {
		int failed = 0, other = 0;

		and_on = way == 1;
		for (long n = 1; n <= all; n += and_on ? 17 : 1) { /* all of them take seconds */
			int r = parse_with(n);

			failed += r == -ENOMEM;
			other += r < 0 && r != -ENOMEM;
		}
		if (failed == 0 || other > 0)
			printf("\n  %s: of %ld allocations %d gave ENOMEM, %d another error ", and_on ? "all from it on" : "one", all, failed, other);
		CU_ASSERT_TRUE(failed > 0);
		CU_ASSERT_EQUAL(other, 0);
	}
	CU_ASSERT_EQUAL(parse_with(0), 0);
}

static void test_kernel(void)
{
	static const struct { int error, want; } rows[] = {
		{ ENOMEM, -ENOMEM }, { ENOKEY, -ENOKEY }, { EKEYREVOKED, -ENOKEY }, { EKEYEXPIRED, -ENOKEY }, { EACCES, -ENOKEY }, { EOPNOTSUPP, -ENOKEY },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int r;

		read_error = rows[i].error;
		r = parse_with(0);
		read_error = 0;
		if (r != rows[i].want)
			printf("\n  %s: %d, wanted %d ", strerror(rows[i].error), r, rows[i].want);
		CU_ASSERT_EQUAL(r, rows[i].want);
	}
}

/* With memory enough, what is no key is one that is gone. */
static void test_nonsense(void)
{
	CU_ASSERT_EQUAL(keyctl_update(serial, "x", 1), 0);
	CU_ASSERT_EQUAL(parse_with(0), -ENOKEY);
}

static CU_TestInfo tests[] = {
	{ "OpenSSL has none", test_openssl },
	{ "the kernel has none", test_kernel },
	{ "and what is no key", test_nonsense },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "a key's parsing without memory", setup, teardown, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

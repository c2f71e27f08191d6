/* Level keyring: after an operation nothing of the private key is left in the custodian's memory, which is searched for it; kept parsed, it is found. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/auto_ssl.h"
#include "tests/keyd_fixture.h"
#include "tests/test_main.h"

enum { SIGNATURES = 40 };

static struct keyd keyd;

static bool make_and_sign(int bits, const char *label)
{
	struct ks_spec spec = { .label = label, .slot = KS_SLOT_ACTIVE, .bits = bits };
	AUTO(ks) struct ks *ks = NULL;
	AUTO(pkey) EVP_PKEY *key = NULL;
	char spki[KS_SPKI_HEX];
	bool ok;

	ok = ks_open(keyd.socket, &ks, NULL) == 0 && keyd_make(ks, &spec, spki, NULL) == 0 && ks_load(ks, label, KS_SLOT_ACTIVE, NULL, &key, NULL, NULL) == 0;
	for (int i = 0; ok && i < SIGNATURES; i++)
		ok = keyd_key_works(key);
	return ok;
}

/* memscan's exit status: 0 nothing found, 1 found, 2 it could not look. */
static int scan(void)
{
	const char *build = getenv("top_builddir");
	AUTO(mem) char *command = NULL;
	int status;

	(void) fflush(stdout); /* so that the lines keep their order */
	if (asprintf(&command, "%s/tests/memscan %s/var/lib/keyroll/keyd %s/var/lib/keyroll/keyd/*.p8 -- %d", build ? build : ".", keyd.root, keyd.root,
		     (int) keyd.pid) < 0)
		return -1;
	status = system(command); /* NOLINT(cert-env33-c): our own paths */
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const char *const labels[] = { "small", "large", NULL };

static void begin(const char *keep)
{
	AUTO(mem) char *conf = NULL;

	CU_ASSERT_FATAL(asprintf(&conf, "[Keyd]\nProtection=keyring\nWorkers=2\nKeepParsed=%s\n", keep) > 0);
	CU_ASSERT_TRUE(keyd_setup(&keyd, conf));
	CU_ASSERT_TRUE(make_and_sign(2048, "small"));
	CU_ASSERT_TRUE(make_and_sign(4096, "large"));
}

static void try(const char *keep, int want)
{
	begin(keep);
	CU_ASSERT_EQUAL(scan(), want);
	CU_ASSERT_EQUAL(keyd_teardown(&keyd, labels), 0);
}

static void test_wiped(void)
{
	NEED(geteuid() == 0, "not root");
	try("no", 0);
}

static void test_kept(void)
{
	NEED(geteuid() == 0, "not root");
	try("yes", 1);
}

/* The sealed copies go with the keys, and the search needs them. */
static bool copies_kept(bool back)
{
	AUTO(mem) char *command = NULL;

	if (asprintf(&command, back ? "mv %s/kept/*.p8 %s/var/lib/keyroll/keyd/" : "mkdir %s/kept && cp %s/var/lib/keyroll/keyd/*.p8 %s/kept/", keyd.root,
		     keyd.root, keyd.root) < 0) {
		command = NULL;
		return false;
	}
	return system(command) == 0; /* NOLINT(cert-env33-c): our own paths */
}

static bool keys_delete(void)
{
	AUTO(ks) struct ks *ks = NULL;
	bool ok = ks_open(keyd.socket, &ks, NULL) == 0;

	for (int i = 0; ok && labels[i]; i++)
		ok = ks_delete(ks, labels[i], NULL, NULL) == 0;
	return ok;
}

static void test_deleted(void)
{
	NEED(geteuid() == 0, "not root");
	begin("yes");
	CU_ASSERT_TRUE(copies_kept(false));
	CU_ASSERT_EQUAL(scan(), 1);
	CU_ASSERT_TRUE(keys_delete());
	CU_ASSERT_TRUE(copies_kept(true));
	CU_ASSERT_EQUAL(scan(), 0);
	CU_ASSERT_EQUAL(keyd_teardown(&keyd, labels), 0);
}

/* In clock ticks, of the custodian and of its children that have ended. proc(5) */
static bool times(long *own, long *children)
{
	AUTO(file) FILE *f = NULL;
	char path[64];

	(void) snprintf(path, sizeof(path), "/proc/%d/stat", (int) keyd.pid); /* fits */
	f = fopen(path, "re");
	return f && fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %*d %ld", own, children) == 2;
}

/* The work of making a key is a child's: its memory is gone with it. */
static void test_child(void)
{
	static const struct ks_spec spec = { .label = "large", .slot = KS_SLOT_ACTIVE, .bits = 4096 };
	AUTO(ks) struct ks *ks = NULL;
	char spki[KS_SPKI_HEX];
	long own[2] = { 0, 0 }, children[2] = { 0, 0 };

	CU_ASSERT_TRUE(keyd_setup(&keyd, NULL));
	CU_ASSERT_EQUAL(ks_open(keyd.socket, &ks, NULL), 0);
	CU_ASSERT_EQUAL(ks_level(ks, KS_PROTECTION_AUTO, NULL), 0); /* it is up */
	CU_ASSERT_TRUE(times(&own[0], &children[0]));
	CU_ASSERT_EQUAL(keyd_make(ks, &spec, spki, NULL), 0);
	for (int i = 0; i < 500 && times(&own[1], &children[1]) && children[1] == children[0]; i++)
		(void) poll(NULL, 0, 20); /* its answer comes before its end is seen */
	printf("\n  ticks of the custodian %ld, of its children %ld ", own[1] - own[0], children[1] - children[0]);
	CU_ASSERT_TRUE(children[1] > children[0] && children[1] - children[0] > own[1] - own[0]);
	CU_ASSERT_EQUAL(keyd_teardown(&keyd, labels), 0);
}

static CU_TestInfo tests[] = {
	{ "a key is made by a child", test_child },
	{ "a key that is decoded for each operation leaves nothing behind", test_wiped },
	{ "one that is kept parsed is found by the same search", test_kept },
	{ "and when it is deleted, it is found no more", test_deleted },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "the custodian's memory", NULL, NULL, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

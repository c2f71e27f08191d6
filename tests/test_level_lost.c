/* A key whose level is gone (another kernel was booted) and comes back: what LABEL.keys says of the level decides. On a machine without level kernel the
 * file is made to name it; on one that has it, a key of level keyring is made to have been lowered from it. tests/initramfs.sh is both machines. */
#include <errno.h>
#include <openssl/err.h>
#include <signal.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "common/fs.h"
#include "tests/keyd_fixture.h"
#include "tests/test_main.h"

static struct keyd keyd;
static struct ks *ks;
static bool has_kernel;
static char spki[KS_SPKI_HEX];

static int make(const char *label, enum ks_protection p)
{
	struct ks_spec spec = { .label = label, .slot = KS_SLOT_ACTIVE, .bits = 2048, .protection = p };
	struct err e = { .code = 0 };

	return keyd_make(ks, &spec, spki, &e);
}

static int setup(void)
{
	if (!keyd_setup(&keyd, NULL) || ks_open(keyd.socket, &ks, NULL) < 0)
		return 1;
	has_kernel = make("probe", KS_PROTECTION_KERNEL) == 0;
	return make("tp", KS_PROTECTION_KEYRING) < 0;
}

static int teardown(void)
{
	static const char *const labels[] = { "tp", "probe", NULL };

	ks_close(ks);
	return keyd_teardown(&keyd, labels);
}

/* Its line with that word for the level, at the next start. */
static bool restart_with(const char *level, bool reboot)
{
	char path[128], spelled[4096];
	AUTO(buf) struct buf text = BUF_EMPTY;
	const char *line, *rest;

	(void) snprintf(path, sizeof(path), "%s/var/lib/keyroll/keyd/tp.keys", keyd.root);
	keyd_signal(&keyd, SIGKILL);
	if (fs_read(path, sizeof(spelled) - 64, &text, NULL) < 0)
		return false;
	line = memchr(text.data, '\n', text.len);
	rest = line ? strstr(line, " 2048 ") : NULL;
	if (!rest)
		return false;
	(void) snprintf(spelled, sizeof(spelled), "%.*s\nactive %s%.*s", (int) (line - (const char *) text.data), (const char *) text.data, level,
			(int) ((const char *) text.data + text.len - rest), rest);
	return fs_write(path, spelled, strlen(spelled), 0600, NULL) == 0 && (!reboot || keyd_rings_empty(&keyd)) && keyd_start(&keyd);
}

static int load(struct ks_key *facts)
{
	AUTO(pkey) EVP_PKEY *key = NULL;
	int r = ks_load(ks, "tp", KS_SLOT_ACTIVE, NULL, &key, facts, NULL);

	ERR_clear_error();
	return r == 0 && !keyd_key_works(key) ? -EIO : r;
}

static bool is_sealed(void)
{
	AUTO(mem) char *path = NULL;
	AUTO(buf) struct buf sealed = BUF_EMPTY;

	return asprintf(&path, "%s/var/lib/keyroll/keyd/tp.%s.p8", keyd.root, spki) > 0 && fs_read(path, 8192, &sealed, NULL) == 0;
}

static void test_lowered(void)
{
	struct ks_key facts;

	NEED(!has_kernel, "level kernel is there");
	for (int reboot = 1; reboot >= 0; reboot--) {
		CU_ASSERT_TRUE(restart_with("kernel", reboot));
		CU_ASSERT_EQUAL(load(&facts), 0);
		CU_ASSERT_EQUAL(facts.protection, KS_PROTECTION_KEYRING);
		CU_ASSERT_PTR_NOT_NULL(strstr(facts.advice, "made at level kernel, restored at keyring"));
	}
}

static void test_named(void)
{
	struct ks_key facts;

	NEED(!has_kernel, "level kernel is there");
	for (int reboot = 1; reboot >= 0; reboot--) {
		CU_ASSERT_TRUE(restart_with("keyring!", false));
		CU_ASSERT_EQUAL(load(&facts), 0);
		CU_ASSERT_TRUE(restart_with("kernel!", reboot));
		CU_ASSERT_EQUAL(load(&facts), -ENOKEY);
		CU_ASSERT_TRUE(is_sealed());
	}
	CU_ASSERT_TRUE(restart_with("keyring!", true));
	CU_ASSERT_EQUAL(load(&facts), 0);
}

static void test_raised(void)
{
	struct ks_key facts;

	NEED(has_kernel, "no level kernel");
	CU_ASSERT_TRUE(restart_with("kernel", false));
	CU_ASSERT_EQUAL(load(&facts), 0);
	CU_ASSERT_EQUAL(facts.protection, KS_PROTECTION_KERNEL);
	CU_ASSERT_STRING_EQUAL(facts.spki, spki);
	CU_ASSERT_EQUAL(keyd_ring_keys(&keyd, KS_SLOT_ACTIVE), 2); /* it and "probe": its readable copy is gone */
}

static CU_TestInfo tests[] = {
	{ "a level that nobody named: restored at another, which is said", test_lowered },
	{ "a level that was named: refused, and nothing is lost", test_named },
	{ "a level that is to be had again: the key goes back to it", test_raised },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "a level lost", setup, teardown, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

/* The custodian dies at each of its fault points, once for each that a change of its keys passes: at the next start nothing is lost that was there, nothing
 * stays that was not told, and the change asked for again is done. Only where fault points are built in. */
#include <errno.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "common/fault.h"
#include "tests/keyd_fixture.h"
#include "tests/test_main.h"

#ifdef KEYROLL_FAULT_POINTS
static struct keyd keyd;
static struct ks *ks;

static int make(enum ks_slot slot, char spki[KS_SPKI_HEX])
{
	struct ks_spec spec = { .label = "tp", .slot = slot, .bits = 2048, .protection = KS_PROTECTION_KEYRING };

	return keyd_make(ks, &spec, spki, NULL);
}

static bool holds(enum ks_slot slot, const char *spki)
{
	AUTO(pkey) EVP_PKEY *key = NULL;
	struct ks_key facts;
	bool ok = ks_load(ks, "tp", slot, NULL, &key, &facts, NULL) == 0 && strcmp(facts.spki, spki) == 0 && keyd_key_works(key);

	ERR_clear_error();
	return ok;
}

static bool empty(enum ks_slot slot)
{
	return ks_load(ks, "tp", slot, NULL, NULL, NULL, NULL) == -ENOKEY && keyd_ring_keys(&keyd, slot) == 0;
}

static bool restart(const char *fault)
{
	bool ok;

	keyd_signal(&keyd, SIGKILL); /* dead already, perhaps */
	ok = (fault ? setenv("KEYROLL_FAULT", fault, 1) : unsetenv("KEYROLL_FAULT")) == 0 && keyd_start(&keyd);
	(void) unsetenv("KEYROLL_FAULT"); /* cannot fail for a good name */
	return ok;
}

static void test_generate(void)
{
	static const struct { const char *fault; bool known; } rows[] = { { "keyd.sealed:1", false }, { "keyd.added:1", true } };
	char a[KS_SPKI_HEX], b[KS_SPKI_HEX];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CU_ASSERT_TRUE(restart(NULL));
		CU_ASSERT_EQUAL(make(KS_SLOT_ACTIVE, a), 0);
		CU_ASSERT_TRUE(restart(rows[i].fault));
		CU_ASSERT_TRUE(make(KS_SLOT_SHADOW, b) < 0);
		CU_ASSERT_TRUE(restart(NULL));
		CU_ASSERT_TRUE(holds(KS_SLOT_ACTIVE, a));
		CU_ASSERT_TRUE(rows[i].known || empty(KS_SLOT_SHADOW));
		CU_ASSERT_EQUAL(make(KS_SLOT_SHADOW, b), rows[i].known ? -EEXIST : 0);
		CU_ASSERT_EQUAL(ks_load(ks, "tp", KS_SLOT_SHADOW, NULL, NULL, NULL, NULL), 0);
		CU_ASSERT_EQUAL(ks_delete(ks, "tp", NULL, NULL), 0);
	}
}

static void test_promote(void)
{
	static const char *const faults[] = { "keyd.promoted:1", "keyd.moved:1" };

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		char a[KS_SPKI_HEX], b[KS_SPKI_HEX];

		CU_ASSERT_TRUE(restart(NULL));
		CU_ASSERT_EQUAL(make(KS_SLOT_ACTIVE, a), 0);
		CU_ASSERT_EQUAL(make(KS_SLOT_SHADOW, b), 0);
		CU_ASSERT_TRUE(restart(faults[i]));
		CU_ASSERT_TRUE(ks_promote(ks, "tp", b, NULL) < 0);
		CU_ASSERT_TRUE(restart(NULL));
		CU_ASSERT_TRUE(holds(KS_SLOT_ACTIVE, b));
		CU_ASSERT_TRUE(holds(KS_SLOT_PREVIOUS, a));
		CU_ASSERT_TRUE(empty(KS_SLOT_SHADOW));
		CU_ASSERT_EQUAL(ks_promote(ks, "tp", b, NULL), 0);
		CU_ASSERT_EQUAL(ks_delete(ks, "tp", NULL, NULL), 0);
	}
}

static void test_delete(void)
{
	static const char *const faults[] = { "keyd.destroyed:1", "keyd.deleted:1" };

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		char a[KS_SPKI_HEX];

		CU_ASSERT_TRUE(restart(NULL));
		CU_ASSERT_EQUAL(make(KS_SLOT_ACTIVE, a), 0);
		CU_ASSERT_TRUE(restart(faults[i]));
		CU_ASSERT_TRUE(ks_delete(ks, "tp", a, NULL) < 0);
		CU_ASSERT_TRUE(restart(NULL));
		CU_ASSERT_TRUE(empty(KS_SLOT_ACTIVE));
		CU_ASSERT_EQUAL(ks_delete(ks, "tp", a, NULL), 0);
	}
}

static int setup(void)
{
	return !keyd_setup(&keyd, NULL) || ks_open(keyd.socket, &ks, NULL) < 0;
}

static int teardown(void)
{
	static const char *const labels[] = { "tp", NULL };

	ks_close(ks);
	return keyd_teardown(&keyd, labels);
}

static CU_TestInfo tests[] = {
	{ "while a key is added", test_generate },
	{ "while one is promoted", test_promote },
	{ "while one is deleted", test_delete },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "the custodian dies", setup, teardown, NULL, NULL, tests }, CU_SUITE_INFO_NULL };
#else
static void test_none(void)
{
	FAULT("t.none"); /* nothing, or the process would die of it */
}

static CU_TestInfo tests[] = { { "no fault points are built in", test_none }, CU_TEST_INFO_NULL };

CU_SuiteInfo test_suites[] = { { "the custodian dies", NULL, NULL, NULL, NULL, tests }, CU_SUITE_INFO_NULL };
#endif

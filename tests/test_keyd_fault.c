/* A custodian whose private operations go wrong for a while (keyd_faulty): a key that is made then is refused and leaves nothing behind, and one that was
 * there signs nothing wrong and is not lost by it. */
#include <dirent.h>
#include <errno.h>
#include <openssl/err.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "common/fs.h"
#include "tests/keyd_fixture.h"
#include "tests/test_main.h"

#define SWITCH_DIR "/tmp/keyroll-fault.XXXXXX"

static struct keyd keyd;
static struct ks *ks;
static char switch_dir[] = SWITCH_DIR, switch_path[64];
static int copies; /* on disk, of each key */

static bool faulty(bool on)
{
	return (on ? fs_write(switch_path, "", 0, 0644, NULL) : fs_remove(switch_path, NULL)) == 0;
}

static int make(const char *label, enum ks_slot slot, struct err *reterr)
{
	const struct ks_spec spec = { .label = label, .slot = slot, .bits = 2048 };
	char spki[KS_SPKI_HEX];

	return keyd_make(ks, &spec, spki, reterr);
}

/* Once a key is made, the custodian has found its levels by trying them. */
static int suite_setup(const char *conf)
{
	const char *build = getenv("top_builddir");
	char program[256];
	bool ok;

	strcpy(switch_dir, SWITCH_DIR);
	ok = mkdtemp(switch_dir) != NULL;
	(void) snprintf(program, sizeof(program), "%s/tests/keyd_faulty", build ? build : "."); /* fit, both */
	(void) snprintf(switch_path, sizeof(switch_path), "%s/on", switch_dir);
	ok = ok && setenv("KEYROLL_KEYD", program, 1) == 0 && setenv("KEYROLL_TEST_FAULT", switch_path, 1) == 0 && keyd_setup(&keyd, conf) &&
	     ks_open(keyd.socket, &ks, NULL) == 0 && make("kept", KS_SLOT_ACTIVE, NULL) == 0;
	return !ok;
}

static int setup_sealed(void)
{
	copies = 1;
	return suite_setup(NULL);
}

static int setup_unsealed(void)
{
	copies = 0;
	return suite_setup("[Keyd]\nSeal=none\n");
}

static int teardown(void)
{
	static const char *const labels[] = { "tp", "kept", NULL };

	int r;

	(void) faulty(false); /* off already, unless a test failed */
	ks_close(ks);
	r = keyd_teardown(&keyd, labels);
	return fs_remove_tree(switch_dir, NULL) < 0 ? -1 : r;
}

/* Files of the label in the custodian's folder: sealed copies, and the list of its keys. */
static int files_of(const char *label)
{
	AUTO(dir) DIR *d = NULL;
	struct dirent *entry;
	char path[128];
	int n = 0;

	(void) snprintf(path, sizeof(path), "%s/var/lib/keyroll/keyd", keyd.root); /* fits */
	d = opendir(path);
	while (d && (entry = readdir(d)))
		n += strncmp(entry->d_name, label, strlen(label)) == 0;
	return d ? n : -1;
}

/* The first of its label, and one beside a key that is in use. */
static void test_making(void)
{
	struct err e = { .code = 0 };

	for (int slot = KS_SLOT_ACTIVE; slot <= KS_SLOT_SHADOW; slot++) {
		int files = files_of("tp"), keys = keyd_ring_keys(&keyd, (enum ks_slot) slot);

		CU_ASSERT_TRUE(faulty(true));
		CU_ASSERT_EQUAL(make("tp", (enum ks_slot) slot, &e), -EIO);
		CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "wrong result"));
		CU_ASSERT_TRUE(faulty(false));
		CU_ASSERT_EQUAL(ks_load(ks, "tp", (enum ks_slot) slot, NULL, NULL, NULL, NULL), -ENOKEY);
		CU_ASSERT_EQUAL(keyd_ring_keys(&keyd, (enum ks_slot) slot), keys);
		CU_ASSERT_EQUAL(files_of("tp"), files);
		CU_ASSERT_EQUAL(make("tp", (enum ks_slot) slot, NULL), 0); /* the slot is free */
		CU_ASSERT_EQUAL(keyd_ring_keys(&keyd, (enum ks_slot) slot), keys + 1);
		CU_ASSERT_EQUAL(files_of("tp"), 1 + copies * (slot == KS_SLOT_ACTIVE ? 1 : 2));
	}
	CU_ASSERT_EQUAL(ks_delete(ks, "tp", NULL, NULL), 0);
	CU_ASSERT_EQUAL(files_of("tp"), 0);
}

static bool signs(EVP_PKEY *key)
{
	AUTO(md_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char sig[256];
	size_t len = sizeof(sig);
	bool ok = ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 && EVP_DigestSign(ctx, sig, &len, (const unsigned char *) "text", 4) == 1;

	ERR_clear_error();
	return ok;
}

static void test_use(void)
{
	AUTO(pkey) EVP_PKEY *key = NULL;

	CU_ASSERT_EQUAL(ks_load(ks, "kept", KS_SLOT_ACTIVE, NULL, &key, NULL, NULL), 0);
	CU_ASSERT_TRUE(signs(key));
	for (int i = 0; i < 2; i++) {
		CU_ASSERT_TRUE(faulty(true));
		CU_ASSERT_FALSE(signs(key));
		CU_ASSERT_FALSE(signs(key));
		CU_ASSERT_EQUAL(files_of("kept"), 1 + copies);
		CU_ASSERT_TRUE(faulty(false));
		CU_ASSERT_TRUE(keyd_key_works(key));
		CU_ASSERT_EQUAL(keyd_ring_keys(&keyd, KS_SLOT_ACTIVE), 1);
	}
	CU_ASSERT_EQUAL(ks_delete(ks, "kept", NULL, NULL), 0);
	CU_ASSERT_EQUAL(keyd_ring_keys(&keyd, KS_SLOT_ACTIVE), 0);
}

static CU_TestInfo tests[] = {
	{ "a key that fails its first test leaves nothing behind", test_making },
	{ "a key that errs for a while signs nothing and is not lost", test_use },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = {
	{ "a custodian that errs", setup_sealed, teardown, NULL, NULL, tests },
	{ "and seals nothing", setup_unsealed, teardown, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

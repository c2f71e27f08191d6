/* What better protection would need, in words: one row for each thing that may stand in the way. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "keystore/advice.h"
#include "tests/test_main.h"

#define HOST "sealed by the host key: a TPM 2.0 would bind it to this machine"
#define BOTH(kernel) "kernel: " kernel "; " HOST

struct row {
	const char *why;
	int kernel; /* errno of the probe of level kernel */
	enum ks_protection in_force, made_at;
	const char *at_rest, *want;
};

static const struct row rows[] = {
	{ "the best there is", 0, KS_PROTECTION_KERNEL, KS_PROTECTION_KERNEL, "tpm2", "" },
	{ "a token, sealed by a TPM", ENOPKG, KS_PROTECTION_TOKEN, KS_PROTECTION_TOKEN, "tpm2", "" },
	{ "only the seal could be better", 0, KS_PROTECTION_KERNEL, KS_PROTECTION_AUTO, "host", HOST },
	{ "no parser", ENOPKG, KS_PROTECTION_KEYRING, KS_PROTECTION_AUTO, "host", BOTH("modprobe pkcs8_key_parser, or a kernel that has it") },
	{ "no parser, sealed by a TPM", ENOPKG, KS_PROTECTION_KEYRING, KS_PROTECTION_KEYRING, "tpm2",
		"kernel: modprobe pkcs8_key_parser, or a kernel that has it" },
	{ "no such keys", ENODEV, KS_PROTECTION_KEYRING, KS_PROTECTION_AUTO, "host", BOTH("a kernel with asymmetric keys, this one was built without") },
	{ "forbidden", EPERM, KS_PROTECTION_KEYRING, KS_PROTECTION_AUTO, "host", BOTH("allow add_key and keyctl, which are denied here") },
	{ "no such call", ENOSYS, KS_PROTECTION_KEYRING, KS_PROTECTION_AUTO, "host", BOTH("allow add_key and keyctl, which are denied here") },
	{ "quota", EDQUOT, KS_PROTECTION_KEYRING, KS_PROTECTION_AUTO, "host", BOTH("raise kernel.keys.maxkeys and maxbytes, the quota is full") },
	{ "wrong result", EIO, KS_PROTECTION_KEYRING, KS_PROTECTION_AUTO, "host", BOTH("another kernel, this one computes a wrong result") },
	{ "reads keys back", ENOTSUP, KS_PROTECTION_KEYRING, KS_PROTECTION_AUTO, "host", BOTH("another kernel, this one gives private keys back") },
	{ "anything else", EINVAL, KS_PROTECTION_KEYRING, KS_PROTECTION_AUTO, "host", BOTH("see why the probe fails, in the journal") },
	{ "the kernel is there, but not asked for", 0, KS_PROTECTION_KEYRING, KS_PROTECTION_KEYRING, "tpm2",
	  "kernel: to be had here, by Protection=auto or kernel and a new key" },
	{ "restored lower", ENOPKG, KS_PROTECTION_KEYRING, KS_PROTECTION_KERNEL, "tpm2",
	  "made at level kernel, restored at keyring; kernel: modprobe pkcs8_key_parser, or a kernel that has it" },
	{ "a file", 0, KS_PROTECTION_KERNEL, KS_PROTECTION_AUTO, "file",
	  "sealed by a file beside the keys: systemd-creds would keep it apart (keyroll-seal@.service)" },
	{ "not sealed", 0, KS_PROTECTION_KERNEL, KS_PROTECTION_AUTO, "none", "not sealed, so gone at the next boot: Seal=auto would keep it" },
};

static void test_rows(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct backend_levels levels = { .why_not = { { .code = 0 } } };
		const struct advice a = { .levels = &levels, .in_force = rows[i].in_force, .made_at = rows[i].made_at, .at_rest = rows[i].at_rest };
		char got[KS_ADVICE_BYTES];

		levels.why_not[KS_PROTECTION_KERNEL].code = -rows[i].kernel;
		advice_build(&a, got);
		if (strcmp(got, rows[i].want) != 0)
			printf("%s: %s\n", rows[i].why, got);
		CU_ASSERT_STRING_EQUAL(got, rows[i].want);
	}
}

/* Where a level is named, its need stands alone. */
static void test_level(void)
{
	struct backend_levels levels = { .why_not = { { .code = 0 } } };

	levels.why_not[KS_PROTECTION_KERNEL].code = -ENOPKG;
	CU_ASSERT_STRING_EQUAL(advice_level(&levels, KS_PROTECTION_KERNEL), "modprobe pkcs8_key_parser, or a kernel that has it");
	levels.why_not[KS_PROTECTION_KERNEL].code = -EPERM;
	CU_ASSERT_STRING_EQUAL(advice_level(&levels, KS_PROTECTION_KERNEL), "allow add_key and keyctl, which are denied here");
	CU_ASSERT_STRING_EQUAL(advice_level(&levels, KS_PROTECTION_KEYRING), "name another level, or auto");
}

/* It travels in a field of 256 bytes: the longest of all must not be cut. */
static void test_whole(void)
{
	static const char *const seals[] = { "tpm2", "host", "file", "none" };
	struct backend_levels levels = { .why_not = { { .code = 0 } } };
	char got[KS_ADVICE_BYTES];
	size_t longest = 0;

	for (int code = 0; code < 200; code++)
		for (size_t i = 0; i < sizeof(seals) / sizeof(seals[0]); i++) {
			const struct advice a = { .levels = &levels, .in_force = KS_PROTECTION_KEYRING, .made_at = KS_PROTECTION_KERNEL, .at_rest = seals[i] };

			levels.why_not[KS_PROTECTION_KERNEL].code = -code;
			advice_build(&a, got);
			longest = strlen(got) > longest ? strlen(got) : longest;
		}
	CU_ASSERT(longest > 100 && longest < KS_ADVICE_BYTES - 1);
}

static CU_TestInfo tests[] = {
	{ "each reason has its advice", test_rows },
	{ "a level that is named", test_level },
	{ "no advice is cut", test_whole },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "what better protection would need", NULL, NULL, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

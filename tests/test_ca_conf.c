/* A CA's configuration: defaults, every key, and what is refused with which words. */
#include <CUnit/CUnit.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ca/ca_conf.h"
#include "common/fs.h"
#include "tests/test_main.h"

#define DAY INT64_C(86400000)

static int parse(const char *text, struct ca_conf **ret, struct err *e)
{
	return ca_conf_parse("ROOTCA", text, strlen(text), ret, e);
}

static void empty_file_gives_the_defaults(void)
{
	AUTO(ca_conf) struct ca_conf *c = NULL;

	CU_ASSERT_FATAL(parse("", &c, NULL) == 0);
	CU_ASSERT_STRING_EQUAL(c->name, "ROOTCA");
	CU_ASSERT_STRING_EQUAL(c->issuer_name, "CN=ROOTCA");
	CU_ASSERT_STRING_EQUAL(c->listen, "[::]:80");
	CU_ASSERT_STRING_EQUAL(c->db_path, "/var/lib/keyroll/ca/ROOTCA/ca.db");
	CU_ASSERT(c->cdp_url == NULL && c->url == NULL);
	CU_ASSERT(c->car.grant == CAR_GRANT_MANUAL && !c->car.grant_renewals);
	CU_ASSERT(c->cal.ca_lifetime_ms == 1095 * DAY && c->cal.cert_lifetime_ms == 365 * DAY && c->cal.crl_lifetime_ms == DAY / 4);
	CU_ASSERT(c->cal.request_lifetime_ms == 7 * DAY && c->cal.overlap_ms == 0 && !c->cal.rollover_start_now);
	CU_ASSERT(c->hash == SCEP_DIGEST_SHA256 && c->key_bits == 3072 && c->protection == KS_PROTECTION_AUTO);
	CU_ASSERT(c->clock == CLK_POLICY_AUTO && c->profile == CA_PROFILE_DEFAULT && !c->allow_des);
	CU_ASSERT(c->threads == 0 && c->head_deadline_ms == 10000 && c->body_deadline_ms == 30000);
}

static void every_key_is_taken(void)
{
	static const char text[] = "[CA]\nIssuerName=CN=RootCA,OU=TAC,O=Example\nListen=127.0.0.1:8080\nURL=http://ca.example.com\n"
				   "CDPURL=http://ca.example.com/crl\nGrant=auto\nGrantRenewals=yes\nCACertificateLifetime=730d\nCertificateLifetime=10min\n"
				   "CRLLifetime=1h\nEnrollmentRequestLifetime=2h\nAutoRollover=90d\nRolloverStart=now\nHash=sha512\nKeySize=4096\n"
				   "Protection=keyring\nClock=assume-valid\nProfile=legacy\nAllowDES=yes\nScepIdentity=ca\n"
				   "[Token]\nProvider=tpm2\nPINFile=/etc/keyroll/ca.pin\n"
				   "[Database]\nURL=sqlite:/srv/ca.db\nLevel=complete\n"
				   "[HTTP]\nThreads=3\nMaxConnections=77\nMaxConnectionsPerAddress=9\nHeadTimeout=2s\nBodyTimeout=500ms\n";
	AUTO(ca_conf) struct ca_conf *c = NULL;
	struct err e = { .code = 0 };
	int r = parse(text, &c, &e);

	if (r < 0)
		printf("%s\n", e.text);
	CU_ASSERT_FATAL(r == 0);
	CU_ASSERT_STRING_EQUAL(c->issuer_name, "CN=RootCA,OU=TAC,O=Example");
	CU_ASSERT_STRING_EQUAL(c->listen, "127.0.0.1:8080");
	CU_ASSERT_STRING_EQUAL(c->url, "http://ca.example.com");
	CU_ASSERT_STRING_EQUAL(c->cdp_url, "http://ca.example.com/crl/");
	CU_ASSERT_STRING_EQUAL(c->db_path, "/srv/ca.db");
	CU_ASSERT(c->car.grant == CAR_GRANT_AUTO && c->car.grant_renewals);
	CU_ASSERT(c->cal.ca_lifetime_ms == 730 * DAY && c->cal.cert_lifetime_ms == 600000 && c->cal.crl_lifetime_ms == 3600000);
	CU_ASSERT(c->cal.request_lifetime_ms == 7200000 && c->cal.overlap_ms == 90 * DAY && c->cal.rollover_start_now);
	CU_ASSERT(c->hash == SCEP_DIGEST_SHA512 && c->key_bits == 4096 && c->protection == KS_PROTECTION_KEYRING);
	CU_ASSERT(c->clock == CLK_POLICY_ASSUME_VALID && c->profile == CA_PROFILE_LEGACY && c->allow_des);
	CU_ASSERT_STRING_EQUAL(c->token_provider, "tpm2");
	CU_ASSERT_STRING_EQUAL(c->token_pin_file, "/etc/keyroll/ca.pin");
	CU_ASSERT(c->threads == 3 && c->max_connections == 77 && c->max_per_address == 9);
	CU_ASSERT(c->head_deadline_ms == 2000 && c->body_deadline_ms == 500);
}

static void wrong_values_are_refused_in_words(void)
{
	static const struct { const char *text, *want; } rows[] = {
		{ "[CA]\nGrants=auto\n", "Grants" },
		{ "[Token]\nPINFile=ca.pin\n", "absolute path" },
		{ "[CA]\nGrant=ra-auto\n", "manual" },
		{ "[CA]\nIssuerName=RootCA\n", "IssuerName" },
		{ "[CA]\nKeySize=1024\n", "2048" },
		{ "[CA]\nKeySize=2500\n", "3072" },
		{ "[CA]\nKeySize=8192\n", "4096" },
		{ "[CA]\nHash=sha1\n", "sha256" },
		{ "[CA]\nCACertificateLifetime=soon\n", "CACertificateLifetime" },
		{ "[CA]\nCertificateLifetime=500ms\n", "CertificateLifetime" },
		{ "[CA]\nAutoRollover=yes\n", "or no" },
		{ "[CA]\nRolloverStart=later\n", "at-expiry" },
		{ "[CA]\nScepIdentity=ra\n", "not built yet" },
		{ "[CA]\nScepIdentity=r\n", "ca is wanted" },
		{ "[CA]\nCDPURL=https://ca/crl\n", "http://" },
		{ "[CA]\nCDPURL=http://\n", "http://" },
		{ "[CA]\nCDPURL=http://ca/?x\n", "http://" },
		{ "[Database]\nURL=postgresql://ca\n", "not built yet" },
		{ "[Database]\nURL=sqlite:ca.db\n", "sqlite:/PATH" },
		{ "[Database]\nURL=sqlite:/srv/\n", "sqlite:/PATH" },
		{ "[Database]\nLevel=minimum\n", "not built yet" },
		{ "[Database]\nLevel=all\n", "complete" },
		{ "[Archive]\nFormat=pkcs12\n", "not built yet" },
		{ "[HTTP]\nMaxConnections=0\n", "MaxConnections" },
		{ "[CA]\nCACertificateLifetime=10d\nCertificateLifetime=11d\n", "CertificateLifetime is longer" },
		{ "[CA]\nCACertificateLifetime=10d\nCertificateLifetime=1d\nAutoRollover=10d\n", "AutoRollover is not shorter" },
		{ "[CA]\nAllowDES=yes\n", "Profile=legacy" },
		{ "[CA]\nProfile=3des\nAllowDES=yes\n", "Profile=legacy" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(ca_conf) struct ca_conf *c = NULL;
		struct err e = { .code = 0 };
		int r = parse(rows[i].text, &c, &e);

		if (r != -EINVAL || !strstr(e.text, rows[i].want))
			printf("%s: %d \"%s\", wanted \"%s\"\n", rows[i].text, r, e.text, rows[i].want);
		CU_ASSERT(r == -EINVAL && c == NULL);
		CU_ASSERT(strstr(e.text, rows[i].want) != NULL);
	}
}

static void the_last_values_that_fit_pass(void)
{
	static const char *const rows[] = {
		"[CA]\nCACertificateLifetime=10d\nCertificateLifetime=10d\n",
		"[CA]\nCACertificateLifetime=10d\nCertificateLifetime=1d\nAutoRollover=9d\n",
		"[CA]\nCACertificateLifetime=1s\nCertificateLifetime=1s\n",
		"[CA]\nAutoRollover=90d\nAutoRollover=no\n",
		"[CA]\nProfile=legacy\n",
		"[Database]\nURL=sqlite:/x\n",
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(ca_conf) struct ca_conf *c = NULL;
		struct err e = { .code = 0 };

		if (parse(rows[i], &c, &e) < 0)
			printf("%s: %s\n", rows[i], e.text);
		CU_ASSERT(c != NULL);
	}
}

static void names_that_are_no_file_names_are_refused(void)
{
	static const char *const names[] = { "", ".", "../x", "a/b", "-x", "a b" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct ca_conf *c = NULL;

		CU_ASSERT(ca_conf_parse(names[i], "", 0, &c, NULL) == -EINVAL);
		CU_ASSERT(ca_conf_load(names[i], &c, NULL) == -EINVAL);
	}
}

static unsigned warnings(const char *text, const char *want)
{
	AUTO(ca_conf) struct ca_conf *c = NULL;
	char buf[256];
	unsigned n = 0;
	bool seen = false;

	CU_ASSERT_FATAL(parse(text, &c, NULL) == 0);
	for (; ca_conf_warning(c, n, buf, sizeof(buf)); n++)
		seen = seen || strstr(buf, want);
	if (want[0])
		CU_ASSERT(seen);
	return n;
}
static void unwise_values_are_warned_of(void)
{
	CU_ASSERT(warnings("[CA]\nAutoRollover=200d\n", "") == 0);
	CU_ASSERT(warnings("", "AutoRollover is not set") == 1);
	CU_ASSERT(warnings("[CA]\nAutoRollover=30d\n", "a tenth") == 1);
	CU_ASSERT(warnings("[CA]\nAutoRollover=200d\nCertificateLifetime=30s\n", "CertificateLifetime is under a minute") == 1);
	CU_ASSERT(warnings("[CA]\nAutoRollover=200d\nGrant=auto\n", "Grant=auto") == 1);
	CU_ASSERT(warnings("[CA]\nAutoRollover=200d\nProfile=3des\n", "3DES") == 1);
	CU_ASSERT(warnings("[CA]\nAutoRollover=200d\nProfile=legacy\nAllowDES=yes\n", "single DES") == 1);
}

static void profiles_stand_for_policies(void)
{
	static const struct { const char *text; const struct scep_policy *want; } rows[] = {
		{ "", &scep_policy_default },
		{ "[CA]\nProfile=3des\n", &scep_policy_3des },
		{ "[CA]\nProfile=legacy\n", &scep_policy_3des },
		{ "[CA]\nProfile=legacy\nAllowDES=yes\n", &scep_policy_legacy },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(ca_conf) struct ca_conf *c = NULL;

		CU_ASSERT_FATAL(parse(rows[i].text, &c, NULL) == 0);
		CU_ASSERT_PTR_EQUAL(ca_conf_scep_policy(c), rows[i].want);
	}
}

static void reload_says_what_needs_a_restart(void)
{
	static const struct { const char *text, *want; } rows[] = {
		{ "[CA]\nGrant=auto\nCertificateLifetime=1d\n", NULL },	 { "[CA]\nIssuerName=CN=Other\n", "IssuerName" },
		{ "[CA]\nListen=:8080\n", "Listen" },			 { "[Database]\nURL=sqlite:/x\n", "[Database] URL" },
		{ "[HTTP]\nThreads=7\n", "[HTTP]" },
	};
	AUTO(ca_conf) struct ca_conf *running = NULL;

	CU_ASSERT_FATAL(parse("", &running, NULL) == 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(ca_conf) struct ca_conf *c = NULL;
		const char *got;

		CU_ASSERT_FATAL(parse(rows[i].text, &c, NULL) == 0);
		got = ca_conf_needs_restart(running, c);
		CU_ASSERT(rows[i].want ? got && strcmp(got, rows[i].want) == 0 : got == NULL);
	}
}

/* Last: --root stays for the rest of the process. */
static void files_and_drop_ins_are_read_under_the_root(void)
{
	static const char main_text[] = "[CA]\nGrant=manual\nHash=sha384\n", drop_in[] = "[CA]\nGrant=auto\n";
	char root[] = "/tmp/test_ca_conf.XXXXXX", path[128];
	AUTO(ca_conf) struct ca_conf *c = NULL;
	struct ca_conf *missing = NULL;

	CU_ASSERT_FATAL(mkdtemp(root) != NULL);
	CU_ASSERT_FATAL(fs_set_root(root, NULL) == 0);
	(void) snprintf(path, sizeof(path), "%s/etc/keyroll/ca/X.conf.d", root);
	CU_ASSERT(fs_mkdir(path, 0755, NULL) == 0);
	(void) snprintf(path, sizeof(path), "%s/etc/keyroll/ca/X.conf", root);
	CU_ASSERT(fs_write(path, main_text, strlen(main_text), 0644, NULL) == 0);
	(void) snprintf(path, sizeof(path), "%s/etc/keyroll/ca/X.conf.d/10-auto.conf", root);
	CU_ASSERT(fs_write(path, drop_in, strlen(drop_in), 0644, NULL) == 0);
	CU_ASSERT_FATAL(ca_conf_load("X", &c, NULL) == 0);
	CU_ASSERT(c->car.grant == CAR_GRANT_AUTO && c->hash == SCEP_DIGEST_SHA384);
	(void) snprintf(path, sizeof(path), "%s/var/lib/keyroll/ca/X/ca.db", root);
	CU_ASSERT_STRING_EQUAL(c->db_path, path);
	CU_ASSERT(ca_conf_load("Y", &missing, NULL) == -ENOENT);
	CU_ASSERT(fs_remove_tree(root, NULL) == 0);
}

static CU_TestInfo tests[] = {
	{ "an empty file gives the defaults", empty_file_gives_the_defaults },
	{ "every key is taken", every_key_is_taken },
	{ "wrong values are refused in words", wrong_values_are_refused_in_words },
	{ "the last values that fit pass", the_last_values_that_fit_pass },
	{ "names that are no file names are refused", names_that_are_no_file_names_are_refused },
	{ "unwise values are warned of", unwise_values_are_warned_of },
	{ "profiles stand for policies", profiles_stand_for_policies },
	{ "a reload says what needs a restart", reload_says_what_needs_a_restart },
	{ "files and drop-ins are read under the root", files_and_drop_ins_are_read_under_the_root },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "a CA's configuration", NULL, NULL, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

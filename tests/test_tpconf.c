/* Trustpoint files: the page's sample is read, and each mistake is named with file and line. */
#include <CUnit/CUnit.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/tpconf.h"
#include "keystore/ks.h"
#include "tests/test_main.h"

#define PIN "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
#define URL "EnrollmentURL=http://172.16.1.1:80\n"
#define NAME "SubjectName=CN=spoke-1.example.com,OU=CVO\n"

static const char sample[] = "[Trustpoint]\n" URL "CAFingerprint=sha256:" PIN "\n" NAME "SerialNumber=FTX1840ABCD\nIPAddress=none\n"
			     "ChallengePasswordFile=/etc/keyroll/spoke-1.challenge\nRevocationCheck=none\n"
			     "[Key]\nLabel=spoke-1-RSA\nSize=3072\nProtection=auto\nUsers=www-data nobody\n"
			     "[AutoEnroll]\nPercent=80\nRegenerate=yes\nRetryCount=100\nRetryPeriod=2min\n"
			     "[Deliver]\nReloadUnits=strongswan.service\nHook=/etc/keyroll/hooks/spoke-1\n";

static int parse(const char *text, struct tpconf *ret, struct err *e)
{
	return tpconf_parse("tp.conf", text, strlen(text), "tp", ret, e);
}

static void the_sample_is_read(void)
{
	AUTO(tpconf) struct tpconf c;
	struct tp_policy p;

	CU_ASSERT_EQUAL(parse(sample, &c, NULL), 0);
	CU_ASSERT_STRING_EQUAL(c.enrollment_url, "http://172.16.1.1:80");
	CU_ASSERT_STRING_EQUAL(c.pin, PIN);
	CU_ASSERT_STRING_EQUAL(c.label, "spoke-1-RSA");
	CU_ASSERT_EQUAL(c.bits, 3072);
	CU_ASSERT_EQUAL(c.protection, KS_PROTECTION_AUTO);
	CU_ASSERT_STRING_EQUAL(c.users[1], "nobody");
	CU_ASSERT_STRING_EQUAL(c.reload_units[0], "strongswan.service");
	p = tpconf_policy(&c);
	CU_ASSERT_TRUE(p.auto_enroll && p.regenerate && p.jitter && p.pinned);
	CU_ASSERT_EQUAL(p.percent, 80);
	CU_ASSERT_EQUAL(p.retry_count, 100);
	CU_ASSERT_EQUAL(p.retry_period_ms, 120000);
}

static void defaults_are_those_of_the_page(void)
{
	AUTO(tpconf) struct tpconf c;
	struct tp_policy p;

	CU_ASSERT_EQUAL(parse("[Trustpoint]\n" URL NAME, &c, NULL), 0);
	CU_ASSERT_STRING_EQUAL(c.label, "tp");
	CU_ASSERT_EQUAL(c.bits, 2048);
	CU_ASSERT_EQUAL(c.profile, TPCONF_PROFILE_DEFAULT);
	p = tpconf_policy(&c);
	CU_ASSERT_FALSE(p.auto_enroll || p.regenerate || p.pinned);
	CU_ASSERT_EQUAL(p.retry_count, 999);
	CU_ASSERT_EQUAL(p.retry_period_ms, 60000);
	CU_ASSERT_EQUAL(p.previous_grace_ms, 3600000);
}

static void each_mistake_is_named(void)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{ "[Trustpoint]\n" NAME, "EnrollmentURL" },
		{ "[Trustpoint]\n" URL, "SubjectName" },
		{ "[Trustpoint]\n" URL NAME "Colour=red\n", "tp.conf:4" },
		{ "[Trustpoint]\n" URL NAME "[Garden]\nA=b\n", "Garden" },
		{ "[Trustpoint]\nEnrollmentURL=ftp://x/\n" NAME, "tp.conf:2" },
		{ "[Trustpoint]\nEnrollmentURL=http:///x\n" NAME, "wanted a host" },
		{ "[Trustpoint]\nEnrollmentURL=http://x/?a=b\n" NAME, "'?'" },
		{ "[Trustpoint]\n" URL "SubjectName=spoke\n", "tp.conf:3" },
		{ "[Trustpoint]\n" URL NAME "CAFingerprint=sha256:12\n", "tp.conf:4" },
		{ "[Trustpoint]\n" URL NAME "RevocationCheck=crl\n", "not built yet" },
		{ "[Trustpoint]\n" URL NAME "RevocationCheck=maybe\n", "wanted none" },
		{ "[Trustpoint]\n" URL NAME "IPAddress=10.0.0.300\n", "IPv4" },
		{ "[Trustpoint]\n" URL NAME "ChallengePasswordFile=secret\n", "absolute path" },
		{ "[Trustpoint]\n" URL NAME "[Key]\nSize=1024\n", "tp.conf:5" },
		{ "[Trustpoint]\n" URL NAME "[Key]\nSize=2050\n", "2048, 3072 or 4096" },
		{ "[Trustpoint]\n" URL NAME "[Key]\nLabel=id:7\n", "tp.conf:5" },
		{ "[Trustpoint]\n" URL NAME "[Key]\nTokenURI=handle:1\n", "Protection=token" },
		{ "[Trustpoint]\n" URL NAME "[Key]\nTokenURI=handle:1\nProtection=token\n[AutoEnroll]\nRegenerate=yes\n", "Regenerate=no" },
		{ "[Trustpoint]\n" URL NAME "[AutoEnroll]\nPercent=9\n", "tp.conf:5" },
		{ "[Trustpoint]\n" URL NAME "[AutoEnroll]\nPercent=101\n", "tp.conf:5" },
		{ "[Trustpoint]\n" URL NAME "[AutoEnroll]\nRetryPeriod=0\n", "tp.conf:5" },
		{ "[Trustpoint]\n" URL NAME "[Scep]\nAllowDES=yes\n", "Profile=legacy" },
		{ "[Trustpoint]\n" URL NAME "[Scep]\nProfile=md5\n", "tp.conf:5" },
		{ "[Trustpoint]\n" URL NAME "[Deliver]\nKeyFile=pem\n", "tp.conf:5" },
		{ "[Trustpoint]\n" URL NAME "[Deliver]\nHook=hooks/x\n", "absolute path" },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(tpconf) struct tpconf c;
		struct err e = { 0 };
		int r = parse(rows[i].text, &c, &e);

		CU_ASSERT_EQUAL(r, -EINVAL);
		CU_ASSERT_PTR_NOT_NULL(strstr(e.text, rows[i].says));
		if (r != -EINVAL || !strstr(e.text, rows[i].says))
			(void) fprintf(stderr, "row %zu: wanted '%s', found %d '%s'\n", i, rows[i].says, r, e.text);
	}
}

static void no_serial_number_is_none(void)
{
	AUTO(tpconf) struct tpconf c;

	CU_ASSERT_EQUAL(parse("[Trustpoint]\n" URL NAME "SerialNumber=no\nIPAddress=192.0.2.1 2001:db8::1\n", &c, NULL), 0);
	CU_ASSERT_PTR_NULL(c.serial_number);
	CU_ASSERT_STRING_EQUAL(c.ip[1], "2001:db8::1");
}

static void a_missing_agent_file_is_all_defaults(void)
{
	AUTO(agentconf) struct agentconf c = { .keyd_socket = NULL };

	CU_ASSERT_EQUAL(agentconf_load("/nonexistent/keyrolld.conf", &c, NULL), 0);
	CU_ASSERT_EQUAL(c.clock, CLK_POLICY_AUTO);
	CU_ASSERT_PTR_NULL(c.keyd_socket);
}

static CU_TestInfo tests[] = {
	{ "the page's sample is read", the_sample_is_read },
	{ "defaults are those of the page", defaults_are_those_of_the_page },
	{ "each mistake is named", each_mistake_is_named },
	{ "SerialNumber=no is none", no_serial_number_is_none },
	{ "a missing keyrolld.conf is all defaults", a_missing_agent_file_is_all_defaults },
	CU_TEST_INFO_NULL,
};
CU_SuiteInfo test_suites[] = { { "trustpoint files", NULL, NULL, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

#include "tests/test_main.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/timex.h>

#include "common/clk.h"

static void seconds_print_and_parse_back(void)
{
	static const struct {
		int64_t sec;
		const char *text;
	} rows[] = {
		{ 0, "1970-01-01T00:00:00Z" },
		{ 1795476865, "2026-11-23T23:34:25Z" },
		{ -1, "1969-12-31T23:59:59Z" },
		{ 2524608000, "2050-01-01T00:00:00Z" },
		{ 4107542400, "2100-03-01T00:00:00Z" },
		{ 1709164800, "2024-02-29T00:00:00Z" },
		{ 253402300799, "9999-12-31T23:59:59Z" },
	};
	char out[CLK_RFC3339_BYTES];
	int64_t back;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CU_ASSERT_STRING_EQUAL(clk_rfc3339(rows[i].sec, out), rows[i].text);
		CU_ASSERT_EQUAL(clk_rfc3339_parse(rows[i].text, &back), 0);
		CU_ASSERT_EQUAL(back, rows[i].sec);
	}
}

static void times_beyond_the_calendar_are_clamped(void)
{
	char out[CLK_RFC3339_BYTES];

	CU_ASSERT_STRING_EQUAL(clk_rfc3339(INT64_MAX, out), "9999-12-31T23:59:59Z");
	CU_ASSERT_STRING_EQUAL(clk_rfc3339(INT64_MIN, out), "0001-01-01T00:00:00Z");
}

static void other_text_is_refused(void)
{
	static const char *const bad[] = {
		"", "2026-11-23", "2026-11-23T23:34:25", "2026-11-23 23:34:25Z", "2026-11-23T23:34:25+00:00", "2026-11-23T23:34:25.5Z",
		"2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", " 026-01-01T00:00:00Z",
		"2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-11-23T23:34:25Zx", "+026-01-01T00:00:00Z",
	};
	int64_t sec;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (clk_rfc3339_parse(bad[i], &sec) != -EINVAL) {
			CU_FAIL("accepted");
			printf("   accepted: %s\n", bad[i]);
		}
}

static void assume_valid_trusts_and_auto_asks_the_kernel(void)
{
	static const struct { int state, status; bool trusted; } rows[] = {
		{ TIME_OK, STA_PLL, true }, { TIME_INS, 0, true },          { TIME_DEL, STA_PLL, true },
		{ TIME_OOP, 0, true },      { TIME_WAIT, STA_INS, true },   { TIME_ERROR, 0, false },
		{ -1, 0, false },           { TIME_OK, STA_UNSYNC, false }, { TIME_ERROR, STA_UNSYNC | STA_PLL, false },
	};
	struct timex t = { .modes = 0 };
	int state = adjtimex(&t);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CU_ASSERT_EQUAL(clk_synchronised(rows[i].state, rows[i].status), rows[i].trusted);
	CU_ASSERT(clk_trusted(CLK_POLICY_ASSUME_VALID));
	CU_ASSERT_EQUAL(clk_trusted(CLK_POLICY_AUTO), clk_synchronised(state, t.status));
}

static void boot_time_does_not_go_back(void)
{
	int64_t before = clk_boot_ms();

	CU_ASSERT(before > 0);
	CU_ASSERT(clk_boot_ms() >= before);
	CU_ASSERT(clk_wall_ms() > 0);
}

static CU_TestInfo tests[] = {
	{ "seconds print and parse back", seconds_print_and_parse_back },
	{ "times beyond the calendar are clamped", times_beyond_the_calendar_are_clamped },
	{ "other text is refused", other_text_is_refused },
	{ "assume-valid trusts, auto asks the kernel", assume_valid_trusts_and_auto_asks_the_kernel },
	{ "boot time does not go back", boot_time_does_not_go_back },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = {
	{ "clocks", NULL, NULL, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

#include "tests/test_main.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/auto.h"
#include "common/conf.h"
#include "common/fs.h"
#include "common/limits.h"

struct target {
	char *text;
	bool flag;
	int64_t number, span;
	int word;
	char **list;
};

static const struct conf_range percent = { 1, 99 };
static const struct conf_range period = { 1000, 86400000 };
static const char *const words[] = { "auto", "kernel", "token", NULL };
static const struct conf_key keys[] = {
	{ "Main", "Text", conf_parse_text, NULL, offsetof(struct target, text) },
	{ "Main", "Flag", conf_parse_bool, NULL, offsetof(struct target, flag) },
	{ "AutoEnroll", "Percent", conf_parse_int, &percent, offsetof(struct target, number) },
	{ "AutoEnroll", "RetryPeriod", conf_parse_span, &period, offsetof(struct target, span) },
	{ "AutoEnroll", "Later", NULL, NULL, 0 },
	{ "Key", "Protection", conf_parse_word, words, offsetof(struct target, word) },
	{ "Key", "Users", conf_parse_list, NULL, offsetof(struct target, list) },
	{ NULL, NULL, NULL, NULL, 0 },
};

static void target_clear(struct target *t)
{
	free(t->text);
	conf_list_free(t->list);
	*t = (struct target){ .text = NULL };
}

static int parse(const char *text, struct target *t, struct err *e)
{
	return conf_parse("f", text, strlen(text), keys, t, e);
}

static void good_file_fills_the_target(void)
{
	struct target t = { .text = NULL };

	CU_ASSERT_EQUAL(parse("# comment\n; another\n\n[Main]\r\n Text = a value with = in it \nFlag=on\n"
			      "[AutoEnroll]\nPercent=80\nRetryPeriod=2h 30min\n[Key]\nProtection=token\nUsers=a b\nUsers=c",
			      &t, NULL),
			0);
	CU_ASSERT_STRING_EQUAL(t.text, "a value with = in it");
	CU_ASSERT(t.flag);
	CU_ASSERT_EQUAL(t.number, 80);
	CU_ASSERT_EQUAL(t.span, 9000000);
	CU_ASSERT_EQUAL(t.word, 2);
	CU_ASSERT_STRING_EQUAL(t.list[0], "a");
	CU_ASSERT_STRING_EQUAL(t.list[1], "b");
	CU_ASSERT_STRING_EQUAL(t.list[2], "c");
	CU_ASSERT_PTR_NULL(t.list[3]);
	target_clear(&t);
}

static void backslash_continues_a_line_over_comments(void)
{
	struct target t = { .text = NULL };
	struct err e = { 0 };

	CU_ASSERT_EQUAL(parse("[Main]\nText=one \\\n# not this\ntwo \\\nthree\nFlag=maybe\n", &t, &e), -EINVAL);
	CU_ASSERT_STRING_EQUAL(t.text, "one  two  three");
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "f:6: Flag=maybe: yes or no"));
	target_clear(&t);
}

static void empty_value_takes_back(void)
{
	struct target t = { .text = NULL };

	CU_ASSERT_EQUAL(parse("[Main]\nText=x\nText=\n[Key]\nUsers=a b\nUsers=\n", &t, NULL), 0);
	CU_ASSERT_PTR_NULL(t.text);
	CU_ASSERT_PTR_NULL(t.list);
	target_clear(&t);
}

static void mistakes_say_file_line_and_what_was_expected(void)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ "[Main]\nFlog=yes\n", "f:2: unknown key Flog in [Main], did you mean Flag? expected one of: Text Flag" },
		{ "[Main]\nzzzzzz=yes\n", "f:2: unknown key zzzzzz in [Main], expected one of: Text Flag" },
		{ "[AutoEnrol]\n", "f:1: unknown section [AutoEnrol], did you mean AutoEnroll? expected one of: Main AutoEnroll Key" },
		{ "[AutoEnroll]\nLater=1\n", "f:2: Later= in [AutoEnroll] is known but not built yet" },
		{ "[AutoEnroll]\nLate=1\n", "f:2: unknown key Late in [AutoEnroll], expected one of: Percent RetryPeriod" },
		{ "Text=x\n", "f:1: Text= stands before the first [Section]" },
		{ "[Main\nText=x\n", "f:1: the section's ']' is missing" },
		{ "[Main]\njunk\n", "f:2: neither [Section] nor Key=Value" },
		{ "[Main]\n=x\n", "f:2: neither [Section] nor Key=Value" },
		{ "[main]\n", "f:1: unknown section [main], did you mean Main?" },
		{ "[AutoEnroll]\nPercent=0\n", "f:2: Percent=0: a number from 1 to 99 is wanted" },
		{ "[AutoEnroll]\nPercent=100\n", "a number from 1 to 99 is wanted" },
		{ "[AutoEnroll]\nPercent=8x\n", "a whole number is wanted" },
		{ "[AutoEnroll]\nPercent=\n", "a whole number is wanted" },
		{ "[AutoEnroll]\nPercent=99999999999999999999\n", "a whole number is wanted" },
		{ "[AutoEnroll]\n\n#\nRetryPeriod=999ms\n", "f:4: RetryPeriod=999ms: a time span from 1s to 1d is wanted" },
		{ "[AutoEnroll]\nRetryPeriod=2d\n", "from 1s to 1d" },
		{ "[Key]\nProtection=none\n", "f:2: Protection=none: expected one of: auto kernel token" },
		{ "[Key]\nProtection=Auto\n", "expected one of: auto kernel token" },
		{ "[Main]\nText=x\nFlag=\n", "f:3: Flag=: yes or no is wanted" },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct target t = { .text = NULL };
		struct err e = { 0 };

		CU_ASSERT_EQUAL(parse(rows[i].text, &t, &e), -EINVAL);
		if (!strstr(e.text, rows[i].want)) {
			CU_FAIL("other words");
			printf("   row %zu: %s\n", i, e.text);
		}
		target_clear(&t);
	}
}

static void spans_are_those_of_systemd(void)
{
	static const struct {
		const char *text;
		int64_t ms; /* -1: refused */
	} rows[] = {
		{ "1min", 60000 },	{ "90s", 90000 },	{ "2h 30min", 9000000 }, { "2h30min", 9000000 },
		{ "365d", 31536000000 }, { "168h", 604800000 },	{ "500ms", 500 },	 { "5", 5000 },
		{ "1w", 604800000 },	{ "1.5h", 5400000 },	{ "0", 0 },		 { "2 days", 172800000 },
		{ "1y", 31557600000 },	{ "1M", 2629800000 },	{ "1m", 60000 },	 { "0.001s", 1 },
		{ "", -1 },		{ "x", -1 },		{ "5 parsecs", -1 },	 { "-1s", -1 },
		{ "1.s", -1 },		{ "1.2.3s", -1 },	{ "9223372036854775807y", -1 }, { "99999999999999999999s", -1 },
		{ "1h x", -1 },		{ "infinity", -1 },	{ "1 min minute", -1 },
	};
	int64_t ms;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int r = conf_parse_span(rows[i].text, NULL, &ms, NULL);

		if (rows[i].ms < 0 ? r != -EINVAL : r != 0 || ms != rows[i].ms) {
			CU_FAIL("other span");
			printf("   %s: %d %lld\n", rows[i].text, r, (long long) ms);
		}
	}
}

static void whole_text_is_bounded(void)
{
	struct target t = { .text = NULL };
	struct err e = { 0 };
	static char big[LIMIT_CONF_BYTES + 1];
	size_t room = sizeof("[Main]\nText=") - 1;

	memset(big, '#', sizeof(big));
	CU_ASSERT_EQUAL(conf_parse("f", big, sizeof(big) - 1, keys, &t, &e), 0); /* one long comment */
	CU_ASSERT_EQUAL(conf_parse("f", big, sizeof(big), keys, &t, &e), -EFBIG);
	memset(big, 'x', sizeof(big));
	memcpy(big, "[Main]\nText=", room);
	CU_ASSERT_EQUAL(conf_parse("f", big, room + LIMIT_CONF_LINE_BYTES - 5, keys, &t, &e), 0);
	CU_ASSERT_EQUAL(conf_parse("f", big, room + LIMIT_CONF_LINE_BYTES - 4, keys, &t, &e), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "f:2: line longer"));
	CU_ASSERT_EQUAL(conf_parse("f", "[Main]\nText=a\0b\n", 16, keys, &t, &e), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "NUL"));
	CU_ASSERT_EQUAL(conf_parse("f", "", 0, keys, &t, &e), 0);
	target_clear(&t);
}

static char top[] = "/tmp/keyroll-conf-XXXXXX";

static int folder_make(void)
{
	return mkdtemp(top) ? fs_set_root(top, NULL) : -1;
}

static int folder_drop(void)
{
	return fs_remove_tree(top, NULL) < 0;
}

static void put(const char *name, const char *text)
{
	AUTO(mem) char *path = fs_path("/%s", name);

	CU_ASSERT_EQUAL(fs_write(path, text, strlen(text), 0644, NULL), 0);
}

static void drop_ins_come_after_in_name_order(void)
{
	AUTO(mem) char *path = fs_path("/a.conf");
	AUTO(mem) char *folder = fs_path("/a.conf.d");
	struct target t = { .text = NULL };
	struct err e = { 0 };

	CU_ASSERT_EQUAL(conf_load(path, keys, &t, &e), -ENOENT);
	put("a.conf", "[Main]\nText=main\n[AutoEnroll]\nPercent=10\n");
	CU_ASSERT_EQUAL(conf_load(path, keys, &t, &e), 0);
	CU_ASSERT_STRING_EQUAL(t.text, "main");
	CU_ASSERT_EQUAL(fs_mkdir(folder, 0755, NULL), 0);
	put("a.conf.d/20-b.conf", "[Main]\nText=twenty\n");
	put("a.conf.d/10-a.conf", "[Main]\nText=ten\n[AutoEnroll]\nPercent=20\n");
	put("a.conf.d/30-c.conf.disabled", "[Main]\nText=never\n");
	put("a.conf.d/.40.conf", "[Main]\nText=never\n");
	CU_ASSERT_EQUAL(conf_load(path, keys, &t, &e), 0);
	CU_ASSERT_STRING_EQUAL(t.text, "twenty");
	CU_ASSERT_EQUAL(t.number, 20);
	put("a.conf.d/99.conf", "[Main]\nTxt=x\n");
	CU_ASSERT_EQUAL(conf_load(path, keys, &t, &e), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "a.conf.d/99.conf:2: unknown key Txt in [Main], did you mean Text?"));
	target_clear(&t);
}

static void names_are_plain(void)
{
	static const char *const good[] = { "a", "Root-CA", "spoke_1.example", "9" };
	static const char *const bad[] = { "", ".a", "-a", "a/b", "a b", "id:1", "a#", "\xc3\xa9", ".." };
	char longest[LIMIT_LABEL_BYTES + 2];
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		CU_ASSERT(conf_name_ok(good[i]));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CU_ASSERT_FALSE(conf_name_ok(bad[i]));
	memset(longest, 'a', sizeof(longest));
	longest[LIMIT_LABEL_BYTES + 1] = '\0';
	CU_ASSERT_FALSE(conf_name_ok(longest));
	CU_ASSERT(conf_name_ok(longest + 1));
}

static CU_TestInfo text_tests[] = {
	{ "a good file fills the target", good_file_fills_the_target },
	{ "a backslash continues a line, over comments", backslash_continues_a_line_over_comments },
	{ "an empty value takes back", empty_value_takes_back },
	{ "mistakes say file, line and what was expected", mistakes_say_file_line_and_what_was_expected },
	{ "spans are those of systemd", spans_are_those_of_systemd },
	{ "the whole text is bounded", whole_text_is_bounded },
	{ "names are plain", names_are_plain },
	CU_TEST_INFO_NULL,
};
static CU_TestInfo file_tests[] = {
	{ "drop-ins come after, in name order", drop_ins_come_after_in_name_order },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = {
	{ "configuration text", NULL, NULL, NULL, NULL, text_tests },
	{ "configuration files", folder_make, folder_drop, NULL, NULL, file_tests },
	CU_SUITE_INFO_NULL,
};

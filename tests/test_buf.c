#include "tests/test_main.h"

#include <errno.h>
#include <string.h>

#include "common/buf.h"

static void append_grows_and_ends_in_nul(void)
{
	AUTO(buf) struct buf b = BUF_EMPTY;

	CU_ASSERT_EQUAL(buf_add(&b, "ab", 2), 0);
	CU_ASSERT_EQUAL(buf_add(&b, "cd", 2), 0);
	CU_ASSERT_EQUAL(b.len, 4);
	CU_ASSERT_STRING_EQUAL((char *) b.data, "abcd");
}

static void append_of_its_own_bytes_is_safe(void)
{
	AUTO(buf) struct buf b = BUF_EMPTY;

	CU_ASSERT_EQUAL(buf_set(&b, "xy", 2), 0);
	CU_ASSERT_EQUAL(buf_add(&b, b.data, b.len), 0);
	CU_ASSERT_STRING_EQUAL((char *) b.data, "xyxy");
}

static void set_replaces_also_by_a_part_of_itself(void)
{
	AUTO(buf) struct buf b = BUF_EMPTY;

	CU_ASSERT_EQUAL(buf_set(&b, "hello", 5), 0);
	CU_ASSERT_EQUAL(buf_set(&b, b.data + 1, 3), 0);
	CU_ASSERT_STRING_EQUAL((char *) b.data, "ell");
	CU_ASSERT_EQUAL(b.len, 3);
	CU_ASSERT_EQUAL(buf_set(&b, NULL, 0), 0);
	CU_ASSERT_PTR_NULL(b.data);
}

static void impossible_length_is_out_of_memory(void)
{
	AUTO(buf) struct buf b = BUF_EMPTY;

	CU_ASSERT_EQUAL(buf_set(&b, "x", 1), 0);
	CU_ASSERT_EQUAL(buf_add(&b, "y", SIZE_MAX - 1), -ENOMEM);
	CU_ASSERT_STRING_EQUAL((char *) b.data, "x");
}

static void take_moves_and_a_secret_stays_secret(void)
{
	AUTO(buf) struct buf from = BUF_SECRET;
	AUTO(buf) struct buf to = BUF_EMPTY;

	CU_ASSERT_EQUAL(buf_set(&from, "key", 3), 0);
	buf_take(&to, &from);
	CU_ASSERT_PTR_NULL(from.data);
	CU_ASSERT_EQUAL(from.len, 0);
	CU_ASSERT(from.secret);
	CU_ASSERT(to.secret);
	CU_ASSERT_STRING_EQUAL((char *) to.data, "key");
	buf_take(&to, &to);
	CU_ASSERT_EQUAL(to.len, 3);
}

static void clear_empties_and_keeps_the_flag(void)
{
	struct buf b = BUF_SECRET;

	CU_ASSERT_EQUAL(buf_set(&b, "key", 3), 0);
	buf_clear(&b);
	CU_ASSERT_PTR_NULL(b.data);
	CU_ASSERT_EQUAL(b.len, 0);
	CU_ASSERT(b.secret);
	buf_clear(&b);
}

static CU_TestInfo tests[] = {
	{ "append grows and ends in NUL", append_grows_and_ends_in_nul },
	{ "append of its own bytes is safe", append_of_its_own_bytes_is_safe },
	{ "set replaces, also by a part of itself", set_replaces_also_by_a_part_of_itself },
	{ "an impossible length is out of memory", impossible_length_is_out_of_memory },
	{ "take moves and a secret stays secret", take_moves_and_a_secret_stays_secret },
	{ "clear empties and keeps the flag", clear_empties_and_keeps_the_flag },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = {
	{ "buffers", NULL, NULL, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

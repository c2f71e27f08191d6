/* The shared main of the CUnit programs: each defines `test_suites`, ended by CU_SUITE_INFO_NULL. */
#ifndef KEYROLL_TESTS_TEST_MAIN_H
#define KEYROLL_TESTS_TEST_MAIN_H

#include <CUnit/CUnit.h>
#include <stdbool.h>

extern CU_SuiteInfo test_suites[];

/* Leaves the test, saying so, where what it needs is absent. why: NULL where its suite has said it. What may be absent, tests/skips.txt lists. */
#define NEED(is_there, why)                \
	do {                               \
		if (!test_may(is_there, why)) \
			return;            \
	} while (0)
bool test_may(bool is_there, const char *why);

#endif

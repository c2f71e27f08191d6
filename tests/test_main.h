/* The shared main of the CUnit programs: each defines `test_suites`, ended by CU_SUITE_INFO_NULL. */
#ifndef KEYROLL_TESTS_TEST_MAIN_H
#define KEYROLL_TESTS_TEST_MAIN_H

#include <CUnit/CUnit.h>

extern CU_SuiteInfo test_suites[];

#endif

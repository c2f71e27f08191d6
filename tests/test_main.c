/* Registers the suites, prints verbosely, and fails when an assertion failed, a suite did not start, or nothing ran. */
#include <CUnit/Basic.h>
#include <stdio.h>

#include "tests/test_main.h"

bool test_may(bool is_there, const char *why)
{
	if (!is_there)
		printf("(skipped%s%s) ", why ? ": " : "", why ? why : "");
	return is_there;
}

int main(void)
{
	unsigned bad;

	if (CU_initialize_registry() != CUE_SUCCESS || CU_register_suites(test_suites) != CUE_SUCCESS)
		return 99; /* automake: hard error */
	CU_basic_set_mode(CU_BRM_VERBOSE);
	(void) CU_basic_run_tests(); /* the counters below tell */
	bad = CU_get_number_of_failures() + CU_get_number_of_suites_failed();
	if (CU_get_number_of_tests_run() == 0)
		bad++;
	CU_cleanup_registry();
	return bad != 0;
}

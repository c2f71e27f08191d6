/* Fault points: see fault.h. */
#include "common/fault.h"

#ifdef KEYROLL_FAULT_POINTS
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

void fault_hit(const char *name)
{
	static atomic_long hits;
	const char *want = getenv("KEYROLL_FAULT");
	size_t len = strlen(name);
	long nth;

	if (!want || strncmp(want, name, len) != 0 || want[len] != ':')
		return;
	nth = strtol(want + len + 1, NULL, 10);
	if (atomic_fetch_add(&hits, 1) + 1 == nth)
		(void) raise(SIGKILL); /* does not come back */
}
#else
typedef int fault_points_are_off; /* ISO C forbids an empty file */
#endif

/* The custodian's queue: users are served in turn. One worker, held while jobs are added, so that the order is the queue's alone. */
#include <stdio.h>
#include <string.h>

#include "keystore/custody_jobs.h"
#include "tests/test_main.h"

enum { JOBS_MAX = 64 };

struct noted {
	struct job job;
	char name;
};

static char order[JOBS_MAX + 1];
static size_t n_run, n_done, n_wanted;
static sd_event *event;

static void run(struct job *job)
{
	order[n_run++] = ((struct noted *) job)->name; /* one worker: nobody else writes */
}

static void done(struct job *job)
{
	(void) job; /* the test's */
	if (++n_done == n_wanted)
		CU_ASSERT(sd_event_exit(event, 0) >= 0);
}

static void queue_all(struct jobs *j, const char *names, struct noted *noted)
{
	for (size_t i = 0; names[i]; i++) {
		noted[i] = (struct noted){ .job = { .run = run, .done = done, .lane = (unsigned) names[i] }, .name = names[i] };
		jobs_add(j, &noted[i].job);
	}
}

static void users_are_served_in_turn(void)
{
	static const struct { const char *why, *in, *out; } rows[] = {
		{ "one user, in the order of arrival", "aaaa", "aaaa" },
		{ "two that send alike", "abababab", "abababab" },
		{ "one that comes after many of another", "aaaaaaaab", "abaaaaaaa" },
		{ "few after many", "aaaaaabb", "ababaaaa" },
		{ "three", "aaaaabbbc", "abcababaa" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct noted noted[JOBS_MAX];
		struct jobs *j = NULL;

		memset(order, 0, sizeof(order));
		n_run = n_done = 0;
		n_wanted = strlen(rows[i].in);
		CU_ASSERT(sd_event_new(&event) >= 0);
		CU_ASSERT_EQUAL(jobs_new(event, 1, &j, NULL), 0);
		jobs_quiesce(j);
		queue_all(j, rows[i].in, noted);
		jobs_resume(j);
		CU_ASSERT(sd_event_loop(event) >= 0);
		jobs_free(j);
		event = sd_event_unref(event);
		if (strcmp(order, rows[i].out) != 0)
			printf("\n    %s: %s gave %s, wanted %s\n", rows[i].why, rows[i].in, order, rows[i].out);
		CU_ASSERT_STRING_EQUAL(order, rows[i].out);
	}
}

static CU_TestInfo tests[] = { { "users are served in turn", users_are_served_in_turn }, CU_TEST_INFO_NULL };

CU_SuiteInfo test_suites[] = { { "the custodian's queue", NULL, NULL, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

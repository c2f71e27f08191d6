/* The custodian's queue. Users are served in turn: one worker, held while jobs are added, so that the order is the queue's alone. Workers work at once,
 * stand still where they must, and are waited for no longer than is said. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

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

/* ---- jobs that wait for what the test or another job does */

/* LONG_MS is never waited where the code is right; SHORT_MS always is, for what must not come. */
enum { SHORT_MS = 200, LONG_MS = 30000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* as in custody_jobs.c, these calls cannot fail */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int arrived; /* jobs that have begun to wait */
static bool gate;

struct waiter {
	struct job job;
	unsigned ms;	     /* for how long it waits */
	int others;	     /* how many must arrive, itself among them; 0: it waits for the gate */
	bool block;	     /* between jobs_block and jobs_unblock */
	bool in_vain, ended; /* under the lock */
};

/* Under the lock, until n jobs have arrived (0: until the gate is open). */
static bool await(int n, unsigned ms)
{
	struct timespec until;
	int r = 0;

	(void) clock_gettime(CLOCK_REALTIME, &until); /* always there, and the clock of a condition variable that is told no other */
	until.tv_nsec += ms % 1000 * 1000000L;
	until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	while (r == 0 && !(n > 0 ? arrived >= n : gate))
		r = pthread_cond_timedwait(&changed, &lock, &until);
	return r == 0;
}

static void wait_run(struct job *job)
{
	struct waiter *w = (struct waiter *) job;

	if (w->block)
		jobs_block();
	(void) pthread_mutex_lock(&lock);
	arrived++;
	(void) pthread_cond_broadcast(&changed);
	w->in_vain = !await(w->others, w->ms);
	(void) pthread_mutex_unlock(&lock);
	if (w->block)
		jobs_unblock();
	(void) pthread_mutex_lock(&lock);
	w->ended = true;
	(void) pthread_mutex_unlock(&lock);
}

static bool now(const bool *what)
{
	bool is;

	(void) pthread_mutex_lock(&lock);
	is = *what;
	(void) pthread_mutex_unlock(&lock);
	return is;
}

static void gate_set(bool open)
{
	(void) pthread_mutex_lock(&lock);
	gate = open;
	arrived = open ? arrived : 0;
	(void) pthread_cond_broadcast(&changed);
	(void) pthread_mutex_unlock(&lock);
}

static struct jobs *begin(int workers)
{
	struct jobs *j = NULL;

	gate_set(false);
	CU_ASSERT(sd_event_new(&event) >= 0);
	CU_ASSERT_EQUAL(jobs_new(event, workers, &j, NULL), 0);
	return j;
}

static void end(struct jobs *j)
{
	jobs_free(j);
	event = sd_event_unref(event);
}

static void add(struct jobs *j, struct waiter *w)
{
	w->job = (struct job){ .run = wait_run, .done = done };
	jobs_add(j, &w->job);
}

static void add_begun(struct jobs *j, struct waiter *w)
{
	add(j, w);
	(void) pthread_mutex_lock(&lock);
	CU_ASSERT_TRUE(await(1, LONG_MS));
	(void) pthread_mutex_unlock(&lock);
}

static void workers_run_at_once(void)
{
	static const struct { const char *why; int workers; unsigned ms; bool meet; } rows[] = {
		{ "two workers", 2, LONG_MS, true },
		{ "one", 1, SHORT_MS, false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct waiter two[2] = { { .ms = rows[i].ms, .others = 2 }, { .ms = rows[i].ms, .others = 2 } };
		struct jobs *j = begin(rows[i].workers);

		add(j, &two[0]);
		add(j, &two[1]);
		CU_ASSERT_EQUAL(jobs_wait(j, 3 * LONG_MS), 0);
		if (two[0].in_vain == rows[i].meet)
			printf("\n    %s: the first waited in vain: %d\n", rows[i].why, two[0].in_vain);
		CU_ASSERT_EQUAL(two[0].in_vain, !rows[i].meet);
		CU_ASSERT_FALSE(two[1].in_vain); /* one worker: the first was there before */
		end(j);
	}
}

static void quiesce_waits_for_what_runs(void)
{
	struct waiter w = { .ms = SHORT_MS };
	struct jobs *j = begin(2);

	add_begun(j, &w);
	jobs_quiesce(j);
	CU_ASSERT_TRUE(now(&w.ended));
	jobs_resume(j);
	CU_ASSERT_EQUAL(jobs_wait(j, LONG_MS), 0);
	end(j);
}

static void quiesce_does_not_wait_for_what_blocks(void)
{
	struct waiter w = { .ms = LONG_MS, .block = true }, second = { .ms = LONG_MS }, again = { .ms = SHORT_MS };
	struct jobs *j = begin(2);

	add_begun(j, &w);
	(void) alarm(LONG_MS / 1000); /* the two would wait for each other for ever */
	jobs_quiesce(j);
	(void) alarm(0);
	CU_ASSERT_FALSE(now(&w.ended));
	add(j, &second);
	gate_set(true);
	CU_ASSERT_EQUAL(jobs_wait(j, SHORT_MS), -ETIMEDOUT);
	CU_ASSERT_FALSE(now(&w.ended)); /* it waits for jobs_resume */
	CU_ASSERT_FALSE(now(&second.ended));
	jobs_resume(j);
	CU_ASSERT_EQUAL(jobs_wait(j, LONG_MS), 0);
	CU_ASSERT_TRUE(now(&w.ended) && now(&second.ended));
	CU_ASSERT_FALSE(now(&w.in_vain));
	gate_set(false);
	add_begun(j, &again);
	jobs_quiesce(j);
	CU_ASSERT_TRUE(now(&again.ended)); /* what has blocked once counts no more */
	jobs_resume(j);
	end(j);
}

static void block_is_nothing_elsewhere(void)
{
	struct jobs *j = begin(1);

	jobs_quiesce(j);
	(void) alarm(LONG_MS / 1000); /* nobody would resume */
	jobs_block();
	jobs_unblock();
	(void) alarm(0);
	jobs_resume(j);
	CU_ASSERT_EQUAL(jobs_wait(j, LONG_MS), 0);
	end(j);
}

static void waited_for_no_longer(void)
{
	struct waiter w = { .ms = LONG_MS }, second = { .ms = LONG_MS };
	struct jobs *j = begin(1);

	add_begun(j, &w);
	CU_ASSERT_EQUAL(jobs_wait(j, SHORT_MS), -ETIMEDOUT);
	add(j, &second);
	CU_ASSERT_EQUAL(jobs_end(j, SHORT_MS), -ETIMEDOUT);
	CU_ASSERT_FALSE(now(&w.ended));
	gate_set(true);
	CU_ASSERT_EQUAL(jobs_end(j, LONG_MS), 0);
	CU_ASSERT_TRUE(now(&w.ended));
	CU_ASSERT_FALSE(now(&w.in_vain));
	end(j);
	CU_ASSERT_FALSE(second.ended); /* nothing more was begun */
}

/* The loop, until so many jobs are done. */
static void loop_until(size_t n)
{
	while (n_done < n && sd_event_run(event, LONG_MS * UINT64_C(1000)) > 0)
		;
	CU_ASSERT_EQUAL(n_done, n);
}

/* The loop is told of them although what runs hangs; that one, and what comes afterwards, are as ever. */
static void what_waits_is_dropped(void)
{
	struct waiter w = { .ms = LONG_MS };
	struct noted noted[4];
	struct jobs *j = begin(1);

	memset(order, 0, sizeof(order));
	n_run = n_done = n_wanted = 0; /* so the loop is not left by done */
	add_begun(j, &w);
	queue_all(j, "aab", noted);
	jobs_drop(j);
	loop_until(3);
	CU_ASSERT_FALSE(now(&w.ended));
	CU_ASSERT_TRUE(noted[0].job.dropped && noted[1].job.dropped && noted[2].job.dropped);
	queue_all(j, "c", &noted[3]);
	gate_set(true);
	loop_until(5);
	CU_ASSERT_STRING_EQUAL(order, "c");
	CU_ASSERT_FALSE(w.job.dropped || noted[3].job.dropped);
	jobs_drop(j); /* nothing waits */
	CU_ASSERT_EQUAL(jobs_wait(j, LONG_MS), 0);
	end(j);
	CU_ASSERT_EQUAL(n_done, 5);
}

static int n_last;

static void last(void)
{
	(void) pthread_mutex_lock(&lock);
	n_last++;
	(void) await(0, LONG_MS); /* the gate, or the test has failed */
	(void) pthread_mutex_unlock(&lock);
}

static int lasts(void)
{
	int n;

	(void) pthread_mutex_lock(&lock);
	n = n_last;
	(void) pthread_mutex_unlock(&lock);
	return n;
}

/* Each once, after its jobs, and it is waited for like them. */
static void workers_do_what_is_last(void)
{
	struct waiter w = { .ms = LONG_MS, .others = 1 };
	struct jobs *j = begin(2);

	n_last = 0;
	jobs_at_end(j, last);
	add(j, &w);
	CU_ASSERT_EQUAL(jobs_wait(j, LONG_MS), 0);
	CU_ASSERT_EQUAL(lasts(), 0);
	CU_ASSERT_EQUAL(jobs_end(j, SHORT_MS), -ETIMEDOUT);
	gate_set(true);
	CU_ASSERT_EQUAL(jobs_end(j, LONG_MS), 0);
	CU_ASSERT_EQUAL(lasts(), 2);
	end(j);
	CU_ASSERT_EQUAL(lasts(), 2);
}

static CU_TestInfo tests[] = {
	{ "users are served in turn", users_are_served_in_turn },
	{ "two workers run at once, and one does not", workers_run_at_once },
	{ "standing still waits for what runs", quiesce_waits_for_what_runs },
	{ "it does not wait for what blocks, which then waits to go on", quiesce_does_not_wait_for_what_blocks },
	{ "blocking is nothing on a thread that is no worker", block_is_nothing_elsewhere },
	{ "waiting and ending take no longer than is said", waited_for_no_longer },
	{ "what waits is dropped, and its owner told", what_waits_is_dropped },
	{ "each worker does what is last", workers_do_what_is_last },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "the custodian's queue", NULL, NULL, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

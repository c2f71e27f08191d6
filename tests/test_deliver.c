/* Generations: a reader of `current` sees the pair of before or the pair of after, whatever dies in between. */
#include <CUnit/CUnit.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/deliver.h"
#include "common/auto.h"
#include "common/fs.h"
#include "tests/test_main.h"

#define ROUNDS 12
#define PRUNED -2 /* two generations went by while we looked into one */

static char folder[64];

static int setup(void)
{
	(void) snprintf(folder, sizeof(folder), "/tmp/keyroll-deliver-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void)
{
	return fs_remove_tree(folder, NULL);
}

/* Every file of generation `n` says n. */
static int generation_fill(struct generation *g, int n)
{
	char text[32];

	(void) snprintf(text, sizeof(text), "%d", n);
	(void) snprintf(g->label, sizeof(g->label), "tp");
	(void) snprintf(g->spki, sizeof(g->spki), "%d", n);
	if (buf_set(&g->cert, text, strlen(text)) < 0 || buf_set(&g->chain, text, strlen(text)) < 0)
		return -ENOMEM;
	return buf_set(&g->ca, text, strlen(text));
}

static int deliver_one(int n, int64_t *ret_number)
{
	AUTO(generation) struct generation g = { .label = "" };
	int r = generation_fill(&g, n);

	if (r == 0)
		r = generation_write(folder, &g, ret_number, NULL);
	return r < 0 ? r : generation_switch(folder, *ret_number, NULL);
}

static int file_number(int dir, const char *name, const char *before)
{
	AUTO(fd) int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	char text[128] = "";
	const char *at;

	if (fd < 0)
		return PRUNED;
	if (read(fd, text, sizeof(text) - 1) < 0)
		return -1;
	at = before[0] ? strstr(text, before) : text;
	return at ? atoi(at + strlen(before)) : -1;
}

/* The link is resolved once, then everything is read from that one folder, as every reader must. Between the two the folder may have been pruned (the
 * deliverer below makes generations without end, and open() of the link itself would meet that too); the link has to be there at every moment. */
static int current_open(void)
{
	char path[128], target[64];
	ssize_t n;

	(void) snprintf(path, sizeof(path), "%s/current", folder);
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return -1;
	(void) snprintf(path, sizeof(path), "%s/%.*s", folder, (int) n, target);
	n = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return n >= 0 ? (int) n : errno == ENOENT ? PRUNED : -1;
}

/* The number that all files of `current` agree on; -1: they do not, or the link is missing. */
static int current_number(void)
{
	static const struct {
		const char *name, *before;
	} files[] = { { "key.uri", "spki=" }, { "ca.pem", "" }, { "chain.pem", "" } };
	AUTO(fd) int dir = current_open();
	size_t i;
	int n, m;

	if (dir < 0)
		return dir;
	n = file_number(dir, "cert.pem", "");
	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		m = file_number(dir, files[i].name, files[i].before);
		if (n == PRUNED || m == PRUNED)
			return PRUNED;
		if (m != n)
			return -1;
	}
	return n;
}

static bool exists(int64_t number)
{
	char path[128];

	(void) snprintf(path, sizeof(path), "%s/gen-%lld", folder, (long long) number);
	return access(path, F_OK) == 0;
}

static void a_delivery_is_read_back(void)
{
	int64_t first = 0, second = 0;

	CU_ASSERT_EQUAL(deliver_one(1, &first), 0);
	CU_ASSERT_EQUAL(current_number(), 1);
	CU_ASSERT_EQUAL(deliver_one(2, &second), 0);
	CU_ASSERT_EQUAL(current_number(), 2);
	CU_ASSERT_TRUE(second > first);
}

static void the_key_file_holds_only_the_uri(void)
{
	AUTO(buf) struct buf text = BUF_EMPTY;
	char path[128];
	struct stat st;

	(void) snprintf(path, sizeof(path), "%s/current/key.pem", folder);
	CU_ASSERT_EQUAL(fs_read(path, 4096, &text, NULL), 0);
	CU_ASSERT_EQUAL(strncmp((const char *) text.data, "-----BEGIN KEYROLL URI-----\nM", 29), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr((const char *) text.data, "\n-----END KEYROLL URI-----\n"));
	CU_ASSERT_PTR_NULL(strstr((const char *) text.data, "PRIVATE"));
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0777, 0644);
}

static void pruning_keeps_the_three_that_are_named(void)
{
	int64_t n[5] = { 0 };
	int i;

	for (i = 0; i < 5; i++)
		CU_ASSERT_EQUAL(deliver_one(10 + i, &n[i]), 0);
	generation_prune(folder, n[4], n[3], n[1]);
	CU_ASSERT_TRUE(exists(n[4]));
	CU_ASSERT_TRUE(exists(n[3]));
	CU_ASSERT_FALSE(exists(n[2]));
	CU_ASSERT_TRUE(exists(n[1]));
	CU_ASSERT_FALSE(exists(n[0]));
	CU_ASSERT_EQUAL(current_number(), 14);
}

static void the_sum_tells_generations_apart(void)
{
	AUTO(generation) struct generation a = { .label = "" };
	AUTO(generation) struct generation b = { .label = "" };
	char sum_a[65], sum_b[65];

	CU_ASSERT_EQUAL(generation_fill(&a, 1), 0);
	CU_ASSERT_EQUAL(generation_fill(&b, 1), 0);
	generation_sha256(&a, sum_a);
	generation_sha256(&b, sum_b);
	CU_ASSERT_STRING_EQUAL(sum_a, sum_b);
	CU_ASSERT_EQUAL(buf_set(&b.ca, "2", 1), 0);
	generation_sha256(&b, sum_b);
	CU_ASSERT_STRING_NOT_EQUAL(sum_a, sum_b);
}

/* The child delivers as fast as it can, and is killed in the midst of it. */
static pid_t deliverer_start(int from)
{
	pid_t pid = fork();
	int64_t number = 0, before = 0;
	int n;

	if (pid != 0)
		return pid;
	for (n = from;; n++) {
		if (deliver_one(n, &number) < 0)
			_exit(1);
		generation_prune(folder, number, before, 0);
		before = number;
	}
}

static void a_pair_is_never_mixed_under_kill(void)
{
	int round, seen, n, status, mixed = 0, backwards = 0, last = 0;
	int64_t number = 0;

	CU_ASSERT_EQUAL(deliver_one(1000, &number), 0);
	for (round = 0; round < ROUNDS; round++) {
		pid_t pid = deliverer_start(2000 + round * 100000);

		CU_ASSERT_TRUE(pid > 0);
		if (pid <= 0)
			return;
		for (seen = 0; seen < 3 + round;) { /* that many new ones, so the child is at work when it dies */
			n = current_number();
			mixed += n == -1;
			backwards += n > 0 && n < last;
			seen += n > last;
			last = n > last ? n : last;
		}
		CU_ASSERT_EQUAL(kill(pid, SIGKILL), 0);
		CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
		CU_ASSERT_TRUE(WIFSIGNALED(status));
		CU_ASSERT_TRUE(current_number() >= last); /* whole, and not an older one */
	}
	CU_ASSERT_EQUAL(mixed, 0);
	CU_ASSERT_EQUAL(backwards, 0);
	CU_ASSERT_EQUAL(deliver_one(9999999, &number), 0); /* leftovers of the dead are no obstacle */
	CU_ASSERT_EQUAL(current_number(), 9999999);
}

static CU_TestInfo tests[] = {
	{ "a delivery is read back", a_delivery_is_read_back },
	{ "the key file holds only the URI", the_key_file_holds_only_the_uri },
	{ "pruning keeps the three that are named", pruning_keeps_the_three_that_are_named },
	{ "the sum tells generations apart", the_sum_tells_generations_apart },
	{ "a pair is never mixed under kill", a_pair_is_never_mixed_under_kill },
	CU_TEST_INFO_NULL,
};
CU_SuiteInfo test_suites[] = { { "delivery", setup, teardown, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

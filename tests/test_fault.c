#include "tests/test_main.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/fault.h"
#include "common/fs.h"

/* In a child: passes points "t.a", "t.b", "t.a" and counts them in its exit status, unless it dies. Returns wait(2)'s status. */
static int pass_points(const char *want)
{
	int status = -1, passed = 0;
	pid_t child = fork();

	if (child == 0) {
		if (want && setenv("KEYROLL_FAULT", want, 1) < 0)
			_exit(99);
		FAULT("t.a");
		passed++;
		FAULT("t.b");
		passed++;
		FAULT("t.a");
		_exit(passed + 1);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return -1;
	return status;
}

static void point_kills_at_its_nth_hit_only_where_it_is_built_in(void)
{
	static const struct {
		const char *want;
		int dies;
	} rows[] = {
		{ "t.a:1", 1 }, { "t.a:2", 1 }, { "t.b:1", 1 }, { "t.a:3", 0 }, { "t.b:2", 0 }, { "t.a:0", 0 },
		{ "t.a", 0 },	{ "t:1", 0 },	{ "t.ab:1", 0 }, { "", 0 },	{ NULL, 0 },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int status = pass_points(rows[i].want);

#ifdef KEYROLL_FAULT_POINTS
		if (rows[i].dies) {
			CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
			continue;
		}
#endif
		CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 3);
	}
}

#ifdef KEYROLL_FAULT_POINTS
static int write_and_die(const char *path, const char *where)
{
	int status = -1;
	pid_t child = fork();

	if (child == 0) {
		if (setenv("KEYROLL_FAULT", where, 1) < 0)
			_exit(99);
		_exit(fs_write(path, "newer", 5, 0600, NULL) < 0);
	}
	return child > 0 && waitpid(child, &status, 0) == child ? status : -1;
}

static int entries(const char *path)
{
	AUTO(dir) DIR *dir = opendir(path);
	int n = 0;

	while (dir && readdir(dir))
		n++;
	return n - 2; /* . and .. */
}

/* A death anywhere in fs_write leaves the old file or the new one, and at most a temporary that the sweep finds. */
static void killed_writer_leaves_old_or_new(void)
{
	static const struct {
		const char *where, *left;
	} rows[] = { { "fs.temp:1", "old" }, { "fs.written:1", "old" }, { "fs.synced:1", "old" }, { "fs.renamed:1", "newer" } };
	char top[] = "/tmp/keyroll-fault-XXXXXX", path[64];
	size_t i;

	CU_ASSERT_PTR_NOT_NULL(mkdtemp(top));
	(void) snprintf(path, sizeof(path), "%s/file", top); /* fits */
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(buf) struct buf b = BUF_EMPTY;
		int status;

		CU_ASSERT_EQUAL(fs_write(path, "old", 3, 0600, NULL), 0);
		status = write_and_die(path, rows[i].where);
		CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		CU_ASSERT_EQUAL(fs_read(path, 10, &b, NULL), 0);
		CU_ASSERT_STRING_EQUAL((char *) b.data, rows[i].left);
		CU_ASSERT_EQUAL(entries(top), strcmp(rows[i].left, "old") == 0 ? 2 : 1);
		fs_sweep(top);
		CU_ASSERT_EQUAL(entries(top), 1);
	}
	CU_ASSERT_EQUAL(fs_remove_tree(top, NULL), 0);
}
#endif

static CU_TestInfo tests[] = {
#ifdef KEYROLL_FAULT_POINTS
	{ "a killed writer leaves old or new", killed_writer_leaves_old_or_new },
#endif
	{ "a point kills at its n-th hit, only where it is built in", point_kills_at_its_nth_hit_only_where_it_is_built_in },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = {
	{ "fault points", NULL, NULL, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

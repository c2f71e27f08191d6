#include "tests/test_main.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/auto.h"
#include "common/fs.h"

static char top[] = "/tmp/keyroll-fs-XXXXXX";

static int folder_make(void)
{
	return mkdtemp(top) ? fs_set_root(top, NULL) : -1;
}

static int folder_drop(void)
{
	int r = fs_set_root(NULL, NULL);

	return fs_remove_tree(top, NULL) < 0 || r < 0;
}

static int entries(const char *path)
{
	AUTO(dir) DIR *dir = opendir(path);
	int n = 0;

	while (dir && readdir(dir))
		n++;
	return n - 2; /* . and .. */
}

static void written_file_reads_back_with_its_mode(void)
{
	AUTO(mem) char *path = fs_path("/%s", "a");
	AUTO(buf) struct buf b = BUF_EMPTY;
	struct stat st = { 0 };

	CU_ASSERT_EQUAL(fs_write(path, "old", 3, 0644, NULL), 0);
	CU_ASSERT_EQUAL(fs_write(path, "newer", 5, 0600, NULL), 0);
	CU_ASSERT_EQUAL(fs_read(path, 5, &b, NULL), 0);
	CU_ASSERT_STRING_EQUAL((char *) b.data, "newer");
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 07777, 0600);
	CU_ASSERT_EQUAL(entries(top), 1); /* no temporary stays */
	CU_ASSERT_EQUAL(fs_remove(path, NULL), 0);
	CU_ASSERT_EQUAL(fs_remove(path, NULL), 0); /* missing is fine */
	CU_ASSERT_EQUAL(access(path, F_OK), -1);
}

static void one_byte_too_many_is_refused(void)
{
	AUTO(mem) char *path = fs_path("/big");
	AUTO(buf) struct buf b = BUF_EMPTY;
	struct err e = { 0 };

	CU_ASSERT_EQUAL(fs_write(path, "12345", 5, 0600, NULL), 0);
	CU_ASSERT_EQUAL(fs_read(path, 4, &b, &e), -EFBIG);
	CU_ASSERT_PTR_NULL(b.data);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "more than 4 bytes"));
	CU_ASSERT_EQUAL(fs_remove(path, NULL), 0);
}

static void what_is_no_file_is_not_read(void)
{
	AUTO(mem) char *fifo = fs_path("/fifo");
	AUTO(mem) char *none = fs_path("/none");
	AUTO(buf) struct buf b = BUF_EMPTY;
	struct err e = { 0 };

	CU_ASSERT_EQUAL(fs_read(top, 10, &b, &e), -EISDIR);
	CU_ASSERT_EQUAL(fs_read(none, 10, &b, &e), -ENOENT);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "none"));
	CU_ASSERT_EQUAL(mkfifo(fifo, 0600), 0);
	CU_ASSERT_EQUAL(fs_read(fifo, 10, &b, &e), -EINVAL); /* and does not hang */
	CU_ASSERT_EQUAL(fs_remove(fifo, NULL), 0);
}

static void failed_rename_leaves_the_old_and_no_temporary(void)
{
	AUTO(mem) char *folder = fs_path("/taken");
	AUTO(mem) char *inside = fs_path("/taken/by");
	struct err e = { 0 };

	CU_ASSERT_EQUAL(fs_mkdir(folder, 0755, NULL), 0);
	CU_ASSERT_EQUAL(fs_write(inside, "x", 1, 0600, NULL), 0);
	CU_ASSERT(fs_write(folder, "data", 4, 0600, &e) < 0); /* a file cannot replace a folder */
	CU_ASSERT_NOT_EQUAL(e.text[0], '\0');
	CU_ASSERT_EQUAL(access(inside, F_OK), 0);
	CU_ASSERT_EQUAL(entries(top), 1);
	CU_ASSERT_EQUAL(fs_remove_tree(folder, NULL), 0);
}

static void writing_without_the_folder_fails(void)
{
	AUTO(mem) char *path = fs_path("/no/such/file");

	CU_ASSERT_EQUAL(fs_write(path, "x", 1, 0600, NULL), -ENOENT);
}

static void read_only_folder_refuses_and_keeps_the_old(void)
{
	AUTO(mem) char *folder = fs_path("/ro");
	AUTO(mem) char *path = fs_path("/ro/file");
	const uid_t user = geteuid();
	AUTO(buf) struct buf b = BUF_EMPTY;

	CU_ASSERT_EQUAL(fs_mkdir(folder, 0755, NULL), 0);
	CU_ASSERT_EQUAL(fs_write(path, "old", 3, 0600, NULL), 0);
	CU_ASSERT_EQUAL(chmod(folder, 0555), 0);
	CU_ASSERT(chmod(top, 0711) == 0 && seteuid(user == 0 ? 65534 : user) == 0); /* nothing is read-only for root */
	CU_ASSERT_EQUAL(fs_write(path, "new", 3, 0600, NULL), -EACCES);
	CU_ASSERT(seteuid(user) == 0 && chmod(top, 0700) == 0);
	CU_ASSERT_EQUAL(fs_read(path, 3, &b, NULL), 0);
	CU_ASSERT_STRING_EQUAL((char *) b.data, "old");
	CU_ASSERT_EQUAL(chmod(folder, 0755), 0);
	CU_ASSERT_EQUAL(fs_remove_tree(folder, NULL), 0);
}

static void sweep_takes_our_temporaries_only(void)
{
	static const char *const names[] = { ".state.kr-aZ09bC", ".kr-abcdef", "state.kr-abcdef", ".state.kr-abc", ".other", "plain" };
	static const bool stays[] = { false, true, true, true, true, true };
	AUTO(mem) char *folder = fs_path("/sweep");
	size_t i;

	CU_ASSERT_EQUAL(fs_mkdir(folder, 0755, NULL), 0);
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		AUTO(mem) char *path = fs_path("/sweep/%s", names[i]);
		AUTO(fd) int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

		CU_ASSERT_EQUAL(write(fd, "ha", 2), 2); /* half-written */
	}
	fs_sweep(folder);
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		AUTO(mem) char *path = fs_path("/sweep/%s", names[i]);

		CU_ASSERT_EQUAL(access(path, F_OK) == 0, stays[i]);
	}
	fs_sweep("/nonexistent");
	CU_ASSERT_EQUAL(fs_remove_tree(folder, NULL), 0);
}

static void mkdir_makes_all_parts_and_gives_the_last_its_mode(void)
{
	AUTO(mem) char *deep = fs_path("/x/y/z/");
	AUTO(mem) char *middle = fs_path("/x/y");
	AUTO(mem) char *x = fs_path("/x");
	AUTO(mem) char *file = fs_path("/x/file");
	AUTO(mem) char *under = fs_path("/x/file/more");
	struct stat st = { 0 };

	CU_ASSERT_EQUAL(fs_mkdir(deep, 0700, NULL), 0);
	CU_ASSERT_EQUAL(stat(deep, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0777, 0700);
	CU_ASSERT_EQUAL(stat(middle, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0777, 0755);
	CU_ASSERT_EQUAL(fs_mkdir(deep, 0755, NULL), 0); /* existing is fine, and keeps its mode */
	CU_ASSERT_EQUAL(stat(deep, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0777, 0700);
	CU_ASSERT_EQUAL(fs_write(file, "", 0, 0600, NULL), 0);
	CU_ASSERT_EQUAL(fs_mkdir(file, 0755, NULL), -ENOTDIR);
	CU_ASSERT_EQUAL(fs_mkdir(under, 0755, NULL), -ENOTDIR);
	CU_ASSERT_EQUAL(fs_remove_tree(x, NULL), 0);
}

static void tree_goes_without_following_links(void)
{
	AUTO(mem) char *keep = fs_path("/keep");
	AUTO(mem) char *kept = fs_path("/keep/file");
	AUTO(mem) char *tree = fs_path("/tree/sub");
	AUTO(mem) char *link = fs_path("/tree/sub/link");
	AUTO(mem) char *base = fs_path("/tree");

	CU_ASSERT_EQUAL(fs_mkdir(keep, 0755, NULL), 0);
	CU_ASSERT_EQUAL(fs_write(kept, "x", 1, 0600, NULL), 0);
	CU_ASSERT_EQUAL(fs_mkdir(tree, 0755, NULL), 0);
	CU_ASSERT_EQUAL(symlink(keep, link), 0);
	CU_ASSERT_EQUAL(fs_remove_tree(base, NULL), 0);
	CU_ASSERT_EQUAL(access(base, F_OK), -1);
	CU_ASSERT_EQUAL(access(kept, F_OK), 0);
	CU_ASSERT_EQUAL(fs_remove_tree(base, NULL), 0); /* missing is fine */
	CU_ASSERT_EQUAL(fs_remove_tree(keep, NULL), 0);
}

static void link_is_switched_in_one_step(void)
{
	AUTO(mem) char *link = fs_path("/current");
	char target[16] = "";

	CU_ASSERT_EQUAL(fs_link_switch(link, "gen-1", NULL), 0);
	CU_ASSERT_EQUAL(fs_link_switch(link, "gen-2", NULL), 0);
	CU_ASSERT_EQUAL(readlink(link, target, sizeof(target) - 1), 5);
	CU_ASSERT_STRING_EQUAL(target, "gen-2");
	CU_ASSERT_EQUAL(entries(top), 1);
	CU_ASSERT_EQUAL(fs_remove(link, NULL), 0);
}

static void root_prefixes_and_a_missing_root_is_refused(void)
{
	AUTO(mem) char *under = fs_path("/etc/%s", "x");

	CU_ASSERT_EQUAL(strncmp(under, top, strlen(top)), 0);
	CU_ASSERT_STRING_EQUAL(under + strlen(top), "/etc/x");
	CU_ASSERT_EQUAL(fs_set_root("/nonexistent-root", NULL), -ENOENT);
	CU_ASSERT_STRING_EQUAL(fs_root(), top); /* unchanged */
	CU_ASSERT_EQUAL(fs_set_root("/", NULL), 0);
	CU_ASSERT_STRING_EQUAL(fs_root(), "");
	CU_ASSERT_EQUAL(fs_set_root(top, NULL), 0);
}

static CU_TestInfo tests[] = {
	{ "a written file reads back with its mode", written_file_reads_back_with_its_mode },
	{ "one byte too many is refused", one_byte_too_many_is_refused },
	{ "what is no file is not read", what_is_no_file_is_not_read },
	{ "a failed rename leaves the old and no temporary", failed_rename_leaves_the_old_and_no_temporary },
	{ "writing without the folder fails", writing_without_the_folder_fails },
	{ "a read-only folder refuses and keeps the old", read_only_folder_refuses_and_keeps_the_old },
	{ "sweep takes our temporaries only", sweep_takes_our_temporaries_only },
	{ "mkdir makes all parts and gives the last its mode", mkdir_makes_all_parts_and_gives_the_last_its_mode },
	{ "a tree goes without following links", tree_goes_without_following_links },
	{ "a link is switched in one step", link_is_switched_in_one_step },
	{ "root prefixes, and a missing root is refused", root_prefixes_and_a_missing_root_is_refused },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = {
	{ "files", folder_make, folder_drop, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

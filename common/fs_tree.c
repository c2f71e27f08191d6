/* Removal of a folder and all in it: see fs.h. */
#include "common/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/auto.h"

#define TREE_DEPTH_MAX 32 /* our own folders are 4 deep */

static int tree_remove(int parent_fd, const char *name, int depth);

static int entries_remove(DIR *dir, int depth)
{
	struct dirent *e;
	int r;

	for (errno = 0; (e = readdir(dir)); errno = 0) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		r = tree_remove(dirfd(dir), e->d_name, depth);
		if (r < 0)
			return r;
	}
	return -errno;
}

/* -ENOTDIR and -ELOOP (a link) leave *ret NULL. */
static int folder_open(int parent_fd, const char *name, DIR **ret)
{
	AUTO(fd) int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir;

	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir)
		return -errno;
	(void) TAKE_FD(fd); /* dir owns it now */
	*ret = dir;
	return 0;
}

static int tree_remove(int parent_fd, const char *name, int depth)
{
	AUTO(dir) DIR *dir = NULL;
	int r;

	if (depth > TREE_DEPTH_MAX)
		return -ENAMETOOLONG;
	if (unlinkat(parent_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM) /* Linux says EISDIR, POSIX EPERM */
		return -errno;
	r = folder_open(parent_fd, name, &dir);
	if (r < 0)
		return r;
	r = entries_remove(dir, depth + 1);
	if (r < 0)
		return r;
	return unlinkat(parent_fd, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

int fs_remove_tree(const char *path, struct err *reterr)
{
	AUTO(mem) char *parent = strdup(path);
	char *slash;
	int r;

	if (!parent)
		return -ENOMEM;
	r = tree_remove(AT_FDCWD, path, 0);
	if (r < 0)
		return err_set(reterr, r, "remove %s: %s", path, strerror(-r));
	slash = strrchr(parent, '/');
	if (slash == parent)
		slash++;
	if (slash)
		*slash = '\0';
	r = fs_sync_folder(slash ? parent : ".", reterr);
	return r == -ENOENT ? 0 : r; /* the parent was missing too: nothing to make durable */
}

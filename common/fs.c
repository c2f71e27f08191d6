/* Reading and durable writing of files: see fs.h. */
#include "common/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "common/auto.h"
#include "common/fault.h"

#define TEMP_MARK ".kr-"
#define TEMP_RANDOM "XXXXXX"
#define READ_CHUNK_BYTES (16 * 1024)

static char root_dir[PATH_MAX];

int fs_set_root(const char *root, struct err *reterr)
{
	char real[PATH_MAX];

	if (!root || !root[0]) {
		root_dir[0] = '\0';
		return 0;
	}
	if (!realpath(root, real))
		return err_set(reterr, -errno, "root folder %s: %s", root, strerror(errno));
	if (strcmp(real, "/") == 0)
		real[0] = '\0';
	(void) snprintf(root_dir, sizeof(root_dir), "%s", real); /* same size */
	return 0;
}

const char *fs_root(void)
{
	return root_dir;
}

char *fs_path(const char *fmt, ...)
{
	AUTO(mem) char *path = NULL;
	char *full = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&path, fmt, ap);
	va_end(ap);
	if (n < 0) {
		path = NULL;
		return NULL;
	}
	if (asprintf(&full, "%s%s", root_dir, path) < 0)
		return NULL;
	return full;
}

static int fail(struct err *reterr, int code, const char *path, const char *doing)
{
	return err_set(reterr, code, "%s %s: %s", doing, path, strerror(-code));
}

/* The folder that holds path; owned by the caller, NULL: out of memory. */
static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return strdup(".");
	if (slash == path)
		return strdup("/");
	return strndup(path, (size_t) (slash - path));
}

static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* ".NAME.kr-XXXXXX" beside path. Owned by the caller, NULL: out of memory. */
static char *temp_pattern(const char *path)
{
	const char *name = name_of(path);
	char *pattern = NULL;

	if (asprintf(&pattern, "%.*s.%s" TEMP_MARK TEMP_RANDOM, (int) (name - path), path, name) < 0)
		return NULL;
	return pattern;
}

int fs_sync_folder(const char *path, struct err *reterr)
{
	AUTO(fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return fail(reterr, -errno, path, "open folder");
	if (fsync(fd) < 0)
		return fail(reterr, -errno, path, "fsync folder");
	return 0;
}

static int sync_folder_of(const char *path, struct err *reterr)
{
	AUTO(mem) char *folder = folder_of(path);

	if (!folder)
		return -ENOMEM;
	return fs_sync_folder(folder, reterr);
}

static int file_open(const char *path, int *ret_fd, struct err *reterr)
{
	/* O_NONBLOCK: a FIFO must not hang us; regular files ignore it */
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(reterr, -errno, path, "read");
	if (S_ISDIR(st.st_mode))
		return fail(reterr, -EISDIR, path, "read");
	if (!S_ISREG(st.st_mode))
		return err_set(reterr, -EINVAL, "read %s: not a regular file", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int file_read(int fd, size_t max, struct buf *b)
{
	uint8_t chunk[READ_CHUNK_BYTES];
	ssize_t n;
	int r = 0;

	do {
		n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			r = -errno;
		else if ((size_t) n > max - b->len)
			r = -EFBIG;
		else
			r = buf_add(b, chunk, (size_t) n);
	} while (r == 0 && n != 0);
	if (b->secret)
		explicit_bzero(chunk, sizeof(chunk));
	return r;
}

int fs_read(const char *path, size_t max, struct buf *b, struct err *reterr)
{
	AUTO(buf) struct buf fresh = { .data = NULL, .len = 0, .secret = b->secret };
	AUTO(fd) int fd = -1;
	int r;

	r = file_open(path, &fd, reterr);
	if (r < 0)
		return r;
	r = file_read(fd, max, &fresh);
	if (r == -EFBIG)
		return err_set(reterr, r, "read %s: more than %zu bytes", path, max);
	if (r < 0)
		return fail(reterr, r, path, "read");
	buf_take(b, &fresh);
	return 0;
}

static int write_all(int fd, const uint8_t *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t) n;
	}
	return 0;
}

/* Fills and closes the temporary: after 0 it is durable, though not yet under its name. */
static int temp_fill(int temp_fd, const void *data, size_t len, mode_t mode)
{
	AUTO(fd) int fd = temp_fd;
	int r;

	r = write_all(fd, data, len);
	if (r < 0)
		return r;
	FAULT("fs.written");
	if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
		return -errno;
	return close(TAKE_FD(fd)) < 0 ? -errno : 0;
}

int fs_write(const char *path, const void *data, size_t len, mode_t mode, struct err *reterr)
{
	AUTO(mem) char *temp = temp_pattern(path);
	int fd, r;

	if (!temp)
		return -ENOMEM;
	fd = mkostemp(temp, O_CLOEXEC);
	if (fd < 0)
		return fail(reterr, -errno, path, "write");
	FAULT("fs.temp");
	r = temp_fill(fd, data, len, mode);
	FAULT("fs.synced");
	if (r == 0 && rename(temp, path) < 0)
		r = -errno;
	if (r < 0) {
		(void) unlink(temp); /* the first failure is the one to tell; fs_sweep finds what stays */
		return fail(reterr, r, path, "write");
	}
	FAULT("fs.renamed");
	return sync_folder_of(path, reterr);
}

static int mkdir_one(const char *path, mode_t mode, struct err *reterr)
{
	struct stat st;

	if (mkdir(path, mode) == 0) {
		if (chmod(path, mode) < 0) /* whatever the umask is */
			return fail(reterr, -errno, path, "chmod");
		return sync_folder_of(path, reterr);
	}
	if (errno != EEXIST)
		return fail(reterr, -errno, path, "make folder");
	if (stat(path, &st) < 0)
		return fail(reterr, -errno, path, "make folder");
	return S_ISDIR(st.st_mode) ? 0 : fail(reterr, -ENOTDIR, path, "make folder");
}

int fs_mkdir(const char *path, mode_t mode, struct err *reterr)
{
	AUTO(mem) char *part = strdup(path);
	size_t len;
	char *slash;
	int r;

	if (!part)
		return -ENOMEM;
	for (len = strlen(part); len > 1 && part[len - 1] == '/'; len--)
		part[len - 1] = '\0';
	for (slash = strchr(part + (part[0] == '/'), '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		r = access(part, F_OK) == 0 ? 0 : mkdir_one(part, 0755, reterr);
		if (r < 0)
			return r;
		*slash = '/';
	}
	return mkdir_one(part, mode, reterr);
}

int fs_remove(const char *path, struct err *reterr)
{
	if (unlink(path) < 0)
		return errno == ENOENT ? 0 : fail(reterr, -errno, path, "remove");
	return sync_folder_of(path, reterr);
}

/* A name of our own pattern that does not exist at this moment; the caller's rename or symlink decides. */
static int temp_name_draw(char *pattern)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz012345";
	unsigned char random[sizeof(TEMP_RANDOM) - 1];
	char *tail = pattern + strlen(pattern) - sizeof(random);
	size_t i;

	if (getrandom(random, sizeof(random), 0) != (ssize_t) sizeof(random))
		return -EIO;
	for (i = 0; i < sizeof(random); i++)
		tail[i] = letters[random[i] % 32];
	return 0;
}

int fs_link_switch(const char *path, const char *target, struct err *reterr)
{
	AUTO(mem) char *temp = temp_pattern(path);
	int r;

	if (!temp)
		return -ENOMEM;
	do {
		r = temp_name_draw(temp);
		if (r == 0 && symlink(target, temp) < 0)
			r = -errno;
	} while (r == -EEXIST);
	if (r < 0)
		return fail(reterr, r, path, "link");
	FAULT("fs.link-made");
	if (rename(temp, path) < 0) {
		r = -errno;
		(void) unlink(temp); /* the rename's failure is the one to tell */
		return fail(reterr, r, path, "link");
	}
	FAULT("fs.link-switched");
	return sync_folder_of(path, reterr);
}

static bool name_is_temp(const char *name)
{
	size_t len = strlen(name), tail = strlen(TEMP_MARK TEMP_RANDOM);

	return name[0] == '.' && len > tail + 1 && memcmp(name + len - tail, TEMP_MARK, strlen(TEMP_MARK)) == 0;
}

void fs_sweep(const char *folder)
{
	AUTO(dir) DIR *dir = opendir(folder);
	struct dirent *e;

	if (!dir)
		return; /* nothing to sweep */
	while ((e = readdir(dir)))
		if (name_is_temp(e->d_name))
			(void) unlinkat(dirfd(dir), e->d_name, 0); /* a leftover costs only space; folders are never ours */
}

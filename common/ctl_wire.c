/* Frames, JSON and addresses of the control sockets: see ctl.h. */
#include "common/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "common/ctl_internal.h"
#include "common/limits.h"

#define BACKLOG 64

ssize_t ctl_frame(const char *data, size_t len)
{
	const char *nul = len > 0 ? memchr(data, '\0', len) : NULL;
	size_t n = nul ? (size_t) (nul - data) : len;

	if (n > LIMIT_CTL_MESSAGE_BYTES)
		return -EMSGSIZE;
	return nul ? (ssize_t) n : -EAGAIN;
}

int ctl_json_parse(const char *text, size_t len, json_t **ret, struct err *reterr)
{
	AUTO(json) json_t *message = NULL;
	json_error_t why;

	message = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	if (!message)
		return err_set(reterr, -EBADMSG, "not JSON: %s at byte %d", why.text, why.position);
	if (!json_is_object(message))
		return err_set(reterr, -EBADMSG, "a JSON object is wanted");
	*ret = TAKE(message);
	return 0;
}

int ctl_json_build(const json_t *message, size_t max, struct buf *append)
{
	AUTO(mem) char *text = json_dumps(message, JSON_COMPACT);
	size_t len = text ? strlen(text) : 0;

	if (!text)
		return -ENOMEM;
	if (len > max)
		return -EMSGSIZE;
	return buf_add(append, text, len + 1);
}

int ctl_address(const char *path, struct sockaddr_un *ret, int *ret_folder_fd, struct err *reterr)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	const char *slash = strrchr(path, '/');
	AUTO(mem) char *folder = NULL;
	AUTO(fd) int fd = -1;
	int n;

	n = snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	if (n >= (int) sizeof(sa.sun_path) && slash) {
		folder = strndup(path, (size_t) (slash - path));
		if (!folder)
			return -ENOMEM;
		fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return err_set(reterr, -errno, "socket %s: %s", path, strerror(errno));
		n = snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/%s", fd, slash + 1);
	}
	if (n >= (int) sizeof(sa.sun_path))
		return err_set(reterr, -ENAMETOOLONG, "socket %s: the name is too long", path);
	*ret = sa;
	*ret_folder_fd = TAKE_FD(fd);
	return 0;
}

/* Whoever still answers at a socket keeps it. */
static int stale_remove(const char *path, const struct sockaddr_un *sa, struct err *reterr)
{
	AUTO(fd) int probe = -1;
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : err_set(reterr, -errno, "socket %s: %s", path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return err_set(reterr, -EEXIST, "socket %s: there is something that is not a socket", path);
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe < 0)
		return err_set(reterr, -errno, "socket: %s", strerror(errno));
	if (connect(probe, (const struct sockaddr *) sa, sizeof(*sa)) == 0 || errno == EAGAIN)
		return err_set(reterr, -EADDRINUSE, "socket %s: another process listens there", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_set(reterr, -errno, "socket %s: %s", path, strerror(errno));
	return 0;
}

int ctl_listen(const char *path, mode_t mode, struct err *reterr)
{
	AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	AUTO(fd) int folder = -1;
	struct sockaddr_un sa;
	int r;

	if (fd < 0)
		return err_set(reterr, -errno, "socket: %s", strerror(errno));
	r = ctl_address(path, &sa, &folder, reterr);
	if (r < 0)
		return r;
	r = stale_remove(path, &sa, reterr);
	if (r < 0)
		return r;
	/* bind takes the mode from the descriptor: nobody gets in before chmod */
	if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *) &sa, sizeof(sa)) < 0 || chmod(path, mode) < 0 || listen(fd, BACKLOG) < 0)
		return err_set(reterr, -errno, "socket %s: %s", path, strerror(errno));
	return TAKE_FD(fd);
}

/* Connections to a custodian: see custody_conn.h. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

#include "keystore/custody_conn.h"
#include "keystore/ks.h"

enum { IDLE_MAX = 8 };

/* A program may fork, close descriptors that are not its own and open others under their numbers. */
struct idle {
	int fd;
	pid_t pid; /* who opened it */
	ino_t ino; /* of the socket */
};

/* No lock: another thread of the program could hold it in a fork, and the child would wait for ever. */
struct custody_pool {
	struct idle *_Atomic idle[IDLE_MAX];
	atomic_uint next_id;
	char path[sizeof(((struct sockaddr_un *) NULL)->sun_path)];
};

static int64_t now_us(void)
{
	struct timespec now;

	(void) clock_gettime(CLOCK_MONOTONIC, &now); /* that clock is always there */
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t end_us_from_now(void)
{
	return now_us() + (int64_t) CUSTODY_TIMEOUT_MS * 1000;
}

/* Gives the next call on the socket what is left until the operation's end, or says -ETIMEDOUT. Comes before each try: with such a limit a signal's
 * handler ends a call even under SA_RESTART, see signal(7). */
static int limit(int fd, int which, int64_t end_us)
{
	int64_t rest_us = end_us - now_us();
	struct timeval rest = { .tv_sec = rest_us / 1000000, .tv_usec = rest_us % 1000000 };

	if (rest_us <= 0)
		return -ETIMEDOUT; /* a limit of 0 is none */
	(void) setsockopt(fd, SOL_SOCKET, which, &rest, sizeof(rest)); /* fails on what is no socket: so does the call */
	return 0;
}

static bool again(int r) /* the kernel's time may be up before ours: limit() decides */
{
	return r == -EINTR || r == -EAGAIN;
}

static int connect_until(int fd, int64_t end_us, const struct sockaddr_un *sa)
{
	int r;

	do {
		r = limit(fd, SO_SNDTIMEO, end_us);
		if (r == 0 && connect(fd, (const struct sockaddr *) sa, sizeof(*sa)) < 0)
			r = -errno;
	} while (again(r));
	return r;
}

static int open_until(const char *path, int64_t end_us, int *ret_fd, struct err *reterr)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	AUTO(fd) int fd = -1;
	int r;

	if (strlen(path) >= sizeof(sa.sun_path))
		return err_set(reterr, -ENAMETOOLONG, "custodian's socket %s: longer than %zu bytes", path, sizeof(sa.sun_path) - 1);
	strcpy(sa.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	r = fd < 0 ? -errno : limit(fd, SO_RCVTIMEO, end_us); /* for callers that receive by themselves */
	if (r == 0)
		r = connect_until(fd, end_us, &sa);
	if (r < 0)
		return err_set(reterr, r, "custodian's socket %s: %s", path, strerror(-r));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int custody_connect(const char *path, int *ret_fd, struct err *reterr)
{
	return open_until(path, end_us_from_now(), ret_fd, reterr);
}

int custody_pool_new(const char *path, struct custody_pool **ret, struct err *reterr)
{
	struct custody_pool *p;

	if (strlen(path) >= sizeof(p->path))
		return err_set(reterr, -ENAMETOOLONG, "custodian's socket %s: too long", path);
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	strcpy(p->path, path);
	*ret = p;
	return 0;
}

static int inode_get(int fd, ino_t *ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode))
		return -EBADF;
	*ret = st.st_ino;
	return 0;
}

/* The descriptor, or -1 and it is closed, unless it has become somebody else's. Frees the rest. */
static int idle_open(struct idle *i)
{
	AUTO(fd) int fd = i->fd;
	const pid_t pid = i->pid;
	const ino_t was = i->ino;
	ino_t ino;

	free(i);
	if (inode_get(fd, &ino) < 0 || ino != was)
		fd = -1;
	return pid == getpid() ? TAKE_FD(fd) : -1;
}

void custody_pool_free(struct custody_pool *p)
{
	for (size_t n = 0; n < IDLE_MAX; n++) {
		struct idle *i = atomic_exchange(&p->idle[n], NULL);
		AUTO(fd) int fd = i ? idle_open(i) : -1; /* nothing is buffered in a record socket of ours */
	}
	free(p);
}

/* An idle connection of this process, or -1. */
static int idle_take(struct custody_pool *p, uint32_t *ret_id)
{
	int fd = -1;

	*ret_id = atomic_fetch_add(&p->next_id, 1) + 1;
	for (size_t n = 0; n < IDLE_MAX && fd < 0; n++) {
		struct idle *i = atomic_exchange(&p->idle[n], NULL);

		if (i)
			fd = idle_open(i);
	}
	return fd;
}

static void idle_give(struct custody_pool *p, int taken)
{
	AUTO(fd) int fd = taken;
	struct idle *i = malloc(sizeof(*i)), *none;

	if (i)
		*i = (struct idle){ .fd = fd, .pid = getpid() };
	if (!i || inode_get(fd, &i->ino) < 0) {
		free(i);
		return;
	}
	for (size_t n = 0; n < IDLE_MAX; n++) {
		none = NULL;
		if (atomic_compare_exchange_strong(&p->idle[n], &none, i)) {
			fd = -1; /* the pool's now */
			return;
		}
	}
	free(i);
}

int custody_reply_check(const struct custody_msg *request, const struct custody_msg *reply, struct err *reterr)
{
	if (reply->id != request->id || reply->op != request->op)
		return err_set(reterr, -EBADMSG, "the custodian answered request %u with %u", request->id, reply->id);
	if (reply->status > 0 || reply->status < -4095)
		return err_set(reterr, -EBADMSG, "the custodian answered with status %d", reply->status);
	if (reply->status < 0)
		return err_set(reterr, reply->status, "%.*s", (int) reply->body.len, reply->body.data ? (const char *) reply->body.data : "");
	return 0;
}

static int send_until(int fd, int64_t end_us, const struct custody_msg *request, struct err *reterr)
{
	int r;

	do {
		r = limit(fd, SO_SNDTIMEO, end_us);
		if (r == 0)
			r = custody_msg_send(fd, request, reterr);
	} while (again(r));
	return r;
}

static int recv_until(int fd, int64_t end_us, struct custody_msg *reply, struct err *reterr)
{
	int r;

	do {
		r = limit(fd, SO_RCVTIMEO, end_us);
		if (r == 0)
			r = custody_msg_recv(fd, reply, reterr);
	} while (again(r));
	return r;
}

static int exchange(int fd, int64_t end_us, const struct custody_msg *request, struct custody_msg *reply, struct err *reterr)
{
	int r = send_until(fd, end_us, request, reterr);

	if (r == 0)
		r = recv_until(fd, end_us, reply, reterr);
	if (r == -ETIMEDOUT)
		r = err_set(reterr, r, "the custodian did not answer within %d ms", CUSTODY_TIMEOUT_MS);
	return r;
}

static int ask(struct custody_pool *p, struct custody_msg *request, struct custody_msg *ret_reply, struct err *reterr)
{
	int64_t end_us = end_us_from_now(); /* connecting, and once more to a restarted custodian, is part of it */
	AUTO(fd) int fd = idle_take(p, &request->id);
	bool reused = fd >= 0;
	int r = reused ? 0 : open_until(p->path, end_us, &fd, reterr);

	if (r < 0)
		return r;
	r = exchange(fd, end_us, request, ret_reply, reterr);
	if (r == -ECONNRESET && reused) {
		(void) close(TAKE_FD(fd)); /* dead: the custodian was restarted since */
		r = open_until(p->path, end_us, &fd, reterr);
		if (r == 0)
			r = exchange(fd, end_us, request, ret_reply, reterr);
	}
	if (r < 0)
		return r; /* and the connection closes: a late reply must not meet the next request */
	r = custody_reply_check(request, ret_reply, reterr);
	if (r != -EBADMSG)
		idle_give(p, TAKE_FD(fd));
	return r;
}

static _Thread_local unsigned failures;

unsigned ks_failures(void)
{
	return failures;
}

int custody_ask(struct custody_pool *p, struct custody_msg *request, struct custody_msg *ret_reply, struct err *reterr)
{
	int r = ask(p, request, ret_reply, reterr);

	if (r < 0 && r != -EINVAL)
		failures++;
	return r;
}

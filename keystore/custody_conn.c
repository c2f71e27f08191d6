/* Connections to a custodian: see custody_conn.h. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

#include "keystore/custody_conn.h"
#include "keystore/ks.h"

enum { IDLE_MAX = 8 };

struct custody_pool {
	pthread_mutex_t lock;
	pid_t pid; /* who opened the idle ones */
	int idle[IDLE_MAX];
	size_t n_idle;
	uint32_t next_id;
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
	if (pthread_mutex_init(&p->lock, NULL) != 0) {
		free(p);
		return -ENOMEM;
	}
	strcpy(p->path, path);
	p->pid = getpid();
	*ret = p;
	return 0;
}

static void idle_close(struct custody_pool *p)
{
	while (p->n_idle > 0)
		(void) close(p->idle[--p->n_idle]); /* nothing is buffered in a record socket of ours */
}

void custody_pool_free(struct custody_pool *p)
{
	idle_close(p);
	(void) pthread_mutex_destroy(&p->lock); /* no thread uses it any more */
	free(p);
}

/* An idle connection of this process, or -1. */
static int idle_take(struct custody_pool *p, uint32_t *ret_id)
{
	int fd = -1;

	(void) pthread_mutex_lock(&p->lock); /* cannot fail: initialised, not recursive */
	if (p->pid != getpid()) {
		idle_close(p);
		p->pid = getpid();
	}
	if (p->n_idle > 0)
		fd = p->idle[--p->n_idle];
	*ret_id = ++p->next_id;
	(void) pthread_mutex_unlock(&p->lock); /* as above */
	return fd;
}

static void idle_give(struct custody_pool *p, int fd)
{
	(void) pthread_mutex_lock(&p->lock); /* cannot fail: initialised, not recursive */
	if (p->n_idle < IDLE_MAX && p->pid == getpid()) {
		p->idle[p->n_idle++] = fd;
		fd = -1;
	}
	(void) pthread_mutex_unlock(&p->lock); /* as above */
	auto_fd(&fd);
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

/* How long one operation takes when the custodian is silent, full or cut off: one time-out, whatever signals come. And whose descriptors are used. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

#include "common/fs.h"
#include "keystore/custody_conn.h"
#include "tests/test_main.h"

enum { TICK_MS = 10, TICKS_MAX = 2 * CUSTODY_TIMEOUT_MS / TICK_MS, LATE_MS = CUSTODY_TIMEOUT_MS * 3 / 4, CROWD = 8 };

static int64_t now_us(void)
{
	struct timespec now;

	(void) clock_gettime(CLOCK_MONOTONIC, &now); /* that clock is always there */
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- a custodian that only listens */

struct custodian {
	char folder[32];
	struct sockaddr_un sa;
	int listen_fd, crowd[CROWD]; /* who has come before us */
};

static int client_new(const struct custodian *c)
{
	AUTO(fd) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return connect(fd, (const struct sockaddr *) &c->sa, sizeof(c->sa)) == 0 ? TAKE_FD(fd) : -1;
}

static void custodian_begin(struct custodian *c)
{
	*c = (struct custodian){ .folder = "/tmp/keyroll-test.XXXXXX", .sa = { .sun_family = AF_UNIX } };
	for (int i = 0; i < CROWD; i++)
		c->crowd[i] = -1;
	CU_ASSERT_PTR_NOT_NULL(mkdtemp(c->folder));
	(void) snprintf(c->sa.sun_path, sizeof(c->sa.sun_path), "%s/keyd.sock", c->folder); /* fits */
	c->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	CU_ASSERT_EQUAL(bind(c->listen_fd, (struct sockaddr *) &c->sa, sizeof(c->sa)), 0);
	CU_ASSERT_EQUAL(listen(c->listen_fd, 1), 0);
}

static void custodian_fill(struct custodian *c)
{
	int n = 0;

	while (n < CROWD && (c->crowd[n] = client_new(c)) >= 0)
		n++;
	CU_ASSERT_TRUE(n > 0 && n < CROWD && errno == EAGAIN);
}

static void custodian_end(struct custodian *c)
{
	for (int i = 0; i < CROWD; i++)
		auto_fd(&c->crowd[i]);
	auto_fd(&c->listen_fd);
	CU_ASSERT_EQUAL(fs_remove_tree(c->folder, NULL), 0);
}

static int ask(struct custody_pool *p, struct err *reterr)
{
	AUTO(custody_msg) struct custody_msg m = { .op = CUSTODY_OP_LIST, .body = BUF_EMPTY };
	AUTO(custody_msg) struct custody_msg reply = CUSTODY_MSG_EMPTY;

	return custody_ask(p, &m, &reply, reterr);
}

/* ---- signals all the while */

static volatile sig_atomic_t ticks;

static void ticks_every(int ms)
{
	const struct timeval t = { .tv_usec = ms * 1000 };

	(void) setitimer(ITIMER_REAL, &(struct itimerval){ .it_interval = t, .it_value = t }, NULL); /* cannot fail with such times */
}

static void tick(int sig)
{
	(void) sig;
	if (++ticks == TICKS_MAX)
		ticks_every(0); /* who begins anew at each has been found out */
}

static void gives_up(struct custodian *c, int flags, const char *text)
{
	struct sigaction catch = { .sa_handler = tick, .sa_flags = flags }, before;
	AUTO(custody_pool) struct custody_pool *p = NULL;
	struct err e = { .code = 0 };
	int64_t begin_us, took_us;

	CU_ASSERT_EQUAL(custody_pool_new(c->sa.sun_path, &p, NULL), 0);
	CU_ASSERT_EQUAL(sigaction(SIGALRM, &catch, &before), 0);
	ticks = 0;
	begin_us = now_us();
	ticks_every(TICK_MS);
	CU_ASSERT_EQUAL(ask(p, &e), -ETIMEDOUT);
	ticks_every(0);
	took_us = now_us() - begin_us;
	CU_ASSERT_EQUAL(sigaction(SIGALRM, &before, NULL), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, text));
	CU_ASSERT_TRUE(ticks > 0);
	CU_ASSERT_TRUE(took_us >= CUSTODY_TIMEOUT_MS * 1000);
	CU_ASSERT_TRUE(took_us < CUSTODY_TIMEOUT_MS * 2000);
}

static void test_silent(void)
{
	struct custodian c;

	custodian_begin(&c);
	gives_up(&c, SA_RESTART, "the custodian did not answer within 2000 ms");
	custodian_end(&c);
}

static void test_full(void)
{
	struct custodian c;

	custodian_begin(&c);
	custodian_fill(&c);
	gives_up(&c, 0, "keyd.sock: Connection timed out");
	custodian_end(&c);
}

/* ---- what happens late does not begin the time anew */

struct late {
	struct custodian custodian;
	int64_t at_us;
};

static void *room_late(void *userdata)
{
	struct late *l = userdata;
	AUTO(fd) int fd = -1;

	(void) poll(NULL, 0, LATE_MS); /* only time passes */
	l->at_us = now_us();
	fd = accept(l->custodian.listen_fd, NULL, NULL);
	return fd >= 0 ? l : NULL;
}

/* Takes a second request and hangs up on it. */
static void *cut_late(void *userdata)
{
	struct late *l = userdata;
	AUTO(fd) int fd = accept(l->custodian.listen_fd, NULL, NULL);
	AUTO(custody_msg) struct custody_msg m = CUSTODY_MSG_EMPTY;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	bool ok = custody_msg_recv(fd, &m, NULL) == 0 && custody_msg_send(fd, &m, NULL) == 0 && custody_msg_recv(fd, &m, NULL) == 0;

	ok = ok && poll(&p, 1, LATE_MS) == 0; /* not before it does */
	l->at_us = now_us();
	return ok ? l : NULL;
}

static void gives_up_once(struct late *l, void *(*happens)(void *), bool reused)
{
	AUTO(custody_pool) struct custody_pool *p = NULL;
	struct err e = { .code = 0 };
	int64_t begin_us, took_us;
	pthread_t thread;
	void *ok = NULL;

	CU_ASSERT_EQUAL(custody_pool_new(l->custodian.sa.sun_path, &p, NULL), 0);
	CU_ASSERT_EQUAL(pthread_create(&thread, NULL, happens, l), 0);
	if (reused)
		CU_ASSERT_EQUAL(ask(p, NULL), 0);
	begin_us = now_us();
	CU_ASSERT_EQUAL(ask(p, &e), -ETIMEDOUT);
	took_us = now_us() - begin_us;
	CU_ASSERT_EQUAL(pthread_join(thread, &ok), 0);
	CU_ASSERT_PTR_NOT_NULL(ok);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "the custodian did not answer within 2000 ms"));
	CU_ASSERT_TRUE(took_us >= CUSTODY_TIMEOUT_MS * 1000);
	CU_ASSERT_TRUE(took_us < l->at_us - begin_us + CUSTODY_TIMEOUT_MS * 1000);
}

static void test_room_late(void)
{
	struct late l = { .at_us = 0 };

	custodian_begin(&l.custodian);
	custodian_fill(&l.custodian);
	gives_up_once(&l, room_late, false);
	custodian_end(&l.custodian);
}

static void test_cut_late(void)
{
	struct late l = { .at_us = 0 };

	custodian_begin(&l.custodian);
	gives_up_once(&l, cut_late, true);
	custodian_end(&l.custodian);
}

/* ---- a program that closes what is not its own */

static void *answer_two(void *userdata)
{
	const struct custodian *c = userdata;

	for (int i = 0; i < 2; i++) {
		AUTO(fd) int fd = accept(c->listen_fd, NULL, NULL);
		AUTO(custody_msg) struct custody_msg m = CUSTODY_MSG_EMPTY;

		if (custody_msg_recv(fd, &m, NULL) < 0 || custody_msg_send(fd, &m, NULL) < 0)
			return NULL;
	}
	return userdata;
}

/* The descriptor of this process that is connected to c. */
static int connected_to(const struct custodian *c)
{
	for (int fd = 0; fd < 1024; fd++) {
		struct sockaddr_un sa = { .sun_family = AF_UNSPEC };
		socklen_t len = sizeof(sa);

		if (getpeername(fd, (struct sockaddr *) &sa, &len) == 0 && strcmp(sa.sun_path, c->sa.sun_path) == 0)
			return fd;
	}
	return -1;
}

static void test_foreign(void)
{
	struct custodian c;
	struct stat opened, now;
	AUTO(custody_pool) struct custody_pool *p = NULL;
	AUTO(fd) int other = open("/dev/null", O_RDWR | O_CLOEXEC);
	pthread_t thread;
	void *ok = NULL;
	int fd;

	custodian_begin(&c);
	CU_ASSERT_EQUAL(custody_pool_new(c.sa.sun_path, &p, NULL), 0);
	CU_ASSERT_EQUAL(pthread_create(&thread, NULL, answer_two, &c), 0);
	CU_ASSERT_EQUAL(ask(p, NULL), 0);
	fd = connected_to(&c);
	CU_ASSERT_TRUE(fd >= 0 && fstat(other, &opened) == 0);
	CU_ASSERT_EQUAL(dup2(other, fd), fd);
	CU_ASSERT_EQUAL(ask(p, NULL), 0); /* over another */
	CU_ASSERT_TRUE(fstat(fd, &now) == 0 && now.st_ino == opened.st_ino);
	CU_ASSERT_EQUAL(pthread_join(thread, &ok), 0);
	CU_ASSERT_PTR_NOT_NULL(ok);
	(void) close(fd);
	fd = connected_to(&c);
	CU_ASSERT_EQUAL(dup2(other, fd), fd);
	custody_pool_free(TAKE(p));
	CU_ASSERT_TRUE(fstat(fd, &now) == 0 && now.st_ino == opened.st_ino);
	(void) close(fd);
	custodian_end(&c);
}

static CU_TestInfo tests[] = {
	{ "a custodian that never answers is given up in time, under signals", test_silent },
	{ "one whose backlog is full likewise", test_full },
	{ "a connection made late leaves only the rest for the answer", test_room_late },
	{ "a dead connection that is made anew likewise", test_cut_late },
	{ "a descriptor that has become the program's is neither used nor closed", test_foreign },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "the time of one operation", NULL, NULL, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

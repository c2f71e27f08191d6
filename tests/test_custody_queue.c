/* What one user's crowd does to itself and to others, and what several workers are for. The custodian's only worker is stopped (ptrace) while requests are sent, so that the queue is
 * what the test says, and it is let go to see whom it serves when. It takes root. */
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "common/auto.h"
#include "keystore/custody_conn.h"
#include "tests/keyd_fixture.h"
#include "tests/test_main.h"

#define LABEL "lent"
#define CROWD_USER "daemon"
#define OTHER_USER "nobody"

enum { QUEUE = 64, ANSWER_MS = 60000 };

static struct keyd keyd;
static struct ks *ks;
static char spki[KS_SPKI_HEX];
static uid_t crowd_uid, other_uid;
static bool there;

static bool uid_get(const char *name, uid_t *ret)
{
	const struct passwd *pw = getpwnam(name);

	*ret = pw ? pw->pw_uid : 0;
	return *ret != 0;
}

static int setup_workers(const char *conf)
{
	static const char *const users[] = { CROWD_USER, OTHER_USER, NULL };
	const struct ks_spec spec = { .label = LABEL, .slot = KS_SLOT_ACTIVE, .bits = 2048, .users = users };

	there = geteuid() == 0 && uid_get(CROWD_USER, &crowd_uid) && uid_get(OTHER_USER, &other_uid);
	if (!there)
		return 0;
	return !keyd_setup(&keyd, conf) || ks_open(keyd.socket, &ks, NULL) < 0 || keyd_make(ks, &spec, spki, NULL) < 0;
}

static int setup_one(void)
{
	return setup_workers("[Keyd]\nWorkers=1\n");
}

static int setup_two(void)
{
	return setup_workers("[Keyd]\nWorkers=2\n");
}

static int setup_default(void)
{
	return setup_workers(NULL);
}

static int teardown(void)
{
	static const char *const labels[] = { LABEL, NULL };

	if (!there)
		return 0;
	ks_close(ks);
	return keyd_teardown(&keyd, labels);
}

/* ---- the worker */

/* How many threads are not the loop's; one of them in *ret. */
static int workers_count(pid_t *ret)
{
	AUTO(dir) DIR *d = NULL;
	struct dirent *entry;
	char path[64];
	int n = 0;

	(void) snprintf(path, sizeof(path), "/proc/%d/task", (int) keyd.pid); /* fits */
	d = opendir(path);
	while (d && (entry = readdir(d))) {
		pid_t tid = (pid_t) strtol(entry->d_name, NULL, 10);

		if (tid > 0 && tid != keyd.pid) {
			*ret = tid;
			n++;
		}
	}
	return n;
}

/* -1 when there is not exactly one. */
static pid_t worker_find(void)
{
	pid_t found = -1;

	return workers_count(&found) == 1 ? found : -1;
}

static char state_of(pid_t tid)
{
	AUTO(file) FILE *f = NULL;
	char path[64], state = '?';

	(void) snprintf(path, sizeof(path), "/proc/%d/stat", (int) tid); /* fits */
	f = fopen(path, "re");
	return f && fscanf(f, "%*d (%*[^)]) %c", &state) == 1 ? state : '?';
}

/* Not before it sleeps: it holds the queue's lock when it is awake. */
static bool worker_stop(pid_t tid)
{
	char state;
	int status;

	while ((state = state_of(tid)) == 'R')
		(void) sched_yield(); /* cannot fail */
	return state == 'S' && ptrace(PTRACE_SEIZE, tid, NULL, NULL) == 0 && ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) == 0 &&
	       waitpid(tid, &status, __WALL) == tid && WIFSTOPPED(status);
}

static bool worker_go(pid_t tid)
{
	return ptrace(PTRACE_DETACH, tid, NULL, NULL) == 0;
}

/* ---- clients, all of them this process: whose a connection is, is settled when it is made */

static int connect_as(uid_t uid)
{
	int fd = -1;

	if (seteuid(uid) < 0)
		return -1;
	if (custody_connect(keyd.socket, &fd, NULL) < 0)
		fd = -1;
	return seteuid(0) < 0 ? -1 : fd;
}

static bool ask(int fd, enum custody_op op)
{
	struct custody_msg m = { .op = op, .id = 1, .label = LABEL, .name = "SHA256", .body = BUF_EMPTY };
	bool ok = buf_set(&m.body, "text", 4) == 0;

	strcpy(m.spki, spki);
	ok = ok && custody_msg_send(fd, &m, NULL) == 0;
	custody_msg_clear(&m);
	return ok;
}

static int answer(int fd, struct custody_msg *ret)
{
	int r = custody_msg_recv(fd, ret, NULL);

	return r < 0 ? r : ret->status;
}

static int answer_status(int fd)
{
	AUTO(custody_msg) struct custody_msg m = CUSTODY_MSG_EMPTY;

	return answer(fd, &m);
}

/* The loop takes what came in one round in an order of its own; what comes in the next, after all of it. */
static bool all_taken(int fd)
{
	return ask(fd, CUSTODY_OP_LIST) && answer_status(fd) == 0 && ask(fd, CUSTODY_OP_LIST) && answer_status(fd) == 0;
}

/* ---- */

struct crowd {
	int fd[QUEUE], late, other, own, epoll;
};

static void crowd_close(struct crowd *c)
{
	for (int i = 0; i < QUEUE; i++)
		auto_fd(&c->fd[i]);
	auto_fd(&c->late);
	auto_fd(&c->other);
	auto_fd(&c->own);
	auto_fd(&c->epoll);
}

static bool watch(int epoll, int fd)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLET, .data = { .fd = fd } };

	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) == 0;
}

static bool crowd_connect(struct crowd *c)
{
	bool ok = true;

	for (int i = 0; i < QUEUE; i++)
		c->fd[i] = connect_as(crowd_uid);
	c->late = connect_as(crowd_uid);
	c->other = connect_as(other_uid);
	c->own = connect_as(0);
	c->epoll = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < QUEUE; i++)
		ok = ok && watch(c->epoll, c->fd[i]);
	return ok && watch(c->epoll, c->other) && c->late >= 0 && c->own >= 0;
}

static void refused(int fd)
{
	static const char text[] = "has 64 requests waiting, at most 64: ask again later";
	AUTO(custody_msg) struct custody_msg m = CUSTODY_MSG_EMPTY;

	CU_ASSERT_TRUE(ask(fd, CUSTODY_OP_SIGN));
	CU_ASSERT_EQUAL(answer(fd, &m), -EBUSY);
	CU_ASSERT_PTR_NOT_NULL(memmem(m.body.data, m.body.len, text, strlen(text)));
}

/* Takes every answer in the order of their coming. Returns at which place the other user's came, from 1. */
static int answers_take(const struct crowd *c)
{
	int place = 0;

	for (int n = 1; n <= QUEUE + 1; n++) {
		struct epoll_event e = { .data = { .fd = -1 } };

		CU_ASSERT_EQUAL(epoll_wait(c->epoll, &e, 1, ANSWER_MS), 1);
		if (e.data.fd < 0)
			break; /* the custodian hangs, or has ended */
		CU_ASSERT_EQUAL(answer_status(e.data.fd), 0);
		if (e.data.fd == c->other)
			place = n;
	}
	return place;
}

static void test_crowd(void)
{
	struct crowd c;
	pid_t worker;

	NEED(there, "not root, or no users " CROWD_USER " and " OTHER_USER);
	worker = worker_find();
	CU_ASSERT_TRUE(crowd_connect(&c));
	CU_ASSERT_TRUE(worker_stop(worker));
	for (int i = 0; i < QUEUE; i++)
		CU_ASSERT_TRUE(ask(c.fd[i], CUSTODY_OP_SIGN));
	CU_ASSERT_TRUE(all_taken(c.own));
	refused(c.late);
	CU_ASSERT_TRUE(ask(c.other, CUSTODY_OP_SIGN));
	CU_ASSERT_TRUE(all_taken(c.own));
	CU_ASSERT_TRUE(worker_go(worker));
	CU_ASSERT_EQUAL(answers_take(&c), 2); /* after the one of the crowd that had its turn */
	CU_ASSERT_TRUE(ask(c.late, CUSTODY_OP_SIGN));
	CU_ASSERT_EQUAL(answer_status(c.late), 0);
	crowd_close(&c);
}

static bool is_quiet(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 0;
}

/* The asker has given up by then. */
static void test_late(void)
{
	static const char text[] = "the request has waited for more than 2000 ms";
	AUTO(custody_msg) struct custody_msg m = CUSTODY_MSG_EMPTY;
	AUTO(fd) int fd = -1;
	pid_t worker;

	NEED(there, "not root, or no users " CROWD_USER " and " OTHER_USER);
	worker = worker_find();
	fd = connect_as(crowd_uid);
	CU_ASSERT_TRUE(worker_stop(worker));
	CU_ASSERT_TRUE(ask(fd, CUSTODY_OP_SIGN));
	CU_ASSERT_TRUE(is_quiet(fd, CUSTODY_TIMEOUT_MS + 100));
	CU_ASSERT_TRUE(worker_go(worker));
	CU_ASSERT_EQUAL(answer(fd, &m), -ETIMEDOUT);
	CU_ASSERT_PTR_NOT_NULL(memmem(m.body.data, m.body.len, text, strlen(text)));
	CU_ASSERT_TRUE(ask(fd, CUSTODY_OP_SIGN));
	CU_ASSERT_EQUAL(answer_status(fd), 0);
}

/* That they work at once, and not one after another, test_jobs shows. */
static void test_two_workers(void)
{
	pid_t worker;

	NEED(there, "not root, or no users " CROWD_USER " and " OTHER_USER);
	CU_ASSERT_EQUAL(workers_count(&worker), 2);
}

static void test_default_workers(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	pid_t worker;

	NEED(there, "not root, or no users " CROWD_USER " and " OTHER_USER);
	CU_ASSERT_EQUAL(workers_count(&worker), cores < 8 ? cores : 8);
}

static CU_TestInfo tests_two[] = { { "there are as many as are configured", test_two_workers }, CU_TEST_INFO_NULL };
static CU_TestInfo tests_default[] = { { "there is one for each core", test_default_workers }, CU_TEST_INFO_NULL };
static CU_TestInfo tests[] = {
	{ "64 requests of a user wait, the next is refused, and another user is served in turn", test_crowd },
	{ "what is served too late is told so, not computed", test_late },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = {
	{ "a crowd", setup_one, teardown, NULL, NULL, tests },
	{ "two workers", setup_two, teardown, NULL, NULL, tests_two },
	{ "workers as they are by default", setup_default, teardown, NULL, NULL, tests_default },
	CU_SUITE_INFO_NULL,
};

/* Connections that do nothing, by the hundred: the custodian's socket is open to all users, and none keeps another out. Takes root. */
#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <string.h>
#include <sys/wait.h>

#include "common/auto_ssl.h"
#include "keystore/custody_conn.h"
#include "tests/keyd_fixture.h"
#include "tests/test_main.h"

enum { STRANGERS = 4, EACH = 128, MANY = 200, FIRST_UID = 70001 };

static struct keyd keyd;
static struct ks *ks;
static EVP_PKEY *key;

static const char *const labels[] = { "lent", "slow", NULL };

static int setup(void)
{
	static const char *const users[] = { "daemon", NULL };
	struct ks_spec spec = { .label = "lent", .slot = KS_SLOT_ACTIVE, .bits = 2048, .users = users };
	char spki[KS_SPKI_HEX];
	struct ks_key facts;

	if (geteuid() != 0)
		return 0;
	return keyd_setup(&keyd, NULL) && ks_open(keyd.socket, &ks, NULL) == 0 && keyd_make(ks, &spec, spki, NULL) == 0 &&
			       ks_load(ks, "lent", KS_SLOT_ACTIVE, NULL, &key, &facts, NULL) == 0
		       ? 0
		       : 1;
}

static int teardown(void)
{
	if (geteuid() != 0)
		return 0;
	EVP_PKEY_free(key);
	ks_close(ks);
	return keyd_teardown(&keyd, labels);
}

static bool user_become(uid_t uid)
{
	return setgroups(0, NULL) == 0 && setresgid(uid, uid, uid) == 0 && setresuid(uid, uid, uid) == 0;
}

static bool connections_open(int *fd, int n)
{
	for (int i = 0; i < n; i++)
		if (custody_connect(keyd.socket, &fd[i], NULL) < 0)
			return false;
	return true;
}

static void connections_close(const int *fd, int n)
{
	for (int i = 0; i < n; i++)
		(void) close(fd[i]);
}

static bool is_closed(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP);
}

/* A stranger's child: says by a byte that its connections stand, and holds them until `hold` ends. */
static pid_t stranger_start(uid_t uid, int ready, const int hold[2])
{
	int fd[EACH];
	char byte = 0;
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	(void) close(hold[1]);
	if (!user_become(uid) || !connections_open(fd, EACH) || write(ready, &byte, 1) != 1)
		_exit(1);
	_exit(read(hold[0], &byte, 1) == 0 ? 0 : 1);
}

/* What a lent key's user gets, who comes now for the first time. */
static int lent_user_works(void)
{
	const struct passwd *pw = getpwnam("daemon");
	pid_t pid = pw ? fork() : -1;
	int status;

	if (pid == 0)
		_exit(user_become(pw->pw_uid) && keyd_key_works(key) ? 0 : 1); /* the handle's connection is the parent's: it makes its own */
	return pid > 0 && waitpid(pid, &status, 0) == pid ? status : -1;
}

static bool strangers_wait(int ready, int n)
{
	char byte;

	while (n > 0 && read(ready, &byte, 1) == 1)
		n--;
	return n == 0;
}

static void test_strangers(void)
{
	int ready[2], hold[2], status;
	pid_t pid[STRANGERS];

	NEED(geteuid() == 0, "not root");
	CU_ASSERT_TRUE(pipe(ready) == 0 && pipe(hold) == 0);
	for (int i = 0; i < STRANGERS; i++)
		pid[i] = stranger_start(FIRST_UID + (uid_t) i, ready[1], hold);
	(void) close(ready[1]);
	CU_ASSERT_TRUE(strangers_wait(ready[0], STRANGERS));
	for (int i = 0; i < 8; i++) { /* each a connection of its own */
		AUTO(ks) struct ks *mine = NULL;
		struct ks_key facts;

		CU_ASSERT_EQUAL(ks_open(keyd.socket, &mine, NULL), 0);
		CU_ASSERT_EQUAL(mine ? ks_load(mine, "lent", KS_SLOT_ACTIVE, NULL, NULL, &facts, NULL) : -1, 0);
		CU_ASSERT_EQUAL(lent_user_works(), 0);
	}
	CU_ASSERT_TRUE(keyd_key_works(key));
	(void) close(hold[1]);
	for (int i = 0; i < STRANGERS; i++)
		CU_ASSERT_TRUE(waitpid(pid[i], &status, 0) == pid[i] && status == 0);
	(void) close(ready[0]);
	(void) close(hold[0]);
}

/* The user's own oldest make room; one at work is none of them. */
static void test_own(void)
{
	struct ks_spec spec = { .label = "slow", .slot = KS_SLOT_ACTIVE, .bits = 4096 };
	int fd[MANY], slow = -1, n_closed = 0, r;
	char spki[KS_SPKI_HEX];

	NEED(geteuid() == 0, "not root");
	CU_ASSERT_EQUAL(ks_generate(ks, &spec, &slow, spki, NULL), 0); /* begun */
	CU_ASSERT_TRUE(connections_open(fd, MANY));
	CU_ASSERT_TRUE(keyd_key_works(key)); /* after which all have been taken in */
	for (int i = 0; i < MANY; i++)
		n_closed += is_closed(fd[i]);
	CU_ASSERT_TRUE(n_closed >= MANY - EACH);
	CU_ASSERT_TRUE(n_closed < MANY - EACH + 8);
	CU_ASSERT_TRUE(is_closed(fd[0]));
	CU_ASSERT_FALSE(is_closed(fd[MANY - 1]));
	do {
		struct pollfd p = { .fd = slow, .events = POLLIN };

		CU_ASSERT_EQUAL(poll(&p, 1, 120000), 1);
		r = ks_generate(ks, &spec, &slow, spki, NULL);
	} while (r == -EAGAIN);
	CU_ASSERT_EQUAL(r, 0);
	connections_close(fd, MANY);
}

static CU_TestInfo tests[] = {
	{ "four strangers' idle connections keep nobody out", test_strangers },
	{ "a user's 129th connection closes its oldest idle one", test_own },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "connections", setup, teardown, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

/* A device that hangs: whoever waits for it is answered, though nobody asks for anything meanwhile, and it is used again when it answers. It takes as long
 * as a device may take for one request. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/auto.h"
#include "keystore/custody_conn.h"
#include "tests/keyd_fixture.h"
#include "tests/test_main.h"

enum { HUNG_MS = 40000 }; /* TOKEN_OPERATION_SEC, and some */

static struct keyd keyd;
static char fifo[128];

static int setup(void)
{
	const char *build = getenv("top_builddir");
	char program[256];

	(void) snprintf(program, sizeof(program), "%s/tests/keyd_hanging", build ? build : ".");
	return setenv("KEYROLL_KEYD", program, 1) < 0 || unsetenv("KEYROLL_PROTECTION") < 0;
}

static bool custodian_start(void)
{
	(void) snprintf(fifo, sizeof(fifo), "/tmp/keyroll-hang.%d", (int) getpid());
	return setenv("KEYROLL_TEST_HANG", fifo, 1) == 0 && keyd_setup(&keyd, "[Token]\nProvider=default\n");
}

static int asked_level(void)
{
	struct custody_msg m = { .op = CUSTODY_OP_LEVEL, .id = 1, .protection = KS_PROTECTION_TOKEN, .body = BUF_EMPTY };
	int fd = -1;

	if (custody_connect(keyd.socket, &fd, NULL) < 0 || custody_msg_send(fd, &m, NULL) < 0)
		auto_fd(&fd);
	return fd;
}

static bool is_answered(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

static void answer_is(int fd, int status, const char *words)
{
	AUTO(custody_msg) struct custody_msg m = CUSTODY_MSG_EMPTY;

	CU_ASSERT_EQUAL(custody_msg_recv(fd, &m, NULL), 0);
	CU_ASSERT_EQUAL(m.status, status);
	CU_ASSERT_TRUE(!words || memmem(m.body.data, m.body.len, words, strlen(words)) != NULL);
}

static void device_let_go(void)
{
	AUTO(fd) int fd = open(fifo, O_WRONLY | O_CLOEXEC | O_NONBLOCK); /* fails when nobody hangs on it */

	CU_ASSERT_TRUE(fd >= 0);
	CU_ASSERT_EQUAL(unlink(fifo), 0);
}

static void generate_is_given_up(struct ks *ks, const struct ks_spec *spec, int *fd)
{
	char spki[KS_SPKI_HEX];
	struct err e = { .code = 0 };

	CU_ASSERT_TRUE(is_answered(*fd, HUNG_MS));
	CU_ASSERT_EQUAL(ks_generate(ks, spec, fd, spki, &e), -ENODEV);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "the token does not answer"));
}

static void test_waiters(void)
{
	static const char *const labels[] = { NULL };
	const struct ks_spec spec = { .label = "tp", .slot = KS_SLOT_ACTIVE, .bits = 2048, .protection = KS_PROTECTION_TOKEN };
	AUTO(fd) int at_device = -1, waits = -1, later = -1;
	char spki[KS_SPKI_HEX];
	struct ks *ks = NULL;
	int made = -1;

	CU_ASSERT_TRUE(custodian_start());
	CU_ASSERT_EQUAL(ks_open(keyd.socket, &ks, NULL), 0);
	CU_ASSERT_EQUAL(mkfifo(fifo, 0600), 0);
	at_device = asked_level();
	waits = asked_level();
	CU_ASSERT_EQUAL(ks_generate(ks, &spec, &made, spki, NULL), 0);
	CU_ASSERT_TRUE(is_answered(waits, HUNG_MS));
	answer_is(waits, -ENOTSUP, "has not answered for 3");
	generate_is_given_up(ks, &spec, &made);
	CU_ASSERT_FALSE(is_answered(at_device, 0));
	later = asked_level();
	CU_ASSERT_TRUE(is_answered(later, CUSTODY_TIMEOUT_MS));
	answer_is(later, -ENOTSUP, "has not answered for 3");
	device_let_go();
	CU_ASSERT_TRUE(is_answered(at_device, CUSTODY_TIMEOUT_MS));
	answer_is(at_device, 0, NULL);
	CU_ASSERT_EQUAL(ks_level(ks, KS_PROTECTION_TOKEN, NULL), 0);
	ks_close(ks);
	CU_ASSERT_EQUAL(keyd_teardown(&keyd, labels), 0);
}

static CU_TestInfo tests[] = {
	{ "who waits is answered, and it is used again when it answers", test_waiters },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "a device that hangs", setup, NULL, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

#include "tests/test_main.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/log.h"

/* stderr into a file while one thing is logged. */
static struct {
	int saved, file;
	char text[4096];
} t;

static void capture_begin(void)
{
	char name[] = "/tmp/keyroll-log-XXXXXX";

	t.file = mkostemp(name, O_CLOEXEC);
	CU_ASSERT(t.file >= 0);
	CU_ASSERT_EQUAL(unlink(name), 0);
	t.saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	CU_ASSERT(dup2(t.file, STDERR_FILENO) >= 0);
}

static const char *capture_end(void)
{
	ssize_t n = pread(t.file, t.text, sizeof(t.text) - 1, 0);

	t.text[n > 0 ? n : 0] = '\0';
	CU_ASSERT(dup2(t.saved, STDERR_FILENO) >= 0);
	(void) close(t.saved); /* only read from here on */
	(void) close(t.file);  /* as above */
	return t.text;
}

static void event_is_one_line_with_its_mnemonic_and_fields(void)
{
	const struct log_fields fields = { .trustpoint = "a", .serial = "1F", .due_sec = 1767225600 };

	capture_begin();
	log_open("keyrolld", LOG_INFO);
	log_event(LOG_EV_CERT_INSTALL, &fields, "installed %d", 1);
	log_event(LOG_EV_CERT_INSTALL, NULL, "bare");
	CU_ASSERT_STRING_EQUAL(capture_end(), "notice keyrolld: CERT_INSTALL: installed 1 (trustpoint=a serial=1F due=2026-01-01T00:00:00Z)\n"
					      "notice keyrolld: CERT_INSTALL: bare\n");
}

static void lower_levels_are_left_out(void)
{
	capture_begin();
	log_open("keyrolld", LOG_NOTICE);
	log_line(LOG_INFO, "not this");
	log_event(LOG_EV_STARTED, NULL, "nor this"); /* LOG_INFO */
	log_line(LOG_NOTICE, "this");
	log_open("keyrolld", LOG_DEBUG);
	log_line(LOG_DEBUG, "and this");
	CU_ASSERT_STRING_EQUAL(capture_end(), "notice keyrolld: this\ndebug keyrolld: and this\n");
}

static void peers_cannot_forge_a_line(void)
{
	const struct log_fields fields = { .trustpoint = "a\nerror keyrolld: forged" };

	capture_begin();
	log_open("keyrolld", LOG_INFO);
	log_event(LOG_EV_CERT_INSTALL, &fields, "subject %s", "x\nalert: \x1b[2J\xff");
	CU_ASSERT_STRING_EQUAL(capture_end(), "notice keyrolld: CERT_INSTALL: subject x\\x0aalert: \\x1b[2J\\xff (trustpoint=a\\x0aerror keyrolld: "
					      "forged)\n");
}

static void long_text_is_cut_to_one_line(void)
{
	static char big[8000];
	const char *text;

	memset(big, '\n', sizeof(big) - 1);
	capture_begin();
	log_open("keyrolld", LOG_INFO);
	log_line(LOG_ERR, "%s", big);
	text = capture_end();
	CU_ASSERT(strlen(text) < 2048);
	CU_ASSERT_PTR_EQUAL(strchr(text, '\n'), text + strlen(text) - 1);
}

static void error_is_told_with_its_cause_and_returned(void)
{
	struct err e = { 0 };

	(void) err_set(&e, -EBADMSG, "odd length");
	capture_begin();
	log_open("keyrolld", LOG_INFO);
	CU_ASSERT_EQUAL(log_err(-EBADMSG, &e, "reply of %s", "ca"), -EBADMSG);
	CU_ASSERT_EQUAL(log_err(-ENOENT, NULL, "file"), -ENOENT);
	CU_ASSERT_STRING_EQUAL(capture_end(), "error keyrolld: reply of ca: odd length\nerror keyrolld: file: No such file or directory\n");
}

/* A child inherits JOURNAL_STREAM although its stderr goes elsewhere. */
static void foreign_journal_stream_is_not_believed(void)
{
	capture_begin();
	CU_ASSERT_EQUAL(setenv("JOURNAL_STREAM", "1:1", 1), 0);
	log_open("keyrolld", LOG_INFO);
	log_line(LOG_INFO, "to stderr");
	CU_ASSERT_EQUAL(setenv("JOURNAL_STREAM", "junk", 1), 0);
	log_open("keyrolld", LOG_INFO);
	log_line(LOG_INFO, "too");
	CU_ASSERT_STRING_EQUAL(capture_end(), "info keyrolld: to stderr\ninfo keyrolld: too\n");
	CU_ASSERT_EQUAL(unsetenv("JOURNAL_STREAM"), 0);
}

static void own_journal_stream_is_believed(void)
{
	char stream[64];
	struct stat st = { 0 };

	capture_begin();
	CU_ASSERT_EQUAL(fstat(STDERR_FILENO, &st), 0);
	(void) snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long) st.st_dev, (unsigned long long) st.st_ino); /* fits */
	CU_ASSERT_EQUAL(setenv("JOURNAL_STREAM", stream, 1), 0);
	log_open("keyroll-test", LOG_DEBUG);
	log_line(LOG_DEBUG, "test of the journal's way");
	CU_ASSERT_STRING_EQUAL(capture_end(), ""); /* it went to the journal, if there is one */
	CU_ASSERT_EQUAL(unsetenv("JOURNAL_STREAM"), 0);
	log_open("keyroll-test", LOG_INFO);
}

static CU_TestInfo tests[] = {
	{ "an event is one line with its mnemonic and fields", event_is_one_line_with_its_mnemonic_and_fields },
	{ "lower levels are left out", lower_levels_are_left_out },
	{ "peers cannot forge a line", peers_cannot_forge_a_line },
	{ "long text is cut to one line", long_text_is_cut_to_one_line },
	{ "an error is told with its cause and returned", error_is_told_with_its_cause_and_returned },
	{ "a foreign JOURNAL_STREAM is not believed", foreign_journal_stream_is_not_believed },
	{ "our own JOURNAL_STREAM is believed", own_journal_stream_is_believed },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = {
	{ "log", NULL, NULL, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

#include "tests/test_main.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/buf.h"
#include "common/ctl.h"
#include "common/fs.h"
#include "common/limits.h"

#define TIMEOUT_MS 10000 /* of a broken build; a good one never waits */

static const char interface[] = "# what the test answers\ninterface org.keyroll.test\nmethod Echo() -> ()\n";

/* One server in one loop; the asking happens in a thread, or by hand on a raw socket. */
static struct {
	char top[32], path[64];
	sd_event *event;
	struct ctl_server *server;
	struct ctl_call *kept;
	int calls;
} t;

static void method_echo(void *userdata, struct ctl_call *call, json_t *params)
{
	CU_ASSERT_PTR_EQUAL(userdata, &t);
	t.calls++;
	ctl_reply(call, json_incref(params));
}

static void method_fail(void *userdata, struct ctl_call *call, json_t *params)
{
	(void) userdata, (void) params; /* fails whatever they say */
	t.calls++;
	ctl_error(call, "NoSuchTrustpoint", "pkictl list", "no trustpoint %s", "x\xff\ny");
}

static void method_keep(void *userdata, struct ctl_call *call, json_t *params)
{
	(void) userdata, (void) params; /* answered later */
	t.calls++;
	t.kept = call;
}

/* As many bytes of text as asked for. */
static void method_huge(void *userdata, struct ctl_call *call, json_t *params)
{
	size_t len = (size_t) json_integer_value(json_object_get(params, "bytes"));
	AUTO(mem) char *text = malloc(len + 1);

	(void) userdata; /* not needed */
	if (!text) {
		ctl_reply(call, NULL);
		return;
	}
	memset(text, 'x', len);
	text[len] = '\0';
	ctl_reply(call, json_pack("{s:s}", "text", text));
}

static const struct ctl_method methods[] = {
	{ "org.keyroll.test.Echo", false, method_echo }, { "org.keyroll.test.Change", true, method_echo },
	{ "org.keyroll.test.Fail", false, method_fail }, { "org.keyroll.test.Keep", false, method_keep },
	{ "org.keyroll.test.Huge", false, method_huge }, { NULL, false, NULL },
};

static int server_start(void)
{
	int fd;

	t.kept = NULL;
	t.calls = 0;
	(void) strcpy(t.top, "/tmp/keyroll-ctl-XXXXXX"); /* fits */
	if (!mkdtemp(t.top) || chmod(t.top, 0755) < 0)
		return -1;
	(void) snprintf(t.path, sizeof(t.path), "%s/sock", t.top); /* fits */
	fd = ctl_listen(t.path, 0666, NULL);
	if (fd < 0 || sd_event_new(&t.event) < 0)
		return -1;
	return ctl_server_new(t.event, fd, interface, methods, &t, &t.server, NULL);
}

static int server_stop(void)
{
	ctl_server_free(t.server);
	t.event = sd_event_unref(t.event);
	return fs_remove_tree(t.top, NULL) < 0;
}

static void fixture_up(void)
{
	CU_ASSERT_EQUAL_FATAL(server_start(), 0);
}

static void fixture_down(void)
{
	CU_ASSERT_EQUAL(server_stop(), 0);
}

struct question {
	const char *method;
	json_t *params, *reply;
	struct ctl_failure failure;
	struct err err;
	int r, done_fd;
};

static void *question_thread(void *arg)
{
	struct question *q = arg;

	q->r = ctl_ask(t.path, q->method, q->params, TIMEOUT_MS, &q->reply, &q->failure, &q->err);
	(void) close(q->done_fd); /* the loop sees it */
	return NULL;
}

static int done_event(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	(void) source, (void) fd, (void) revents; /* the thread is ready */
	*(bool *) userdata = true;
	return 0;
}

/* ctl_ask in a thread, the server's loop here until it has its answer. */
static int ask(struct question *q)
{
	sd_event_source *source = NULL;
	bool done = false;
	pthread_t thread;
	int pair[2], r;

	if (pipe2(pair, O_CLOEXEC) < 0)
		return -1;
	q->done_fd = pair[1];
	r = sd_event_add_io(t.event, &source, pair[0], POLLIN, done_event, &done);
	if (r < 0 || pthread_create(&thread, NULL, question_thread, q) != 0)
		return -1;
	while (!done && sd_event_run(t.event, (uint64_t) TIMEOUT_MS * 1000) > 0)
		;
	(void) pthread_join(thread, NULL); /* it has run to its end */
	(void) sd_event_source_disable_unref(source); /* returns NULL */
	(void) close(pair[0]);			      /* nothing was written */
	return 0;
}

/* A client by hand, for what ctl_ask never sends. */
static int raw_connect(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void) snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", t.path); /* fits */
	if (fd >= 0 && connect(fd, (struct sockaddr *) &sa, sizeof(sa)) < 0)
		(void) close(fd); /* the test sees the writes fail */
	return fd;
}

/* Runs the loop until nothing is ready in it. */
static void loop_settle(void)
{
	while (sd_event_run(t.event, 0) > 0)
		;
}

/* What the server sent so far; -1: nothing yet, 0: closed. */
static ssize_t raw_read(int fd, char *out, size_t size)
{
	ssize_t n;

	loop_settle();
	n = recv(fd, out, size - 1, 0);
	out[n > 0 ? n : 0] = '\0';
	return n;
}

#define SEND(fd, literal) CU_ASSERT_EQUAL(send(fd, literal, sizeof(literal), MSG_NOSIGNAL), (ssize_t) sizeof(literal))

static void frames_end_in_nul_and_are_bounded(void)
{
	AUTO(mem) char *big = malloc(LIMIT_CTL_MESSAGE_BYTES + 2);

	CU_ASSERT_EQUAL(ctl_frame("{}\0{", 4), 2);
	CU_ASSERT_EQUAL(ctl_frame("{}", 2), -EAGAIN);
	CU_ASSERT_EQUAL(ctl_frame("\0", 1), 0);
	CU_ASSERT_EQUAL(ctl_frame(NULL, 0), -EAGAIN);
	memset(big, 'x', LIMIT_CTL_MESSAGE_BYTES + 2);
	CU_ASSERT_EQUAL(ctl_frame(big, LIMIT_CTL_MESSAGE_BYTES), -EAGAIN);
	CU_ASSERT_EQUAL(ctl_frame(big, LIMIT_CTL_MESSAGE_BYTES + 1), -EMSGSIZE);
	big[LIMIT_CTL_MESSAGE_BYTES + 1] = '\0';
	CU_ASSERT_EQUAL(ctl_frame(big, LIMIT_CTL_MESSAGE_BYTES + 2), -EMSGSIZE);
	big[LIMIT_CTL_MESSAGE_BYTES] = '\0';
	CU_ASSERT_EQUAL(ctl_frame(big, LIMIT_CTL_MESSAGE_BYTES + 1), LIMIT_CTL_MESSAGE_BYTES);
}

static void question_comes_back(void)
{
	struct question q = { .method = "org.keyroll.test.Echo", .params = json_pack("{s:s, s:i}", "name", "a", "n", 7) };

	CU_ASSERT_EQUAL(ask(&q), 0);
	CU_ASSERT_EQUAL(q.r, 0);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(q.reply, "name")), "a");
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(q.reply, "n")), 7);
	CU_ASSERT_EQUAL(t.calls, 1);
	json_decref(q.reply);
}

static void question_without_parameters_is_fine(void)
{
	struct question q = { .method = "org.keyroll.test.Change" };

	CU_ASSERT_EQUAL(ask(&q), 0);
	CU_ASSERT_EQUAL(q.r, 0); /* we are the daemon's own user */
	CU_ASSERT(json_is_object(q.reply));
	json_decref(q.reply);
}

static void error_has_name_message_and_next_step(void)
{
	struct question q = { .method = "org.keyroll.test.Fail" };

	CU_ASSERT_EQUAL(ask(&q), 0);
	CU_ASSERT_EQUAL(q.r, -EREMOTEIO);
	CU_ASSERT_STRING_EQUAL(q.failure.error, "org.keyroll.test.NoSuchTrustpoint");
	CU_ASSERT_STRING_EQUAL(q.failure.message, "no trustpoint x??y");
	CU_ASSERT_STRING_EQUAL(q.failure.do_text, "pkictl list");
	CU_ASSERT_STRING_EQUAL(q.err.text, "no trustpoint x??y");
}

static void unknown_method_is_said_in_varlinks_words(void)
{
	struct question q = { .method = "org.keyroll.test.Nothing" };

	CU_ASSERT_EQUAL(ask(&q), 0);
	CU_ASSERT_EQUAL(q.r, -EREMOTEIO);
	CU_ASSERT_STRING_EQUAL(q.failure.error, "org.varlink.service.MethodNotFound");
	CU_ASSERT_STRING_EQUAL(q.failure.message, "MethodNotFound: org.keyroll.test.Nothing");
	CU_ASSERT_EQUAL(t.calls, 0);
}

static void interface_is_described(void)
{
	struct question q = { .method = "org.varlink.service.GetInfo" };
	struct question d = { .method = "org.varlink.service.GetInterfaceDescription",
			      .params = json_pack("{s:s}", "interface", "org.keyroll.test") };
	struct question other = { .method = "org.varlink.service.GetInterfaceDescription",
				  .params = json_pack("{s:s}", "interface", "org.example") };

	CU_ASSERT_EQUAL(ask(&q), 0);
	CU_ASSERT_EQUAL(q.r, 0);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_array_get(json_object_get(q.reply, "interfaces"), 1)), "org.keyroll.test");
	json_decref(q.reply);
	CU_ASSERT_EQUAL(ask(&d), 0);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(d.reply, "description")), interface);
	json_decref(d.reply);
	CU_ASSERT_EQUAL(ask(&other), 0);
	CU_ASSERT_STRING_EQUAL(other.failure.error, "org.varlink.service.InterfaceNotFound");
}

static void too_large_an_answer_becomes_an_error(void)
{
	const size_t frame = sizeof("{\"parameters\":{\"text\":\"\"}}") - 1, largest = LIMIT_CTL_REPLY_BYTES - frame;
	struct question fits = { .method = "org.keyroll.test.Huge", .params = json_pack("{s:I}", "bytes", (json_int_t) largest) };
	struct question q = { .method = "org.keyroll.test.Huge", .params = json_pack("{s:I}", "bytes", (json_int_t) largest + 1) };

	CU_ASSERT_EQUAL(ask(&fits), 0);
	CU_ASSERT_EQUAL(fits.r, 0);
	CU_ASSERT_EQUAL(json_string_length(json_object_get(fits.reply, "text")), largest);
	json_decref(fits.reply);
	CU_ASSERT_EQUAL(ask(&q), 0);
	CU_ASSERT_EQUAL(q.r, -EREMOTEIO);
	CU_ASSERT_STRING_EQUAL(q.failure.error, "org.varlink.service.ReplyTooLarge");
}

static void nobody_at_the_socket_is_told_apart(void)
{
	struct ctl_failure f;
	struct err e = { 0 };
	json_t *reply;
	int fd;

	CU_ASSERT_EQUAL(ctl_ask("/nonexistent/sock", "a.B", NULL, TIMEOUT_MS, &reply, &f, &e), -ENOENT);
	CU_ASSERT_STRING_EQUAL(f.error, "");
	(void) snprintf(t.path, sizeof(t.path), "%s/dead", t.top); /* fits */
	fd = ctl_listen(t.path, 0600, NULL);
	CU_ASSERT(fd >= 0);
	/* somebody listens but never answers: the deadline ends it */
	CU_ASSERT_EQUAL(ctl_ask(t.path, "a.B", NULL, 1, &reply, &f, &e), -ETIMEDOUT);
	CU_ASSERT_EQUAL(close(fd), 0);
	CU_ASSERT_EQUAL(ctl_ask(t.path, "a.B", json_object(), TIMEOUT_MS, &reply, &f, &e), -ECONNREFUSED);
}

static void kept_call_is_answered_later_and_the_next_waits(void)
{
	AUTO(fd) int fd = raw_connect();
	char text[256];

	SEND(fd, "{\"method\":\"org.keyroll.test.Keep\"}");
	SEND(fd, "{\"method\":\"org.keyroll.test.Echo\",\"parameters\":{\"n\":2}}");
	CU_ASSERT_EQUAL(raw_read(fd, text, sizeof(text)), -1);
	CU_ASSERT_EQUAL(t.calls, 1);
	CU_ASSERT_EQUAL(ctl_call_uid(t.kept), geteuid());
	ctl_reply(t.kept, json_pack("{s:i}", "n", 1));
	CU_ASSERT_EQUAL(raw_read(fd, text, sizeof(text)), sizeof("{\"parameters\":{\"n\":1}}") * 2);
	CU_ASSERT_STRING_EQUAL(text, "{\"parameters\":{\"n\":1}}");
	CU_ASSERT_STRING_EQUAL(text + sizeof("{\"parameters\":{\"n\":1}}"), "{\"parameters\":{\"n\":2}}");
	CU_ASSERT_EQUAL(t.calls, 2);
}

static void client_may_vanish_before_the_answer(void)
{
	int fd = raw_connect();

	SEND(fd, "{\"method\":\"org.keyroll.test.Keep\"}");
	loop_settle();
	CU_ASSERT_PTR_NOT_NULL(t.kept);
	CU_ASSERT_EQUAL(close(fd), 0);
	loop_settle();
	ctl_error(t.kept, "Failed", "again", "nobody hears it");
	t.calls = 0;
	question_comes_back(); /* the server lives */
}

static void half_closed_client_still_gets_its_answer(void)
{
	AUTO(fd) int fd = raw_connect();
	char text[64];

	SEND(fd, "{\"method\":\"org.keyroll.test.Keep\"}");
	CU_ASSERT_EQUAL(shutdown(fd, SHUT_WR), 0);
	CU_ASSERT_EQUAL(raw_read(fd, text, sizeof(text)), -1);
	ctl_reply(t.kept, NULL);
	CU_ASSERT(raw_read(fd, text, sizeof(text)) > 0);
	CU_ASSERT_STRING_EQUAL(text, "{\"parameters\":{}}");
	CU_ASSERT_EQUAL(raw_read(fd, text, sizeof(text)), 0);
}

static void call_survives_its_server(void)
{
	AUTO(fd) int fd = raw_connect();
	char text[256];

	SEND(fd, "{\"method\":\"org.keyroll.test.Keep\"}");
	loop_settle();
	ctl_server_free(t.server);
	t.server = NULL;
	CU_ASSERT(raw_read(fd, text, sizeof(text)) > 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "org.varlink.service.Disconnected"));
	ctl_reply(t.kept, NULL); /* into nothing, and released */
}

static void oneway_is_run_and_not_answered(void)
{
	AUTO(fd) int fd = raw_connect();
	char text[64];

	SEND(fd, "{\"method\":\"org.keyroll.test.Echo\",\"oneway\":true}");
	CU_ASSERT_EQUAL(raw_read(fd, text, sizeof(text)), -1);
	CU_ASSERT_EQUAL(t.calls, 1);
	SEND(fd, "{\"method\":\"org.keyroll.test.Echo\",\"more\":true}");
	CU_ASSERT(raw_read(fd, text, sizeof(text)) > 0);
	CU_ASSERT_STRING_EQUAL(text, "{\"parameters\":{}}"); /* one answer, which does not say that it continues */
}

static void bad_messages_close_the_connection(void)
{
	static const char *const bad[] = {
		"",	       "{",
		"[]",	       "{}",
		"{\"method\":1}", "{\"method\":\"org.keyroll.test.Echo\",\"parameters\":[]}",
		"{\"method\":\"a.B\",\"method\":\"org.keyroll.test.Echo\"}", "{\"method\":\"org.keyroll.test.Echo\"}x",
		"{\"method\":\"org.keyroll.test.Echo\",\"upgrade\":true}", "{\"method\":\"org.keyroll.test.\xff\"}",
		"{\"method\":\"org.keyroll.test.Echo\",\"parameters\":{\"a\":\"\\u0000\"}}",
	};
	char text[64];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		AUTO(fd) int fd = raw_connect();

		CU_ASSERT_EQUAL(send(fd, bad[i], strlen(bad[i]) + 1, MSG_NOSIGNAL), (ssize_t) strlen(bad[i]) + 1);
		CU_ASSERT_EQUAL(raw_read(fd, text, sizeof(text)), 0);
	}
	CU_ASSERT_EQUAL(t.calls, 0);
}

/* Until the server takes no more: n bytes sent. */
static size_t flood(int fd, const char *data, size_t len)
{
	size_t sent = 0;
	ssize_t n;

	while (sent < len && ((n = send(fd, data + sent, len - sent, MSG_NOSIGNAL)) > 0 || errno == EAGAIN)) {
		sent += n > 0 ? (size_t) n : 0;
		loop_settle();
	}
	return sent;
}

static void oversized_message_closes_the_connection(void)
{
	AUTO(mem) char *big = malloc(LIMIT_CTL_MESSAGE_BYTES * 2);
	AUTO(fd) int fd = raw_connect();
	AUTO(fd) int good = raw_connect();
	char text[256];

	memset(big, ' ', LIMIT_CTL_MESSAGE_BYTES * 2);
	CU_ASSERT(flood(fd, big, LIMIT_CTL_MESSAGE_BYTES * 2) < LIMIT_CTL_MESSAGE_BYTES * 2);
	/* the largest that is allowed is answered */
	memcpy(big, "{\"method\":\"org.keyroll.test.Echo\"}", 34);
	big[LIMIT_CTL_MESSAGE_BYTES] = '\0';
	CU_ASSERT_EQUAL(flood(good, big, LIMIT_CTL_MESSAGE_BYTES + 1), LIMIT_CTL_MESSAGE_BYTES + 1);
	CU_ASSERT(raw_read(good, text, sizeof(text)) > 0);
	CU_ASSERT_STRING_EQUAL(text, "{\"parameters\":{}}");
}

static void message_in_pieces_is_put_together(void)
{
	static const char message[] = "{\"method\":\"org.keyroll.test.Echo\"}";
	AUTO(fd) int fd = raw_connect();
	char text[64];
	size_t i;

	for (i = 0; i < sizeof(message); i++) {
		CU_ASSERT_EQUAL(t.calls, 0);
		CU_ASSERT_EQUAL(send(fd, message + i, 1, MSG_NOSIGNAL), 1);
		loop_settle();
	}
	CU_ASSERT(raw_read(fd, text, sizeof(text)) > 0);
	CU_ASSERT_EQUAL(t.calls, 1);
}

static void places_are_limited_and_come_back(void)
{
	int fds[LIMIT_CTL_CLIENTS], i;
	AUTO(fd) int late = -1;
	char text[8];

	for (i = 0; i < LIMIT_CTL_CLIENTS; i++) {
		fds[i] = raw_connect();
		loop_settle();
	}
	late = raw_connect();
	CU_ASSERT_EQUAL(raw_read(late, text, sizeof(text)), 0);
	CU_ASSERT_EQUAL(raw_read(fds[LIMIT_CTL_CLIENTS - 1], text, sizeof(text)), -1);
	for (i = 0; i < LIMIT_CTL_CLIENTS; i++)
		(void) close(fds[i]); /* nothing was sent */
	loop_settle();
	question_comes_back();
}

/* As another user: needs root. Exit status: how many of the two questions were refused. */
static int strangers_questions(void)
{
	static const char *const asked[] = { "org.keyroll.test.Echo", "org.keyroll.test.Change" };
	struct ctl_failure f;
	json_t *reply;
	int refused = 0;
	size_t i;

	if (setgid(65534) < 0 || setuid(65534) < 0)
		return 9;
	for (i = 0; i < 2; i++)
		if (ctl_ask(t.path, asked[i], NULL, TIMEOUT_MS, &reply, &f, NULL) == -EREMOTEIO &&
		    strcmp(f.error, "org.keyroll.test.PermissionDenied") == 0 && f.do_text[0])
			refused++;
	return refused;
}

static int child_event(sd_event_source *source, const siginfo_t *info, void *userdata)
{
	(void) source; /* asked for once */
	*(int *) userdata = info->si_code == CLD_EXITED ? info->si_status : 99;
	return 0;
}

static void stranger_is_refused(void)
{
	sd_event_source *source = NULL;
	int status = -1;
	pid_t child;

	NEED(geteuid() == 0, "not root");
	child = fork();
	if (child == 0)
		_exit(strangers_questions());
	CU_ASSERT(sd_event_add_child(t.event, &source, child, WEXITED, child_event, &status) >= 0);
	while (status < 0 && sd_event_run(t.event, (uint64_t) TIMEOUT_MS * 1000) > 0)
		;
	CU_ASSERT_EQUAL(status, 2);
	CU_ASSERT_EQUAL(t.calls, 0);
	(void) sd_event_source_disable_unref(source); /* returns NULL */
}

static void stale_socket_is_replaced_a_live_one_not(void)
{
	AUTO(mem) char *file = NULL;
	struct err e = { 0 };
	int fd;

	CU_ASSERT_EQUAL(ctl_listen(t.path, 0600, &e), -EADDRINUSE);
	ctl_server_free(t.server);
	t.server = NULL;
	CU_ASSERT_EQUAL(access(t.path, F_OK), 0); /* stale */
	fd = ctl_listen(t.path, 0600, &e);
	CU_ASSERT(fd >= 0);
	(void) close(fd); /* nothing was written */
	CU_ASSERT(asprintf(&file, "%s/file", t.top) > 0);
	CU_ASSERT_EQUAL(fs_write(file, "x", 1, 0600, NULL), 0);
	CU_ASSERT_EQUAL(ctl_listen(file, 0600, &e), -EEXIST);
	CU_ASSERT_EQUAL(access(file, F_OK), 0);
}

static void long_path_works(void)
{
	AUTO(mem) char *folder = NULL;
	AUTO(mem) char *path = NULL;
	struct ctl_failure f;
	json_t *reply;
	int fd;

	CU_ASSERT(asprintf(&folder, "%s/%0100d", t.top, 0) > 0);
	CU_ASSERT(asprintf(&path, "%s/sock", folder) > 0);
	CU_ASSERT_EQUAL(fs_mkdir(folder, 0755, NULL), 0);
	fd = ctl_listen(path, 0600, NULL);
	CU_ASSERT(fd >= 0);
	CU_ASSERT_EQUAL(ctl_ask(path, "a.B", NULL, 1, &reply, &f, NULL), -ETIMEDOUT); /* connected, nobody answers */
	(void) close(fd); /* nothing was written */
}

static CU_TestInfo frame_tests[] = {
	{ "frames end in NUL and are bounded", frames_end_in_nul_and_are_bounded },
	CU_TEST_INFO_NULL,
};
static CU_TestInfo server_tests[] = {
	{ "a question comes back", question_comes_back },
	{ "a question without parameters is fine", question_without_parameters_is_fine },
	{ "an error has name, message and next step", error_has_name_message_and_next_step },
	{ "an unknown method is said in varlink's words", unknown_method_is_said_in_varlinks_words },
	{ "the interface is described", interface_is_described },
	{ "too large an answer becomes an error", too_large_an_answer_becomes_an_error },
	{ "nobody at the socket is told apart", nobody_at_the_socket_is_told_apart },
	{ "a kept call is answered later and the next waits", kept_call_is_answered_later_and_the_next_waits },
	{ "a client may vanish before the answer", client_may_vanish_before_the_answer },
	{ "a half-closed client still gets its answer", half_closed_client_still_gets_its_answer },
	{ "a call survives its server", call_survives_its_server },
	{ "oneway is run and not answered", oneway_is_run_and_not_answered },
	{ "bad messages close the connection", bad_messages_close_the_connection },
	{ "an oversized message closes the connection", oversized_message_closes_the_connection },
	{ "a message in pieces is put together", message_in_pieces_is_put_together },
	{ "places are limited and come back", places_are_limited_and_come_back },
	{ "a stranger is refused", stranger_is_refused },
	{ "a stale socket is replaced, a live one not", stale_socket_is_replaced_a_live_one_not },
	{ "a long path works", long_path_works },
	CU_TEST_INFO_NULL,
};

static int signals_block(void)
{
	sigset_t set;

	/* sd-event wants SIGCHLD blocked before any thread */
	return sigemptyset(&set) < 0 || sigaddset(&set, SIGCHLD) < 0 || pthread_sigmask(SIG_BLOCK, &set, NULL) != 0;
}

CU_SuiteInfo test_suites[] = {
	{ "control frames", NULL, NULL, NULL, NULL, frame_tests },
	{ "control server", signals_block, NULL, fixture_up, fixture_down, server_tests },
	CU_SUITE_INFO_NULL,
};

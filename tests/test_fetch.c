/* keyroll-fetch, the real program, against servers that misbehave one way each. */
#include <CUnit/CUnit.h>
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/exchange.h"
#include "agent/fetch_client.h"
#include "tests/test_main.h"

#define MAX_BODY 4096

static sd_event *event;
static struct fetch_client *client;
static char program[512];

struct outcome {
	bool called;
	uint32_t status, retry;
	char error[FETCH_ERROR_BYTES + 1], type[FETCH_TYPE_BYTES + 1], body[64];
	size_t body_len;
};

static int setup(void)
{
	const char *build = getenv("top_builddir");
	sigset_t set;

	(void) snprintf(program, sizeof(program), "%s/keyroll-fetch", build ? build : ".");
	if (sigemptyset(&set) < 0 || sigaddset(&set, SIGCHLD) < 0 || sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -1;
	return sd_event_default(&event) < 0 || fetch_client_new(event, program, &client) < 0 ? -1 : 0;
}

static int teardown(void)
{
	fetch_client_free(client);
	(void) sd_event_unref(event);
	return 0;
}

static void on_reply(void *userdata, const struct fetch_reply *reply)
{
	struct outcome *o = userdata;

	*o = (struct outcome){ .called = true, .status = reply->status, .retry = reply->retry_after_sec, .body_len = reply->body_len };
	(void) snprintf(o->error, sizeof(o->error), "%.*s", (int) reply->error_len, reply->error_len ? reply->error : "");
	(void) snprintf(o->type, sizeof(o->type), "%.*s", (int) reply->type_len, reply->type_len ? reply->type : "");
	(void) snprintf(o->body, sizeof(o->body), "%.*s", (int) reply->body_len, reply->body_len ? (const char *) reply->body : "");
}

static void wait_for(const struct outcome *o)
{
	while (!o->called)
		if (sd_event_run(event, UINT64_MAX) < 0)
			return;
}

/* Answers one request with those bytes and ends; *ret_port is where. What the client sent comes back through ret_seen. */
static pid_t server_start(const char *answer, size_t len, uint16_t *ret_port, int *ret_seen)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t alen = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0), seen[2];
	char buf[8192];
	pid_t pid;

	if (fd < 0 || bind(fd, (struct sockaddr *) &a, alen) < 0 || listen(fd, 4) < 0 || getsockname(fd, (struct sockaddr *) &a, &alen) < 0 || pipe(seen) < 0)
		return -1;
	*ret_port = ntohs(a.sin_port);
	pid = fork();
	if (pid == 0) {
		int c = accept(fd, NULL, NULL);
		ssize_t n = recv(c, buf, sizeof(buf), 0);

		if (n < 0 || write(seen[1], buf, (size_t) n) != n || (answer && send(c, answer, len, MSG_NOSIGNAL) < 0))
			_exit(1);
		if (!answer)
			while (recv(c, buf, sizeof(buf), 0) > 0)
				; /* silence, until the other side goes */
		_exit(0);
	}
	(void) close(fd);
	(void) close(seen[1]);
	*ret_seen = seen[0];
	return pid;
}

static struct outcome ask(const char *answer, size_t len, const char *body, char *ret_seen, size_t seen_size)
{
	struct outcome o = { .called = false };
	struct fetch_request q = { .post = body != NULL, .max_body = MAX_BODY, .body = (const uint8_t *) body, .body_len = body ? strlen(body) : 0 };
	char url[64];
	uint16_t port = 0;
	int seen = -1, status;
	pid_t pid = server_start(answer, len, &port, &seen);
	ssize_t n;

	CU_ASSERT_TRUE(pid > 0);
	(void) snprintf(url, sizeof(url), "http://127.0.0.1:%u/x", port);
	q.url = url;
	q.url_len = strlen(url);
	CU_ASSERT_EQUAL(fetch_start(client, &q, on_reply, &o, NULL), 0);
	wait_for(&o);
	n = read(seen, ret_seen, seen_size - 1);
	ret_seen[n > 0 ? n : 0] = '\0';
	(void) close(seen);
	(void) waitpid(pid, &status, 0); /* it ended with its one answer */
	return o;
}

static void answers_are_told_apart(void)
{
	static const struct {
		const char *answer, *error, *type;
		unsigned status, retry;
		const char *why;
	} rows[] = {
		{ "HTTP/1.1 200 OK\r\nContent-Type: application/x-pki-message\r\nContent-Length: 2\r\n\r\nok", "", "application/x-pki-message", 200, 0,
			"plain" },
		{ "HTTP/1.0 200 OK\r\n\r\nok", "", "", 200, 0, "HTTP/1.0 without a length" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "", "", 200, 0, "chunked" },
		{ "HTTP/1.1 503 Busy\r\nRetry-After: 120\r\nContent-Length: 2\r\n\r\nok", "", "", 503, 120, "Retry-After" },
		{ "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/y\r\nContent-Length: 2\r\n\r\nok", "", "", 302, 0, "a redirect is not followed" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\nok", "88 bytes", NULL, 0, 0, "truncated" },
		{ "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok", "Content-Encoding", NULL, 0, 0, "encoded" },
		{ "nonsense\r\n\r\n", "", NULL, 0, 0, "no HTTP" },
	};
	char seen[8192];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct outcome o = ask(rows[i].answer, strlen(rows[i].answer), NULL, seen, sizeof(seen));

		CU_ASSERT_EQUAL(o.status, rows[i].status);
		CU_ASSERT_EQUAL(o.retry, rows[i].retry);
		CU_ASSERT_PTR_NOT_NULL(strstr(o.error, rows[i].error));
		if (rows[i].type) {
			CU_ASSERT_STRING_EQUAL(o.type, rows[i].type);
			CU_ASSERT_STRING_EQUAL(o.body, "ok");
		} else {
			CU_ASSERT_NOT_EQUAL(o.error[0], '\0');
		}
		if (o.status != rows[i].status)
			(void) fprintf(stderr, "%s: status %u, '%s'\n", rows[i].why, o.status, o.error);
	}
}

static void a_body_over_the_limit_is_cut_off(void)
{
	static char answer[MAX_BODY + 200];
	int n = snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", MAX_BODY + 1);
	char seen[8192];
	struct outcome o;

	memset(answer + n, 'x', MAX_BODY + 1);
	o = ask(answer, (size_t) n + MAX_BODY + 1, NULL, seen, sizeof(seen));
	CU_ASSERT_EQUAL(o.status, 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(o.error, "4096 bytes"));
}

static void the_request_says_no_more_than_it_must(void)
{
	static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	char seen[8192];
	struct outcome o = ask(ok, sizeof(ok) - 1, "hello", seen, sizeof(seen));

	CU_ASSERT_EQUAL(o.status, 200);
	CU_ASSERT_EQUAL(strncmp(seen, "POST /x HTTP/1.1\r\n", 18), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(seen, "Content-Type: application/x-pki-message\r\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(seen, "Content-Length: 5\r\n"));
	CU_ASSERT_PTR_NULL(strstr(seen, "Accept-Encoding"));
	CU_ASSERT_PTR_NULL(strstr(seen, "Expect"));
}

static void the_environment_names_no_proxy(void)
{
	static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	char seen[8192];
	struct outcome o;

	fetch_client_free(client); /* the next one inherits the environment */
	CU_ASSERT_EQUAL(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
	CU_ASSERT_EQUAL(fetch_client_new(event, program, &client), 0);
	o = ask(ok, sizeof(ok) - 1, NULL, seen, sizeof(seen));
	CU_ASSERT_EQUAL(o.status, 200);
	CU_ASSERT_EQUAL(unsetenv("http_proxy"), 0);
}

static void nobody_there_and_no_such_scheme_are_errors(void)
{
	static const char *const urls[] = { "http://127.0.0.1:1/", "file:///etc/passwd", "gopher://127.0.0.1/", "not a url" };
	size_t i;

	for (i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		struct outcome o = { .called = false };
		struct fetch_request q = { .max_body = MAX_BODY, .url = urls[i], .url_len = strlen(urls[i]) };

		CU_ASSERT_EQUAL(fetch_start(client, &q, on_reply, &o, NULL), 0);
		wait_for(&o);
		CU_ASSERT_EQUAL(o.status, 0);
		CU_ASSERT_NOT_EQUAL(o.error[0], '\0');
	}
}

/* The child of ours that is keyroll-fetch: there is one, /proc says which. */
static pid_t fetch_pid(void)
{
	char path[64], text[64] = "";
	FILE *f;
	int pid = 0;

	(void) snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int) getpid());
	f = fopen(path, "r");
	if (!f)
		return 0;
	while (fscanf(f, "%d", &pid) == 1) {
		(void) snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		FILE *c = fopen(path, "r");
		if (c && fgets(text, sizeof(text), c) && strncmp(text, "keyroll-fetch", 13) == 0) {
			(void) fclose(c);
			break;
		}
		if (c)
			(void) fclose(c);
		pid = 0;
	}
	(void) fclose(f);
	return pid;
}

static void a_crash_of_it_ends_what_is_in_flight_and_no_more(void)
{
	static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	struct outcome o = { .called = false };
	char url[64], seen[8192];
	uint16_t port = 0;
	int pipe_fd = -1, status;
	pid_t server = server_start(NULL, 0, &port, &pipe_fd), pid;
	struct fetch_request q = { .max_body = MAX_BODY, .url = url };

	(void) snprintf(url, sizeof(url), "http://127.0.0.1:%u/", port);
	q.url_len = strlen(url);
	CU_ASSERT_EQUAL(fetch_start(client, &q, on_reply, &o, NULL), 0);
	CU_ASSERT_TRUE(read(pipe_fd, seen, sizeof(seen)) > 0); /* it is on the wire */
	pid = fetch_pid();
	CU_ASSERT_TRUE(pid > 0);
	if (pid > 0)
		CU_ASSERT_EQUAL(kill(pid, SIGKILL), 0);
	wait_for(&o);
	CU_ASSERT_EQUAL(o.status, 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(o.error, "keyroll-fetch ended"));
	(void) close(pipe_fd);
	(void) waitpid(server, &status, 0); /* its client is gone, so it goes */
	o = ask(ok, sizeof(ok) - 1, NULL, seen, sizeof(seen));
	CU_ASSERT_EQUAL(o.status, 200);
}

static void a_cancelled_exchange_is_not_heard_of(void)
{
	static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	struct outcome o = { .called = false }, other;
	char url[64], seen[8192];
	uint16_t port = 0;
	int pipe_fd = -1, status;
	pid_t server = server_start(NULL, 0, &port, &pipe_fd);
	struct fetch_request q = { .max_body = MAX_BODY, .url = url };

	(void) snprintf(url, sizeof(url), "http://127.0.0.1:%u/", port);
	q.url_len = strlen(url);
	CU_ASSERT_EQUAL(fetch_start(client, &q, on_reply, &o, NULL), 0);
	CU_ASSERT_TRUE(read(pipe_fd, seen, sizeof(seen)) > 0);
	CU_ASSERT_PTR_EQUAL(fetch_cancel(client, q.id), &o);
	CU_ASSERT_PTR_NULL(fetch_cancel(client, q.id));
	(void) close(pipe_fd);
	other = ask(ok, sizeof(ok) - 1, NULL, seen, sizeof(seen));
	CU_ASSERT_EQUAL(other.status, 200);
	(void) waitpid(server, &status, 0); /* the connection was closed on it */
	CU_ASSERT_FALSE(o.called);
}

static void content_types_are_matched_whole(void)
{
	static const struct {
		enum exchange_kind kind;
		const char *type;
		bool want;
	} rows[] = {
		{ EXCHANGE_PKI, "application/x-pki-message", true },
		{ EXCHANGE_PKI, "Application/X-PKI-Message ; charset=utf-8", true },
		{ EXCHANGE_PKI, "application/x-pki-message-x", false },
		{ EXCHANGE_PKI, "application/x-pki", false },
		{ EXCHANGE_PKI, "text/html", false },
		{ EXCHANGE_PKI, "", false },
		{ EXCHANGE_CA, "application/x-x509-ca-cert", true },
		{ EXCHANGE_CA, "application/x-x509-ca-ra-cert", true },
		{ EXCHANGE_CA, "application/x-x509-next-ca-cert", false },
		{ EXCHANGE_NEXT_CA, "application/x-x509-next-ca-cert", true },
		{ EXCHANGE_CAPS, "text/html", true },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CU_ASSERT_EQUAL(exchange_type_ok(rows[i].kind, rows[i].type, strlen(rows[i].type)), rows[i].want);
}

static CU_TestInfo tests[] = {
	{ "answers are told apart", answers_are_told_apart },
	{ "a body over the limit is cut off", a_body_over_the_limit_is_cut_off },
	{ "the request says no more than it must", the_request_says_no_more_than_it_must },
	{ "the environment names no proxy", the_environment_names_no_proxy },
	{ "nobody there, and no such scheme, are errors", nobody_there_and_no_such_scheme_are_errors },
	{ "a crash of it ends what is in flight, and no more", a_crash_of_it_ends_what_is_in_flight_and_no_more },
	{ "a cancelled exchange is not heard of", a_cancelled_exchange_is_not_heard_of },
	{ "content types are matched whole", content_types_are_matched_whole },
	CU_TEST_INFO_NULL,
};
CU_SuiteInfo test_suites[] = { { "keyroll-fetch", setup, teardown, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

/* Copies of one request at the same time, over real HTTP: each is answered, with one certificate. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "ca/httpd.h"
#include "common/auto_ssl.h"
#include "tests/ca_fixture.h"
#include "tests/test_main.h"

enum { COPIES = 64, TRIES = 20, REPLY_BYTES = 65536 };

static struct fx fx;
static struct httpd *httpd;

static int suite_init(void)
{
	const struct httpd_options o = { .listen = "127.0.0.1:0", .listen_fd = -1, .threads = 2, .max_connections = 2 * COPIES, .head_deadline_ms = 60000,
					 .body_deadline_ms = 60000, .crl_prefix = "/crl/" };
	struct err e = { 0 };

	if (fx_start(&fx) < 0)
		return -1;
	if (httpd_start(&o, service_handle, fx.service, &httpd, &e) < 0) {
		(void) fprintf(stderr, "%s\n", e.text);
		return -1;
	}
	return 0;
}

static int suite_clean(void)
{
	if (httpd)
		httpd_stop(httpd);
	fx_stop(&fx);
	return 0;
}

static void auto_router(struct fx_router *r)
{
	fx_router_clear(r);
}

/* ---- one copy ---- */

struct copy {
	const struct buf *message;
	const uint8_t *nonce;
	const struct fx_ask *ask;
	pthread_barrier_t *together;
	pthread_t thread;
	unsigned busy; /* how often it was told to come back */
	int status;
	struct buf body;
};

static int http_connect(void)
{
	const struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(httpd_port(httpd)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (const struct sockaddr *) &a, sizeof(a)) < 0) {
		(void) close(fd); /* nothing was written */
		return -1;
	}
	return fd;
}

static bool all_sent(int fd, const void *data, size_t len)
{
	const char *p = data;
	ssize_t n;

	while (len > 0 && (n = send(fd, p, len, MSG_NOSIGNAL)) > 0) {
		p += n;
		len -= (size_t) n;
	}
	return len == 0;
}

/* HTTP status, or -1. The server closes the connection, as asked. */
static int http_post(const struct buf *message, struct buf *ret_body)
{
	AUTO(fd) int fd = http_connect();
	AUTO(mem) char *reply = calloc(1, REPLY_BYTES + 1);
	char head[160];
	const char *body;
	size_t len = 0;
	ssize_t n = 1;
	int status;

	(void) snprintf(head, sizeof(head), "POST /?operation=PKIOperation HTTP/1.1\r\nHost: ca\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n",
			message->len);
	if (fd < 0 || !reply || !all_sent(fd, head, strlen(head)) || !all_sent(fd, message->data, message->len))
		return -1;
	while (len < REPLY_BYTES && (n = recv(fd, reply + len, REPLY_BYTES - len, 0)) > 0)
		len += (size_t) n;
	body = memmem(reply, len, "\r\n\r\n", 4);
	if (n < 0 || !body || sscanf(reply, "HTTP/1.1 %d", &status) != 1)
		return -1;
	body += 4;
	return buf_set(ret_body, body, len - (size_t) (body - reply)) < 0 ? -1 : status;
}

/* 503 is allowed on a busy machine: the client comes again with the same bytes. */
static void *copy_run(void *arg)
{
	struct copy *c = arg;

	(void) pthread_barrier_wait(c->together); /* one of them is told that it was the last */
	do
		c->status = http_post(c->message, &c->body);
	while (c->status == 503 && ++c->busy < TRIES);
	return NULL;
}

static int copy_open(const struct copy *c, struct scep_reply *ret)
{
	X509 *signers[] = { fx.ca };
	const struct scep_reply_want want = { .transaction_id = c->ask->tid, .sender_nonce = c->nonce, .signers = signers, .n_signers = 1,
					      .recipient = c->ask->signer, .recipient_key = c->ask->signer_key, .subject_key = c->ask->subject_key,
					      .policy = &scep_policy_default };

	return scep_reply_open(c->body.data, c->body.len, &want, fx.now_sec, ret, NULL);
}

/* ---- all of them ---- */

static bool copies_send(struct copy *copies, const struct copy *like)
{
	pthread_barrier_t together;
	bool ok = true;
	int i;

	if (pthread_barrier_init(&together, NULL, COPIES) != 0)
		return false;
	for (i = 0; ok && i < COPIES; i++) {
		copies[i] = *like;
		copies[i].together = &together;
		ok = pthread_create(&copies[i].thread, NULL, copy_run, &copies[i]) == 0;
	}
	if (!ok)
		abort(); /* those at the barrier would wait for ever */
	for (i = 0; i < COPIES; i++)
		(void) pthread_join(copies[i].thread, NULL); /* our own, joined once */
	(void) pthread_barrier_destroy(&together);
	return true;
}

static int cert_count(void *userdata, const struct db_cert *c)
{
	(void) c; /* each counts */
	++*(unsigned *) userdata;
	return 0;
}

static int intent_count(void *userdata, const struct db_request *r)
{
	(void) r; /* each counts */
	++*(unsigned *) userdata;
	return 0;
}

static void same_certificate(struct copy *copies)
{
	AUTO(x509) X509 *first = NULL;
	int i, granted = 0;

	for (i = 0; i < COPIES; i++) {
		struct scep_reply reply = { 0 };

		CU_ASSERT_EQUAL(copies[i].status, 200);
		if (copies[i].status == 200 && copy_open(&copies[i], &reply) == 0 && reply.status == SCEP_STATUS_SUCCESS && reply.cert) {
			if (!first)
				first = TAKE(reply.cert);
			granted += reply.cert == NULL || X509_cmp(first, reply.cert) == 0;
		}
		scep_reply_clear(&reply);
		buf_clear(&copies[i].body);
	}
	CU_ASSERT_EQUAL(granted, COPIES);
}

static void copies_get_one_certificate(void)
{
	static const uint8_t nonce[SCEP_NONCE_BYTES] = { 7 };
	static struct copy copies[COPIES];
	AUTO(router) struct fx_router r = { .csr = BUF_EMPTY };
	AUTO(buf) struct buf message = BUF_EMPTY;
	struct scep_request_in in = { .sender_nonce = nonce, .algs = { SCEP_CIPHER_AES128, SCEP_DIGEST_SHA256 } };
	struct copy like = { .message = &message, .nonce = nonce, .body = BUF_EMPTY };
	unsigned certs = 0, intents = 0;
	struct fx_ask ask;

	CU_ASSERT_EQUAL(fx_view(&fx, CAR_GRANT_AUTO, false, false, false), 0);
	CU_ASSERT_EQUAL(fx_router_make(&r, "CN=copies", NULL), 0);
	ask = fx_enrol(&fx, &r, "copies");
	in.type = ask.type;
	in.transaction_id = ask.tid;
	in.content = ask.content;
	in.content_len = ask.content_len;
	in.signer = ask.signer;
	in.signer_key = ask.signer_key;
	in.recipient = ask.recipient;
	CU_ASSERT_EQUAL(scep_request_build(&in, &message, NULL), 0);
	like.ask = &ask;
	CU_ASSERT(copies_send(copies, &like));
	same_certificate(copies);
	CU_ASSERT_EQUAL(db_certs_each(fx.db, 0, cert_count, &certs, NULL), 0);
	CU_ASSERT_EQUAL(certs, 1);
	CU_ASSERT_EQUAL(db_intents_each(fx.db, intent_count, &intents, NULL), 0);
	CU_ASSERT_EQUAL(intents, 0);
}

static CU_TestInfo tests[] = {
	{ "64 copies of one request at once get one certificate", copies_get_one_certificate },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = {
	{ "parallel requests over HTTP", suite_init, suite_clean, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

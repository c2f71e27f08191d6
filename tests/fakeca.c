/* A CA for the agent's end-to-end tests: one thread, plain sockets on the loopback, keys of its own, and as bad as it is told to be.
 *
 * fakeca DIR [CA-LIFE-SECONDS [CERT-LIFE-SECONDS]]: writes DIR/url and DIR/fingerprint, then serves. Before each answer it reads DIR/mode:
 *   good         grants at once                       pending       the CA has not decided
 *   next         good, and a rollover CA is there     forged-next   the next CA is signed by a stranger of the same name
 *   html         a login page instead of DER          wrong-nonce   the reply answers another request
 *   oversized    a body over the limit                foreign-key   the certificate is for another key
 *   silence      no answer                            busy          503 with Retry-After
 *   other-ca     GetCACert gives a stranger           reject        FAILURE badRequest
 *   no-renewal   badRequest to RenewalReq, else good  same          (renewals) the old certificate again
 *   garbage      the right type, but no CMS           extra-name    the certificate has a name that nobody asked for
 *   next-other   the rollover CA of a rollover made anew: that of `next` is cancelled, and no recipient any more
 */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "common/auto_ssl.h"
#include "common/clk.h"
#include "common/fs.h"
#include "common/limits.h"
#include "common/x509facts.h"
#include "scep/scep.h"
#include "tests/agent_fixture.h"

#define HEAD_MAX (LIMIT_URI_BYTES + 4096)
#define SEEN_MAX 64
#define SILENT_MAX 16
#define KEY_BITS 2048
#define N_CAS 3

struct seen { /* a request, so that the same one gets the same certificate */
	char transaction_id[SCEP_TRANSACTION_ID_TEXT], csr_sha256[65];
	size_t ca; /* 0: active, else a next one */
	X509_REQ *csr;
	X509 *cert;
};

static struct {
	const char *dir;
	char mode[32];
	int64_t life_sec;
	EVP_PKEY *key[N_CAS], *stranger_key; /* active, next, next of another rollover */
	X509 *cert[N_CAS], *stranger;
	struct seen seen[SEEN_MAX];
	size_t n_seen;
	int silent[SILENT_MAX];
	size_t n_silent;
} ca;

static bool mode_is(const char *word)
{
	return strcmp(ca.mode, word) == 0;
}

static void mode_read(void)
{
	AUTO(mem) char *path = NULL;
	AUTO(buf) struct buf text = BUF_EMPTY;

	(void) snprintf(ca.mode, sizeof(ca.mode), "good");
	if (asprintf(&path, "%s/mode", ca.dir) < 0) {
		path = NULL;
		return;
	}
	if (fs_read(path, sizeof(ca.mode) - 1, &text, NULL) == 0)
		(void) snprintf(ca.mode, sizeof(ca.mode), "%.*s", (int) strcspn((const char *) text.data, "\n"), (const char *) text.data);
}

static bool next_exists(void)
{
	return mode_is("next") || mode_is("forged-next") || mode_is("next-other");
}

static size_t next_index(void)
{
	return mode_is("next-other") ? 2 : 1;
}

/* ---- issuing ---- */

static X509 *issue(X509_REQ *csr, EVP_PKEY *for_key, size_t by)
{
	AUTO(x509) X509 *x = NULL;
	struct x509_facts f;
	int64_t now = clk_wall_ms() / 1000, nb, na;
	long serial = 0;

	if (x509_facts_get(ca.cert[by], &f, NULL) < 0 || RAND_bytes((unsigned char *) &serial, 6) != 1)
		return NULL;
	nb = f.nb_sec > now ? f.nb_sec : now;
	na = nb + ca.life_sec < f.na_sec ? nb + ca.life_sec : f.na_sec;
	x = fixture_cert("to be replaced", for_key, ca.cert[by], ca.key[by], nb, na, serial + 1, false);
	if (x && mode_is("extra-name") && !fixture_san_add(x, "DNS:www.example.org"))
		return NULL;
	if (!x || !X509_set_subject_name(x, X509_REQ_get_subject_name(csr)) || X509_sign(x, ca.key[by], EVP_sha256()) <= 0)
		return NULL;
	return TAKE(x);
}

static struct seen *seen_find(const struct scep_request *q)
{
	size_t i;

	for (i = 0; i < ca.n_seen; i++)
		if (strcmp(ca.seen[i].transaction_id, q->transaction_id) == 0 &&
		    (q->type == SCEP_TYPE_CERT_POLL || strcmp(ca.seen[i].csr_sha256, q->csr_sha256) == 0))
			return &ca.seen[i];
	return NULL;
}

static struct seen *seen_make(struct scep_request *q)
{
	struct seen *s = seen_find(q);

	if (s || q->type == SCEP_TYPE_CERT_POLL || ca.n_seen == SEEN_MAX)
		return s;
	s = &ca.seen[ca.n_seen++];
	(void) snprintf(s->transaction_id, sizeof(s->transaction_id), "%s", q->transaction_id);
	(void) snprintf(s->csr_sha256, sizeof(s->csr_sha256), "%s", q->csr_sha256);
	s->ca = q->recipient;
	s->csr = TAKE(q->csr);
	return s;
}

/* ---- PKIOperation ---- */

static void decide(struct scep_request *q, struct scep_reply_in *out, X509 **owned)
{
	struct seen *s = seen_make(q);

	out->status = SCEP_STATUS_FAILURE;
	out->fail = SCEP_FAIL_BAD_REQUEST;
	out->fail_text = "fakeca was told to";
	if (!s || mode_is("reject") || (mode_is("no-renewal") && q->type == SCEP_TYPE_RENEWAL_REQ))
		return;
	if (mode_is("pending")) {
		out->status = SCEP_STATUS_PENDING;
		return;
	}
	if (!s->cert && mode_is("same"))
		s->cert = X509_dup(q->signer);
	if (!s->cert && mode_is("foreign-key")) {
		*owned = issue(s->csr, ca.stranger_key, s->ca);
	} else {
		if (!s->cert)
			s->cert = issue(s->csr, X509_REQ_get0_pubkey(s->csr), s->ca);
		*owned = s->cert ? X509_dup(s->cert) : NULL;
	}
	out->status = SCEP_STATUS_SUCCESS;
}

static int pki_answer(const struct buf *message, struct buf *body)
{
	const size_t next = next_index();
	const struct scep_identity ids[2] = { { ca.cert[0], ca.key[0] }, { ca.cert[next], ca.key[next] } };
	AUTO(x509) X509 *cert = NULL;
	struct scep_request q = { .stage = SCEP_OPEN_MALFORMED };
	uint8_t nonce[SCEP_NONCE_BYTES];
	struct err e = { 0 };
	int r = scep_request_open(message->data, message->len, ids, 2, &scep_policy_default, clk_wall_ms() / 1000, &q, &e);
	struct scep_reply_in out = { .transaction_id = q.transaction_id,
				     .recipient_nonce = q.sender_nonce,
				     .recipient_nonce_len = q.sender_nonce_len,
				     .sender_nonce = nonce,
				     .signer = ca.cert[0],
				     .signer_key = ca.key[0],
				     .recipient = q.signer,
				     .algs = q.algs };

	if (r == 0 && RAND_bytes(nonce, sizeof(nonce)) == 1) {
		if (q.recipient == 1) {
			q.recipient = next;
			out.signer = ca.cert[next];
			out.signer_key = ca.key[next];
		}
		decide(&q, &out, &cert);
		out.certs = &cert;
		out.n_certs = cert ? 1 : 0;
		if (mode_is("wrong-nonce"))
			q.sender_nonce[0] ^= 1;
		(void) fprintf(stderr, "fakeca: %s %s -> status %d\n", scep_type_name(q.type), q.transaction_id, out.status);
		r = scep_reply_build(&out, body, &e);
	}
	if (r < 0)
		(void) fprintf(stderr, "fakeca: %s\n", err_text(&e, r));
	scep_request_clear(&q);
	return r < 0 ? 400 : 200;
}

/* ---- the other operations ---- */

static int next_answer(struct buf *body)
{
	bool forged = mode_is("forged-next");

	if (!next_exists())
		return 404;
	return scep_next_ca_build(&ca.cert[next_index()], 1, forged ? ca.stranger : ca.cert[0], forged ? ca.stranger_key : ca.key[0], body, NULL) < 0 ?
		       500 : 200;
}

static int caps_answer(struct buf *body)
{
	unsigned caps = SCEP_CAP_AES | SCEP_CAP_POST | SCEP_CAP_RENEWAL | SCEP_CAP_SHA256 | SCEP_CAP_STANDARD;

	return scep_caps_build(next_exists() ? caps | SCEP_CAP_GET_NEXT_CA_CERT : caps, body) < 0 ? 500 : 200;
}

static int html_answer(struct buf *body)
{
	static const char page[] = "<html><body>Please log in</body></html>";

	return buf_set(body, page, sizeof(page) - 1) < 0 ? 500 : 200;
}

static int oversized_answer(struct buf *body)
{
	body->len = 0;
	body->data = calloc(1, LIMIT_CA_REPLY_BYTES + 4097);
	if (body->data)
		body->len = LIMIT_CA_REPLY_BYTES + 4096;
	return 200;
}

static int answer(const char *operation, const struct buf *message, struct buf *body, const char **type)
{
	bool pki = strcmp(operation, "PKIOperation") == 0;

	*type = "text/plain";
	if (strcmp(operation, "GetCACaps") == 0)
		return caps_answer(body);
	if (mode_is("busy"))
		return 503;
	if (mode_is("html")) {
		*type = "text/html";
		return html_answer(body);
	}
	*type = pki ? "application/x-pki-message" : "application/x-x509-ca-cert";
	if (mode_is("oversized"))
		return oversized_answer(body);
	if (mode_is("garbage"))
		return html_answer(body);
	if (pki)
		return pki_answer(message, body);
	if (strcmp(operation, "GetCACert") == 0)
		return scep_ca_build(mode_is("other-ca") ? &ca.stranger : &ca.cert[0], 1, body, NULL) < 0 ? 500 : 200;
	if (strcmp(operation, "GetNextCACert") == 0) {
		*type = "application/x-x509-next-ca-cert";
		return next_answer(body);
	}
	return 404;
}

/* ---- HTTP, as little as the agent needs ---- */

static bool send_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		p += n;
		len -= (size_t) n;
	}
	return true;
}

static void reply_send(int fd, int status, const char *type, const struct buf *body)
{
	char head[512];
	int n = snprintf(head, sizeof(head), "HTTP/1.1 %d %s\r\nContent-Type: %s\r\n%sContent-Length: %zu\r\nConnection: close\r\n\r\n", status,
			 status == 200 ? "OK" : "No", type, status == 503 ? "Retry-After: 7\r\n" : "", body->len);

	if (send_all(fd, head, (size_t) n))
		(void) send_all(fd, body->data, body->len); /* the agent hangs up where it has had enough */
}

/* Reads until the blank line, then Content-Length bytes. */
static bool request_read(int fd, struct buf *head, struct buf *body)
{
	size_t want = 0;
	char chunk[4096];
	ssize_t n;
	char *end, *at;

	while (!(end = head->data ? strstr((char *) head->data, "\r\n\r\n") : NULL)) {
		n = recv(fd, chunk, sizeof(chunk), 0);
		if (n <= 0 || head->len + (size_t) n > HEAD_MAX || buf_add(head, chunk, (size_t) n) < 0)
			return false;
	}
	at = strcasestr((char *) head->data, "\r\nContent-Length:");
	if (at && at < end)
		want = strtoul(at + 17, NULL, 10);
	if (want > LIMIT_SCEP_MESSAGE_BYTES || buf_set(body, end + 4, head->len - (size_t) (end + 4 - (char *) head->data)) < 0)
		return false;
	*end = '\0';
	while (body->len < want) {
		n = recv(fd, chunk, sizeof(chunk), 0);
		if (n <= 0 || buf_add(body, chunk, (size_t) n) < 0)
			return false;
	}
	return true;
}

static void operation_get(const char *head, char out[64])
{
	const char *at = strstr(head, "operation=");

	(void) snprintf(out, 64, "%.*s", at ? (int) strcspn(at + 10, "& ") : 0, at ? at + 10 : "");
}

static void serve(int client)
{
	AUTO(fd) int fd = client;
	AUTO(buf) struct buf head = BUF_EMPTY;
	AUTO(buf) struct buf message = BUF_EMPTY;
	AUTO(buf) struct buf body = BUF_EMPTY;
	const struct timeval limit = { .tv_sec = 5 };
	const char *type = "text/plain";
	char operation[64];
	int status;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 || !request_read(fd, &head, &message))
		return;
	operation_get((const char *) head.data, operation);
	mode_read();
	(void) fprintf(stderr, "fakeca: %s (%s)\n", operation, ca.mode);
	if (mode_is("silence") && ca.n_silent < SILENT_MAX) {
		ca.silent[ca.n_silent++] = TAKE_FD(fd);
		return;
	}
	status = answer(operation, &message, &body, &type);
	reply_send(fd, status, type, &body);
}

/* ---- birth ---- */

static bool certs_make(int64_t ca_life_sec)
{
	int64_t now = clk_wall_ms() / 1000;
	size_t i;

	for (i = 0; i < N_CAS; i++) {
		ca.key[i] = EVP_RSA_gen(KEY_BITS);
		if (!ca.key[i])
			return false;
	}
	ca.stranger_key = EVP_RSA_gen(KEY_BITS);
	if (!ca.stranger_key)
		return false;
	ca.cert[0] = fixture_cert("Fake CA", ca.key[0], NULL, NULL, now - 60, now + ca_life_sec, 11, true);
	ca.cert[1] = fixture_cert("Fake CA", ca.key[1], NULL, NULL, now + ca_life_sec, now + 3 * ca_life_sec, 12, true);
	ca.cert[2] = fixture_cert("Fake CA", ca.key[2], NULL, NULL, now + ca_life_sec, now + 3 * ca_life_sec, 13, true);
	ca.stranger = fixture_cert("Fake CA", ca.stranger_key, NULL, NULL, now - 60, now + ca_life_sec, 11, true);
	return ca.cert[0] && ca.cert[1] && ca.cert[2] && ca.stranger;
}

static bool facts_write(uint16_t port)
{
	AUTO(mem) char *url = NULL;
	AUTO(mem) char *pin = NULL;
	char text[128];
	struct x509_facts f;

	if (asprintf(&url, "%s/url", ca.dir) < 0 || asprintf(&pin, "%s/fingerprint", ca.dir) < 0 || x509_facts_get(ca.cert[0], &f, NULL) < 0)
		return false;
	(void) snprintf(text, sizeof(text), "sha256:%s", f.sha256);
	if (fs_write(pin, text, strlen(text), 0644, NULL) < 0)
		return false;
	(void) snprintf(text, sizeof(text), "http://127.0.0.1:%u/scep", port);
	return fs_write(url, text, strlen(text), 0644, NULL) == 0; /* last: its presence says that all is ready */
}

static int listener(uint16_t *ret_port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *) &a, sizeof(a)) < 0 || listen(fd, 16) < 0 || getsockname(fd, (struct sockaddr *) &a, &len) < 0)
		return -1;
	*ret_port = ntohs(a.sin_port);
	return fd;
}

int main(int argc, char **argv)
{
	int64_t ca_life = argc > 2 ? strtoll(argv[2], NULL, 10) : 3600;
	uint16_t port = 0;
	int fd, client;

	if (argc < 2)
		return 2;
	ca.dir = argv[1];
	ca.life_sec = argc > 3 ? strtoll(argv[3], NULL, 10) : 600;
	fd = listener(&port);
	if (fd < 0 || !certs_make(ca_life) || !facts_write(port)) {
		(void) fprintf(stderr, "fakeca: cannot start\n");
		return 1;
	}
	while ((client = accept(fd, NULL, NULL)) >= 0)
		serve(client);
	return 1;
}

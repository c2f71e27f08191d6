/* The demo's verifying peer: a whole TLS handshake every PERIOD milliseconds, judged by the trustpoint's ca.pem. It prints one JSON line for each
 * change of serial, each switch of the delivered link, each failure, and on SIGTERM a summary. A handshake counts as failed when the chain verifies
 * neither now, nor one second before or after; one that needed that second is counted apart. */
#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "common/clk.h"
#include "common/ctl.h"
#include "common/err.h"
#include "common/fs.h"
#include "common/limits.h"
#include "common/x509facts.h"
#include "tests/demo/auto_tls.h"

#define HANDSHAKE_SEC 2
#define FAILURES_SHOWN 20

struct watch {
	const char *folder; /* .../delivered/TP, whose `current` is watched */
	const char *host;   /* the name that the certificate must have */
	uint16_t port;
	uint64_t period_usec;
	SSL_CTX *tls;
	sd_event_source *folder_source; /* let go by hand: systemd 252 leaks an inotify source that floats */
	X509_STORE *anchors;
	struct stat anchors_stat;
	/* of the handshake in hand */
	int offset_sec;
	int verify_error;
	struct x509_facts seen;
	/* the sums */
	char serial[X509F_SERIAL_HEX];
	int64_t handshakes, failed, tolerated, late, longest_ms;
};

/* object is taken. One line at once: the demo reads along. */
static void say(const char *event, json_t *object)
{
	AUTO(json) json_t *line = object;
	int64_t now = clk_wall_ms();

	if (!line || json_object_set_new(line, "event", json_string(event)) < 0 || json_object_set_new(line, "at_ms", json_integer(now)) < 0)
		abort(); /* out of memory in a test program */
	if (json_dumpf(line, stdout, JSON_COMPACT) < 0 || putchar('\n') == EOF || fflush(stdout) == EOF)
		exit(1); /* nobody reads any more */
}

static int anchors_read(const char *path, X509_STORE **ret, struct err *reterr)
{
	AUTO(store) X509_STORE *store = X509_STORE_new();

	if (!store)
		return -ENOMEM;
	if (X509_STORE_load_file(store, path) != 1)
		return err_from_openssl(reterr, -EBADMSG, "%s", path);
	*ret = TAKE(store);
	return 0;
}

/* Trust follows the delivered ca.pem: read again when it is another file than last time. */
static int anchors_follow(struct watch *w, struct err *reterr)
{
	X509_STORE *fresh = NULL;
	char path[PATH_MAX];
	struct stat st;
	int r;

	(void) snprintf(path, sizeof(path), "%s/current/ca.pem", w->folder); /* cut: it will not be found */
	if (stat(path, &st) < 0)
		return err_set(reterr, -errno, "%s: %s", path, strerror(errno));
	if (w->anchors && st.st_ino == w->anchors_stat.st_ino && st.st_dev == w->anchors_stat.st_dev && st.st_mtim.tv_sec == w->anchors_stat.st_mtim.tv_sec &&
	    st.st_mtim.tv_nsec == w->anchors_stat.st_mtim.tv_nsec)
		return 0;
	r = anchors_read(path, &fresh, reterr);
	if (r < 0)
		return r;
	X509_STORE_free(w->anchors);
	w->anchors = fresh;
	w->anchors_stat = st;
	return 0;
}

/* X509_V_OK or why the chain does not verify at that second. */
static int chain_verify(struct watch *w, X509 *leaf, STACK_OF(X509) *others, int64_t at_sec)
{
	AUTO(store_ctx) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509_VERIFY_PARAM *param;

	if (!ctx || X509_STORE_CTX_init(ctx, w->anchors, leaf, others) != 1)
		return X509_V_ERR_OUT_OF_MEM;
	param = X509_STORE_CTX_get0_param(ctx);
	X509_VERIFY_PARAM_set_time(param, at_sec);
	if (X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER) != 1 || X509_VERIFY_PARAM_set1_host(param, w->host, 0) != 1)
		return X509_V_ERR_OUT_OF_MEM;
	if (X509_verify_cert(ctx) == 1)
		return X509_V_OK;
	return X509_STORE_CTX_get_error(ctx) == X509_V_OK ? X509_V_ERR_UNSPECIFIED : X509_STORE_CTX_get_error(ctx);
}

/* OpenSSL asks us instead of verifying itself, within the handshake. */
static int on_verify(X509_STORE_CTX *ctx, void *userdata)
{
	static const int offsets[] = { 0, -1, 1 };
	struct watch *w = userdata;
	X509 *leaf = X509_STORE_CTX_get0_cert(ctx);
	int64_t now = clk_wall_ms() / 1000;
	size_t i;

	if (x509_facts_get(leaf, &w->seen, NULL) < 0)
		return 0;
	w->verify_error = X509_V_OK;
	for (i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		int v = chain_verify(w, leaf, X509_STORE_CTX_get0_untrusted(ctx), now + offsets[i]);

		if (v == X509_V_OK) {
			w->offset_sec = offsets[i];
			w->verify_error = X509_V_OK;
			return 1;
		}
		if (i == 0)
			w->verify_error = v;
	}
	X509_STORE_CTX_set_error(ctx, w->verify_error);
	return 0;
}

static int peer_connect(uint16_t port, int *ret, struct err *reterr)
{
	const struct timeval limit = { .tv_sec = HANDSHAKE_SEC };
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	AUTO(fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
	    connect(fd, (struct sockaddr *) &a, sizeof(a)) < 0)
		return err_set(reterr, -errno, "connect: %s", strerror(errno));
	*ret = TAKE_FD(fd);
	return 0;
}

/* One handshake, and the server's line behind it, so that its side is over too. */
static int handshake(struct watch *w, struct err *reterr)
{
	AUTO(fd) int fd = -1;
	AUTO(ssl) SSL *ssl = NULL;
	char line[8];
	int r = anchors_follow(w, reterr);

	if (r == 0)
		r = peer_connect(w->port, &fd, reterr);
	if (r < 0)
		return r;
	ssl = SSL_new(w->tls);
	if (!ssl || SSL_set_fd(ssl, fd) != 1)
		return err_from_openssl(reterr, -ENOMEM, "TLS");
	if (SSL_connect(ssl) == 1 && SSL_read(ssl, line, sizeof(line)) > 0)
		return 0;
	if (w->verify_error != X509_V_OK)
		return err_from_openssl(reterr, -EKEYREJECTED, "%s, serial %s", X509_verify_cert_error_string(w->verify_error), w->seen.serial);
	return err_from_openssl(reterr, -EPROTO, "the handshake did not end");
}

static void serial_note(struct watch *w, int64_t began_ms)
{
	if (strcmp(w->serial, w->seen.serial) == 0)
		return;
	(void) snprintf(w->serial, sizeof(w->serial), "%s", w->seen.serial); /* same size */
	say("serial", json_pack("{s:s, s:s, s:s, s:I, s:I}", "serial", w->seen.serial, "issuer", w->seen.issuer, "spki", w->seen.spki_sha256, "began_ms",
				(json_int_t) began_ms, "not_after", (json_int_t) w->seen.na_sec));
}

static void handshake_count(struct watch *w)
{
	struct err e = { 0 };
	int64_t began = clk_wall_ms(), from = clk_boot_ms(), took;
	int r;

	w->offset_sec = 0;
	w->verify_error = X509_V_OK;
	r = handshake(w, &e);
	took = clk_boot_ms() - from;
	w->handshakes++;
	if (took > w->longest_ms)
		w->longest_ms = took;
	if (r == 0) {
		w->tolerated += w->offset_sec != 0;
		serial_note(w, began);
		return;
	}
	if (++w->failed <= FAILURES_SHOWN)
		say("failed", json_pack("{s:s, s:I}", "why", err_text(&e, r), "took_ms", (json_int_t) took));
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct watch *w = userdata;
	uint64_t next = usec + w->period_usec, now;
	int r;

	handshake_count(w);
	now = (uint64_t) clk_boot_ms() * 1000;
	for (; next < now; next += w->period_usec) /* the machine had no time for these: left out, and counted */
		w->late++;
	r = sd_event_source_set_time(source, next);
	return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int leaf_read(const char *folder, struct x509_facts *ret)
{
	AUTO(buf) struct buf pem = BUF_EMPTY;
	AUTO(x509_sk) STACK_OF(X509) *certs = NULL;
	char path[PATH_MAX];
	int r;

	(void) snprintf(path, sizeof(path), "%s/current/cert.pem", folder); /* cut: it will not be found */
	r = fs_read(path, LIMIT_CA_REPLY_BYTES, &pem, NULL);
	if (r == 0)
		r = x509_from_pem(pem.data, pem.len, &certs, NULL);
	return r < 0 ? r : x509_facts_get(sk_X509_value(certs, 0), ret, NULL);
}

static int on_rename(sd_event_source *source, const struct inotify_event *event, void *userdata)
{
	struct watch *w = userdata;
	struct x509_facts facts;

	(void) source;
	if (event->len > 0 && strcmp(event->name, "current") == 0 && leaf_read(w->folder, &facts) == 0)
		say("switch", json_pack("{s:s, s:s}", "serial", facts.serial, "issuer", facts.issuer));
	return 0;
}

static int tls_open(struct watch *w, struct err *reterr)
{
	w->tls = SSL_CTX_new(TLS_client_method());
	if (!w->tls)
		return err_from_openssl(reterr, -ENOMEM, "no TLS context");
	SSL_CTX_set_verify(w->tls, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(w->tls, on_verify, w);
	return 0;
}

static int sources_add(struct watch *w, sd_event *event)
{
	int r = sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL); /* ends the loop */

	if (r >= 0)
		r = sd_event_add_inotify(event, &w->folder_source, w->folder, IN_MOVED_TO, on_rename, w);
	if (r >= 0)
		r = sd_event_add_time_relative(event, NULL, CLOCK_BOOTTIME, 0, 1000, on_tick, w);
	return r;
}

static int watch_run(struct watch *w, struct err *reterr)
{
	AUTO(event) sd_event *event = NULL;
	sigset_t mask;
	int r;

	(void) sigemptyset(&mask); /* cannot fail with valid numbers */
	(void) sigaddset(&mask, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
		return -errno;
	r = tls_open(w, reterr);
	if (r == 0)
		r = sd_event_new(&event);
	if (r >= 0)
		r = sources_add(w, event);
	if (r >= 0)
		r = sd_event_loop(event);
	(void) sd_event_source_disable_unref(w->folder_source); /* returns NULL */
	return r;
}

static void summary(const struct watch *w)
{
	say("summary", json_pack("{s:I, s:I, s:I, s:I, s:I}", "handshakes", (json_int_t) w->handshakes, "failed", (json_int_t) w->failed, "tolerated",
				 (json_int_t) w->tolerated, "late", (json_int_t) w->late, "longest_ms", (json_int_t) w->longest_ms));
}

int main(int argc, char **argv)
{
	struct watch w = { 0 };
	struct err e = { 0 };
	int r;

	if (argc != 5) {
		(void) fprintf(stderr, "usage: tlswatch FOLDER HOST PORT PERIOD-MS\n");
		return 2;
	}
	w.folder = argv[1];
	w.host = argv[2];
	w.port = (uint16_t) atoi(argv[3]);
	w.period_usec = (uint64_t) atoi(argv[4]) * 1000;
	if (w.port == 0 || w.period_usec == 0)
		return 2;
	(void) signal(SIGPIPE, SIG_IGN);
	r = watch_run(&w, &e);
	if (r < 0)
		(void) fprintf(stderr, "tlswatch: %s\n", err_text(&e, r));
	else
		summary(&w);
	SSL_CTX_free(w.tls);
	X509_STORE_free(w.anchors);
	return r < 0 || w.failed > 0 || w.handshakes == 0;
}

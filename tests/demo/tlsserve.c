/* The demo's consumer: a TLS server that knows nothing of Keyroll but a folder and a URI. Certificate and chain come from the delivered folder,
 * the key from whatever OSSL_STORE finds under the URI in key.uri (keyroll://..., by the provider of OPENSSL_CONF) or from key.pem.
 * SIGHUP, which the hook sends, loads them again; a pair that does not match is not taken. One handshake at a time: it is a demo. */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "common/err.h"
#include "common/fs.h"
#include "common/limits.h"
#include "common/x509facts.h"
#include "tests/demo/auto_tls.h"

#define HANDSHAKE_SEC 2

struct server {
	const char *folder; /* .../delivered/TP/current */
	SSL_CTX *ctx;	    /* in force; owned */
	int fd;
};

/* The text of key.uri without its newline; -ENOENT when the folder has none. */
static int uri_read(const char *folder, char *ret, size_t size, struct err *reterr)
{
	AUTO(buf) struct buf text = BUF_EMPTY;
	char path[PATH_MAX];
	int r;

	(void) snprintf(path, sizeof(path), "%s/key.uri", folder); /* cut: it will not be found */
	r = fs_read(path, LIMIT_CONF_LINE_BYTES, &text, reterr);
	if (r < 0)
		return r;
	(void) snprintf(ret, size, "%.*s", (int) strcspn((const char *) text.data, "\n"), (const char *) text.data); /* likewise */
	return 0;
}

static int key_open(const char *uri, EVP_PKEY **ret, struct err *reterr)
{
	AUTO(uri_store) OSSL_STORE_CTX *store = OSSL_STORE_open(uri, NULL, NULL, NULL, NULL);

	if (!store)
		return err_from_openssl(reterr, -ENOENT, "nothing opens %s", uri);
	while (!OSSL_STORE_eof(store)) {
		OSSL_STORE_INFO *info = OSSL_STORE_load(store);

		if (info && OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY) {
			*ret = OSSL_STORE_INFO_get1_PKEY(info);
			OSSL_STORE_INFO_free(info);
			return *ret ? 0 : -ENOMEM;
		}
		OSSL_STORE_INFO_free(info);
	}
	return err_from_openssl(reterr, -ENOKEY, "no private key in %s", uri);
}

static int key_load(const char *folder, EVP_PKEY **ret, struct err *reterr)
{
	char uri[PATH_MAX];
	int r = uri_read(folder, uri, sizeof(uri), reterr);

	if (r == -ENOENT)
		(void) snprintf(uri, sizeof(uri), "%s/key.pem", folder); /* cut: it will not be found */
	else if (r < 0)
		return r;
	return key_open(uri, ret, reterr);
}

/* Leaf first, then what stands in chain.pem, roots left out by nobody: a verifier ignores what it does not need. */
static int chain_use(SSL_CTX *ctx, const char *folder, struct err *reterr)
{
	AUTO(buf) struct buf pem = BUF_EMPTY;
	AUTO(x509_sk) STACK_OF(X509) *chain = NULL;
	char path[PATH_MAX];
	int i, r;

	(void) snprintf(path, sizeof(path), "%s/cert.pem", folder); /* cut: it will not be found */
	if (SSL_CTX_use_certificate_file(ctx, path, SSL_FILETYPE_PEM) != 1)
		return err_from_openssl(reterr, -EBADMSG, "cannot use %s", path);
	(void) snprintf(path, sizeof(path), "%s/chain.pem", folder);
	r = fs_read(path, LIMIT_CA_REPLY_BYTES, &pem, reterr);
	if (r == -ENOENT || (r == 0 && pem.len == 0))
		return 0;
	if (r == 0)
		r = x509_from_pem(pem.data, pem.len, &chain, reterr);
	if (r < 0)
		return r;
	for (i = 0; i < sk_X509_num(chain); i++)
		if (SSL_CTX_add1_chain_cert(ctx, sk_X509_value(chain, i)) != 1)
			return err_from_openssl(reterr, -ENOMEM, "cannot add to the chain");
	return 0;
}

/* A context of the generation that the link points to now: resolved once, so certificate and key are of the same one. */
static int context_load(const char *link, SSL_CTX **ret, struct err *reterr)
{
	AUTO(ssl_ctx) SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	AUTO(mem) char *folder = realpath(link, NULL);
	AUTO(pkey) EVP_PKEY *key = NULL;
	int r;

	if (!ctx)
		return err_from_openssl(reterr, -ENOMEM, "no TLS context");
	if (!folder)
		return err_set(reterr, -errno, "%s: %s", link, strerror(errno));
	if (SSL_CTX_set_num_tickets(ctx, 0) != 1) /* every handshake shall be a whole one */
		return err_from_openssl(reterr, -EINVAL, "tickets");
	(void) SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* returns the old mode */
	r = chain_use(ctx, folder, reterr);
	if (r == 0)
		r = key_load(folder, &key, reterr);
	if (r < 0)
		return r;
	if (SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1)
		return err_from_openssl(reterr, -EKEYREJECTED, "key and certificate in %s do not match", folder);
	*ret = TAKE(ctx);
	return 0;
}

static int reload(struct server *s, struct err *reterr)
{
	AUTO(ssl_ctx) SSL_CTX *ctx = NULL;
	struct x509_facts facts;
	int r = context_load(s->folder, &ctx, reterr);

	if (r == 0)
		r = x509_facts_get(SSL_CTX_get0_certificate(ctx), &facts, reterr);
	if (r < 0)
		return r;
	SSL_CTX_free(s->ctx);
	s->ctx = TAKE(ctx);
	(void) printf("serving %s\n", facts.serial); /* stdout is line-buffered; the demo reads it */
	return 0;
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata)
{
	struct err e = { 0 };

	(void) source;
	(void) si;
	if (reload(userdata, &e) < 0)
		(void) printf("kept the old pair: %s\n", e.text);
	return 0;
}

static void client_serve(SSL_CTX *ctx, int fd)
{
	const struct timeval limit = { .tv_sec = HANDSHAKE_SEC };
	AUTO(ssl) SSL *ssl = SSL_new(ctx);
	struct err e = { 0 };

	if (!ssl || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 || SSL_set_fd(ssl, fd) != 1)
		return;
	if (SSL_accept(ssl) != 1 || SSL_write(ssl, "ok\n", 3) != 3) {
		(void) err_from_openssl(&e, -EPROTO, "handshake"); /* fills e, which is what we want */
		(void) printf("%s\n", e.text);
		return;
	}
	(void) SSL_shutdown(ssl); /* the peer may be gone already */
}

static int on_client(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct server *s = userdata;
	AUTO(fd) int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	(void) source;
	(void) revents;
	if (client >= 0)
		client_serve(s->ctx, client);
	return 0;
}

static int listen_loopback(uint16_t port, int *ret)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	AUTO(fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *) &a, sizeof(a)) < 0 || listen(fd, 64) < 0 || getsockname(fd, (struct sockaddr *) &a, &len) < 0)
		return -errno;
	(void) printf("port %d\n", ntohs(a.sin_port));
	*ret = TAKE_FD(fd);
	return 0;
}

static int serve(struct server *s)
{
	AUTO(event) sd_event *event = NULL;
	sigset_t mask;
	int r;

	(void) sigemptyset(&mask); /* cannot fail with valid numbers */
	(void) sigaddset(&mask, SIGHUP);
	(void) sigaddset(&mask, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
		return -errno;
	r = sd_event_new(&event);
	if (r >= 0)
		r = sd_event_add_signal(event, NULL, SIGHUP, on_hangup, s);
	if (r >= 0)
		r = sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL); /* ends the loop */
	if (r >= 0)
		r = sd_event_add_io(event, NULL, s->fd, EPOLLIN, on_client, s);
	return r < 0 ? r : sd_event_loop(event);
}

int main(int argc, char **argv)
{
	struct server s = { .fd = -1 };
	struct err e = { 0 };
	int r;

	if (argc != 2) {
		(void) fprintf(stderr, "usage: tlsserve FOLDER\n");
		return 2;
	}
	s.folder = argv[1];
	(void) setvbuf(stdout, NULL, _IOLBF, 0);
	(void) signal(SIGPIPE, SIG_IGN);
	r = reload(&s, &e);
	if (r == 0)
		r = listen_loopback(0, &s.fd);
	if (r == 0)
		r = serve(&s);
	if (r < 0)
		(void) fprintf(stderr, "tlsserve: %s\n", err_text(&e, r));
	if (s.fd >= 0)
		(void) close(s.fd);
	SSL_CTX_free(s.ctx);
	return r < 0;
}

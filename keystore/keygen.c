/* Key making: see keygen.h. The reply is status, serial, three lengths, 32 random bytes; then public key, sealed copy, error text. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/auto_ssl.h"
#include "keystore/keygen.h"
#include "keystore/secrecy.h"

struct reply_head {
	int32_t status;
	int32_t serial;
	uint32_t spki_len, sealed_len, text_len;
	uint8_t reject_random[32];
};

void keygen_result_clear(struct keygen_result *r)
{
	buf_clear(&r->spki_der);
	buf_clear(&r->copy);
}

/* Nobody may look into this process, and nothing of it may reach a disk. */
static void child_close_up(void)
{
	(void) prctl(PR_SET_PDEATHSIG, SIGKILL); /* best effort: it narrows a window of milliseconds */
	secrecy_process();
}

static int key_make(const struct keygen_order *o, struct keygen_result *ret, struct err *reterr)
{
	AUTO(buf) struct buf pkcs8 = BUF_SECRET;
	AUTO(pkey) EVP_PKEY *key = EVP_RSA_gen((unsigned) o->bits);
	AUTO(der) unsigned char *spki = NULL;
	int len = key ? i2d_PUBKEY(key, &spki) : -1, r;

	if (len <= 0 || RAND_priv_bytes(ret->reject_random, sizeof(ret->reject_random)) != 1)
		return err_from_openssl(reterr, -EIO, "making a key of %d bits", o->bits);
	r = buf_set(&ret->spki_der, spki, (size_t) len);
	if (r == 0)
		r = backend_pkcs8(key, &pkcs8, reterr);
	if (r == 0 && o->seal)
		r = seal_wrap(o->seal, &pkcs8, &ret->copy, reterr);
	if (r == 0)
		r = o->backend->load(o->ring, o->label, &pkcs8, &ret->serial, reterr);
	return r;
}

static int key_unseal(const struct keygen_order *o, struct keygen_result *ret, struct err *reterr)
{
	AUTO(buf) struct buf pkcs8 = BUF_SECRET;
	int r = seal_unwrap(o->seal, o->sealed, &pkcs8, reterr);

	return r < 0 ? r : o->backend->load(o->ring, o->label, &pkcs8, &ret->serial, reterr);
}

static int write_all(int fd, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EIO;
		p += n;
		len -= (size_t) n;
	}
	return 0;
}

static int child_run(const struct keygen_order *o, int fd)
{
	struct keygen_result made = { .serial = 0 };
	struct err e = { .code = 0 };
	struct reply_head head;
	int r;

	if (o->sealed)
		(void) alarm(KEYGEN_RESTORE_SEC); /* the custodian waits for this one */
	child_close_up();
	head.status = o->sealed ? key_unseal(o, &made, &e) : key_make(o, &made, &e);
	head.serial = made.serial;
	head.spki_len = (uint32_t) made.spki_der.len;
	head.sealed_len = (uint32_t) made.copy.len;
	head.text_len = (uint32_t) strlen(e.text);
	memcpy(head.reject_random, made.reject_random, sizeof(head.reject_random));
	r = write_all(fd, &head, sizeof(head));
	if (r == 0)
		r = write_all(fd, made.spki_der.data, made.spki_der.len);
	if (r == 0)
		r = write_all(fd, made.copy.data, made.copy.len);
	if (r == 0)
		r = write_all(fd, e.text, strlen(e.text));
	keygen_result_clear(&made);
	OPENSSL_cleanse(&head, sizeof(head));
	return r;
}

int keygen_start(const struct keygen_order *o, pid_t *ret_pid, int *ret_fd, struct err *reterr)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_set(reterr, -errno, "making a key: pipe: %s", strerror(errno));
	pid = fork();
	if (pid == 0) {
		(void) fcntl(ends[1], F_SETFL, 0); /* the child's end blocks */
		_exit(child_run(o, ends[1]) < 0);
	}
	(void) close(ends[1]); /* the child's */
	if (pid < 0) {
		int r = -errno;

		(void) close(ends[0]); /* never used */
		return err_set(reterr, r, "making a key: fork: %s", strerror(-r));
	}
	*ret_pid = pid;
	*ret_fd = ends[0];
	return 0;
}

int keygen_finish(const struct buf *reply, struct keygen_result *ret, struct err *reterr)
{
	struct reply_head head;
	const uint8_t *p;

	if (reply->len < sizeof(head))
		return err_set(reterr, -ECANCELED, "the process that made the key died");
	p = reply->data + sizeof(head);
	memcpy(&head, reply->data, sizeof(head));
	if (head.spki_len > KEYGEN_REPLY_BYTES || head.sealed_len > KEYGEN_REPLY_BYTES || head.text_len >= ERR_TEXT_BYTES ||
	    reply->len != sizeof(head) + head.spki_len + head.sealed_len + head.text_len)
		return err_set(reterr, -ECANCELED, "the process that made the key died in its reply");
	if (head.status < 0)
		return err_set(reterr, head.status, "%.*s", (int) head.text_len, (const char *) p + head.spki_len + head.sealed_len);
	ret->serial = head.serial;
	memcpy(ret->reject_random, head.reject_random, sizeof(ret->reject_random));
	if (buf_set(&ret->spki_der, p, head.spki_len) < 0 || buf_set(&ret->copy, p + head.spki_len, head.sealed_len) < 0)
		return -ENOMEM;
	return 0;
}

/* The child's reply to its end. */
static int reply_read(int fd, struct buf *reply)
{
	uint8_t chunk[1024];

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n = poll(&p, 1, -1) < 0 ? -1 : read(fd, chunk, sizeof(chunk)); /* the child ends in time, by its own alarm */

		if (n == 0)
			return 0;
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return -errno;
		if (reply->len + (size_t) n > KEYGEN_REPLY_BYTES)
			return -EMSGSIZE;
		if (buf_add(reply, chunk, (size_t) n) < 0)
			return -ENOMEM;
	}
}

int keygen_restore(const struct keygen_order *o, key_serial_t *ret, struct err *reterr)
{
	struct keygen_result made = { .serial = 0 };
	AUTO(buf) struct buf reply = BUF_EMPTY;
	AUTO(fd) int fd = -1;
	pid_t pid;
	int r = keygen_start(o, &pid, &fd, reterr);

	if (r < 0)
		return r;
	r = reply_read(fd, &reply);
	(void) kill(pid, SIGKILL); /* it has ended, or is stuck */
	(void) waitpid(pid, NULL, 0); /* ours */
	if (r < 0)
		return err_set(reterr, r, "restoring key %s: %s", o->label, strerror(-r));
	r = keygen_finish(&reply, &made, reterr);
	if (r == 0)
		*ret = made.serial;
	keygen_result_clear(&made);
	return r;
}

/* The asking side of the control sockets: one call, blocking, with a deadline. See ctl.h. */
#include "common/ctl.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "common/clk.h"
#include "common/ctl_internal.h"
#include "common/limits.h"

#define READ_CHUNK_BYTES (16 * 1024)

static int connect_to(const char *path, int timeout_ms, int *ret_fd, struct err *reterr)
{
	AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval wait = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };
	AUTO(fd) int folder = -1;
	struct sockaddr_un sa;
	int r;

	if (fd < 0)
		return err_set(reterr, -errno, "socket: %s", strerror(errno));
	r = ctl_address(path, &sa, &folder, reterr);
	if (r < 0)
		return r;
	/* bounds connect and send; what is read is bounded by poll */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0)
		return err_set(reterr, -errno, "socket: %s", strerror(errno));
	if (connect(fd, (struct sockaddr *) &sa, sizeof(sa)) < 0) {
		r = errno == EAGAIN || errno == EINPROGRESS ? -ETIMEDOUT : -errno;
		return err_set(reterr, r, "%s: %s", path, strerror(-r));
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int request_send(int fd, const char *method, json_t *params, struct err *reterr)
{
	AUTO(json) json_t *message = json_pack("{s:s, s:O*}", "method", method, "parameters", params);
	AUTO(buf) struct buf out = BUF_SECRET;
	size_t sent = 0;
	int r;

	if (!message)
		return err_set(reterr, -ENOMEM, "call %s cannot be built", method);
	r = ctl_json_build(message, LIMIT_CTL_MESSAGE_BYTES, &out);
	if (r < 0)
		return err_set(reterr, r, "call %s: %s", method, strerror(-r));
	while (sent < out.len) {
		ssize_t n = send(fd, out.data + sent, out.len - sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(reterr, errno == EAGAIN ? -ETIMEDOUT : -ECONNRESET, "the daemon does not take the call: %s",
				       strerror(errno));
		sent += (size_t) n;
	}
	return 0;
}

static int wait_readable(int fd, int64_t deadline_ms, struct err *reterr)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int64_t left;
	int n;

	do {
		left = deadline_ms - clk_boot_ms();
		n = left > 0 ? poll(&p, 1, (int) left) : 0;
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_set(reterr, -errno, "poll: %s", strerror(errno));
	return n > 0 ? 0 : err_set(reterr, -ETIMEDOUT, "no answer in time");
}

/* An answer may be large: it grows by doubling, and is searched for its NUL once. */
struct answer {
	char *data;
	size_t len, room;
};

static void auto_answer(struct answer *a)
{
	free(a->data);
}

static int answer_room(struct answer *a)
{
	size_t room = a->room ? a->room * 2 : READ_CHUNK_BYTES;
	char *more;

	if (a->len < a->room)
		return 0;
	if (a->room > LIMIT_CTL_REPLY_BYTES)
		return -EMSGSIZE;
	more = realloc(a->data, room);
	if (!more)
		return -ENOMEM;
	a->data = more;
	a->room = room;
	return 0;
}

/* 1: complete, *ret_len without its NUL. 0: go on. */
static int answer_more(int fd, struct answer *a, size_t *ret_len, struct err *reterr)
{
	const char *nul;
	ssize_t n;
	int r;

	r = answer_room(a);
	if (r < 0)
		return err_set(reterr, r == -EMSGSIZE ? -EBADMSG : r, "an answer larger than %d bytes does not fit", LIMIT_CTL_REPLY_BYTES);
	n = recv(fd, a->data + a->len, a->room - a->len, 0);
	if (n < 0 && errno == EINTR)
		return 0;
	if (n <= 0)
		return err_set(reterr, -ECONNRESET, "the daemon closed the connection without an answer");
	nul = memchr(a->data + a->len, '\0', (size_t) n);
	a->len += (size_t) n;
	*ret_len = nul ? (size_t) (nul - a->data) : 0;
	return nul != NULL;
}

static int answer_read(int fd, int64_t deadline_ms, struct answer *a, size_t *ret_len, struct err *reterr)
{
	int r;

	do {
		r = wait_readable(fd, deadline_ms, reterr);
		if (r == 0)
			r = answer_more(fd, a, ret_len, reterr);
	} while (r == 0);
	return r < 0 ? r : 0;
}

static void text_copy(char *out, size_t size, json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	(void) snprintf(out, size, "%s", text ? text : ""); /* cut is fine */
}

static int reply_judge(json_t *message, json_t **ret_reply, struct ctl_failure *ret_failure, struct err *reterr)
{
	json_t *params = json_object_get(message, "parameters");

	if (params && !json_is_object(params))
		return err_set(reterr, -EBADMSG, "the answer's parameters are not an object");
	if (!json_object_get(message, "error")) {
		*ret_reply = params ? json_incref(params) : json_object();
		return *ret_reply ? 0 : -ENOMEM;
	}
	if (!json_is_string(json_object_get(message, "error")))
		return err_set(reterr, -EBADMSG, "the answer's error is not a string");
	text_copy(ret_failure->error, sizeof(ret_failure->error), message, "error");
	text_copy(ret_failure->message, sizeof(ret_failure->message), params, "message");
	text_copy(ret_failure->do_text, sizeof(ret_failure->do_text), params, "do");
	return err_set(reterr, -EREMOTEIO, "%s", ret_failure->message[0] ? ret_failure->message : ret_failure->error);
}

int ctl_ask(const char *path, const char *method, json_t *params, int timeout_ms, json_t **ret_reply, struct ctl_failure *ret_failure,
	    struct err *reterr)
{
	int64_t deadline_ms = clk_boot_ms() + timeout_ms;
	AUTO(json) json_t *owned = params;
	AUTO(json) json_t *message = NULL;
	AUTO(answer) struct answer in = { .data = NULL };
	AUTO(fd) int fd = -1;
	size_t len = 0;
	int r;

	*ret_failure = (struct ctl_failure){ .error = "" };
	r = connect_to(path, timeout_ms, &fd, reterr);
	if (r < 0)
		return r;
	r = request_send(fd, method, owned, reterr);
	if (r < 0)
		return r;
	r = answer_read(fd, deadline_ms, &in, &len, reterr);
	if (r < 0)
		return r;
	r = ctl_json_parse(in.data, len, &message, reterr);
	if (r < 0)
		return r;
	return reply_judge(message, ret_reply, ret_failure, reterr);
}

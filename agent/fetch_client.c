/* Starting keyroll-fetch and talking to it: see fetch_client.h. */
#include "agent/fetch_client.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "agent/child.h"
#include "common/auto.h"
#include "common/log.h"

#define READ_BYTES (64 * 1024)
#define CALLS_MAX 256

struct call {
	struct call *next;
	uint32_t id;
	fetch_fn fn;
	void *userdata;
};

struct fetch_client {
	sd_event *event;
	char *path;
	sd_event_source *io;
	int fd;
	struct buf in, out;
	struct call *calls;
	unsigned n_calls;
	uint32_t last_id;
};

int fetch_client_new(sd_event *event, const char *path, struct fetch_client **ret)
{
	struct fetch_client *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	*f = (struct fetch_client){ .event = event, .fd = -1, .path = strdup(path) };
	if (!f->path) {
		free(f);
		return -ENOMEM;
	}
	*ret = f;
	return 0;
}

static struct call *call_unlink(struct fetch_client *f, uint32_t id)
{
	struct call **at, *c;

	for (at = &f->calls; (c = *at); at = &c->next)
		if (c->id == id) {
			*at = c->next;
			f->n_calls--;
			return c;
		}
	return NULL;
}

static void line_close(struct fetch_client *f)
{
	f->io = sd_event_source_disable_unref(f->io);
	auto_fd(&f->fd);
	f->fd = -1;
	buf_clear(&f->in);
	buf_clear(&f->out);
}

/* Everything in flight gets no verdict; the next fetch starts the program anew. */
static void line_lost(struct fetch_client *f, const char *why)
{
	struct fetch_reply reply = { .error = why, .error_len = strlen(why) };
	struct call *calls = f->calls, *c;

	line_close(f);
	f->calls = NULL;
	f->n_calls = 0;
	while ((c = calls)) {
		calls = c->next;
		reply.id = c->id;
		c->fn(c->userdata, &reply);
		free(c);
	}
}

static int on_child(sd_event_source *s, const siginfo_t *si, void *userdata)
{
	(void) userdata;
	if (si->si_code != CLD_EXITED || si->si_status != 0)
		log_line(LOG_WARNING, "keyroll-fetch ended by %s %d", si->si_code == CLD_EXITED ? "status" : "signal", si->si_status);
	return sd_event_source_set_floating(s, 0); /* the loop's reference was the only one */
}

static int out_flush(struct fetch_client *f)
{
	while (f->out.len > 0) {
		ssize_t n = send(f->fd, f->out.data, f->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return -errno;
		buf_drop(&f->out, (size_t) n);
	}
	return sd_event_source_set_io_events(f->io, f->out.len > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static int reply_take(struct fetch_client *f, const uint8_t *frame, size_t len)
{
	struct fetch_reply reply;
	struct call *c;
	int r = fetch_reply_parse(frame, len, &reply);

	if (r < 0)
		return r;
	c = call_unlink(f, reply.id);
	if (!c)
		return 0; /* cancelled meanwhile */
	c->fn(c->userdata, &reply);
	free(c);
	return 0;
}

/* The frame leaves the buffer first: the callback may start another fetch, or end the line. */
static int frames_take(struct fetch_client *f)
{
	enum fetch_kind kind;
	ssize_t n;
	int r;

	while ((n = fetch_frame(f->in.data, f->in.len, &kind)) > 0) {
		AUTO(buf) struct buf frame = BUF_EMPTY;

		r = buf_set(&frame, f->in.data, (size_t) n);
		if (r < 0)
			return r;
		buf_drop(&f->in, (size_t) n);
		r = reply_take(f, frame.data, frame.len);
		if (r < 0)
			return r;
	}
	return n == -EAGAIN ? 0 : (int) n;
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	struct fetch_client *f = userdata;
	static uint8_t chunk[READ_BYTES];
	ssize_t n;
	int r = 0;

	(void) s;
	if (revents & EPOLLOUT)
		r = out_flush(f);
	if (r < 0) {
		line_lost(f, "keyroll-fetch ended");
		return 0;
	}
	if (!(revents & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return 0;
	n = recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		line_lost(f, "keyroll-fetch ended");
		return 0;
	}
	r = buf_add(&f->in, chunk, (size_t) n);
	if (r == 0)
		r = frames_take(f);
	if (r < 0)
		line_lost(f, "keyroll-fetch said what is not in the protocol");
	return 0;
}

static int program_start(struct fetch_client *f, struct err *reterr)
{
	char *argv[] = { f->path, NULL };
	int pair[2], r;
	pid_t pid;

	if (f->fd >= 0)
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(reterr, -errno, "socket pair for keyroll-fetch: %s", strerror(errno));
	r = child_start(argv, NULL, pair[1], &pid, reterr);
	(void) close(pair[1]); /* the child's end */
	f->fd = pair[0];
	if (r < 0) {
		line_close(f);
		return r;
	}
	r = sd_event_add_child(f->event, NULL, pid, WEXITED, on_child, NULL);
	if (r >= 0)
		r = sd_event_add_io(f->event, &f->io, f->fd, EPOLLIN, on_io, f);
	if (r < 0) {
		line_close(f);
		return err_set(reterr, r, "watching keyroll-fetch: %s", strerror(-r));
	}
	return 0;
}

int fetch_start(struct fetch_client *f, struct fetch_request *request, fetch_fn fn, void *userdata, struct err *reterr)
{
	struct call *c;
	int r = program_start(f, reterr);

	if (r < 0)
		return r;
	if (f->n_calls == CALLS_MAX)
		return err_set(reterr, -EBUSY, "%d exchanges are in flight", CALLS_MAX);
	request->id = ++f->last_id;
	r = fetch_request_build(request, &f->out);
	if (r < 0)
		return err_set(reterr, r, "request of %zu bytes to keyroll-fetch: %s", request->body_len, strerror(-r));
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	*c = (struct call){ .next = f->calls, .id = request->id, .fn = fn, .userdata = userdata };
	f->calls = c;
	f->n_calls++;
	(void) out_flush(f); /* a lost line shows on the socket, in the loop */
	return 0;
}

void *fetch_cancel(struct fetch_client *f, uint32_t id)
{
	struct call *c = call_unlink(f, id);
	void *userdata;

	if (!c)
		return NULL;
	userdata = c->userdata;
	free(c);
	if (f->fd >= 0 && fetch_cancel_build(id, &f->out) == 0)
		(void) out_flush(f); /* as above */
	return userdata;
}

void fetch_client_free(struct fetch_client *f)
{
	struct call *c;

	if (!f)
		return;
	line_close(f);
	while ((c = f->calls)) {
		f->calls = c->next;
		free(c);
	}
	free(f->path);
	free(f);
}

/* Absolute deadlines. The library's own time-out counts from the last byte: one byte a second holds a connection for ever. A connection is shut down only
 * under the lock that its notification takes at start and close: outside it the descriptor may already be another client's. */
#include "ca/httpd_internal.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "common/clk.h"

enum { SLEEP_MAX_MS = 60 * 60 * 1000 };

static void wake(struct httpd_deadlines *d)
{
	uint64_t one = 1;

	if (write(d->wake_fd, &one, sizeof(one)) < 0)
		return; /* the counter is full: it is awake */
}

static void leave(struct httpd_conn *c)
{
	if (c->queue)
		TAILQ_REMOVE(c->queue, c, link);
	c->queue = NULL;
}

static void enter(struct httpd_deadlines *d, struct httpd_conn *c, struct httpd_conn_queue *queue, int64_t ms)
{
	(void) pthread_mutex_lock(&d->lock);
	leave(c);
	c->due_boot_ms = clk_boot_ms() + ms;
	c->queue = queue;
	TAILQ_INSERT_TAIL(queue, c, link);
	if (c->due_boot_ms < d->asleep_until_boot_ms) {
		d->asleep_until_boot_ms = c->due_boot_ms; /* once is enough */
		wake(d);
	}
	(void) pthread_mutex_unlock(&d->lock);
}

void httpd_conn_head(struct httpd_deadlines *d, struct httpd_conn *c)
{
	enter(d, c, &d->head, d->head_ms);
}

void httpd_conn_body(struct httpd_deadlines *d, struct httpd_conn *c)
{
	enter(d, c, &d->body, d->body_ms);
}

void httpd_conn_hold(struct httpd_deadlines *d, struct httpd_conn *c)
{
	(void) pthread_mutex_lock(&d->lock);
	leave(c);
	(void) pthread_mutex_unlock(&d->lock);
}

struct httpd_conn *httpd_conn_new(struct httpd_deadlines *d, int fd)
{
	struct httpd_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->fd = fd;
	httpd_conn_head(d, c);
	return c;
}

void httpd_conn_free(struct httpd_deadlines *d, struct httpd_conn *c)
{
	if (!c)
		return;
	httpd_conn_hold(d, c);
	free(c);
}

/* Shuts down what is due, returns the milliseconds to the next, -1 when there is none. */
static int64_t queue_sweep(struct httpd_conn_queue *queue, int64_t now_ms)
{
	struct httpd_conn *c;

	while ((c = TAILQ_FIRST(queue))) {
		if (c->due_boot_ms > now_ms)
			return c->due_boot_ms - now_ms;
		leave(c);
		(void) shutdown(c->fd, SHUT_RDWR); /* its peer may have gone already: as good */
	}
	return -1;
}

static int64_t sooner(int64_t a, int64_t b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

static void *deadline_main(void *arg)
{
	struct httpd_deadlines *d = arg;
	struct pollfd p = { .fd = d->wake_fd, .events = POLLIN };
	uint64_t count;
	int64_t now, left;
	bool stop;

	do {
		(void) pthread_mutex_lock(&d->lock);
		now = clk_boot_ms();
		left = sooner(queue_sweep(&d->head, now), queue_sweep(&d->body, now));
		d->asleep_until_boot_ms = left < 0 ? INT64_MAX : now + left;
		stop = d->stop;
		(void) pthread_mutex_unlock(&d->lock);
		if (!stop && poll(&p, 1, left > SLEEP_MAX_MS ? SLEEP_MAX_MS : (int) left) > 0 && read(d->wake_fd, &count, sizeof(count)) < 0)
			stop = errno != EAGAIN && errno != EINTR;
	} while (!stop);
	return NULL;
}

int httpd_deadlines_start(struct httpd_deadlines *d, int64_t head_ms, int64_t body_ms, struct err *reterr)
{
	int e = pthread_mutex_init(&d->lock, NULL);

	TAILQ_INIT(&d->head);
	TAILQ_INIT(&d->body);
	d->head_ms = head_ms;
	d->body_ms = body_ms;
	d->asleep_until_boot_ms = INT64_MAX;
	d->wake_fd = e == 0 ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
	if (e == 0 && d->wake_fd < 0)
		e = errno;
	if (e == 0)
		e = pthread_create(&d->thread, NULL, deadline_main, d);
	d->running = e == 0;
	return e == 0 ? 0 : err_set(reterr, -e, "http: cannot start the deadlines' thread");
}

void httpd_deadlines_stop(struct httpd_deadlines *d)
{
	if (d->running) {
		(void) pthread_mutex_lock(&d->lock);
		d->stop = true;
		(void) pthread_mutex_unlock(&d->lock);
		wake(d);
		(void) pthread_join(d->thread, NULL); /* our own, joined once */
		(void) pthread_mutex_destroy(&d->lock);
		d->running = false;
	}
	if (d->wake_fd >= 0)
		(void) close(d->wake_fd); /* an eventfd: nothing to lose */
	d->wake_fd = -1;
}

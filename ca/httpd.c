/* The HTTP side's life. */
#include "ca/httpd_internal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

AUTO_DEFINE(httpd, struct httpd *, httpd_stop);

static unsigned cores(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : n > 256 ? 256 : (unsigned) n;
}

static unsigned worker_count(void)
{
	unsigned n = cores() * HTTPD_WORKERS_PER_CORE;

	return n < HTTPD_WORKERS_MIN ? HTTPD_WORKERS_MIN : n > HTTPD_WORKERS_MAX ? HTTPD_WORKERS_MAX : n;
}

/* The library reads more threads than one as a pool, and wants at least one connection for each. */
static int daemon_start(struct httpd *h, const struct httpd_options *o, int fd, struct err *reterr)
{
	unsigned threads = o->threads ? o->threads : cores();
	unsigned connections = o->max_connections < threads ? threads : o->max_connections;
	unsigned flags = MHD_USE_EPOLL | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_ITC | MHD_ALLOW_SUSPEND_RESUME;
	struct MHD_OptionItem pool[] = {
		{ threads > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END, (intptr_t) threads, NULL },
		{ MHD_OPTION_END, 0, NULL },
	};

	h->daemon = MHD_start_daemon(flags, 0, NULL, NULL, httpd_on_access, h, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_ARRAY, pool,
				     MHD_OPTION_CONNECTION_LIMIT, connections, MHD_OPTION_PER_IP_CONNECTION_LIMIT, o->max_per_address,
				     MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) HTTPD_MEMORY_BYTES, MHD_OPTION_CONNECTION_MEMORY_INCREMENT,
				     (size_t) 1024, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_URI_LOG_CALLBACK, httpd_on_uri, h,
				     MHD_OPTION_NOTIFY_COMPLETED, httpd_on_completed, h, MHD_OPTION_NOTIFY_CONNECTION, httpd_on_connection, h,
				     MHD_OPTION_END);
	return h->daemon ? 0 : err_set(reterr, -EIO, "http: libmicrohttpd did not start with %u threads and %u connections", threads, connections);
}

/* Signals are the main thread's: every thread that is made here has them blocked. */
static int threads_start(struct httpd *h, const struct httpd_options *o, int fd, struct err *reterr)
{
	sigset_t all, old;
	int r;

	if (sigfillset(&all) < 0 || pthread_sigmask(SIG_SETMASK, &all, &old) != 0)
		return err_set(reterr, -EINVAL, "http: cannot block signals");
	r = httpd_deadlines_start(&h->deadlines, o->head_deadline_ms, o->body_deadline_ms, reterr);
	if (r == 0)
		r = httpd_workers_start(&h->workers, worker_count(), reterr);
	if (r == 0)
		r = daemon_start(h, o, fd, reterr);
	(void) pthread_sigmask(SIG_SETMASK, &old, NULL); /* was ours a moment ago */
	return r;
}

int httpd_start(const struct httpd_options *o, httpd_fn fn, void *userdata, struct httpd **ret, struct err *reterr)
{
	AUTO(httpd) struct httpd *h = calloc(1, sizeof(*h));
	AUTO(fd) int own = -1;
	int r;

	if (!h)
		return err_set(reterr, -ENOMEM, "http: out of memory");
	h->deadlines.wake_fd = -1;
	h->fn = fn;
	h->userdata = userdata;
	h->crl_prefix = strdup(o->crl_prefix ? o->crl_prefix : "");
	if (!h->crl_prefix)
		return err_set(reterr, -ENOMEM, "http: out of memory");
	r = o->listen_fd >= 0 ? httpd_listen_taken(o->listen_fd, &h->port, reterr) : httpd_listen(o->listen, &own, &h->port, reterr);
	if (r == 0)
		r = threads_start(h, o, o->listen_fd >= 0 ? o->listen_fd : own, reterr);
	if (r < 0)
		return r;
	(void) TAKE_FD(own); /* the library closes it */
	*ret = TAKE(h);
	return 0;
}

uint16_t httpd_port(const struct httpd *h)
{
	return h->port;
}

/* Left to itself the library shuts the listening socket down, also for systemd, which holds the same one: after a restart of the CA nobody could
 * connect. So the socket is taken back first, and only our descriptor is closed. */
static void daemon_stop(struct MHD_Daemon *daemon)
{
	AUTO(fd) int fd = MHD_quiesce_daemon(daemon);

	MHD_stop_daemon(daemon);
}

/* The workers first: a connection that is suspended when the library stops would make it abort. */
void httpd_stop(struct httpd *h)
{
	if (!h)
		return;
	atomic_store(&h->stopping, true);
	httpd_workers_stop(&h->workers);
	if (h->daemon)
		daemon_stop(h->daemon);
	httpd_deadlines_stop(&h->deadlines);
	free(h->crl_prefix);
	free(h);
}

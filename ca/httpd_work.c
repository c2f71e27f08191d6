/* The threads that answer PKIOperations: they wait for the database and the signer, so the library's own threads, which serve what lies ready, never do. While
 * a worker has an exchange the library has its connection suspended. */
#include "ca/httpd_internal.h"

#include <errno.h>

static struct httpd_call *queue_next(struct httpd_workers *w)
{
	struct httpd_call *call;

	(void) pthread_mutex_lock(&w->lock); /* a default mutex of ours: cannot fail */
	while (!(call = STAILQ_FIRST(&w->queue)) && !w->stop)
		(void) pthread_cond_wait(&w->wake, &w->lock);
	if (call) {
		STAILQ_REMOVE_HEAD(&w->queue, link);
		w->queued--;
	}
	(void) pthread_mutex_unlock(&w->lock);
	return call;
}

static void *worker_main(void *arg)
{
	struct httpd_workers *w = arg;
	struct httpd_call *call;

	while ((call = queue_next(w))) {
		call->h->fn(call->h->userdata, &call->request, &call->reply);
		call->phase = HTTPD_PHASE_ANSWER;
		MHD_resume_connection(call->mhd); /* from here on the call is the library's thread's */
	}
	return NULL;
}

bool httpd_workers_give(struct httpd_workers *w, struct httpd_call *call)
{
	bool taken;

	(void) pthread_mutex_lock(&w->lock);
	taken = !w->stop && w->queued < HTTPD_QUEUE_MAX;
	if (taken) {
		call->phase = HTTPD_PHASE_WORK;
		httpd_conn_hold(&call->h->deadlines, call->conn);
		MHD_suspend_connection(call->mhd); /* before a worker can see it */
		STAILQ_INSERT_TAIL(&w->queue, call, link);
		w->queued++;
		(void) pthread_cond_signal(&w->wake);
	}
	(void) pthread_mutex_unlock(&w->lock);
	return taken;
}

int httpd_workers_start(struct httpd_workers *w, unsigned n, struct err *reterr)
{
	int e = pthread_mutex_init(&w->lock, NULL);

	STAILQ_INIT(&w->queue);
	if (e == 0)
		e = pthread_cond_init(&w->wake, NULL);
	while (e == 0 && w->n < n && w->n < HTTPD_WORKERS_MAX) {
		e = pthread_create(&w->threads[w->n], NULL, worker_main, w);
		if (e == 0)
			w->n++;
	}
	return e == 0 ? 0 : err_set(reterr, -e, "http: cannot start the workers");
}

void httpd_workers_stop(struct httpd_workers *w)
{
	if (w->n == 0)
		return;
	(void) pthread_mutex_lock(&w->lock);
	w->stop = true;
	(void) pthread_cond_broadcast(&w->wake);
	(void) pthread_mutex_unlock(&w->lock);
	for (unsigned i = 0; i < w->n; i++)
		(void) pthread_join(w->threads[i], NULL); /* our own, joined once */
	w->n = 0;
	(void) pthread_cond_destroy(&w->wake);
}

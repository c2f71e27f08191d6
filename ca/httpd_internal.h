/* Inside the HTTP side: one connection, one exchange, and the parts that handle them. Only ca/httpd_*.c and its test include it. */
#ifndef KEYROLL_CA_HTTPD_INTERNAL_H
#define KEYROLL_CA_HTTPD_INTERNAL_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "ca/httpd.h"
#include "common/auto.h"
#include "common/limits.h"

enum {
	HTTPD_MEMORY_BYTES = 24 * 1024,	     /* of one connection: head, and a piece of the body */
	HTTPD_IDENT_BYTES = 256,	     /* message= of a GET that is no PKIOperation */
	HTTPD_DRAIN_BYTES = 1024 * 1024,     /* of a body that is too long, thrown away so that the peer can read the answer */
	HTTPD_QUEUE_MAX = 512,		     /* PKIOperations that wait for a worker; beyond: 503 */
	HTTPD_WORKERS_MIN = 16,
	HTTPD_WORKERS_PER_CORE = 8,
	HTTPD_WORKERS_MAX = 128,
	HTTPD_RETRY_AFTER_SEC = 5,
};

/* ---- one connection: known from accept to close, so that it can be shut down at its deadline ---- */
struct httpd_conn {
	int fd;
	int64_t due_boot_ms;
	struct httpd_conn_queue *queue; /* that it stands in; NULL: none, while a worker has it */
	TAILQ_ENTRY(httpd_conn) link;
};
TAILQ_HEAD(httpd_conn_queue, httpd_conn);

struct httpd_deadlines { /* each queue has one length of time, so it is in order by itself */
	pthread_mutex_t lock;
	struct httpd_conn_queue head, body;
	int64_t head_ms, body_ms;
	int64_t asleep_until_boot_ms; /* that the thread has reckoned with: only what is due before it must wake it */
	int wake_fd;		      /* eventfd: something is due sooner, or the end has come */
	bool stop, running;
	pthread_t thread;
};
int httpd_deadlines_start(struct httpd_deadlines *d, int64_t head_ms, int64_t body_ms, struct err *reterr) CHECKED;
void httpd_deadlines_stop(struct httpd_deadlines *d);
struct httpd_conn *httpd_conn_new(struct httpd_deadlines *d, int fd); /* under the head deadline; NULL: out of memory */
void httpd_conn_free(struct httpd_deadlines *d, struct httpd_conn *c);
void httpd_conn_head(struct httpd_deadlines *d, struct httpd_conn *c); /* waits for the next head */
void httpd_conn_body(struct httpd_deadlines *d, struct httpd_conn *c); /* a body or a reply moves */
void httpd_conn_hold(struct httpd_deadlines *d, struct httpd_conn *c); /* a worker has it: no deadline */

/* ---- one exchange ---- */
enum httpd_phase { HTTPD_PHASE_HEAD, HTTPD_PHASE_BODY, HTTPD_PHASE_WORK, HTTPD_PHASE_ANSWER };

struct httpd_call {
	struct httpd *h;
	struct MHD_Connection *mhd;
	struct httpd_conn *conn;
	enum httpd_phase phase;
	int refuse;		   /* status to answer with, 0: none */
	const char *uri_at;	   /* where the library's buffer had it: for the layout check only */
	size_t uri_len;
	char *uri;		   /* copy as it came, NULL when too long */
	size_t drained;
	struct http_request request;
	struct http_reply reply;
	char ident[HTTPD_IDENT_BYTES];
	STAILQ_ENTRY(httpd_call) link; /* of the workers' queue */
};
STAILQ_HEAD(httpd_call_queue, httpd_call);

struct httpd_workers {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct httpd_call_queue queue;
	unsigned queued, n;
	bool stop;
	pthread_t threads[HTTPD_WORKERS_MAX];
};
int httpd_workers_start(struct httpd_workers *w, unsigned n, struct err *reterr) CHECKED;
void httpd_workers_stop(struct httpd_workers *w); /* finishes what is queued */
/* false: the queue is full or the end has come */
bool httpd_workers_give(struct httpd_workers *w, struct httpd_call *call) CHECKED;

struct httpd {
	struct MHD_Daemon *daemon;
	httpd_fn fn;
	void *userdata;
	char *crl_prefix;
	uint16_t port;
	struct httpd_deadlines deadlines;
	struct httpd_workers workers;
	atomic_bool stopping;
};

/* ---- the parts ---- */
/* A head that the library let pass and we do not: the status to refuse with, 0 if it is fine. */
int httpd_strict_check(struct httpd_call *call, const char *method, const char *version);

/* "[::]:80", "127.0.0.1:8080", ":80": a listening, non-blocking socket. -EINVAL with what was expected. */
int httpd_listen(const char *text, int *ret_fd, uint16_t *ret_port, struct err *reterr) CHECKED;
int httpd_listen_taken(int fd, uint16_t *ret_port, struct err *reterr) CHECKED; /* the same for a descriptor that was handed over */

/* What a request asks for: the raw URI (path?query) and whether it is a POST. Returns 0 or the status to refuse with. ident holds HTTPD_IDENT_BYTES. */
int httpd_query_parse(const char *uri, bool post, const char *crl_prefix, enum http_op *ret_op, char *ident, struct buf *ret_message);

const char *httpd_content_type(enum http_op op);

/* The library's callbacks; cls is struct httpd. */
void *httpd_on_uri(void *cls, const char *uri, struct MHD_Connection *mhd);
enum MHD_Result httpd_on_access(void *cls, struct MHD_Connection *mhd, const char *url, const char *method, const char *version,
				const char *upload_data, size_t *upload_data_size, void **con_cls);
void httpd_on_completed(void *cls, struct MHD_Connection *mhd, void **con_cls, enum MHD_RequestTerminationCode toe);
void httpd_on_connection(void *cls, struct MHD_Connection *mhd, void **socket_context, enum MHD_ConnectionNotificationCode toe);

#endif

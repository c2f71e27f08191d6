/* keyroll-fetch: HTTP for keyrolld, on libcurl's multi interface and sd-event. It holds no key and no state; what a peer does to it ends
 * one exchange. keyrolld starts it with a socket as standard input; it ends when that closes, or after 30 s without work. */
#include "config.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>

#include "agent/fetch_proto.h"
#include "common/auto.h"

#define IDLE_USEC (30 * UINT64_C(1000000))
#define CONNECT_SEC 10L
#define OVERALL_SEC 60L
#define RETRY_AFTER_MAX_SEC (24 * 3600)
#define READ_BYTES (64 * 1024)
#define JOBS_MAX 256

struct fetch {
	sd_event *event;
	CURLM *multi;
	sd_event_source *pipe, *timer, *idle;
	struct buf in, out;
	struct job *jobs;
	unsigned n_jobs;
};

struct job {
	struct fetch *fetch;
	struct job *next;
	uint32_t id, max_body;
	CURL *easy;
	struct curl_slist *headers;
	struct buf post, body;
	bool too_large, encoded;
	char error[CURL_ERROR_SIZE];
};

/* ---- the way back to keyrolld ---- */

static int out_flush(struct fetch *f)
{
	while (f->out.len > 0) {
		ssize_t n = send(STDIN_FILENO, f->out.data, f->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return sd_event_exit(f->event, 0); /* keyrolld is gone */
		if (n < 0)
			break;
		buf_drop(&f->out, (size_t) n);
	}
	return sd_event_source_set_io_events(f->pipe, f->out.len > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static int reply_send(struct fetch *f, const struct fetch_reply *reply)
{
	int r = fetch_reply_build(reply, &f->out);

	return r < 0 ? sd_event_exit(f->event, r) : out_flush(f);
}

static int idle_set(struct fetch *f)
{
	int r = sd_event_source_set_time_relative(f->idle, IDLE_USEC);

	return r < 0 ? r : sd_event_source_set_enabled(f->idle, f->n_jobs == 0 ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

/* ---- one exchange ---- */

static void job_free(struct job *j)
{
	struct job **at;

	for (at = &j->fetch->jobs; *at; at = &(*at)->next)
		if (*at == j) {
			*at = j->next;
			j->fetch->n_jobs--;
			break;
		}
	if (j->easy) {
		(void) curl_multi_remove_handle(j->fetch->multi, j->easy); /* fails only for a handle that was never added */
		curl_easy_cleanup(j->easy);
	}
	curl_slist_free_all(j->headers);
	buf_clear(&j->post);
	buf_clear(&j->body);
	free(j);
}

/* Errors are ours: what failed, in libcurl's words. */
static void failure_say(const struct job *j, CURLcode code, char *text, size_t size)
{
	if (j->too_large)
		(void) snprintf(text, size, "found a body of more than %u bytes, wanted less", j->max_body);
	else if (j->encoded)
		(void) snprintf(text, size, "found a Content-Encoding, wanted none");
	else
		(void) snprintf(text, size, "%s", j->error[0] ? j->error : curl_easy_strerror(code));
}

static int job_finish(struct job *j, CURLcode code)
{
	struct fetch *f = j->fetch;
	struct fetch_reply reply = { .id = j->id };
	char text[FETCH_ERROR_BYTES] = "", *type = NULL;
	curl_off_t retry = 0;
	long status = 0;
	int r;

	if (code != CURLE_OK || j->too_large || j->encoded) {
		failure_say(j, code, text, sizeof(text));
		reply.error = text;
		reply.error_len = strlen(text);
	} else if (curl_easy_getinfo(j->easy, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK && status > 0 && status < 1000) {
		reply.status = (uint32_t) status;
		if (curl_easy_getinfo(j->easy, CURLINFO_RETRY_AFTER, &retry) == CURLE_OK && retry > 0)
			reply.retry_after_sec = retry > RETRY_AFTER_MAX_SEC ? RETRY_AFTER_MAX_SEC : (uint32_t) retry;
		if (curl_easy_getinfo(j->easy, CURLINFO_CONTENT_TYPE, &type) == CURLE_OK && type) {
			reply.type = type;
			reply.type_len = strnlen(type, FETCH_TYPE_BYTES);
		}
		reply.body = j->body.data;
		reply.body_len = j->body.len;
	} else {
		reply.error = "found no HTTP status, wanted one";
		reply.error_len = strlen(reply.error);
	}
	r = reply_send(f, &reply);
	job_free(j);
	return r < 0 ? r : idle_set(f);
}

static size_t on_body(char *data, size_t size, size_t n, void *userdata)
{
	struct job *j = userdata;
	size_t len = size * n;

	if (len > j->max_body - j->body.len) {
		j->too_large = true;
		return 0; /* ends the transfer */
	}
	return buf_add(&j->body, data, len) < 0 ? 0 : len;
}

static size_t on_header(char *data, size_t size, size_t n, void *userdata)
{
	static const char name[] = "Content-Encoding:";
	struct job *j = userdata;
	size_t len = size * n;

	if (len >= sizeof(name) - 1 && strncasecmp(data, name, sizeof(name) - 1) == 0) {
		j->encoded = true;
		return 0;
	}
	return len;
}

/* Everything that the environment or the peer might talk libcurl into is switched off by name. */
static CURLcode job_limit(struct job *j)
{
	CURLcode c = curl_easy_setopt(j->easy, CURLOPT_PROTOCOLS_STR, "http,https");

	if (c == CURLE_OK)
		c = curl_easy_setopt(j->easy, CURLOPT_FOLLOWLOCATION, 0L);
	if (c == CURLE_OK)
		c = curl_easy_setopt(j->easy, CURLOPT_PROXY, "");
	if (c == CURLE_OK)
		c = curl_easy_setopt(j->easy, CURLOPT_NOSIGNAL, 1L);
	if (c == CURLE_OK)
		c = curl_easy_setopt(j->easy, CURLOPT_CONNECTTIMEOUT, CONNECT_SEC);
	if (c == CURLE_OK)
		c = curl_easy_setopt(j->easy, CURLOPT_TIMEOUT, OVERALL_SEC);
	if (c == CURLE_OK)
		c = curl_easy_setopt(j->easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);
	if (c == CURLE_OK)
		c = curl_easy_setopt(j->easy, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	if (c == CURLE_OK)
		c = curl_easy_setopt(j->easy, CURLOPT_USERAGENT, "keyroll/" PACKAGE_VERSION);
	return c;
}

static CURLcode job_wire(struct job *j)
{
	CURLcode c = curl_easy_setopt(j->easy, CURLOPT_WRITEFUNCTION, on_body);

	if (c == CURLE_OK)
		c = curl_easy_setopt(j->easy, CURLOPT_WRITEDATA, j);
	if (c == CURLE_OK)
		c = curl_easy_setopt(j->easy, CURLOPT_HEADERFUNCTION, on_header);
	if (c == CURLE_OK)
		c = curl_easy_setopt(j->easy, CURLOPT_HEADERDATA, j);
	if (c == CURLE_OK)
		c = curl_easy_setopt(j->easy, CURLOPT_ERRORBUFFER, j->error);
	if (c == CURLE_OK)
		c = curl_easy_setopt(j->easy, CURLOPT_PRIVATE, j);
	return c;
}

static CURLcode job_post(struct job *j)
{
	struct curl_slist *more;
	CURLcode c;

	j->headers = curl_slist_append(NULL, "Content-Type: application/x-pki-message");
	more = j->headers ? curl_slist_append(j->headers, "Expect:") : NULL; /* no wait for 100-continue */
	if (!more)
		return CURLE_OUT_OF_MEMORY;
	c = curl_easy_setopt(j->easy, CURLOPT_HTTPHEADER, j->headers);
	if (c == CURLE_OK)
		c = curl_easy_setopt(j->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) j->post.len);
	if (c == CURLE_OK)
		c = curl_easy_setopt(j->easy, CURLOPT_POSTFIELDS, j->post.data ? (const char *) j->post.data : "");
	return c;
}

static CURLcode job_prepare(struct job *j, const struct fetch_request *q)
{
	AUTO(mem) char *url = strndup(q->url, q->url_len);
	CURLcode c;

	if (!url || !j->easy || buf_set(&j->post, q->body, q->body_len) < 0)
		return CURLE_OUT_OF_MEMORY;
	c = curl_easy_setopt(j->easy, CURLOPT_URL, url);
	if (c == CURLE_OK)
		c = job_limit(j);
	if (c == CURLE_OK)
		c = job_wire(j);
	return c == CURLE_OK && q->post ? job_post(j) : c;
}

static int job_start(struct fetch *f, const struct fetch_request *q)
{
	struct job *j = f->n_jobs < JOBS_MAX ? calloc(1, sizeof(*j)) : NULL;
	CURLcode c;

	if (!j)
		return reply_send(f, &(struct fetch_reply){ .id = q->id, .error = "too many exchanges", .error_len = 18 });
	*j = (struct job){ .fetch = f, .next = f->jobs, .id = q->id, .max_body = q->max_body, .easy = curl_easy_init() };
	f->jobs = j;
	f->n_jobs++;
	c = job_prepare(j, q);
	if (c == CURLE_OK && curl_multi_add_handle(f->multi, j->easy) != CURLM_OK)
		c = CURLE_FAILED_INIT;
	return c == CURLE_OK ? idle_set(f) : job_finish(j, c);
}

static void job_cancel(struct fetch *f, uint32_t id)
{
	struct job *j;

	for (j = f->jobs; j; j = j->next)
		if (j->id == id) {
			job_free(j);
			return;
		}
}

/* ---- libcurl on sd-event ---- */

static int done_collect(struct fetch *f)
{
	CURLMsg *m;
	int left, r = 0;

	while (r >= 0 && (m = curl_multi_info_read(f->multi, &left))) {
		struct job *j = NULL;

		if (m->msg != CURLMSG_DONE)
			continue;
		if (curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &j) == CURLE_OK && j)
			r = job_finish(j, m->data.result);
	}
	return r;
}

static int multi_act(struct fetch *f, curl_socket_t s, int what)
{
	int running;

	if (curl_multi_socket_action(f->multi, s, what, &running) != CURLM_OK)
		return -EIO;
	return done_collect(f);
}

static int on_socket(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	int what = (revents & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) | (revents & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
		   (revents & EPOLLERR ? CURL_CSELECT_ERR : 0);

	(void) s;
	return multi_act(userdata, fd, what);
}

static int socket_cb(CURL *easy, curl_socket_t s, int what, void *userdata, void *per_socket)
{
	struct fetch *f = userdata;
	sd_event_source *src = per_socket;
	uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);

	(void) easy;
	if (what == CURL_POLL_REMOVE) {
		(void) sd_event_source_disable_unref(src);
		return 0;
	}
	if (src)
		return sd_event_source_set_io_events(src, events) < 0 ? -1 : 0;
	if (sd_event_add_io(f->event, &src, s, events, on_socket, f) < 0)
		return -1;
	return curl_multi_assign(f->multi, s, src) == CURLM_OK ? 0 : -1;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
	(void) s;
	(void) usec;
	return multi_act(userdata, CURL_SOCKET_TIMEOUT, 0);
}

static int timer_cb(CURLM *multi, long ms, void *userdata)
{
	struct fetch *f = userdata;

	(void) multi;
	if (ms < 0)
		return sd_event_source_set_enabled(f->timer, SD_EVENT_OFF) < 0 ? -1 : 0;
	if (sd_event_source_set_time_relative(f->timer, (uint64_t) ms * 1000) < 0)
		return -1;
	return sd_event_source_set_enabled(f->timer, SD_EVENT_ONESHOT) < 0 ? -1 : 0;
}

/* ---- from keyrolld ---- */

static int frame_take(struct fetch *f, enum fetch_kind kind, size_t len)
{
	struct fetch_request q;
	uint32_t id;

	switch (kind) {
	case FETCH_KIND_REQUEST:
		return fetch_request_parse(f->in.data, len, &q) < 0 ? -EBADMSG : job_start(f, &q);
	case FETCH_KIND_CANCEL:
		if (fetch_cancel_parse(f->in.data, len, &id) < 0)
			return -EBADMSG;
		job_cancel(f, id);
		return idle_set(f);
	case FETCH_KIND_REPLY:
		break;
	}
	return -EBADMSG;
}

static int frames_take(struct fetch *f)
{
	enum fetch_kind kind;
	ssize_t n;
	int r = 0;

	while (r >= 0 && (n = fetch_frame(f->in.data, f->in.len, &kind)) > 0) {
		r = frame_take(f, kind, (size_t) n);
		buf_drop(&f->in, (size_t) n);
	}
	if (r < 0)
		return r;
	return f->in.len == 0 || fetch_frame(f->in.data, f->in.len, &kind) == -EAGAIN ? 0 : -EBADMSG;
}

static int on_pipe(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	struct fetch *f = userdata;
	static uint8_t chunk[READ_BYTES];
	ssize_t n;
	int r;

	(void) s;
	if (revents & EPOLLOUT) {
		r = out_flush(f);
		if (r < 0)
			return r;
	}
	if (!(revents & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return 0;
	n = recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return sd_event_exit(f->event, 0);
	r = buf_add(&f->in, chunk, (size_t) n);
	if (r == 0)
		r = frames_take(f);
	return r < 0 ? sd_event_exit(f->event, r) : 0;
}

static int on_idle(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct fetch *f = userdata;

	(void) s;
	(void) usec;
	return f->n_jobs == 0 && f->out.len == 0 ? sd_event_exit(f->event, 0) : 0;
}

static int sources_add(struct fetch *f)
{
	int r = sd_event_default(&f->event);

	if (r >= 0)
		r = sd_event_add_io(f->event, &f->pipe, STDIN_FILENO, EPOLLIN, on_pipe, f);
	if (r >= 0)
		r = sd_event_add_time_relative(f->event, &f->timer, CLOCK_BOOTTIME, 0, 1, on_timer, f);
	if (r >= 0)
		r = sd_event_source_set_enabled(f->timer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time_relative(f->event, &f->idle, CLOCK_BOOTTIME, IDLE_USEC, 0, on_idle, f);
	return r;
}

static int multi_open(struct fetch *f)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(f->multi = curl_multi_init()))
		return -ENOMEM;
	if (curl_multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, socket_cb) != CURLM_OK ||
	    curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f) != CURLM_OK ||
	    curl_multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, timer_cb) != CURLM_OK ||
	    curl_multi_setopt(f->multi, CURLMOPT_TIMERDATA, f) != CURLM_OK)
		return -EINVAL;
	return 0;
}

int main(int argc, char **argv)
{
	struct fetch f = { .event = NULL };
	struct stat st;
	int r;

	(void) argv;
	if (argc > 1 || fstat(STDIN_FILENO, &st) < 0 || !S_ISSOCK(st.st_mode)) {
		(void) fprintf(stderr, "keyroll-fetch is started by keyrolld, with a socket as standard input.\n");
		return 2;
	}
	(void) signal(SIGPIPE, SIG_IGN); /* cannot fail for SIGPIPE */
	r = sources_add(&f);
	if (r >= 0)
		r = multi_open(&f);
	if (r >= 0)
		r = sd_event_loop(f.event);
	while (f.jobs)
		job_free(f.jobs);
	curl_multi_cleanup(f.multi);
	curl_global_cleanup();
	buf_clear(&f.in);
	buf_clear(&f.out);
	(void) sd_event_source_disable_unref(f.pipe);
	(void) sd_event_source_disable_unref(f.timer);
	(void) sd_event_source_disable_unref(f.idle);
	(void) sd_event_unref(f.event);
	return r < 0;
}

/* One exchange, as the library calls us: URI, head, pieces of the body, end of the body, and once more when a worker is done. */
#include "ca/httpd_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

AUTO_DEFINE(response, struct MHD_Response *, MHD_destroy_response);

static void call_free(struct httpd_call *call)
{
	buf_clear(&call->request.body);
	buf_clear(&call->reply.body);
	free(call->uri);
	free(call);
}

/* ---- connections ---- */

void httpd_on_connection(void *cls, struct MHD_Connection *mhd, void **socket_context, enum MHD_ConnectionNotificationCode toe)
{
	struct httpd *h = cls;
	const union MHD_ConnectionInfo *info;

	switch (toe) {
	case MHD_CONNECTION_NOTIFY_STARTED:
		info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
		*socket_context = info ? httpd_conn_new(&h->deadlines, info->connect_fd) : NULL;
		break;
	case MHD_CONNECTION_NOTIFY_CLOSED:
		httpd_conn_free(&h->deadlines, *socket_context);
		*socket_context = NULL;
		break;
	}
}

static struct httpd_conn *conn_of(struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

static void address_of(struct MHD_Connection *mhd, char *ret, size_t bytes)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr *sa = info ? info->client_addr : NULL;
	const void *at = NULL;
	int family = AF_UNSPEC;

	if (sa && sa->sa_family == AF_INET) {
		family = AF_INET;
		at = &((const struct sockaddr_in *) sa)->sin_addr;
	} else if (sa && sa->sa_family == AF_INET6) {
		const struct in6_addr *v6 = &((const struct sockaddr_in6 *) sa)->sin6_addr;

		family = IN6_IS_ADDR_V4MAPPED(v6) ? AF_INET : AF_INET6;
		at = IN6_IS_ADDR_V4MAPPED(v6) ? (const void *) &v6->s6_addr[12] : v6;
	}
	if (!at || !inet_ntop(family, at, ret, (socklen_t) bytes))
		(void) snprintf(ret, bytes, "unknown");
}

/* ---- answering ---- */

static enum MHD_Result answer(struct httpd_call *call, struct MHD_Response *response, int status, bool error)
{
	enum MHD_Result ok = MHD_YES;

	if (error || call->request.op == HTTP_OP_PKI_OPERATION)
		ok = MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	if (ok == MHD_YES && error) /* whatever else stands in the stream is not read */
		ok = MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	if (ok != MHD_YES)
		return MHD_NO;
	httpd_conn_body(&call->h->deadlines, call->conn); /* a peer that reads slowly has an end too */
	call->phase = HTTPD_PHASE_ANSWER;
	return MHD_queue_response(call->mhd, (unsigned) status, response);
}

static enum MHD_Result answer_refusal(struct httpd_call *call, int status)
{
	AUTO(response) struct MHD_Response *response = MHD_create_response_from_buffer(0, (void *) "", MHD_RESPMEM_PERSISTENT);
	char seconds[16];

	if (!response)
		return MHD_NO;
	(void) snprintf(seconds, sizeof(seconds), "%d", call->reply.retry_after_sec > 0 ? call->reply.retry_after_sec : HTTPD_RETRY_AFTER_SEC);
	if (status == MHD_HTTP_SERVICE_UNAVAILABLE && MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds) != MHD_YES)
		return MHD_NO;
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED && MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD, POST") != MHD_YES)
		return MHD_NO;
	return answer(call, response, status, true);
}

static enum MHD_Result answer_reply(struct httpd_call *call)
{
	struct http_reply *reply = &call->reply;
	AUTO(response) struct MHD_Response *response = NULL;
	const char *type = reply->content_type ? reply->content_type : httpd_content_type(call->request.op);

	if (reply->status != MHD_HTTP_OK)
		return answer_refusal(call, reply->status >= 400 ? reply->status : MHD_HTTP_INTERNAL_SERVER_ERROR);
	response = MHD_create_response_from_buffer(reply->body.len, reply->body.data ? reply->body.data : (void *) "",
						   reply->body.data ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
	if (!response)
		return MHD_NO;
	reply->body = BUF_EMPTY; /* the response owns it now */
	if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type) != MHD_YES)
		return MHD_NO;
	return answer(call, response, MHD_HTTP_OK, false);
}

/* ---- the head ---- */

void *httpd_on_uri(void *cls, const char *uri, struct MHD_Connection *mhd)
{
	struct httpd_call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL; /* refused in httpd_on_access */
	call->h = cls;
	call->mhd = mhd;
	call->uri_at = uri;
	call->uri_len = strlen(uri);
	if (call->uri_len > LIMIT_URI_BYTES)
		call->refuse = MHD_HTTP_URI_TOO_LONG;
	else if (!(call->uri = strdup(uri)))
		call->refuse = MHD_HTTP_SERVICE_UNAVAILABLE;
	return call;
}

static bool method_known(const char *method, bool *ret_post)
{
	*ret_post = strcmp(method, MHD_HTTP_METHOD_POST) == 0;
	return *ret_post || strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
}

static int body_announced(struct MHD_Connection *mhd)
{
	const char *length = MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);

	/* strict_check has seen digits only; a longer text than this is too large whatever it says */
	return length && (strlen(length) > 9 || atol(length) > LIMIT_SCEP_MESSAGE_BYTES) ? MHD_HTTP_CONTENT_TOO_LARGE : 0;
}

static int head_check(struct httpd_call *call, const char *method, const char *version)
{
	bool post;
	int status = call->refuse;

	if (status == 0)
		status = httpd_strict_check(call, method, version);
	if (status == 0 && !method_known(method, &post))
		status = MHD_HTTP_METHOD_NOT_ALLOWED;
	if (status == 0)
		status = body_announced(call->mhd);
	if (status == 0)
		status = httpd_query_parse(call->uri, post, call->h->crl_prefix, &call->request.op, call->ident, &call->request.body);
	if (status == 0 && atomic_load(&call->h->stopping))
		status = MHD_HTTP_SERVICE_UNAVAILABLE;
	return status;
}

static enum MHD_Result on_head(struct httpd_call *call, const char *method, const char *version)
{
	int status = head_check(call, method, version);

	if (status != 0)
		return answer_refusal(call, status);
	call->phase = HTTPD_PHASE_BODY;
	call->request.message = call->ident;
	address_of(call->mhd, call->request.address, sizeof(call->request.address));
	httpd_conn_body(&call->h->deadlines, call->conn);
	return MHD_YES;
}

/* ---- the body ---- */

/* No answer may be queued in the middle of a body: what is too long is read away, but not for ever. A GET's body is no message of ours. */
static enum MHD_Result on_piece(struct httpd_call *call, const char *data, size_t *len, bool post)
{
	size_t n = *len;

	*len = 0;
	if (!post || call->refuse || call->request.body.len + n > LIMIT_SCEP_MESSAGE_BYTES) {
		if (post || call->drained + n > LIMIT_SCEP_MESSAGE_BYTES)
			call->refuse = MHD_HTTP_CONTENT_TOO_LARGE;
		call->drained += n;
		return call->drained <= HTTPD_DRAIN_BYTES ? MHD_YES : MHD_NO;
	}
	if (buf_add(&call->request.body, data, n) < 0)
		call->refuse = MHD_HTTP_SERVICE_UNAVAILABLE;
	return MHD_YES;
}

static enum MHD_Result on_end(struct httpd_call *call)
{
	if (call->refuse)
		return answer_refusal(call, call->refuse);
	if (call->request.op != HTTP_OP_PKI_OPERATION) {
		call->h->fn(call->h->userdata, &call->request, &call->reply);
		return answer_reply(call);
	}
	if (call->request.body.len == 0)
		return answer_refusal(call, MHD_HTTP_BAD_REQUEST);
	if (!httpd_workers_give(&call->h->workers, call))
		return answer_refusal(call, MHD_HTTP_SERVICE_UNAVAILABLE);
	return MHD_YES;
}

enum MHD_Result httpd_on_access(void *cls, struct MHD_Connection *mhd, const char *url, const char *method, const char *version,
				const char *upload_data, size_t *upload_data_size, void **con_cls)
{
	struct httpd_call *call = *con_cls;

	(void) cls;
	(void) url; /* decoded by the library: we read the raw one */
	if (!call)
		return MHD_NO;
	if (!call->conn)
		call->conn = conn_of(mhd);
	if (!call->conn)
		return MHD_NO; /* without a deadline nobody is served */
	switch (call->phase) {
	case HTTPD_PHASE_HEAD:
		return on_head(call, method, version);
	case HTTPD_PHASE_BODY:
		if (*upload_data_size > 0)
			return on_piece(call, upload_data, upload_data_size, strcmp(method, MHD_HTTP_METHOD_POST) == 0);
		return on_end(call);
	case HTTPD_PHASE_WORK:
		return MHD_YES; /* resumed before the worker was done: never seen, and harmless */
	case HTTPD_PHASE_ANSWER:
		return answer_reply(call);
	}
	return MHD_NO;
}

void httpd_on_completed(void *cls, struct MHD_Connection *mhd, void **con_cls, enum MHD_RequestTerminationCode toe)
{
	struct httpd *h = cls;
	struct httpd_call *call = *con_cls;

	(void) mhd;
	(void) toe;
	if (!call)
		return;
	if (call->conn)
		httpd_conn_head(&h->deadlines, call->conn);
	call_free(call);
	*con_cls = NULL;
}

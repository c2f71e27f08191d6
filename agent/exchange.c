/* One SCEP exchange over HTTP: see exchange.h. */
#include "agent/exchange.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "agent/agent.h"
#include "common/limits.h"
#include "scep/scep.h"

#define SHOWN_BYTES 64
#define HTTP_OK 200

static const struct {
	const char *operation;
	uint32_t max_body;
	const char *types[3]; /* none: any */
	const char *section;
} kinds[] = {
	[EXCHANGE_CAPS] = { "GetCACaps", LIMIT_CAPS_BYTES, { NULL }, "3.5.2" },
	[EXCHANGE_CA] = { "GetCACert", LIMIT_CA_REPLY_BYTES, { "application/x-x509-ca-cert", "application/x-x509-ca-ra-cert", NULL }, "4.2" },
	[EXCHANGE_NEXT_CA] = { "GetNextCACert", LIMIT_CA_REPLY_BYTES, { "application/x-x509-next-ca-cert", NULL }, "4.7" },
	[EXCHANGE_PKI] = { "PKIOperation", LIMIT_SCEP_MESSAGE_BYTES, { "application/x-pki-message", NULL }, "4.3" },
};
_Static_assert(sizeof(kinds) / sizeof(kinds[0]) == EXCHANGE_N_, "a row for each kind");

struct exchange {
	struct trustpoint *tp;
	enum exchange_kind kind;
	exchange_fn fn;
};

bool exchange_type_ok(enum exchange_kind kind, const char *type, size_t len)
{
	const char *semicolon = memchr(type, ';', len);
	size_t i, n = semicolon ? (size_t) (semicolon - type) : len;

	while (n > 0 && (type[n - 1] == ' ' || type[n - 1] == '\t'))
		n--;
	if (!kinds[kind].types[0])
		return true;
	for (i = 0; kinds[kind].types[i]; i++)
		if (strlen(kinds[kind].types[i]) == n && strncasecmp(kinds[kind].types[i], type, n) == 0)
			return true;
	return false;
}

/* The beginning of what came, on one line; err_set turns what does not print into '?'. */
static void body_show(const struct fetch_reply *reply, char out[SHOWN_BYTES + 1])
{
	size_t i, n = reply->body_len < SHOWN_BYTES ? reply->body_len : SHOWN_BYTES;

	for (i = 0; i < n; i++)
		out[i] = reply->body[i] >= ' ' && reply->body[i] < 0x7f ? (char) reply->body[i] : '.';
	out[n] = '\0';
}

static void judge(enum exchange_kind kind, const struct fetch_reply *reply, struct exchange_result *ret)
{
	char shown[SHOWN_BYTES + 1];

	*ret = (struct exchange_result){ .status = reply->status,
					 .retry_after_ms = (int64_t) reply->retry_after_sec * 1000,
					 .body = reply->body,
					 .len = reply->body_len };
	if (reply->status == 0) {
		ret->code = err_set(&ret->err, -EIO, "%s: %.*s", kinds[kind].operation, (int) reply->error_len, reply->error);
		return;
	}
	body_show(reply, shown);
	if (reply->status != HTTP_OK)
		ret->code = err_set(&ret->err, -EREMOTEIO, "%s: found HTTP status %u '%s', wanted 200", kinds[kind].operation, reply->status, shown);
	else if (!exchange_type_ok(kind, reply->type, reply->type_len))
		ret->code = err_set(&ret->err, -EPROTO, "%s: found %.*s '%s', wanted %s (RFC 8894 %s)", kinds[kind].operation,
				    reply->type_len ? (int) reply->type_len : 7, reply->type_len ? reply->type : "no type", shown,
				    kinds[kind].types[0], kinds[kind].section);
	else if (reply->body_len == 0 && kind != EXCHANGE_CAPS)
		ret->code = err_set(&ret->err, -EPROTO, "%s: found an empty body, wanted a message (RFC 8894 %s)", kinds[kind].operation,
				    kinds[kind].section);
}

static void on_reply(void *userdata, const struct fetch_reply *reply)
{
	struct exchange x = *(struct exchange *) userdata;
	struct exchange_result result;

	free(userdata);
	judge(x.kind, reply, &result);
	x.fn(x.tp, &result);
}

int exchange_start(struct trustpoint *tp, enum exchange_kind kind, const void *message, size_t len, bool post, exchange_fn fn, uint32_t *ret_id,
		   struct err *reterr)
{
	AUTO(buf) struct buf url = BUF_EMPTY;
	AUTO(mem) struct exchange *x = malloc(sizeof(*x));
	struct fetch_request request = { .post = post, .max_body = kinds[kind].max_body };
	int r;

	if (!x)
		return -ENOMEM;
	*x = (struct exchange){ .tp = tp, .kind = kind, .fn = fn };
	if (post)
		r = scep_url_build(tp->conf.enrollment_url, kinds[kind].operation, NULL, 0, false, &url, reterr);
	else
		r = scep_url_build(tp->conf.enrollment_url, kinds[kind].operation, message, len, kind == EXCHANGE_PKI, &url, reterr);
	if (r < 0)
		return r;
	request.url = (const char *) url.data;
	request.url_len = url.len;
	request.body = post ? message : NULL;
	request.body_len = post ? len : 0;
	r = fetch_start(tp->agent->fetch, &request, on_reply, x, reterr);
	if (r < 0)
		return r;
	*ret_id = request.id;
	(void) TAKE(x); /* on_reply frees it */
	return 0;
}

void exchange_cancel(struct trustpoint *tp, uint32_t *id)
{
	if (*id)
		free(fetch_cancel(tp->agent->fetch, *id));
	*id = 0;
}

/* What a request asks for. The path is ignored but for the CRL's prefix (RFC 8894 4.1 leaves it to the CA; clients invent their own). */
#include "ca/httpd_internal.h"

#include <errno.h>
#include <string.h>

#include "scep/scep.h"

struct query_word { /* a name's value, still escaped; len 0 and at NULL: absent */
	const char *at;
	size_t len;
};

static int hex_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Percent escapes only: a '+' stays, it is a base64 digit that many clients do not escape. A '%' that escapes nothing stays too. A NUL is refused. */
static int unescape(const struct query_word *in, char *out, size_t bytes)
{
	size_t n = 0;

	for (size_t i = 0; i < in->len; i++) {
		int c = (unsigned char) in->at[i], high, low;

		if (c == '%' && i + 2 < in->len && (high = hex_of(in->at[i + 1])) >= 0 && (low = hex_of(in->at[i + 2])) >= 0) {
			c = high << 4 | low;
			i += 2;
		}
		if (c == 0)
			return -EBADMSG;
		if (n + 1 >= bytes)
			return -EMSGSIZE;
		out[n++] = (char) c;
	}
	out[n] = 0;
	return (int) n;
}

/* Finds name in the query. A name that stands twice is refused: two readers might take different ones. */
static int query_find(const char *query, const char *name, struct query_word *ret)
{
	size_t name_len = strlen(name);

	*ret = (struct query_word){ .at = NULL };
	while (*query) {
		size_t len = strcspn(query, "&");

		if (len > name_len && query[name_len] == '=' && memcmp(query, name, name_len) == 0) {
			if (ret->at)
				return -ENOTUNIQ;
			*ret = (struct query_word){ .at = query + name_len + 1, .len = len - name_len - 1 };
		}
		query += len;
		if (*query)
			query++;
	}
	return 0;
}

static bool operation_known(const struct query_word *w, enum http_op *ret)
{
	static const struct { const char *name; enum http_op op; } operations[] = {
		{ "GetCACaps", HTTP_OP_GET_CA_CAPS },
		{ "GetCACert", HTTP_OP_GET_CA_CERT },
		{ "GetNextCACert", HTTP_OP_GET_NEXT_CA_CERT },
		{ "PKIOperation", HTTP_OP_PKI_OPERATION },
		{ "GetCRL", HTTP_OP_CRL }, /* IOS's form of a distribution point; no file name */
	};
	char name[32];

	if (unescape(w, name, sizeof(name)) < 0)
		return false;
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		if (strcmp(name, operations[i].name) == 0) {
			*ret = operations[i].op;
			return true;
		}
	}
	return false;
}

/* "http://host/path" is a path for us too. */
static const char *path_of(const char *uri)
{
	const char *host = strncmp(uri, "http://", 7) == 0 ? uri + 7 : NULL;
	const char *slash = host ? strchr(host, '/') : NULL;

	return slash ? slash : uri;
}

static bool file_name_ok(const char *name)
{
	size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

	return n > 0 && name[n] == 0 && name[0] != '.';
}

static int crl_parse(const char *uri, size_t path_len, const char *crl_prefix, enum http_op *ret_op, char *ident)
{
	const char *path = path_of(uri);
	size_t len = strlen(crl_prefix), before = (size_t) (path - uri);
	struct query_word name = { .at = path + len };

	if (len == 0 || before > path_len || path_len - before <= len || strncmp(path, crl_prefix, len) != 0)
		return MHD_HTTP_NOT_FOUND;
	name.len = path_len - before - len;
	if (unescape(&name, ident, HTTPD_IDENT_BYTES) < 0 || !file_name_ok(ident))
		return MHD_HTTP_NOT_FOUND;
	*ret_op = HTTP_OP_CRL;
	return 0;
}

static int message_parse(const struct query_word *w, struct buf *ret_message)
{
	AUTO(mem) char *text = malloc(w->len + 1);
	int n, r;

	if (!text)
		return MHD_HTTP_SERVICE_UNAVAILABLE;
	n = unescape(w, text, w->len + 1);
	r = n > 0 ? scep_message_decode(text, (size_t) n, ret_message, NULL) : -EBADMSG;
	if (r == -EMSGSIZE)
		return MHD_HTTP_URI_TOO_LONG;
	if (r == -ENOMEM)
		return MHD_HTTP_SERVICE_UNAVAILABLE;
	return r < 0 || ret_message->len == 0 ? MHD_HTTP_BAD_REQUEST : 0;
}

int httpd_query_parse(const char *uri, bool post, const char *crl_prefix, enum http_op *ret_op, char *ident, struct buf *ret_message)
{
	size_t path_len = strcspn(uri, "?");
	const char *query = uri[path_len] ? uri + path_len + 1 : "";
	struct query_word operation, message;

	ident[0] = 0;
	*ret_op = HTTP_OP_PKI_OPERATION;
	if (post) /* RFC 8894 knows no other: clients send a wrong operation, or none */
		return 0;
	if (query_find(query, "operation", &operation) < 0 || query_find(query, "message", &message) < 0)
		return MHD_HTTP_BAD_REQUEST;
	if (!operation.at)
		return crl_parse(uri, path_len, crl_prefix, ret_op, ident);
	if (!operation_known(&operation, ret_op))
		return MHD_HTTP_NOT_FOUND;
	if (*ret_op == HTTP_OP_PKI_OPERATION)
		return message.at ? message_parse(&message, ret_message) : MHD_HTTP_BAD_REQUEST;
	if (*ret_op == HTTP_OP_CRL) /* its message would be a CA identifier, not a file */
		return 0;
	return message.at && unescape(&message, ident, HTTPD_IDENT_BYTES) < 0 ? MHD_HTTP_BAD_REQUEST : 0;
}

const char *httpd_content_type(enum http_op op)
{
	static const char *const types[HTTP_OP_N_] = {
		[HTTP_OP_GET_CA_CAPS] = "text/plain",
		[HTTP_OP_GET_CA_CERT] = "application/x-x509-ca-cert",
		[HTTP_OP_GET_NEXT_CA_CERT] = "application/x-x509-next-ca-cert",
		[HTTP_OP_PKI_OPERATION] = "application/x-pki-message",
		[HTTP_OP_CRL] = "application/pkix-crl",
	};

	return types[op];
}

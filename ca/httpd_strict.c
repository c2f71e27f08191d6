/* What libmicrohttpd 0.9.75 lets pass and a proxy in front might read otherwise: doubled or conflicting headers, hidden bytes. */
#include "ca/httpd_internal.h"

#include <string.h>
#include <strings.h>

struct walk {
	unsigned host, content_length, transfer_encoding, content_type;
	bool bad_value;
	const char *next;   /* where the next header must begin if each line ends with CR LF and hides nothing */
	bool layout_broken;
};

static bool digits_only(const char *value)
{
	size_t n = strspn(value, "0123456789");

	return n > 0 && value[n] == 0;
}

static enum MHD_Result header_seen(void *cls, enum MHD_ValueKind kind, const char *key, const char *value)
{
	struct walk *w = cls;

	(void) kind;
	if (!value)
		value = "";
	if (w->next && key != w->next)
		w->layout_broken = true;
	w->next = value + strlen(value) + 2;
	if (strcasecmp(key, "Host") == 0) {
		w->host++;
	} else if (strcasecmp(key, "Content-Type") == 0) {
		w->content_type++;
	} else if (strcasecmp(key, "Content-Length") == 0) {
		w->content_length++;
		w->bad_value |= !digits_only(value);
	} else if (strcasecmp(key, "Transfer-Encoding") == 0) {
		w->transfer_encoding++;
		w->bad_value |= strcasecmp(value, "chunked") != 0;
	}
	if (key[strcspn(key, " \t\r\n")] != 0 || strpbrk(value, "\r\n"))
		w->bad_value = true;
	return MHD_YES;
}

/* The library cuts lines at NUL and takes a bare CR or LF for an end of line, and does not say so. But it cuts them in place: when nothing is hidden, each part
 * begins where the one before ended. Only addresses are compared. Its 1.x releases refuse all this themselves and keep another layout. */
static bool layout_known(void)
{
	return MHD_get_version() && strncmp(MHD_get_version(), "0.", 2) == 0;
}

static bool request_line_whole(const struct httpd_call *call, const char *method, const char *version)
{
	return method + strlen(method) + 1 == call->uri_at && call->uri_at + call->uri_len + 1 == version;
}

static bool head_whole(struct MHD_Connection *mhd, const char *method, const struct walk *w)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

	return info && w->next + 2 == method + info->header_size;
}

int httpd_strict_check(struct httpd_call *call, const char *method, const char *version)
{
	struct walk w = { .next = layout_known() ? version + strlen(version) + 2 : NULL };
	bool known = w.next != NULL;

	if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
		return MHD_HTTP_HTTP_VERSION_NOT_SUPPORTED;
	(void) MHD_get_connection_values(call->mhd, MHD_HEADER_KIND, header_seen, &w); /* counts what w has seen */
	if (w.host > 1 || w.content_length > 1 || w.transfer_encoding > 1 || w.content_type > 1 || w.bad_value)
		return MHD_HTTP_BAD_REQUEST;
	if (w.content_length && w.transfer_encoding)
		return MHD_HTTP_BAD_REQUEST;
	if (w.host == 0 && strcmp(version, "HTTP/1.1") == 0)
		return MHD_HTTP_BAD_REQUEST;
	if (known && (w.layout_broken || !request_line_whole(call, method, version) || !head_whole(call->mhd, method, &w)))
		return MHD_HTTP_BAD_REQUEST;
	return 0;
}

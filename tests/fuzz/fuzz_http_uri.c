/* The URI of a request, as it came: the first byte tells whether it is a POST. */
#include <stdlib.h>
#include <string.h>

#include "ca/httpd_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static bool status_known(int status)
{
	return status == 0 || status == MHD_HTTP_BAD_REQUEST || status == MHD_HTTP_NOT_FOUND || status == MHD_HTTP_URI_TOO_LONG;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(mem) char *uri = len > 0 ? strndup((const char *) data + 1, len - 1) : NULL;
	AUTO(mem) char *ident = malloc(HTTPD_IDENT_BYTES); /* on the heap: its bounds are watched */
	AUTO(buf) struct buf message = BUF_EMPTY;
	enum http_op op = HTTP_OP_N_;
	int status;

	if (!uri || !ident)
		return 0;
	status = httpd_query_parse(uri, data[0] & 1, "/crl/", &op, ident, &message);
	if (!status_known(status))
		abort();
	if (status != 0)
		return 0;
	if (op >= HTTP_OP_N_ || !memchr(ident, 0, HTTPD_IDENT_BYTES))
		abort();
	if (op == HTTP_OP_CRL && (ident[0] == '.' || strchr(ident, '/')))
		abort(); /* would name a file elsewhere */
	if (op == HTTP_OP_PKI_OPERATION && !(data[0] & 1) && (message.len == 0 || message.len > LIMIT_SCEP_MESSAGE_BYTES))
		abort();
	return 0;
}

/* Any bytes as a frame: nothing outside them is read, and what is believed is within its bounds. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/fetch_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fetch_request request;
	struct fetch_reply reply;
	enum fetch_kind kind;
	uint32_t id;
	ssize_t n = fetch_frame(data, len, &kind);

	assert(n <= (ssize_t) len);
	if (fetch_request_parse(data, len, &request) == 0)
		assert(request.url_len <= LIMIT_URI_BYTES && request.body + request.body_len == data + len);
	if (fetch_reply_parse(data, len, &reply) == 0)
		assert(reply.type_len <= FETCH_TYPE_BYTES && reply.body + reply.body_len == data + len);
	if (fetch_cancel_parse(data, len, &id) == 0)
		assert(len == FETCH_HEADER_BYTES + 4);
	return 0;
}

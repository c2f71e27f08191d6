/* Custody's records from anybody who may connect to the socket: parse, and build again what was read. */
#include <assert.h>
#include <string.h>

#include "keystore/custody_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void names_read(const struct buf *body)
{
	AUTO(buf) struct buf names = BUF_EMPTY;
	size_t pos = 0;

	if (custody_names_parse(body, &pos, &names, NULL) == 0)
		assert(pos <= body->len && (!names.data || strlen((const char *) names.data) == names.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(custody_msg) struct custody_msg m = CUSTODY_MSG_EMPTY;
	AUTO(buf) struct buf again = BUF_EMPTY;
	size_t fd_body = 0;
	int fd = -1;

	if (custody_msg_parse(data, size, &m, &fd_body, NULL) < 0)
		return 0;
	names_read(&m.body);
	if (fd_body > 0 || m.body.len > CUSTODY_BODY_INLINE)
		return 0;
	assert(custody_msg_build(&m, &again, &fd, NULL) == 0 && fd == -1);
	/* byte 15 may say "by descriptor" for an empty body, which is then built without it */
	assert(again.len == size && memcmp(again.data, data, 15) == 0 && memcmp(again.data + 16, data + 16, size - 16) == 0);
	return 0;
}

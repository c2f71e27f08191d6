/* What keyrolld and keyroll-fetch say to each other over a stream socket pair: frames of a fixed header and bounded parts, all numbers
 * big-endian. Each side treats the other as a peer: nothing is believed before its bounds are checked. */
#ifndef KEYROLL_AGENT_FETCH_PROTO_H
#define KEYROLL_AGENT_FETCH_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/limits.h"

#define FETCH_HEADER_BYTES 8
#define FETCH_ERROR_BYTES 256
#define FETCH_TYPE_BYTES 128
#define FETCH_FRAME_MAX (LIMIT_CA_REPLY_BYTES + 1024)

enum fetch_kind { FETCH_KIND_REQUEST = 1, FETCH_KIND_REPLY = 2, FETCH_KIND_CANCEL = 3 };

struct fetch_request {
	uint32_t id;
	bool post;
	uint32_t max_body;	/* of the reply, bytes; at most LIMIT_CA_REPLY_BYTES */
	const char *url;	/* not terminated after parsing */
	size_t url_len;		/* at most LIMIT_URI_BYTES */
	const uint8_t *body;	/* POST, application/x-pki-message */
	size_t body_len;	/* at most LIMIT_SCEP_MESSAGE_BYTES */
};

struct fetch_reply {
	uint32_t id;
	uint32_t status;	  /* HTTP's, 0 when there was no answer: then error says why */
	uint32_t retry_after_sec; /* 0: none said */
	const char *error;	  /* printable */
	size_t error_len;
	const char *type;	  /* Content-Type */
	size_t type_len;
	const uint8_t *body;
	size_t body_len;
};

/* -ENOMEM, -EMSGSIZE. Appends one frame to *append. */
int fetch_request_build(const struct fetch_request *in, struct buf *append) CHECKED;
int fetch_reply_build(const struct fetch_reply *in, struct buf *append) CHECKED;
int fetch_cancel_build(uint32_t id, struct buf *append) CHECKED;

/* Length of the whole first frame in data, -EAGAIN while it is incomplete, -EMSGSIZE over the bound, -EBADMSG when it is none. */
ssize_t fetch_frame(const uint8_t *data, size_t len, enum fetch_kind *ret_kind) CHECKED;
/* frame: exactly one, of the right kind. The parts point into it. -EBADMSG, -EMSGSIZE. */
int fetch_request_parse(const uint8_t *frame, size_t len, struct fetch_request *ret) CHECKED;
int fetch_reply_parse(const uint8_t *frame, size_t len, struct fetch_reply *ret) CHECKED;
int fetch_cancel_parse(const uint8_t *frame, size_t len, uint32_t *ret_id) CHECKED;

/* Drops the first n bytes of b. */
void buf_drop(struct buf *b, size_t n);

#endif

/* Frames between keyrolld and keyroll-fetch: see fetch_proto.h. */
#include "agent/fetch_proto.h"

#include <errno.h>
#include <string.h>

#define MAGIC_0 'K'
#define MAGIC_1 'F'
#define VERSION 1

static int add_u32(struct buf *b, uint32_t v)
{
	uint8_t raw[4] = { (uint8_t) (v >> 24), (uint8_t) (v >> 16), (uint8_t) (v >> 8), (uint8_t) v };

	return buf_add(b, raw, sizeof(raw));
}

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}

struct part {
	const void *data;
	size_t len;
};

/* Header, the numbers, the parts. */
static int frame_build(enum fetch_kind kind, const uint32_t *numbers, size_t n, const struct part *parts, size_t n_parts, struct buf *append)
{
	uint8_t head[4] = { MAGIC_0, MAGIC_1, (uint8_t) kind, VERSION };
	size_t i, total = 4 * n;
	int r;

	for (i = 0; i < n_parts; i++)
		total += parts[i].len;
	if (total + FETCH_HEADER_BYTES > FETCH_FRAME_MAX)
		return -EMSGSIZE;
	r = buf_add(append, head, sizeof(head));
	if (r == 0)
		r = add_u32(append, (uint32_t) total);
	for (i = 0; r == 0 && i < n; i++)
		r = add_u32(append, numbers[i]);
	for (i = 0; r == 0 && i < n_parts; i++)
		if (parts[i].len > 0)
			r = buf_add(append, parts[i].data, parts[i].len);
	return r;
}

int fetch_request_build(const struct fetch_request *in, struct buf *append)
{
	const uint32_t numbers[] = { in->id, in->post, in->max_body, (uint32_t) in->url_len, (uint32_t) in->body_len };
	const struct part parts[] = { { in->url, in->url_len }, { in->body, in->body_len } };

	if (in->url_len > LIMIT_URI_BYTES || in->body_len > LIMIT_SCEP_MESSAGE_BYTES || in->max_body > LIMIT_CA_REPLY_BYTES)
		return -EMSGSIZE;
	return frame_build(FETCH_KIND_REQUEST, numbers, 5, parts, 2, append);
}

int fetch_reply_build(const struct fetch_reply *in, struct buf *append)
{
	const uint32_t numbers[] = { in->id, in->status, in->retry_after_sec, (uint32_t) in->error_len, (uint32_t) in->type_len,
				     (uint32_t) in->body_len };
	const struct part parts[] = { { in->error, in->error_len }, { in->type, in->type_len }, { in->body, in->body_len } };

	if (in->error_len > FETCH_ERROR_BYTES || in->type_len > FETCH_TYPE_BYTES || in->body_len > LIMIT_CA_REPLY_BYTES)
		return -EMSGSIZE;
	return frame_build(FETCH_KIND_REPLY, numbers, 6, parts, 3, append);
}

int fetch_cancel_build(uint32_t id, struct buf *append)
{
	return frame_build(FETCH_KIND_CANCEL, &id, 1, NULL, 0, append);
}

ssize_t fetch_frame(const uint8_t *data, size_t len, enum fetch_kind *ret_kind)
{
	size_t total;

	if (len < FETCH_HEADER_BYTES)
		return -EAGAIN;
	if (data[0] != MAGIC_0 || data[1] != MAGIC_1 || data[3] != VERSION || data[2] < FETCH_KIND_REQUEST || data[2] > FETCH_KIND_CANCEL)
		return -EBADMSG;
	total = (size_t) get_u32(data + 4) + FETCH_HEADER_BYTES;
	if (total > FETCH_FRAME_MAX)
		return -EMSGSIZE;
	if (len < total)
		return -EAGAIN;
	*ret_kind = (enum fetch_kind) data[2];
	return (ssize_t) total;
}

/* Reads n numbers; -EBADMSG when the frame is not one whole frame of that kind. */
static int numbers_parse(const uint8_t *frame, size_t len, enum fetch_kind want, uint32_t *ret, size_t n)
{
	enum fetch_kind kind;
	ssize_t total = fetch_frame(frame, len, &kind);
	size_t i;

	if (total < 0 || (size_t) total != len || kind != want || len < FETCH_HEADER_BYTES + 4 * n)
		return -EBADMSG;
	for (i = 0; i < n; i++)
		ret[i] = get_u32(frame + FETCH_HEADER_BYTES + 4 * i);
	return 0;
}

int fetch_request_parse(const uint8_t *frame, size_t len, struct fetch_request *ret)
{
	uint32_t n[5];
	const uint8_t *rest = frame + FETCH_HEADER_BYTES + sizeof(n);

	if (numbers_parse(frame, len, FETCH_KIND_REQUEST, n, 5) < 0)
		return -EBADMSG;
	if (n[2] > LIMIT_CA_REPLY_BYTES || n[3] > LIMIT_URI_BYTES || n[4] > LIMIT_SCEP_MESSAGE_BYTES)
		return -EMSGSIZE;
	if (n[1] > 1 || (size_t) n[3] + n[4] != len - (size_t) (rest - frame) || memchr(rest, 0, n[3]))
		return -EBADMSG;
	*ret = (struct fetch_request){ .id = n[0],
				       .post = n[1],
				       .max_body = n[2],
				       .url = (const char *) rest,
				       .url_len = n[3],
				       .body = rest + n[3],
				       .body_len = n[4] };
	return 0;
}

int fetch_reply_parse(const uint8_t *frame, size_t len, struct fetch_reply *ret)
{
	uint32_t n[6];
	const uint8_t *rest = frame + FETCH_HEADER_BYTES + sizeof(n);

	if (numbers_parse(frame, len, FETCH_KIND_REPLY, n, 6) < 0)
		return -EBADMSG;
	if (n[3] > FETCH_ERROR_BYTES || n[4] > FETCH_TYPE_BYTES || n[5] > LIMIT_CA_REPLY_BYTES)
		return -EMSGSIZE;
	if ((size_t) n[3] + n[4] + n[5] != len - (size_t) (rest - frame) || n[1] > 999 || memchr(rest, 0, (size_t) n[3] + n[4]))
		return -EBADMSG;
	*ret = (struct fetch_reply){ .id = n[0],
				     .status = n[1],
				     .retry_after_sec = n[2],
				     .error = (const char *) rest,
				     .error_len = n[3],
				     .type = (const char *) rest + n[3],
				     .type_len = n[4],
				     .body = rest + n[3] + n[4],
				     .body_len = n[5] };
	return 0;
}

int fetch_cancel_parse(const uint8_t *frame, size_t len, uint32_t *ret_id)
{
	return numbers_parse(frame, len, FETCH_KIND_CANCEL, ret_id, 1) < 0 || len != FETCH_HEADER_BYTES + 4 ? -EBADMSG : 0;
}

void buf_drop(struct buf *b, size_t n)
{
	if (n >= b->len) {
		buf_clear(b);
		return;
	}
	memmove(b->data, b->data + n, b->len - n + 1); /* the byte of 0 moves along */
	b->len -= n;
}

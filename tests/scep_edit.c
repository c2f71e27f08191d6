/* See scep_edit.h. */
#include "tests/scep_edit.h"

#include <stdlib.h>
#include <string.h>

struct editing {
	enum edit op;
	const void *bytes;
	size_t len;
};

static int indefinite_put(uint8_t tag, const struct der *body, struct buf *out)
{
	uint8_t head[2] = { (uint8_t) (tag | 0x20), 0x80 };
	int r = buf_add(out, head, 2);

	if (r == 0 && (tag & 0x20))
		r = buf_add(out, body->at, body->left);
	if (r == 0 && !(tag & 0x20))
		r = der_put(out, DER_OCTETS, body->at, body->left / 2);
	if (r == 0 && !(tag & 0x20))
		r = der_put(out, DER_OCTETS, body->at + body->left / 2, body->left - body->left / 2);
	return r == 0 ? buf_add(out, "\0\0", 2) : r;
}

static int apply(const struct editing *e, const struct der *whole, uint8_t tag, const struct der *body, struct buf *out)
{
	AUTO(buf) struct buf inner = BUF_EMPTY;

	switch (e->op) {
	case EDIT_REPLACE:
		return buf_add(out, e->bytes, e->len);
	case EDIT_AFTER:
		return buf_add(out, whole->at, whole->left) == 0 ? buf_add(out, e->bytes, e->len) : -1;
	case EDIT_APPEND:
		if (buf_add(&inner, body->at, body->left) < 0 || buf_add(&inner, e->bytes, e->len) < 0)
			return -1;
		return der_put_buf(out, tag, &inner);
	case EDIT_TWICE:
		return buf_add(out, whole->at, whole->left) == 0 ? buf_add(out, whole->at, whole->left) : -1;
	case EDIT_DELETE:
		return 0;
	case EDIT_RETAG:
		return der_put(out, *(const uint8_t *) e->bytes, body->at, body->left);
	case EDIT_INDEFINITE:
		return indefinite_put(tag, body, out);
	}
	return -1;
}

static int walk(const struct editing *e, struct der *in, const char *path, struct buf *out)
{
	struct der whole = *in, body, children;
	AUTO(buf) struct buf inner = BUF_EMPTY;
	uint8_t tag;
	long want, i;
	char *rest;

	if (!der_next(in, &tag, &body))
		return -1;
	whole.left = (size_t) (in->at - whole.at);
	if (*path == '\0')
		return apply(e, &whole, tag, &body, out);
	want = strtol(path, &rest, 10);
	if (*rest == '.')
		rest++;
	for (children = body, i = 0; children.left > 0; i++) {
		const uint8_t *start = children.at;

		if (i == want) {
			if (walk(e, &children, rest, &inner) < 0)
				return -1;
			continue;
		}
		if (!der_next(&children, &(uint8_t){ 0 }, &(struct der){ .at = NULL }) ||
		    buf_add(&inner, start, (size_t) (children.at - start)) < 0)
			return -1;
	}
	return i > want ? der_put_buf(out, tag, &inner) : -1;
}

int edit_at(const struct buf *in, const char *path, enum edit op, const void *bytes, size_t len, struct buf *ret)
{
	const struct editing e = { .op = op, .bytes = bytes, .len = len };
	struct der root = { .at = in->data, .left = in->len };
	AUTO(buf) struct buf out = BUF_EMPTY;

	if (walk(&e, &root, path, &out) < 0)
		return -1;
	buf_take(ret, &out);
	return 0;
}

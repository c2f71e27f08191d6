/* Reading and writing DER: see scep_der.h. */
#include "scep/scep_der.h"

#include <errno.h>
#include <string.h>

#include "common/limits.h"

enum { OID_BYTES_MAX = 32, INTEGER_BYTES_MAX = 1025 }; /* 8192 bits and a sign byte */

static bool length_get(struct der *in, size_t *ret)
{
	size_t n, i, value = 0;

	if (in->left == 0)
		return false;
	n = *in->at++;
	in->left--;
	if (n < 0x80) {
		*ret = n;
		return true;
	}
	n &= 0x7f;
	if (n == 0 || n > 4 || n > in->left || in->at[0] == 0)
		return false;
	for (i = 0; i < n; i++)
		value = value << 8 | in->at[i];
	in->at += n;
	in->left -= n;
	*ret = value;
	return value >= 0x80; /* shorter forms are the only DER ones; the leading zero is excluded above */
}

bool der_next(struct der *in, uint8_t *ret_tag, struct der *ret_body)
{
	struct der at = *in;
	uint8_t tag;
	size_t len;

	if (at.left < 2)
		return false;
	tag = *at.at++;
	at.left--;
	if ((tag & 0x1f) == 0x1f || tag == 0 || !length_get(&at, &len) || len > at.left)
		return false;
	*ret_tag = tag;
	*ret_body = (struct der){ .at = at.at, .left = len };
	in->at = at.at + len;
	in->left = at.left - len;
	return true;
}

bool der_take(struct der *in, uint8_t tag, struct der *ret_body)
{
	struct der at = *in, body;
	uint8_t found;

	if (!der_next(&at, &found, &body) || found != tag)
		return false;
	*in = at;
	*ret_body = body;
	return true;
}

bool der_take_whole(struct der *in, uint8_t tag, struct der *ret_whole)
{
	const uint8_t *start = in->at;
	struct der body;

	if (!der_take(in, tag, &body))
		return false;
	*ret_whole = (struct der){ .at = start, .left = (size_t) (in->at - start) };
	return true;
}

bool der_peek(const struct der *in, uint8_t tag)
{
	return in->left > 0 && in->at[0] == tag;
}

bool der_equal(const struct der *a, const void *bytes, size_t len)
{
	return a->left == len && (len == 0 || memcmp(a->at, bytes, len) == 0);
}

bool der_take_small(struct der *in, unsigned *ret)
{
	struct der body;

	if (!der_take(in, DER_INTEGER, &body) || body.left != 1 || body.at[0] >= 0x80)
		return false;
	*ret = body.at[0];
	return true;
}

static bool primitive_sane(uint8_t tag, const struct der *body)
{
	if (tag == DER_OID)
		return body->left >= 1 && body->left <= OID_BYTES_MAX;
	if (tag == DER_INTEGER)
		return body->left >= 1 && body->left <= INTEGER_BYTES_MAX;
	return true;
}

static bool level_sane(struct der in, unsigned depth)
{
	struct der body;
	uint8_t tag;

	while (in.left > 0) {
		if (!der_next(&in, &tag, &body))
			return false;
		if (!(tag & 0x20)) {
			if (tag == DER_SEQUENCE - 0x20 || tag == DER_SET - 0x20 || !primitive_sane(tag, &body))
				return false;
			continue;
		}
		if (tag < 0x40 && tag != DER_SEQUENCE && tag != DER_SET)
			return false;
		if (depth >= LIMIT_DER_DEPTH || !level_sane(body, depth + 1))
			return false;
	}
	return true;
}

bool der_sane(const struct der *in)
{
	return level_sane(*in, 0);
}

int der_put(struct buf *b, uint8_t tag, const void *data, size_t len)
{
	uint8_t head[6] = { tag };
	size_t n = 0, rest, i;
	int r;

	if (len > UINT32_MAX)
		return -ENOMEM;
	for (rest = len; rest > 0; rest >>= 8)
		n++;
	if (len < 0x80) {
		head[1] = (uint8_t) len;
		n = 0;
	} else {
		head[1] = (uint8_t) (0x80 | n);
		for (i = 0; i < n; i++)
			head[2 + i] = (uint8_t) (len >> (8 * (n - 1 - i)));
	}
	r = buf_add(b, head, 2 + n);
	if (r < 0)
		return r;
	return buf_add(b, data, len);
}

int der_put_small(struct buf *b, uint8_t number)
{
	return der_put(b, DER_INTEGER, &number, 1);
}

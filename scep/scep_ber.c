/* BER to DER. BouncyCastle clients (jscep, Apple's) send indefinite lengths and OCTET STRINGs in pieces; OpenSSL would read them, but the
 * walker shall see one form only. Output is written behind room for the longest header and then moved down, so that the work is bounded by
 * depth times size. */
#include <errno.h>
#include <string.h>

#include "common/limits.h"
#include "scep/scep_der.h"

enum {
	HEADER_MAX = 6,		/* tag, 0x84, four bytes */
	SLACK_BYTES = 1024,	/* headers in the making, and those that grow from indefinite to four bytes of length */
	ENVELOPE_CONTENT_DEPTH = 4, /* ContentInfo, [0], EnvelopedData, EncryptedContentInfo, [0] */
};

struct ber {
	const uint8_t *in;
	size_t left;
	uint8_t *out;
	size_t used, size;
	bool envelope;
};

struct ber_head {
	uint8_t tag;
	bool indefinite;
	size_t len;
};

static bool head_get(struct ber *b, struct ber_head *h)
{
	size_t n;

	if (b->left < 2)
		return false;
	h->tag = b->in[0];
	n = b->in[1];
	b->in += 2;
	b->left -= 2;
	h->indefinite = n == 0x80;
	h->len = n < 0x80 ? n : 0;
	if ((h->tag & 0x1f) == 0x1f || h->tag == 0 || (h->indefinite && !(h->tag & 0x20)))
		return false;
	if (n <= 0x80)
		return h->len <= b->left;
	n &= 0x7f;
	if (n > 4 || n > b->left)
		return false;
	for (; n > 0; n--, b->left--)
		h->len = h->len << 8 | *b->in++;
	return h->len <= b->left;
}

static bool out_put(struct ber *b, const void *data, size_t len)
{
	if (len > b->size - b->used)
		return false;
	memcpy(b->out + b->used, data, len);
	b->used += len;
	return true;
}

/* The body stands at start + HEADER_MAX: writes the header and moves the body down to it. */
static void head_settle(struct ber *b, size_t start, uint8_t tag)
{
	size_t len = b->used - start - HEADER_MAX, n = 0, rest, i;
	uint8_t *at = b->out + start;

	*at++ = tag;
	if (len < 0x80) {
		*at++ = (uint8_t) len;
	} else {
		for (rest = len; rest > 0; rest >>= 8)
			n++;
		*at++ = (uint8_t) (0x80 | n);
		for (i = n; i > 0; i--)
			*at++ = (uint8_t) (len >> (8 * (i - 1)));
	}
	memmove(at, b->out + start + HEADER_MAX, len);
	b->used = (size_t) (at - b->out) + len;
}

/* Is there another child? Takes the end-of-contents off. -1: broken. */
static int more(struct ber *b, const struct ber_head *h, const uint8_t *end)
{
	if (!h->indefinite)
		return b->in < end;
	if (b->left < 2)
		return -1;
	if (b->in[0] != 0 || b->in[1] != 0)
		return 1;
	b->in += 2;
	b->left -= 2;
	return 0;
}

static bool value_convert(struct ber *b, unsigned depth, bool piece);

/* The children of h; in a string they are its pieces. */
static bool children_convert(struct ber *b, const struct ber_head *h, unsigned depth, bool pieces)
{
	const uint8_t *end = b->in + h->len;
	size_t beyond = 0;
	int r;

	if (!h->indefinite) { /* children must not read past their parent */
		beyond = b->left - h->len;
		b->left = h->len;
	}
	while ((r = more(b, h, end)) > 0)
		if (!value_convert(b, depth + 1, pieces))
			return false;
	b->left += beyond;
	return r == 0;
}

/* An OCTET STRING in pieces: UNIVERSAL 4 constructed, or the encrypted content. */
static bool is_string(const struct ber *b, uint8_t tag, unsigned depth, bool piece)
{
	if (tag == (DER_OCTETS | 0x20))
		return true;
	return b->envelope && !piece && depth == ENVELOPE_CONTENT_DEPTH && tag == DER_CONTEXT_0;
}

static bool value_convert(struct ber *b, unsigned depth, bool piece)
{
	size_t start = b->used;
	struct ber_head h;
	bool string;

	if (depth > LIMIT_DER_DEPTH || !head_get(b, &h))
		return false;
	if (piece && (h.tag & ~0x20) != DER_OCTETS)
		return false;
	if (!piece) {
		if (b->size - b->used < HEADER_MAX)
			return false;
		b->used += HEADER_MAX;
	}
	if (h.tag & 0x20) {
		string = is_string(b, h.tag, depth, piece);
		if (!children_convert(b, &h, depth, string))
			return false;
		if (string)
			h.tag &= (uint8_t) ~0x20;
	} else {
		if (!out_put(b, b->in, h.len))
			return false;
		b->in += h.len;
		b->left -= h.len;
	}
	if (!piece)
		head_settle(b, start, h.tag);
	return true;
}

int ber_to_der(const void *ber, size_t len, bool envelope, struct buf *ret, struct err *reterr)
{
	struct ber b = { .in = ber, .left = len, .size = len + SLACK_BYTES, .envelope = envelope };
	AUTO(mem) uint8_t *out = NULL;

	if (len == 0 || len > LIMIT_CA_REPLY_BYTES)
		return err_set(reterr, -EBADMSG, "found %zu bytes, wanted 1 to %d of ASN.1", len, LIMIT_CA_REPLY_BYTES);
	out = malloc(b.size);
	if (!out)
		return err_set(reterr, -ENOMEM, "out of memory");
	b.out = out;
	if (!value_convert(&b, 0, false))
		return err_set(reterr, -EBADMSG, "not ASN.1 within bounds at byte %zu of %zu (X.690)", (size_t) (b.in - (const uint8_t *) ber), len);
	if (b.left != 0)
		return err_set(reterr, -EBADMSG, "found %zu bytes after the message, wanted none", b.left);
	if (buf_set(ret, out, b.used) < 0)
		return err_set(reterr, -ENOMEM, "out of memory");
	return 0;
}

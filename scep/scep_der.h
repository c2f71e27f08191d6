/* Strict DER as slices of memory that somebody else owns, and a small writer. No allocation when reading. */
#ifndef KEYROLL_SCEP_SCEP_DER_H
#define KEYROLL_SCEP_SCEP_DER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

enum { /* the tags that SCEP needs */
	DER_INTEGER = 0x02,
	DER_OCTETS = 0x04,
	DER_NULL = 0x05,
	DER_OID = 0x06,
	DER_UTF8 = 0x0c,
	DER_PRINTABLE = 0x13,
	DER_T61 = 0x14,
	DER_IA5 = 0x16,
	DER_UTC_TIME = 0x17,
	DER_GENERALIZED_TIME = 0x18,
	DER_SEQUENCE = 0x30,
	DER_SET = 0x31,
	DER_CONTEXT_0_PRIMITIVE = 0x80,
	DER_CONTEXT_0 = 0xa0,
	DER_CONTEXT_1 = 0xa1,
};

struct der {
	const uint8_t *at; /* NULL: absent */
	size_t left;
};

/* Takes the next value off *in. False, and *in untouched: not strict DER (long tags, indefinite or padded lengths, past the end). */
bool der_next(struct der *in, uint8_t *ret_tag, struct der *ret_body) CHECKED;
/* The same, when it has that tag. */
bool der_take(struct der *in, uint8_t tag, struct der *ret_body) CHECKED;
/* The same with its header: the whole value. */
bool der_take_whole(struct der *in, uint8_t tag, struct der *ret_whole) CHECKED;
bool der_peek(const struct der *in, uint8_t tag) CHECKED;
bool der_equal(const struct der *a, const void *bytes, size_t len) CHECKED;
/* A non-negative INTEGER that fits. */
bool der_take_small(struct der *in, unsigned *ret) CHECKED;
/* Every value within is strict DER: depth at most LIMIT_DER_DEPTH, universal constructed only SEQUENCE and SET, OIDs at most 32 bytes, integers at most 1
 * KiB. */
bool der_sane(const struct der *in) CHECKED;

/* Appends tag, length, data. data may be NULL when len is 0. -ENOMEM. */
int der_put(struct buf *b, uint8_t tag, const void *data, size_t len) CHECKED;
static inline int der_put_buf(struct buf *b, uint8_t tag, const struct buf *body)
{
	return der_put(b, tag, body->data, body->len);
}
/* A non-negative INTEGER below 128. */
int der_put_small(struct buf *b, uint8_t number) CHECKED;

/* BER of real clients (indefinite lengths, OCTET STRINGs in pieces) to definite DER; DER comes out as it went in. With envelope, the [0] of an
 * EncryptedContentInfo in pieces is joined too. -EBADMSG: not BER within bounds, or bytes left over; -ENOMEM. */
int ber_to_der(const void *ber, size_t len, bool envelope, struct buf *ret, struct err *reterr) CHECKED;

#endif

/* Owned bytes: see buf.h. */
#include "common/buf.h"

#include <errno.h>
#include <string.h>

void buf_clear(struct buf *b)
{
	if (b->data && b->secret)
		explicit_bzero(b->data, b->len);
	free(b->data);
	b->data = NULL;
	b->len = 0;
}

int buf_add(struct buf *b, const void *data, size_t len)
{
	uint8_t *moved;

	if (len == 0)
		return 0;
	if (len > SIZE_MAX - 1 - b->len)
		return -ENOMEM;
	/* not realloc: it would leave a copy of a secret behind, and data may point into the old memory */
	moved = malloc(b->len + len + 1);
	if (!moved)
		return -ENOMEM;
	if (b->len > 0)
		memcpy(moved, b->data, b->len);
	memcpy(moved + b->len, data, len);
	len += b->len;
	moved[len] = 0;
	buf_clear(b);
	b->data = moved;
	b->len = len;
	return 0;
}

int buf_set(struct buf *b, const void *data, size_t len)
{
	struct buf fresh = { .data = NULL, .len = 0, .secret = b->secret };
	int r;

	r = buf_add(&fresh, data, len);
	if (r < 0)
		return r;
	buf_take(b, &fresh);
	return 0;
}

void buf_take(struct buf *to, struct buf *from)
{
	bool secret = to->secret || from->secret; /* a secret stays one wherever it goes */

	if (to == from)
		return;
	buf_clear(to);
	to->data = from->data;
	to->len = from->len;
	to->secret = secret;
	from->data = NULL;
	from->len = 0;
}

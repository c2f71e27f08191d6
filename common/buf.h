/* Owned bytes with a length; wiped on release when they are secret. */
#ifndef KEYROLL_COMMON_BUF_H
#define KEYROLL_COMMON_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/auto.h"

struct buf {
	uint8_t *data; /* NULL when empty; always one byte of 0 beyond len, so text needs no copy */
	size_t len;
	bool secret;
};
#define BUF_EMPTY ((struct buf){ .data = NULL, .len = 0, .secret = false })
#define BUF_SECRET ((struct buf){ .data = NULL, .len = 0, .secret = true })

/* Replaces the content with a copy. -ENOMEM. data may be NULL when len is 0. */
int buf_set(struct buf *b, const void *data, size_t len) CHECKED;
/* Appends a copy; the old memory of a secret buffer is wiped when it moves. -ENOMEM. */
int buf_add(struct buf *b, const void *data, size_t len) CHECKED;
/* Frees, wiping first if secret. Keeps the secret flag. */
void buf_clear(struct buf *b);
/* Moves the content; *from is empty afterwards. */
void buf_take(struct buf *to, struct buf *from);

static inline void auto_buf(struct buf *b)
{
	buf_clear(b);
}

#endif

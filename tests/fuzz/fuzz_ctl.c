/* Control messages: the frame, then the JSON in it, as the server takes them. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/ctl_internal.h"
#include "common/limits.h"
#include "tests/fuzz/fuzz.h"

static void message_check(const char *text, size_t len)
{
	AUTO(json) json_t *message = NULL;
	AUTO(json) json_t *again = NULL;
	AUTO(buf) struct buf out = BUF_EMPTY;

	if (ctl_json_parse(text, len, &message, NULL) < 0)
		return;
	if (ctl_json_build(message, LIMIT_CTL_REPLY_BYTES, &out) < 0)
		return;
	if (ctl_frame((const char *) out.data, out.len) != (ssize_t) out.len - 1)
		abort(); /* what we send is one frame */
	if (ctl_json_parse((const char *) out.data, out.len - 1, &again, NULL) < 0 || !json_equal(message, again))
		abort(); /* parse(print(x)) == x */
}

int fuzz_one(const uint8_t *data, size_t len)
{
	const char *at = (const char *) data;
	ssize_t n;

	while ((n = ctl_frame(at, len)) >= 0) {
		if ((size_t) n >= len || at[n] != '\0')
			abort(); /* beyond the bytes that are there */
		message_check(at, (size_t) n);
		at += n + 1;
		len -= (size_t) n + 1;
	}
	return 0;
}

/* One SCEP exchange over HTTP: builds the URL, and judges status, size and content type before anybody parses the body. */
#ifndef KEYROLL_AGENT_EXCHANGE_H
#define KEYROLL_AGENT_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/auto.h"
#include "common/err.h"

struct trustpoint;

enum exchange_kind { EXCHANGE_CAPS, EXCHANGE_CA, EXCHANGE_NEXT_CA, EXCHANGE_PKI, EXCHANGE_N_ };

struct exchange_result {
	int code;		/* 0: body may be parsed; -EREMOTEIO: HTTP said no (status); -EPROTO: the body is of the wrong type; -EIO: no answer */
	unsigned status;	/* HTTP's, 0 without an answer */
	int64_t retry_after_ms;
	const uint8_t *body;
	size_t len;
	struct err err;		/* in words, when code is not 0 */
};
typedef void (*exchange_fn)(struct trustpoint *tp, const struct exchange_result *result);

/* message: DER, for EXCHANGE_PKI; post: as the capabilities say. fn is called once, later. *ret_id is for fetch_cancel. */
int exchange_start(struct trustpoint *tp, enum exchange_kind kind, const void *message, size_t len, bool post, exchange_fn fn, uint32_t *ret_id,
		   struct err *reterr) CHECKED;
/* Nothing is called any more. */
void exchange_cancel(struct trustpoint *tp, uint32_t *id);

/* Whether the type, parameters aside, is one of those for kind. Exposed for the tests. */
bool exchange_type_ok(enum exchange_kind kind, const char *type, size_t len);

#endif

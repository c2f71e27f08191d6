/* A CA's whole way of opening a request: walker, signature, decryption, content. A request that passes must be complete. */
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "tests/scep_fixture.h"

static struct fixture fx;

int fuzz_one(const uint8_t *data, size_t len)
{
	struct scep_request r = { 0 };
	struct err e = { 0 };

	if (!fx.ca && fixture_init(&fx) < 0)
		abort();
	if (scep_request_open(data, len, fx.identities, 2, &scep_policy_legacy, FX_NOW, &r, &e) == 0) {
		if (r.stage != SCEP_OPEN_DONE || !r.signer || !r.transaction_id[0] || r.sender_nonce_len == 0)
			abort();
	} else if (r.stage == SCEP_OPEN_DONE || r.csr || r.query_serial || !e.text[0]) {
		abort();
	}
	scep_request_clear(&r);
	return 0;
}

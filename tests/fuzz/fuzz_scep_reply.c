/* A client's whole way of opening a reply, as PKCSReq and as GetCRL. */
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "tests/scep_fixture.h"

static struct fixture fx;

int fuzz_one(const uint8_t *data, size_t len)
{
	struct scep_reply r = { 0 };
	int turn;

	if (!fx.ca && fixture_init(&fx) < 0)
		abort();
	fx.want.policy = &scep_policy_legacy;
	for (turn = 0; turn < 2; turn++) {
		fx.want.want_crl = turn;
		if (scep_reply_open(data, len, &fx.want, FX_NOW, &r, NULL) == 0 && r.status == SCEP_STATUS_SUCCESS && !r.cert && !r.crl)
			abort();
		scep_reply_clear(&r);
	}
	return 0;
}

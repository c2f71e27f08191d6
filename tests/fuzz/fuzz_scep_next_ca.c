/* GetNextCACert's body: nothing but the CA's own signature brings a certificate out. */
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "tests/scep_fixture.h"

static struct fixture fx;

int fuzz_one(const uint8_t *data, size_t len)
{
	X509 *next = NULL;

	if (!fx.ca && fixture_init(&fx) < 0)
		abort();
	if (scep_next_ca_open(data, len, fx.ca, &scep_policy_default, &next, NULL) == 0 && X509_cmp(next, fx.next) != 0)
		abort();
	X509_free(next);
	return 0;
}

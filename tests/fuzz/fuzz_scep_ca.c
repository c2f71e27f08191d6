/* GetCACert's body, with and without a pinned fingerprint. */
#include <stdlib.h>

#include "scep/scep.h"
#include "tests/fuzz/fuzz.h"

static const char pin[] = "0000000000000000000000000000000000000000000000000000000000000000";

int fuzz_one(const uint8_t *data, size_t len)
{
	struct scep_ca ca;

	if (scep_ca_open(data, len, NULL, 1800000000, &ca, NULL) == 0 && (!ca.ca || !ca.encrypt || !ca.sign || sk_X509_num(ca.all) < 1))
		abort();
	scep_ca_clear(&ca);
	if (scep_ca_open(data, len, pin, 1800000000, &ca, NULL) == 0)
		abort(); /* nothing has that fingerprint */
	scep_ca_clear(&ca);
	return 0;
}

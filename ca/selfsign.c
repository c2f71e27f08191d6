/* The CA's own certificate: see selfsign.h. */
#include "ca/selfsign.h"

#include "ca/issue.h"
#include "ca/x509sig.h"
#include "common/x509facts.h"

#define INSTANCE 1 /* of the serial, as for routers */

int selfsign_make(const struct selfsign *in, X509 **ret, struct err *reterr)
{
	char serial[DB_SERIAL_HEX];
	struct issue_ca ca = { .name = in->name,
			       .key = in->key,
			       .serial = serial,
			       .nb_sec = in->validity.nb_sec,
			       .na_sec = in->validity.na_sec,
			       .hash = in->hash };
	AUTO(buf) struct buf tbs = BUF_EMPTY;
	AUTO(buf) struct buf der = BUF_EMPTY;
	int r;

	if ((r = issue_serial(INSTANCE, serial, reterr)) < 0 || (r = issue_ca_tbs(&ca, &tbs, reterr)) < 0 ||
	    (r = x509sig_make(tbs.data, tbs.len, in->hash, in->key, &der, reterr)) < 0)
		return r;
	return x509_from_der(der.data, der.len, ret, reterr);
}

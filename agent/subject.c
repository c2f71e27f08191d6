/* The subject of a trustpoint's requests: see subject.h. */
#include "agent/subject.h"

#include <errno.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "common/x509facts.h"

int subject_build(const struct tpconf *c, X509_NAME **ret, struct err *reterr)
{
	AUTO(name) X509_NAME *name = NULL;
	int r = x509_name_parse(c->subject_name, &name, reterr);

	if (r < 0)
		return r;
	if (c->serial_number && !X509_NAME_add_entry_by_NID(name, NID_serialNumber, V_ASN1_PRINTABLESTRING,
							    (const unsigned char *) c->serial_number, -1, -1, 0))
		return err_from_openssl(reterr, -EINVAL, "SerialNumber=%.64s in the subject", c->serial_number);
	*ret = TAKE(name);
	return 0;
}

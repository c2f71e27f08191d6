/* Certificates out of a certs-only message. */
#include <errno.h>

#include "common/x509facts.h"
#include "scep/scep_internal.h"

int bag_certs_get(const struct shape_bag *bag, STACK_OF(X509) **ret, struct err *reterr)
{
	AUTO(x509_sk) STACK_OF(X509) *certs = sk_X509_new_null();
	unsigned i;
	int r;

	if (!certs)
		return err_from_openssl(reterr, -ENOMEM, "out of memory");
	for (i = 0; i < bag->n_certs; i++) {
		AUTO(x509) X509 *cert = NULL;

		r = x509_from_der(bag->cert[i].at, bag->cert[i].left, &cert, reterr);
		if (r < 0)
			return r;
		if (!sk_X509_push(certs, cert))
			return err_from_openssl(reterr, -ENOMEM, "out of memory");
		(void) TAKE(cert); /* the stack owns it now */
	}
	*ret = TAKE(certs);
	return 0;
}

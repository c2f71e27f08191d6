/* A CA as it is stored: see ca_roles.h. */
#include "agent/ca_roles.h"

#include <errno.h>

int ca_roles_store(struct bag *bag, const struct scep_ca *ca, struct tp_cert *ret_who, struct err *reterr)
{
	X509 *certs[3] = { ca->ca, ca->encrypt, ca->sign };
	bool alone = X509_cmp(ca->ca, ca->encrypt) == 0 && X509_cmp(ca->ca, ca->sign) == 0;

	return bag_add(bag, certs, alone ? 1 : 3, ret_who, reterr);
}

int ca_roles_load(const struct bag *bag, const struct tp_cert *who, struct ca_roles *ret, struct err *reterr)
{
	int n, r;

	*ret = (struct ca_roles){ .certs = NULL };
	r = bag_certs(bag, who, &ret->certs, reterr);
	if (r < 0)
		return r;
	n = sk_X509_num(ret->certs);
	ret->ca = sk_X509_value(ret->certs, 0);
	ret->encrypt = sk_X509_value(ret->certs, n == 3 ? 1 : 0);
	ret->sign = sk_X509_value(ret->certs, n == 3 ? 2 : 0);
	return 0;
}

void ca_roles_clear(struct ca_roles *r)
{
	sk_X509_pop_free(r->certs, X509_free);
	*r = (struct ca_roles){ .certs = NULL };
}

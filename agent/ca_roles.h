/* A CA as it is stored: its certificate, and those that open requests and sign replies for it where they differ (RA). */
#ifndef KEYROLL_AGENT_CA_ROLES_H
#define KEYROLL_AGENT_CA_ROLES_H

#include "agent/bag.h"
#include "common/auto_ssl.h"
#include "scep/scep.h"

struct ca_roles {
	STACK_OF(X509) *certs;		/* owned */
	X509 *ca, *encrypt, *sign;	/* borrowed from certs */
};

/* Into the bag: CA alone, or CA, encryption, signing. */
int ca_roles_store(struct bag *bag, const struct scep_ca *ca, struct tp_cert *ret_who, struct err *reterr) CHECKED;
int ca_roles_load(const struct bag *bag, const struct tp_cert *who, struct ca_roles *ret, struct err *reterr) CHECKED;
void ca_roles_clear(struct ca_roles *r);

static inline void auto_ca_roles(struct ca_roles *r)
{
	ca_roles_clear(r);
}

#endif

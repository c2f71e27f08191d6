/* The signer's floor: reads what it is asked to sign and lets pass only what a CA of this name may say. It knows nothing from the front but the
 * bytes; what it must remember (the end of each of its CA certificates) it keeps itself, beside the keys. */
#ifndef KEYROLL_CA_SIGNER_FLOOR_H
#define KEYROLL_CA_SIGNER_FLOOR_H

#include <stddef.h>
#include <stdint.h>

#include "common/auto.h"
#include "common/err.h"
#include "scep/scep.h"

struct floor;

enum floor_form { FLOOR_FORM_LEAF, FLOOR_FORM_OWN_CA, FLOOR_FORM_CRL, FLOOR_FORM_ATTRIBUTES, FLOOR_FORM_CSR, FLOOR_FORM_N_ };

struct floor_ask { /* borrowed for the call */
	const char *spki;	 /* of the key that shall sign, hex */
	const void *spki_der;
	size_t spki_der_len;
	enum scep_digest digest;
	const void *bytes;
	size_t len;
};

/* issuer_name: RFC 4514 text from the configuration, the only name that this signer issues under. ca_lifetime_ms bounds its own certificates.
 * folder holds one small file for each own CA certificate that it has signed; made when missing. */
int floor_new(const char *issuer_name, int64_t ca_lifetime_ms, const char *folder, struct floor **ret, struct err *reterr) CHECKED;
/* A configuration that was read again bounds the next certificate of its own. */
void floor_set_lifetime(struct floor *f, int64_t ca_lifetime_ms);
void floor_free(struct floor *f);

/* 0 and the form; -EPERM with the reason. An own CA certificate is remembered durably before this returns 0: -EIO, -ENOSPC when that fails. */
int floor_check(struct floor *f, const struct floor_ask *ask, enum floor_form *ret_form, struct err *reterr) CHECKED;

const char *floor_form_name(enum floor_form form);

AUTO_DEFINE(floor, struct floor *, floor_free);

#endif

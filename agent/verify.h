/* What a granted certificate must be before it is kept. */
#ifndef KEYROLL_AGENT_VERIFY_H
#define KEYROLL_AGENT_VERIFY_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/auto.h"
#include "common/err.h"

struct verify_want {
	X509 *issuer;		/* the CA that was asked */
	const char *spki;	/* of the key that was asked for */
	X509_REQ *csr;		/* that was sent: no subjectAltName but those it asks for. NULL: it asked for none */
	X509 *old;		/* the certificate that it follows, or NULL */
	int64_t now_sec;
	bool trusted;		/* the clock may call it expired */
};
/* -EKEYREJECTED: another key, another issuer, the old certificate again; -EPROTO: a CA's certificate, a name that nobody asked for, or a
 * validity that helps nobody. Another subject is accepted: that is for the CA to say, and old ones do. */
int verify_granted(X509 *cert, const struct verify_want *want, struct err *reterr) CHECKED;

#endif

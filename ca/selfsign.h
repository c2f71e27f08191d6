/* The CA's own certificate: serial, TBS, signature by the key that it certifies. */
#ifndef KEYROLL_CA_SELFSIGN_H
#define KEYROLL_CA_SELFSIGN_H

#include <openssl/x509.h>

#include "common/err.h"
#include "lifecycle/tp.h"
#include "scep/scep.h"

struct selfsign {
	X509_NAME *name;
	EVP_PKEY *key;
	struct tp_cert validity;
	enum scep_digest hash;
};
int selfsign_make(const struct selfsign *in, X509 **ret, struct err *reterr) CHECKED;

#endif

/* Keys at rest: PBES2 PKCS#8 under one machine secret. */
#ifndef KEYROLL_KEYSTORE_SEAL_H
#define KEYROLL_KEYSTORE_SEAL_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

enum { SEAL_SECRET_BYTES = 32, SEAL_WORD_BYTES = 4, SEAL_BLOB_BYTES = 8192 };

struct seal {
	uint8_t secret[SEAL_SECRET_BYTES];
	const char *at_rest; /* "tpm2", "host": what keyroll-seal sealed the credential with, as it says within the seal; "file" */
};

/* The secret is the credential "machine-secret" ($CREDENTIALS_DIRECTORY) or, where there is none, state_dir/machine-secret, mode 0600, made on first
 * use. -EBADMSG: it is no machine secret; -EPERM: others may read it. Unsealing is the service manager's: the TPM is not opened here. */
int seal_open(const char *state_dir, struct seal *ret, struct err *reterr) CHECKED;
void seal_clear(struct seal *s);

/* Unencrypted PKCS#8 DER to a sealed blob and back. -EBADMSG: another machine's, or damaged. plain must be a secret buffer. */
int seal_wrap(const struct seal *s, const struct buf *plain, struct buf *ret, struct err *reterr) CHECKED;
int seal_unwrap(const struct seal *s, const struct buf *blob, struct buf *plain, struct err *reterr) CHECKED;

/* The key of implicit rejection: from the machine secret and the 32 random bytes that were made with the key. */
int seal_reject_key(const struct seal *s, const uint8_t random[32], uint8_t ret[32], struct err *reterr) CHECKED;

#endif

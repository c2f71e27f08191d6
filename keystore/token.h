/* A device that keeps keys for good, behind an OpenSSL provider with that gift (tpm2-openssl for a TPM 2.0): makes them inside, signs and decrypts.
 * The provider lives in a library context of its own, so that nothing else moves to the device. One device for a process; calls wait for each other.
 *
 * A key is known by its reference: what the provider writes for it as PEM (a TPM's wrapped blob, a device's URI), or the URI that a person gave. It
 * is no secret: without the device it is worth nothing.
 *
 * -ENODEV everywhere: the device does not answer, or not with this key, also after it was opened anew; -EACCES: not with this PIN, which is tried once. */
#ifndef KEYROLL_KEYSTORE_TOKEN_H
#define KEYROLL_KEYSTORE_TOKEN_H

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

#include "common/auto.h"
#include "common/buf.h"
#include "common/err.h"

enum { TOKEN_REFERENCE_BYTES = 8192, TOKEN_URI_BYTES = 256, TOKEN_PIN_BYTES = 128 };

struct token_digest { /* what is to be signed */
	const EVP_MD *md;
	const uint8_t *bytes;
	size_t len;
	int pss_salt; /* bytes of salt; -1: PKCS#1 v1.5 */
};

/* Which provider (NULL: none), and the file that holds the PIN or password of its keys (NULL: they have none). Both are borrowed for the life of the
 * process. Before any other call, once. */
void token_configure(const char *provider, const char *pin_file);
/* Whether it is there: opens it or, when it is open, has it test itself (a provider without a test passes). Waits for
 * the requests before it, and for a device that hangs: on a worker's thread. -ENOTSUP: no provider is configured; -EPERM: the PIN file, with what is
 * wrong with it; -EINVAL: the provider's name is too long; -ENODEV. */
int token_ready(struct err *reterr) CHECKED;
/* What the last attempt to open it gave. Waits for nothing. Errors as token_ready, and token_hung. */
int token_state(struct err *reterr) CHECKED;
/* Whether it has been at one request for so long that it will not come to the next. Waits for nothing. -ENODEV. */
int token_hung(struct err *reterr) CHECKED;
void token_close(void); /* the next call opens it again */

/* Makes an RSA key inside: seconds to a minute. *spki is its SubjectPublicKeyInfo. -ENOTSUP: the device makes no such key, or the provider cannot say
 * how to find it again; -EPERM: the provider gives private halves out, so it is no device. */
int token_make(int bits, struct buf *reference, struct buf *spki, struct err *reterr) CHECKED;
/* A key that lies in the device already. -EINVAL: a file, or no URI; -EPERM as token_make. */
int token_adopt(const char *uri, struct buf *reference, struct buf *spki, struct err *reterr) CHECKED;

/* k bytes to out, not yet verified. -ENOTSUP: the device does not sign with that digest or padding. */
int token_sign(const struct buf *reference, const struct token_digest *d, uint8_t *out, size_t k, struct err *reterr) CHECKED;
/* k bytes of ciphertext to the encoded block that lies under it (RFC 8017 7.2.1), or to zeros when the device refuses the padding: who decodes the
 * block decides what a refusal looks like. pub: the key's public half. -EINVAL: the ciphertext is not below the modulus. */
int token_open_pkcs1(const struct buf *reference, EVP_PKEY *pub, const uint8_t *in, uint8_t *em, size_t k, struct err *reterr) CHECKED;
/* OAEP with one digest and no label. out holds k bytes. -EINVAL: the device refuses the padding; -ENOTSUP: that digest. */
int token_open_oaep(const struct buf *reference, EVP_PKEY *pub, const EVP_MD *md, const uint8_t *in, size_t k, uint8_t *out, size_t *ret_len,
		    struct err *reterr) CHECKED;

#endif

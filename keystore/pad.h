/* RSA paddings round a bare private operation: PKCS#1 v1.5 and PSS for signatures, PKCS#1 v1.5 and OAEP for decryption (RFC 8017). Own code, since the key
 * store has only raw operations and the library's padding calls are deprecated. k is the modulus in bytes. */
#ifndef KEYROLL_KEYSTORE_PAD_H
#define KEYROLL_KEYSTORE_PAD_H

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

#include "common/auto.h"
#include "common/buf.h"
#include "common/err.h"

enum { PAD_K_MAX = 512, PAD_REJECT_BYTES = 32, PAD_PREMASTER_BYTES = 48 };

/* The digest by its name, one of those that may be signed with: SHA1 (verifying old peers' habits), SHA224, SHA256, SHA384, SHA512. NULL: another. */
const EVP_MD *pad_digest(const char *name);

/* EMSA-PKCS1-v1_5 of a digest, k bytes to em. -EINVAL: digest length or k do not fit. */
int pad_pkcs1_sign(const EVP_MD *md, const uint8_t *digest, size_t len, uint8_t *em, size_t k, struct err *reterr) CHECKED;
/* EMSA-PSS with MGF1 of the same hash; salt drawn by the caller; bits of the modulus; k = (bits + 7) / 8 bytes to em. -EINVAL. */
int pad_pss_sign(const EVP_MD *md, const uint8_t *digest, size_t len, const uint8_t *salt, size_t salt_len, int bits, uint8_t *em, size_t k,
		 struct err *reterr) CHECKED;
/* EME-PKCS1-v1_5 decoding in constant time with implicit rejection: on bad padding the result is a pseudo-random text of pseudo-random length, a
 * function of reject_key and the ciphertext, so that nothing tells the two cases apart. out holds k bytes; *ret_len is at most k - 11. Fails only
 * for lack of memory: -ENOMEM. */
int pad_pkcs1_open(const uint8_t *em, size_t k, const uint8_t reject_key[PAD_REJECT_BYTES], const uint8_t *ciphertext, uint8_t *out, size_t *ret_len) CHECKED;
/* EME-OAEP decoding in constant time (RFC 8017 7.1.2); em is wiped. out holds k bytes. -EINVAL, always the same, for whatever is wrong with the
 * padding; also when k is too short for the digest, which is public. -ENOMEM. */
int pad_oaep_open(const EVP_MD *md, const EVP_MD *mgf, const uint8_t *label, size_t label_len, uint8_t *em, size_t k, uint8_t *out, size_t *ret_len) CHECKED;
/* The premaster secret of a TLS client with RSA key exchange, in constant time: PKCS#1 v1.5 padding round 48 bytes that begin with version (or with
 * other, if that is not 0), else what random holds (RFC 5246 7.4.7.1). -EINVAL: k is too short, which is public. */
int pad_tls_open(const uint8_t *em, size_t k, unsigned version, unsigned other, const uint8_t random[PAD_PREMASTER_BYTES],
		 uint8_t out[PAD_PREMASTER_BYTES]) CHECKED;

#endif

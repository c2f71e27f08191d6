/* The steps that requests and replies share. Only scep/ and its tests include this. */
#ifndef KEYROLL_SCEP_SCEP_INTERNAL_H
#define KEYROLL_SCEP_SCEP_INTERNAL_H

#include "scep/scep.h"
#include "scep/scep_der.h"
#include "scep/scep_shape.h"

enum { SCEP_RSA_BITS_MAX = 8192, SCEP_RSA_EXPONENT_BITS_MAX = 64 }; /* of a peer's key: bounds the work that it may ask for */

/* ---- signing ---- */
struct sign_in {
	const void *content; /* NULL: an empty OCTET STRING */
	size_t content_len;
	const struct buf *attrs; /* Attribute values without contentType, messageDigest and signingTime: each appended by attr_put */
	size_t n_attrs;
	X509 *signer;
	EVP_PKEY *key;
	enum scep_digest digest;
	int64_t signing_time_sec; /* 0: left out */
};
/* SignedData with the signer's certificate and rsaEncryption. Written here since CMS_final always adds the wall clock's time. */
int signed_build(const struct sign_in *in, struct buf *ret, struct err *reterr) CHECKED;
/* One Attribute with one value of that tag. */
int attr_put(struct buf *b, int oid, uint8_t tag, const void *data, size_t len) CHECKED;
/* Version, digest algorithms... of a certs-only message; certificates in the given order. */
int bag_build(X509 *const *certs, size_t n, X509_CRL *crl, struct buf *ret, struct err *reterr) CHECKED;
/* The signer must be RSA and be the certificate's key. */
int key_matches(X509 *cert, EVP_PKEY *key, const char *what, struct err *reterr) CHECKED;

/* ---- verifying ---- */
enum { VERIFY_WITH_OWN = 0 };
/* Verifies the only signer of der, which shape describes. With n == 0 the certificate comes out of the message, else it must be one of signers.
 * ret_signer is owned; ret_index the place in signers (may be NULL). -EKEYREJECTED, -EBADMSG, -ENOMEM. */
int signed_verify(const struct buf *der, const struct shape_signed *shape, X509 *const *signers, size_t n, X509 **ret_signer, size_t *ret_index,
		  struct err *reterr) CHECKED;
/* RSA, bounded bits, odd bounded exponent: work is bounded. False: not. */
bool key_bounded(EVP_PKEY *key) CHECKED;
/* -EPROTO when signingTime is there and further from now than the policy allows. */
int signing_time_check(const struct shape_attrs *attrs, const struct scep_policy *policy, int64_t now_sec, struct err *reterr) CHECKED;

/* ---- the envelope ---- */
int envelope_seal(const void *content, size_t len, X509 *recipient, enum scep_cipher cipher, struct buf *ret, struct err *reterr) CHECKED;
/* Opens it with one key. On any failure *ret is empty and false comes back; nothing says why, and the error queue is empty. */
bool envelope_unseal(const struct buf *der, const struct shape_envelope *shape, X509 *recipient, EVP_PKEY *key, struct buf *ret) CHECKED;
/* The recipient named is this certificate. 1 yes, 0 no, -EBADMSG, -ENOMEM. */
int envelope_is_for(const struct buf *der, X509 *recipient, struct err *reterr) CHECKED;
/* The context in which single DES exists, made at first use; NULL: no legacy provider. */
OSSL_LIB_CTX *legacy_context(void);

/* ---- certs ---- */
int bag_certs_get(const struct shape_bag *bag, STACK_OF(X509) **ret, struct err *reterr) CHECKED;

#endif

/* The object identifiers of SCEP and of the part of CMS that it uses, as their DER bytes. OpenSSL does not know SCEP's. */
#ifndef KEYROLL_SCEP_SCEP_OID_H
#define KEYROLL_SCEP_SCEP_OID_H

#include "scep/scep.h"
#include "scep/scep_der.h"

enum oid {
	OID_DATA,
	OID_SIGNED_DATA,
	OID_ENVELOPED_DATA,
	OID_CONTENT_TYPE,
	OID_MESSAGE_DIGEST,
	OID_SIGNING_TIME,
	OID_MESSAGE_TYPE,
	OID_PKI_STATUS,
	OID_FAIL_INFO,
	OID_SENDER_NONCE,
	OID_RECIPIENT_NONCE,
	OID_TRANSACTION_ID,
	OID_FAIL_INFO_TEXT,
	OID_RSA,
	OID_MD5_RSA,
	OID_SHA1_RSA,
	OID_SHA256_RSA,
	OID_SHA384_RSA,
	OID_SHA512_RSA,
	OID_MD5,
	OID_SHA1,
	OID_SHA256,
	OID_SHA384,
	OID_SHA512,
	OID_AES128_CBC,
	OID_AES192_CBC,
	OID_AES256_CBC,
	OID_DES3_CBC,
	OID_DES_CBC,
	OID_N_,
};

bool oid_is(const struct der *body, enum oid oid) CHECKED;
/* Takes an OBJECT IDENTIFIER off *in, when it is that one. */
bool oid_take(struct der *in, enum oid oid) CHECKED;
int oid_put(struct buf *b, enum oid oid) CHECKED;

/* The algorithm of the table that has this identifier; false: none. */
bool scep_digest_find(const struct der *oid, enum scep_digest *ret) CHECKED;
bool scep_cipher_find(const struct der *oid, enum scep_cipher *ret) CHECKED;
enum oid scep_digest_oid(enum scep_digest d);
enum oid scep_digest_rsa_oid(enum scep_digest d); /* shaXXXWithRSAEncryption */
size_t scep_digest_bytes(enum scep_digest d);
size_t scep_cipher_block_bytes(enum scep_cipher c);
const char *scep_cipher_ossl(enum scep_cipher c); /* OpenSSL's name, for fetching */

#endif

/* Certificates as plain facts. Times leave OpenSSL here, as int64_t seconds. */
#ifndef KEYROLL_COMMON_X509FACTS_H
#define KEYROLL_COMMON_X509FACTS_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/auto.h"
#include "common/buf.h"
#include "common/err.h"

#define X509F_SERIAL_HEX 48 /* 20 bytes in upper-case hex, sign byte and NUL */
#define X509F_SHA256_HEX 65
#define X509F_NAME_BYTES 512

struct x509_facts {
	int64_t nb_sec, na_sec;
	uint64_t serial_low;		   /* low 64 bits: jitter's seed */
	char serial[X509F_SERIAL_HEX];	   /* upper-case hex without leading zeros */
	char subject[X509F_NAME_BYTES];	   /* RFC 4514 (RFC 2253 order), cut with "..." */
	char issuer[X509F_NAME_BYTES];
	char sha256[X509F_SHA256_HEX];	   /* of the DER, lower-case hex: the fingerprint */
	char spki_sha256[X509F_SHA256_HEX]; /* of the SubjectPublicKeyInfo, lower-case hex: the key's name in custody */
	bool is_ca;
	bool self_issued;
	uint32_t key_usage; /* X509_get_key_usage: UINT32_MAX when absent */
	int bits;	    /* of the RSA key */
};

/* Caches the extensions (X509_check_purpose) and reads all. -EBADMSG with the reason: bad time, no key, invalid extensions. */
int x509_facts_get(X509 *x, struct x509_facts *ret, struct err *reterr) CHECKED;

/* One DER certificate, all bytes used (trailing bytes: -EBADMSG), at most LIMIT_CA_REPLY_BYTES. */
int x509_from_der(const void *der, size_t len, X509 **ret, struct err *reterr) CHECKED;
int x509_to_der(const X509 *x, struct buf *ret, struct err *reterr) CHECKED;
int x509_to_pem(X509 *x, struct buf *append, struct err *reterr) CHECKED;
/* All certificates of a PEM file in memory, at most LIMIT_BUNDLE_CERTS. -EBADMSG when there is none. */
int x509_from_pem(const void *pem, size_t len, STACK_OF(X509) **ret, struct err *reterr) CHECKED;

int asn1_time_sec(const ASN1_TIME *t, int64_t *ret_sec) CHECKED; /* -EBADMSG when it is not RFC 5280's */
/* UTCTime to 2049, GeneralizedTime after, years to 9999. -ERANGE. NULL on failure is never returned with 0. */
int asn1_time_from_sec(int64_t sec, ASN1_TIME **ret) CHECKED;

int spki_sha256(EVP_PKEY *key, char ret_hex[X509F_SHA256_HEX], struct err *reterr) CHECKED;
void sha256_hex(const void *data, size_t len, char ret_hex[X509F_SHA256_HEX]);

/* "CN=spoke-1,OU=CVO" (RFC 4514), encoded last to first, UTF8String (PrintableString for C and serialNumber).
 * -EINVAL with the place. Escapes \, \+ \" \\ \XX are understood; multi-valued RDNs with +. */
int x509_name_parse(const char *text, X509_NAME **ret, struct err *reterr) CHECKED;

/* As x509_facts has it: RFC 4514, cut with "..." at X509F_NAME_BYTES. -EBADMSG. */
int x509_name_text(const X509_NAME *name, char out[X509F_NAME_BYTES], struct err *reterr) CHECKED;

/* Chain of one step: cert is signed by issuer, names match, and both are valid at at_sec, issuer is a CA.
 * -EKEYREJECTED with the reason. */
int x509_check_issued(X509 *cert, X509 *issuer, int64_t at_sec, struct err *reterr) CHECKED;

/* "sha256:" + hex with or without colons -> lower-case hex. -EINVAL. (MD5 and SHA-1 pins are refused by name.) */
int fingerprint_parse(const char *text, char ret_hex[X509F_SHA256_HEX], struct err *reterr) CHECKED;

#endif

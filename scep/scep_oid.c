/* Object identifiers: see scep_oid.h. */
#include "scep/scep_oid.h"

#include <assert.h>

#define PKCS "\x2a\x86\x48\x86\xf7\x0d"
#define VERISIGN_ATTR "\x60\x86\x48\x01\x86\xf8\x45\x01\x09"
#define NIST_ALG "\x60\x86\x48\x01\x65\x03\x04"
#define BYTES(s) { s, sizeof(s) - 1 }

static const struct {
	const char *der;
	size_t len;
} oids[] = {
	[OID_DATA] = BYTES(PKCS "\x01\x07\x01"),
	[OID_SIGNED_DATA] = BYTES(PKCS "\x01\x07\x02"),
	[OID_ENVELOPED_DATA] = BYTES(PKCS "\x01\x07\x03"),
	[OID_CONTENT_TYPE] = BYTES(PKCS "\x01\x09\x03"),
	[OID_MESSAGE_DIGEST] = BYTES(PKCS "\x01\x09\x04"),
	[OID_SIGNING_TIME] = BYTES(PKCS "\x01\x09\x05"),
	[OID_MESSAGE_TYPE] = BYTES(VERISIGN_ATTR "\x02"),
	[OID_PKI_STATUS] = BYTES(VERISIGN_ATTR "\x03"),
	[OID_FAIL_INFO] = BYTES(VERISIGN_ATTR "\x04"),
	[OID_SENDER_NONCE] = BYTES(VERISIGN_ATTR "\x05"),
	[OID_RECIPIENT_NONCE] = BYTES(VERISIGN_ATTR "\x06"),
	[OID_TRANSACTION_ID] = BYTES(VERISIGN_ATTR "\x07"),
	[OID_FAIL_INFO_TEXT] = BYTES("\x2b\x06\x01\x05\x05\x07\x18\x01"),
	[OID_RSA] = BYTES(PKCS "\x01\x01\x01"),
	[OID_MD5_RSA] = BYTES(PKCS "\x01\x01\x04"),
	[OID_SHA1_RSA] = BYTES(PKCS "\x01\x01\x05"),
	[OID_SHA256_RSA] = BYTES(PKCS "\x01\x01\x0b"),
	[OID_SHA384_RSA] = BYTES(PKCS "\x01\x01\x0c"),
	[OID_SHA512_RSA] = BYTES(PKCS "\x01\x01\x0d"),
	[OID_MD5] = BYTES(PKCS "\x02\x05"),
	[OID_SHA1] = BYTES("\x2b\x0e\x03\x02\x1a"),
	[OID_SHA256] = BYTES(NIST_ALG "\x02\x01"),
	[OID_SHA384] = BYTES(NIST_ALG "\x02\x02"),
	[OID_SHA512] = BYTES(NIST_ALG "\x02\x03"),
	[OID_AES128_CBC] = BYTES(NIST_ALG "\x01\x02"),
	[OID_AES192_CBC] = BYTES(NIST_ALG "\x01\x16"),
	[OID_AES256_CBC] = BYTES(NIST_ALG "\x01\x2a"),
	[OID_DES3_CBC] = BYTES(PKCS "\x03\x07"),
	[OID_DES_CBC] = BYTES("\x2b\x0e\x03\x02\x07"),
};
static_assert(sizeof(oids) / sizeof(oids[0]) == OID_N_, "an identifier without its bytes");

bool oid_is(const struct der *body, enum oid oid)
{
	return der_equal(body, oids[oid].der, oids[oid].len);
}

bool oid_take(struct der *in, enum oid oid)
{
	struct der at = *in, body;

	if (!der_take(&at, DER_OID, &body) || !oid_is(&body, oid))
		return false;
	*in = at;
	return true;
}

int oid_put(struct buf *b, enum oid oid)
{
	return der_put(b, DER_OID, oids[oid].der, oids[oid].len);
}

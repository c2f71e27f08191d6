/* The algorithms that SCEP names, and the floors. */
#include <assert.h>

#include "scep/scep_oid.h"

#define BIT(x) (1u << (x))
#define CIPHERS_AES (BIT(SCEP_CIPHER_AES128) | BIT(SCEP_CIPHER_AES192) | BIT(SCEP_CIPHER_AES256))
#define DIGESTS_SHA2 (BIT(SCEP_DIGEST_SHA256) | BIT(SCEP_DIGEST_SHA384) | BIT(SCEP_DIGEST_SHA512))

/* SHA-1 comes with 3DES (IOS-XE, SRX) and with single DES (micromdm); MD5 with neither. */
const struct scep_policy scep_policy_default = { .ciphers = CIPHERS_AES, .digests = DIGESTS_SHA2 };
const struct scep_policy scep_policy_3des = { .ciphers = CIPHERS_AES | BIT(SCEP_CIPHER_DES3), .digests = DIGESTS_SHA2 | BIT(SCEP_DIGEST_SHA1) };
const struct scep_policy scep_policy_legacy = { .ciphers = CIPHERS_AES | BIT(SCEP_CIPHER_DES3) | BIT(SCEP_CIPHER_DES),
						.digests = DIGESTS_SHA2 | BIT(SCEP_DIGEST_SHA1) };

static const struct {
	enum oid oid, with_rsa;
	size_t bytes;
	const char *name; /* the keyword of GetCACaps, and OpenSSL's name */
} digests[] = {
	[SCEP_DIGEST_SHA256] = { OID_SHA256, OID_SHA256_RSA, 32, "SHA-256" },
	[SCEP_DIGEST_SHA384] = { OID_SHA384, OID_SHA384_RSA, 48, "SHA-384" },
	[SCEP_DIGEST_SHA512] = { OID_SHA512, OID_SHA512_RSA, 64, "SHA-512" },
	[SCEP_DIGEST_SHA1] = { OID_SHA1, OID_SHA1_RSA, 20, "SHA-1" },
	[SCEP_DIGEST_MD5] = { OID_MD5, OID_MD5_RSA, 16, "MD5" },
};
static_assert(sizeof(digests) / sizeof(digests[0]) == SCEP_DIGEST_N_, "a digest without its row");

static const struct {
	enum oid oid;
	size_t block;
	const char *name, *ossl;
} ciphers[] = {
	[SCEP_CIPHER_AES128] = { OID_AES128_CBC, 16, "AES128-CBC", "AES-128-CBC" },
	[SCEP_CIPHER_AES192] = { OID_AES192_CBC, 16, "AES192-CBC", "AES-192-CBC" },
	[SCEP_CIPHER_AES256] = { OID_AES256_CBC, 16, "AES256-CBC", "AES-256-CBC" },
	[SCEP_CIPHER_DES3] = { OID_DES3_CBC, 8, "DES3-CBC", "DES-EDE3-CBC" },
	[SCEP_CIPHER_DES] = { OID_DES_CBC, 8, "DES-CBC", "DES-CBC" },
};
static_assert(sizeof(ciphers) / sizeof(ciphers[0]) == SCEP_CIPHER_N_, "a cipher without its row");

bool scep_digest_find(const struct der *oid, enum scep_digest *ret)
{
	unsigned i;

	for (i = 0; i < SCEP_DIGEST_N_; i++)
		if (oid_is(oid, digests[i].oid)) {
			*ret = (enum scep_digest) i;
			return true;
		}
	return false;
}

bool scep_cipher_find(const struct der *oid, enum scep_cipher *ret)
{
	unsigned i;

	for (i = 0; i < SCEP_CIPHER_N_; i++)
		if (oid_is(oid, ciphers[i].oid)) {
			*ret = (enum scep_cipher) i;
			return true;
		}
	return false;
}

enum oid scep_digest_oid(enum scep_digest d)
{
	return digests[d].oid;
}

enum oid scep_digest_rsa_oid(enum scep_digest d)
{
	return digests[d].with_rsa;
}

size_t scep_digest_bytes(enum scep_digest d)
{
	return digests[d].bytes;
}

size_t scep_cipher_block_bytes(enum scep_cipher c)
{
	return ciphers[c].block;
}

const char *scep_cipher_ossl(enum scep_cipher c)
{
	return ciphers[c].ossl;
}

const char *scep_cipher_name(enum scep_cipher c)
{
	return (unsigned) c < SCEP_CIPHER_N_ ? ciphers[c].name : NULL;
}

const char *scep_digest_name(enum scep_digest d)
{
	return (unsigned) d < SCEP_DIGEST_N_ ? digests[d].name : NULL;
}

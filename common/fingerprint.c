/* SHA-256 in hex, and the fingerprints that people type: see x509facts.h. */
#include "common/x509facts.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/sha.h>
#include <string.h>

#include "common/auto_ssl.h"

#define PREFIX "sha256:"

void sha256_hex(const void *data, size_t len, char ret_hex[X509F_SHA256_HEX])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char sum[SHA256_DIGEST_LENGTH] = { 0 };
	size_t i;

	(void) SHA256(data, len, sum); /* writes to sum, in memory that is ours: cannot fail */
	for (i = 0; i < sizeof(sum); i++) {
		ret_hex[2 * i] = digits[sum[i] >> 4];
		ret_hex[2 * i + 1] = digits[sum[i] & 15];
	}
	ret_hex[2 * sizeof(sum)] = '\0';
}

int spki_sha256(EVP_PKEY *key, char ret_hex[X509F_SHA256_HEX], struct err *reterr)
{
	AUTO(der) unsigned char *der = NULL;
	int len;

	len = i2d_PUBKEY(key, &der);
	if (len <= 0)
		return err_from_openssl(reterr, -EBADMSG, "public key cannot be encoded");
	sha256_hex(der, (size_t) len, ret_hex);
	return 0;
}

/* Hex digits with single colons between bytes -> lower case without them. Returns the number of digits, -1: something else. */
static int digits_gather(const char *text, char *out, size_t max)
{
	size_t n = 0;

	for (; *text; text++) {
		if (*text == ':' && n > 0 && n % 2 == 0 && text[1] && text[1] != ':')
			continue;
		if (!isxdigit((unsigned char) *text))
			return -1;
		if (n < max)
			out[n] = (char) tolower((unsigned char) *text);
		n++;
	}
	return (int) n;
}

static int refuse_other(const char *text, int digits, struct err *reterr)
{
	static const char wanted[] = "write sha256: and 64 hex digits";

	if (strncasecmp(text, "md5:", 4) == 0 || digits == 32)
		return err_set(reterr, -EINVAL, "an MD5 fingerprint proves nothing any more: %s", wanted);
	if (strncasecmp(text, "sha1:", 5) == 0 || strncasecmp(text, "sha-1:", 6) == 0 || digits == 40)
		return err_set(reterr, -EINVAL, "a SHA-1 fingerprint proves nothing any more: %s", wanted);
	return err_set(reterr, -EINVAL, "not a SHA-256 fingerprint: %s", wanted);
}

int fingerprint_parse(const char *text, char ret_hex[X509F_SHA256_HEX], struct err *reterr)
{
	char hex[X509F_SHA256_HEX] = "";
	bool named = strncasecmp(text, PREFIX, strlen(PREFIX)) == 0;
	int digits;

	digits = digits_gather(named ? text + strlen(PREFIX) : text, hex, sizeof(hex) - 1);
	if (!named)
		return refuse_other(text, digits, reterr);
	if (digits < 0)
		return err_set(reterr, -EINVAL, "fingerprint: only hex digits and colons between bytes may follow " PREFIX);
	if (digits != 2 * SHA256_DIGEST_LENGTH)
		return err_set(reterr, -EINVAL, "fingerprint: %d hex digits, SHA-256 has 64", digits);
	memcpy(ret_hex, hex, sizeof(hex));
	return 0;
}

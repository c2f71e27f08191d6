/* keyroll-keyd with a processor that errs: as long as the file that KEYROLL_TEST_FAULT names exists, each private operation has one wrong bit. Linked with
 * --wrap for the two calls that make one, so that all of the custodian is what is shipped. */
#include <keyutils.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

int __real_EVP_PKEY_decrypt(EVP_PKEY_CTX *ctx, unsigned char *out, size_t *len, const unsigned char *in, size_t in_len);
int __wrap_EVP_PKEY_decrypt(EVP_PKEY_CTX *ctx, unsigned char *out, size_t *len, const unsigned char *in, size_t in_len);
long __real_keyctl_pkey_decrypt(key_serial_t id, const char *info, const void *in, size_t in_len, void *out, size_t len);
long __wrap_keyctl_pkey_decrypt(key_serial_t id, const char *info, const void *in, size_t in_len, void *out, size_t len);

static unsigned char faulty(void)
{
	const char *path = getenv("KEYROLL_TEST_FAULT");

	return path && access(path, F_OK) == 0;
}

int __wrap_EVP_PKEY_decrypt(EVP_PKEY_CTX *ctx, unsigned char *out, size_t *len, const unsigned char *in, size_t in_len)
{
	int r = __real_EVP_PKEY_decrypt(ctx, out, len, in, in_len);

	if (r == 1 && out)
		out[*len / 2] ^= faulty();
	return r;
}

long __wrap_keyctl_pkey_decrypt(key_serial_t id, const char *info, const void *in, size_t in_len, void *out, size_t len)
{
	long n = __real_keyctl_pkey_decrypt(id, info, in, in_len, out, len);

	if (n > 0)
		((unsigned char *) out)[n / 2] ^= faulty();
	return n;
}

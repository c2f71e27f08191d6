/* For tests/secrets.sh, under clang's MemorySanitizer: what unpadding is given is declared undefined, and so is what HMAC makes of it, so that a branch or
 * an index that depends on it is reported. Linked with --wrap=EVP_Q_mac, since the library's own code is not looked into. */
#include <openssl/evp.h>
#include <sanitizer/msan_interface.h>
#include <stdio.h>
#include <string.h>

#include "keystore/pad.h"

enum { K = 256 };

unsigned char *__real_EVP_Q_mac(OSSL_LIB_CTX *lib, const char *name, const char *properties, const char *algorithm, const OSSL_PARAM *params, const void *key,
				size_t key_len, const unsigned char *data, size_t data_len, unsigned char *out, size_t size, size_t *ret_len);
unsigned char *__wrap_EVP_Q_mac(OSSL_LIB_CTX *lib, const char *name, const char *properties, const char *algorithm, const OSSL_PARAM *params, const void *key,
				size_t key_len, const unsigned char *data, size_t data_len, unsigned char *out, size_t size, size_t *ret_len);

unsigned char *__wrap_EVP_Q_mac(OSSL_LIB_CTX *lib, const char *name, const char *properties, const char *algorithm, const OSSL_PARAM *params, const void *key,
				size_t key_len, const unsigned char *data, size_t data_len, unsigned char *out, size_t size, size_t *ret_len)
{
	unsigned char *r;

	__msan_unpoison(key, key_len);
	r = __real_EVP_Q_mac(lib, name, properties, algorithm, params, key, key_len, data, data_len, out, size, ret_len);
	__msan_poison(out, size);
	return r;
}

static void block_make(uint8_t em[K])
{
	memset(em, 0x11, K);
	em[0] = 0;
	em[1] = 2;
	em[K - PAD_PREMASTER_BYTES - 1] = 0;
	em[K - PAD_PREMASTER_BYTES] = em[K - PAD_PREMASTER_BYTES + 1] = 3;
	__msan_poison(em, K);
}

int main(void)
{
	static uint8_t em[K], out[K], random[PAD_PREMASTER_BYTES], reject_key[PAD_REJECT_BYTES], ciphertext[K];
	size_t len = 0;
	int bad = 0;

	block_make(em);
	bad |= pad_pkcs1_open(em, K, reject_key, ciphertext, out, &len);
	bad |= __msan_test_shadow(&len, sizeof(len)) < 0 || __msan_test_shadow(out, K) < 0; /* defined, so nothing was looked at */
	__msan_unpoison(&len, sizeof(len));
	__msan_unpoison(out, K);
	bad |= len != PAD_PREMASTER_BYTES || out[0] != 3;
	block_make(em);
	__msan_poison(random, sizeof(random));
	bad |= pad_tls_open(em, K, 0x0303, 0, random, out);
	bad |= __msan_test_shadow(out, PAD_PREMASTER_BYTES) < 0;
	__msan_unpoison(out, PAD_PREMASTER_BYTES);
	bad |= out[0] != 3;
	(void) puts(bad ? "wrong results" : "secrets: nothing depends on them"); /* a terminal that is gone */
	return bad;
}

/* Our paddings against OpenSSL's verification and encryption, and against broken twins. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "keystore/pad.h"
#include "tests/test_main.h"

static EVP_PKEY *keys[4];
static const int sizes[] = { 2048, 3072, 2047, 2041 }; /* odd ones: PSS has a bit or a byte less than the modulus */

static int setup(void)
{
	for (size_t i = 0; i < 4; i++)
		if (!(keys[i] = EVP_RSA_gen((unsigned) sizes[i])))
			return 1;
	return 0;
}

static int teardown(void)
{
	for (size_t i = 0; i < 4; i++)
		EVP_PKEY_free(keys[i]);
	return 0;
}

static bool raw(EVP_PKEY *key, const uint8_t *in, uint8_t *out, size_t k)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	size_t len = k;

	return ctx && EVP_PKEY_decrypt_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) == 1 &&
	       EVP_PKEY_decrypt(ctx, out, &len, in, k) == 1 && len == k;
}

static bool verifies(EVP_PKEY *key, const EVP_MD *md, int padding, int salt_len, const uint8_t *sig, size_t k, const uint8_t *digest)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	bool ok = ctx && EVP_PKEY_verify_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, padding) == 1 && EVP_PKEY_CTX_set_signature_md(ctx, md) == 1 &&
		  (padding != RSA_PKCS1_PSS_PADDING || EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, salt_len) == 1) &&
		  EVP_PKEY_verify(ctx, sig, k, digest, (size_t) EVP_MD_get_size(md)) == 1;

	ERR_clear_error();
	return ok;
}

static const char *const digests[] = { "SHA1", "SHA224", "SHA256", "SHA384", "SHA512" };

static void test_pkcs1_sign(void)
{
	for (size_t i = 0; i < 4; i++)
		for (size_t d = 0; d < 5; d++) {
			size_t k = ((size_t) sizes[i] + 7) / 8;
			const EVP_MD *md = pad_digest(digests[d]);
			uint8_t digest[64], em[PAD_K_MAX], sig[PAD_K_MAX];

			CU_ASSERT_EQUAL(RAND_bytes(digest, sizeof(digest)), 1);
			CU_ASSERT_EQUAL(pad_pkcs1_sign(md, digest, (size_t) EVP_MD_get_size(md), em, k, NULL), 0);
			CU_ASSERT_TRUE(raw(keys[i], em, sig, k));
			CU_ASSERT_TRUE(verifies(keys[i], md, RSA_PKCS1_PADDING, 0, sig, k, digest));
			digest[0] ^= 1;
			CU_ASSERT_FALSE(verifies(keys[i], md, RSA_PKCS1_PADDING, 0, sig, k, digest));
		}
}

static void test_pss_sign(void)
{
	for (size_t i = 0; i < 4; i++)
		for (size_t d = 0; d < 5; d++)
			for (int which = 0; which < 3; which++) {
				size_t k = ((size_t) sizes[i] + 7) / 8;
				const EVP_MD *md = pad_digest(digests[d]);
				size_t h = (size_t) EVP_MD_get_size(md), most = ((size_t) sizes[i] - 1 + 7) / 8 - h - 2;
				size_t salt_len = which == 0 ? 0 : which == 1 ? h : most;
				uint8_t digest[64], salt[PAD_K_MAX], em[PAD_K_MAX], sig[PAD_K_MAX];

				CU_ASSERT_EQUAL(RAND_bytes(digest, sizeof(digest)), 1);
				CU_ASSERT_EQUAL(RAND_bytes(salt, sizeof(salt)), 1);
				CU_ASSERT_EQUAL(pad_pss_sign(md, digest, h, salt, salt_len, sizes[i], em, k, NULL), 0);
				CU_ASSERT_TRUE(raw(keys[i], em, sig, k));
				CU_ASSERT_TRUE(verifies(keys[i], md, RSA_PKCS1_PSS_PADDING, (int) salt_len, sig, k, digest));
				CU_ASSERT_FALSE(verifies(keys[i], md, RSA_PKCS1_PSS_PADDING, (int) salt_len + 1, sig, k, digest));
				CU_ASSERT_EQUAL(pad_pss_sign(md, digest, h, salt, most + 1, sizes[i], em, k, NULL), -EINVAL);
			}
}

static void test_sign_refused(void)
{
	uint8_t digest[64] = { 0 }, em[PAD_K_MAX];
	const EVP_MD *sha256 = pad_digest("SHA256");

	CU_ASSERT_PTR_NULL(pad_digest("MD5"));
	CU_ASSERT_PTR_NULL(pad_digest("nonsense"));
	CU_ASSERT_EQUAL(pad_pkcs1_sign(sha256, digest, 31, em, 256, NULL), -EINVAL);
	CU_ASSERT_EQUAL(pad_pkcs1_sign(sha256, digest, 33, em, 256, NULL), -EINVAL);
	CU_ASSERT_EQUAL(pad_pkcs1_sign(sha256, digest, 32, em, 51 + 10, NULL), -EINVAL);
	CU_ASSERT_EQUAL(pad_pkcs1_sign(sha256, digest, 32, em, 51 + 11, NULL), 0);
	CU_ASSERT_EQUAL(pad_pkcs1_sign(NULL, digest, 32, em, 256, NULL), -EINVAL);
	CU_ASSERT_EQUAL(pad_pss_sign(sha256, digest, 32, digest, 32, 2048, em, 255, NULL), -EINVAL);
}

/* ---- opening */

static const uint8_t reject_key[PAD_REJECT_BYTES] = { 1, 2, 3 };

static void test_open_encrypted(void)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, keys[0], NULL);
	uint8_t text[256], cipher[256], em[256], out[256];

	CU_ASSERT_EQUAL(RAND_bytes(text, sizeof(text)), 1);
	CU_ASSERT_EQUAL(EVP_PKEY_encrypt_init(ctx), 1);
	for (size_t len = 0; len <= 245; len++) {
		size_t c_len = sizeof(cipher), got = 999;

		CU_ASSERT_EQUAL(EVP_PKEY_encrypt(ctx, cipher, &c_len, text, len), 1);
		CU_ASSERT_TRUE(raw(keys[0], cipher, em, 256));
		CU_ASSERT_EQUAL(pad_pkcs1_open(em, 256, reject_key, cipher, out, &got), 0);
		CU_ASSERT_EQUAL(got, len);
		CU_ASSERT_EQUAL(memcmp(out, text, len), 0);
	}
}

struct twin {
	const char *why;
	size_t at;
	uint8_t byte;
	bool good;
};

static void test_open_twins(void)
{
	/* 00 02, 16 bytes of 11, 00 at 18, then text: one byte changed */
	static const struct twin rows[] = {
		{ "nothing", 5, 0x11, true },	      { "first byte is not 0", 0, 0x01, false },   { "type 1", 1, 0x01, false },
		{ "type 0", 1, 0x00, false },	      { "padding of 7 bytes", 9, 0x00, false },	   { "padding of 8 bytes", 10, 0x00, true },
		{ "padding of no bytes", 2, 0x00, false }, { "a zero in the text", 40, 0x00, true },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t em[256], cipher[256] = { 0 }, out[256];
		size_t zero = rows[i].byte == 0 && rows[i].at < 18 ? rows[i].at : 18, len = 999;
		bool same;

		memset(em, 0x11, sizeof(em));
		em[0] = 0;
		em[1] = 2;
		em[18] = 0;
		em[rows[i].at] = rows[i].byte;
		cipher[0] = (uint8_t) i;
		CU_ASSERT_EQUAL(pad_pkcs1_open(em, 256, reject_key, cipher, out, &len), 0);
		same = len == 256 - zero - 1 && memcmp(out, em + zero + 1, len) == 0;
		if (same != rows[i].good)
			printf("%s\n", rows[i].why);
		CU_ASSERT_EQUAL(same, rows[i].good);
		CU_ASSERT_TRUE(len <= 245);
	}
}

static void test_open_no_end(void)
{
	uint8_t em[256], cipher[256] = { 9 }, out[256];
	size_t len = 999;

	memset(em, 0x55, sizeof(em));
	em[0] = 0;
	em[1] = 2;
	CU_ASSERT_EQUAL(pad_pkcs1_open(em, 256, reject_key, cipher, out, &len), 0);
	CU_ASSERT_TRUE(len <= 245);
	CU_ASSERT_TRUE(len == 0 || memcmp(out, em + 256 - len, len) != 0);
}

/* The false text depends on key and ciphertext, not on what the padding was. */
static void test_rejection(void)
{
	static const uint8_t other_key[PAD_REJECT_BYTES] = { 4 };
	uint8_t bad1[256] = { 1 }, bad2[256] = { 0, 7 }, cipher[256] = { 1 }, a[256], b[256];
	size_t a_len, b_len, lengths = 0, before = 0;

	CU_ASSERT_EQUAL(pad_pkcs1_open(bad1, 256, reject_key, cipher, a, &a_len), 0);
	CU_ASSERT_EQUAL(pad_pkcs1_open(bad2, 256, reject_key, cipher, b, &b_len), 0);
	CU_ASSERT_TRUE(a_len == b_len && memcmp(a, b, a_len) == 0);
	CU_ASSERT_EQUAL(pad_pkcs1_open(bad1, 256, other_key, cipher, b, &b_len), 0);
	CU_ASSERT_FALSE(a_len == b_len && memcmp(a, b, a_len) == 0);
	for (int i = 0; i < 64; i++) { /* lengths spread, as a text's would */
		cipher[1] = (uint8_t) i;
		CU_ASSERT_EQUAL(pad_pkcs1_open(bad1, 256, reject_key, cipher, b, &b_len), 0);
		CU_ASSERT_TRUE(b_len <= 245);
		lengths += b_len != before;
		before = b_len;
	}
	CU_ASSERT_TRUE(lengths > 48);
}

/* ---- OAEP */

struct oaep {
	const char *md, *mgf;
	size_t label_len, len;
	int key;
};

static bool oaep_encrypt(const struct oaep *o, const uint8_t *label, const uint8_t *text, uint8_t *em, size_t k)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, keys[o->key], NULL);
	uint8_t cipher[PAD_K_MAX];
	size_t c_len = sizeof(cipher);
	void *own = o->label_len > 0 ? OPENSSL_memdup(label, o->label_len) : NULL;

	return ctx && EVP_PKEY_encrypt_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
	       EVP_PKEY_CTX_set_rsa_oaep_md(ctx, pad_digest(o->md)) == 1 && EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, pad_digest(o->mgf)) == 1 &&
	       (!own || EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, own, (int) o->label_len) == 1) && EVP_PKEY_encrypt(ctx, cipher, &c_len, text, o->len) == 1 &&
	       c_len == k && raw(keys[o->key], cipher, em, k);
}

static int oaep_open(const struct oaep *o, const uint8_t *label, const uint8_t *em, size_t k, uint8_t *out, size_t *len)
{
	uint8_t copy[PAD_K_MAX];

	memcpy(copy, em, k);
	return pad_oaep_open(pad_digest(o->md), pad_digest(o->mgf), label, o->label_len, copy, k, out, len);
}

static void test_oaep_open(void)
{
	static const struct oaep rows[] = {
		{ "SHA1", "SHA1", 0, 0, 0 },	  { "SHA1", "SHA1", 0, 214, 0 },      { "SHA256", "SHA256", 0, 190, 0 }, { "SHA256", "SHA1", 5, 20, 0 },
		{ "SHA512", "SHA256", 9, 126, 0 }, { "SHA384", "SHA384", 1, 1, 1 },    { "SHA224", "SHA512", 0, 50, 2 },  { "SHA256", "SHA256", 3, 32, 3 },
	};
	static const uint8_t label[] = "a label!";
	uint8_t text[256], em[PAD_K_MAX], out[PAD_K_MAX];

	CU_ASSERT_EQUAL(RAND_bytes(text, sizeof(text)), 1);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t k = ((size_t) sizes[rows[i].key] + 7) / 8, len = 999;

		CU_ASSERT_TRUE(oaep_encrypt(&rows[i], label, text, em, k));
		CU_ASSERT_EQUAL(oaep_open(&rows[i], label, em, k, out, &len), 0);
		CU_ASSERT_EQUAL(len, rows[i].len);
		CU_ASSERT_EQUAL(memcmp(out, text, rows[i].len), 0);
		for (size_t at = 0; at < k; at++) { /* any byte broken: the same error */
			em[at] ^= 1;
			if (at < 1 + (size_t) EVP_MD_get_size(pad_digest(rows[i].md)) || at >= k - 1 - rows[i].len)
				CU_ASSERT_EQUAL(oaep_open(&rows[i], label, em, k, out, &len), -EINVAL);
			em[at] ^= 1;
		}
	}
}

static void test_oaep_twins(void)
{
	static const struct oaep good = { "SHA256", "SHA256", 3, 20, 0 }, other_md = { "SHA1", "SHA256", 3, 20, 0 };
	static const struct oaep other_mgf = { "SHA256", "SHA1", 3, 20, 0 }, no_label = { "SHA256", "SHA256", 0, 20, 0 };
	static const uint8_t label[] = "lab", other_label[] = "lac", text[20] = { 7 };
	uint8_t em[PAD_K_MAX], out[PAD_K_MAX];
	size_t len;

	CU_ASSERT_TRUE(oaep_encrypt(&good, label, text, em, 256));
	CU_ASSERT_EQUAL(oaep_open(&good, label, em, 256, out, &len), 0);
	CU_ASSERT_EQUAL(oaep_open(&good, other_label, em, 256, out, &len), -EINVAL);
	CU_ASSERT_EQUAL(oaep_open(&no_label, NULL, em, 256, out, &len), -EINVAL);
	CU_ASSERT_EQUAL(oaep_open(&other_md, label, em, 256, out, &len), -EINVAL);
	CU_ASSERT_EQUAL(oaep_open(&other_mgf, label, em, 256, out, &len), -EINVAL);
	CU_ASSERT_EQUAL(oaep_open(&good, label, em, 65, out, &len), -EINVAL); /* no room for two digests */
}

/* ---- TLS */

static void test_tls_open(void)
{
	static const struct { const char *why; size_t at; uint8_t byte; unsigned other; bool good; } rows[] = {
		{ "nothing", 5, 0x11, 0, true },	     { "first byte", 0, 1, 0, false },	       { "type", 1, 1, 0, false },
		{ "a zero in the padding", 100, 0, 0, false }, { "no zero before the secret", 207, 5, 0, false }, { "version", 208, 2, 0, false },
		{ "minor version", 209, 1, 0, false },	     { "the other version", 209, 1, 0x0301, true }, { "the secret's last byte", 255, 9, 0, true },
	};
	uint8_t random[PAD_PREMASTER_BYTES], out[PAD_PREMASTER_BYTES];

	memset(random, 0xee, sizeof(random));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t em[256];
		const uint8_t *want = rows[i].good ? em + 208 : random;

		memset(em, 0x11, sizeof(em));
		em[0] = em[207] = 0;
		em[1] = 2;
		em[208] = em[209] = 3;
		em[rows[i].at] = rows[i].byte;
		CU_ASSERT_EQUAL(pad_tls_open(em, 256, 0x0303, rows[i].other, random, out), 0);
		if (memcmp(out, want, sizeof(out)) != 0)
			printf("%s\n", rows[i].why);
		CU_ASSERT_EQUAL(memcmp(out, want, sizeof(out)), 0);
		CU_ASSERT_EQUAL(pad_tls_open(em, 58, 0x0303, 0, random, out), -EINVAL);
	}
}

static CU_TestInfo tests[] = {
	{ "PKCS#1 v1.5 signatures verify with OpenSSL", test_pkcs1_sign },
	{ "PSS signatures verify with OpenSSL", test_pss_sign },
	{ "what cannot be padded is refused", test_sign_refused },
	{ "what OpenSSL encrypts is opened, every length", test_open_encrypted },
	{ "one broken byte gives a false text", test_open_twins },
	{ "padding without an end gives a false text", test_open_no_end },
	{ "the false text is fixed by key and ciphertext", test_rejection },
	{ "what OpenSSL encrypts with OAEP is opened, and no broken twin", test_oaep_open },
	{ "OAEP with another digest or label is one error", test_oaep_twins },
	{ "a premaster secret, or the random one", test_tls_open },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "paddings", setup, teardown, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

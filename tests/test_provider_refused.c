/* What the provider refuses, by OpenSSL's own calls and with the words that openssl pkeyutl -pkeyopt takes: each refusal says in the error queue what it
 * found and what is wanted. */
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "tests/keyd_fixture.h"
#include "tests/test_main.h"

enum { K = 256, QUEUE_BYTES = 2048 };
#define DIGESTS "wanted SHA1, SHA224, SHA256, SHA384 or SHA512"
#define SALT "wanted digest, max, auto or a number of bytes"

static struct keyd keyd;
static struct ks *ks;
static EVP_PKEY *key;

static int setup(void)
{
	static const struct ks_spec spec = { .label = "tls", .slot = KS_SLOT_ACTIVE, .bits = 8 * K };
	char spki[KS_SPKI_HEX];
	struct err e = { .code = 0 };

	if (!keyd_setup(&keyd, NULL) || ks_open(keyd.socket, &ks, &e) < 0 || keyd_make(ks, &spec, spki, &e) < 0 ||
	    ks_load(ks, "tls", KS_SLOT_ACTIVE, NULL, &key, NULL, &e) < 0) {
		fprintf(stderr, "setup: %s\n", e.text);
		return 1;
	}
	return 0;
}

static int teardown(void)
{
	static const char *const labels[] = { "tls", NULL };

	EVP_PKEY_free(key);
	ks_close(ks);
	return keyd_teardown(&keyd, labels);
}

/* Takes what is ours out of the error queue, one line for each. */
static void queue_take(char ret[QUEUE_BYTES])
{
	const char *data = "";
	int flags = 0;

	ret[0] = '\0';
	while (ERR_get_error_all(NULL, NULL, NULL, &data, &flags) != 0)
		if (strncmp(data, "keyroll: ", 9) == 0 && strlen(ret) + strlen(data) + 2 < QUEUE_BYTES)
			strcat(strcat(ret, data), "\n");
}

static void refused(const char *why, bool done, const char *found, const char *wanted)
{
	char text[QUEUE_BYTES];
	bool good;

	queue_take(text);
	good = !done && strstr(text, found) && strstr(text, wanted);
	if (!good)
		printf("\n  %s: %s, with '%s'; '%s' and '%s' should be there ", why, done ? "done" : "refused", text, found, wanted);
	CU_ASSERT_TRUE(good);
}

/* ---- with a word of pkeyutl's */

enum what { SIGN, VERIFY, ENCRYPT, DECRYPT };

static bool begin(EVP_PKEY_CTX *ctx, enum what what)
{
	switch (what) {
	case SIGN:
		return EVP_PKEY_sign_init(ctx) == 1;
	case VERIFY:
		return EVP_PKEY_verify_init(ctx) == 1;
	case ENCRYPT:
		return EVP_PKEY_encrypt_init(ctx) == 1;
	case DECRYPT:
		return EVP_PKEY_decrypt_init(ctx) == 1;
	}
	return false;
}

static bool finish(EVP_PKEY_CTX *ctx, enum what what, size_t len, size_t room)
{
	unsigned char in[2 * K] = { 0, 1 }, out[2 * K] = { 0 };

	switch (what) {
	case SIGN:
		return EVP_PKEY_sign(ctx, out, &room, in, len) == 1;
	case VERIFY:
		return EVP_PKEY_verify(ctx, out, room, in, len) == 1;
	case ENCRYPT:
		return EVP_PKEY_encrypt(ctx, out, &room, in, len) == 1;
	case DECRYPT:
		return EVP_PKEY_decrypt(ctx, out, &room, in, len) == 1;
	}
	return false;
}

/* "name:value name:value" */
static bool options_set(EVP_PKEY_CTX *ctx, const char *options)
{
	char text[128], *rest = NULL;

	(void) snprintf(text, sizeof(text), "%s", options); /* the tables' own */
	for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		char *colon = strchr(word, ':');

		*colon = '\0';
		if (EVP_PKEY_CTX_ctrl_str(ctx, word, colon + 1) <= 0)
			return false;
	}
	return true;
}

struct row {
	const char *why;
	enum what what;
	const char *options;
	size_t len, room;
	const char *found, *wanted;
};

static bool row_run(const struct row *r)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);

	return ctx && begin(ctx, r->what) && options_set(ctx, r->options) && finish(ctx, r->what, r->len, r->room);
}

static void test_options(void)
{
	static const struct row rows[] = {
		{ "no digest", SIGN, "", 32, K, "found no digest", DIGESTS },
		{ "no digest to verify with", VERIFY, "", 32, K, "found no digest", DIGESTS },
		{ "MD5", SIGN, "digest:md5", 16, K, "found 'md5'", DIGESTS },
		{ "SHA3-256", SIGN, "digest:sha3-256", 32, K, "found 'sha3-256'", DIGESTS },
		{ "SHA-512/256", SIGN, "digest:sha512-256", 32, K, "found 'sha512-256'", DIGESTS },
		{ "a digest that nobody knows", SIGN, "digest:sha99", 32, K, "found 'sha99'", DIGESTS },
		{ "a digest of another length", SIGN, "digest:sha256", 20, K, "20 bytes", "wanted the 32 of SHA256" },
		{ "X9.31 padding", SIGN, "rsa_padding_mode:x931", 32, K, "found 'x931'", "wanted pkcs1 or pss" },
		{ "no padding", SIGN, "rsa_padding_mode:none", 32, K, "found 'none'", "wanted pkcs1 or pss" },
		{ "OAEP for a signature", SIGN, "rsa_padding_mode:oaep", 32, K, "found 'oaep'", "wanted pkcs1 or pss" },
		{ "MGF1 with another digest", SIGN, "digest:sha256 rsa_padding_mode:pss rsa_mgf1_md:sha1", 32, K, "MGF1: found SHA1",
		  "wanted the signature's own digest SHA256" },
		{ "MGF1 first, then another digest", SIGN, "rsa_padding_mode:pss rsa_mgf1_md:sha1 digest:sha256", 32, K, "MGF1: found SHA1",
		  "wanted the signature's own digest SHA256" },
		{ "MGF1 with MD5", SIGN, "rsa_padding_mode:pss rsa_mgf1_md:md5", 32, K, "found 'md5'", DIGESTS },
		{ "a salt that does not fit", SIGN, "digest:sha256 rsa_padding_mode:pss rsa_pss_saltlen:223", 32, K, "found 223 bytes", "wanted at most 222" },
		{ "a salt that fits no key", SIGN, "digest:sha256 rsa_padding_mode:pss rsa_pss_saltlen:513", 32, K, "found '513'", SALT },
		{ "a salt of less than nothing", SIGN, "digest:sha256 rsa_padding_mode:pss rsa_pss_saltlen:-7", 32, K, "found '-7'", SALT },
		{ "a salt of some other word", SIGN, "digest:sha256 rsa_padding_mode:pss rsa_pss_saltlen:auto-digestmax", 32, K, "found 'auto-digestmax'", SALT },
		{ "little room for a signature", SIGN, "digest:sha256", 32, K - 1, "found 255 bytes", "wanted 256" },
		{ "decrypting without padding", DECRYPT, "rsa_padding_mode:none", K, K, "found 'none'", "wanted pkcs1 or oaep" },
		{ "decrypting X9.31", DECRYPT, "rsa_padding_mode:x931", K, K, "found 'x931'", "wanted pkcs1 or oaep" },
		{ "decrypting PSS", DECRYPT, "rsa_padding_mode:pss", K, K, "found 'pss'", "wanted pkcs1 or oaep" },
		{ "encrypting without padding", ENCRYPT, "rsa_padding_mode:none", K, K, "found 'none'", "wanted pkcs1 or oaep" },
		{ "OAEP with MD5", DECRYPT, "rsa_padding_mode:oaep rsa_oaep_md:md5", K, K, "found 'md5'", DIGESTS },
		{ "OAEP with SHA3-256", DECRYPT, "rsa_padding_mode:oaep rsa_oaep_md:sha3-256", K, K, "found 'sha3-256'", DIGESTS },
		{ "OAEP, MGF1 with SHA-512/256", DECRYPT, "rsa_padding_mode:oaep rsa_mgf1_md:sha512-256", K, K, "found 'sha512-256'", DIGESTS },
		{ "a short ciphertext", DECRYPT, "", K - 1, K, "ciphertext of 255 bytes", "key has 256" },
		{ "little room for a plaintext", DECRYPT, "", K, K - 1, "found 255 bytes", "wanted 256" },
		{ "a plaintext too long for PKCS#1 v1.5", ENCRYPT, "", K - 10, K, "found 246 bytes", "wanted at most 245" },
		{ "a plaintext too long for OAEP", ENCRYPT, "rsa_padding_mode:oaep rsa_oaep_md:sha256", 191, K, "found 191 bytes", "wanted at most 190" },
		{ "little room for a ciphertext", ENCRYPT, "", 32, K - 1, "found 255 bytes", "wanted 256" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		refused(rows[i].why, row_run(&rows[i]), rows[i].found, rows[i].wanted);
}

/* The same words where they are right: nothing is refused, and nothing stays in the queue. */
static void test_options_right(void)
{
	static const struct row rows[] = {
		{ "PKCS#1 v1.5", SIGN, "digest:sha256", 32, K, "", "" },
		{ "the longest salt", SIGN, "digest:sha256 rsa_padding_mode:pss rsa_pss_saltlen:222", 32, K, "", "" },
		{ "MGF1 with the digest", SIGN, "digest:sha384 rsa_padding_mode:pss rsa_mgf1_md:sha384", 48, K, "", "" },
		{ "PKCS#1 v1.5 decryption", DECRYPT, "", K, K, "", "" }, /* a false text, if it is none */
		{ "the longest plaintext", ENCRYPT, "", K - 11, K, "", "" },
		{ "the longest plaintext for OAEP", ENCRYPT, "rsa_padding_mode:oaep rsa_oaep_md:sha256 rsa_mgf1_md:sha1", 190, K, "", "" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool done = row_run(&rows[i]);

		if (!done || ERR_peek_error() != 0)
			printf("\n  %s: %s, with 0x%lx ", rows[i].why, done ? "done" : "refused", ERR_peek_error());
		CU_ASSERT_TRUE(done && ERR_peek_error() == 0);
		ERR_clear_error();
	}
}

/* ---- with a number or a name that the program gives */

static bool digest_sign(const char *digest)
{
	AUTO(md_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char sig[K];
	size_t len = sizeof(sig);

	return EVP_DigestSignInit_ex(ctx, NULL, digest, NULL, NULL, key, NULL) == 1 && EVP_DigestSign(ctx, sig, &len, (const unsigned char *) "text", 4) == 1;
}

static bool param_set(enum what what, OSSL_PARAM param)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	OSSL_PARAM params[] = { param, OSSL_PARAM_construct_end() };

	return ctx && begin(ctx, what) && EVP_PKEY_CTX_set_params(ctx, params) == 1;
}

static bool number_set(enum what what, const char *name, int number)
{
	return param_set(what, OSSL_PARAM_construct_int(name, &number));
}

static bool algorithm_get(void)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	unsigned char id[128];
	OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, id, sizeof(id)), OSSL_PARAM_construct_end() };

	return ctx && begin(ctx, SIGN) && EVP_PKEY_CTX_get_params(ctx, params) == 1;
}

static bool digest_get(enum what what, const char *name, size_t room)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	char text[16];
	OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(name, text, room), OSSL_PARAM_construct_end() };

	return ctx && begin(ctx, what) && (what != SIGN || options_set(ctx, "digest:sha256")) && EVP_PKEY_CTX_get_params(ctx, params) == 1;
}

static bool recover(void)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);

	return ctx && EVP_PKEY_verify_recover_init(ctx) == 1;
}

static bool exported(void)
{
	AUTO(bio) BIO *out = BIO_new(BIO_s_mem());

	return PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1;
}

static void test_calls(void)
{
	unsigned char label[1025] = { 0 };
	uint64_t version = UINT64_MAX;

	refused("MD5 by name", digest_sign("MD5"), "found 'MD5'", DIGESTS);
	refused("SHA3-512 by name", digest_sign("SHA3-512"), "found 'SHA3-512'", DIGESTS);
	refused("X9.31 by number", number_set(SIGN, OSSL_SIGNATURE_PARAM_PAD_MODE, RSA_X931_PADDING), "pad-mode: found 5", "wanted pkcs1 or pss");
	refused("no padding by number", number_set(DECRYPT, OSSL_ASYM_CIPHER_PARAM_PAD_MODE, RSA_NO_PADDING), "pad-mode: found 3", "wanted pkcs1 or oaep");
	refused("a salt by number", number_set(SIGN, OSSL_SIGNATURE_PARAM_PSS_SALTLEN, 513), "saltlen: found 513", SALT);
	refused("a salt by no number", number_set(SIGN, OSSL_SIGNATURE_PARAM_PSS_SALTLEN, -7), "saltlen: found -7", SALT);
	refused("a digest by number", number_set(SIGN, OSSL_SIGNATURE_PARAM_DIGEST, 672), "digest: found 672", DIGESTS);
	refused("a long label", param_set(DECRYPT, OSSL_PARAM_construct_octet_string(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL, label, sizeof(label))),
		"label: found 1025 bytes", "wanted at most 1024");
	refused("a label by number", number_set(DECRYPT, OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL, 7), "oaep-label: found 7", "wanted a label in bytes");
	refused("a version too long", param_set(DECRYPT, OSSL_PARAM_construct_uint64(OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION, &version)),
		"tls-client-version: found 8 bytes", "wanted the number of a TLS version");
	refused("an algorithm without a digest", algorithm_get(), "found no digest", DIGESTS);
	refused("little room for a digest's name", digest_get(SIGN, OSSL_SIGNATURE_PARAM_DIGEST, 3), "digest: found room for 3 bytes", "wanted 6");
	refused("little room for OAEP's", digest_get(DECRYPT, OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, 3), "digest: found room for 3 bytes", "wanted 4");
	refused("a digest out of a signature", recover(), "found a signature to recover a digest from", "wanted one to verify");
	refused("the private half", exported(), "found a request for the private half of tls", "wanted one for the public");
}

/* ---- by a name */

static bool store_read(const char *uri, int expect)
{
	AUTO(uri_store) OSSL_STORE_CTX *store = OSSL_STORE_open(uri, NULL, NULL, NULL, NULL);

	return store && OSSL_STORE_expect(store, expect) == 1;
}

static bool pem_read(const char *base64)
{
	AUTO(mem) char *text = NULL;
	AUTO(bio) BIO *in = NULL;
	AUTO(pkey) EVP_PKEY *k = NULL;

	if (asprintf(&text, "-----BEGIN KEYROLL URI-----\n%s\n-----END KEYROLL URI-----\n", base64) < 0)
		return false;
	in = BIO_new_mem_buf(text, -1);
	k = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
	return k != NULL;
}

static void test_names(void)
{
	char zeros[733] = "";
	AUTO(mem) char *uri = NULL;
	AUTO(mem) char *absent = NULL;

	CU_ASSERT_TRUE(asprintf(&uri, "keyroll://tls?socket=%s", keyd.socket) > 0 && asprintf(&absent, "keyroll://tls/shadow?socket=%s", keyd.socket) > 0);
	memset(zeros, 'A', sizeof(zeros) - 1);
	CU_ASSERT_TRUE(uri && store_read(uri, OSSL_STORE_INFO_PKEY));
	refused("a certificate by a key's name", uri && store_read(uri, OSSL_STORE_INFO_CERT), "found a request for a Certificate", "wanted one for a key");
	refused("a slot that is empty", absent && store_read(absent, 0), "no key tls", "slot");
	refused("a slot that does not exist", store_read("keyroll://tls/fourth", 0), "'fourth'", "active, shadow or previous is wanted");
	refused("an option that does not exist", store_read("keyroll://tls?pin=1234", 0), "not 'pin'", "spki= or socket= is wanted");
	refused("a file with nothing in it", pem_read("MAA="), "KEYROLL URI: found 2 bytes", "wanted a URI of at most 512");
	refused("a file with too much", pem_read(zeros), "KEYROLL URI: found 549 bytes", "wanted a URI of at most 512");
	/* keyroll://no body */
	refused("a file with another name", pem_read("MCAMC0tleXJvbGwgVVJJDBFrZXlyb2xsOi8vbm8gYm9keQ=="), "0x20", "key label");
}

static CU_TestInfo tests[] = {
	{ "what pkeyutl's options ask for in vain is named, with what is wanted", test_options },
	{ "beside it all is done, and nothing is left in the queue", test_options_right },
	{ "so is what a call asks for", test_calls },
	{ "so is what a name or a file asks for", test_names },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "refusals in words", setup, teardown, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

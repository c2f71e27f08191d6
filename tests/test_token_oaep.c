/* A device whose provider knows OAEP, which that of Debian 12 for TPMs does not. Its part is played by another custodian behind our own provider: its
 * keys do not leave it either, and it can be stopped and started again. */
#include <errno.h>
#include <keyutils.h>
#include <openssl/rsa.h>
#include <signal.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "keystore/backend.h"
#include "keystore/custody_op.h"
#include "keystore/custody_server.h"
#include "keystore/token.h"
#include "tests/keyd_fixture.h"
#include "tests/test_main.h"

enum { K = 256, TEXT_BYTES = 20 };

static const uint8_t text[TEXT_BYTES] = "what is hidden here";
static struct keyd keyd; /* the device */
static struct ks *ks;
static EVP_PKEY *pub;
static struct vault_key *key;

/* The record of the device's key, where the backend looks for it. */
static bool key_take(const char *spki)
{
	AUTO(buf) struct buf record = BUF_EMPTY;
	AUTO(mem) char *line = NULL;
	AUTO(der) unsigned char *der = NULL;
	int len = i2d_PUBKEY(pub, &der);

	if (asprintf(&line, "%s\nkeyroll://tp?spki=%s&socket=%s", spki, spki, keyd.socket) < 0) {
		line = NULL;
		return false;
	}
	return buf_set(&record, line, strlen(line)) == 0 && vault_key_new("tp", KS_SLOT_ACTIVE, &key) == 0 && len > 0 &&
	       vault_key_set_public(key, der, (size_t) len, NULL) == 0 && strcmp(key->spki, spki) == 0 &&
	       backend_token.load(KEY_SPEC_PROCESS_KEYRING, "tp", &record, &key->material.serial, NULL) == 0;
}

static bool modules_there(void)
{
	const char *build = getenv("top_builddir");
	char path[256];

	(void) snprintf(path, sizeof(path), "%s/.libs", build ? build : "."); /* cut is not found */
	return setenv("OPENSSL_MODULES", path, 1) == 0;
}

static int setup(void)
{
	const struct ks_spec spec = { .label = "tp", .slot = KS_SLOT_ACTIVE, .bits = K * 8 };
	AUTO(pkey) EVP_PKEY *handle = NULL;
	char spki[KS_SPKI_HEX];

	if (!modules_there() || !keyd_setup(&keyd, NULL) || ks_open(keyd.socket, &ks, NULL) < 0 || keyd_make(ks, &spec, spki, NULL) < 0 ||
	    ks_load(ks, "tp", KS_SLOT_ACTIVE, NULL, &handle, NULL, NULL) < 0)
		return 1;
	token_configure("keyroll", NULL);
	pub = keyd_public(handle);
	return !pub || !key_take(spki);
}

static int teardown(void)
{
	static const char *const labels[] = { "tp", NULL };

	token_close();
	vault_key_unref(TAKE(key));
	EVP_PKEY_free(TAKE(pub));
	ks_close(ks);
	return keyd_teardown(&keyd, labels) != 0 || keyctl_clear(KEY_SPEC_PROCESS_KEYRING) < 0;
}

/* ---- */

static bool encrypt(const char *digest, const char *mgf1, const char *label, struct buf *ret)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pub, NULL);
	uint8_t cipher[K];
	size_t len = sizeof(cipher);
	bool ok = EVP_PKEY_encrypt_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
		  EVP_PKEY_CTX_set_rsa_oaep_md_name(ctx, digest, NULL) == 1 && EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, mgf1, NULL) == 1 &&
		  (*label == '\0' || EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, OPENSSL_strdup(label), (int) strlen(label)) == 1);

	return ok && EVP_PKEY_encrypt(ctx, cipher, &len, text, sizeof(text)) == 1 && buf_set(ret, cipher, len) == 0 &&
	       buf_add(ret, label, strlen(label)) == 0;
}

struct row {
	const char *why, *digest, *mgf1, *label;
	int want;
	const char *words;
	bool changed, above;
};

static int decrypt(const struct row *row, struct buf *plain, struct err *e)
{
	AUTO(custody_msg) struct custody_msg m = { .op = CUSTODY_OP_DECRYPT, .label = "tp", .padding = CUSTODY_PADDING_OAEP, .body = BUF_EMPTY };

	(void) snprintf(m.name, sizeof(m.name), "%s,%s", row->digest, row->mgf1); /* fits */
	m.number = (uint32_t) strlen(row->label);
	if (!encrypt(row->digest, row->mgf1, row->label, &m.body))
		return -EIO;
	if (row->changed)
		m.body.data[K / 2] ^= 1;
	if (row->above)
		memset(m.body.data, 0xff, K);
	return custody_op_run(key, &backend_token, &key->material, &m, plain, e);
}

static void row_try(const struct row *row)
{
	AUTO(buf) struct buf plain = BUF_EMPTY;
	struct err e = { .code = 0 };
	int r = decrypt(row, &plain, &e);
	bool said = !row->words || strstr(e.text, row->words) != NULL;

	if (r != row->want || !said)
		printf("\n  %s: %d, %s", row->why, r, e.text);
	CU_ASSERT_EQUAL(r, row->want);
	CU_ASSERT_TRUE(said);
	if (row->want == 0)
		CU_ASSERT_TRUE(plain.len == sizeof(text) && memcmp(plain.data, text, sizeof(text)) == 0);
}

static void test_rows(void)
{
	static const struct row rows[] = {
		{ "SHA-1", "SHA1", "SHA1", "", .want = 0 },
		{ "SHA-224", "SHA224", "SHA224", "", .want = 0 },
		{ "SHA-256", "SHA256", "SHA256", "", .want = 0 },
		{ "SHA-384", "SHA384", "SHA384", "", .want = 0 },
		{ "SHA-512", "SHA512", "SHA512", "", .want = 0 },
		{ "another digest in MGF1", "SHA256", "SHA1", "", .want = -ENOTSUP, .words = "is not to be had from a device" },
		{ "a label", "SHA256", "SHA256", "label", .want = -ENOTSUP, .words = "is not to be had from a device" },
		{ "changed on its way", "SHA256", "SHA256", "", .want = -EINVAL, .words = "OAEP decryption failed", .changed = true },
		{ "above the modulus", "SHA256", "SHA256", "", .want = -EINVAL, .words = "not below the modulus", .above = true },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		row_try(&rows[i]);
}

/* Not as a wrong padding, which it would be taken for without the text of our own that goes before. */
static void test_gone(void)
{
	static const struct row gone = { "the device is gone", "SHA256", "SHA256", "", .want = -ENODEV }, back = { "and back", "SHA256", "SHA256", "", .want = 0 };

	keyd_signal(&keyd, SIGTERM); /* its socket stays: nobody answers within the provider's 2 s */
	row_try(&gone);
	CU_ASSERT_TRUE(keyd_start(&keyd));
	row_try(&back);
}

static CU_TestInfo tests[] = {
	{ "what is decrypted, and what is refused", test_rows },
	{ "a device that goes is no wrong padding", test_gone },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "OAEP in a device", setup, teardown, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

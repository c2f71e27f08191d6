/* What the door promises, asked of each backend in turn: the same assertions for all. KEYROLL_BACKENDS ("kernel keyring") names those to run, which
 * must then be there; without it each that this machine lacks is skipped with its reason, and one at least must run. */
#include <errno.h>
#include <keyutils.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "common/auto_ssl.h"
#include "common/fs.h"
#include "keystore/custody_conn.h"
#include "tests/keyd_fixture.h"
#include "tests/test_main.h"

static struct keyd keyd;
static struct ks *ks;
static enum ks_protection level;
static bool there;
static int levels_run;

/* ---- the suites' fixture: one custodian for each backend */

static bool listed(const char *list, const char *name)
{
	return list && strstr(list, name) != NULL;
}

/* KEYROLL_TOKEN_PROVIDER: the provider of the device that level token is tried with. */
static const char *token_conf(void)
{
	const char *provider = getenv("KEYROLL_TOKEN_PROVIDER");
	static char conf[128];

	(void) snprintf(conf, sizeof(conf), "[Token]\nProvider=%s\n", provider ? provider : "");
	return provider ? conf : NULL;
}

/* The question that makes no key has the same answer as the making, and says what is needed. */
static int level_asked(enum ks_protection p)
{
	struct err e = { .code = 0 };
	int r = ks_level(ks, p, &e);

	if (r == -ENOTSUP && (!strstr(e.text, ". Do: ") || !strstr(e.text, ks_protection_name(p))))
		r = -EBADMSG;
	if (r < 0)
		printf("\n  asked for level %s: %s", ks_protection_name(p), e.text);
	return r;
}

static int suite_setup(enum ks_protection p)
{
	struct ks_spec spec = { .label = "probe", .slot = KS_SLOT_ACTIVE, .bits = 2048, .protection = p };
	struct err e = { .code = 0 };
	char spki[KS_SPKI_HEX];
	const char *list = getenv("KEYROLL_BACKENDS");
	int r;

	level = p;
	there = false;
	if (list && !listed(list, ks_protection_name(p))) {
		printf("\n  level %s is not asked for\n", ks_protection_name(p));
		return 0;
	}
	if (!keyd_setup(&keyd, p == KS_PROTECTION_TOKEN ? token_conf() : NULL) || ks_open(keyd.socket, &ks, &e) < 0)
		return 1;
	r = keyd_make(ks, &spec, spki, &e);
	there = r == 0;
	if (level_asked(p) != r)
		return 1;
	if (r == -ENOTSUP && !list) {
		printf("\n  skipped: %s\n", e.text);
		return 0;
	}
	if (!there) {
		printf("\n  level %s: %s\n", ks_protection_name(p), e.text);
		return 1;
	}
	levels_run++;
	return ks_delete(ks, "probe", NULL, &e) < 0;
}

static int setup_kernel(void)
{
	return suite_setup(KS_PROTECTION_KERNEL);
}

static int setup_token(void)
{
	return suite_setup(KS_PROTECTION_TOKEN);
}

static int setup_keyring(void)
{
	return suite_setup(KS_PROTECTION_KEYRING);
}

static int teardown(void)
{
	static const char *const labels[] = { "tp", "other", "probe", NULL };

	if (!ks)
		return 0;
	ks_close(ks);
	ks = NULL;
	return keyd_teardown(&keyd, labels);
}

static int make(const char *label, enum ks_slot slot, int bits, char spki[KS_SPKI_HEX])
{
	struct ks_spec spec = { .label = label, .slot = slot, .bits = bits, .protection = level };

	return keyd_make(ks, &spec, spki, NULL);
}

static int load(const char *label, enum ks_slot slot, const char *spki, struct ks_key *facts)
{
	AUTO(pkey) EVP_PKEY *key = NULL;
	int r = ks_load(ks, label, slot, spki, &key, facts, NULL);

	if (r == 0 && !keyd_key_works(key))
		r = -EIO;
	ERR_clear_error();
	return r;
}

static bool slot_is(enum ks_slot slot, const char *spki)
{
	struct ks_key facts;

	return load("tp", slot, NULL, &facts) == 0 && strcmp(facts.spki, spki) == 0 && facts.slot == slot && facts.protection == level;
}

/* ---- what is promised */

static void test_generate(void)
{
	struct ks_key facts;
	char spki[KS_SPKI_HEX], again[KS_SPKI_HEX];

	NEED(there, NULL);
	CU_ASSERT_EQUAL(load("tp", KS_SLOT_ACTIVE, NULL, NULL), -ENOKEY);
	CU_ASSERT_EQUAL(make("tp", KS_SLOT_ACTIVE, 2048, spki), 0);
	CU_ASSERT_EQUAL(load("tp", KS_SLOT_ACTIVE, NULL, &facts), 0);
	CU_ASSERT_STRING_EQUAL(facts.spki, spki);
	CU_ASSERT_EQUAL(facts.bits, 2048);
	CU_ASSERT_EQUAL(facts.protection, level);
	CU_ASSERT_STRING_EQUAL(facts.at_rest, level == KS_PROTECTION_TOKEN ? "token" : "file");
	CU_ASSERT_EQUAL(make("tp", KS_SLOT_ACTIVE, 2048, again), -EEXIST);
	CU_ASSERT_TRUE(slot_is(KS_SLOT_ACTIVE, spki));
	CU_ASSERT_EQUAL(load("tp", KS_SLOT_SHADOW, spki, NULL), 0); /* by its public key, whatever slot is said */
	CU_ASSERT_EQUAL(ks_delete(ks, "tp", NULL, NULL), 0);
	CU_ASSERT_EQUAL(load("tp", KS_SLOT_ACTIVE, NULL, NULL), -ENOKEY);
	CU_ASSERT_EQUAL(ks_delete(ks, "tp", NULL, NULL), 0);
}

static void test_refused(void)
{
	static const struct { const char *why; struct ks_spec spec; int want; } rows[] = {
		{ "1024 bits", { .label = "tp", .bits = 1024 }, -EINVAL },
		{ "8192 bits", { .label = "tp", .bits = 8192 }, -EINVAL },
		{ "slot previous", { .label = "tp", .slot = KS_SLOT_PREVIOUS, .bits = 2048 }, -EINVAL },
		{ "a label with a slash", { .label = "a/b", .bits = 2048 }, -EINVAL },
		{ "a label that starts with a dot", { .label = ".tp", .bits = 2048 }, -EINVAL },
		{ "the kernel's search syntax", { .label = "id:tp", .bits = 2048 }, -EINVAL },
		{ "a token's key at another level", { .label = "tp", .bits = 2048, .protection = KS_PROTECTION_KEYRING, .token_uri = "handle:0x81000001" },
		  -EINVAL },
	};
	char spki[KS_SPKI_HEX];

	NEED(there, NULL);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int r = keyd_make(ks, &rows[i].spec, spki, NULL);

		if (r != rows[i].want)
			printf("%s: %d\n", rows[i].why, r);
		CU_ASSERT_EQUAL(r, rows[i].want);
	}
}

static void test_sizes(void)
{
	static const int sizes[] = { 2048, 3072, 4096 };
	struct ks_key facts;
	char spki[KS_SPKI_HEX];

	NEED(there, NULL);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		int r = make("other", KS_SLOT_ACTIVE, sizes[i], spki);

		if (level == KS_PROTECTION_TOKEN && sizes[i] > 2048 && r == -ENOTSUP) /* few devices make them all */
			continue;
		CU_ASSERT_EQUAL(r, 0);
		CU_ASSERT_EQUAL(load("other", KS_SLOT_ACTIVE, NULL, &facts), 0);
		CU_ASSERT_EQUAL(facts.bits, sizes[i]);
		CU_ASSERT_EQUAL(ks_delete(ks, "other", spki, NULL), 0);
	}
}

static void test_promote(void)
{
	char a[KS_SPKI_HEX], b[KS_SPKI_HEX], c[KS_SPKI_HEX];
	AUTO(pkey) EVP_PKEY *handle = NULL;

	NEED(there, NULL);
	CU_ASSERT_EQUAL(make("tp", KS_SLOT_ACTIVE, 2048, a), 0);
	CU_ASSERT_EQUAL(make("tp", KS_SLOT_SHADOW, 2048, b), 0);
	CU_ASSERT_EQUAL(ks_load(ks, "tp", KS_SLOT_ACTIVE, NULL, &handle, NULL, NULL), 0);
	CU_ASSERT_EQUAL(ks_promote(ks, "tp", b, NULL), 0);
	CU_ASSERT_TRUE(slot_is(KS_SLOT_ACTIVE, b));
	CU_ASSERT_TRUE(slot_is(KS_SLOT_PREVIOUS, a));
	CU_ASSERT_EQUAL(load("tp", KS_SLOT_SHADOW, NULL, NULL), -ENOKEY);
	CU_ASSERT_TRUE(keyd_key_works(handle)); /* bound to its public key, it works from previous */
	CU_ASSERT_EQUAL(ks_promote(ks, "tp", b, NULL), 0);
	CU_ASSERT_TRUE(slot_is(KS_SLOT_PREVIOUS, a));
	CU_ASSERT_EQUAL(ks_promote(ks, "tp", a, NULL), -ENOKEY);
	CU_ASSERT_EQUAL(make("tp", KS_SLOT_SHADOW, 2048, c), 0);
	CU_ASSERT_EQUAL(ks_promote(ks, "tp", c, NULL), 0);
	CU_ASSERT_TRUE(slot_is(KS_SLOT_ACTIVE, c));
	CU_ASSERT_TRUE(slot_is(KS_SLOT_PREVIOUS, b));
	CU_ASSERT_EQUAL(load("tp", KS_SLOT_ACTIVE, a, NULL), -ENOKEY);
	CU_ASSERT_FALSE(keyd_key_works(handle));
	ERR_clear_error();
	CU_ASSERT_EQUAL(ks_delete(ks, "tp", b, NULL), 0);
	CU_ASSERT_EQUAL(load("tp", KS_SLOT_PREVIOUS, NULL, NULL), -ENOKEY);
	CU_ASSERT_TRUE(slot_is(KS_SLOT_ACTIVE, c));
	CU_ASSERT_EQUAL(ks_delete(ks, "tp", NULL, NULL), 0);
}

static void test_decrypt(void)
{
	AUTO(pkey) EVP_PKEY *key = NULL;
	AUTO(pkey_ctx) EVP_PKEY_CTX *enc = NULL;
	AUTO(pkey_ctx) EVP_PKEY_CTX *dec = NULL;
	unsigned char cipher[256], plain[256];
	char spki[KS_SPKI_HEX];

	NEED(there, NULL);
	CU_ASSERT_EQUAL(make("tp", KS_SLOT_ACTIVE, 2048, spki), 0);
	CU_ASSERT_EQUAL(ks_load(ks, "tp", KS_SLOT_ACTIVE, NULL, &key, NULL, NULL), 0);
	enc = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	dec = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	CU_ASSERT_EQUAL(EVP_PKEY_encrypt_init(enc), 1);
	CU_ASSERT_EQUAL(EVP_PKEY_decrypt_init(dec), 1);
	for (size_t len = 0; len <= 245; len += 35) {
		unsigned char text[256];
		size_t c_len = sizeof(cipher), p_len = sizeof(plain);

		CU_ASSERT_EQUAL(RAND_bytes(text, sizeof(text)), 1);
		CU_ASSERT_EQUAL(EVP_PKEY_encrypt(enc, cipher, &c_len, text, len), 1);
		CU_ASSERT_EQUAL(EVP_PKEY_decrypt(dec, plain, &p_len, cipher, c_len), 1);
		CU_ASSERT_EQUAL(p_len, len);
		CU_ASSERT_EQUAL(memcmp(plain, text, len), 0);
	}
	CU_ASSERT_EQUAL(ks_delete(ks, "tp", NULL, NULL), 0);
	CU_ASSERT_NOT_EQUAL(EVP_PKEY_decrypt(dec, plain, &(size_t){ sizeof(plain) }, cipher, sizeof(cipher)), 1);
	ERR_clear_error();
}

/* ---- every padding and digest: right at each level, or, where a device does without, refused in words */

enum outcome { WRONG, RIGHT, REFUSED };

/* What failed, failed for want of it in the device. */
static enum outcome refusal(void)
{
	const char *text = "";
	int flags = 0;

	(void) ERR_peek_last_error_all(NULL, NULL, NULL, &text, &flags); /* 0: no error, and no words */
	return (flags & ERR_TXT_STRING) && (strstr(text, "the token does not") || strstr(text, "is not to be had from a device")) ? REFUSED : WRONG;
}

static bool outcome_ok(const char *what, const char *digest, enum outcome found, bool everywhere)
{
	bool ok = found == RIGHT || (found == REFUSED && level == KS_PROTECTION_TOKEN && !everywhere);

	if (found != RIGHT)
		printf("\n  %s, %s: %s", what, digest, found == REFUSED ? "not to be had" : "wrong");
	ERR_clear_error();
	return ok;
}

static bool pss_wanted(EVP_PKEY_CTX *ctx)
{
	return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 && EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1;
}

static enum outcome sign_tried(EVP_PKEY *key, EVP_PKEY *pub, const char *digest, bool pss)
{
	static const unsigned char text[] = "what is signed";
	AUTO(md_ctx) EVP_MD_CTX *sign = EVP_MD_CTX_new();
	AUTO(md_ctx) EVP_MD_CTX *verify = EVP_MD_CTX_new();
	EVP_PKEY_CTX *ctx = NULL; /* the digest context's */
	unsigned char sig[512];
	size_t len = sizeof(sig);

	if (EVP_DigestSignInit_ex(sign, &ctx, digest, NULL, NULL, key, NULL) != 1 || (pss && !pss_wanted(ctx)))
		return WRONG;
	if (EVP_DigestSign(sign, sig, &len, text, sizeof(text)) != 1)
		return refusal();
	return EVP_DigestVerifyInit_ex(verify, &ctx, digest, NULL, "provider=default", pub, NULL) == 1 && (!pss || pss_wanted(ctx)) &&
			       EVP_DigestVerify(verify, sig, len, text, sizeof(text)) == 1 ? RIGHT : WRONG;
}

static void test_signatures(void)
{
	static const struct { const char *digest; bool everywhere; } rows[] = {
		{ "SHA1", false }, { "SHA224", false }, { "SHA256", true }, { "SHA384", false }, { "SHA512", false },
	};
	AUTO(pkey) EVP_PKEY *key = NULL;
	AUTO(pkey) EVP_PKEY *pub = NULL;
	char spki[KS_SPKI_HEX];

	NEED(there, NULL);
	CU_ASSERT_EQUAL(make("tp", KS_SLOT_ACTIVE, 2048, spki), 0);
	CU_ASSERT_EQUAL(ks_load(ks, "tp", KS_SLOT_ACTIVE, NULL, &key, NULL, NULL), 0);
	pub = keyd_public(key);
	CU_ASSERT_PTR_NOT_NULL_FATAL(pub);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CU_ASSERT_TRUE(outcome_ok("PKCS#1 v1.5", rows[i].digest, sign_tried(key, pub, rows[i].digest, false), rows[i].everywhere));
		CU_ASSERT_TRUE(outcome_ok("PSS", rows[i].digest, sign_tried(key, pub, rows[i].digest, true), rows[i].everywhere));
	}
	CU_ASSERT_EQUAL(ks_delete(ks, "tp", NULL, NULL), 0);
}

struct oaep {
	const char *digest, *mgf1, *label;
};

static bool oaep_wanted(EVP_PKEY_CTX *ctx, const struct oaep *o)
{
	char *label = o->label ? OPENSSL_strdup(o->label) : NULL; /* the context's, once it has taken it */
	bool ok = EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 && EVP_PKEY_CTX_set_rsa_oaep_md_name(ctx, o->digest, NULL) == 1 &&
		  EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, o->mgf1, NULL) == 1;

	if (ok && (!label || EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, label, (int) strlen(label)) == 1))
		return true;
	OPENSSL_free(label);
	return false;
}

/* What somebody else encrypted: with the default provider's public key. */
static enum outcome oaep_tried(EVP_PKEY *key, EVP_PKEY *pub, const struct oaep *o)
{
	static const unsigned char text[] = "what is hidden";
	AUTO(pkey_ctx) EVP_PKEY_CTX *enc = EVP_PKEY_CTX_new_from_pkey(NULL, pub, "provider=default");
	AUTO(pkey_ctx) EVP_PKEY_CTX *dec = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	unsigned char cipher[256], plain[256];
	size_t c_len = sizeof(cipher), p_len = sizeof(plain);

	if (EVP_PKEY_encrypt_init(enc) != 1 || !oaep_wanted(enc, o) || EVP_PKEY_encrypt(enc, cipher, &c_len, text, sizeof(text)) != 1 ||
	    EVP_PKEY_decrypt_init(dec) != 1 || !oaep_wanted(dec, o))
		return WRONG;
	if (EVP_PKEY_decrypt(dec, plain, &p_len, cipher, c_len) != 1)
		return refusal();
	if (p_len != sizeof(text) || memcmp(plain, text, p_len) != 0)
		return WRONG;
	cipher[100] ^= 1; /* and what was changed on its way is none */
	p_len = sizeof(plain);
	return EVP_PKEY_decrypt(dec, plain, &p_len, cipher, c_len) == 1 ? WRONG : RIGHT;
}

static void test_oaep(void)
{
	static const struct oaep rows[] = {
		{ "SHA1", "SHA1", NULL },     { "SHA224", "SHA224", NULL }, { "SHA256", "SHA256", NULL },      { "SHA384", "SHA384", NULL },
		{ "SHA512", "SHA512", NULL }, { "SHA256", "SHA1", NULL },   { "SHA256", "SHA256", "a label" },
	};
	AUTO(pkey) EVP_PKEY *key = NULL;
	AUTO(pkey) EVP_PKEY *pub = NULL;
	char spki[KS_SPKI_HEX];

	NEED(there, NULL);
	CU_ASSERT_EQUAL(make("tp", KS_SLOT_ACTIVE, 2048, spki), 0);
	CU_ASSERT_EQUAL(ks_load(ks, "tp", KS_SLOT_ACTIVE, NULL, &key, NULL, NULL), 0);
	pub = keyd_public(key);
	CU_ASSERT_PTR_NOT_NULL_FATAL(pub);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CU_ASSERT_TRUE(outcome_ok(rows[i].label ? "OAEP with a label" : "OAEP", rows[i].mgf1, oaep_tried(key, pub, &rows[i]), false));
	CU_ASSERT_EQUAL(ks_delete(ks, "tp", NULL, NULL), 0);
}

static bool false_text(EVP_PKEY *key, const unsigned char cipher[256], unsigned char plain[256], size_t *len)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *dec = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);

	*len = 256;
	return EVP_PKEY_decrypt_init(dec) == 1 && EVP_PKEY_decrypt(dec, plain, len, cipher, 256) == 1;
}

/* Bad PKCS#1 v1.5 padding is not told: a false text comes instead, the same for the same ciphertext, after a restart too, and another for another. */
static void test_implicit_rejection(void)
{
	AUTO(pkey) EVP_PKEY *key = NULL;
	unsigned char cipher[256], first[256], again[256];
	size_t first_len, len;
	int longest = 0;
	char spki[KS_SPKI_HEX];

	NEED(there, NULL);
	CU_ASSERT_EQUAL(make("tp", KS_SLOT_ACTIVE, 2048, spki), 0);
	CU_ASSERT_EQUAL(ks_load(ks, "tp", KS_SLOT_ACTIVE, NULL, &key, NULL, NULL), 0);
	for (int i = 0; i < 8; i++) { /* the length is the ciphertext's too, and may be nought */
		CU_ASSERT_EQUAL(RAND_bytes(cipher, sizeof(cipher)), 1);
		cipher[0] = 0; /* below any modulus */
		CU_ASSERT_TRUE(false_text(key, cipher, first, &first_len));
		CU_ASSERT_TRUE(false_text(key, cipher, again, &len));
		CU_ASSERT_TRUE(len == first_len && memcmp(first, again, len) == 0);
		longest = (int) len > longest ? (int) len : longest;
		cipher[255] ^= 1;
		CU_ASSERT_TRUE(false_text(key, cipher, again, &len));
		CU_ASSERT_TRUE(len != first_len || len < 8 || memcmp(first, again, len) != 0);
		cipher[255] ^= 1;
	}
	CU_ASSERT_TRUE(longest >= 8); /* so something was compared */
	keyd_signal(&keyd, SIGTERM);
	CU_ASSERT_TRUE(keyd_start(&keyd));
	CU_ASSERT_TRUE(false_text(key, cipher, again, &len));
	CU_ASSERT_TRUE(len == first_len && memcmp(first, again, len) == 0);
	CU_ASSERT_EQUAL(ks_delete(ks, "tp", NULL, NULL), 0);
}

static const char *const types[KS_PROTECTION_N_] = { [KS_PROTECTION_KERNEL] = "asymmetric", [KS_PROTECTION_TOKEN] = "user",
						      [KS_PROTECTION_KEYRING] = "user" };

static key_serial_t serial_in(enum ks_slot slot)
{
	return (key_serial_t) keyctl_search(keyd_ring(&keyd, slot), types[level], "tp", 0);
}

static key_serial_t active_serial(void)
{
	return serial_in(KS_SLOT_ACTIVE);
}

static bool restored(int log_fd)
{
	char text[8192];
	ssize_t n = pread(log_fd, text, sizeof(text), 0);

	return n > 0 && memmem(text, (size_t) n, "is restored", strlen("is restored")) != NULL;
}

/* Zero, one and n-1 are what they were, or nearly, after the private operation; n is no number of this key; from 6.12 the kernel refuses them all. A peer
 * may send any, and causes no more than others do: no key is taken for lost. */
static void test_trivial_ciphertexts(void)
{
	static const struct { const char *why; bool from_n; unsigned number; bool fine; } rows[] = {
		{ "0", false, 0, true }, { "1", false, 1, true }, { "2", false, 2, true }, { "n-1", true, 1, true }, { "n", true, 0, false },
	};
	AUTO(fd) int log_fd = memfd_create("log", MFD_CLOEXEC);
	AUTO(pkey) EVP_PKEY *key = NULL;
	AUTO(pkey_ctx) EVP_PKEY_CTX *dec = NULL;
	AUTO(bn) BIGNUM *n = NULL;
	char spki[KS_SPKI_HEX];

	NEED(there, NULL);
	CU_ASSERT_TRUE(keyd_restart_logged(&keyd, log_fd));
	CU_ASSERT_EQUAL(make("tp", KS_SLOT_ACTIVE, 2048, spki), 0);
	CU_ASSERT_EQUAL(ks_load(ks, "tp", KS_SLOT_ACTIVE, NULL, &key, NULL, NULL), 0);
	CU_ASSERT_EQUAL(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n), 1);
	dec = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	CU_ASSERT_EQUAL(EVP_PKEY_decrypt_init(dec), 1);
	for (size_t i = 0; n && i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(bn) BIGNUM *x = BN_dup(n);
		unsigned char cipher[256] = { 0 }, plain[256];
		size_t len = sizeof(plain);
		int r;

		CU_ASSERT_TRUE(rows[i].from_n ? BN_sub_word(x, rows[i].number) : BN_set_word(x, rows[i].number));
		CU_ASSERT_EQUAL(BN_bn2binpad(x, cipher, sizeof(cipher)), sizeof(cipher));
		r = EVP_PKEY_decrypt(dec, plain, &len, cipher, sizeof(cipher));
		if ((r == 1) != rows[i].fine)
			printf("%s: %d\n", rows[i].why, r);
		CU_ASSERT_EQUAL(r == 1, rows[i].fine);
		ERR_clear_error();
	}
	CU_ASSERT_FALSE(restored(log_fd));
	CU_ASSERT_EQUAL(keyctl_invalidate(active_serial()), 0);
	CU_ASSERT_TRUE(keyd_key_works(key));
	CU_ASSERT_TRUE(restored(log_fd)); /* so it would have been said */
	CU_ASSERT_EQUAL(ks_delete(ks, "tp", NULL, NULL), 0);
}

/* ---- death of the custodian */

static bool copy_remove(const char *spki)
{
	AUTO(mem) char *path = NULL;

	if (asprintf(&path, "%s/var/lib/keyroll/keyd/tp.%s.%s", keyd.root, spki, level == KS_PROTECTION_TOKEN ? "token" : "p8") < 0) {
		path = NULL;
		return false;
	}
	return unlink(path) == 0;
}

/* The keys are found where they lie, and not loaded again: the serials are what they were, and, since a key of type user keeps its own when it is
 * overwritten, there is nothing on disk to load them from. */
static void test_restart(void)
{
	AUTO(pkey) EVP_PKEY *handle = NULL;
	char a[KS_SPKI_HEX], b[KS_SPKI_HEX];
	key_serial_t active, shadow;

	NEED(there, NULL);
	CU_ASSERT_EQUAL(make("tp", KS_SLOT_ACTIVE, 2048, a), 0);
	CU_ASSERT_EQUAL(make("tp", KS_SLOT_SHADOW, 2048, b), 0);
	CU_ASSERT_EQUAL(ks_load(ks, "tp", KS_SLOT_ACTIVE, NULL, &handle, NULL, NULL), 0);
	active = active_serial();
	shadow = serial_in(KS_SLOT_SHADOW);
	CU_ASSERT_TRUE(active > 0 && shadow > 0 && active != shadow);
	CU_ASSERT_TRUE(copy_remove(a) && copy_remove(b));
	keyd_signal(&keyd, SIGKILL);
	CU_ASSERT_TRUE(keyd_start(&keyd));
	CU_ASSERT_TRUE(keyd_key_works(handle));
	CU_ASSERT_TRUE(slot_is(KS_SLOT_ACTIVE, a));
	CU_ASSERT_TRUE(slot_is(KS_SLOT_SHADOW, b));
	CU_ASSERT_TRUE(active_serial() == active && serial_in(KS_SLOT_SHADOW) == shadow);
	keyd_signal(&keyd, SIGTERM);
	CU_ASSERT_TRUE(keyd_start(&keyd));
	CU_ASSERT_TRUE(slot_is(KS_SLOT_ACTIVE, a));
	CU_ASSERT_TRUE(slot_is(KS_SLOT_SHADOW, b));
	CU_ASSERT_TRUE(active_serial() == active && serial_in(KS_SLOT_SHADOW) == shadow);
	CU_ASSERT_EQUAL(ks_delete(ks, "tp", NULL, NULL), 0);
}

/* The machine was started anew: the keyrings are empty, the sealed copies are there. */
static void test_reboot(void)
{
	char a[KS_SPKI_HEX], b[KS_SPKI_HEX];
	key_serial_t active;

	NEED(there, NULL);
	CU_ASSERT_EQUAL(make("tp", KS_SLOT_ACTIVE, 2048, a), 0);
	CU_ASSERT_EQUAL(make("tp", KS_SLOT_SHADOW, 2048, b), 0);
	active = active_serial();
	keyd_signal(&keyd, SIGKILL);
	CU_ASSERT_TRUE(keyd_rings_empty(&keyd));
	CU_ASSERT_TRUE(keyd_start(&keyd));
	CU_ASSERT_TRUE(slot_is(KS_SLOT_ACTIVE, a));
	CU_ASSERT_TRUE(slot_is(KS_SLOT_SHADOW, b));
	CU_ASSERT_TRUE(active_serial() > 0 && active_serial() != active); /* so a restart that loads would be seen */
	CU_ASSERT_TRUE(keyd_rings_empty(&keyd)); /* and under the custodian's feet: the key is restored at its next use */
	CU_ASSERT_TRUE(slot_is(KS_SLOT_ACTIVE, a));
	CU_ASSERT_EQUAL(ks_delete(ks, "tp", NULL, NULL), 0);
}

/* ---- somebody meddles with the keyrings */

static bool meddle_revoke(void)
{
	return keyctl_revoke(active_serial()) == 0;
}

static bool meddle_invalidate(void)
{
	return keyctl_invalidate(active_serial()) == 0;
}

/* The shortest time-out is a second; the kernel tells nobody that it has passed, so it is asked. */
static bool meddle_expire(void)
{
	key_serial_t id = active_serial();
	char text[256];

	if (keyctl_set_timeout(id, 1) < 0)
		return false;
	for (int i = 0; i < 500; i++) {
		if (keyctl_describe(id, text, sizeof(text)) < 0)
			return errno == EKEYEXPIRED;
		(void) poll(NULL, 0, 20);
	}
	return false;
}

static bool meddle_unlink(void)
{
	key_serial_t id = active_serial();
	key_serial_t ring = keyd_ring(&keyd, KS_SLOT_ACTIVE);

	return id > 0 && keyctl_unlink(id, ring) == 0;
}

static bool meddle_anchor_clear(void)
{
	return keyctl_clear(keyd_anchor(&keyd)) == 0;
}

static bool meddle_anchor_unlink(void)
{
	return keyctl_unlink(keyd_anchor(&keyd), KEY_SPEC_USER_KEYRING) == 0;
}

/* Which level kernel does not let even its owner do. */
static bool meddle_overwrite(void)
{
	return keyctl_update(active_serial(), "x", 1) == 0 || (level == KS_PROTECTION_KERNEL && errno == EACCES);
}

/* Another's key of the same size under the same label: what it computes is withheld. */
static bool meddle_replace(void)
{
	AUTO(pkey) EVP_PKEY *other = EVP_RSA_gen(2048);
	AUTO(p8) PKCS8_PRIV_KEY_INFO *p8 = other ? EVP_PKEY2PKCS8(other) : NULL;
	AUTO(der) unsigned char *der = NULL;
	int len = p8 ? i2d_PKCS8_PRIV_KEY_INFO(p8, &der) : -1;

	return len > 0 && add_key(types[level], "tp", der, (size_t) len, keyd_ring(&keyd, KS_SLOT_ACTIVE)) > 0;
}

/* Whatever happens to a key in its keyring, the handle goes on signing: it is restored from its sealed copy. */
static void test_meddling(void)
{
	static const struct { const char *why; bool (*meddle)(void); } rows[] = {
		{ "revoked", meddle_revoke },		    { "invalidated", meddle_invalidate },	   { "expired", meddle_expire },
		{ "unlinked", meddle_unlink },		    { "its slot's keyring gone", meddle_anchor_clear }, { "the anchor gone", meddle_anchor_unlink },
		{ "overwritten", meddle_overwrite },
		/* several, since some refuse the number, which is not below their modulus, and some compute a wrong result */
		{ "another's in its place", meddle_replace }, { "a second other's", meddle_replace }, { "a third other's", meddle_replace },
	};
	AUTO(pkey) EVP_PKEY *handle = NULL;
	char spki[KS_SPKI_HEX];

	NEED(there, NULL);
	CU_ASSERT_EQUAL(make("tp", KS_SLOT_ACTIVE, 2048, spki), 0);
	CU_ASSERT_EQUAL(ks_load(ks, "tp", KS_SLOT_ACTIVE, NULL, &handle, NULL, NULL), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool meddled = rows[i].meddle(), works = keyd_key_works(handle);

		if (!meddled || !works)
			printf("%s: meddled %d, works %d\n", rows[i].why, meddled, works);
		CU_ASSERT_TRUE(meddled);
		CU_ASSERT_TRUE(works);
		CU_ASSERT_TRUE(slot_is(KS_SLOT_ACTIVE, spki));
		CU_ASSERT_TRUE(active_serial() > 0);
	}
	ERR_clear_error();
	CU_ASSERT_TRUE(meddle_revoke()); /* a revoked key is destroyed like another: at once */
	CU_ASSERT_EQUAL(ks_delete(ks, "tp", NULL, NULL), 0);
	CU_ASSERT_EQUAL(keyd_ring_keys(&keyd, KS_SLOT_ACTIVE), 0);
}

/* A crash between the label's file and the keyrings: the file says promoted, the rings do not know yet; and the other way round. */
static void test_promotion_halfway(void)
{
	AUTO(buf) struct buf before = BUF_EMPTY;
	AUTO(buf) struct buf after = BUF_EMPTY;
	AUTO(mem) char *path = NULL;
	char a[KS_SPKI_HEX], b[KS_SPKI_HEX];

	NEED(there, NULL);
	CU_ASSERT_TRUE(asprintf(&path, "%s/var/lib/keyroll/keyd/tp.keys", keyd.root) > 0);
	CU_ASSERT_EQUAL(make("tp", KS_SLOT_ACTIVE, 2048, a), 0);
	CU_ASSERT_EQUAL(make("tp", KS_SLOT_SHADOW, 2048, b), 0);
	CU_ASSERT_EQUAL(fs_read(path, 65536, &before, NULL), 0);
	CU_ASSERT_EQUAL(ks_promote(ks, "tp", b, NULL), 0);
	CU_ASSERT_EQUAL(fs_read(path, 65536, &after, NULL), 0);
	keyd_signal(&keyd, SIGKILL); /* the rings are promoted, the file is set back */
	CU_ASSERT_EQUAL(fs_write(path, before.data, before.len, 0600, NULL), 0);
	CU_ASSERT_TRUE(keyd_start(&keyd));
	CU_ASSERT_TRUE(slot_is(KS_SLOT_ACTIVE, a));
	CU_ASSERT_TRUE(slot_is(KS_SLOT_SHADOW, b));
	keyd_signal(&keyd, SIGKILL); /* now the file is promoted, and the rings are not */
	CU_ASSERT_EQUAL(fs_write(path, after.data, after.len, 0600, NULL), 0);
	CU_ASSERT_TRUE(keyd_start(&keyd));
	CU_ASSERT_TRUE(slot_is(KS_SLOT_ACTIVE, b));
	CU_ASSERT_TRUE(slot_is(KS_SLOT_PREVIOUS, a));
	CU_ASSERT_EQUAL(ks_promote(ks, "tp", b, NULL), 0);
	CU_ASSERT_EQUAL(ks_delete(ks, "tp", NULL, NULL), 0);
}

/* ---- under use */

enum { HAMMER_ROUNDS = 3, HAMMER_OPS = 4 };

struct hammer {
	EVP_PKEY *handle; /* NULL: the active key is loaded anew each time */
	atomic_int ops, failed;
	atomic_bool enough;
};

static void *hammer_run(void *arg)
{
	struct hammer *h = arg;

	while (!atomic_load(&h->enough)) {
		bool ok = h->handle ? keyd_key_works(h->handle) : load("tp", KS_SLOT_ACTIVE, NULL, NULL) == 0;

		(void) atomic_fetch_add(ok ? &h->ops : &h->failed, 1); /* the count before is of no interest */
	}
	ERR_clear_error();
	return NULL;
}

/* Until both have done some more, or failed. */
static void hammer_await(struct hammer h[2])
{
	int from[2] = { atomic_load(&h[0].ops), atomic_load(&h[1].ops) };

	for (int i = 0; i < 2; i++)
		while (atomic_load(&h[i].ops) < from[i] + HAMMER_OPS && atomic_load(&h[i].failed) == 0)
			(void) sched_yield(); /* cannot fail */
}

/* There is no moment of a promotion in which the label has no active key, or a handle no key; and both are the keys that they were, since one that was lost
 * would be restored at its next use, and nobody the wiser. */
static void test_promotion_under_use(void)
{
	AUTO(fd) int log_fd = memfd_create("log", MFD_CLOEXEC);

	NEED(there, NULL);
	CU_ASSERT_TRUE(keyd_restart_logged(&keyd, log_fd));
	for (int round = 0; round < HAMMER_ROUNDS; round++) {
		AUTO(pkey) EVP_PKEY *handle = NULL;
		struct hammer h[2] = { { .handle = NULL }, { .handle = NULL } };
		pthread_t thread[2];
		char a[KS_SPKI_HEX], b[KS_SPKI_HEX];
		key_serial_t active, shadow;

		CU_ASSERT_EQUAL(make("tp", KS_SLOT_ACTIVE, 2048, a), 0);
		CU_ASSERT_EQUAL(make("tp", KS_SLOT_SHADOW, 2048, b), 0);
		CU_ASSERT_EQUAL(ks_load(ks, "tp", KS_SLOT_ACTIVE, NULL, &handle, NULL, NULL), 0);
		h[1].handle = handle;
		active = active_serial();
		shadow = serial_in(KS_SLOT_SHADOW);
		for (int i = 0; i < 2; i++)
			CU_ASSERT_EQUAL(pthread_create(&thread[i], NULL, hammer_run, &h[i]), 0);
		hammer_await(h);
		CU_ASSERT_EQUAL(ks_promote(ks, "tp", b, NULL), 0);
		hammer_await(h);
		for (int i = 0; i < 2; i++) {
			atomic_store(&h[i].enough, true);
			CU_ASSERT_EQUAL(pthread_join(thread[i], NULL), 0);
			CU_ASSERT_EQUAL(atomic_load(&h[i].failed), 0);
		}
		CU_ASSERT_TRUE(slot_is(KS_SLOT_ACTIVE, b));
		CU_ASSERT_TRUE(shadow > 0 && active_serial() == shadow);
		CU_ASSERT_TRUE(active > 0 && serial_in(KS_SLOT_PREVIOUS) == active);
		CU_ASSERT_EQUAL(ks_delete(ks, "tp", NULL, NULL), 0);
	}
	CU_ASSERT_FALSE(restored(log_fd));
}

/* Killed at a moment that the test does not choose: whatever it was doing, afterwards the promotion is done by asking again. */
static void test_promotion_killed(void)
{
	char a[KS_SPKI_HEX], b[KS_SPKI_HEX];

	NEED(there, NULL);
	for (int i = 0; i < 2; i++) {
		int fd = -1;
		struct custody_msg m = { .op = CUSTODY_OP_PROMOTE, .id = 1, .label = "tp", .body = BUF_EMPTY };

		CU_ASSERT_EQUAL(make("tp", KS_SLOT_ACTIVE, 2048, a), 0);
		CU_ASSERT_EQUAL(make("tp", KS_SLOT_SHADOW, 2048, b), 0);
		strcpy(m.spki, b);
		CU_ASSERT_EQUAL(custody_connect(keyd.socket, &fd, NULL), 0);
		CU_ASSERT_EQUAL(custody_msg_send(fd, &m, NULL), 0);
		keyd_signal(&keyd, SIGKILL);
		auto_fd(&fd);
		CU_ASSERT_TRUE(keyd_start(&keyd));
		CU_ASSERT_EQUAL(ks_promote(ks, "tp", b, NULL), 0);
		CU_ASSERT_TRUE(slot_is(KS_SLOT_ACTIVE, b));
		CU_ASSERT_TRUE(slot_is(KS_SLOT_PREVIOUS, a));
		CU_ASSERT_EQUAL(ks_delete(ks, "tp", NULL, NULL), 0);
	}
}

static CU_TestInfo tests[] = {
	{ "a key is made once, found and destroyed", test_generate },
	{ "what is refused", test_refused },
	{ "2048, 3072 and 4096 bits", test_sizes },
	{ "promotion: shadow, active, previous, gone", test_promote },
	{ "decryption gives the text back", test_decrypt },
	{ "signatures of both paddings, with each digest", test_signatures },
	{ "OAEP, with each digest, another in MGF1, a label", test_oaep },
	{ "bad padding gives the same false text each time", test_implicit_rejection },
	{ "trivial ciphertexts are nothing special", test_trivial_ciphertexts },
	{ "keys survive the custodian's death", test_restart },
	{ "keys survive a reboot", test_reboot },
	{ "a key that somebody meddled with is restored", test_meddling },
	{ "a promotion cut in two is mended", test_promotion_halfway },
	{ "a promotion under use is not noticed", test_promotion_under_use },
	{ "a promotion under kill is repeated", test_promotion_killed },
	CU_TEST_INFO_NULL,
};

static void test_levels_asked(void)
{
	static const struct ks_spec spec = { .label = "probe", .slot = KS_SLOT_ACTIVE, .bits = 2048, .protection = KS_PROTECTION_KEYRING };
	static const char *const labels[] = { "probe", NULL };
	char spki[KS_SPKI_HEX];

	CU_ASSERT_TRUE(keyd_setup(&keyd, NULL));
	CU_ASSERT_EQUAL(ks_open(keyd.socket, &ks, NULL), 0);
	CU_ASSERT_EQUAL(keyd_make(ks, &spec, spki, NULL), 0); /* a first start takes longer than an answer may, and a key is waited for */
	CU_ASSERT_EQUAL(ks_level(ks, KS_PROTECTION_AUTO, NULL), 0);
	CU_ASSERT_EQUAL(ks_level(ks, KS_PROTECTION_KEYRING, NULL), 0);
	CU_ASSERT_EQUAL(ks_level(ks, KS_PROTECTION_N_, NULL), -EINVAL);
	ks_close(ks);
	ks = NULL;
	CU_ASSERT_EQUAL(keyd_teardown(&keyd, labels), 0);
}

static void test_some_level(void)
{
	CU_ASSERT_TRUE(levels_run > 0);
}

static CU_TestInfo tests_end[] = {
	{ "one level at least was there", test_some_level },
	{ "a level is asked for without a key", test_levels_asked },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = {
	{ "level kernel", setup_kernel, teardown, NULL, NULL, tests },
	{ "level token", setup_token, teardown, NULL, NULL, tests },
	{ "level keyring", setup_keyring, teardown, NULL, NULL, tests },
	{ "levels", NULL, NULL, NULL, NULL, tests_end },
	CU_SUITE_INFO_NULL,
};

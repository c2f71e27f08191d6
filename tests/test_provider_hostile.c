/* What a ciphertext that somebody made up learns from the provider: nothing. OAEP has one failure for all that is secret, RSA key exchange in TLS 1.2
 * fails at Finished whatever was wrong with the premaster secret. And PSS parameters in any order. */
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "common/x509facts.h"
#include "tests/keyd_fixture.h"
#include "tests/test_main.h"

enum { K = 256, PREMASTER = 48 };

static struct keyd keyd;
static struct ks *ks;
static EVP_PKEY *key, *pub; /* the custodian's, and its public half with the default provider */
static X509 *cert;

static X509 *cert_make(void)
{
	AUTO(x509) X509 *x = X509_new();
	AUTO(name) X509_NAME *name = NULL;
	AUTO(asn1_time) ASN1_TIME *nb = NULL;
	AUTO(asn1_time) ASN1_TIME *na = NULL;

	if (!x || x509_name_parse("CN=server,O=Test", &name, NULL) < 0 || asn1_time_from_sec(1700000000, &nb) < 0 || asn1_time_from_sec(1800000000, &na) < 0 ||
	    !X509_set_version(x, X509_VERSION_3) || !ASN1_INTEGER_set(X509_get_serialNumber(x), 7) || !X509_set_subject_name(x, name) ||
	    !X509_set_issuer_name(x, name) || !X509_set1_notBefore(x, nb) || !X509_set1_notAfter(x, na) || !X509_set_pubkey(x, key) ||
	    X509_sign(x, key, EVP_sha256()) <= 0)
		return NULL;
	return TAKE(x);
}

static EVP_PKEY *public_half(void)
{
	AUTO(der) unsigned char *der = NULL;
	int len = i2d_PUBKEY(key, &der);
	const unsigned char *p = der;

	return len > 0 ? d2i_PUBKEY_ex(NULL, &p, len, NULL, "provider=default") : NULL;
}

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
	cert = cert_make();
	pub = public_half();
	return !cert || !pub;
}

static int teardown(void)
{
	static const char *const labels[] = { "tls", NULL };

	X509_free(cert);
	EVP_PKEY_free(pub);
	EVP_PKEY_free(key);
	ks_close(ks);
	return keyd_teardown(&keyd, labels);
}

/* ---- OAEP */

struct oaep {
	const char *why;
	int padding;
	const char *md, *mgf, *label;
};
static const struct oaep good = { "as it should be", RSA_PKCS1_OAEP_PADDING, "SHA256", "SHA256", "label" };

static bool oaep_set(EVP_PKEY_CTX *ctx, const struct oaep *o)
{
	void *own = o->label[0] ? OPENSSL_strdup(o->label) : NULL;

	if (EVP_PKEY_CTX_set_rsa_padding(ctx, o->padding) != 1)
		return false;
	if (o->padding != RSA_PKCS1_OAEP_PADDING)
		return true;
	return EVP_PKEY_CTX_set_rsa_oaep_md_name(ctx, o->md, NULL) == 1 && EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, o->mgf, NULL) == 1 &&
	       (!own || EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, own, (int) strlen(o->label)) == 1); /* takes own */
}

static bool encrypt(const struct oaep *o, const void *text, size_t len, unsigned char cipher[K])
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pub, NULL);
	size_t n = K;

	return ctx && EVP_PKEY_encrypt_init(ctx) == 1 && oaep_set(ctx, o) && EVP_PKEY_encrypt(ctx, cipher, &n, text, len) == 1 && n == K;
}

struct outcome { /* all that a caller sees */
	int ret;
	unsigned long code, more; /* first error, and whether another follows */
	char text[160];
	size_t len;
	unsigned failures; /* ks_failures() */
};

static struct outcome decrypt(const unsigned char *cipher, size_t len, size_t room)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	unsigned char plain[K];
	struct outcome o = { .len = room };
	unsigned before = ks_failures();
	const char *text = "";

	CU_ASSERT_TRUE(ctx && EVP_PKEY_decrypt_init(ctx) == 1 && oaep_set(ctx, &good));
	o.ret = EVP_PKEY_decrypt(ctx, plain, &o.len, cipher, len);
	o.failures = ks_failures() - before;
	o.code = ERR_get_error_all(NULL, NULL, NULL, &text, NULL);
	(void) snprintf(o.text, sizeof(o.text), "%s", o.code ? text : "");
	o.more = ERR_get_error();
	ERR_clear_error();
	return o;
}

static bool same(const struct outcome *a, const struct outcome *b)
{
	return a->ret == b->ret && a->code == b->code && a->more == b->more && a->len == b->len && a->failures == b->failures && strcmp(a->text, b->text) == 0;
}

static void check(const char *why, const struct outcome *got, const struct outcome *want)
{
	if (!same(got, want))
		printf("\n  %s: %d %lx %lx '%s' %zu, wanted %d %lx %lx '%s' %zu ", why, got->ret, got->code, got->more, got->text, got->len, want->ret,
		       want->code,
		       want->more, want->text, want->len);
	CU_ASSERT_TRUE(same(got, want));
}

static void test_oaep(void)
{
	static const struct oaep rows[] = {
		{ "another label", RSA_PKCS1_OAEP_PADDING, "SHA256", "SHA256", "lapel" },
		{ "no label", RSA_PKCS1_OAEP_PADDING, "SHA256", "SHA256", "" },
		{ "another digest", RSA_PKCS1_OAEP_PADDING, "SHA1", "SHA256", "label" },
		{ "another digest of the mask", RSA_PKCS1_OAEP_PADDING, "SHA256", "SHA1", "label" },
		{ "PKCS#1 v1.5", RSA_PKCS1_PADDING, "", "", "" },
	};
	unsigned char cipher[K], random[K];
	struct outcome one, got;

	CU_ASSERT_TRUE(encrypt(&good, "text", 4, cipher));
	got = decrypt(cipher, K, K);
	CU_ASSERT_TRUE(got.ret == 1 && got.len == 4 && got.code == 0);
	CU_ASSERT_EQUAL(RAND_bytes(random, sizeof(random)), 1);
	random[0] = 0;
	one = decrypt(random, K, K);
	CU_ASSERT_TRUE(one.ret != 1 && one.code != 0 && one.more == 0);
	cipher[K - 1] ^= 1;
	got = decrypt(cipher, K, K);
	check("one bit", &got, &one);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CU_ASSERT_TRUE(encrypt(&rows[i], "text", 4, cipher));
		got = decrypt(cipher, K, K);
		check(rows[i].why, &got, &one);
	}
}

/* Lengths of the ciphertext are everybody's to see: the same return and reason, with a text of their own. That of the plaintext is not: too little
 * room is told before, for a long text, a short one and none alike. */
static void test_oaep_lengths(void)
{
	static const char text[190] = "long";
	unsigned char cipher[K + 1] = { 0 }, random[K] = { 0, 1 };
	struct outcome one, got;

	one = decrypt(random, K, K);
	for (size_t len = 0; len <= K + 1; len += len == 0 ? K - 1 : 2) {
		got = decrypt(cipher, len, K);
		CU_ASSERT_TRUE(got.ret == one.ret && got.code == one.code && got.more == one.more);
	}
	one = decrypt(random, K, 20);
	CU_ASSERT_TRUE(one.ret != 1 && one.code != 0);
	CU_ASSERT_TRUE(encrypt(&good, text, 4, cipher));
	got = decrypt(cipher, K, 20);
	check("a short text", &got, &one);
	CU_ASSERT_TRUE(encrypt(&good, text, sizeof(text), cipher));
	got = decrypt(cipher, K, 20);
	check("a long text", &got, &one);
}

/* ---- RSA key exchange: a client in memory whose premaster secret is exchanged on the wire */

struct wire {
	SSL_CTX *cctx, *sctx;
	SSL *client, *server;
	unsigned char flight[4096]; /* the client's second: ClientKeyExchange, ChangeCipherSpec, Finished */
	size_t len;
};

static SSL *side(SSL_CTX *ctx)
{
	SSL *s = ctx ? SSL_new(ctx) : NULL;
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());

	CU_ASSERT_TRUE(s && in && out);
	SSL_set_bio(s, in, out); /* takes them */
	return s;
}

static size_t carry(SSL *from, SSL *to)
{
	unsigned char bytes[8192];
	int n = BIO_read(SSL_get_wbio(from), bytes, sizeof(bytes));

	return n > 0 && BIO_write(SSL_get_rbio(to), bytes, n) == n ? (size_t) n : 0;
}

static bool waits(SSL *s)
{
	int r = SSL_do_handshake(s);

	return r <= 0 && SSL_get_error(s, r) == SSL_ERROR_WANT_READ;
}

static void wire_begin(struct wire *w)
{
	int n;

	*w = (struct wire){ .cctx = SSL_CTX_new(TLS_client_method()), .sctx = SSL_CTX_new(TLS_server_method()) };
	CU_ASSERT_TRUE(SSL_CTX_use_certificate(w->sctx, cert) == 1 && SSL_CTX_use_PrivateKey(w->sctx, key) == 1);
	CU_ASSERT_TRUE(SSL_CTX_set_max_proto_version(w->sctx, TLS1_2_VERSION) == 1 && SSL_CTX_set_cipher_list(w->sctx, "AES128-GCM-SHA256") == 1);
	CU_ASSERT_TRUE(SSL_CTX_set_max_proto_version(w->cctx, TLS1_2_VERSION) == 1 && SSL_CTX_set_cipher_list(w->cctx, "AES128-GCM-SHA256") == 1);
	w->client = side(w->cctx);
	w->server = side(w->sctx);
	SSL_set_connect_state(w->client);
	SSL_set_accept_state(w->server);
	CU_ASSERT_TRUE(waits(w->client) && carry(w->client, w->server) > 0 && waits(w->server) && carry(w->server, w->client) > 0 && waits(w->client));
	n = BIO_read(SSL_get_wbio(w->client), w->flight, sizeof(w->flight));
	w->len = n > 0 ? (size_t) n : 0;
	/* a record of a handshake message, ClientKeyExchange, with one number of K bytes */
	CU_ASSERT_TRUE(w->len > 5 + 4 + 2 + K && w->flight[0] == 22 && w->flight[5] == 16 && w->flight[9] == K / 256);
}

static void wire_end(struct wire *w)
{
	SSL_free(w->client);
	SSL_free(w->server);
	SSL_CTX_free(w->cctx);
	SSL_CTX_free(w->sctx);
	ERR_clear_error();
}

static unsigned char *exchanged(struct wire *w)
{
	return w->flight + 5 + 4 + 2;
}

struct end { /* of a handshake, as the client and an observer see it */
	bool early;	    /* before Finished came */
	int ret;
	unsigned long code; /* of the server's queue */
	unsigned char alert[16];
	int alert_len;
};

/* All but Finished, then Finished. */
static struct end wire_finish(struct wire *w)
{
	size_t head = 5 + 4 + 2 + K + 6; /* ChangeCipherSpec is a record of 6 bytes */
	struct end e = { .early = true };

	CU_ASSERT_EQUAL(BIO_write(SSL_get_rbio(w->server), w->flight, (int) head), (int) head);
	e.early = !waits(w->server) || BIO_pending(SSL_get_wbio(w->server)) != 0;
	CU_ASSERT_EQUAL(BIO_write(SSL_get_rbio(w->server), w->flight + head, (int) (w->len - head)), (int) (w->len - head));
	e.ret = SSL_do_handshake(w->server);
	e.code = ERR_peek_error();
	if (e.ret != 1)
		e.alert_len = BIO_read(SSL_get_wbio(w->server), e.alert, sizeof(e.alert));
	return e;
}

enum wrong { WRONG_NOTHING, WRONG_FINISHED, WRONG_BIT, WRONG_RANDOM, WRONG_VERSION, WRONG_SHORT, WRONG_LONG, WRONG_SECRET, WRONG_OAEP, WRONG_N_ };

static void premaster_put(struct wire *w, unsigned char minor, size_t len, const struct oaep *padding)
{
	unsigned char secret[PREMASTER + 1] = { 3, minor };

	CU_ASSERT_TRUE(RAND_bytes(secret + 2, sizeof(secret) - 2) == 1 && encrypt(padding, secret, len, exchanged(w)));
}

static void wire_spoil(struct wire *w, enum wrong what)
{
	static const struct oaep pkcs1 = { "", RSA_PKCS1_PADDING, "", "", "" };

	switch (what) {
	case WRONG_FINISHED:
		w->flight[w->len - 1] ^= 1;
		return;
	case WRONG_BIT:
		exchanged(w)[K - 1] ^= 1;
		return;
	case WRONG_RANDOM:
		exchanged(w)[0] = 0; /* below the modulus */
		CU_ASSERT_EQUAL(RAND_bytes(exchanged(w) + 1, K - 1), 1);
		return;
	case WRONG_VERSION:
		premaster_put(w, 2, PREMASTER, &pkcs1);
		return;
	case WRONG_SHORT:
		premaster_put(w, 3, PREMASTER - 1, &pkcs1);
		return;
	case WRONG_LONG:
		premaster_put(w, 3, PREMASTER + 1, &pkcs1);
		return;
	case WRONG_SECRET:
		premaster_put(w, 3, PREMASTER, &pkcs1);
		return;
	case WRONG_OAEP:
		premaster_put(w, 3, PREMASTER, &good);
		return;
	case WRONG_NOTHING:
	case WRONG_N_:
		return;
	}
}

static struct end handshake(enum wrong what)
{
	struct wire w;
	struct end e;

	wire_begin(&w);
	wire_spoil(&w, what);
	e = wire_finish(&w);
	wire_end(&w);
	return e;
}

/* RFC 5246 7.4.7.1. A premaster secret that is well made but another one is how it looks when nothing but the secret is wrong. */
static void test_premaster(void)
{
	static const unsigned char bad_record_mac[] = { 21, 3, 3, 0, 2, 2, 20 };
	struct end right = handshake(WRONG_NOTHING), want = handshake(WRONG_SECRET);

	CU_ASSERT_TRUE(!right.early && right.ret == 1);
	CU_ASSERT_TRUE(!want.early && want.ret != 1 && want.code != 0);
	CU_ASSERT_TRUE(want.alert_len == sizeof(bad_record_mac) && memcmp(want.alert, bad_record_mac, sizeof(bad_record_mac)) == 0);
	for (int what = WRONG_FINISHED; what < WRONG_N_; what++) {
		struct end got = handshake((enum wrong) what);

		if (got.early || got.code != want.code)
			printf("\n  wrong %d: early %d, %lx ", what, got.early, got.code);
		CU_ASSERT_TRUE(!got.early && got.ret == want.ret && got.code == want.code);
		CU_ASSERT_TRUE(got.alert_len == want.alert_len && memcmp(got.alert, want.alert, sizeof(got.alert)) == 0);
	}
}

/* ---- PSS */

static int pss_sign(const char *first, const char *first_value, const char *second, const char *second_value, unsigned char sig[K])
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	static const unsigned char digest[32] = { 7 };
	OSSL_PARAM one[] = { OSSL_PARAM_construct_utf8_string(first, (char *) first_value, 0), OSSL_PARAM_construct_end() };
	OSSL_PARAM two[] = { OSSL_PARAM_construct_utf8_string(second, (char *) second_value, 0), OSSL_PARAM_construct_end() };
	size_t len = K;
	int ok = ctx && EVP_PKEY_sign_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
		 EVP_PKEY_CTX_set_params(ctx, one) == 1 &&
		 EVP_PKEY_CTX_set_params(ctx, two) == 1 && EVP_PKEY_sign(ctx, sig, &len, digest, sizeof(digest)) == 1;

	ERR_clear_error();
	return ok;
}

/* By either provider's code, as X.509 tells it: digest, then the mask's. */
static int pss_verify(EVP_PKEY *by, const char *mgf1, const unsigned char sig[K])
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, by, NULL);
	static const unsigned char digest[32] = { 7 };
	int ok = ctx && EVP_PKEY_verify_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
		 EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1 && EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, mgf1, NULL) == 1 &&
		 EVP_PKEY_verify(ctx, sig, K, digest, sizeof(digest)) == 1;

	ERR_clear_error();
	return ok;
}

static void test_pss_order(void)
{
	static const char *const d = OSSL_SIGNATURE_PARAM_DIGEST, *const m = OSSL_SIGNATURE_PARAM_MGF1_DIGEST;
	unsigned char sig[K];

	CU_ASSERT_EQUAL(pss_sign(d, "SHA256", m, "SHA1", sig), 0);
	CU_ASSERT_EQUAL(pss_sign(m, "SHA1", d, "SHA256", sig), 0);
	CU_ASSERT_EQUAL(pss_sign(m, "MD5", d, "SHA256", sig), 0);
	CU_ASSERT_EQUAL(pss_sign(d, "SHA256", m, "SHA256", sig), 1);
	CU_ASSERT_EQUAL(pss_sign(m, "SHA2-256", d, "SHA256", sig), 1);
	CU_ASSERT_EQUAL(pss_verify(pub, "SHA256", sig), 1);
	CU_ASSERT_EQUAL(pss_verify(key, "SHA256", sig), 1);
	CU_ASSERT_EQUAL(pss_verify(pub, "SHA1", sig), 0);
	CU_ASSERT_EQUAL(pss_verify(key, "SHA1", sig), 0);
}

static CU_TestInfo tests[] = {
	{ "whatever is wrong with an OAEP ciphertext is one failure", test_oaep },
	{ "too little room says nothing of a plaintext's length", test_oaep_lengths },
	{ "whatever is wrong with a premaster secret shows at Finished alone", test_premaster },
	{ "PSS signs with one digest, whichever parameter comes first", test_pss_order },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "hostile ciphertexts", setup, teardown, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

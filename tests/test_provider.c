/* OpenSSL programs use a key that they never see: requests, certificates, CMS, TLS, with keyroll-keyd running beside. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "common/auto_ssl.h"
#include "common/fs.h"
#include "common/x509facts.h"
#include "keystore/keyuri.h"
#include "tests/keyd_fixture.h"
#include "tests/test_main.h"

#define NB 1700000000
#define NA 1800000000

static struct keyd keyd;
static struct ks *ks;
static EVP_PKEY *key;
static X509 *cert;
static char spki[KS_SPKI_HEX];

static X509 *cert_make(EVP_PKEY *k, const EVP_MD *md)
{
	AUTO(x509) X509 *x = X509_new();
	AUTO(name) X509_NAME *name = NULL;
	AUTO(asn1_time) ASN1_TIME *nb = NULL;
	AUTO(asn1_time) ASN1_TIME *na = NULL;

	if (!x || x509_name_parse("CN=spoke-1,O=Test", &name, NULL) < 0 || asn1_time_from_sec(NB, &nb) < 0 || asn1_time_from_sec(NA, &na) < 0 ||
	    !X509_set_version(x, X509_VERSION_3) || !ASN1_INTEGER_set(X509_get_serialNumber(x), 7) || !X509_set_subject_name(x, name) ||
	    !X509_set_issuer_name(x, name) || !X509_set1_notBefore(x, nb) || !X509_set1_notAfter(x, na) || !X509_set_pubkey(x, k) || X509_sign(x, k, md) <= 0)
		return NULL;
	return TAKE(x);
}

static int setup(void)
{
	static const struct ks_spec spec = { .label = "tls", .slot = KS_SLOT_ACTIVE, .bits = 2048 };
	struct err e = { .code = 0 };

	if (!keyd_setup(&keyd, NULL) || ks_open(keyd.socket, &ks, &e) < 0 || keyd_make(ks, &spec, spki, &e) < 0 ||
	    ks_load(ks, "tls", KS_SLOT_ACTIVE, NULL, &key, NULL, &e) < 0) {
		fprintf(stderr, "setup: %s\n", e.text);
		return 1;
	}
	cert = cert_make(key, EVP_sha256());
	if (!cert)
		ERR_print_errors_fp(stderr);
	return cert == NULL;
}

static int teardown(void)
{
	static const char *const labels[] = { "tls", NULL };

	X509_free(cert);
	EVP_PKEY_free(key);
	ks_close(ks);
	return keyd_teardown(&keyd, labels);
}

static void test_csr(void)
{
	AUTO(req) X509_REQ *req = X509_REQ_new();

	CU_ASSERT_EQUAL(X509_REQ_set_pubkey(req, key), 1);
	CU_ASSERT_TRUE(X509_REQ_sign(req, key, EVP_sha256()) > 0);
	CU_ASSERT_EQUAL(X509_REQ_verify(req, key), 1);
	CU_ASSERT_EQUAL(X509_REQ_check_private_key(req, key), 1);
}

static void test_cert(void)
{
	AUTO(pkey) EVP_PKEY *pub = X509_get_pubkey(cert);
	AUTO(x509) X509 *sha512 = cert_make(key, EVP_sha512());

	CU_ASSERT_EQUAL(X509_verify(cert, pub), 1);
	CU_ASSERT_EQUAL(X509_check_private_key(cert, key), 1);
	CU_ASSERT_PTR_NOT_NULL(sha512);
	if (sha512)
		CU_ASSERT_EQUAL(X509_verify(sha512, pub), 1);
}

static void test_other_key(void)
{
	AUTO(pkey) EVP_PKEY *other = EVP_RSA_gen(2048);

	CU_ASSERT_NOT_EQUAL(X509_check_private_key(cert, other), 1);
	ERR_clear_error();
	CU_ASSERT_NOT_EQUAL(X509_verify(cert, other), 1);
	ERR_clear_error();
}

static void test_pss_cert(void)
{
	AUTO(pkey) EVP_PKEY *pub = X509_get_pubkey(cert);
	AUTO(x509) X509 *x = X509_dup(cert);
	AUTO(md_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx = NULL;

	CU_ASSERT_EQUAL(EVP_DigestSignInit(ctx, &pctx, EVP_sha384(), NULL, key), 1);
	CU_ASSERT_EQUAL(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING), 1);
	CU_ASSERT_EQUAL(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST), 1);
	CU_ASSERT_TRUE(X509_sign_ctx(x, ctx) > 0);
	CU_ASSERT_EQUAL(X509_get_signature_nid(x), NID_rsassaPss);
	CU_ASSERT_EQUAL(X509_verify(x, pub), 1);
}

static void test_cms_sign(void)
{
	AUTO(bio) BIO *in = BIO_new_mem_buf("content", 7);
	AUTO(bio) BIO *out = BIO_new(BIO_s_mem());
	AUTO(cms) CMS_ContentInfo *cms = CMS_sign(cert, key, NULL, in, CMS_BINARY);

	CU_ASSERT_PTR_NOT_NULL(cms);
	if (!cms) {
		ERR_print_errors_fp(stderr);
		return;
	}
	CU_ASSERT_EQUAL(CMS_verify(cms, NULL, NULL, NULL, out, CMS_NO_SIGNER_CERT_VERIFY), 1);
}

static CMS_ContentInfo *envelope(void)
{
	AUTO(bio) BIO *in = BIO_new_mem_buf("content", 7);
	STACK_OF(X509) *to = sk_X509_new_null();
	CMS_ContentInfo *cms;

	if (!to || !sk_X509_push(to, cert)) {
		sk_X509_free(to);
		return NULL;
	}
	cms = CMS_encrypt(to, in, EVP_aes_128_cbc(), CMS_BINARY);
	sk_X509_free(to);
	return cms;
}

static void test_cms_decrypt(void)
{
	AUTO(cms) CMS_ContentInfo *cms = envelope();
	AUTO(bio) BIO *out = BIO_new(BIO_s_mem());
	char text[16] = "";

	CU_ASSERT_PTR_NOT_NULL(cms);
	CU_ASSERT_EQUAL(CMS_decrypt(cms, key, cert, NULL, out, 0), 1);
	CU_ASSERT_EQUAL(BIO_read(out, text, sizeof(text)), 7);
	CU_ASSERT_EQUAL(memcmp(text, "content", 7), 0);
}

/* The message with one byte flipped: in the wrapped key (whose padding is then bad), or at the end of the body. */
static CMS_ContentInfo *envelope_broken(bool wrapped_key)
{
	static const unsigned char wrapped_head[] = { 0x04, 0x82, 0x01, 0x00 }; /* OCTET STRING of 256 bytes */
	AUTO(cms) CMS_ContentInfo *cms = envelope();
	AUTO(der) unsigned char *der = NULL;
	int len = cms ? i2d_CMS_ContentInfo(cms, &der) : -1;
	unsigned char *at = len > 0 ? memmem(der, (size_t) len, wrapped_head, sizeof(wrapped_head)) : NULL;
	const unsigned char *p = der;

	if (!at)
		return NULL;
	*(wrapped_key ? at + 100 : der + len - 1) ^= 1;
	return d2i_CMS_ContentInfo(NULL, &p, len);
}

static unsigned long broken_reason(bool wrapped_key)
{
	AUTO(cms) CMS_ContentInfo *cms = envelope_broken(wrapped_key);
	AUTO(bio) BIO *out = BIO_new(BIO_s_mem());
	unsigned long reason = 0;

	CU_ASSERT_PTR_NOT_NULL(cms);
	if (CMS_decrypt(cms, key, cert, NULL, out, 0) != 1)
		reason = ERR_peek_error();
	ERR_clear_error();
	return reason;
}

/* Bleichenbacher's question must get no answer: a broken wrapped key looks like a broken body. One in 256 of either decrypts into nonsense. */
static void test_no_oracle(void)
{
	unsigned long body = 0;

	for (int i = 0; body == 0 && i < 8; i++)
		body = broken_reason(false);
	CU_ASSERT_NOT_EQUAL(body, 0);
	for (int i = 0; i < 20; i++) {
		unsigned long wrapped = broken_reason(true);

		CU_ASSERT_TRUE(wrapped == body || wrapped == 0);
	}
}

static void test_raw_decrypt(void)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	unsigned char bad[256], one[256], two[256];
	size_t len1 = sizeof(one), len2 = sizeof(two);

	CU_ASSERT_EQUAL(RAND_bytes(bad, sizeof(bad)), 1);
	bad[0] = 0;
	CU_ASSERT_EQUAL(EVP_PKEY_decrypt_init(ctx), 1);
	CU_ASSERT_EQUAL(EVP_PKEY_decrypt(ctx, one, &len1, bad, sizeof(bad)), 1);
	CU_ASSERT_EQUAL(EVP_PKEY_decrypt(ctx, two, &len2, bad, sizeof(bad)), 1);
	CU_ASSERT_EQUAL(len1, len2);
	CU_ASSERT_EQUAL(memcmp(one, two, len1), 0);
	CU_ASSERT_TRUE(len1 <= 256 - 11);
	bad[255] ^= 1;
	len2 = sizeof(two);
	CU_ASSERT_EQUAL(EVP_PKEY_decrypt(ctx, two, &len2, bad, sizeof(bad)), 1);
	CU_ASSERT_TRUE(len1 != len2 || memcmp(one, two, len1) != 0);
}

static void test_private_half_stays(void)
{
	AUTO(bn) BIGNUM *d = NULL;
	AUTO(bio) BIO *out = BIO_new(BIO_s_mem());

	CU_ASSERT_EQUAL(EVP_PKEY_get_bn_param(key, "d", &d), 0);
	CU_ASSERT_EQUAL(PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 0);
	ERR_clear_error();
}

/* ---- TLS in memory */

static int ssl_pump(SSL *client, SSL *server)
{
	for (int i = 0; i < 20; i++) {
		int c = SSL_do_handshake(client), s = SSL_do_handshake(server);

		if (c == 1 && s == 1)
			return 1;
		if ((c != 1 && SSL_get_error(client, c) != SSL_ERROR_WANT_READ) || (s != 1 && SSL_get_error(server, s) != SSL_ERROR_WANT_READ))
			break;
	}
	ERR_print_errors_fp(stderr);
	return 0;
}

static void ssl_join(SSL *client, SSL *server)
{
	BIO *a = NULL, *b = NULL;

	CU_ASSERT_EQUAL(BIO_new_bio_pair(&a, 0, &b, 0), 1);
	SSL_set_bio(client, a, a); /* takes it */
	SSL_set_bio(server, b, b);
	SSL_set_connect_state(client);
	SSL_set_accept_state(server);
}

static void handshake(EVP_PKEY *k, int version, const char *ciphers)
{
	SSL_CTX *cctx = SSL_CTX_new(TLS_client_method()), *sctx = SSL_CTX_new(TLS_server_method());
	SSL *client, *server;

	CU_ASSERT_EQUAL(SSL_CTX_use_certificate(sctx, cert), 1);
	CU_ASSERT_EQUAL(SSL_CTX_use_PrivateKey(sctx, k), 1);
	CU_ASSERT_EQUAL(SSL_CTX_set_min_proto_version(sctx, version) && SSL_CTX_set_max_proto_version(sctx, version), 1);
	CU_ASSERT_TRUE(!ciphers || SSL_CTX_set_cipher_list(sctx, ciphers) == 1);
	client = SSL_new(cctx);
	server = SSL_new(sctx);
	ssl_join(client, server);
	CU_ASSERT_EQUAL(ssl_pump(client, server), 1);
	CU_ASSERT_EQUAL(SSL_version(client), version);
	SSL_free(client);
	SSL_free(server);
	SSL_CTX_free(cctx);
	SSL_CTX_free(sctx);
}

static void test_tls12(void)
{
	handshake(key, TLS1_2_VERSION, NULL);
}

static void test_tls12_rsa(void)
{
	handshake(key, TLS1_2_VERSION, "AES128-GCM-SHA256"); /* RSA key exchange: the premaster secret is decrypted */
}

static void test_tls13(void)
{
	handshake(key, TLS1_3_VERSION, NULL);
}

/* As any OpenSSL program: no property query, the URI alone. */
static EVP_PKEY *uri_load(const char *name, const char *wanted)
{
	AUTO(mem) char *uri = NULL;
	AUTO(uri_store) OSSL_STORE_CTX *store = NULL;
	OSSL_STORE_INFO *info;
	EVP_PKEY *k;

	if (asprintf(&uri, "keyroll:%s?%s%s%ssocket=%s", name, *wanted ? "spki=" : "", wanted, *wanted ? "&" : "", keyd.socket) < 0)
		return NULL;
	store = OSSL_STORE_open(uri, NULL, NULL, NULL, NULL);
	info = store ? OSSL_STORE_load(store) : NULL;
	k = info ? OSSL_STORE_INFO_get1_PKEY(info) : NULL;
	OSSL_STORE_INFO_free(info);
	return k;
}

static void test_uri(void)
{
	AUTO(pkey) EVP_PKEY *by_spki = uri_load("//tls", spki);
	AUTO(pkey) EVP_PKEY *by_slot = uri_load("//tls", "");
	AUTO(pkey) EVP_PKEY *by_object = uri_load("object=tls", "");
	AUTO(pkey) EVP_PKEY *by_name = uri_load("tls", "");
	AUTO(pkey) EVP_PKEY *absent = uri_load("//tls/shadow", "");
	AUTO(pkey) EVP_PKEY *nonsense = uri_load("//tls/nonsense", "");

	ERR_clear_error();
	CU_ASSERT_PTR_NOT_NULL(by_spki);
	CU_ASSERT_PTR_NOT_NULL(by_slot);
	CU_ASSERT_PTR_NOT_NULL(by_object);
	CU_ASSERT_PTR_NOT_NULL(by_name);
	CU_ASSERT_PTR_NULL(absent);
	CU_ASSERT_PTR_NULL(nonsense);
	if (by_spki && by_slot) {
		CU_ASSERT_EQUAL(EVP_PKEY_eq(by_spki, by_slot), 1);
		handshake(by_spki, TLS1_3_VERSION, NULL);
	}
}

static void test_uri_shadow(void)
{
	static const struct ks_spec spec = { .label = "tls", .slot = KS_SLOT_SHADOW, .bits = 2048 };
	AUTO(pkey) EVP_PKEY *by_slot = NULL;
	AUTO(pkey) EVP_PKEY *by_spki = NULL;
	char shadow[KS_SPKI_HEX];

	CU_ASSERT_EQUAL(keyd_make(ks, &spec, shadow, NULL), 0);
	by_slot = uri_load("//tls/shadow", "");
	by_spki = uri_load("//tls", shadow);
	CU_ASSERT_TRUE(by_slot && by_spki && EVP_PKEY_eq(by_slot, by_spki) == 1 && EVP_PKEY_eq(by_slot, key) != 1 && keyd_key_works(by_slot));
	CU_ASSERT_EQUAL(ks_delete(ks, "tls", shadow, NULL), 0);
	CU_ASSERT_FALSE(by_slot && keyd_key_works(by_slot));
	ERR_clear_error();
}

/* Signs text by update in two pieces, with a copy of the context taken between them, and verifies both with k. */
static bool signs_in_pieces(EVP_PKEY *k, EVP_PKEY *pub, const unsigned char *text, size_t first, size_t len)
{
	AUTO(md_ctx) EVP_MD_CTX *a = EVP_MD_CTX_new();
	AUTO(md_ctx) EVP_MD_CTX *b = EVP_MD_CTX_new();
	EVP_MD_CTX *both[] = { a, b };

	if (EVP_DigestSignInit(a, NULL, EVP_sha256(), NULL, k) != 1 || EVP_DigestSignUpdate(a, text, first) != 1 || EVP_MD_CTX_copy_ex(b, a) != 1)
		return false;
	for (int i = 0; i < 2; i++) {
		AUTO(md_ctx) EVP_MD_CTX *verify = EVP_MD_CTX_new();
		unsigned char sig[512];
		size_t sig_len = sizeof(sig);

		if (EVP_DigestSignUpdate(both[i], text + first, len - first) != 1 || EVP_DigestSignFinal(both[i], sig, &sig_len) != 1 ||
		    EVP_DigestVerifyInit(verify, NULL, EVP_sha256(), NULL, pub) != 1 || EVP_DigestVerifyUpdate(verify, text, first) != 1 ||
		    EVP_DigestVerifyUpdate(verify, text + first, len - first) != 1 || EVP_DigestVerifyFinal(verify, sig, sig_len) != 1)
			return false;
	}
	return true;
}

/* More than a record holds, and less; in one piece and in two. */
static void test_long_texts(void)
{
	enum { LIMIT = 1024 * 1024, MOST = 3 * LIMIT };
	static const size_t lens[] = { LIMIT - 1, LIMIT, LIMIT + 1, MOST };
	AUTO(der) unsigned char *der = NULL;
	int der_len = i2d_PUBKEY(key, &der);
	const unsigned char *p = der;
	AUTO(pkey) EVP_PKEY *pub = d2i_PUBKEY_ex(NULL, &p, der_len, NULL, "provider=default");
	AUTO(mem) unsigned char *text = malloc(MOST);

	CU_ASSERT_TRUE(pub && text && RAND_bytes(text, MOST) == 1);
	for (size_t i = 0; pub && text && i < sizeof(lens) / sizeof(lens[0]); i++) {
		AUTO(md_ctx) EVP_MD_CTX *sign = EVP_MD_CTX_new();
		AUTO(md_ctx) EVP_MD_CTX *verify = EVP_MD_CTX_new();
		unsigned char sig[512];
		size_t sig_len = 0;

		CU_ASSERT_EQUAL(EVP_DigestSignInit(sign, NULL, EVP_sha256(), NULL, key), 1);
		CU_ASSERT_EQUAL(EVP_DigestSign(sign, NULL, &sig_len, text, lens[i]), 1);
		CU_ASSERT_EQUAL(EVP_DigestSign(sign, sig, &sig_len, text, lens[i]), 1);
		CU_ASSERT_EQUAL(EVP_DigestVerifyInit_ex(verify, NULL, "SHA256", NULL, "provider=default", pub, NULL), 1);
		CU_ASSERT_EQUAL(EVP_DigestVerify(verify, sig, sig_len, text, lens[i]), 1);
		CU_ASSERT_TRUE(signs_in_pieces(key, pub, text, 1000, lens[i]));
		CU_ASSERT_TRUE(signs_in_pieces(key, key, text, lens[i] - 1, lens[i]));
	}
}

static EVP_PKEY *pem_load(const char *before, const char *uri)
{
	AUTO(buf) struct buf pem = BUF_EMPTY;
	AUTO(bio) BIO *in = NULL;

	if (buf_set(&pem, before, strlen(before)) < 0 || keyuri_pem_build(uri, &pem) < 0)
		return NULL;
	in = BIO_new_mem_buf(pem.data, (int) pem.len);
	return PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
}

/* As programs read a key file, alone or behind another block in the same file. */
static void test_pem(void)
{
	AUTO(mem) char *uri = NULL;
	AUTO(pkey) EVP_PKEY *alone = NULL;
	AUTO(pkey) EVP_PKEY *behind = NULL;
	AUTO(pkey) EVP_PKEY *absent = NULL;

	CU_ASSERT_TRUE(asprintf(&uri, "keyroll://tls?spki=%s&socket=%s", spki, keyd.socket) > 0);
	alone = pem_load("", uri);
	behind = pem_load("-----BEGIN NOTHING-----\nMAA=\n-----END NOTHING-----\n", uri);
	absent = pem_load("", "keyroll://nobody");
	ERR_clear_error();
	CU_ASSERT_PTR_NULL(absent);
	CU_ASSERT_TRUE(alone && keyd_key_works(alone));
	CU_ASSERT_TRUE(behind && keyd_key_works(behind));
}

static void test_fork(void)
{
	pid_t pid = fork();
	int status = 1;

	if (pid == 0)
		_exit(!keyd_key_works(key));
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_EQUAL(status, 0);
	CU_ASSERT_TRUE(keyd_key_works(key));
}

enum { THREADS = 8 };

static void *sign_often(void *arg)
{
	for (int i = 0; i < 10; i++)
		if (!keyd_key_works(key))
			*(bool *) arg = false;
	return NULL;
}

static void test_threads(void)
{
	pthread_t t[THREADS];
	bool ok[THREADS];

	for (int i = 0; i < THREADS; i++) {
		ok[i] = true;
		CU_ASSERT_EQUAL(pthread_create(&t[i], NULL, sign_often, &ok[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		CU_ASSERT_EQUAL(pthread_join(t[i], NULL), 0);
		CU_ASSERT_TRUE(ok[i]);
	}
}

enum { HANDLES = 200, CONNECTIONS = 8 };

static int descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		(void) closedir(d);
	return n;
}

/* A server of many names has a handle for each. */
static void test_many(void)
{
	EVP_PKEY *handles[HANDLES] = { NULL };
	int before = descriptors();

	CU_ASSERT_TRUE(before > 0);
	for (int i = 0; i < HANDLES; i++)
		CU_ASSERT_EQUAL(ks_load(ks, "tls", KS_SLOT_ACTIVE, NULL, &handles[i], NULL, NULL), 0);
	for (int i = 0; i < HANDLES; i++) {
		CU_ASSERT_TRUE(handles[i] && keyd_key_works(handles[i]));
		CU_ASSERT_TRUE(descriptors() <= before + CONNECTIONS);
	}
	for (int i = 0; i < HANDLES; i++)
		EVP_PKEY_free(handles[i]);
}

static void test_restart(void)
{
	keyd_signal(&keyd, SIGKILL);
	CU_ASSERT_TRUE(keyd_start(&keyd));
	CU_ASSERT_TRUE(keyd_key_works(key));
}

static volatile sig_atomic_t ticks;

static void tick(int sig)
{
	(void) sig;
	ticks++;
}

/* As servers do, for their timers and children. */
static void test_signals(void)
{
	static const struct itimerval often = { .it_interval = { .tv_usec = 2000 }, .it_value = { .tv_usec = 2000 } }, never = { .it_value = { 0 } };
	static const int flags[] = { 0, SA_RESTART };

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		struct sigaction catch = { .sa_handler = tick, .sa_flags = flags[i] }, before;
		int failed = 0;

		ticks = 0;
		CU_ASSERT_EQUAL(sigaction(SIGALRM, &catch, &before), 0);
		CU_ASSERT_EQUAL(setitimer(ITIMER_REAL, &often, NULL), 0);
		for (int n = 0; n < 50; n++)
			failed += !keyd_key_works(key);
		CU_ASSERT_EQUAL(setitimer(ITIMER_REAL, &never, NULL), 0);
		CU_ASSERT_EQUAL(sigaction(SIGALRM, &before, NULL), 0);
		CU_ASSERT_EQUAL(failed, 0);
		CU_ASSERT_TRUE(ticks > 0);
	}
}

#ifndef __SANITIZE_ADDRESS__ /* the openssl command has no sanitizer, so it cannot load the module then */
static bool openssl_conf_write(const char *path, const char *module)
{
	AUTO(mem) char *text = NULL;

	return asprintf(&text,
			"openssl_conf = i\n[i]\nproviders = p\n[p]\ndefault = d\nkeyroll = k\n[d]\nactivate = 1\n[k]\nmodule = %s\nsocket = %s\nactivate = 1\n",
			module, keyd.socket) > 0 &&
	       fs_write(path, text, strlen(text), 0644, NULL) == 0;
}

static bool key_pem_write(void)
{
	AUTO(buf) struct buf pem = BUF_EMPTY;
	AUTO(mem) char *path = NULL;

	return asprintf(&path, "%s/key.pem", keyd.root) > 0 && keyuri_pem_build("keyroll://tls", &pem) == 0 &&
	       fs_write(path, pem.data, pem.len, 0644, NULL) == 0;
}

/* The command line as an operator types it, with the module and its socket= from openssl.cnf. */
static void test_openssl_command(void)
{
	static const char *const lines[] = {
		"openssl req -new -x509 -key keyroll://tls -subj /CN=web -days 3 -out cert.pem",
		"openssl dgst -sha256 -sign 'keyroll://tls?spki='\"$SPKI\" -out sig cert.pem",
		"openssl x509 -in cert.pem -noout -pubkey >pub.pem && openssl dgst -sha256 -verify pub.pem -signature sig cert.pem",
		"openssl cms -encrypt -in pub.pem -out mail cert.pem && openssl cms -decrypt -in mail -inkey keyroll://tls -recip cert.pem >plain",
		"echo text >text && openssl pkeyutl -encrypt -pubin -inkey pub.pem -in text -out oaep "
		"-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 && "
		"openssl pkeyutl -decrypt -inkey keyroll://tls -in oaep -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 | cmp - text && "
		"! openssl pkeyutl -decrypt -inkey keyroll://tls -in oaep -pkeyopt rsa_padding_mode:oaep",
		"openssl cms -encrypt -in text -out mail2 -recip cert.pem -keyopt rsa_padding_mode:oaep && "
		"openssl cms -decrypt -in mail2 -inkey key.pem -recip cert.pem | grep -q text",
		"openssl pkey -in key.pem -pubout -out by-file.pem && cmp by-file.pem pub.pem", /* through the file: store */
		"openssl genrsa -out own.pem 2048 && openssl rsa -in own.pem -check -noout", /* other keys are not disturbed */
		"! openssl pkey -in keyroll://tls -out leak.pem && ! test -s leak.pem",
	};
	const char *build = getenv("top_builddir");
	AUTO(mem) char *module = NULL;
	AUTO(mem) char *here = realpath(build ? build : ".", NULL);
	AUTO(mem) char *conf = NULL;

	CU_ASSERT_TRUE(asprintf(&module, "%s/.libs/keyroll.so", here) > 0 && asprintf(&conf, "%s/openssl.cnf", keyd.root) > 0);
	CU_ASSERT_TRUE(openssl_conf_write(conf, module));
	CU_ASSERT_TRUE(key_pem_write());
	CU_ASSERT_EQUAL(setenv("OPENSSL_CONF", conf, 1), 0);
	CU_ASSERT_EQUAL(setenv("SPKI", spki, 1), 0);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		AUTO(mem) char *line = NULL;

		CU_ASSERT_TRUE(asprintf(&line, "cd %s && { %s; } >>log 2>&1 || { cat log; false; }", keyd.root, lines[i]) > 0);
		CU_ASSERT_EQUAL(system(line), 0);
	}
	CU_ASSERT_EQUAL(unsetenv("OPENSSL_CONF"), 0);
}
#endif

static CU_TestInfo tests[] = {
	{ "a request is signed", test_csr },
	{ "a certificate is signed and belongs to the key", test_cert },
	{ "another key does not", test_other_key },
	{ "a certificate is signed with PSS", test_pss_cert },
	{ "CMS is signed", test_cms_sign },
	{ "CMS is decrypted", test_cms_decrypt },
	{ "a broken wrapped key looks like a broken body", test_no_oracle },
	{ "bad padding gives the same false text each time", test_raw_decrypt },
	{ "the private half is not given out", test_private_half_stays },
	{ "TLS 1.2 server", test_tls12 },
	{ "TLS 1.2 server with RSA key exchange", test_tls12_rsa },
	{ "TLS 1.3 server", test_tls13 },
	{ "a URI alone loads the key", test_uri },
	{ "a URI of the shadow loads that", test_uri_shadow },
	{ "texts longer than a record are signed", test_long_texts },
	{ "a key file that holds only the URI loads the key", test_pem },
	{ "a forked child asks by itself", test_fork },
	{ "threads share a handle", test_threads },
	{ "200 handles share a few connections", test_many },
	{ "a program that catches signals signs all the same", test_signals },
	{ "a handle outlives the custodian", test_restart },
#ifndef __SANITIZE_ADDRESS__
	{ "the openssl command uses the key", test_openssl_command },
#endif
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "keys in use", setup, teardown, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

/* Private operations a second through the whole path: provider, socket, custodian, key. One line for each figure:
 * LEVEL KEEP-PARSED BITS OPERATION CLIENTS PER-SECOND. `bench_sign SECONDS BITS...` measures each for that long (0.1 is enough to see that it works),
 * PSS and decryption with the first size alone; where a level is not to be had, a line "# LEVEL BITS: why not". KEYROLL_TOKEN_PROVIDER: level token
 * too, by that provider. */
#include <errno.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/auto_ssl.h"
#include "tests/keyd_fixture.h"

#define LABEL "bench"

enum op { OP_PKCS1, OP_PSS, OP_DECRYPT, OP_N_ };
static const char *const op_names[] = { "sign", "sign-pss", "decrypt" };

enum { CLIENTS_MAX = 64, RSA_BYTES_MAX = 512, SIZES_MAX = 4 };

struct plan {
	double seconds;
	int sizes[SIZES_MAX];
	size_t n;
};

struct run {
	struct ks *ks;
	enum op op;
	double end_sec;
	atomic_bool bad;
};

struct client {
	struct run *run;
	pthread_t thread;
	long done;
	double took_sec;
};

static double now_sec(void)
{
	struct timespec t;

	(void) clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
	return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static bool sign_one(EVP_PKEY *key, enum op op)
{
	static const unsigned char text[] = "what a benchmark signs";
	AUTO(md_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char sig[RSA_BYTES_MAX];
	size_t len = sizeof(sig);
	EVP_PKEY_CTX *pctx = NULL; /* the digest's own */

	return ctx && EVP_DigestSignInit_ex(ctx, &pctx, "SHA256", NULL, NULL, key, NULL) == 1 &&
	       (op != OP_PSS || (EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
				 EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) == 1)) &&
	       EVP_DigestSign(ctx, sig, &len, text, sizeof(text)) == 1;
}

static bool encrypt(EVP_PKEY *key, unsigned char *out, size_t *len)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);

	return ctx && EVP_PKEY_encrypt_init(ctx) == 1 && EVP_PKEY_encrypt(ctx, out, len, (const unsigned char *) "secret", 6) == 1;
}

static bool decrypt_one(EVP_PKEY *key, const unsigned char *cipher, size_t cipher_len)
{
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	unsigned char plain[RSA_BYTES_MAX];
	size_t len = sizeof(plain);

	return ctx && EVP_PKEY_decrypt_init(ctx) == 1 && EVP_PKEY_decrypt(ctx, plain, &len, cipher, cipher_len) == 1 && len == 6 &&
	       memcmp(plain, "secret", 6) == 0;
}

static void *client_run(void *arg)
{
	struct client *c = arg;
	AUTO(pkey) EVP_PKEY *key = NULL;
	unsigned char cipher[RSA_BYTES_MAX];
	size_t len = sizeof(cipher);
	double begin = now_sec();
	bool ok = ks_load(c->run->ks, LABEL, KS_SLOT_ACTIVE, NULL, &key, NULL, NULL) == 0 && encrypt(key, cipher, &len);

	while (ok && now_sec() < c->run->end_sec) {
		ok = c->run->op == OP_DECRYPT ? decrypt_one(key, cipher, len) : sign_one(key, c->run->op);
		c->done += ok;
	}
	c->took_sec = now_sec() - begin;
	if (!ok)
		atomic_store(&c->run->bad, true);
	return NULL;
}

/* Operations a second of n clients together; 0 when one failed. */
static double measure(struct ks *ks, enum op op, int n, double seconds)
{
	struct client clients[CLIENTS_MAX] = { { .run = NULL } };
	struct run run = { .ks = ks, .op = op, .end_sec = now_sec() + seconds };
	double sum = 0;
	int started = 0;

	for (; started < n; started++) {
		clients[started].run = &run;
		if (pthread_create(&clients[started].thread, NULL, client_run, &clients[started]) != 0)
			break;
	}
	for (int i = 0; i < started; i++) {
		(void) pthread_join(clients[i].thread, NULL); /* cannot fail for a thread of ours */
		sum += clients[i].took_sec > 0 ? (double) clients[i].done / clients[i].took_sec : 0;
	}
	return started < n || atomic_load(&run.bad) ? 0 : sum;
}

static int key_measure(struct ks *ks, enum ks_protection level, bool keep, int bits, const struct plan *plan)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	const int counts[] = { 1, cores > CLIENTS_MAX ? CLIENTS_MAX : (int) cores };

	for (int op = 0; op < OP_N_; op++)
		for (size_t i = 0; i < 2; i++) {
			double rate;

			if ((op != OP_PKCS1 && bits != plan->sizes[0]) || (i == 1 && counts[1] <= 1))
				continue;
			rate = measure(ks, (enum op) op, counts[i], plan->seconds);
			(void) printf("%s %s %d %s %d %.1f\n", ks_protection_name(level), keep ? "yes" : "no", bits, op_names[op], counts[i], rate);
			(void) fflush(stdout); /* its reader misses a line that is lost */
			if (rate <= 0)
				return -EIO;
		}
	return 0;
}

static int level_measure(struct ks *ks, enum ks_protection level, bool keep, const struct plan *plan)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->n; i++) {
		const struct ks_spec spec = { .label = LABEL, .slot = KS_SLOT_ACTIVE, .bits = plan->sizes[i], .protection = level };
		struct err e = { .code = 0 };
		char spki[KS_SPKI_HEX];

		r = keyd_make(ks, &spec, spki, &e);
		if (r == -ENOTSUP && level != KS_PROTECTION_KEYRING) {
			(void) printf("# %s %d: %s\n", ks_protection_name(level), plan->sizes[i], err_text(&e, r));
			r = 0;
			continue;
		}
		if (r < 0) {
			(void) fprintf(stderr, "bench_sign: %s\n", err_text(&e, r));
			return r;
		}
		r = key_measure(ks, level, keep, plan->sizes[i], plan);
		if (ks_delete(ks, LABEL, NULL, &e) < 0)
			r = e.code;
	}
	return r;
}

/* One custodian, with or without KeepParsed, which only level keyring knows. */
static int custodian_measure(bool keep, const struct plan *plan)
{
	static const char *const labels[] = { LABEL, NULL };
	struct keyd keyd;
	struct ks *ks = NULL;
	struct err e = { .code = 0 };
	const char *provider = getenv("KEYROLL_TOKEN_PROVIDER");
	char conf[128];
	int r;

	(void) snprintf(conf, sizeof(conf), "[Keyd]\nKeepParsed=%s\n%s%s\n", keep ? "yes" : "no", provider ? "[Token]\nProvider=" : "",
			provider ? provider : "");
	r = keyd_setup(&keyd, conf) ? ks_open(keyd.socket, &ks, &e) : -EIO;

	if (r == 0)
		r = level_measure(ks, KS_PROTECTION_KEYRING, keep, plan);
	if (r == 0 && !keep)
		r = level_measure(ks, KS_PROTECTION_KERNEL, keep, plan);
	if (r == 0 && !keep && provider)
		r = level_measure(ks, KS_PROTECTION_TOKEN, keep, plan);
	if (ks)
		ks_close(ks);
	return keyd_teardown(&keyd, labels) != 0 && r == 0 ? -EIO : r;
}

static bool plan_parse(int argc, char **argv, struct plan *ret)
{
	if (argc < 3 || argc - 2 > SIZES_MAX)
		return false;
	ret->seconds = strtod(argv[1], NULL);
	for (int i = 2; i < argc; i++)
		ret->sizes[ret->n++] = atoi(argv[i]); /* what is no size, the custodian refuses */
	return ret->seconds > 0 && ret->seconds <= 600;
}

int main(int argc, char **argv)
{
	struct plan plan = { .n = 0 };
	int r;

	if (!plan_parse(argc, argv, &plan)) {
		(void) fputs("usage: bench_sign SECONDS BITS...\n", stderr); /* a terminal that is gone */
		return 2;
	}
	r = custodian_measure(false, &plan);
	if (r == 0)
		r = custodian_measure(true, &plan);
	if (r < 0)
		(void) fprintf(stderr, "bench_sign: %s\n", strerror(-r)); /* as above */
	return r < 0;
}

/* Unpadding takes as long for a text that is well padded as for one that is not, whatever is wrong with it: both are measured in turn and compared by
 * Welch's t, as dudect does. Careless twins must be told apart by the same measure. What is too small for a clock, tests/secrets.sh finds. */
#include <math.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "keystore/pad.h"
#include "tests/test_main.h"

/* Of the one as of the other |t| is below 4, of the twins above 300. A machine that is busy with other things may make it larger once, not five times. */
enum { K = 256, BLOCKS = 64, MEASURED = 8000, TRIES = 5, T_MAX = 10, VERSION = 0x0303, TLS_AT = K - PAD_PREMASTER_BYTES, TLS_EACH = 16 };

struct kind {
	const char *why;
	void (*open)(const uint8_t em[K]);
	void (*fill)(uint8_t em[K]);
	void (*spoil)(uint8_t em[K]);
};

enum { GOOD, BAD, CLASSES };

static struct times { /* in nanoseconds */
	double ns[MEASURED];
	size_t n;
} times[CLASSES];
static uint8_t blocks[CLASSES][BLOCKS][K];
static const uint8_t reject_key[PAD_REJECT_BYTES] = { 1 }, cipher[K] = { 2 }, other_premaster[PAD_PREMASTER_BYTES];
static uint8_t out[K];
static volatile size_t seen; /* so that the compiler leaves nothing out */

/* ---- blocks */

/* Padding that does not end. */
static void fill(uint8_t block[K])
{
	CU_ASSERT_EQUAL(RAND_bytes(block, K), 1);
	for (size_t i = 0; i < K; i++)
		block[i] |= block[i] == 0;
	block[0] = 0;
	block[1] = 2;
}

/* The text begins anywhere. */
static void fill_pkcs1(uint8_t block[K])
{
	uint8_t at;

	fill(block);
	CU_ASSERT_EQUAL(RAND_bytes(&at, 1), 1);
	block[10 + at % (K - 10)] = 0;
}

static void fill_tls(uint8_t block[K])
{
	fill(block);
	block[TLS_AT - 1] = 0;
	block[TLS_AT] = VERSION >> 8;
	block[TLS_AT + 1] = VERSION & 0xff;
}

static void spoil_none(uint8_t block[K])
{
	(void) block;
}

static void spoil_first(uint8_t block[K])
{
	block[0] = 1;
}

static void spoil_type(uint8_t block[K])
{
	block[1] = 1;
}

static void spoil_early(uint8_t block[K])
{
	block[5] = 0;
}

static void spoil_no_end(uint8_t block[K])
{
	for (size_t i = 2; i < K; i++)
		block[i] |= block[i] == 0;
}

static void spoil_version(uint8_t block[K])
{
	block[TLS_AT] ^= 4;
}

/* ---- what is measured */

static void open_pkcs1(const uint8_t em[K])
{
	size_t len = 0;

	seen += (size_t) pad_pkcs1_open(em, K, reject_key, cipher, out, &len) + len;
}

static void tls_once(const uint8_t em[K])
{
	seen += (size_t) pad_tls_open(em, K, VERSION, 0, other_premaster, out);
}

static void open_tls(const uint8_t em[K])
{
	for (int i = 0; i < TLS_EACH; i++) /* one is over before the clock has moved */
		tls_once(em);
}

/* Makes no false text where none is needed. */
static void open_pkcs1_careless(const uint8_t em[K])
{
	if (em[0] == 0)
		seen += em[1];
	else
		open_pkcs1(em);
}

/* Looks for the end of the padding, and no further. */
static void open_tls_careless(const uint8_t em[K])
{
	for (int i = 0; i < TLS_EACH; i++) {
		size_t at = 2;

		while (at < K && em[at] != 0)
			at++;
		seen += at;
		tls_once(em);
	}
}

/* ---- the measure */

static int64_t now_ns(void)
{
	struct timespec t;

	(void) clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void blocks_make(const struct kind *kind)
{
	for (size_t i = 0; i < BLOCKS; i++) {
		kind->fill(blocks[GOOD][i]);
		kind->fill(blocks[BAD][i]);
		kind->spoil(blocks[BAD][i]);
	}
}

/* Which comes next is drawn; each is measured at the same place. */
static void times_take(const struct kind *kind)
{
	static uint8_t drawn[CLASSES * MEASURED][2];
	uint8_t em[K];

	CU_ASSERT_EQUAL(RAND_bytes(drawn[0], sizeof(drawn)), 1);
	times[GOOD].n = times[BAD].n = 0;
	for (size_t i = 0; times[GOOD].n < MEASURED && times[BAD].n < MEASURED; i++) {
		struct times *t = &times[drawn[i][0] % CLASSES];
		int64_t from;

		memcpy(em, blocks[drawn[i][0] % CLASSES][drawn[i][1] % BLOCKS], K);
		from = now_ns();
		kind->open(em);
		t->ns[t->n++] = (double) (now_ns() - from);
	}
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *) a, y = *(const double *) b;

	return (x > y) - (x < y);
}

/* The long ones were interrupted: both classes lose what is above one limit. */
static void times_crop(void)
{
	double limit;

	for (int i = 0; i < CLASSES; i++)
		qsort(times[i].ns, times[i].n, sizeof(times[i].ns[0]), ascending);
	limit = fmax(times[GOOD].ns[times[GOOD].n / 2], times[BAD].ns[times[BAD].n / 2]);
	for (int i = 0; i < CLASSES; i++)
		while (times[i].ns[times[i].n - 1] > limit)
			times[i].n--;
}

static double mean_of(const struct times *t)
{
	double mean = 0;

	for (size_t i = 0; i < t->n; i++)
		mean += t->ns[i] / (double) t->n;
	return mean;
}

/* The square of the mean's own uncertainty. */
static double doubt_of(const struct times *t, double mean)
{
	double squares = 1; /* were they all alike, t would be no number */

	for (size_t i = 0; i < t->n; i++)
		squares += (t->ns[i] - mean) * (t->ns[i] - mean);
	return squares / (double) (t->n - 1) / (double) t->n;
}

static double measure(const struct kind *kind)
{
	double mean[CLASSES];

	blocks_make(kind);
	times_take(kind);
	times_crop();
	for (int i = 0; i < CLASSES; i++)
		mean[i] = mean_of(&times[i]);
	return (mean[GOOD] - mean[BAD]) / sqrt(doubt_of(&times[GOOD], mean[GOOD]) + doubt_of(&times[BAD], mean[BAD]));
}

/* Every time. */
static bool told_apart(const struct kind *kind)
{
	for (int i = 0; i < TRIES; i++) {
		double t = measure(kind);

		printf("\n    %s: t = %.1f ", kind->why, t);
		if (fabs(t) < T_MAX)
			return false;
	}
	return true;
}

static void test_alike(void)
{
	static const struct kind kinds[] = {
		{ "two good ones", open_pkcs1, fill_pkcs1, spoil_none },
		{ "first byte", open_pkcs1, fill_pkcs1, spoil_first },
		{ "type", open_pkcs1, fill_pkcs1, spoil_type },
		{ "padding too short", open_pkcs1, fill_pkcs1, spoil_early },
		{ "no end", open_pkcs1, fill_pkcs1, spoil_no_end },
		{ "TLS, two good ones", open_tls, fill_tls, spoil_none },
		{ "TLS, first byte", open_tls, fill_tls, spoil_first },
		{ "TLS, type", open_tls, fill_tls, spoil_type },
		{ "TLS, an end too early", open_tls, fill_tls, spoil_early },
		{ "TLS, no end", open_tls, fill_tls, spoil_no_end },
		{ "TLS, version", open_tls, fill_tls, spoil_version },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		CU_ASSERT_FALSE(told_apart(&kinds[i]));
}

static void test_careless(void)
{
	static const struct kind kinds[] = {
		{ "no false text for a good one", open_pkcs1_careless, fill_pkcs1, spoil_first },
		{ "TLS, looking for the end", open_tls_careless, fill_tls, spoil_early },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		CU_ASSERT_TRUE(told_apart(&kinds[i]));
}

static CU_TestInfo tests[] = {
	{ "good and bad padding take alike", test_alike },
	{ "careless twins do not", test_careless },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "the time of unpadding", NULL, NULL, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

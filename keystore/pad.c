/* RSA paddings: see pad.h. The decoding half has no branch and no index that depends on the padded text. */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <string.h>

#include "keystore/pad.h"

#define PKCS1_OVERHEAD 11 /* 00 02, eight bytes of padding, 00 */

struct digest_info { /* DER before the digest, RFC 8017 section 9.2 note 1 */
	const char *name;
	uint8_t prefix[19];
	size_t len;
};

static const struct digest_info digest_infos[] = {
	{ "SHA1", { 0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14 }, 15 },
	{ "SHA224", { 0x30, 0x2d, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x04, 0x05, 0x00, 0x04, 0x1c }, 19 },
	{ "SHA256", { 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20 }, 19 },
	{ "SHA384", { 0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0x04, 0x30 }, 19 },
	{ "SHA512", { 0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00, 0x04, 0x40 }, 19 },
};

static const struct digest_info *digest_info_find(const EVP_MD *md)
{
	for (size_t i = 0; md && i < sizeof(digest_infos) / sizeof(digest_infos[0]); i++)
		if (EVP_MD_is_a(md, digest_infos[i].name))
			return &digest_infos[i];
	return NULL;
}

const EVP_MD *pad_digest(const char *name)
{
	const EVP_MD *md = EVP_get_digestbyname(name);

	return digest_info_find(md) ? md : NULL;
}

int pad_pkcs1_sign(const EVP_MD *md, const uint8_t *digest, size_t len, uint8_t *em, size_t k, struct err *reterr)
{
	const struct digest_info *info = digest_info_find(md);
	size_t t_len;

	if (!info || len != (size_t) EVP_MD_get_size(md))
		return err_set(reterr, -EINVAL, "PKCS#1 v1.5 signature: digest of %zu bytes does not fit its name", len);
	t_len = info->len + len;
	if (k > PAD_K_MAX || k < t_len + PKCS1_OVERHEAD)
		return err_set(reterr, -EINVAL, "PKCS#1 v1.5 signature: a key of %zu bytes is too short for this digest (RFC 8017 9.2)", k);
	em[0] = 0x00;
	em[1] = 0x01;
	memset(em + 2, 0xff, k - t_len - 3);
	em[k - t_len - 1] = 0x00;
	memcpy(em + k - t_len, info->prefix, info->len);
	memcpy(em + k - len, digest, len);
	return 0;
}

/* XORs MGF1(seed) over out[0..len): RFC 8017 B.2.1. */
static int mgf1_xor(const EVP_MD *md, const uint8_t *seed, size_t seed_len, uint8_t *out, size_t len)
{
	uint8_t block[EVP_MAX_MD_SIZE], in[PAD_K_MAX + 4];
	size_t h_len = (size_t) EVP_MD_get_size(md);

	memcpy(in, seed, seed_len);
	for (size_t at = 0, i = 0; at < len; at += h_len, i++) {
		in[seed_len] = 0;
		in[seed_len + 1] = 0;
		in[seed_len + 2] = (uint8_t) (i >> 8);
		in[seed_len + 3] = (uint8_t) i;
		if (EVP_Digest(in, seed_len + 4, block, NULL, md, NULL) != 1)
			return -ENOMEM;
		for (size_t j = 0; j < h_len && at + j < len; j++)
			out[at + j] ^= block[j];
	}
	OPENSSL_cleanse(block, sizeof(block));
	OPENSSL_cleanse(in, sizeof(in));
	return 0;
}

int pad_pss_sign(const EVP_MD *md, const uint8_t *digest, size_t len, const uint8_t *salt, size_t salt_len, int bits, uint8_t *em, size_t k,
		 struct err *reterr)
{
	uint8_t m[8 + EVP_MAX_MD_SIZE + PAD_K_MAX] = { 0 }, h[EVP_MAX_MD_SIZE];
	size_t em_len, db_len, lead;

	if (!digest_info_find(md) || len != (size_t) EVP_MD_get_size(md) || bits < 512 || bits > PAD_K_MAX * 8 || k != ((size_t) bits + 7) / 8)
		return err_set(reterr, -EINVAL, "PSS signature: digest of %zu bytes or key of %d bits do not fit", len, bits);
	em_len = ((size_t) bits - 1 + 7) / 8; /* one byte less than k when bits - 1 is a multiple of 8 */
	lead = k - em_len;
	if (salt_len > em_len || em_len < len + salt_len + 2)
		return err_set(reterr, -EINVAL, "PSS salt: found %zu bytes, wanted at most %zu with this digest and a key of %d bits (RFC 8017 9.1.1)",
			       salt_len, em_len < len + 2 ? 0 : em_len - len - 2, bits);
	memcpy(m + 8, digest, len);
	memcpy(m + 8 + len, salt, salt_len);
	if (EVP_Digest(m, 8 + len + salt_len, h, NULL, md, NULL) != 1)
		return err_from_openssl(reterr, -ENOMEM, "PSS signature");
	memset(em, 0, k);
	em += lead;
	db_len = em_len - len - 1;
	em[db_len - salt_len - 1] = 0x01;
	memcpy(em + db_len - salt_len, salt, salt_len);
	if (mgf1_xor(md, h, len, em, db_len) < 0)
		return err_from_openssl(reterr, -ENOMEM, "PSS signature");
	em[0] &= (uint8_t) (0xff >> (8 * em_len - ((size_t) bits - 1)));
	memcpy(em + db_len, h, len);
	em[em_len - 1] = 0xbc;
	return 0;
}

/* ---- masks: all ones for true, zero for false, without a branch */

static size_t mask_zero(size_t x)
{
	return (size_t) 0 - ((~x & (x - 1)) >> (sizeof(x) * 8 - 1));
}

static size_t mask_equal(size_t a, size_t b)
{
	return mask_zero(a ^ b);
}

static size_t mask_less(size_t a, size_t b) /* both below half of SIZE_MAX */
{
	return (size_t) 0 - ((a - b) >> (sizeof(a) * 8 - 1));
}

/* Bytes of a stream that only the holder of key can tell from random: HMAC-SHA256(key, label || counter). */
static int stream(const uint8_t key[32], const char *label, uint8_t *out, size_t len)
{
	for (size_t at = 0, i = 0; at < len; at += 32, i++) {
		uint8_t in[16] = { 0 }, block[32];
		size_t n = len - at < sizeof(block) ? len - at : sizeof(block);

		memcpy(in, label, strlen(label));
		in[14] = (uint8_t) (i >> 8);
		in[15] = (uint8_t) i;
		if (!EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key, 32, in, sizeof(in), block, sizeof(block), NULL))
			return -ENOMEM;
		memcpy(out + at, block, n);
		OPENSSL_cleanse(block, sizeof(block));
	}
	return 0;
}

/* The length of the false text: the last of 128 candidates that is short enough, so that one lies in range but with negligible probability. */
static size_t reject_length(const uint8_t candidates[256], size_t max)
{
	size_t bits = max, chosen = 0;

	for (int s = 1; s <= 8; s *= 2)
		bits |= bits >> s; /* max is public */
	for (size_t i = 0; i < 256; i += 2) {
		size_t c = (((size_t) candidates[i] << 8) | candidates[i + 1]) & bits;
		size_t fits = mask_less(c, max + 1);

		chosen = (c & fits) | (chosen & ~fits);
	}
	return chosen;
}

struct reject { /* the false text for one ciphertext */
	uint8_t text[PAD_K_MAX];
	size_t len;
};

static int reject_make(const uint8_t key[PAD_REJECT_BYTES], const uint8_t *ciphertext, size_t k, struct reject *ret)
{
	uint8_t derived[32], candidates[256];
	int r;

	if (!EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key, PAD_REJECT_BYTES, ciphertext, k, derived, sizeof(derived), NULL))
		return -ENOMEM;
	r = stream(derived, "length", candidates, sizeof(candidates));
	if (r == 0)
		r = stream(derived, "message", ret->text, k);
	ret->len = reject_length(candidates, k - PKCS1_OVERHEAD);
	OPENSSL_cleanse(derived, sizeof(derived));
	OPENSSL_cleanse(candidates, sizeof(candidates));
	return r;
}

/* Moves out[at..k) to its start for a secret `at`: one pass for each bit of it, each touching every byte. */
static void shift_left(uint8_t *out, size_t k, size_t at)
{
	for (size_t step = 1; step < k; step *= 2) {
		uint8_t use = (uint8_t) ~mask_zero(at & step);

		for (size_t i = 0; i < k; i++) {
			uint8_t from = i + step < k ? out[i + step] : 0; /* step and k are public */

			out[i] = (uint8_t) ((from & use) | (out[i] & ~use));
		}
	}
}

int pad_pkcs1_open(const uint8_t *em, size_t k, const uint8_t reject_key[PAD_REJECT_BYTES], const uint8_t *ciphertext, uint8_t *out, size_t *ret_len)
{
	size_t good, zero_at = 0, found = 0;
	struct reject reject;
	int r;

	if (k > PAD_K_MAX || k < PKCS1_OVERHEAD + 1)
		return -EINVAL;
	r = reject_make(reject_key, ciphertext, k, &reject);
	if (r < 0)
		return r;
	good = mask_zero(em[0]) & mask_equal(em[1], 2);
	for (size_t i = 2; i < k; i++) {
		size_t first = mask_zero(em[i]) & ~found;

		zero_at = (zero_at & ~first) | (i & first);
		found |= first;
	}
	good &= found & ~mask_less(zero_at, 2 + 8); /* at least eight bytes of padding */
	/* both texts end at k: the false one is placed so too, then one shift serves either */
	*ret_len = ((k - zero_at - 1) & good) | (reject.len & ~good);
	for (size_t i = 0; i < k; i++)
		out[i] = (uint8_t) ((em[i] & good) | (reject.text[i] & ~good));
	shift_left(out, k, k - *ret_len);
	OPENSSL_cleanse(&reject, sizeof(reject));
	return 0;
}

/* Ones when db is lHash, zeros, 01, text; *ret_at is where the text begins. */
static size_t oaep_check(const uint8_t *db, size_t len, const uint8_t *l_hash, size_t h, size_t *ret_at)
{
	size_t wrong = 0, found = 0, at = 0;

	for (size_t i = 0; i < h; i++)
		wrong |= db[i] ^ l_hash[i];
	for (size_t i = h; i < len; i++) {
		size_t first = ~mask_zero(db[i]) & ~found;

		at = (at & ~first) | ((i + 1) & first);
		wrong |= first & (size_t) (db[i] ^ 1);
		found |= first;
	}
	*ret_at = at;
	return mask_zero(wrong) & found;
}

int pad_oaep_open(const EVP_MD *md, const EVP_MD *mgf, const uint8_t *label, size_t label_len, uint8_t *em, size_t k, uint8_t *out, size_t *ret_len)
{
	size_t h = (size_t) EVP_MD_get_size(md), db_len, at = 0, good;
	uint8_t l_hash[EVP_MAX_MD_SIZE], *seed = em + 1, *db = em + 1 + h;

	if (k > PAD_K_MAX || k < 2 * h + 2)
		return -EINVAL;
	db_len = k - h - 1;
	if (EVP_Digest(label_len > 0 ? label : (const uint8_t *) "", label_len, l_hash, NULL, md, NULL) != 1 || mgf1_xor(mgf, db, db_len, seed, h) < 0 ||
	    mgf1_xor(mgf, seed, h, db, db_len) < 0)
		return -ENOMEM;
	good = oaep_check(db, db_len, l_hash, h, &at) & mask_zero(em[0]);
	at &= good;
	memcpy(out, db, db_len);
	shift_left(out, db_len, at);
	*ret_len = (db_len - at) & good;
	OPENSSL_cleanse(em, k);
	return good ? 0 : -EINVAL;
}

int pad_tls_open(const uint8_t *em, size_t k, unsigned version, unsigned other, const uint8_t random[PAD_PREMASTER_BYTES], uint8_t out[PAD_PREMASTER_BYTES])
{
	size_t from, found, good;

	if (k > PAD_K_MAX || k < PKCS1_OVERHEAD + PAD_PREMASTER_BYTES)
		return -EINVAL;
	from = k - PAD_PREMASTER_BYTES;
	found = ((size_t) em[from] << 8) | em[from + 1];
	good = mask_zero(em[0]) & mask_equal(em[1], 2) & mask_zero(em[from - 1]);
	for (size_t i = 2; i < from - 1; i++)
		good &= ~mask_zero(em[i]);
	good &= mask_equal(found, version) | (mask_equal(found, other) & ~mask_zero(other));
	for (size_t i = 0; i < PAD_PREMASTER_BYTES; i++)
		out[i] = (uint8_t) ((em[from + i] & good) | (random[i] & ~good));
	return 0;
}

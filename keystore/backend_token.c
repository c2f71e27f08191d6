/* Level token: the key lives in a device (token.h). What lies in the keyring, and on disk without a seal, is its record: the public key's hash and the
 * reference, which is worth nothing without the device. */
#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

#include "common/x509facts.h"
#include "keystore/backend.h"
#include "keystore/ring.h"
#include "keystore/token.h"

#define TYPE "user"

enum { HASH_BYTES = KS_SPKI_HEX - 1, RECORD_BYTES = KS_SPKI_HEX + TOKEN_REFERENCE_BYTES };

static int load(key_serial_t ring, const char *label, const struct buf *record, key_serial_t *ret, struct err *reterr)
{
	int r;

	if (record->len <= KS_SPKI_HEX || record->len > RECORD_BYTES || record->data[HASH_BYTES] != '\n')
		return err_set(reterr, -EBADMSG, "the record of a token's key has %zu bytes, or no public key's hash", record->len);
	r = rings_key_add(ring, TYPE, label, record, ret);
	return r < 0 ? rings_error(-r, "keeping the record of a token's key", reterr) : 0;
}

static int record_read(key_serial_t serial, struct buf *ret, struct err *reterr)
{
	uint8_t data[RECORD_BYTES];
	long n = keyctl_read(serial, (char *) data, sizeof(data));

	if (n < 0)
		return err_set(reterr, -ENOKEY, "reading the record of a token's key: %s", strerror(errno));
	if (n <= KS_SPKI_HEX || n > (long) sizeof(data) || data[HASH_BYTES] != '\n')
		return err_set(reterr, -ENOKEY, "what lies in the keyring is no record of a token's key");
	return buf_set(ret, data, (size_t) n);
}

static int reference_read(key_serial_t serial, struct buf *ret, struct err *reterr)
{
	AUTO(buf) struct buf record = BUF_EMPTY;
	int r = record_read(serial, &record, reterr);

	return r < 0 ? r : buf_set(ret, record.data + KS_SPKI_HEX, record.len - KS_SPKI_HEX);
}

static bool is(const struct buf *record, const char *spki)
{
	return record->len > KS_SPKI_HEX && memcmp(record->data, spki, HASH_BYTES) == 0;
}

static int make(int bits, const char *uri, struct buf *record, struct buf *spki, struct err *reterr)
{
	AUTO(buf) struct buf reference = BUF_EMPTY;
	char hash[KS_SPKI_HEX + 1];
	int r = uri ? token_adopt(uri, &reference, spki, reterr) : token_make(bits, &reference, spki, reterr);

	if (r < 0)
		return r;
	sha256_hex(spki->data, spki->len, hash);
	hash[HASH_BYTES] = '\n';
	return buf_set(record, hash, KS_SPKI_HEX) < 0 || buf_add(record, reference.data, reference.len) < 0 ? -ENOMEM : 0;
}

static int sign(const struct backend_key *key, const struct backend_digest *d, uint8_t *out, size_t k, struct err *reterr)
{
	const struct token_digest t = { .md = d->md, .bytes = d->bytes, .len = d->len, .pss_salt = d->pss ? (int) d->salt_len : -1 };
	AUTO(buf) struct buf reference = BUF_EMPTY;
	int r = reference_read(key->serial, &reference, reterr);

	return r < 0 ? r : token_sign(&reference, &t, out, k, reterr);
}

static int open_pkcs1(const struct backend_key *key, const uint8_t *in, uint8_t *em, size_t k, struct err *reterr)
{
	AUTO(buf) struct buf reference = BUF_EMPTY;
	int r = reference_read(key->serial, &reference, reterr);

	return r < 0 ? r : token_open_pkcs1(&reference, key->pub, in, em, k, reterr);
}

static int open_oaep(const struct backend_key *key, const EVP_MD *md, const uint8_t *in, size_t k, uint8_t *out, size_t *ret_len, struct err *reterr)
{
	AUTO(buf) struct buf reference = BUF_EMPTY;
	int r = reference_read(key->serial, &reference, reterr);

	return r < 0 ? r : token_open_oaep(&reference, key->pub, md, in, k, out, ret_len, reterr);
}

static int find(key_serial_t ring, const char *label, key_serial_t *ret)
{
	return rings_key_find(ring, TYPE, label, ret);
}

static int remove_key(key_serial_t ring, const char *label)
{
	return rings_key_remove(ring, TYPE, label);
}

/* What it was when it was asked last. Its keys are tested one by one: making one for the sake of a probe takes a TPM up to a minute. */
static int probe(const struct buf *pkcs8, EVP_PKEY *pub, struct err *reterr)
{
	(void) pkcs8;
	(void) pub;
	return token_state(reterr);
}

static const struct backend_device device = {
	.ready = token_ready, .hung = token_hung, .make = make, .read = record_read, .is = is, .sign = sign, .open_pkcs1 = open_pkcs1, .open_oaep = open_oaep,
};

const struct backend backend_token = {
	.protection = KS_PROTECTION_TOKEN,
	.probe = probe,
	.load = load,
	.find = find,
	.remove = remove_key,
	.device = &device,
};

/* The way back to what somebody has taken out of the keyrings, or a reboot: the key found in another ring, or restored from its copy. */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>
#include <syslog.h>

#include "common/fs.h"
#include "keystore/keygen.h"
#include "keystore/vault_internal.h"

enum { VAULT_COPY_BYTES = 16 * 1024 }; /* a sealed copy has 3 KiB, a record at most 8 */

/* ---- Seal=none: the secret lives in the anchor, so that it lasts exactly as long as the keys do */

#define SECRET_NAME "machine-secret"

static bool secret_read(const struct vault *v, uint8_t ret[SEAL_SECRET_BYTES])
{
	long id = keyctl_search(v->rings.anchor, "user", SECRET_NAME, 0);

	return id >= 0 && keyctl_read((key_serial_t) id, (char *) ret, SEAL_SECRET_BYTES) == SEAL_SECRET_BYTES;
}

static int secret_put(struct vault *v, struct err *reterr)
{
	const struct buf secret = { .data = v->seal.secret, .len = SEAL_SECRET_BYTES };
	key_serial_t id;
	int r = rings_key_add(v->rings.anchor, "user", SECRET_NAME, &secret, &id);

	return r < 0 ? rings_error(-r, "machine secret", reterr) : 0;
}

int vault_secret_unsealed(struct vault *v, struct err *reterr)
{
	if (secret_read(v, v->seal.secret))
		return 0;
	if (RAND_priv_bytes(v->seal.secret, SEAL_SECRET_BYTES) != 1)
		return err_from_openssl(reterr, -EIO, "making the machine secret");
	return secret_put(v, reterr);
}

int vault_rings_renew(struct vault *v, struct err *reterr)
{
	uint8_t secret[SEAL_SECRET_BYTES] = { 0 };
	struct err e = { .code = 0 };
	int r = rings_renew(&v->rings, reterr);
	bool there = r == 0 && (v->sealing || (secret_read(v, secret) && CRYPTO_memcmp(secret, v->seal.secret, sizeof(secret)) == 0));

	OPENSSL_cleanse(secret, sizeof(secret));
	if (r < 0 || there)
		return r;
	if (secret_put(v, &e) < 0)
		(void) err_prefix(&e, -EIO, "the machine secret is gone from its keyring"); /* both return their codes; a key is worth more */
	else
		(void) err_set(&e, -ENOKEY, "the machine secret was gone from its keyring, or another, and is put back");
	v->say(LOG_WARNING, &e, NULL);
	return 0;
}

/* ---- keys */

/* -ENOKEY: another's; else it could not be tried. */
static int is_it(const struct backend *b, const struct backend_key *at, const struct vault_key *k)
{
	AUTO(buf) struct buf record = BUF_EMPTY;
	int r;

	if (b->device) {
		r = b->device->read(at->serial, &record, NULL);
		return r < 0 || b->device->is(&record, k->spki) ? r : -ENOKEY;
	}
	return backend_test(b, at, NULL);
}

/* The key may lie in another slot's ring when a crash came between file and keyrings: the one that computes like it is it. -ENOKEY: there is none; else
 * there is one that may be it, and failed. */
static int ring_locate(const struct vault *v, struct vault_key *k, const struct backend *b)
{
	struct backend_key at = k->material;
	int found = -ENOKEY;

	at.parsed = NULL; /* the keyring's is in question */
	for (int i = 0; i < KS_SLOT_N_; i++) {
		enum ks_slot slot = (enum ks_slot) ((k->slot + i) % KS_SLOT_N_);
		int r = b->find(v->rings.slot[slot], k->label, &at.serial);

		if (r < 0)
			continue;
		r = is_it(b, &at, k);
		if (r < 0 && i > 0)
			continue; /* that slot's own, most likely: at level kernel another's key looks like a wrong result */
		if (r == 0) {
			k->material.serial = at.serial;
			k->backend = b;
			r = vault_ring_move(v, k, slot, k->slot, NULL);
		}
		if (r == 0)
			return 0;
		found = r;
	}
	k->material.serial = 0;
	return found;
}

/* Where the level that a key was made at is gone, it comes back at another only if neither its maker nor the configuration named one. */
static int level_left(const struct vault *v, const struct vault_key *k, const struct backend **b, struct err *reterr)
{
	const enum ks_protection made_at = vault_key_made_at(k);
	const struct err *why = &v->levels.why_not[made_at];

	if (backend_there(&v->levels, made_at))
		return 0;
	if (v->named || k->named)
		return err_set(reterr, -ENOTSUP, "made at level %s, which is not to be had here (%s) and was named, so it is not restored at %s",
			       ks_protection_name(made_at), why->text, ks_protection_name(v->backend->protection));
	*b = v->backend;
	return 0;
}

static int copy_read(const struct vault *v, const struct vault_key *k, struct buf *ret, struct err *reterr)
{
	AUTO(mem) char *path = vault_copy_path(v, k);
	int r = path ? fs_read(path, VAULT_COPY_BYTES, ret, reterr) : -ENOMEM;

	return r == -ENOENT ? err_set(reterr, -ENODATA, "key %s is in no keyring and has no copy on disk", k->label) : r;
}

static int unseal(struct vault *v, struct vault_key *k, struct err *reterr)
{
	AUTO(buf) struct buf blob = BUF_EMPTY;
	const struct backend *b = backend_get(vault_key_made_at(k));
	struct keygen_order order = { .label = k->label, .ring = v->rings.slot[k->slot], .seal = &v->seal, .sealed = &blob };
	int r = copy_read(v, k, &blob, reterr);

	if (r < 0)
		return r;
	r = level_left(v, k, &b, reterr);
	if (r < 0)
		return r;
	order.backend = b;
	r = keygen_restore(&order, &k->material.serial, reterr);
	if (r == 0) {
		k->backend = b;
		r = backend_test(b, &k->material, reterr);
	}
	if (r < 0)
		k->material.serial = 0;
	return r;
}

bool vault_is_stale(const struct vault *v, const struct vault_key *k)
{
	const struct backend_device *d = backend_token.device;
	AUTO(buf) struct buf here = BUF_EMPTY;
	AUTO(buf) struct buf file = BUF_EMPTY;

	if (!vault_in_device(k) || d->read(k->material.serial, &here, NULL) < 0)
		return false;
	return copy_read(v, k, &file, NULL) == 0 && d->is(&file, k->spki) && (file.len != here.len || memcmp(file.data, here.data, here.len) != 0);
}

/* The device's part is not asked for: what it cannot do shows at the next use. */
static int record_restore(struct vault *v, struct vault_key *k, struct err *reterr)
{
	AUTO(buf) struct buf record = BUF_EMPTY;
	int r;

	if (ring_locate(v, k, &backend_token) == 0 && !vault_is_stale(v, k))
		return 0;
	r = copy_read(v, k, &record, reterr);
	if (r == 0 && !backend_token.device->is(&record, k->spki))
		r = err_set(reterr, -EBADMSG, "the record of key %s in the device is another key's", k->label);
	if (r == 0)
		r = backend_token.load(v->rings.slot[k->slot], k->label, &record, &k->material.serial, reterr);
	if (r < 0)
		k->material.serial = 0;
	return r;
}

static int rings_search(const struct vault *v, struct vault_key *k)
{
	int found = -ENOKEY;

	for (int p = 0; p < KS_PROTECTION_N_; p++) {
		const struct backend *b = backend_get((enum ks_protection) p);
		key_serial_t serial;
		int r = -ENOKEY;

		if (b && !b->device && backend_there(&v->levels, (enum ks_protection) p))
			r = ring_locate(v, k, b);
		else if (b && !b->device && b->find(v->rings.slot[k->slot], k->label, &serial) == 0)
			r = -ENOTSUP; /* it lies there, at a level that cannot be tried now */
		if (r == 0)
			return 0;
		if (r != -ENOKEY)
			found = r;
	}
	return found;
}

/* It was found at another level than it was made at, where a former start had to put it: back, if that level is to be had again. */
static int level_return(struct vault *v, struct vault_key *k, struct err *reterr)
{
	const struct backend *other = k->backend, *b = backend_get(k->made_at);
	const key_serial_t serial = k->material.serial;
	int r = level_left(v, k, &b, reterr);

	if (r < 0 || b->protection != k->made_at)
		return r;
	r = unseal(v, k, reterr);
	if (r == -ENODATA) /* its last copy lies where it was found, so it is not gone */
		r = err_set(reterr, -ENOTSUP, "found at level %s, and without a copy to bring it back to %s", ks_protection_name(other->protection),
			    ks_protection_name(k->made_at));
	if (r == 0) {
		(void) other->remove(v->rings.slot[k->slot], k->label); /* what stays is swept with the label */
	} else if (!v->named && !k->named) {
		k->backend = other;
		k->material.serial = serial;
		r = 0;
	}
	return r;
}

int vault_restore(struct vault *v, struct vault_key *k, struct err *reterr)
{
	int r, found;

	EVP_PKEY_free(TAKE(k->material.parsed));
	k->made_at = vault_key_made_at(k);
	r = vault_rings_renew(v, reterr);
	if (r < 0 || vault_in_device(k))
		return r < 0 ? r : record_restore(v, k, reterr);
	found = rings_search(v, k);
	if (found < 0)
		r = unseal(v, k, reterr);
	if (r == -ENODATA && found != -ENOKEY) /* an error that passes must not cost the key */
		r = err_set(reterr, found, "key %s fails in its keyring and has no copy on disk", k->label);
	if (found == 0 && k->backend->protection != k->made_at)
		r = level_return(v, k, reterr);
	k->protection = k->backend->protection;
	if (r == 0)
		r = vault_parsed_keep(v, k, reterr);
	if (r < 0)
		k->material.serial = 0;
	return r;
}

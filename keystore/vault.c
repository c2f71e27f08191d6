/* The vault: see vault.h. Order of every change: sealed copy, then the label's file (the truth), then keyrings, then removal of what is no longer
 * named. So a crash leaves too much, never too little, and the next start repairs it. A deletion has the file last: until all is destroyed, the key is
 * named, and may be deleted again. */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "common/conf.h"
#include "common/fault.h"
#include "common/fs.h"
#include "keystore/advice.h"
#include "keystore/keygen.h"
#include "keystore/vault.h"

enum { VAULT_COPY_BYTES = 16 * 1024 }; /* a sealed copy has 3 KiB, a record at most 8 */
#define META_SUFFIX ".keys"
#define SEALED_SUFFIX ".p8"
#define RECORD_SUFFIX ".token"

static char *meta_path(const struct vault *v, const char *label)
{
	char *path;

	return asprintf(&path, "%s/%s" META_SUFFIX, v->dir, label) < 0 ? NULL : path;
}

/* Its key never leaves a device: the copy is the device's record, which is not sealed. */
static bool in_device(const struct vault_key *k)
{
	return vault_key_made_at(k) == KS_PROTECTION_TOKEN;
}

static char *copy_path(const struct vault *v, const struct vault_key *k)
{
	char *path;

	return asprintf(&path, "%s/%s.%s%s", v->dir, k->label, k->spki, in_device(k) ? RECORD_SUFFIX : SEALED_SUFFIX) < 0 ? NULL : path;
}

const char *vault_at_rest(const struct vault *v, const struct vault_key *k)
{
	if (k ? in_device(k) : v->backend->device != NULL)
		return "token";
	return v->sealing ? v->seal.at_rest : "none";
}

void vault_advice(const struct vault *v, const struct vault_key *k, char ret[KS_ADVICE_BYTES])
{
	const struct advice a = {
		.levels = &v->levels, .in_force = k ? k->protection : v->backend->protection,
		.made_at = k ? vault_key_made_at(k) : KS_PROTECTION_AUTO, .at_rest = vault_at_rest(v, k),
	};

	advice_build(&a, ret);
}

struct vault_key *vault_find(const struct vault *v, const char *label, enum ks_slot slot)
{
	for (size_t i = 0; i < v->n_keys; i++)
		if (v->keys[i]->slot == slot && strcmp(v->keys[i]->label, label) == 0)
			return v->keys[i];
	return NULL;
}

struct vault_key *vault_find_spki(const struct vault *v, const char *label, const char *spki)
{
	for (size_t i = 0; i < v->n_keys; i++)
		if (strcmp(v->keys[i]->spki, spki) == 0 && strcmp(v->keys[i]->label, label) == 0)
			return v->keys[i];
	return NULL;
}

struct vault_key *vault_find_label(const struct vault *v, const char *label)
{
	for (size_t i = 0; i < v->n_keys; i++)
		if (strcmp(v->keys[i]->label, label) == 0)
			return v->keys[i];
	return NULL;
}

/* Writes label's file as it will be with the keys given (NULL: the slot is empty). */
static int meta_store(const struct vault *v, const char *label, struct vault_key *const slots[KS_SLOT_N_], struct err *reterr)
{
	AUTO(mem) char *path = meta_path(v, label);
	AUTO(buf) struct buf text = BUF_EMPTY;
	bool any = false;

	if (!path || buf_add(&text, KEYMETA_HEAD, strlen(KEYMETA_HEAD)) < 0)
		return -ENOMEM;
	for (int i = 0; i < KS_SLOT_N_; i++) {
		struct vault_key line;

		if (!slots[i])
			continue;
		any = true;
		line = *slots[i]; /* borrowed for its text; the slot is the one that is being written */
		line.slot = (enum ks_slot) i;
		if (keymeta_build(&line, &text) < 0)
			return -ENOMEM;
	}
	return any ? fs_write(path, text.data, text.len, 0600, reterr) : fs_remove(path, reterr);
}

static void slots_get(const struct vault *v, const char *label, struct vault_key *slots[KS_SLOT_N_])
{
	for (int i = 0; i < KS_SLOT_N_; i++)
		slots[i] = vault_find(v, label, (enum ks_slot) i);
}

static int keys_append(struct vault *v, struct vault_key *k)
{
	struct vault_key **grown = reallocarray(v->keys, v->n_keys + 1, sizeof(struct vault_key *));

	if (!grown)
		return -ENOMEM;
	v->keys = grown;
	v->keys[v->n_keys++] = k;
	return 0;
}

static void keys_remove(struct vault *v, struct vault_key *k)
{
	for (size_t i = 0; i < v->n_keys; i++)
		if (v->keys[i] == k) {
			v->keys[i] = v->keys[--v->n_keys];
			vault_key_unref(k);
			return;
		}
}

/* The key and its copy, the copy last: as long as it is there, the other comes back. */
static int key_destroy(const struct vault *v, struct vault_key *k, struct err *reterr)
{
	AUTO(mem) char *path = copy_path(v, k);
	int r;

	if (!path)
		return -ENOMEM;
	k->material.serial = 0; /* where it stays, it is found at its next use */
	EVP_PKEY_free(TAKE(k->material.parsed));
	r = k->backend->remove(v->rings.slot[k->slot], k->label);
	if (r < 0)
		return err_set(reterr, r, "it cannot be destroyed in its keyring: %s", strerror(-r));
	r = fs_remove(path, reterr);
	return r < 0 ? err_prefix(reterr, r, "its copy is not destroyed") : 0;
}

static int parsed_keep(const struct vault *v, struct vault_key *k, struct err *reterr)
{
	if (!v->keep_parsed || !k->backend->parse || k->material.parsed)
		return 0;
	return k->backend->parse(k->material.serial, &k->material.parsed, reterr);
}

int vault_add(struct vault *v, struct vault_key *k, const struct buf *copy, struct err *reterr)
{
	AUTO(mem) char *path = copy_path(v, k);
	struct vault_key *slots[KS_SLOT_N_];
	int r;

	if (!path)
		return -ENOMEM;
	r = seal_reject_key(&v->seal, k->reject_random, k->reject_key, reterr);
	if (r == 0)
		r = parsed_keep(v, k, reterr);
	if (r == 0 && (v->sealing || in_device(k)))
		r = fs_write(path, copy->data, copy->len, 0600, reterr);
	if (r < 0)
		return r;
	FAULT("keyd.sealed");
	slots_get(v, k->label, slots);
	slots[k->slot] = k;
	r = keys_append(v, k);
	if (r < 0)
		return r;
	r = meta_store(v, k->label, slots, reterr);
	if (r < 0) {
		v->n_keys--; /* it was the last */
		return r;
	}
	(void) vault_key_ref(k); /* the table's */
	FAULT("keyd.added");
	return 0;
}

/* Brings a key into its slot's keyring; other rings of the same label may hold it. */
static int ring_move(const struct vault *v, struct vault_key *k, enum ks_slot from, enum ks_slot to, struct err *reterr)
{
	if (k->material.serial == 0 || from == to)
		return 0;
	return rings_move(&v->rings, k->material.serial, from, to, reterr);
}

int vault_promote(struct vault *v, struct vault_key *k, struct err *reterr)
{
	struct vault_key *slots[KS_SLOT_N_], *old, *previous;
	struct err left = { .code = 0 };
	int r;

	if (k->slot == KS_SLOT_ACTIVE)
		return 0;
	if (k->slot != KS_SLOT_SHADOW)
		return err_set(reterr, -ENOKEY, "key %s with that public key is neither shadow nor active", k->label);
	slots_get(v, k->label, slots);
	old = slots[KS_SLOT_ACTIVE];
	previous = slots[KS_SLOT_PREVIOUS];
	if (old) /* else an older previous one keeps its place: nothing follows it */
		slots[KS_SLOT_PREVIOUS] = old;
	slots[KS_SLOT_ACTIVE] = k;
	slots[KS_SLOT_SHADOW] = NULL;
	r = meta_store(v, k->label, slots, reterr);
	if (r < 0)
		return r;
	FAULT("keyd.promoted");
	if (old && previous) {
		if (key_destroy(v, previous, &left) < 0) /* which the next start repeats */
			v->say(LOG_ERR, &left, previous->label);
		keys_remove(v, previous);
	}
	if (old) {
		if (ring_move(v, old, KS_SLOT_ACTIVE, KS_SLOT_PREVIOUS, reterr) < 0)
			old->material.serial = 0; /* found or restored at its next use */
		old->slot = KS_SLOT_PREVIOUS;
	}
	FAULT("keyd.moved");
	if (ring_move(v, k, KS_SLOT_SHADOW, KS_SLOT_ACTIVE, reterr) < 0)
		k->material.serial = 0;
	k->slot = KS_SLOT_ACTIVE;
	return 0;
}

int vault_delete(struct vault *v, struct vault_key *k, struct err *reterr)
{
	struct vault_key *slots[KS_SLOT_N_];
	int r = key_destroy(v, k, reterr);

	if (r < 0)
		return r;
	FAULT("keyd.destroyed");
	slots_get(v, k->label, slots);
	slots[k->slot] = NULL;
	r = meta_store(v, k->label, slots, reterr);
	if (r < 0)
		return r;
	FAULT("keyd.deleted");
	keys_remove(v, k);
	rings_spare_make(&v->rings);
	return 0;
}

/* ---- Seal=none: the secret lives in the anchor, so that it lasts exactly as long as the keys do */

#define SECRET_NAME "machine-secret"

static bool secret_read(const struct vault *v, uint8_t ret[SEAL_SECRET_BYTES])
{
	long id = keyctl_search(v->rings.anchor, "user", SECRET_NAME, 0);

	return id >= 0 && keyctl_read((key_serial_t) id, (char *) ret, SEAL_SECRET_BYTES) == SEAL_SECRET_BYTES;
}

static int secret_put(const struct vault *v, struct err *reterr)
{
	return add_key("user", SECRET_NAME, v->seal.secret, SEAL_SECRET_BYTES, v->rings.anchor) < 0 ? rings_error(errno, "machine secret", reterr) : 0;
}

static int secret_unsealed(struct vault *v, struct err *reterr)
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
	r = secret_put(v, reterr);
	if (r < 0)
		return r;
	(void) err_set(&e, -ENOKEY, "the machine secret was gone from its keyring, or another, and is put back"); /* returns its code */
	v->say(LOG_WARNING, &e, NULL);
	return 0;
}

/* ---- finding keys again */

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
			r = ring_move(v, k, slot, k->slot, NULL);
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
	AUTO(mem) char *path = copy_path(v, k);
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

	if (!in_device(k) || d->read(k->material.serial, &here, NULL) < 0)
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
	if (r < 0 || in_device(k))
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
		r = parsed_keep(v, k, reterr);
	if (r < 0)
		k->material.serial = 0;
	return r;
}

/* ---- start-up */

static void lowered_say(const struct vault *v, const struct vault_key *k)
{
	struct err e = { .code = 0 };

	(void) err_set(&e, -ENOTSUP, "made at level %s, restored at %s: %s", ks_protection_name(k->made_at), ks_protection_name(k->protection),
		       v->levels.why_not[k->made_at].text); /* returns its code */
	v->say(LOG_WARNING, &e, k->label);
}

/* What cannot be had is said and kept, in case the secret comes back; what is nowhere any more leaves its slot free. */
static int key_recover(struct vault *v, struct vault_key *k, struct err *reterr)
{
	struct err why = { .code = 0 };
	int r = vault_restore(v, k, &why);

	if (r < 0)
		v->say(LOG_ERR, &why, k->label);
	else if (vault_key_made_at(k) != k->protection)
		lowered_say(v, k);
	return r == -ENODATA ? vault_delete(v, k, reterr) : 0;
}

static int label_load(struct vault *v, const char *label, struct err *reterr)
{
	/* previous first: moving the promoted key over the active ring must not destroy the one that belongs in previous */
	static const enum ks_slot order[] = { KS_SLOT_PREVIOUS, KS_SLOT_ACTIVE, KS_SLOT_SHADOW };
	AUTO(mem) char *path = meta_path(v, label);
	AUTO(buf) struct buf text = BUF_EMPTY;
	struct vault_key *slots[KS_SLOT_N_];
	int r = path ? fs_read(path, KEYMETA_FILE_BYTES, &text, reterr) : -ENOMEM;

	if (r == 0)
		r = keymeta_parse(label, &text, slots, reterr);
	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		struct vault_key *k = slots[order[i]];

		if (!k)
			continue;
		k->backend = backend_get(k->protection);
		r = keys_append(v, k);
		if (r < 0)
			return r; /* out of memory at start: the process ends */
		r = seal_reject_key(&v->seal, k->reject_random, k->reject_key, reterr);
		if (r < 0)
			return r;
		r = key_recover(v, k, reterr);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool suffix_cut(char *name, const char *suffix)
{
	size_t len = strlen(name), n = strlen(suffix);

	if (len <= n || strcmp(name + len - n, suffix) != 0)
		return false;
	name[len - n] = '\0';
	return true;
}

/* name is "LABEL.SPKI": whether such a key is known. */
static bool copy_known(const struct vault *v, char *name)
{
	char *dot = strrchr(name, '.');

	if (!dot)
		return true; /* not ours */
	*dot = '\0';
	return vault_find_spki(v, name, dot + 1) != NULL;
}

static void file_drop(const struct vault *v, const char *path)
{
	struct err e = { .code = 0 };

	if (fs_remove(path, &e) < 0)
		v->say(LOG_WARNING, &e, NULL);
}

static int folder_walk(struct vault *v, bool sweep, struct err *reterr)
{
	AUTO(dir) DIR *d = opendir(v->dir);
	struct dirent *entry;
	int r = 0;

	if (!d)
		return err_set(reterr, -errno, "%s: %s", v->dir, strerror(errno));
	while (r == 0 && (entry = readdir(d))) {
		AUTO(mem) char *name = strdup(entry->d_name);
		AUTO(mem) char *path = NULL;

		if (!name || asprintf(&path, "%s/%s", v->dir, entry->d_name) < 0)
			return -ENOMEM;
		if (!sweep && suffix_cut(name, META_SUFFIX) && conf_name_ok(name))
			r = label_load(v, name, reterr);
		else if (sweep && (suffix_cut(name, SEALED_SUFFIX) || suffix_cut(name, RECORD_SUFFIX)) && !copy_known(v, name))
			file_drop(v, path);
	}
	return r;
}

struct sweep {
	const struct vault *v;
	enum ks_slot slot;
};

static bool sweep_keep(void *userdata, const char *type, const char *description)
{
	const struct sweep *s = userdata;

	(void) type; /* a label is the same at each level */
	return vault_find(s->v, description, s->slot) != NULL;
}

static int sweep(struct vault *v, struct err *reterr)
{
	int r = folder_walk(v, true, reterr);

	for (int i = 0; r == 0 && i < KS_SLOT_N_; i++) {
		struct sweep s = { .v = v, .slot = (enum ks_slot) i };

		r = rings_sweep(v->rings.slot[i], sweep_keep, &s, reterr);
	}
	fs_sweep(v->dir);
	return r;
}

int vault_open(const char *dir, enum ks_protection protection, bool sealing, bool keep_parsed, vault_say_fn say, struct vault **ret, struct err *reterr)
{
	AUTO(vault) struct vault *v = calloc(1, sizeof(*v));
	AUTO(mem) char *probe_path = NULL;
	int r;

	if (!v || asprintf(&probe_path, "%s/probe.der", dir) < 0)
		return -ENOMEM;
	v->sealing = sealing;
	v->keep_parsed = keep_parsed;
	v->say = say;
	v->named = protection != KS_PROTECTION_AUTO;
	v->dir = strdup(dir);
	if (!v->dir)
		return -ENOMEM;
	r = fs_mkdir(dir, 0700, reterr);
	if (r == 0)
		r = rings_open(dir, &v->rings, reterr);
	if (r == 0)
		r = sealing ? seal_open(dir, &v->seal, reterr) : secret_unsealed(v, reterr);
	if (r == 0)
		r = backend_probe(probe_path, &v->levels, reterr);
	if (r == 0)
		r = backend_choose(&v->levels, protection, &v->backend, reterr);
	if (r == 0)
		r = folder_walk(v, false, reterr);
	if (r == 0)
		r = sweep(v, reterr);
	v->opened = r == 0;
	if (r == 0)
		*ret = TAKE(v);
	return r;
}

void vault_free(struct vault *v)
{
	if (v->opened && v->n_keys == 0) /* a start that failed knows of none yet */
		rings_drop(&v->rings);
	for (size_t i = 0; i < v->n_keys; i++)
		vault_key_unref(v->keys[i]);
	free(v->keys);
	seal_clear(&v->seal);
	free(v->dir);
	free(v);
}

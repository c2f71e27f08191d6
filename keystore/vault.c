/* The vault: see vault.h. Order of every change: sealed copy, then the label's file (the truth), then keyrings, then removal of what is no longer
 * named. So a crash leaves too much, never too little, and the next start repairs it. A deletion has the file last: until all is destroyed, the key is
 * named, and may be deleted again. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "common/fault.h"
#include "common/fs.h"
#include "keystore/advice.h"
#include "keystore/vault_internal.h"

char *vault_meta_path(const struct vault *v, const char *label)
{
	char *path;

	return asprintf(&path, "%s/%s" META_SUFFIX, v->dir, label) < 0 ? NULL : path;
}

bool vault_in_device(const struct vault_key *k)
{
	return vault_key_made_at(k) == KS_PROTECTION_TOKEN;
}

char *vault_copy_path(const struct vault *v, const struct vault_key *k)
{
	char *path;

	return asprintf(&path, "%s/%s.%s%s", v->dir, k->label, k->spki, vault_in_device(k) ? RECORD_SUFFIX : SEALED_SUFFIX) < 0 ? NULL : path;
}

const char *vault_at_rest(const struct vault *v, const struct vault_key *k)
{
	if (k ? vault_in_device(k) : v->backend->device != NULL)
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
	AUTO(mem) char *path = vault_meta_path(v, label);
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

int vault_keys_append(struct vault *v, struct vault_key *k)
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
	AUTO(mem) char *path = vault_copy_path(v, k);
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

int vault_parsed_keep(const struct vault *v, struct vault_key *k, struct err *reterr)
{
	if (!v->keep_parsed || !k->backend->parse || k->material.parsed)
		return 0;
	return k->backend->parse(k->material.serial, &k->material.parsed, reterr);
}

int vault_add(struct vault *v, struct vault_key *k, const struct buf *copy, struct err *reterr)
{
	AUTO(mem) char *path = vault_copy_path(v, k);
	struct vault_key *slots[KS_SLOT_N_];
	int r;

	if (!path)
		return -ENOMEM;
	r = seal_reject_key(&v->seal, k->reject_random, k->reject_key, reterr);
	if (r == 0)
		r = vault_parsed_keep(v, k, reterr);
	if (r == 0 && (v->sealing || vault_in_device(k)))
		r = fs_write(path, copy->data, copy->len, 0600, reterr);
	if (r < 0)
		return r;
	FAULT("keyd.sealed");
	slots_get(v, k->label, slots);
	slots[k->slot] = k;
	r = vault_keys_append(v, k);
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

int vault_ring_move(const struct vault *v, struct vault_key *k, enum ks_slot from, enum ks_slot to, struct err *reterr)
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
		if (vault_ring_move(v, old, KS_SLOT_ACTIVE, KS_SLOT_PREVIOUS, reterr) < 0)
			old->material.serial = 0; /* found or restored at its next use */
		old->slot = KS_SLOT_PREVIOUS;
	}
	FAULT("keyd.moved");
	if (vault_ring_move(v, k, KS_SLOT_SHADOW, KS_SLOT_ACTIVE, reterr) < 0)
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

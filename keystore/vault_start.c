/* Opening a vault: its keys are found or restored, and what a crash left is cleared. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "common/conf.h"
#include "common/fs.h"
#include "keystore/vault_internal.h"

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
	AUTO(mem) char *path = vault_meta_path(v, label);
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
		r = vault_keys_append(v, k);
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
		r = sealing ? seal_open(dir, &v->seal, reterr) : vault_secret_unsealed(v, reterr);
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

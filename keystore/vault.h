/* All keys of one state folder: their metadata files, sealed copies and keyrings, kept in step so that a crash at any point loses nothing. */
#ifndef KEYROLL_KEYSTORE_VAULT_H
#define KEYROLL_KEYSTORE_VAULT_H

#include <stdbool.h>

#include "keystore/keymeta.h"
#include "keystore/ring.h"
#include "keystore/seal.h"

typedef void (*vault_say_fn)(int level, const struct err *e, const char *label); /* what was found and repaired; label: NULL when it is of no key */

struct vault {
	char *dir;
	bool opened; /* its keys have been found */
	bool sealing;
	bool keep_parsed;
	bool named; /* the configuration names a level: no key is restored at a lower one than it was made at */
	vault_say_fn say;
	struct seal seal;
	struct rings rings;
	struct backend_levels levels;
	const struct backend *backend; /* of keys made under AUTO, and of restored ones whose level is gone */
	struct vault_key **keys;
	size_t n_keys;
};

/* Opens the folder (made when missing), finds each key in its keyring or restores it from its sealed copy, and clears what a crash left. A key that
 * cannot be had stays known, with serial 0. -ENOTSUP protection; -EBADMSG; -EACCES; -EPERM. */
int vault_open(const char *dir, enum ks_protection protection, bool sealing, bool keep_parsed, vault_say_fn say, struct vault **ret,
	       struct err *reterr) CHECKED;
void vault_free(struct vault *v); /* keys stay in their keyrings; with no key left the keyrings go too */

struct vault_key *vault_find(const struct vault *v, const char *label, enum ks_slot slot);
struct vault_key *vault_find_spki(const struct vault *v, const char *label, const char *spki);
/* Any key of the label, to judge whose it is. */
struct vault_key *vault_find_label(const struct vault *v, const char *label);

/* As rings_renew, before a key is made. With Seal=none the secret is put back where it is gone: what was made with it goes on having it after a restart. */
int vault_rings_renew(struct vault *v, struct err *reterr) CHECKED;
/* Adds a key that lies in its slot's keyring already (material.serial) with its sealed copy, or its record in a device. Takes a reference. Durable when it
 * returns. */
int vault_add(struct vault *v, struct vault_key *k, const struct buf *copy, struct err *reterr) CHECKED;
/* As ks_promote and ks_delete; k must be in the vault. An old previous key that a promotion does not manage to destroy is said, and left to the next start. */
int vault_promote(struct vault *v, struct vault_key *k, struct err *reterr) CHECKED;
int vault_delete(struct vault *v, struct vault_key *k, struct err *reterr) CHECKED;
/* Finds the key again, or restores it in a child as keygen_restore: no other thread of ours may be inside a library (jobs_quiesce). -ENODATA: it
 * is neither in a keyring nor sealed, so it is gone for good; -EIO: it gives wrong results; -EBADMSG: cannot be unsealed; -ENOTSUP: a level is named, by
 * the configuration or the maker, and the key's own is not to be had. */
int vault_restore(struct vault *v, struct vault_key *k, struct err *reterr) CHECKED;
/* Of a key in a device: whether the record in its keyring has another reference than the file's. Then the file's is right. */
bool vault_is_stale(const struct vault *v, const struct vault_key *k);
/* Of that key, or (NULL) of keys that are made from now on: "tpm2", "host", "file", "none"; "token": in the device. */
const char *vault_at_rest(const struct vault *v, const struct vault_key *k);
/* What better protection would need, of that key, or (NULL) of keys that are made from now on. */
void vault_advice(const struct vault *v, const struct vault_key *k, char ret[KS_ADVICE_BYTES]);

AUTO_DEFINE(vault, struct vault *, vault_free);

#endif

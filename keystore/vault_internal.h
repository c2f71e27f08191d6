/* What the parts of the vault share: vault.c the keys and their table, vault_restore.c the way back to them, vault_start.c opening. */
#ifndef KEYROLL_KEYSTORE_VAULT_INTERNAL_H
#define KEYROLL_KEYSTORE_VAULT_INTERNAL_H

#include "keystore/vault.h"

/* Of "LABEL.keys", and of the copies "LABEL.SPKI.p8" and "LABEL.SPKI.token". */
#define META_SUFFIX ".keys"
#define SEALED_SUFFIX ".p8"
#define RECORD_SUFFIX ".token"

/* ---- vault.c */

/* Both owned by the caller; NULL: out of memory. */
char *vault_meta_path(const struct vault *v, const char *label);
char *vault_copy_path(const struct vault *v, const struct vault_key *k);
/* Its key never leaves a device: the copy is the device's record, which is not sealed. */
bool vault_in_device(const struct vault_key *k);
/* Takes the caller's reference. -ENOMEM. */
int vault_keys_append(struct vault *v, struct vault_key *k) CHECKED;
/* With KeepParsed, where the level has it: decodes the key. */
int vault_parsed_keep(const struct vault *v, struct vault_key *k, struct err *reterr) CHECKED;
/* Brings a key into its slot's keyring; other rings of the same label may hold it. */
int vault_ring_move(const struct vault *v, struct vault_key *k, enum ks_slot from, enum ks_slot to, struct err *reterr) CHECKED;

/* ---- vault_restore.c */

/* Seal=none, at the start: the secret that lies in the anchor, or a new one. */
int vault_secret_unsealed(struct vault *v, struct err *reterr) CHECKED;

#endif

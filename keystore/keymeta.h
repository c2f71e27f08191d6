/* One key as the custodian knows it, and the file LABEL.keys that says which keys a label has: that file is the truth, keyrings follow it. */
#ifndef KEYROLL_KEYSTORE_KEYMETA_H
#define KEYROLL_KEYSTORE_KEYMETA_H

#include <openssl/evp.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/limits.h"
#include "keystore/backend.h"
#include "keystore/ks.h"

struct vault_key { /* counted: a worker may still use a key that was deleted. The count belongs to the event loop's thread */
	unsigned refs;
	char label[LIMIT_LABEL_BYTES + 1];
	char spki[KS_SPKI_HEX];
	enum ks_slot slot;
	enum ks_protection protection; /* in force */
	enum ks_protection made_at;    /* what its file says, where that is another; AUTO: the same */
	bool named;	/* its maker named the level: it is never restored at another */
	uid_t uid; /* who made it */
	struct buf users, groups; /* names joined by commas */
	struct buf spki_der;
	uint8_t reject_random[32]; /* made with the key; the key of implicit rejection comes from it and the machine secret */
	uint8_t reject_key[32];
	const struct backend *backend;
	struct backend_key material; /* serial 0: not to be had at the moment */
};

int vault_key_new(const char *label, enum ks_slot slot, struct vault_key **ret) CHECKED;
struct vault_key *vault_key_ref(struct vault_key *k);
void vault_key_unref(struct vault_key *k);
/* Takes the public key's DER: fills spki, bits and the OpenSSL object. -EBADMSG. */
int vault_key_set_public(struct vault_key *k, const uint8_t *der, size_t len, struct err *reterr) CHECKED;

/* The level that the key was made at: what a later start tries first. */
enum ks_protection vault_key_made_at(const struct vault_key *k);

enum { KEYMETA_FILE_BYTES = 64 * 1024 };
/* Appends the key's line; the file is KEYMETA_HEAD and one line for each key. */
#define KEYMETA_HEAD "keyroll-keys 1\n"
int keymeta_build(const struct vault_key *k, struct buf *append) CHECKED;
/* Reads the file's text into keys of label, one for each slot that has one (others NULL). On failure none is left. -EBADMSG with the line. */
int keymeta_parse(const char *label, const struct buf *text, struct vault_key *ret[KS_SLOT_N_], struct err *reterr) CHECKED;

AUTO_DEFINE(vault_key, struct vault_key *, vault_key_unref);

#endif

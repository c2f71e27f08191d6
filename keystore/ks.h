/* The door to the key store: eight calls. A key has a label and a slot; people see the shadow of LABEL as LABEL#. The handle that ks_load gives is bound
 * to one public key (its SHA-256 over SubjectPublicKeyInfo, lower-case hex, "spki") and never holds the private half: every use asks the custodian. */
#ifndef KEYROLL_KEYSTORE_KS_H
#define KEYROLL_KEYSTORE_KS_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/auto.h"
#include "common/err.h"

struct ks;

enum ks_slot { KS_SLOT_ACTIVE, KS_SLOT_SHADOW, KS_SLOT_PREVIOUS, KS_SLOT_N_ };
enum ks_protection { KS_PROTECTION_AUTO, KS_PROTECTION_KERNEL, KS_PROTECTION_TOKEN, KS_PROTECTION_KEYRING, KS_PROTECTION_N_ };

#define KS_SPKI_HEX 65
#define KS_ADVICE_BYTES 257

struct ks_spec { /* of a key to be made */
	const char *label;
	enum ks_slot slot;	/* ACTIVE only while the label has no active key, else SHADOW */
	int bits;		/* 2048, 3072, 4096 */
	enum ks_protection protection;
	const char *token_uri; /* a key that lies in the token already, instead of making one; NULL. Its size must be bits */
	const char *const *users, *const *groups; /* NULL-terminated names that may use the active key; NULL: only the maker */
};

struct ks_key { /* what ks_load tells beside the handle */
	char spki[KS_SPKI_HEX];
	enum ks_slot slot;
	enum ks_protection protection; /* in force, never AUTO */
	int bits;
	char at_rest[32];	       /* "tpm2", "host", "file", "none", "token" */
	char advice[KS_ADVICE_BYTES];  /* what better protection would need; "": nothing better is known */
};

/* socket: path of keyd.sock or a signer's. Loads the provider into OpenSSL's default library context once. -ECONNREFUSED, -ENOENT, -EACCES, -EPROTO. */
int ks_open(const char *socket, struct ks **ret, struct err *reterr) CHECKED;
/* Starts making a key when *fd is -1: 0 and a descriptor that becomes readable when it is done. Called again with that descriptor then: 0 (closed, set to
 * -1, *ret_spki filled), or -EAGAIN (not readable yet: it does not block), or why not: -EEXIST (another key lies in the slot), -EDQUOT, -ENOSPC, -ENOTSUP
 * (the named protection is not to be had), -ENODEV (the token does not answer), -EACCES. */
int ks_generate(struct ks *ks, const struct ks_spec *spec, int *fd, char ret_spki[KS_SPKI_HEX], struct err *reterr) CHECKED;
/* The key in that slot or, if spki is not NULL, the key of label with that public key in any slot. ret_key and ret_facts may each be NULL. -ENOKEY:
 * there is none, or it cannot be had at its level or under this machine's secret; -EBUSY: not at this moment (quota, memory), ask again; -EACCES,
 * -ETIMEDOUT. */
int ks_load(struct ks *ks, const char *label, enum ks_slot slot, const char *spki, EVP_PKEY **ret_key, struct ks_key *ret_facts, struct err *reterr) CHECKED;
/* Whether a key is what a file wants: of that size, and at that level unless it is AUTO. */
bool ks_key_suits(const struct ks_key *key, int bits, enum ks_protection protection);
/* Active becomes previous (an older previous is destroyed), shadow becomes active. 0 also when spki already is active. -ENOKEY when it is neither;
 * -EBUSY while a key of label is being made. Durable when it returns. */
int ks_promote(struct ks *ks, const char *label, const char *spki, struct err *reterr) CHECKED;
/* Destroys the key of label with that spki (NULL: every key of label), sealed copy included. 0 also when there is none. An error: it is not destroyed, or
 * not all of it, and is to be deleted again. */
int ks_delete(struct ks *ks, const char *label, const char *spki, struct err *reterr) CHECKED;
/* Whether a key can be made at that level now; makes none. -ENOTSUP, with the reason and what it needs; -EACCES to who may not make keys. */
int ks_level(struct ks *ks, enum ks_protection protection, struct err *reterr) CHECKED;
/* How often a custodian failed this thread for reasons of its own: gone, no answer in time, the key not there, out of memory; not for what it was handed
 * (-EINVAL). OpenSSL's decryption does not tell such a failure from a wrong ciphertext: whoever opens hostile input compares the count before and after. */
unsigned ks_failures(void);
void ks_close(struct ks *ks); /* handles stay usable: they have connections of their own */

const char *ks_slot_name(enum ks_slot slot);		 /* active shadow previous */
const char *ks_protection_name(enum ks_protection p);	 /* auto kernel token keyring */
extern const char *const ks_protection_words[];		 /* for conf_parse_word */

AUTO_DEFINE(ks, struct ks *, ks_close);

#endif

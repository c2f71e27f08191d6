/* The custodian's keyrings: one anchor in the user keyring, named after the state folder, with one ring for each slot. The anchor survives the
 * process; only who links the user keyring into its session possesses it. */
#ifndef KEYROLL_KEYSTORE_RING_H
#define KEYROLL_KEYSTORE_RING_H

#include <keyutils.h>
#include <stdbool.h>

#include "common/buf.h"
#include "common/err.h"
#include "keystore/ks.h"

struct rings {
	key_serial_t anchor;
	key_serial_t slot[KS_SLOT_N_];
	key_serial_t spare; /* empty, and given up where a move finds the quota full: a link costs four bytes of it */
	char name[48]; /* "keyroll:" and a hash of the folder, so that several custodians of one user do not meet */
};

/* Gives the calling thread, and those that it starts afterwards, a session keyring of their own with @u in it: who is without does not possess the rings.
 * Once, before threads and children. -EPERM with what to allow, when a container forbids keyctl; -EDQUOT with the numbers. */
int rings_session(struct err *reterr) CHECKED;
/* Finds or makes the rings, after rings_session. Errors as there. */
int rings_open(const char *state_dir, struct rings *ret, struct err *reterr) CHECKED;
/* Destroys the anchor and all below it. */
void rings_drop(const struct rings *r);
/* Finds the rings again, or makes them anew when somebody has unlinked or revoked them. Errors as rings_open. */
int rings_renew(struct rings *r, struct err *reterr) CHECKED;
/* Moves a key between two slots, over another of its label there; also with a full quota. Errors as rings_open. */
int rings_move(const struct rings *r, key_serial_t id, enum ks_slot from, enum ks_slot to, struct err *reterr) CHECKED;
/* Makes the spare ring again, if the quota has room. */
void rings_spare_make(struct rings *r);
/* -errno with words; EDQUOT with the user's numbers from /proc/key-users and the way to raise them. */
int rings_error(int errnum, const char *what, struct err *reterr) CHECKED;
/* Unlinks every key of a ring whose type and description keep() does not know. */
int rings_sweep(key_serial_t ring, bool (*keep)(void *userdata, const char *type, const char *description), void *userdata, struct err *reterr) CHECKED;

/* The key of that type and label in ring. -ENOKEY: absent, revoked or expired. */
int rings_key_find(key_serial_t ring, const char *type, const char *label, key_serial_t *ret) CHECKED;
/* In place of another of that type and label, whatever its permissions. -errno. */
int rings_key_add(key_serial_t ring, const char *type, const char *label, const struct buf *data, key_serial_t *ret) CHECKED;
/* Destroys it at once, a revoked or expired one too. Gone already is success. */
int rings_key_remove(key_serial_t ring, const char *type, const char *label) CHECKED;

#endif

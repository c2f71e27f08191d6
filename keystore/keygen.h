/* Making a key, or restoring it from its sealed copy, in a short-lived child, which loads it into its keyring, wipes and exits; the parent never has
 * the private half. */
#ifndef KEYROLL_KEYSTORE_KEYGEN_H
#define KEYROLL_KEYSTORE_KEYGEN_H

#include <sys/types.h>

#include "keystore/backend.h"
#include "keystore/seal.h"

struct keygen_order {
	const char *label;
	int bits;
	const struct backend *backend;
	key_serial_t ring;
	const struct seal *seal; /* NULL: no sealed copy */
	const struct buf *sealed; /* restore this copy, under seal, instead of making a key; else NULL */
};

struct keygen_result {
	struct buf spki_der;
	struct buf copy; /* the sealed copy, empty without sealing; of a key in a device its record */
	key_serial_t serial;
	uint8_t reject_random[32];
};
void keygen_result_clear(struct keygen_result *r);

enum { KEYGEN_REPLY_BYTES = 16 * 1024 };

/* Forks. *ret_fd becomes readable as the child writes its reply, and ends when it is complete. No other thread of ours may be inside a library
 * (jobs_quiesce). -EAGAIN, -ENOMEM. */
int keygen_start(const struct keygen_order *o, pid_t *ret_pid, int *ret_fd, struct err *reterr) CHECKED;
/* Takes apart what the child wrote. Its own failure comes back with its text; -ECANCELED when it died. */
int keygen_finish(const struct buf *reply, struct keygen_result *ret, struct err *reterr) CHECKED;

/* Restores o->sealed and waits for it: some milliseconds, at most KEYGEN_RESTORE_SEC, which the child counts itself. Forks, as keygen_start. *ret is the
 * key in its keyring. -EBADMSG: damaged or another machine's; -EDQUOT; -ECANCELED when the child died. */
enum { KEYGEN_RESTORE_SEC = 2 };
int keygen_restore(const struct keygen_order *o, key_serial_t *ret, struct err *reterr) CHECKED;

#endif

/* The way to keyroll-signer: its socket, its process when nobody else started it, and the CA's keys behind it. */
#ifndef KEYROLL_CA_SIGNER_CLIENT_H
#define KEYROLL_CA_SIGNER_CLIENT_H

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "common/auto.h"
#include "common/err.h"
#include "keystore/ks.h"

struct signer;

/* Connects to /run/keyroll/signer/NAME.sock (under --root). When nobody listens there: listens itself and starts keyroll-signer on that socket, found in
 * $KEYROLL_LIBEXECDIR, beside this program, or where it was installed. With event: a signer that dies is started again (after 0.1 s, doubling to 10 s);
 * the socket stays, so that requests wait instead of failing. event NULL: for the time of --init. */
int signer_new(sd_event *event, const char *name, bool verbose, struct signer **ret, struct err *reterr) CHECKED;
/* Ends the child, if it is ours, and waits for it. */
void signer_free(struct signer *s);

/* False from the moment a signer is lost until one is there again. The event loop's thread. */
bool signer_up(const struct signer *s);

/* The CA's keys have the CA's name as label. Any thread. */
int signer_load(struct signer *s, enum ks_slot slot, const char *spki, EVP_PKEY **ret_key, struct ks_key *ret_facts, struct err *reterr) CHECKED;
int signer_promote(struct signer *s, const char *spki, struct err *reterr) CHECKED;
int signer_delete(struct signer *s, const char *spki, struct err *reterr) CHECKED;
/* As ks_generate. A key that lies in the slot already (from an attempt that was cut off) is success at the second call. */
int signer_generate(struct signer *s, enum ks_slot slot, int bits, enum ks_protection protection, int *fd, char ret_spki[KS_SPKI_HEX],
		    struct err *reterr) CHECKED;

AUTO_DEFINE(signer, struct signer *, signer_free);

#endif

/* One private operation, from the request's bytes to the answer's: padding, raw operation, unpadding. Runs on any thread. */
#ifndef KEYROLL_KEYSTORE_CUSTODY_OP_H
#define KEYROLL_KEYSTORE_CUSTODY_OP_H

#include "keystore/custody_proto.h"
#include "keystore/keymeta.h"

/* SIGN, SIGN_DIGEST or DECRYPT. backend and material are the caller's copies, since the loop may replace the key's own meanwhile. -EINVAL: digest, padding
 * or length; -ENOKEY: the key is gone from its keyring. */
int custody_op_run(const struct vault_key *k, const struct backend *backend, const struct backend_key *material,
		   const struct custody_msg *request, struct buf *ret, struct err *reterr) CHECKED;

#endif

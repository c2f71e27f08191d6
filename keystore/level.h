/* A level of protection that is named: whether it can be had, and if not, what it needs. */
#ifndef KEYROLL_KEYSTORE_LEVEL_H
#define KEYROLL_KEYSTORE_LEVEL_H

#include "keystore/backend.h"
#include "keystore/ks.h"

/* Probes all levels anew, with the throw-away key in state_dir. -ENOTSUP: wanted is not to be had; the text is one line with level, reason and
 * "Do: ". -ENOMEM, or why the probe's file cannot be written; *ret is as it was then. */
int level_probe(const char *state_dir, enum ks_protection wanted, struct backend_levels *ret, struct err *reterr) CHECKED;

#endif

/* A level of protection that is named: whether it can be had, and if not, what it needs. */
#ifndef KEYROLL_KEYSTORE_LEVEL_H
#define KEYROLL_KEYSTORE_LEVEL_H

#include "keystore/backend.h"
#include "keystore/ks.h"

/* Probes all levels anew, with the throw-away key in state_dir. -ENOTSUP: wanted is not to be had; the text is one line with level, reason and
 * "Do: ". -ENOMEM, or why the probe's file cannot be written; *ret is as it was then. */
int level_probe(const char *state_dir, enum ks_protection wanted, struct backend_levels *ret, struct err *reterr) CHECKED;
/* The named level by what was found before; what was refused then is probed anew, since a module may have been loaded meanwhile. A device is what it was
 * when it was asked last: whoever wants to know better asks it before, where it may take its time. Errors as level_probe. */
int level_find(const char *state_dir, enum ks_protection wanted, struct backend_levels *levels, const struct backend **ret, struct err *reterr) CHECKED;

#endif

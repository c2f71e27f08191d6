/* What better protection of keys would need, in words: computed here and nowhere else. */
#ifndef KEYROLL_KEYSTORE_ADVICE_H
#define KEYROLL_KEYSTORE_ADVICE_H

#include "keystore/backend.h"
#include "keystore/ks.h"

struct advice {
	const struct backend_levels *levels;
	enum ks_protection in_force; /* never AUTO */
	enum ks_protection made_at;  /* the level that the key was made at; AUTO: it does not matter */
	const char *at_rest;	     /* "tpm2", "host", "file", "none" */
};

/* One printable line, its parts joined by "; ": first what a key has lost, then what a better level wants, then what a better seal wants.
 * "" when nothing better is known. */
void advice_build(const struct advice *a, char ret[KS_ADVICE_BYTES]);

/* What stands after "Do: " where that level is named and not to be had. */
const char *advice_level(const struct backend_levels *levels, enum ks_protection wanted);

#endif

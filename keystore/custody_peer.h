/* Who is at the other end, and what it may do with a key. */
#ifndef KEYROLL_KEYSTORE_CUSTODY_PEER_H
#define KEYROLL_KEYSTORE_CUSTODY_PEER_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/err.h"
#include "keystore/keymeta.h"

enum { PEER_GROUPS = 64 };

struct peer {
	uid_t uid;
	gid_t gids[PEER_GROUPS]; /* its main group, then the supplementary ones that fit */
	int n_gids;
};

int peer_get(int fd, struct peer *ret, struct err *reterr) CHECKED;
/* Make keys: root, our own user, the users named. */
bool peer_may_make(const struct peer *p, const char *const *makers);
/* Everything: the maker and root. */
bool peer_may_own(const struct peer *p, const struct vault_key *k);
/* Load, sign and decrypt: the owner; Users= and Groups= with all but the shadow. */
bool peer_may_use(const struct peer *p, const struct vault_key *k);

#endif

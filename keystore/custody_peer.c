/* Peers: see custody_peer.h. Names are resolved at each question, so that a group changed today counts today. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>

#include "common/auto.h"
#include "keystore/custody_peer.h"

int peer_get(int fd, struct peer *ret, struct err *reterr)
{
	struct ucred cred;
	socklen_t len = sizeof(cred), groups_len = sizeof(ret->gids) - sizeof(gid_t);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return err_set(reterr, -errno, "who is at the socket: %s", strerror(errno));
	ret->uid = cred.uid;
	ret->gids[0] = cred.gid;
	ret->n_gids = 1;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, ret->gids + 1, &groups_len) == 0)
		ret->n_gids += (int) (groups_len / sizeof(gid_t)); /* more than fit: none of them count, which refuses */
	return 0;
}

static bool user_is(uid_t uid, const char *name)
{
	char room[2048];
	struct passwd pw, *found = NULL;

	return getpwnam_r(name, &pw, room, sizeof(room), &found) == 0 && found && found->pw_uid == uid;
}

static bool group_in(const struct peer *p, const char *name)
{
	char room[65536]; /* a group has its members' names in it */
	struct group gr, *found = NULL;

	if (getgrnam_r(name, &gr, room, sizeof(room), &found) != 0 || !found)
		return false;
	for (int i = 0; i < p->n_gids; i++)
		if (p->gids[i] == found->gr_gid)
			return true;
	return false;
}

bool peer_may_make(const struct peer *p, const char *const *makers)
{
	if (p->uid == 0 || p->uid == geteuid())
		return true;
	for (; makers && *makers; makers++)
		if (user_is(p->uid, *makers))
			return true;
	return false;
}

bool peer_may_own(const struct peer *p, const struct vault_key *k)
{
	return p->uid == 0 || p->uid == k->uid;
}

static bool named(const struct peer *p, const struct buf *names, bool groups)
{
	AUTO(mem) char *copy = names->len > 0 ? strdup((const char *) names->data) : NULL;
	char *rest = copy, *name;

	while (rest && (name = strsep(&rest, ",")))
		if (groups ? group_in(p, name) : user_is(p->uid, name))
			return true;
	return false;
}

bool peer_may_use(const struct peer *p, const struct vault_key *k)
{
	if (peer_may_own(p, k))
		return true;
	return k->slot != KS_SLOT_SHADOW && (named(p, &k->users, false) || named(p, &k->groups, true));
}

/* See own_user.h. */
#include "ca/own_user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "common/fs.h"

#define OWN_USER "keyroll-ca"

int own_user_become(struct err *reterr)
{
	const struct passwd *p;

	if (geteuid() != 0 || fs_root()[0])
		return 0;
	p = getpwnam(OWN_USER);
	if (!p)
		return 0;
	if (initgroups(OWN_USER, p->pw_gid) < 0 || setresgid(p->pw_gid, p->pw_gid, p->pw_gid) < 0 || setresuid(p->pw_uid, p->pw_uid, p->pw_uid) < 0)
		return err_set(reterr, -errno, "cannot become user " OWN_USER ": %s", strerror(errno));
	return 0;
}

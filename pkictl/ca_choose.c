/* Which CA is meant: --ca, or the only one that is configured. See cli.h. */
#include "pkictl/cli.h"

#include <dirent.h>
#include <string.h>

#include "common/conf.h"
#include "common/fs.h"

#define SUFFIX ".conf"

/* "ROOTCA.conf" -> a new "ROOTCA"; NULL: no configuration of a CA. */
static char *name_of(const char *file)
{
	size_t len = strlen(file), tail = strlen(SUFFIX);
	AUTO(mem) char *name = NULL;

	if (len <= tail || strcmp(file + len - tail, SUFFIX) != 0)
		return NULL;
	name = strndup(file, len - tail);
	return name && conf_name_ok(name) ? TAKE(name) : NULL;
}

/* How many there are; *ret is one of them, the caller's. */
static int count_all(const char *folder, char **ret)
{
	AUTO(dir) DIR *dir = opendir(folder);
	struct dirent *e;
	int n = 0;

	while (dir && (e = readdir(dir))) {
		AUTO(mem) char *name = name_of(e->d_name);

		if (!name)
			continue;
		n++;
		free(*ret);
		*ret = TAKE(name);
	}
	return n;
}

enum cli_exit cli_ca_choose(const struct cli *c, char **ret_name)
{
	AUTO(mem) char *folder = fs_path("/etc/keyroll/ca");
	AUTO(mem) char *name = NULL;
	int n = 1;

	if (c->ca && !conf_name_ok(c->ca))
		return cli_fail(c, CLI_USAGE, "give the name of a file in /etc/keyroll/ca, without .conf", "--ca=%s is no name of a CA", c->ca);
	if (c->ca)
		name = strdup(c->ca);
	else if (folder)
		n = count_all(folder, &name);
	if (n == 0)
		return cli_fail(c, CLI_FAILED, "write /etc/keyroll/ca/NAME.conf, then: pkictl ca init NAME", "no CA is configured on this machine");
	if (n > 1)
		return cli_fail(c, CLI_USAGE, "add --ca=NAME", "there are %d CAs, %s is one of them", n, name);
	if (!name)
		return cli_fail(c, CLI_FAILED, "free some memory", "out of memory");
	*ret_name = TAKE(name);
	return CLI_OK;
}

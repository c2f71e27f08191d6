/* Levels that are named: see level.h. */
#include "keystore/level.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keystore/advice.h"

int level_probe(const char *state_dir, enum ks_protection wanted, struct backend_levels *ret, struct err *reterr)
{
	AUTO(mem) char *path = NULL;
	const struct backend *b;
	struct err why = { .code = 0 };
	int r;

	if (asprintf(&path, "%s/probe.der", state_dir) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	r = backend_probe(path, ret, reterr);
	if (r < 0)
		return r;
	r = backend_choose(ret, wanted, &b, &why);
	if (r < 0 && strstr(why.text, ". Do: ")) /* in the reason's own words */
		return err_set(reterr, r, "%s", why.text);
	return r < 0 ? err_set(reterr, r, "%s. Do: %s", why.text, advice_level(ret, wanted)) : 0;
}

int level_find(const char *state_dir, enum ks_protection wanted, struct backend_levels *levels, const struct backend **ret, struct err *reterr)
{
	struct backend_levels found;
	int r = backend_choose(levels, wanted, ret, NULL);

	if (r == 0 && !(*ret)->device)
		return 0;
	r = level_probe(state_dir, wanted, &found, reterr);
	if (r == 0 || r == -ENOTSUP)
		levels->why_not[wanted] = found.why_not[wanted]; /* what keys lie at is not put in question by a probe that fails now */
	return r < 0 ? r : backend_choose(levels, wanted, ret, reterr);
}

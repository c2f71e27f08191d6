/* Choosing and judging trustpoints: see trustpoint.h. */
#include "pkictl/trustpoint.h"

#include <fnmatch.h>
#include <string.h>

#include "common/clk.h"

#define DAY_SEC 86400LL

static bool is_glob(const char *name)
{
	return strpbrk(name, "*?[") != NULL;
}

/* -1: none of the patterns; else which one. */
static int pattern_matching(const struct cli *c, const char *name)
{
	int i;

	for (i = 0; i < c->n_args; i++)
		if (fnmatch(c->args[i], name, 0) == 0)
			return i;
	return -1;
}

static bool pattern_matches_any(const char *pattern, const json_t *all, const char *key)
{
	json_t *one;
	size_t i;

	json_array_foreach(all, i, one)
		if (fnmatch(pattern, cli_text(one, key), 0) == 0)
			return true;
	return false;
}

static enum cli_exit patterns_check(const struct cli *c, const json_t *all, const char *key)
{
	int i;

	for (i = 0; i < c->n_args; i++)
		if (!pattern_matches_any(c->args[i], all, key))
			return cli_fail(c, CLI_FAILED, "pkictl list", "no trustpoint %s", c->args[i]);
	return CLI_OK;
}

/* Leaves the matching ones, in their order. */
static void keep_matching(const struct cli *c, json_t *all, const char *key)
{
	size_t i = 0;

	while (c->n_args > 0 && i < json_array_size(all)) {
		if (pattern_matching(c, cli_text(json_array_get(all, i), key)) >= 0)
			i++;
		else
			(void) json_array_remove(all, i); /* i is within */
	}
}

enum cli_exit trustpoints_ask(const struct cli *c, const char *method, const char *list, const char *key, bool strict, json_t **ret)
{
	bool one = c->n_args == 1 && !is_glob(c->args[0]);
	AUTO(json) json_t *reply = NULL;
	enum cli_exit r;
	json_t *all;

	r = cli_ask_agent(c, method, one ? json_pack("{s:s}", "name", c->args[0]) : NULL, CLI_TIMEOUT_MS, &reply);
	if (r != CLI_OK)
		return r;
	all = json_object_get(reply, list);
	if (!json_is_array(all))
		return cli_fail(c, CLI_FAILED, "pkictl --version, and keyrolld's: they should be the same", "keyrolld's answer has no %s", list);
	if (strict && (r = patterns_check(c, all, key)) != CLI_OK)
		return r;
	keep_matching(c, all, key);
	*ret = TAKE(reply);
	return CLI_OK;
}

static int64_t time_of(const json_t *cert, const char *key)
{
	int64_t sec;

	return clk_rfc3339_parse(cli_text(cert, key), &sec) < 0 ? 0 : sec;
}

static enum cli_exit window_severity(const json_t *id, int64_t now_sec)
{
	int64_t nb = time_of(id, "not_before"), na = time_of(id, "not_after"), life = na - nb, left = na - now_sec;

	if (na == 0)
		return CLI_OK;
	if (left <= 0)
		return CLI_EXPIRED;
	if (left < life / 50 && left < 7 * DAY_SEC)
		return CLI_CRITICAL;
	if (left < life / 10 && left < 60 * DAY_SEC)
		return CLI_WARNING;
	return CLI_OK;
}

enum cli_exit trustpoint_severity(const json_t *trustpoint, int64_t now_sec)
{
	static const struct {
		const char *status;
		enum cli_exit code;
	} codes[] = {
		{ "expired", CLI_EXPIRED }, { "held", CLI_CRITICAL }, { "pending", CLI_PENDING }, { "unauthenticated", CLI_WARNING },
	};
	const char *status = cli_text(trustpoint, "status");
	enum cli_exit r = CLI_OK;
	size_t i;

	for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (strcmp(status, codes[i].status) == 0)
			r = codes[i].code;
	if (cli_text(trustpoint, "config_error")[0] || cli_text(trustpoint, "alarm")[0])
		r = severity_worse(r, CLI_CRITICAL);
	if (!json_is_object(json_object_get(trustpoint, "shadow")))
		r = severity_worse(r, window_severity(json_object_get(trustpoint, "id"), now_sec));
	return r;
}

static int rank(enum cli_exit e)
{
	static const enum cli_exit order[] = { CLI_OK, CLI_WARNING, CLI_PENDING, CLI_CRITICAL, CLI_CLOCK, CLI_EXPIRED };
	int i;

	for (i = 0; i < (int) (sizeof(order) / sizeof(order[0])); i++)
		if (order[i] == e)
			return i;
	return i; /* failures of our own are worst */
}

enum cli_exit severity_worse(enum cli_exit a, enum cli_exit b)
{
	return rank(a) >= rank(b) ? a : b;
}

bool clock_is_trusted(const json_t *reply)
{
	return strcmp(cli_text(reply, "clock"), "untrusted") != 0;
}

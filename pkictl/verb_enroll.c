/* pkictl enroll, renew: start the operation, say what the trustpoint does now. */
#include "pkictl/cli.h"

#include <string.h>

#include "common/buf.h"
#include "common/fs.h"
#include "common/limits.h"
#include "pkictl/trustpoint.h"

/* The first line of the file: a challenge password never stands on a command line, where ps shows it. */
static enum cli_exit challenge_read(const struct cli *c, struct buf *ret)
{
	struct err e = { 0 };
	size_t len;

	if (fs_read(c->challenge_file, LIMIT_CHALLENGE_BYTES, ret, &e) < 0)
		return cli_fail(c, CLI_FAILED, "check --challenge-file", "%s", e.text);
	for (len = ret->len; len > 0 && (ret->data[len - 1] == '\n' || ret->data[len - 1] == '\r'); len--)
		ret->data[len - 1] = '\0';
	ret->len = len;
	if (len == 0 || strlen((const char *) ret->data) != len || strchr((const char *) ret->data, '\n'))
		return cli_fail(c, CLI_FAILED, "put the challenge password on the only line of the file", "%s does not hold one line of text",
				c->challenge_file);
	return CLI_OK;
}

static void line_show(const struct cli *c, const json_t *one)
{
	(void) fprintf(c->io->out, "%s: %s", cli_text(one, "name"), cli_text(one, "status")); /* main checks out at the end */
	if (strcmp(cli_text(one, "operation"), "none") != 0)
		(void) fprintf(c->io->out, ", %s %s", cli_text(one, "operation"), cli_text(one, "stage")); /* as above */
	(void) fputc('\n', c->io->out);									  /* as above */
}

/* PENDING is told by the exit code, as it is the operator of the CA who acts next. *ret_one: the trustpoint as it is now, the caller's. */
static enum cli_exit start(const struct cli *c, const char *method, json_t *params, json_t **ret_one)
{
	AUTO(json) json_t *reply = NULL;
	enum cli_exit r;

	r = cli_ask_agent(c, method, params, CLI_TIMEOUT_MS, &reply);
	if (r != CLI_OK)
		return r;
	*ret_one = json_incref(json_object_get(reply, "trustpoint"));
	if (!c->json)
		line_show(c, *ret_one);
	return strcmp(cli_text(*ret_one, "status"), "pending") == 0 ? CLI_PENDING : CLI_OK;
}

static enum cli_exit start_one(const struct cli *c, json_t *params)
{
	AUTO(json) json_t *one = NULL;
	AUTO(json) json_t *object = NULL;
	enum cli_exit r = start(c, "Enroll", params, &one);

	if (!c->json || !one)
		return r;
	object = json_pack("{s:O}", "trustpoint", one);
	return object && cli_print_json(c, object) == CLI_OK ? r : CLI_FAILED;
}

enum cli_exit verb_enroll(const struct cli *c)
{
	AUTO(buf) struct buf challenge = BUF_SECRET;
	enum cli_exit r;
	json_t *params;

	if (!c->challenge_file)
		return start_one(c, json_pack("{s:s}", "name", c->args[0]));
	r = challenge_read(c, &challenge);
	if (r != CLI_OK)
		return r;
	params = json_pack("{s:s, s:s}", "name", c->args[0], "challenge", (const char *) challenge.data);
	if (!params)
		return cli_fail(c, CLI_FAILED, "write the challenge password in UTF-8", "%s is not UTF-8", c->challenge_file);
	return start_one(c, params);
}

/* Those that a glob means, in one document under --json; one that fails does not keep the others from it. */
enum cli_exit verb_renew(const struct cli *c)
{
	AUTO(json) json_t *reply = NULL;
	AUTO(json) json_t *renewed = json_pack("{s:[]}", "trustpoints");
	enum cli_exit r, worst = CLI_OK;
	json_t *one;
	size_t i;

	r = trustpoints_ask(c, "Status", "trustpoints", "name", true, &reply);
	if (r != CLI_OK || !renewed)
		return r != CLI_OK ? r : CLI_FAILED;
	json_array_foreach(json_object_get(reply, "trustpoints"), i, one) {
		AUTO(json) json_t *now = NULL;

		r = start(c, "Renew", json_pack("{s:s}", "name", cli_text(one, "name")), &now);
		worst = severity_worse(worst, r);
		if (now && json_array_append(json_object_get(renewed, "trustpoints"), now) < 0)
			return CLI_FAILED;
	}
	return c->json && cli_print_json(c, renewed) != CLI_OK ? CLI_FAILED : worst;
}

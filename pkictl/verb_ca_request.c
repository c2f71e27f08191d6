/* pkictl ca requests, grant, reject. */
#include "pkictl/cli.h"

#include <string.h>

#include "common/conf.h"
#include "pkictl/table.h"
#include "pkictl/text.h"

static const char *kind_of(const json_t *request)
{
	if (json_is_true(json_object_get(request, "rollover")))
		return "rollover";
	return json_is_true(json_object_get(request, "renewal")) ? "renewal" : "new";
}

static int row_add(struct table *t, const json_t *request)
{
	char id[32], when[TEXT_AT_BYTES];

	(void) snprintf(id, sizeof(id), "%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(request, "id"))); /* fits */
	if (table_add(t, id) < 0 || table_add(t, cli_text(request, "status")) < 0 || table_add(t, kind_of(request)) < 0 ||
	    table_add(t, cli_text(request, "subject")) < 0 || table_add(t, cli_text(request, "fingerprint")) < 0 ||
	    table_add(t, cli_text(request, "address")) < 0 || table_add(t, text_when(cli_text(request, "received"), when)) < 0 ||
	    table_add(t, cli_text(request, cli_text(request, "serial")[0] ? "serial" : "why")) < 0)
		return -1;
	return 0;
}

static enum cli_exit reply_show(const struct cli *c, const json_t *reply)
{
	static const char *const headings[] = { "ID", "STATUS", "KIND", "SUBJECT", "FINGERPRINT", "FROM", "RECEIVED", "SERIAL, WHY", NULL };
	AUTO(table) struct table *t = table_new(headings);
	json_t *request;
	size_t i;

	if (c->json)
		return cli_print_json(c, reply);
	json_array_foreach(json_object_get(reply, "requests"), i, request)
		if (!t || row_add(t, request) < 0)
			return cli_fail(c, CLI_FAILED, "free some memory", "out of memory");
	if (t && i > 0)
		table_print(t, c->io->out, c->legend, c->io->colour);
	else
		(void) fprintf(c->io->out, "No requests.\n"); /* main checks out at the end */
	cli_print_more(c, reply, "grant or reject these first.");
	return CLI_OK;
}

/* params is stolen. */
static enum cli_exit ask_and_show(const struct cli *c, const char *method, json_t *params)
{
	AUTO(json) json_t *owned = params;
	AUTO(json) json_t *reply = NULL;
	AUTO(mem) char *name = NULL;
	enum cli_exit r;

	if (!owned)
		return cli_fail(c, CLI_USAGE, "write it in UTF-8", "the request cannot be made of that");
	r = cli_ca_choose(c, &name);
	if (r != CLI_OK)
		return r;
	r = cli_ask_ca(c, name, method, json_incref(owned), CLI_TIMEOUT_MS, &reply);
	if (r != CLI_OK)
		return r;
	return reply_show(c, reply);
}

enum cli_exit verb_ca_requests(const struct cli *c)
{
	return ask_and_show(c, "Requests", c->all ? json_pack("{s:b}", "all", 1) : json_object());
}

static enum cli_exit ids_parse(const struct cli *c, json_t *ids)
{
	static const struct conf_range range = { 1, INT64_MAX };
	int64_t id;
	int i;

	for (i = 0; i < c->n_args; i++) {
		if (conf_parse_int(c->args[i], &range, &id, NULL) < 0)
			return cli_fail(c, CLI_USAGE, "pkictl ca requests", "%s is not the ID of a request", c->args[i]);
		if (json_array_append_new(ids, json_integer(id)) < 0)
			return cli_fail(c, CLI_FAILED, "free some memory", "out of memory");
	}
	return CLI_OK;
}

static enum cli_exit decide(const struct cli *c, const char *method)
{
	AUTO(json) json_t *ids = json_array();
	enum cli_exit r;

	if (c->all == (c->n_args > 0))
		return cli_fail(c, CLI_USAGE, "pkictl ca requests, then name IDs or give --all", "either IDs or --all are wanted");
	r = ids_parse(c, ids);
	if (r != CLI_OK)
		return r;
	if (c->all)
		return ask_and_show(c, method, json_pack("{s:b, s:s*}", "all", 1, "reason", c->reason));
	return ask_and_show(c, method, json_pack("{s:O, s:s*}", "ids", ids, "reason", c->reason));
}

enum cli_exit verb_ca_grant(const struct cli *c)
{
	return decide(c, "Grant");
}

enum cli_exit verb_ca_reject(const struct cli *c)
{
	return decide(c, "Reject");
}

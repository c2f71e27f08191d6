/* pkictl reload: the agent reads its trustpoints' files again. */
#include "pkictl/cli.h"

#include "pkictl/block.h"

enum cli_exit verb_reload(const struct cli *c)
{
	AUTO(json) json_t *reply = NULL;
	enum cli_exit r = cli_ask_agent(c, "Reload", NULL, CLI_TIMEOUT_MS, &reply);
	json_t *errors, *one;
	size_t i;

	if (r != CLI_OK)
		return r;
	errors = json_object_get(reply, "errors");
	r = json_array_size(errors) > 0 ? CLI_CRITICAL : CLI_OK;
	if (c->json)
		return cli_print_json(c, reply) == CLI_OK ? r : CLI_FAILED;
	block_fact(c, "Trustpoints:", reply, "trustpoints");
	json_array_foreach(errors, i, one)
		block_text(c, "Error:", json_string_value(one));
	return r;
}

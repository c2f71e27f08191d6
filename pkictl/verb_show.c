/* pkictl show: all that is known of a trustpoint. */
#include "pkictl/cli.h"

#include <string.h>

#include "pkictl/block.h"
#include "pkictl/text.h"
#include "pkictl/trustpoint.h"

static void facts_show(const struct cli *c, const json_t *one)
{
	const json_t *timer = json_object_get(one, "next_timer");

	block_fact(c, "Status:", one, "status");
	block_fact(c, "Configuration:", one, "config_error");
	block_fact(c, "Alarm:", one, "alarm");
	if (strcmp(cli_text(one, "operation"), "none") != 0) {
		block_fact(c, "Operation:", one, "operation");
		block_fact(c, "Stage:", one, "stage");
		block_fact(c, "Transaction:", one, "transaction");
		block_fact(c, "Polls:", one, "polls");
	}
	if (strcmp(cli_text(one, "hold"), "none") != 0)
		block_fact(c, "Waits for:", one, "hold");
	block_fact(c, "Last error:", one, "last_error");
	block_fact(c, "Enrolment URL:", one, "enrollment_url");
	block_fact(c, "Key:", one, "key_label");
	block_fact(c, "Key bits:", one, "bits");
	block_fact(c, "Protection:", one, "protection");
	block_fact(c, "At rest:", one, "at_rest");
	block_fact(c, "Kernel:", one, "kernel_release");
	block_fact(c, "Better protection:", one, "better_protection");
	block_fact(c, "Generation:", one, "generation");
	block_fact(c, "Next timer:", timer, "timer");
	block_time(c, "Next at:", timer, "at");
	block_fact(c, "Because:", timer, "why");
}

static void one_show(const struct cli *c, const json_t *one)
{
	(void) fprintf(c->io->out, "Trustpoint\n"); /* main checks out at the end */
	block_fact(c, "Name:", one, "name");
	facts_show(c, one);
	block_cert(c, "CA certificate (next)", json_object_get(one, "next_ca"));
	block_cert(c, "CA certificate", json_object_get(one, "ca"));
	block_cert(c, "Certificate (shadow)", json_object_get(one, "shadow"));
	block_cert(c, "Certificate", json_object_get(one, "id"));
}

enum cli_exit verb_show(const struct cli *c)
{
	AUTO(json) json_t *reply = NULL;
	enum cli_exit r;
	json_t *one;
	size_t i;

	r = trustpoints_ask(c, "Status", "trustpoints", "name", true, &reply);
	if (r != CLI_OK)
		return r;
	if (c->json)
		return cli_print_json(c, reply);
	json_array_foreach(json_object_get(reply, "trustpoints"), i, one) {
		if (i > 0)
			(void) fputc('\n', c->io->out); /* main checks out at the end */
		one_show(c, one);
	}
	return CLI_OK;
}

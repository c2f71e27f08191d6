/* pkictl ca status, list, rollover. */
#include "pkictl/cli.h"

#include <inttypes.h>
#include <string.h>

#include "common/clk.h"
#include "pkictl/block.h"
#include "pkictl/table.h"
#include "pkictl/text.h"
#include "pkictl/trustpoint.h"

static enum cli_exit ca_ask(const struct cli *c, const char *method, json_t *params, json_t **ret, char **ret_name)
{
	AUTO(mem) char *name = NULL;
	enum cli_exit r;

	r = cli_ca_choose(c, &name);
	if (r != CLI_OK) {
		json_decref(params);
		return r;
	}
	r = cli_ask_ca(c, name, method, params, CLI_TIMEOUT_MS, ret);
	if (r == CLI_OK && ret_name)
		*ret_name = TAKE(name);
	return r;
}

static void timers_show(const struct cli *c, const json_t *timers)
{
	char label[64];
	json_t *timer;
	size_t i;

	json_array_foreach(timers, i, timer) {
		(void) snprintf(label, sizeof(label), "%.60s:", cli_text(timer, "timer")); /* cut is fine */
		block_time(c, label, timer, "at");
	}
}

/* In the order of IOS's `show crypto pki server`. */
static void status_show(const struct cli *c, const json_t *s)
{
	const json_t *overlap = json_object_get(s, "overlap_ms");
	char span[TEXT_LEFT_BYTES];

	(void) fprintf(c->io->out, "Certificate Server %s\n", cli_text(s, "name")); /* main checks out at the end */
	block_fact(c, "Status:", s, "status");
	block_fact(c, "Issuer name:", s, "issuer");
	block_fact(c, "URL:", s, "url");
	block_fact(c, "Granting:", s, "grant");
	block_fact(c, "Grants renewals:", s, "grant_renewals");
	block_fact(c, "Pending requests:", s, "pending");
	block_fact(c, "Issued:", s, "issued");
	block_fact(c, "Key protection:", s, "protection");
	block_fact(c, "At rest:", s, "at_rest");
	block_fact(c, "Kernel:", s, "kernel_release");
	block_fact(c, "Better protection:", s, "better_protection");
	block_fact(c, "Clock:", s, "clock");
	block_time(c, "CRL next update:", s, "crl_next_update");
	block_fact(c, "Rollover:", s, "rollover_status");
	if (json_is_integer(overlap))
		block_text(c, "Rollover overlap:", text_left(json_integer_value(overlap), span));
	block_cert(c, "CA certificate (rollover)", json_object_get(s, "rollover"));
	block_cert(c, "CA certificate", json_object_get(s, "ca"));
	block_cert(c, "CA certificate (previous)", json_object_get(s, "previous"));
	if (json_array_size(json_object_get(s, "timers")) > 0)
		(void) fprintf(c->io->out, "Timers\n"); /* main checks out at the end */
	timers_show(c, json_object_get(s, "timers"));
}

static enum cli_exit status_severity(const struct cli *c, const json_t *s)
{
	int64_t ends;

	if (!clock_is_trusted(s))
		return CLI_CLOCK;
	if (clk_rfc3339_parse(cli_text(json_object_get(s, "ca"), "not_after"), &ends) == 0 && ends * 1000 <= c->io->now_ms)
		return CLI_EXPIRED;
	return CLI_OK;
}

enum cli_exit verb_ca_status(const struct cli *c)
{
	AUTO(json) json_t *reply = NULL;
	enum cli_exit r;

	r = ca_ask(c, "Status", NULL, &reply, NULL);
	if (r != CLI_OK)
		return r;
	if (c->json && (r = cli_print_json(c, reply)) != CLI_OK)
		return r;
	if (!c->json)
		status_show(c, reply);
	return status_severity(c, reply);
}

static int cert_row(struct table *t, const json_t *cert)
{
	char from[TEXT_AT_BYTES], to[TEXT_AT_BYTES], revoked[TEXT_AT_BYTES];

	if (table_add(t, cli_text(cert, "serial")) < 0 || table_add(t, cli_text(cert, "subject")) < 0 ||
	    table_add(t, text_when(cli_text(cert, "not_before"), from)) < 0 || table_add(t, text_when(cli_text(cert, "not_after"), to)) < 0 ||
	    table_add_coloured(t, text_when(cli_text(cert, "revoked"), revoked), TABLE_BAD) < 0)
		return -1;
	return 0;
}

enum cli_exit verb_ca_list(const struct cli *c)
{
	static const char *const headings[] = { "SERIAL", "SUBJECT", "FROM", "UNTIL", "REVOKED", NULL };
	AUTO(table) struct table *t = table_new(headings);
	AUTO(json) json_t *reply = NULL;
	enum cli_exit r;
	json_t *cert;
	size_t i;

	r = ca_ask(c, "List", c->max > 0 ? json_pack("{s:I}", "max", (json_int_t) c->max) : NULL, &reply, NULL);
	if (r != CLI_OK || c->json)
		return r == CLI_OK ? cli_print_json(c, reply) : r;
	json_array_foreach(json_object_get(reply, "certificates"), i, cert)
		if (!t || cert_row(t, cert) < 0)
			return cli_fail(c, CLI_FAILED, "free some memory", "out of memory");
	if (t && i > 0)
		table_print(t, c->io->out, c->legend, c->io->colour);
	else
		(void) fprintf(c->io->out, "No certificates.\n"); /* main checks out at the end */
	cli_print_more(c, reply, "these are the newest that fit into one answer.");
	return CLI_OK;
}

/* Deleting a rollover CA strands every shadow certificate that it issued: the operator names the CA again. */
static enum cli_exit cancel_check(const struct cli *c)
{
	AUTO(mem) char *name = NULL;
	enum cli_exit r;

	r = cli_ca_choose(c, &name);
	if (r != CLI_OK)
		return r;
	if (c->yes && strcmp(c->yes, name) == 0)
		return CLI_OK;
	return cli_fail(c, CLI_REFUSED, "if that is meant, add --yes=NAME with the CA's name",
			"--cancel deletes the next CA certificate of %s; shadow certificates that it issued become worthless", name);
}

enum cli_exit verb_ca_rollover(const struct cli *c)
{
	AUTO(json) json_t *reply = NULL;
	AUTO(mem) char *name = NULL;
	enum cli_exit r;

	if (c->yes && !c->cancel)
		return cli_fail(c, CLI_USAGE, "pkictl --help", "--yes goes with --cancel");
	if (c->cancel && (r = cancel_check(c)) != CLI_OK)
		return r;
	r = ca_ask(c, "Rollover", c->cancel ? json_pack("{s:b}", "cancel", 1) : NULL, &reply, &name);
	if (r != CLI_OK || c->json)
		return r == CLI_OK ? cli_print_json(c, reply) : r;
	if (c->cancel)
		(void) fprintf(c->io->out, "%s: the rollover is cancelled.\n", name); /* main checks out at the end */
	else
		block_cert(c, "CA certificate (rollover)", json_object_get(reply, "rollover"));
	return CLI_OK;
}

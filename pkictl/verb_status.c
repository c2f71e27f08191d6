/* pkictl status, list: tables of all trustpoints. */
#include "pkictl/cli.h"

#include <string.h>

#include "common/clk.h"
#include "pkictl/table.h"
#include "pkictl/text.h"
#include "pkictl/trustpoint.h"

static enum table_colour colour_of(enum cli_exit severity)
{
	if (severity == CLI_OK)
		return TABLE_GOOD;
	return severity == CLI_WARNING || severity == CLI_PENDING ? TABLE_WARN : TABLE_BAD;
}

static const char *left_until(const struct cli *c, const json_t *cert, char out[TEXT_LEFT_BYTES])
{
	int64_t sec;

	if (clk_rfc3339_parse(cli_text(cert, "not_after"), &sec) < 0)
		return "";
	return text_left(sec * 1000 - c->io->now_ms, out);
}

/* "RENEW in 12 d 4 h" */
static const char *next_text(const json_t *trustpoint, char out[96])
{
	const json_t *timer = json_object_get(trustpoint, "next_timer");
	char left[TEXT_LEFT_BYTES];

	out[0] = '\0';
	if (json_is_object(timer))
		(void) snprintf(out, 96, "%.40s in %s", cli_text(timer, "timer"),
				text_left(json_integer_value(json_object_get(timer, "left_ms")), left)); /* fits */
	return out;
}

static int row_add(const struct cli *c, struct table *t, const json_t *one)
{
	const json_t *id = json_object_get(one, "id");
	char when[TEXT_AT_BYTES], left[TEXT_LEFT_BYTES], next[96];
	enum table_colour colour = colour_of(trustpoint_severity(one, c->io->now_ms / 1000));

	if (table_add(t, cli_text(one, "name")) < 0 || table_add_coloured(t, cli_text(one, "status"), colour) < 0 ||
	    table_add(t, cli_text(id, "subject")) < 0 || table_add(t, text_when(cli_text(id, "not_after"), when)) < 0 ||
	    table_add(t, left_until(c, id, left)) < 0 || table_add(t, next_text(one, next)) < 0 ||
	    table_add(t, cli_text(one, "protection")) < 0)
		return -1;
	return 0;
}

static void printable_put(const char *text, FILE *out)
{
	for (; *text; text++)
		(void) fputc(*text < 0x20 || *text > 0x7e ? '?' : *text, out); /* main checks out at the end */
}

static void remark(const struct cli *c, const json_t *one, const char *key, const char *words)
{
	const char *text = cli_text(one, key);

	if (!text[0] || strcmp(text, "none") == 0)
		return;
	printable_put(cli_text(one, "name"), c->io->out);
	(void) fprintf(c->io->out, ": %s", words); /* main checks out at the end */
	printable_put(text, c->io->out);
	(void) fputc('\n', c->io->out); /* as above */
}

/* A trustpoint that waits for the operator says what it waits for. */
static void hold_remark(const struct cli *c, const json_t *one)
{
	const char *hold = cli_text(one, "hold"), *name = cli_text(one, "name");
	const char *verb = strcmp(cli_text(one, "status"), "unauthenticated") == 0 ? "authenticate" : "enroll";

	if (!hold[0] || strcmp(hold, "none") == 0 || strcmp(hold, "protection") == 0) /* the last has its alarm */
		return;
	if (strcmp(hold, "rejected") == 0)
		(void) fprintf(c->io->out, "%s: the CA rejected the request: ask its operator, then: pkictl %s %s\n", name, verb, name); /* main checks */
	else
		(void) fprintf(c->io->out, "%s: waits for: pkictl %s %s\n", name, verb, name); /* main checks */
}

static enum cli_exit table_show(const struct cli *c, const json_t *reply)
{
	static const char *const headings[] = { "TRUSTPOINT", "STATUS", "SUBJECT", "EXPIRES", "LEFT", "NEXT", "KEY", NULL };
	const json_t *all = json_object_get(reply, "trustpoints");
	AUTO(table) struct table *t = table_new(headings);
	json_t *one;
	size_t i;

	json_array_foreach(all, i, one)
		if (!t || row_add(c, t, one) < 0)
			return cli_fail(c, CLI_FAILED, "free some memory", "out of memory");
	if (t && json_array_size(all) > 0)
		table_print(t, c->io->out, c->legend, c->io->colour);
	else
		(void) fprintf(c->io->out, "No trustpoints.\n"); /* main checks out at the end */
	if (!clock_is_trusted(reply))
		(void) fprintf(c->io->out, "The clock is not trusted: no certificate timer is armed.\n"); /* as above */
	json_array_foreach(all, i, one) {
		remark(c, one, "config_error", "configuration: ");
		remark(c, one, "alarm", "alarm: ");
		hold_remark(c, one);
		remark(c, one, "last_error", "last error: ");
	}
	return CLI_OK;
}

enum cli_exit verb_status(const struct cli *c)
{
	AUTO(json) json_t *reply = NULL;
	enum cli_exit r;
	json_t *one;
	size_t i;

	r = trustpoints_ask(c, "Status", "trustpoints", "name", true, &reply);
	if (r != CLI_OK)
		return r;
	r = c->json ? cli_print_json(c, reply) : table_show(c, reply);
	if (!clock_is_trusted(reply))
		r = severity_worse(r, CLI_CLOCK);
	json_array_foreach(json_object_get(reply, "trustpoints"), i, one)
		r = severity_worse(r, trustpoint_severity(one, c->io->now_ms / 1000));
	return r;
}

static const struct {
	const char *key, *word;
} slots[] = { { "next_ca", "next CA" }, { "ca", "CA" }, { "shadow", "shadow" }, { "id", "own" } };

static int list_row(const struct cli *c, struct table *t, const json_t *one, size_t slot)
{
	const json_t *cert = json_object_get(one, slots[slot].key);
	char from[TEXT_AT_BYTES], to[TEXT_AT_BYTES], left[TEXT_LEFT_BYTES];

	if (!json_is_object(cert))
		return 0;
	if (table_add(t, cli_text(one, "name")) < 0 || table_add(t, slots[slot].word) < 0 || table_add(t, cli_text(cert, "serial")) < 0 ||
	    table_add(t, cli_text(cert, "subject")) < 0 || table_add(t, text_when(cli_text(cert, "not_before"), from)) < 0 ||
	    table_add(t, text_when(cli_text(cert, "not_after"), to)) < 0 || table_add(t, left_until(c, cert, left)) < 0)
		return -1;
	return 0;
}

static int list_json(json_t *list, const json_t *one, size_t slot)
{
	json_t *cert = json_object_get(one, slots[slot].key);
	json_t *copy;

	if (!json_is_object(cert))
		return 0;
	copy = json_copy(cert);
	if (!copy || json_object_set_new(copy, "trustpoint", json_string(cli_text(one, "name"))) < 0 ||
	    json_object_set_new(copy, "slot", json_string(slots[slot].key)) < 0) {
		json_decref(copy);
		return -1;
	}
	return json_array_append_new(list, copy);
}

static int list_gather(const struct cli *c, const json_t *all, struct table *t, json_t *list)
{
	json_t *one;
	size_t i, s;

	json_array_foreach(all, i, one)
		for (s = 0; s < sizeof(slots) / sizeof(slots[0]); s++)
			if (c->json ? list_json(list, one, s) < 0 : list_row(c, t, one, s) < 0)
				return -1;
	return 0;
}

enum cli_exit verb_list(const struct cli *c)
{
	static const char *const headings[] = { "TRUSTPOINT", "CERTIFICATE", "SERIAL", "SUBJECT", "FROM", "UNTIL", "LEFT", NULL };
	AUTO(json) json_t *reply = NULL;
	AUTO(json) json_t *out = json_pack("{s:[]}", "certificates");
	AUTO(table) struct table *t = table_new(headings);
	enum cli_exit r;

	r = trustpoints_ask(c, "Status", "trustpoints", "name", true, &reply);
	if (r != CLI_OK)
		return r;
	if (!t || !out || list_gather(c, json_object_get(reply, "trustpoints"), t, json_object_get(out, "certificates")) < 0)
		return cli_fail(c, CLI_FAILED, "free some memory", "out of memory");
	if (c->json)
		return cli_print_json(c, out);
	if (table_is_empty(t))
		(void) fprintf(c->io->out, "No certificates.\n"); /* main checks out at the end */
	else
		table_print(t, c->io->out, c->legend, false);
	return CLI_OK;
}

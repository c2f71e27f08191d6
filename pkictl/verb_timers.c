/* pkictl timers: what will happen when, and why. */
#include "pkictl/cli.h"

#include "common/clk.h"
#include "pkictl/table.h"
#include "pkictl/text.h"
#include "pkictl/trustpoint.h"

static int64_t left_ms(const json_t *timer)
{
	return json_integer_value(json_object_get(timer, "left_ms"));
}

static int by_left(const void *a, const void *b)
{
	int64_t x = left_ms(*(json_t *const *) a), y = left_ms(*(json_t *const *) b);

	return (x > y) - (x < y);
}

/* The daemon sorts within a trustpoint; here all of them are one list. NULL: out of memory. Owned by the caller. */
static json_t *sorted(const json_t *timers)
{
	size_t n = json_array_size(timers), i;
	AUTO(mem) json_t **list = calloc(n ? n : 1, sizeof(*list));
	AUTO(json) json_t *out = json_array();

	if (!list || !out)
		return NULL;
	for (i = 0; i < n; i++)
		list[i] = json_array_get(timers, i);
	qsort(list, n, sizeof(*list), by_left);
	for (i = 0; i < n; i++)
		if (json_array_append(out, list[i]) < 0)
			return NULL;
	return TAKE(out);
}

static int row_add(const struct cli *c, struct table *t, const json_t *timer)
{
	bool exact = json_is_true(json_object_get(timer, "exact"));
	char left[TEXT_LEFT_BYTES], at[TEXT_AT_BYTES];
	int64_t at_sec;

	if (clk_rfc3339_parse(cli_text(timer, "at"), &at_sec) < 0)
		at_sec = (c->io->now_ms + left_ms(timer)) / 1000;
	if (table_add(t, text_left(left_ms(timer), left)) < 0 || table_add(t, text_at(at_sec, c->io->now_ms / 1000, exact, at)) < 0 ||
	    table_add(t, cli_text(timer, "timer")) < 0 || table_add(t, cli_text(timer, "trustpoint")) < 0 ||
	    table_add(t, cli_text(timer, "why")) < 0 || table_add(t, cli_text(timer, "if_missed")) < 0)
		return -1;
	return 0;
}

enum cli_exit verb_timers(const struct cli *c)
{
	static const char *const headings[] = { "LEFT", "AT", "TIMER", "FOR", "WHY", "IF MISSED", NULL };
	AUTO(table) struct table *t = table_new(headings);
	AUTO(json) json_t *reply = NULL;
	AUTO(json) json_t *timers = NULL;
	enum cli_exit r;
	json_t *timer;
	size_t i;

	r = trustpoints_ask(c, "Timers", "timers", "trustpoint", false, &reply);
	if (r != CLI_OK)
		return r;
	timers = sorted(json_object_get(reply, "timers"));
	if (!t || !timers)
		return cli_fail(c, CLI_FAILED, "free some memory", "out of memory");
	if (c->json)
		return json_object_set(reply, "timers", timers) < 0 ? cli_fail(c, CLI_FAILED, "free some memory", "out of memory") :
								       cli_print_json(c, reply);
	json_array_foreach(timers, i, timer)
		if (row_add(c, t, timer) < 0)
			return cli_fail(c, CLI_FAILED, "free some memory", "out of memory");
	if (i > 0)
		table_print(t, c->io->out, c->legend, c->io->colour);
	else
		(void) fprintf(c->io->out, "No timers.\n"); /* main checks out at the end */
	return CLI_OK;
}

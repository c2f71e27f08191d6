/* Configuration text: any bytes parse or are refused with words; what a target holds can be freed. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/conf.h"
#include "tests/fuzz/fuzz.h"

struct target {
	char *text;
	bool flag;
	int64_t number, span;
	int word;
	char **list;
};

static const struct conf_range range = { 1, 99 };
static const char *const words[] = { "auto", "kernel", "token", NULL };
static const struct conf_key keys[] = {
	{ "Main", "Text", conf_parse_text, NULL, offsetof(struct target, text) },
	{ "Main", "Flag", conf_parse_bool, NULL, offsetof(struct target, flag) },
	{ "Main", "Number", conf_parse_int, &range, offsetof(struct target, number) },
	{ "Key", "Span", conf_parse_span, NULL, offsetof(struct target, span) },
	{ "Key", "Word", conf_parse_word, words, offsetof(struct target, word) },
	{ "Key", "List", conf_parse_list, NULL, offsetof(struct target, list) },
	{ "Key", "Later", NULL, NULL, 0 },
	{ NULL, NULL, NULL, NULL, 0 },
};

int fuzz_one(const uint8_t *data, size_t len)
{
	struct target t = { .text = NULL };
	struct err e = { 0 };
	int r;

	r = conf_parse("fuzz", (const char *) data, len, keys, &t, &e);
	if (r < 0 && !e.text[0])
		abort(); /* refused without words */
	if (t.span < 0)
		abort(); /* overflowed */
	free(t.text);
	conf_list_free(t.list);
	return 0;
}

/* The ready value parsers of the configuration: see conf.h. */
#include "common/conf.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LIST_MAX 256
#define FRACTION_DIGITS 6

int conf_parse_text(const char *value, const void *arg, void *field, struct err *reterr)
{
	char **text = field, *copy = NULL;

	(void) arg, (void) reterr; /* any text will do */
	if (value[0]) {
		copy = strdup(value);
		if (!copy)
			return -ENOMEM;
	}
	free(*text);
	*text = copy; /* an empty value takes an earlier one back */
	return 0;
}

int conf_parse_path(const char *value, const void *arg, void *field, struct err *reterr)
{
	if (value[0] != '/')
		return err_set(reterr, -EINVAL, "found '%.80s', wanted an absolute path", value);
	return conf_parse_text(value, arg, field, reterr);
}

int conf_parse_bool(const char *value, const void *arg, void *field, struct err *reterr)
{
	static const char *const yes[] = { "yes", "true", "1", "on" }, *const no[] = { "no", "false", "0", "off" };
	size_t i;

	(void) arg; /* has none */
	for (i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		if (strcasecmp(value, yes[i]) == 0 || strcasecmp(value, no[i]) == 0) {
			*(bool *) field = strcasecmp(value, yes[i]) == 0;
			return 0;
		}
	}
	return err_set(reterr, -EINVAL, "yes or no is wanted");
}

int conf_parse_int(const char *value, const void *arg_range, void *field, struct err *reterr)
{
	const struct conf_range *range = arg_range;
	long long n;
	char *end;

	errno = 0;
	n = strtoll(value, &end, 10);
	if (errno != 0 || end == value || *end || isspace((unsigned char) value[0]))
		return err_set(reterr, -EINVAL, "a whole number is wanted");
	if (range && (n < range->min || n > range->max))
		return err_set(reterr, -EINVAL, "a number from %" PRId64 " to %" PRId64 " is wanted", range->min, range->max);
	*(int64_t *) field = n;
	return 0;
}

static const struct {
	const char *words; /* separated by spaces, with one at each end */
	int64_t ms;
} units[] = {
	{ " ms msec ", 1 },
	{ " s sec second seconds ", 1000 },
	{ " m min minute minutes ", 60 * 1000 },
	{ " h hr hour hours ", 3600 * 1000 },
	{ " d day days ", 86400 * 1000LL },
	{ " w week weeks ", 7 * 86400 * 1000LL },
	{ " M month months ", 2629800 * 1000LL }, /* systemd.time(7): 30.44 days */
	{ " y year years ", 31557600 * 1000LL },  /* systemd.time(7): 365.25 days */
};

/* Length of the unit at the beginning of text: 0 for none (seconds). -1: unknown. */
static int unit_parse(const char *text, int64_t *ret_ms)
{
	size_t len = strcspn(text, "0123456789. \t"), i;
	char word[12];

	*ret_ms = 1000;
	if (len == 0)
		return 0;
	if (len > sizeof(word) - 3)
		return -1;
	(void) snprintf(word, sizeof(word), " %.*s ", (int) len, text); /* fits */
	for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strstr(units[i].words, word)) {
			*ret_ms = units[i].ms;
			return (int) len;
		}
	}
	return -1;
}

struct number {
	int64_t whole, part, part_of; /* 2.25: 2, 25, 100 */
};

static int number_parse(const char **text, struct number *ret)
{
	struct number n = { 0, 0, 1 };
	const char *p = *text;
	int digits = 0;

	if (!isdigit((unsigned char) *p))
		return -EINVAL;
	for (; isdigit((unsigned char) *p); p++)
		if (__builtin_mul_overflow(n.whole, 10, &n.whole) || __builtin_add_overflow(n.whole, *p - '0', &n.whole))
			return -EINVAL;
	if (*p == '.') {
		for (p++; isdigit((unsigned char) *p); p++) {
			if (++digits > FRACTION_DIGITS)
				return -EINVAL;
			n.part = n.part * 10 + (*p - '0');
			n.part_of *= 10;
		}
		if (digits == 0)
			return -EINVAL;
	}
	*text = p;
	*ret = n;
	return 0;
}

/* One "2h" or "30 min" of a span, added to *sum_ms. */
static int span_part(const char **text, int64_t *sum_ms)
{
	struct number n;
	int64_t unit_ms, ms;
	int len, r;

	r = number_parse(text, &n);
	if (r < 0)
		return r;
	*text += strspn(*text, " \t");
	len = unit_parse(*text, &unit_ms);
	if (len < 0)
		return -EINVAL;
	*text += len;
	*text += strspn(*text, " \t");
	if (__builtin_mul_overflow(n.whole, unit_ms, &ms) || __builtin_add_overflow(ms, unit_ms * n.part / n.part_of, &ms) ||
	    __builtin_add_overflow(*sum_ms, ms, sum_ms))
		return -EINVAL;
	return 0;
}

/* The largest unit that leaves no rest: "365d", "90s". */
static const char *span_text(int64_t ms, char out[32])
{
	static const struct {
		const char *word;
		int64_t ms;
	} plain[] = { { "d", 86400000 }, { "h", 3600000 }, { "min", 60000 }, { "s", 1000 }, { "ms", 1 } };
	size_t i = 0;

	while (ms % plain[i].ms != 0)
		i++;
	(void) snprintf(out, 32, "%" PRId64 "%s", ms / plain[i].ms, ms == 0 ? "" : plain[i].word); /* fits */
	return out;
}

int conf_parse_span(const char *value, const void *arg_range, void *field, struct err *reterr)
{
	const struct conf_range *range = arg_range;
	char from[32], to[32];
	int64_t sum_ms = 0;
	int r = value[0] ? 0 : -EINVAL;

	while (r == 0 && *value)
		r = span_part(&value, &sum_ms);
	if (r < 0)
		return err_set(reterr, r, "a time span as 90s, 2h 30min or 365d is wanted");
	if (range && (sum_ms < range->min || sum_ms > range->max))
		return err_set(reterr, -EINVAL, "a time span from %s to %s is wanted", span_text(range->min, from), span_text(range->max, to));
	*(int64_t *) field = sum_ms;
	return 0;
}

int conf_parse_word(const char *value, const void *arg_words, void *field, struct err *reterr)
{
	const char *const *words = arg_words;
	char known[ERR_TEXT_BYTES] = "";
	int i;

	for (i = 0; words[i]; i++) {
		size_t used = strlen(known);

		if (strcmp(value, words[i]) == 0) {
			*(int *) field = i;
			return 0;
		}
		(void) snprintf(known + used, sizeof(known) - used, " %s", words[i]); /* a long list is cut */
	}
	return err_set(reterr, -EINVAL, "expected one of:%s", known);
}

void conf_list_free(char **list)
{
	char **p;

	for (p = list; p && *p; p++)
		free(*p);
	free(list);
}

static int list_add(char ***list, const char *word, size_t len)
{
	size_t n = 0;
	char **more;

	while (*list && (*list)[n])
		n++;
	if (n >= LIST_MAX)
		return -E2BIG;
	more = reallocarray(*list, n + 2, sizeof(*more));
	if (!more)
		return -ENOMEM;
	*list = more;
	more[n] = strndup(word, len);
	if (!more[n])
		return -ENOMEM;
	more[n + 1] = NULL;
	return 0;
}

int conf_parse_list(const char *value, const void *arg, void *field, struct err *reterr)
{
	static const char space[] = " \t";
	char ***list = field;
	size_t len;
	int r = 0;

	(void) arg; /* has none */
	if (!value[0]) {
		conf_list_free(*list);
		*list = NULL;
		return 0;
	}
	for (value += strspn(value, space); r == 0 && *value; value += len, value += strspn(value, space)) {
		len = strcspn(value, space);
		r = list_add(list, value, len);
	}
	if (r == -E2BIG)
		return err_set(reterr, -EINVAL, "at most %d words are wanted", LIST_MAX);
	return r;
}

/* Tables for people: see table.h. */
#include "pkictl/table.h"

#include <errno.h>
#include <string.h>

#define COLUMNS_MAX 16

struct cell {
	char *text;
	enum table_colour colour;
};

struct table {
	const char *const *headings;
	size_t columns, n, room;
	struct cell *cells;
};

struct table *table_new(const char *const *headings)
{
	struct table *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->headings = headings;
	while (t->columns < COLUMNS_MAX && headings[t->columns])
		t->columns++;
	return t;
}

void table_free(struct table *t)
{
	size_t i;

	if (!t)
		return;
	for (i = 0; i < t->n; i++)
		free(t->cells[i].text);
	free(t->cells);
	free(t);
}

static int room_make(struct table *t)
{
	size_t room = t->room ? t->room * 2 : 64;
	struct cell *more;

	if (t->n < t->room)
		return 0;
	more = reallocarray(t->cells, room, sizeof(*more));
	if (!more)
		return -ENOMEM;
	t->cells = more;
	t->room = room;
	return 0;
}

int table_add_coloured(struct table *t, const char *text, enum table_colour colour)
{
	char *copy, *p;

	if (room_make(t) < 0)
		return -ENOMEM;
	copy = strdup(text && text[0] ? text : "-");
	if (!copy)
		return -ENOMEM;
	for (p = copy; *p; p++)
		if (*p < 0x20 || *p > 0x7e) /* a subject must not move the operator's cursor */
			*p = '?';
	t->cells[t->n++] = (struct cell){ .text = copy, .colour = colour };
	return 0;
}

int table_add(struct table *t, const char *text)
{
	return table_add_coloured(t, text, TABLE_PLAIN);
}

static void widths_find(const struct table *t, bool legend, size_t widths[COLUMNS_MAX])
{
	size_t i, len;

	for (i = 0; i < t->columns; i++)
		widths[i] = legend ? strlen(t->headings[i]) : 0;
	for (i = 0; i < t->n; i++) {
		len = strlen(t->cells[i].text);
		if (len > widths[i % t->columns])
			widths[i % t->columns] = len;
	}
}

static void cell_print(const struct cell *cell, size_t width, bool last, FILE *out, bool colour)
{
	static const char *const on[] = { [TABLE_PLAIN] = "", [TABLE_GOOD] = "\033[32m", [TABLE_WARN] = "\033[33m", [TABLE_BAD] = "\033[31m" };
	bool paint = colour && cell->colour != TABLE_PLAIN;
	int pad = last ? 0 : (int) (width - strlen(cell->text)) + 2;

	(void) fprintf(out, "%s%s%s%*s", paint ? on[cell->colour] : "", cell->text, paint ? "\033[0m" : "", pad, ""); /* main checks out at the end */
}

bool table_is_empty(const struct table *t)
{
	return t->n == 0;
}

void table_print(const struct table *t, FILE *out, bool legend, bool colour)
{
	size_t widths[COLUMNS_MAX], i;

	widths_find(t, legend, widths);
	for (i = 0; legend && i < t->columns; i++) {
		const struct cell heading = { .text = (char *) t->headings[i], .colour = TABLE_PLAIN };

		cell_print(&heading, widths[i], i + 1 == t->columns, out, false);
	}
	if (legend)
		(void) fputc('\n', out); /* main checks out at the end */
	for (i = 0; i < t->n; i++) {
		bool last = i % t->columns + 1 == t->columns;

		cell_print(&t->cells[i], widths[i % t->columns], last, out, colour);
		if (last)
			(void) fputc('\n', out); /* as above */
	}
}

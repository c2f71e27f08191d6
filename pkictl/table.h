/* Tables for people: columns as wide as they must be, two spaces between. */
#ifndef KEYROLL_PKICTL_TABLE_H
#define KEYROLL_PKICTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "common/auto.h"

enum table_colour { TABLE_PLAIN, TABLE_GOOD, TABLE_WARN, TABLE_BAD };

struct table;

/* headings ends with NULL and must outlive the table. NULL: out of memory. */
struct table *table_new(const char *const *headings);
void table_free(struct table *t);
AUTO_DEFINE(table, struct table *, table_free);

/* The next cell, from left to right and down. NULL and "" print as "-"; bytes that do not print as '?'. 0 or -ENOMEM. */
int table_add(struct table *t, const char *text) CHECKED;
int table_add_coloured(struct table *t, const char *text, enum table_colour colour) CHECKED;

bool table_is_empty(const struct table *t);
void table_print(const struct table *t, FILE *out, bool legend, bool colour);

#endif

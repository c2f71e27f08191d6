/* systemd's dialect of INI, with drop-in folders; a table says which keys exist. Unknown section or key, and a bad value,
 * are errors with file, line and what was expected. */
#ifndef KEYROLL_COMMON_CONF_H
#define KEYROLL_COMMON_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/auto.h"
#include "common/err.h"

/* Parses one value into the field at `field`. 0; or -EINVAL with the reason (what was expected) in reterr. */
typedef int (*conf_parse_fn)(const char *value, const void *arg, void *field, struct err *reterr);

struct conf_key {
	const char *section; /* "AutoEnroll" */
	const char *key;     /* "Percent" */
	conf_parse_fn parse; /* NULL: known but not built yet, refused with those words */
	const void *arg;     /* for the parser: range, word table */
	size_t offset;	     /* of the field in the target struct */
};

/* Ready parsers. Text fields are `char *`, owned by the target struct, replaced (old one freed) when a later file says it again. */
int conf_parse_text(const char *value, const void *arg, void *field, struct err *reterr) CHECKED;
int conf_parse_path(const char *value, const void *arg, void *field, struct err *reterr) CHECKED; /* text that begins with "/" */
int conf_parse_bool(const char *value, const void *arg, void *field, struct err *reterr) CHECKED; /* bool: yes no true false 1 0 on off */
struct conf_range { int64_t min, max; };
int conf_parse_int(const char *value, const void *arg_range, void *field, struct err *reterr) CHECKED;	/* int64_t */
/* int64_t in milliseconds: "1min", "90s", "2h 30min", "365d", "168h", "500ms", a bare number is seconds (systemd.time(7)); range in ms */
int conf_parse_span(const char *value, const void *arg_range, void *field, struct err *reterr) CHECKED;
/* int (an enum): arg is a NULL-terminated array of words, the index is stored */
int conf_parse_word(const char *value, const void *arg_words, void *field, struct err *reterr) CHECKED;
/* char **: white-space separated list, NULL-terminated, appended to; an empty value empties it (systemd's rule) */
int conf_parse_list(const char *value, const void *arg, void *field, struct err *reterr) CHECKED;
void conf_list_free(char **list);

/* Reads path and then path's drop-ins `path.d/` + `*.conf` in name order, into *target. keys ends with section == NULL.
 * -ENOENT when path itself is missing; -EINVAL "FILE:LINE: ..."; -EFBIG beyond LIMIT_CONF_BYTES. On error *target may hold part of
 * the values: free it as usual. */
int conf_load(const char *path, const struct conf_key *keys, void *target, struct err *reterr) CHECKED;
/* The same from memory, for tests and the fuzzer; name stands for the file in messages. */
int conf_parse(const char *name, const char *text, size_t len, const struct conf_key *keys, void *target, struct err *reterr) CHECKED;

/* A trustpoint, CA or key name: 1 to LIMIT_LABEL_BYTES of [A-Za-z0-9._-], not starting with '.' or '-' (no "id:" prefixes). */
bool conf_name_ok(const char *name);

#endif

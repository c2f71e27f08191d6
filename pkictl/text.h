/* Times for people. */
#ifndef KEYROLL_PKICTL_TEXT_H
#define KEYROLL_PKICTL_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#define TEXT_LEFT_BYTES 48
#define TEXT_AT_BYTES 96

/* "41 s", "5 m 3 s", "5 h 12 m", "12 d 4 h", "38 d": the two largest units, cut, not rounded. Past: "-5 s". */
const char *text_left(int64_t ms, char out[TEXT_LEFT_BYTES]);
/* Local time: "Mon 14:03:12" within a day of now, else "Sat 2026-12-05 18:40"; an exact one gets '!', and its seconds unless they are 0. */
const char *text_at(int64_t at_sec, int64_t now_sec, bool exact, char out[TEXT_AT_BYTES]);
/* An RFC 3339 time as local "2026-12-05 18:40:00"; the text itself when it is no time. */
const char *text_when(const char *rfc3339, char out[TEXT_AT_BYTES]);

#endif

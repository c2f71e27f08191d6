/* Facts one below the other: "  Subject: CN=spoke-1". */
#ifndef KEYROLL_PKICTL_BLOCK_H
#define KEYROLL_PKICTL_BLOCK_H

#include "pkictl/cli.h"

/* Nothing is printed for an absent or empty fact; bytes that do not print appear as '?'. */
void block_text(const struct cli *c, const char *label, const char *text);
void block_fact(const struct cli *c, const char *label, const json_t *object, const char *key);
/* An RFC 3339 fact in local time, with how long it is until then. */
void block_time(const struct cli *c, const char *label, const json_t *object, const char *key);
/* A certificate under a title, if there is one. */
void block_cert(const struct cli *c, const char *title, const json_t *cert);

#endif

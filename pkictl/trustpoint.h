/* What keyrolld says of its trustpoints, chosen by the names on the command line. */
#ifndef KEYROLL_PKICTL_TRUSTPOINT_H
#define KEYROLL_PKICTL_TRUSTPOINT_H

#include "pkictl/cli.h"

/* Answers of Status or Timers, whose array `list` keeps only what the command line's names (globs) match in member `key`; all without names.
 * A name that matches nothing is an error if strict. */
enum cli_exit trustpoints_ask(const struct cli *c, const char *method, const char *list, const char *key, bool strict, json_t **ret) CHECKED;

/* How bad it is, as an exit code; now_sec judges the alert window: the last tenth of the life, at most 60 days (critical: fiftieth, 7 days),
 * unless a shadow certificate is there. */
enum cli_exit trustpoint_severity(const json_t *trustpoint, int64_t now_sec);
/* The worse of two. */
enum cli_exit severity_worse(enum cli_exit a, enum cli_exit b);
/* Whether the daemon's `clock` means that certificates are judged. */
bool clock_is_trusted(const json_t *reply);

#endif

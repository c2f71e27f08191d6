/* Inside the control socket: facts as JSON. */
#ifndef KEYROLL_CA_CA_CONTROL_INTERNAL_H
#define KEYROLL_CA_CA_CONTROL_INTERNAL_H

#include <jansson.h>

#include "ca/ca_control.h"
#include "common/limits.h"

enum {
	CA_CONTROL_LIST_BYTES = LIMIT_CTL_REPLY_BYTES / 2, /* of one reply's rows: some ten thousand, with room for escapes */
	CA_CONTROL_IDS_MAX = 1000,			    /* of one Grant or Reject: each is a commit on the event loop's thread */
};

/* All return a new reference, NULL when out of memory. Absent facts are left out. */
json_t *ca_json_facts(const struct x509_facts *f, int64_t revoked_sec);
json_t *ca_json_cert(const struct db_cert *c);
json_t *ca_json_request(const struct db_request *r, const char *rollover_spki);
json_t *ca_json_status(const struct ca_control_status *s, int64_t pending, int64_t issued);

#endif

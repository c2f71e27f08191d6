/* What is inside a request's envelope. */
#ifndef KEYROLL_SCEP_SCEP_CONTENT_H
#define KEYROLL_SCEP_SCEP_CONTENT_H

#include "scep/scep.h"

/* Reads the content for r->type into r; on failure r holds nothing of it. -EBADMSG, -EPROTO (a CSR below the floor), -ENOMEM. */
int content_parse(const struct buf *plain, const struct scep_policy *policy, struct scep_request *r) CHECKED;
void content_clear(struct scep_request *r);

#endif

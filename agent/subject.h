/* The subject of a trustpoint's requests, from its file. */
#ifndef KEYROLL_AGENT_SUBJECT_H
#define KEYROLL_AGENT_SUBJECT_H

#include <openssl/x509.h>

#include "agent/tpconf.h"

/* SubjectName= and, as on IOS, SerialNumber= as an attribute of its own, printed first. -EINVAL, -ENOMEM. Owned by the caller. */
int subject_build(const struct tpconf *c, X509_NAME **ret, struct err *reterr) CHECKED;

#endif

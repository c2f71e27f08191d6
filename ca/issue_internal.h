/* Shared by issue.c, issue_crl.c and issue_csr.c. */
#ifndef KEYROLL_CA_ISSUE_INTERNAL_H
#define KEYROLL_CA_ISSUE_INTERNAL_H

#include <openssl/x509v3.h>

#include "common/auto.h"
#include "common/err.h"

AUTO_DEFINE(akid, AUTHORITY_KEYID *, AUTHORITY_KEYID_free);
AUTO_DEFINE(gens, GENERAL_NAMES *, GENERAL_NAMES_free);

/* authorityKeyIdentifier with the issuer's own identifier, whatever method made that. */
int issue_akid_make(const ASN1_OCTET_STRING *issuer_id, AUTHORITY_KEYID **ret, struct err *reterr) CHECKED;
/* The alternative names that the request asks for, checked; NULL when none. -EPROTO. */
int issue_csr_names(X509_REQ *csr, GENERAL_NAMES **ret, struct err *reterr) CHECKED;

#endif

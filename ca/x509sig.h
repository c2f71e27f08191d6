/* SIGNED{} of X.509: what is signed, the algorithm, the bits. The front builds it with a signature, the floor with an empty one, so that both
 * read a TBSCertificate by the same parser. */
#ifndef KEYROLL_CA_X509SIG_H
#define KEYROLL_CA_X509SIG_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/err.h"
#include "scep/scep.h"

/* NID of RSA PKCS#1 v1.5 with that digest. NID_undef for one that no certificate is signed with. */
int x509sig_algorithm_nid(enum scep_digest digest);
const EVP_MD *x509sig_md(enum scep_digest digest); /* NULL likewise */
/* The enum for "SHA256", "SHA2-256", "SHA384" ... "SHA1"; -EINVAL for anything else. */
int x509sig_digest_from_name(const char *name, enum scep_digest *ret) CHECKED;

/* Which digest the algorithm inside a TBSCertificate names. -EINVAL when it is none of ours. */
int x509sig_tbs_digest(const void *tbs, size_t tbs_len, enum scep_digest *ret) CHECKED;

/* SEQUENCE { tbs, AlgorithmIdentifier, BIT STRING signature }. signature may be empty. -ENOMEM. */
int x509sig_build(const void *tbs, size_t tbs_len, enum scep_digest digest, const void *signature, size_t signature_len, struct buf *ret) CHECKED;

/* Signs tbs with key (a provider's handle asks its custodian) and builds. PKCS#1 v1.5 gives the same bytes each time. Errors of the custodian
 * come as -EIO with OpenSSL's reason. */
int x509sig_make(const void *tbs, size_t tbs_len, enum scep_digest digest, EVP_PKEY *key, struct buf *ret, struct err *reterr) CHECKED;

#endif

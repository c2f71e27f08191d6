/* What the CA issues: TBSCertificates of routers and of the CA itself, and CRLs. Builds bytes from given facts; signing is x509sig_make with the
 * custodian's handle. No clock; randomness only in issue_serial. */
#ifndef KEYROLL_CA_ISSUE_H
#define KEYROLL_CA_ISSUE_H

#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

#include "ca/db.h"
#include "common/auto_ssl.h"
#include "common/buf.h"
#include "common/err.h"
#include "lifecycle/tp.h"
#include "scep/scep.h"

/* One instance byte (1 to 127: fronts that share a CA differ in it) and 128 random bits. hex as in x509_facts: upper case. */
int issue_serial(uint8_t instance, char ret_hex[DB_SERIAL_HEX], struct err *reterr) CHECKED;

struct issue_leaf {
	X509 *ca;
	X509_REQ *csr;		/* has passed issue_csr_check */
	const char *serial;	/* hex */
	int64_t nb_sec, na_sec; /* notAfter is not capped here: cal_cert_validity did */
	enum scep_digest hash;
	const char *crl_url;	/* CRL distribution point, NULL: none */
};
int issue_leaf_tbs(const struct issue_leaf *in, struct buf *ret_tbs, struct err *reterr) CHECKED;

struct issue_ca { /* self-signed */
	X509_NAME *name;
	EVP_PKEY *key;
	const char *serial;
	int64_t nb_sec, na_sec;
	enum scep_digest hash;
};
int issue_ca_tbs(const struct issue_ca *in, struct buf *ret_tbs, struct err *reterr) CHECKED;

struct issue_revoked {
	char serial[DB_SERIAL_HEX];
	int64_t at_sec;
	int reason; /* RFC 5280 5.3.1; 0 leaves the entry extension out */
};
struct issue_crl {
	X509 *ca;
	int64_t number, this_sec, next_sec;
	const struct issue_revoked *revoked;
	size_t n_revoked;
	enum scep_digest hash;
};
int issue_crl_tbs(const struct issue_crl *in, struct buf *ret_tbs, struct err *reterr) CHECKED;

/* Whether a request may be granted at all: RSA within limits, a digest of `digests` (mask of scep_digest), a subject, no CA:TRUE, and only dNSName
 * and iPAddress among the alternative names. -EPROTO with the reason (badRequest), -EINVAL: key or digest (badAlg). */
int issue_csr_check(X509_REQ *csr, unsigned digests, struct err *reterr) CHECKED;
/* True when the request asks for an alternative name that cert does not have. */
bool issue_csr_new_names(X509_REQ *csr, X509 *cert);

/* The CRL's file name, of its key: first 16 hex digits of the spki and ".crl". */
#define ISSUE_CRL_NAME_BYTES 24
void issue_crl_name(const char *spki, char ret[ISSUE_CRL_NAME_BYTES]);

#endif

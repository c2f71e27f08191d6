/* A CA with its successor, a client, and messages between them, from fixed keys; for the tests and the fuzzers of scep/. */
#ifndef KEYROLL_TESTS_SCEP_FIXTURE_H
#define KEYROLL_TESTS_SCEP_FIXTURE_H

#include "common/x509facts.h"
#include "scep/scep.h"

#define FX_NOW 1800000000LL /* 2027-01-15 */
#define FX_DAY 86400LL
#define FX_CA_END (FX_NOW + 30 * FX_DAY)

struct fixture {
	EVP_PKEY *ca_key, *next_key, *client_key, *fresh_key, *small_key;
	X509 *ca, *next;     /* next begins when ca ends */
	X509 *client;	     /* issued by ca */
	X509 *self_signed;   /* of client_key */
	X509 *fresh;	     /* issued by ca for fresh_key */
	X509_CRL *crl;
	X509_NAME *subject;
	struct buf csr;	     /* for fresh_key, with a challenge */
	struct scep_identity identities[2]; /* ca, next */
	uint8_t nonce[SCEP_NONCE_BYTES], reply_nonce[SCEP_NONCE_BYTES];
	struct scep_request_in request; /* a PKCSReq by self_signed */
	struct scep_reply_in reply;	/* the SUCCESS to it */
	struct scep_reply_want want;
	X509 *signers[2];	/* of want */
	X509 *reply_certs[1];
};

/* 0, or -1 with the reason on stderr. Keys come from tests/data/scep_keys.pem in $top_srcdir. */
int fixture_init(struct fixture *f);
void fixture_clear(struct fixture *f);

struct fx_cert { /* what fx_cert_make makes */
	const char *subject;
	EVP_PKEY *key;
	X509 *issuer; /* NULL: itself */
	EVP_PKEY *issuer_key;
	int64_t nb_sec, na_sec;
	bool is_ca;
	const char *usage; /* NULL: none */
	long serial, version; /* version: X509_VERSION_1 or 3 */
};
X509 *fx_cert_make(const struct fx_cert *c);

#endif

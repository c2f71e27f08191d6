/* Certificates for the agent's tests, made from keys of their own. */
#ifndef KEYROLL_TESTS_AGENT_FIXTURE_H
#define KEYROLL_TESTS_AGENT_FIXTURE_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

/* A certificate over `key`, signed by issuer's key; issuer NULL: self-signed. Owned by the caller; NULL on failure. */
X509 *fixture_cert(const char *cn, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, int64_t nb_sec, int64_t na_sec, long serial, bool is_ca);
/* subjectAltName, as OpenSSL's configuration writes it: "DNS:a,IP:10.0.0.1". To be signed again afterwards. */
bool fixture_san_add(X509 *x, const char *names);
/* A request over `key`; names as above, NULL: none. Owned by the caller; NULL on failure. */
X509_REQ *fixture_csr(EVP_PKEY *key, const char *names);

#endif

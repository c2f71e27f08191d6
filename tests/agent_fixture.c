/* Certificates for the agent's tests: see agent_fixture.h. */
#include "tests/agent_fixture.h"

#include <openssl/x509v3.h>

#include "common/auto_ssl.h"
#include "common/x509facts.h"

static bool times_set(X509 *x, int64_t nb_sec, int64_t na_sec)
{
	AUTO(asn1_time) ASN1_TIME *nb = NULL;
	AUTO(asn1_time) ASN1_TIME *na = NULL;

	return asn1_time_from_sec(nb_sec, &nb) == 0 && asn1_time_from_sec(na_sec, &na) == 0 && X509_set1_notBefore(x, nb) && X509_set1_notAfter(x, na);
}

static bool extension_add(X509 *x, int nid, const char *value)
{
	AUTO(ext) X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	return e && X509_add_ext(x, e, -1);
}

static bool names_set(X509 *x, const char *cn, X509 *issuer)
{
	AUTO(name) X509_NAME *name = X509_NAME_new();

	return name && X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *) cn, -1, -1, 0) && X509_set_subject_name(x, name) &&
	       X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : name);
}

X509 *fixture_cert(const char *cn, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, int64_t nb_sec, int64_t na_sec, long serial, bool is_ca)
{
	AUTO(x509) X509 *x = X509_new();

	if (!x || !X509_set_version(x, X509_VERSION_3) || !ASN1_INTEGER_set(X509_get_serialNumber(x), serial) || !X509_set_pubkey(x, key) ||
	    !names_set(x, cn, issuer) || !times_set(x, nb_sec, na_sec) ||
	    !extension_add(x, NID_basic_constraints, is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE") ||
	    !extension_add(x, NID_key_usage,
			   is_ca ? "critical,digitalSignature,keyEncipherment,keyCertSign,cRLSign" : "critical,digitalSignature,keyEncipherment") ||
	    X509_sign(x, issuer_key ? issuer_key : key, EVP_sha256()) <= 0)
		return NULL;
	return TAKE(x);
}

bool fixture_san_add(X509 *x, const char *names)
{
	return extension_add(x, NID_subject_alt_name, names);
}

X509_REQ *fixture_csr(EVP_PKEY *key, const char *names)
{
	AUTO(req) X509_REQ *csr = X509_REQ_new();
	AUTO(ext_sk) STACK_OF(X509_EXTENSION) *exts = sk_X509_EXTENSION_new_null();
	AUTO(ext) X509_EXTENSION *san = names ? X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names) : NULL;

	if (!csr || !exts || (names && !san) || !X509_REQ_set_pubkey(csr, key))
		return NULL;
	if (san && !sk_X509_EXTENSION_push(exts, san))
		return NULL;
	if (san) {
		(void) TAKE(san); /* the stack owns it now */
		if (!X509_REQ_add_extensions(csr, exts))
			return NULL;
	}
	return X509_REQ_sign(csr, key, EVP_sha256()) > 0 ? TAKE(csr) : NULL;
}

/* See scep_fixture.h. */
#include "tests/scep_fixture.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

static int ext_add(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	AUTO(ext) X509_EXTENSION *ext = NULL;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	return ext && X509_add_ext(x, ext, -1) == 1 ? 0 : -1;
}

X509 *fx_cert_make(const struct fx_cert *c)
{
	AUTO(x509) X509 *x = X509_new();
	AUTO(name) X509_NAME *name = NULL;
	AUTO(asn1_time) ASN1_TIME *nb = NULL;
	AUTO(asn1_time) ASN1_TIME *na = NULL;
	X509 *issuer = c->issuer ? c->issuer : x;

	if (!x || x509_name_parse(c->subject, &name, NULL) < 0 || asn1_time_from_sec(c->nb_sec, &nb) < 0 || asn1_time_from_sec(c->na_sec, &na) < 0)
		return NULL;
	if (X509_set_version(x, c->version) != 1 || X509_set_subject_name(x, name) != 1 ||
	    X509_set_issuer_name(x, c->issuer ? X509_get_subject_name(c->issuer) : name) != 1 || X509_set_pubkey(x, c->key) != 1 ||
	    ASN1_INTEGER_set(X509_get_serialNumber(x), c->serial) != 1 || X509_set1_notBefore(x, nb) != 1 || X509_set1_notAfter(x, na) != 1)
		return NULL;
	if (c->is_ca && ext_add(x, issuer, NID_basic_constraints, "critical,CA:TRUE") < 0)
		return NULL;
	if (c->usage && ext_add(x, issuer, NID_key_usage, c->usage) < 0)
		return NULL;
	if (X509_sign(x, c->issuer ? c->issuer_key : c->key, EVP_sha256()) <= 0)
		return NULL;
	return TAKE(x);
}

static int keys_load(struct fixture *f)
{
	EVP_PKEY **all[] = { &f->ca_key, &f->next_key, &f->client_key, &f->fresh_key, &f->small_key };
	const char *top = getenv("top_srcdir");
	char path[512];
	FILE *in;
	size_t i;

	(void) snprintf(path, sizeof(path), "%s/tests/data/scep_keys.pem", top ? top : "."); /* cut: not found below */
	in = fopen(path, "re");
	if (!in)
		return -1;
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		*all[i] = PEM_read_PrivateKey(in, NULL, NULL, NULL);
	(void) fclose(in); /* read side */
	return f->small_key ? 0 : -1;
}

#define CA_USAGE "critical,digitalSignature,keyEncipherment,keyCertSign,cRLSign"

static int certs_make(struct fixture *f)
{
	struct fx_cert c = { .subject = "CN=RootCA,O=Example", .key = f->ca_key, .nb_sec = FX_NOW - 100 * FX_DAY, .na_sec = FX_CA_END,
			     .is_ca = true, .usage = CA_USAGE, .serial = 1, .version = X509_VERSION_3 };

	f->ca = fx_cert_make(&c);
	c.key = f->next_key;
	c.nb_sec = FX_CA_END;
	c.na_sec = FX_CA_END + 365 * FX_DAY;
	c.serial = 2;
	f->next = fx_cert_make(&c);
	if (!f->ca || !f->next)
		return -1;
	c = (struct fx_cert){ .subject = "CN=spoke-1", .key = f->client_key, .issuer = f->ca, .issuer_key = f->ca_key, .nb_sec = FX_NOW - 10 * FX_DAY,
			      .na_sec = FX_NOW + 10 * FX_DAY, .usage = "digitalSignature,keyEncipherment", .serial = 77, .version = X509_VERSION_3 };
	f->client = fx_cert_make(&c);
	c.key = f->fresh_key;
	c.nb_sec = FX_NOW;
	c.serial = 78;
	f->fresh = fx_cert_make(&c);
	return f->client && f->fresh ? 0 : -1;
}

static int crl_make(struct fixture *f)
{
	AUTO(asn1_time) ASN1_TIME *at = NULL;

	f->crl = X509_CRL_new();
	if (!f->crl || asn1_time_from_sec(FX_NOW, &at) < 0)
		return -1;
	if (X509_CRL_set_version(f->crl, 1) != 1 || X509_CRL_set_issuer_name(f->crl, X509_get_subject_name(f->ca)) != 1 ||
	    X509_CRL_set1_lastUpdate(f->crl, at) != 1 || X509_CRL_set1_nextUpdate(f->crl, at) != 1)
		return -1;
	return X509_CRL_sign(f->crl, f->ca_key, EVP_sha256()) > 0 ? 0 : -1;
}

static int csr_make(struct fixture *f)
{
	static const char *const dns[] = { "spoke-1.example.com", NULL };
	const struct scep_csr_in in = { .subject = f->subject, .key = f->fresh_key, .challenge = "open sesame", .dns = dns, .digest = SCEP_DIGEST_SHA256 };
	struct err e = { 0 };

	if (scep_csr_build(&in, &f->csr, &e) < 0) {
		(void) fprintf(stderr, "%s\n", e.text); /* the test fails next */
		return -1;
	}
	return 0;
}

static void messages_fill(struct fixture *f)
{
	memset(f->nonce, 0x11, sizeof(f->nonce));
	memset(f->reply_nonce, 0x22, sizeof(f->reply_nonce));
	f->identities[0] = (struct scep_identity){ .cert = f->ca, .key = f->ca_key };
	f->identities[1] = (struct scep_identity){ .cert = f->next, .key = f->next_key };
	f->request = (struct scep_request_in){ .type = SCEP_TYPE_PKCS_REQ, .transaction_id = "0123456789ABCDEF", .sender_nonce = f->nonce,
					       .content = f->csr.data, .content_len = f->csr.len, .signer = f->self_signed,
					       .signer_key = f->fresh_key, .recipient = f->ca };
	f->reply_certs[0] = f->fresh;
	f->reply = (struct scep_reply_in){ .status = SCEP_STATUS_SUCCESS, .transaction_id = f->request.transaction_id, .recipient_nonce = f->nonce,
					   .recipient_nonce_len = sizeof(f->nonce), .sender_nonce = f->reply_nonce, .signer = f->ca,
					   .signer_key = f->ca_key, .recipient = f->self_signed, .certs = f->reply_certs, .n_certs = 1 };
	f->signers[0] = f->ca;
	f->signers[1] = f->next;
	f->want = (struct scep_reply_want){ .transaction_id = f->request.transaction_id, .sender_nonce = f->nonce, .signers = f->signers, .n_signers = 2,
					    .recipient = f->self_signed, .recipient_key = f->fresh_key, .subject_key = f->fresh_key,
					    .policy = &scep_policy_default };
}

int fixture_init(struct fixture *f)
{
	struct err e = { 0 };

	*f = (struct fixture){ .ca = NULL };
	if (keys_load(f) < 0 || certs_make(f) < 0 || crl_make(f) < 0 || x509_name_parse("CN=spoke-1", &f->subject, NULL) < 0 || csr_make(f) < 0) {
		ERR_print_errors_fp(stderr);
		return -1;
	}
	if (scep_self_signed(f->subject, f->fresh_key, "0123456789ABCDEF", FX_NOW, &f->self_signed, &e) < 0)
		return -1;
	messages_fill(f);
	return 0;
}

void fixture_clear(struct fixture *f)
{
	EVP_PKEY_free(f->ca_key);
	EVP_PKEY_free(f->next_key);
	EVP_PKEY_free(f->client_key);
	EVP_PKEY_free(f->fresh_key);
	EVP_PKEY_free(f->small_key);
	X509_free(f->ca);
	X509_free(f->next);
	X509_free(f->client);
	X509_free(f->self_signed);
	X509_free(f->fresh);
	X509_CRL_free(f->crl);
	X509_NAME_free(f->subject);
	buf_clear(&f->csr);
	*f = (struct fixture){ .ca = NULL };
}

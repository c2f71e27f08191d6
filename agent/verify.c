/* What a granted certificate must be: see verify.h. */
#include "agent/verify.h"

#include <errno.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <strings.h>

#include "common/auto_ssl.h"
#include "common/x509facts.h"

AUTO_DEFINE(general_names, GENERAL_NAMES *, GENERAL_NAMES_free);

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int validity_check(const struct x509_facts *f, const struct verify_want *want, struct err *reterr)
{
	if (f->nb_sec >= f->na_sec)
		return err_set(reterr, -EPROTO, "granted certificate: found notBefore %lld not before notAfter %lld", (long long) f->nb_sec,
			       (long long) f->na_sec);
	if (want->trusted && f->na_sec <= want->now_sec)
		return err_set(reterr, -EPROTO, "granted certificate: it has expired already");
	return 0;
}

static int follows_check(X509 *cert, const struct x509_facts *f, const struct verify_want *want, struct err *reterr)
{
	struct x509_facts old;

	if (!want->old)
		return 0;
	if (X509_cmp(cert, want->old) == 0)
		return err_set(reterr, -EKEYREJECTED, "granted certificate: it is the old one, serial %s", f->serial);
	if (x509_facts_get(want->old, &old, NULL) == 0 && strcmp(old.issuer, f->issuer) == 0 && strcmp(old.serial, f->serial) == 0 &&
	    old.na_sec == f->na_sec)
		return err_set(reterr, -EKEYREJECTED, "granted certificate: found serial %s and notAfter of the old one, wanted new ones", f->serial);
	return 0;
}

/* A DNS name is the same in capitals. */
static bool name_same(GENERAL_NAME *a, GENERAL_NAME *b)
{
	if (a->type == GEN_DNS && b->type == GEN_DNS)
		return a->d.dNSName->length == b->d.dNSName->length &&
		       strncasecmp((const char *) a->d.dNSName->data, (const char *) b->d.dNSName->data, (size_t) a->d.dNSName->length) == 0;
	return GENERAL_NAME_cmp(a, b) == 0;
}

static bool name_is_among(GENERAL_NAME *name, const GENERAL_NAMES *names)
{
	int i;

	for (i = 0; i < sk_GENERAL_NAME_num(names); i++) /* -1 of NULL */
		if (name_same(name, sk_GENERAL_NAME_value(names, i)))
			return true;
	return false;
}

static int name_refuse(GENERAL_NAME *name, struct err *reterr)
{
	AUTO(bio) BIO *out = BIO_new(BIO_s_mem());
	char *text = NULL;
	long n = 0;

	if (out && GENERAL_NAME_print(out, name) > 0)
		n = BIO_get_mem_data(out, &text);
	return err_set(reterr, -EPROTO, "granted certificate: found subjectAltName %.*s, wanted only names that were asked for", n < 80 ? (int) n : 80,
		       text ? text : "");
}

static GENERAL_NAMES *names_asked(X509_REQ *csr)
{
	AUTO(ext_sk) STACK_OF(X509_EXTENSION) *exts = csr ? X509_REQ_get_extensions(csr) : NULL;

	return exts ? X509V3_get_d2i(exts, NID_subject_alt_name, NULL, NULL) : NULL;
}

static int names_check(X509 *cert, X509_REQ *csr, struct err *reterr)
{
	int critical = -1, i; /* -1: there is none; -2: more than one */
	AUTO(general_names) GENERAL_NAMES *found = X509_get_ext_d2i(cert, NID_subject_alt_name, &critical, NULL);
	AUTO(general_names) GENERAL_NAMES *asked = NULL;

	if (!found && critical != -1)
		return err_from_openssl(reterr, -EPROTO, "granted certificate: found %s, wanted one subjectAltName",
					critical == -2 ? "two of them" : "one that cannot be read");
	asked = names_asked(csr);
	for (i = 0; i < sk_GENERAL_NAME_num(found); i++)
		if (!name_is_among(sk_GENERAL_NAME_value(found, i), asked))
			return name_refuse(sk_GENERAL_NAME_value(found, i), reterr);
	return 0;
}

int verify_granted(X509 *cert, const struct verify_want *want, struct err *reterr)
{
	struct x509_facts f, ca;
	int r = x509_facts_get(cert, &f, reterr);

	if (r == 0)
		r = x509_facts_get(want->issuer, &ca, reterr);
	if (r < 0)
		return r;
	if (strcmp(f.spki_sha256, want->spki) != 0)
		return err_set(reterr, -EKEYREJECTED, "granted certificate: found key %.16s, wanted %.16s, the one asked for", f.spki_sha256, want->spki);
	if (f.is_ca)
		return err_set(reterr, -EPROTO, "granted certificate: found CA:TRUE, wanted an end entity");
	r = names_check(cert, want->csr, reterr);
	if (r == 0)
		r = validity_check(&f, want, reterr);
	if (r == 0)
		r = follows_check(cert, &f, want, reterr);
	if (r < 0)
		return r;
	return x509_check_issued(cert, want->issuer, later(want->trusted ? want->now_sec : f.nb_sec, later(f.nb_sec, ca.nb_sec)), reterr);
}

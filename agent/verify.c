/* What a granted certificate must be: see verify.h. */
#include "agent/verify.h"

#include <errno.h>
#include <string.h>

#include "common/x509facts.h"

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
	r = validity_check(&f, want, reterr);
	if (r == 0)
		r = follows_check(cert, &f, want, reterr);
	if (r < 0)
		return r;
	return x509_check_issued(cert, want->issuer, later(want->trusted ? want->now_sec : f.nb_sec, later(f.nb_sec, ca.nb_sec)), reterr);
}

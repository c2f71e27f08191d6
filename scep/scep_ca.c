/* GetCACert: the pinned certificate, and who else speaks for that CA. Roles are told by key usage, never by position: NDES sends its two RA
 * certificates in any order. */
#include <errno.h>
#include <string.h>

#include "common/x509facts.h"
#include "scep/scep_internal.h"

void scep_ca_clear(struct scep_ca *ca)
{
	X509_free(ca->ca);
	X509_free(ca->encrypt);
	X509_free(ca->sign);
	sk_X509_pop_free(ca->all, X509_free);
	*ca = (struct scep_ca){ .ca = NULL };
}

struct member {
	X509 *cert; /* borrowed from the stack */
	struct x509_facts facts;
	bool trusted; /* chains to the pinned one */
	bool above;   /* the pinned one chains to it */
};

struct family {
	struct member member[LIMIT_BUNDLE_CERTS];
	int n;
	struct member *pinned;
};

/* One certificate, or certs-only: told by what stands first inside. */
static int body_read(const void *body, size_t len, STACK_OF(X509) **ret, struct err *reterr)
{
	AUTO(buf) struct buf strict = BUF_EMPTY;
	struct shape_bag bag = { .n_certs = 0 };
	struct der in, info;
	int r;

	r = ber_to_der(body, len, false, &strict, reterr);
	if (r < 0)
		return err_prefix(reterr, r, "GetCACert");
	in = (struct der){ .at = strict.data, .left = strict.len };
	info = in;
	if (!der_take(&info, DER_SEQUENCE, &info))
		return err_set(reterr, -EBADMSG, "found neither a certificate nor certs-only (RFC 8894 4.2)");
	if (der_peek(&info, DER_SEQUENCE)) { /* TBSCertificate: judge the bytes as they came */
		bag.n_certs = 1;
		bag.cert[0] = (struct der){ .at = body, .left = len };
	} else {
		r = shape_bag(&in, &bag, reterr);
		if (r < 0)
			return r;
	}
	if (bag.n_certs == 0)
		return err_set(reterr, -EBADMSG, "found no certificate, wanted the CA's (RFC 8894 4.2)");
	return bag_certs_get(&bag, ret, reterr);
}

static int family_read(STACK_OF(X509) *certs, struct family *f, struct err *reterr)
{
	int r;

	for (f->n = 0; f->n < sk_X509_num(certs); f->n++) {
		f->member[f->n] = (struct member){ .cert = sk_X509_value(certs, f->n) };
		r = x509_facts_get(f->member[f->n].cert, &f->member[f->n].facts, reterr);
		if (r < 0)
			return r;
		if (!key_bounded(X509_get0_pubkey(f->member[f->n].cert)))
			return err_from_openssl(reterr, -EBADMSG, "found a key that is not RSA of at most %d bits (RFC 8894 2.9)", SCEP_RSA_BITS_MAX);
	}
	return 0;
}

/* Without a fingerprint a person will judge: the CA certificate that issued no other CA here comes last in line, so show the lowest CA. */
static struct member *lowest_ca(struct family *f)
{
	struct member *lowest = NULL;
	int i, k;

	for (i = 0; i < f->n; i++) {
		bool issues_ca = false;

		if (!f->member[i].facts.is_ca)
			continue;
		for (k = 0; k < f->n; k++)
			if (k != i && f->member[k].facts.is_ca &&
			    X509_NAME_cmp(X509_get_issuer_name(f->member[k].cert), X509_get_subject_name(f->member[i].cert)) == 0 &&
			    !f->member[k].facts.self_issued)
				issues_ca = true;
		if (!issues_ca && !lowest)
			lowest = &f->member[i];
	}
	return lowest;
}

static int pinned_find(struct family *f, const char *want_sha256, struct err *reterr)
{
	int i;

	if (!want_sha256)
		f->pinned = lowest_ca(f);
	for (i = 0; want_sha256 && i < f->n; i++)
		if (strcmp(f->member[i].facts.sha256, want_sha256) == 0)
			f->pinned = &f->member[i];
	if (!f->pinned && want_sha256)
		return err_set(reterr, -EKEYREJECTED, "found CA certificate sha256:%s, wanted sha256:%s (RFC 8894 2.2)",
			       lowest_ca(f) ? lowest_ca(f)->facts.sha256 : f->member[0].facts.sha256, want_sha256);
	if (!f->pinned || !f->pinned->facts.is_ca)
		return err_set(reterr, -EBADMSG, "found no CA certificate, wanted CA:TRUE (RFC 8894 4.2)");
	f->pinned->trusted = true;
	return 0;
}

/* Trust grows down from one CA. Each pair is tried once, so that a hostile bundle costs at most its size squared in verifications. */
static void trust_below(struct family *f, const struct member *ca, int64_t now_sec)
{
	int64_t at_sec = now_sec > ca->facts.nb_sec ? now_sec : ca->facts.nb_sec; /* a next CA has not begun */
	int i;

	for (i = 0; i < f->n; i++) {
		struct member *m = &f->member[i];

		if (m->trusted || x509_check_issued(m->cert, ca->cert, at_sec, NULL) < 0)
			continue;
		m->trusted = true;
		if (m->facts.is_ca)
			trust_below(f, m, now_sec);
	}
}

static struct member *issuer_of(struct family *f, const struct member *m)
{
	struct member *found = NULL;
	int i;

	for (i = 0; i < f->n && !found; i++)
		if (!f->member[i].trusted && !f->member[i].above &&
		    X509_NAME_cmp(X509_get_issuer_name(m->cert), X509_get_subject_name(f->member[i].cert)) == 0 &&
		    X509_verify(m->cert, X509_get0_pubkey(f->member[i].cert)) == 1)
			found = &f->member[i];
	(void) err_from_openssl(NULL, 0, "%s", ""); /* only empties the queue: no is an answer */
	return found;
}

/* CAs above the pinned one, as NDES and OpenXPKI send along: not trusted, not an error either. */
static void above_mark(struct family *f)
{
	struct member *m = f->pinned;

	while ((m = issuer_of(f, m)))
		m->above = true;
}

static int trust_grow(struct family *f, int64_t now_sec, struct err *reterr)
{
	int i;

	trust_below(f, f->pinned, now_sec);
	above_mark(f);
	for (i = 0; i < f->n; i++)
		if (!f->member[i].trusted && !f->member[i].above)
			return err_set(reterr, -EBADMSG, "found %.100s, which the pinned CA did not issue (RFC 8894 2.2)", f->member[i].facts.subject);
	return 0;
}

/* The RA with that usage, else the lowest trusted CA. */
static X509 *role_find(const struct family *f, uint32_t usage)
{
	const struct member *ca = f->pinned;
	int i;

	for (i = 0; i < f->n; i++)
		if (f->member[i].trusted && !f->member[i].facts.is_ca && (f->member[i].facts.key_usage & usage))
			return f->member[i].cert;
	for (i = 0; i < f->n; i++) /* trust grew downwards: a trusted CA that is issued by the present choice is below it */
		if (f->member[i].trusted && f->member[i].facts.is_ca && &f->member[i] != ca &&
		    X509_NAME_cmp(X509_get_issuer_name(f->member[i].cert), X509_get_subject_name(ca->cert)) == 0 && !f->member[i].facts.self_issued) {
			ca = &f->member[i];
			i = -1;
		}
	return ca->cert;
}

/* Owns what it borrowed. */
static int roles_fill(const struct family *f, struct scep_ca *ret, struct err *reterr)
{
	AUTO(x509_sk) STACK_OF(X509) *all = sk_X509_new_null();
	int i;

	if (!all)
		return err_from_openssl(reterr, -ENOMEM, "out of memory");
	for (i = 0; i < f->n; i++) {
		if (!f->member[i].trusted)
			continue;
		if (!sk_X509_push(all, f->member[i].cert))
			return err_from_openssl(reterr, -ENOMEM, "out of memory");
		(void) X509_up_ref(f->member[i].cert); /* cannot fail on a live object */
	}
	ret->ca = f->pinned->cert;
	ret->encrypt = role_find(f, KU_KEY_ENCIPHERMENT);
	ret->sign = role_find(f, KU_DIGITAL_SIGNATURE);
	(void) X509_up_ref(ret->ca); /* as above */
	(void) X509_up_ref(ret->encrypt);
	(void) X509_up_ref(ret->sign);
	ret->all = TAKE(all);
	return 0;
}

int scep_ca_open(const void *body, size_t len, const char *want_sha256, int64_t now_sec, struct scep_ca *ret, struct err *reterr)
{
	AUTO(x509_sk) STACK_OF(X509) *certs = NULL;
	AUTO(mem) struct family *f = calloc(1, sizeof(*f)); /* large for a stack */
	int r;

	*ret = (struct scep_ca){ .ca = NULL };
	if (!f)
		return err_set(reterr, -ENOMEM, "out of memory");
	r = body_read(body, len, &certs, reterr);
	if (r == 0)
		r = family_read(certs, f, reterr);
	if (r == 0)
		r = pinned_find(f, want_sha256, reterr);
	if (r == 0)
		r = trust_grow(f, now_sec, reterr);
	if (r < 0)
		return r;
	return roles_fill(f, ret, reterr);
}

int scep_ca_build(X509 *const *certs, size_t n, struct buf *ret, struct err *reterr)
{
	if (n == 1)
		return x509_to_der(certs[0], ret, reterr);
	if (n == 0)
		return err_set(reterr, -EINVAL, "found no certificate to send");
	return bag_build(certs, n, NULL, ret, reterr);
}

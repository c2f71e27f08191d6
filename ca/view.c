/* What the CA is at one moment: see view.h. */
#include "ca/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct view_conf {
	struct ca_conf *conf;
	int refs; /* atomic */
};

static bool last_ref(int *refs)
{
	return __atomic_sub_fetch(refs, 1, __ATOMIC_ACQ_REL) == 0;
}

int view_conf_new(struct ca_conf *conf, struct view_conf **ret)
{
	struct view_conf *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->conf = conf;
	c->refs = 1;
	*ret = c;
	return 0;
}

static struct view_conf *conf_get1(struct view_conf *c)
{
	(void) __atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED); /* the caller has one already */
	return c;
}

void view_conf_put(struct view_conf *c)
{
	if (!last_ref(&c->refs))
		return;
	ca_conf_free(c->conf);
	free(c);
}

int view_new(struct view_conf *conf, struct view **ret)
{
	struct view *v = calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	v->refs = 1;
	v->shared = conf_get1(conf);
	v->conf = conf->conf;
	*ret = v;
	return 0;
}

static void role_clear(struct view_role *r)
{
	X509_free(r->cert);
	EVP_PKEY_free(r->key);
	buf_clear(&r->crl.der);
	*r = (struct view_role){ .crl.der = BUF_EMPTY };
}

void view_role_clear(struct view *v, enum car_recipient role)
{
	buf_clear(&v->next_ca);
	role_clear(&v->role[role]);
}

struct view *view_get1(struct view *v)
{
	(void) __atomic_add_fetch(&v->refs, 1, __ATOMIC_RELAXED); /* likewise */
	return v;
}

void view_put(struct view *v)
{
	size_t i;

	if (!last_ref(&v->refs))
		return;
	for (i = 0; i < CAR_RECIPIENT_N_; i++)
		role_clear(&v->role[i]);
	buf_clear(&v->caps);
	buf_clear(&v->ca_cert);
	buf_clear(&v->next_ca);
	view_conf_put(v->shared);
	free(v);
}

int view_role_set(struct view *v, enum car_recipient role, X509 *cert, EVP_PKEY *key, struct err *reterr)
{
	struct view_role *r = &v->role[role];
	int rc;

	view_role_clear(v, role);
	rc = x509_facts_get(cert, &r->facts, reterr);
	if (rc < 0)
		return rc;
	if (X509_up_ref(cert) != 1)
		return err_from_openssl(reterr, -ENOMEM, "CA certificate");
	r->cert = cert;
	if (EVP_PKEY_up_ref(key) != 1)
		return err_from_openssl(reterr, -ENOMEM, "CA key");
	r->key = key;
	issue_crl_name(r->facts.spki_sha256, r->crl_name);
	return 0;
}

void view_switch(struct view *v)
{
	view_role_clear(v, CAR_RECIPIENT_PREVIOUS);
	v->role[CAR_RECIPIENT_PREVIOUS] = v->role[CAR_RECIPIENT_ACTIVE];
	v->role[CAR_RECIPIENT_ACTIVE] = v->role[CAR_RECIPIENT_NEXT];
	v->role[CAR_RECIPIENT_NEXT] = (struct view_role){ .crl.der = BUF_EMPTY };
}

int view_crl_set(struct view *v, enum car_recipient role, const void *der, size_t len, int64_t next_update_sec)
{
	v->role[role].crl.next_update_sec = next_update_sec;
	return buf_set(&v->role[role].crl.der, der, len);
}

int view_copy(const struct view *from, struct view_conf *conf, struct view **ret, struct err *reterr)
{
	AUTO(view) struct view *v = NULL;
	const struct view_role *r;
	int i, rc;

	if (view_new(conf ? conf : from->shared, &v) < 0)
		return err_set(reterr, -ENOMEM, "view");
	for (i = 0; i < CAR_RECIPIENT_N_; i++) {
		r = &from->role[i];
		if (!r->cert)
			continue;
		rc = view_role_set(v, (enum car_recipient) i, r->cert, r->key, reterr);
		if (rc == 0)
			rc = view_crl_set(v, (enum car_recipient) i, r->crl.der.data, r->crl.der.len, r->crl.next_update_sec);
		if (rc < 0)
			return rc;
	}
	if (buf_set(&v->next_ca, from->next_ca.data, from->next_ca.len) < 0) /* signed for these roles: as good in the copy */
		return err_set(reterr, -ENOMEM, "view");
	*ret = TAKE(v);
	return 0;
}

static unsigned caps(const struct view *v)
{
	unsigned bits =
		SCEP_CAP_AES | SCEP_CAP_POST | SCEP_CAP_RENEWAL | SCEP_CAP_SHA256 | SCEP_CAP_SHA384 | SCEP_CAP_SHA512 | SCEP_CAP_STANDARD;
	const struct scep_policy *policy = ca_conf_scep_policy(v->conf);

	if (policy->ciphers & 1u << SCEP_CIPHER_DES3)
		bits |= SCEP_CAP_DES3;
	if (policy->digests & 1u << SCEP_DIGEST_SHA1)
		bits |= SCEP_CAP_SHA1;
	if (v->role[CAR_RECIPIENT_NEXT].cert)
		bits |= SCEP_CAP_GET_NEXT_CA_CERT;
	return bits;
}

static void identities_list(struct view *v)
{
	int i;

	v->n_identities = 0;
	for (i = 0; i < CAR_RECIPIENT_N_; i++)
		if (v->role[i].cert) {
			v->which[v->n_identities] = (enum car_recipient) i;
			v->identities[v->n_identities++] = (struct scep_identity){ .cert = v->role[i].cert, .key = v->role[i].key };
		}
}

static struct tp_cert role_times(const struct view_role *r)
{
	if (!r->cert)
		return (struct tp_cert){ 0 };
	return (struct tp_cert){ .nb_sec = r->facts.nb_sec, .na_sec = r->facts.na_sec, .serial_low = r->facts.serial_low };
}

int view_seal(struct view *v, struct err *reterr)
{
	const struct view_role *active = &v->role[CAR_RECIPIENT_ACTIVE], *next = &v->role[CAR_RECIPIENT_NEXT];
	int r;

	identities_list(v);
	v->cal.ca = role_times(active);
	v->cal.next = role_times(next);
	r = scep_caps_build(caps(v), &v->caps);
	if (r < 0)
		return err_set(reterr, r, "capabilities");
	r = scep_ca_build(&active->cert, 1, &v->ca_cert, reterr);
	if (r < 0 || !next->cert || v->next_ca.len > 0)
		return r;
	return scep_next_ca_build(&next->cert, 1, active->cert, active->key, &v->next_ca, reterr);
}

enum car_recipient view_role_of(const struct view *v, const char *spki)
{
	int i;

	for (i = 0; i < CAR_RECIPIENT_N_; i++)
		if (v->role[i].cert && strcmp(v->role[i].facts.spki_sha256, spki) == 0)
			return (enum car_recipient) i;
	return CAR_RECIPIENT_N_;
}

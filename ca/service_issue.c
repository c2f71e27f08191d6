/* Write before you sign: intent, signature, record. */
#include <errno.h>
#include <string.h>

#include "ca/service_internal.h"
#include "ca/x509sig.h"
#include "common/fault.h"

#define INSTANCE 1 /* of serial numbers: one front for a CA so far */
#define SERIAL_TRIES 3
#define URL_BYTES 1024

/* ---- the intent ---- */

static int cert_init(struct db_cert *c, const struct view_role *role, X509_REQ *csr, const struct tp_cert *validity, int64_t now_sec,
		     struct err *reterr)
{
	int r;

	(void) snprintf(c->issuer_spki, sizeof(c->issuer_spki), "%s", role->facts.spki_sha256); /* same size */
	c->nb_sec = validity->nb_sec;
	c->na_sec = validity->na_sec;
	c->issued_sec = now_sec;
	r = x509_name_text(X509_REQ_get_subject_name(csr), c->subject, reterr);
	return r < 0 ? r : spki_sha256(X509_REQ_get0_pubkey(csr), c->spki, reterr);
}

static int intent_tbs(const struct view *v, const struct view_role *role, X509_REQ *csr, struct db_cert *c, struct err *reterr)
{
	struct issue_leaf leaf = {
		.ca = role->cert, .csr = csr, .serial = c->serial, .nb_sec = c->nb_sec, .na_sec = c->na_sec, .hash = v->conf->hash
	};
	char url[URL_BYTES];
	int r, n;

	r = issue_serial(INSTANCE, c->serial, reterr);
	if (r < 0)
		return r;
	if (v->conf->cdp_url) {
		n = snprintf(url, sizeof(url), "%s%s", v->conf->cdp_url, role->crl_name);
		if (n < 0 || (size_t) n >= sizeof(url))
			return err_set(reterr, -EINVAL, "CDPURL of more than %zu bytes", sizeof(url));
		leaf.crl_url = url;
	}
	buf_clear(&c->tbs);
	return issue_leaf_tbs(&leaf, &c->tbs, reterr);
}

/* A serial that is taken is drawn again: 2^-128 by chance, but a restored database may hold any. */
static int intent_write(struct service *s, const struct view *v, const struct view_role *role, X509_REQ *csr, struct db_request *request,
			struct db_cert *c, const char *actor, struct err *reterr)
{
	int i, r = -ENOTUNIQ;

	for (i = 0; i < SERIAL_TRIES && r == -ENOTUNIQ; i++) {
		r = intent_tbs(v, role, csr, c, reterr);
		if (r == 0)
			r = db_intent(s->o.db, request, c, c->issued_sec, actor, reterr);
	}
	return r;
}

/* ---- the signature and the record ---- */

static int sign_and_store(struct service *s, const struct view *v, const struct view_role *role, const struct db_cert *c, int64_t now_sec,
			  const char *actor, X509 **ret_cert, struct err *reterr)
{
	AUTO(buf) struct buf der = BUF_EMPTY;
	AUTO(x509) X509 *cert = NULL;
	enum scep_digest hash = v->conf->hash;
	int r;

	r = x509sig_tbs_digest(c->tbs.data, c->tbs.len, &hash); /* Hash= may have changed since the intent */
	if (r < 0)
		return err_set(reterr, r, "the recorded TBSCertificate of %s names no algorithm of ours", c->serial);
	r = x509sig_make(c->tbs.data, c->tbs.len, hash, role->key, &der, reterr);
	if (r < 0)
		return r;
	FAULT("ca.c4");
	r = db_issued(s->o.db, c->issuer_spki, c->serial, der.data, der.len, now_sec, actor, reterr);
	if (r < 0)
		return r;
	FAULT("ca.c5");
	r = x509_from_der(der.data, der.len, &cert, reterr);
	if (r == 0)
		*ret_cert = TAKE(cert);
	return r;
}

int service_issue_finish(struct service *s, const struct view *v, const struct tp_now *now, const struct db_request *r, const char *actor,
			 X509 **ret_cert, struct err *reterr)
{
	AUTO(db_cert) struct db_cert c = { 0 };
	enum car_recipient role = view_role_of(v, r->issuer_spki);
	int rc;

	if (role == CAR_RECIPIENT_N_)
		return err_set(reterr, -ENOKEY, "the CA key %.16s of request %lld is gone", r->issuer_spki, (long long) r->id);
	rc = db_cert_get(s->o.db, r->issuer_spki, r->serial, &c, reterr);
	if (rc < 0)
		return rc;
	if (c.der.len > 0)
		return x509_from_der(c.der.data, c.der.len, ret_cert, reterr);
	return sign_and_store(s, v, &v->role[role], &c, now->wall.ms / 1000, actor, ret_cert, reterr);
}

int service_issued_get(struct service *s, const struct db_request *r, X509 **ret_cert, struct err *reterr)
{
	AUTO(db_cert) struct db_cert c = { 0 };
	int rc;

	rc = db_cert_get(s->o.db, r->issuer_spki, r->serial, &c, reterr);
	return rc < 0 ? rc : x509_from_der(c.der.data, c.der.len, ret_cert, reterr);
}

int service_issue(struct service *s, const struct view *v, enum car_recipient role, const struct tp_now *now, struct db_request *r,
		  X509_REQ *csr, const char *actor, X509 **ret_cert, struct err *reterr)
{
	struct tp_cert validity = cal_cert_validity(&v->conf->cal, &v->cal, role == CAR_RECIPIENT_NEXT, now);
	AUTO(db_cert) struct db_cert c = { 0 };
	int rc;

	if (validity.na_sec <= validity.nb_sec)
		return err_set(reterr, -EKEYEXPIRED, "the CA certificate has ended");
	rc = cert_init(&c, &v->role[role], csr, &validity, now->wall.ms / 1000, reterr);
	if (rc < 0)
		return rc;
	rc = intent_write(s, v, &v->role[role], csr, r, &c, actor, reterr);
	if (rc == -EEXIST) /* another thread had the same request in hand */
		return r->status == CAR_STATUS_GRANTED ? service_issued_get(s, r, ret_cert, reterr)
						       : service_issue_finish(s, v, now, r, actor, ret_cert, reterr);
	if (rc < 0)
		return rc;
	FAULT("ca.c3");
	return sign_and_store(s, v, &v->role[role], &c, c.issued_sec, actor, ret_cert, reterr);
}

/* ---- after a crash ---- */

struct finish {
	struct service *service;
	struct view *view;
	struct tp_now now;
	unsigned done, left;
	struct err *reterr;
};

static int intent_finish(void *userdata, const struct db_request *r)
{
	struct finish *f = userdata;
	AUTO(x509) X509 *cert = NULL;

	if (service_issue_finish(f->service, f->view, &f->now, r, "recovery", &cert, f->reterr) < 0)
		f->left++;
	else
		f->done++;
	return 0;
}

int service_finish(struct service *s, unsigned *ret_done, unsigned *ret_left, struct err *reterr)
{
	AUTO(view) struct view *v = service_view1(s);
	struct finish f = { .service = s, .view = v, .reterr = reterr };
	int r;

	if (!v)
		return err_set(reterr, -EAGAIN, "no CA certificate yet");
	service_now(s, v, &f.now);
	r = db_intents_each(s->o.db, intent_finish, &f, reterr);
	*ret_done = f.done;
	*ret_left = f.left;
	return r;
}

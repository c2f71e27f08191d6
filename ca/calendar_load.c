/* What the CA is at start, and what a crash left half done:
 *   previous.pem equal to ca.pem   cut within the switch, before its rename: nothing has happened, the calendar switches again
 *   ca.pem's key is the shadow     cut after the rename, before the promotion: promote
 *   a shadow key, no next.pem      cut between key and certificate: nobody has seen it, delete it
 *   next.pem whose key cannot be had: kept, and waited for, since routers hold certificates under it
 *   previous.pem whose key cannot be had: of no use, forget it */
#include <errno.h>
#include <string.h>

#include "ca/calendar_internal.h"
#include "ca/material.h"
#include "common/auto_ssl.h"
#include "common/log.h"

#define PREVIOUS_GRACE_MS (24 * 3600 * 1000LL) /* for polls and GetCert */

struct tp_cert calendar_times(const struct x509_facts *facts)
{
	return (struct tp_cert){ .nb_sec = facts->nb_sec, .na_sec = facts->na_sec, .serial_low = facts->serial_low };
}

/* The last CRL goes on serving until there is a new one. */
static int crl_restore(struct calendar *c, struct view *v, enum car_recipient role)
{
	AUTO(buf) struct buf der = BUF_EMPTY;
	AUTO(crl) X509_CRL *crl = NULL;
	const unsigned char *p;
	int64_t next_sec = 0;

	if (material_crl_load(c->o.name, v->role[role].crl_name, &der, NULL) < 0)
		return 0; /* none yet: one is due now */
	p = der.data;
	crl = p ? d2i_X509_CRL(NULL, &p, (long) der.len) : NULL;
	if (!crl || !X509_CRL_get0_nextUpdate(crl) || asn1_time_sec(X509_CRL_get0_nextUpdate(crl), &next_sec) < 0)
		return err_from_openssl(NULL, 0, "a damaged CRL is made again");
	return view_crl_set(v, role, der.data, der.len, next_sec);
}

static int role_load(struct calendar *c, struct view *v, enum car_recipient role, struct ks_key *ret_key, struct err *reterr)
{
	AUTO(x509) X509 *cert = NULL;
	AUTO(pkey) EVP_PKEY *key = NULL;
	struct x509_facts facts;
	int r;

	if ((r = material_load(c->o.name, role, &cert, reterr)) < 0 || (r = x509_facts_get(cert, &facts, reterr)) < 0 ||
	    (r = signer_load(c->o.signer, KS_SLOT_ACTIVE, facts.spki_sha256, &key, ret_key, reterr)) < 0 ||
	    (r = view_role_set(v, role, cert, key, reterr)) < 0)
		return r;
	return crl_restore(c, v, role) < 0 ? err_set(reterr, -ENOMEM, "CRL") : 0;
}

/* The signer's floor goes by IssuerName=, so a change of it would end in refusals: say so at start. */
static int name_check(const struct view *v, struct err *reterr)
{
	AUTO(name) X509_NAME *name = NULL;
	int r;

	r = x509_name_parse(v->conf->issuer_name, &name, reterr);
	if (r < 0)
		return r;
	if (X509_NAME_cmp(name, X509_get_subject_name(v->role[CAR_RECIPIENT_ACTIVE].cert)) != 0)
		return err_from_openssl(reterr, -EINVAL,
					"IssuerName=%s, but the CA certificate's subject is %s. Do: set it back, or make another CA",
					v->conf->issuer_name, v->role[CAR_RECIPIENT_ACTIVE].facts.subject);
	return 0;
}

static int active_load(struct calendar *c, struct view *v, struct err *reterr)
{
	struct ks_key key = { 0 };
	int r;

	r = role_load(c, v, CAR_RECIPIENT_ACTIVE, &key, reterr);
	if (r == 0)
		r = name_check(v, reterr);
	if (r < 0 || key.slot != KS_SLOT_SHADOW)
		return r;
	log_line(LOG_NOTICE, "the active CA's key is moved to its place: a switch was cut off");
	return signer_promote(c->o.signer, key.spki, reterr);
}

static int orphan_delete(struct calendar *c, struct err *reterr)
{
	struct ks_key key = { 0 };
	int r;

	r = signer_load(c->o.signer, KS_SLOT_SHADOW, NULL, NULL, &key, reterr);
	if (r == -ENOKEY || r == -EBUSY) /* the next start deletes it, or the next certificate is made over it */
		return 0;
	if (r == 0) {
		log_line(LOG_NOTICE, "a rollover key without a certificate is deleted: its making was cut off");
		r = signer_delete(c->o.signer, key.spki, reterr);
	}
	return r;
}

static int next_load(struct calendar *c, struct view *v, struct err *reterr)
{
	int r;

	r = role_load(c, v, CAR_RECIPIENT_NEXT, NULL, reterr);
	if (r == -ENOENT)
		return orphan_delete(c, reterr);
	if (r != -ENOKEY && r != -EBUSY)
		return r;
	(void) log_err(r, reterr, "the rollover CA's key cannot be had, so there is no rollover CA now; with the key its certificate comes back");
	c->next_waits = true;
	view_role_clear(v, CAR_RECIPIENT_NEXT);
	return 0;
}

static int previous_load(struct calendar *c, struct view *v, struct err *reterr)
{
	const struct x509_facts *previous = &v->role[CAR_RECIPIENT_PREVIOUS].facts;
	int r;

	r = role_load(c, v, CAR_RECIPIENT_PREVIOUS, NULL, reterr);
	if (r == -ENOENT || r == -ENOKEY || r == -EBUSY) {
		view_role_clear(v, CAR_RECIPIENT_PREVIOUS);
		return 0;
	}
	if (r == 0 && strcmp(previous->sha256, v->role[CAR_RECIPIENT_ACTIVE].facts.sha256) == 0)
		view_role_clear(v, CAR_RECIPIENT_PREVIOUS);
	return r;
}

/* A CRL is made again after half of its life; one that is not there, now. */
static struct wall crl_due(const struct view *v, enum car_recipient role)
{
	const struct view_crl *crl = &v->role[role].crl;

	if (crl->der.len == 0)
		return (struct wall){ 0 };
	return (struct wall){ .ms = crl->next_update_sec * 1000 - v->conf->cal.crl_lifetime_ms / 2 };
}

static void state_init(struct cal_state *s, const struct view *v)
{
	const struct view_role *role = v->role;

	*s = (struct cal_state){ .ca = calendar_times(&role[CAR_RECIPIENT_ACTIVE].facts), .crl_due = crl_due(v, CAR_RECIPIENT_ACTIVE) };
	if (role[CAR_RECIPIENT_NEXT].cert) {
		s->next = calendar_times(&role[CAR_RECIPIENT_NEXT].facts);
		s->next_crl_due = crl_due(v, CAR_RECIPIENT_NEXT);
	}
	if (role[CAR_RECIPIENT_PREVIOUS].cert) {
		s->previous = calendar_times(&role[CAR_RECIPIENT_PREVIOUS].facts);
		s->previous_until.ms = s->previous.na_sec * 1000 + PREVIOUS_GRACE_MS;
	}
}

int calendar_load(struct calendar *c, struct view **ret, struct err *reterr)
{
	AUTO(view) struct view *v = NULL;
	int r;

	if (view_new(c->o.conf, &v) < 0)
		return err_set(reterr, -ENOMEM, "calendar");
	if ((r = active_load(c, v, reterr)) < 0 || (r = next_load(c, v, reterr)) < 0 || (r = previous_load(c, v, reterr)) < 0 ||
	    (r = view_seal(v, reterr)) < 0)
		return r;
	state_init(&c->state, v);
	c->state.rollover_asked = c->next_waits; /* which tries for the key until it is there */
	*ret = TAKE(v);
	return 0;
}

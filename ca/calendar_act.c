/* What the calendar asks for, performed. Each may be done twice: what is there already is used. */
#include <errno.h>
#include <string.h>

#include "ca/calendar_internal.h"
#include "ca/material.h"
#include "ca/selfsign.h"
#include "common/clk.h"
#include "common/fault.h"
#include "common/log.h"

/* ---- views ---- */

static int view_begin(struct calendar *c, struct view **ret, struct err *reterr)
{
	AUTO(view) struct view *now = service_view1(c->o.service);

	return view_copy(now, NULL, ret, reterr);
}

static int view_end(struct calendar *c, struct view **v, struct err *reterr)
{
	int r;

	r = view_seal(*v, reterr);
	if (r == 0)
		service_publish(c->o.service, TAKE(*v));
	return r;
}

/* ---- the rollover CA ---- */

static int next_publish(struct calendar *c, X509 *cert, EVP_PKEY *key, struct tp_cert *ret, struct err *reterr)
{
	AUTO(view) struct view *v = NULL;
	char na[CLK_RFC3339_BYTES];
	int r;

	if ((r = view_begin(c, &v, reterr)) < 0 || (r = view_role_set(v, CAR_RECIPIENT_NEXT, cert, key, reterr)) < 0)
		return r;
	*ret = calendar_times(&v->role[CAR_RECIPIENT_NEXT].facts);
	log_event(LOG_EV_CS_SHADOW_CA_CREATED, &(struct log_fields){ .ca = c->o.name, .serial = v->role[CAR_RECIPIENT_NEXT].facts.serial },
		  "rollover CA certificate, valid until %s", clk_rfc3339(ret->na_sec, na));
	return view_end(c, &v, reterr);
}

/* What routers hold shadow certificates under already: the certificate that was kept while its key could not be had. NULL: there is none. */
static int next_stored(const struct calendar *c, X509 **ret, struct x509_facts *ret_facts, struct err *reterr)
{
	int r = material_load(c->o.name, CAR_RECIPIENT_NEXT, ret, reterr);

	if (r == -ENOENT)
		return 0;
	return r < 0 ? r : x509_facts_get(*ret, ret_facts, reterr);
}

static int next_sign(struct calendar *c, const struct view *v, EVP_PKEY *key, X509 **ret, struct err *reterr)
{
	struct selfsign in = { .name = X509_get_subject_name(v->role[CAR_RECIPIENT_ACTIVE].cert), .hash = v->conf->hash, .key = key };
	struct tp_now now;
	int r;

	calendar_now(c, &now);
	in.validity = cal_next_validity(&v->conf->cal, &c->state, &now);
	FAULT("ca.next.key");
	r = selfsign_make(&in, ret, reterr);
	return r < 0 ? r : material_store(c->o.name, CAR_RECIPIENT_NEXT, *ret, reterr);
}

/* One that an attempt before left in the slot may be of another size or level than the file wants now. */
static int next_unsuited(struct calendar *c, const struct ks_key *key, struct err *reterr)
{
	int r = signer_delete(c->o.signer, key->spki, reterr);

	return r < 0 ? r : err_set(reterr, -EAGAIN, "a rollover key of %d bits at level %s lay there, and is deleted", key->bits,
				   ks_protection_name(key->protection));
}

static int next_certify(struct calendar *c, const char *spki, struct tp_cert *ret, struct err *reterr)
{
	AUTO(view) struct view *v = service_view1(c->o.service);
	AUTO(pkey) EVP_PKEY *key = NULL;
	AUTO(x509) X509 *cert = NULL;
	AUTO(x509) X509 *stored = NULL;
	struct x509_facts stored_facts = { 0 };
	struct ks_key facts = { 0 };
	int r;

	if (strcmp(spki, v->role[CAR_RECIPIENT_ACTIVE].facts.spki_sha256) == 0)
		return err_set(reterr, -EEXIST, "the active CA's key still lies in the rollover key's place");
	r = signer_load(c->o.signer, KS_SLOT_SHADOW, spki, &key, &facts, reterr);
	if (r == 0)
		r = next_stored(c, &stored, &stored_facts, reterr);
	if (r < 0)
		return r;
	if (strcmp(stored_facts.spki_sha256, spki) == 0)
		cert = TAKE(stored);
	else if (ks_key_suits(&facts, (int) v->conf->key_bits, v->conf->protection))
		r = next_sign(c, v, key, &cert, reterr);
	else
		r = next_unsuited(c, &facts, reterr);
	if (r < 0)
		return r;
	c->next_waits = false;
	FAULT("ca.next.stored");
	return next_publish(c, cert, key, ret, reterr);
}

static void generate_end(struct calendar *c)
{
	(void) sd_event_source_disable_unref(c->generate_source);
	c->generate_source = NULL;
	auto_fd(&c->generate_fd);
	c->generate_fd = -1;
}

static int generated(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct calendar *c = userdata;
	char spki[KS_SPKI_HEX];
	struct tp_cert cert = { 0 };
	struct err why = { 0 };
	int r;

	(void) source;
	(void) fd;
	(void) revents; /* signer_generate reads what there is */
	r = signer_generate(c->o.signer, KS_SLOT_SHADOW, 0, KS_PROTECTION_AUTO, &c->generate_fd, spki, &why);
	if (r == -EAGAIN)
		return 0;
	generate_end(c);
	if (r == 0)
		r = next_certify(c, spki, &cert, &why);
	calendar_act_done(c, CAL_ACT_MAKE_NEXT, r, &cert, &why);
	return 0;
}

/* The active key must lie in its place first: a switch whose promotion was cut off left it in the shadow's. */
static int generate_begin(struct calendar *c, struct err *reterr)
{
	AUTO(view) struct view *v = service_view1(c->o.service);
	char spki[KS_SPKI_HEX];
	int r;

	r = signer_promote(c->o.signer, v->role[CAR_RECIPIENT_ACTIVE].facts.spki_sha256, reterr);
	if (r == 0)
		r = signer_generate(c->o.signer, KS_SLOT_SHADOW, (int) v->conf->key_bits, v->conf->protection, &c->generate_fd, spki,
				    reterr);
	if (r < 0)
		return r;
	r = sd_event_add_io(c->o.event, &c->generate_source, c->generate_fd, EPOLLIN | EPOLLHUP, generated, c);
	return r < 0 ? err_set(reterr, r, "key generation cannot be watched: %s", strerror(-r)) : 0;
}

static void make_next(struct calendar *c)
{
	struct err why = { 0 };
	int r;

	r = generate_begin(c, &why);
	if (r == 0)
		return; /* goes on in generated() */
	generate_end(c);
	calendar_act_done(c, CAL_ACT_MAKE_NEXT, r, NULL, &why);
}

static int cancel_next(struct calendar *c, struct err *reterr)
{
	AUTO(view) struct view *v = NULL;
	AUTO(x509) X509 *stored = NULL;
	struct x509_facts facts = { 0 };
	char crl_name[ISSUE_CRL_NAME_BYTES];
	int r;

	r = view_begin(c, &v, reterr);
	if (r == 0 && c->next_waits)
		r = next_stored(c, &stored, &facts, reterr);
	else if (r == 0)
		facts = v->role[CAR_RECIPIENT_NEXT].facts;
	if (r < 0)
		return r;
	view_role_clear(v, CAR_RECIPIENT_NEXT);
	if ((r = material_remove(c->o.name, CAR_RECIPIENT_NEXT, reterr)) < 0 || (r = view_end(c, &v, reterr)) < 0)
		return r;
	c->next_waits = false;
	FAULT("ca.cancel.removed");
	if (!facts.spki_sha256[0])
		return 0;
	issue_crl_name(facts.spki_sha256, crl_name);
	r = material_crl_remove(c->o.name, crl_name, reterr);
	return r < 0 ? r : signer_delete(c->o.signer, facts.spki_sha256, reterr);
}

/* ---- the switch ---- */

/* The files decide, the view follows at once; the key's slot last, since handles find it in any. A promotion that fails is repeated before the next key is
 * made. */
static int switch_over(struct calendar *c, struct err *reterr)
{
	AUTO(view) struct view *v = NULL;
	char spki[X509F_SHA256_HEX];
	struct err why = { 0 };
	int r;

	r = view_begin(c, &v, reterr);
	if (r < 0)
		return r;
	view_switch(v);
	memcpy(spki, v->role[CAR_RECIPIENT_ACTIVE].facts.spki_sha256, sizeof(spki));
	if ((r = view_seal(v, reterr)) < 0 || (r = material_switch(c->o.name, reterr)) < 0)
		return r;
	FAULT("ca.switch.renamed");
	service_publish(c->o.service, TAKE(v));
	log_event(LOG_EV_CS_ROLLED_OVER, &(struct log_fields){ .ca = c->o.name }, "the rollover CA is the active CA now");
	r = signer_promote(c->o.signer, spki, &why);
	if (r < 0)
		(void) log_err(r, &why, "the new CA's key could not be moved to its place yet");
	return 0;
}

static void retire_previous(struct calendar *c)
{
	AUTO(view) struct view *v = NULL;
	char spki[X509F_SHA256_HEX], crl_name[ISSUE_CRL_NAME_BYTES];
	struct err why = { 0 };
	int r;

	r = view_begin(c, &v, &why);
	if (r == 0 && v->role[CAR_RECIPIENT_PREVIOUS].cert) {
		memcpy(spki, v->role[CAR_RECIPIENT_PREVIOUS].facts.spki_sha256, sizeof(spki));
		issue_crl_name(spki, crl_name);
		view_role_clear(v, CAR_RECIPIENT_PREVIOUS);
		r = view_end(c, &v, &why);
		if (r == 0)
			r = signer_delete(c->o.signer, spki, &why);
		if (r == 0)
			r = material_crl_remove(c->o.name, crl_name, &why); /* all it could revoke has ended */
	}
	if (r == 0)
		r = material_remove(c->o.name, CAR_RECIPIENT_PREVIOUS, &why); /* last: a restart before it retires again */
	if (r < 0)
		(void) log_err(r, &why, "the previous CA's key could not be retired; the next start will");
}

/* ---- CRLs, requests ---- */

static int crl_update(struct calendar *c, enum car_recipient role, struct err *reterr)
{
	AUTO(view) struct view *v = NULL;
	struct view_crl crl = { .der = BUF_EMPTY };
	char next[CLK_RFC3339_BYTES];
	int r;

	r = view_begin(c, &v, reterr);
	if (r < 0)
		return r;
	r = service_crl_make(c->o.service, v, role, &crl, reterr);
	if (r == 0)
		r = material_crl_store(c->o.name, v->role[role].crl_name, &crl.der, reterr);
	if (r == 0)
		r = view_crl_set(v, role, crl.der.data, crl.der.len, crl.next_update_sec);
	buf_clear(&crl.der);
	if (r == 0)
		r = view_end(c, &v, reterr);
	if (r == 0)
		log_event(LOG_EV_CS_CRL_UPDATED, &(struct log_fields){ .ca = c->o.name }, "CRL of the %s key, next update %s",
			  role == CAR_RECIPIENT_NEXT ? "rollover" : "active", clk_rfc3339(crl.next_update_sec, next));
	return r;
}

static void expire_requests(struct calendar *c)
{
	AUTO(view) struct view *v = service_view1(c->o.service);
	struct err why = { 0 };
	struct tp_now now;
	unsigned n = 0;
	int r;

	calendar_now(c, &now);
	r = db_expire_requests(c->o.db, (now.wall.ms - v->conf->cal.request_lifetime_ms) / 1000, now.wall.ms / 1000, &n, &why);
	if (r < 0)
		(void) log_err(r, &why, "old requests could not be expired");
	else if (n > 0)
		log_event(LOG_EV_CS_REQUEST_EXPIRED, &(struct log_fields){ .ca = c->o.name },
			  "%u requests expired that were pending, or granted and never collected", n);
}

void calendar_perform(struct calendar *c, enum cal_act act)
{
	struct err why = { 0 };
	int r = 0;

	switch (act) {
	case CAL_ACT_MAKE_NEXT:
		make_next(c);
		return;
	case CAL_ACT_EXPIRE_REQUESTS:
		expire_requests(c);
		return;
	case CAL_ACT_RETIRE_PREVIOUS:
		retire_previous(c);
		return;
	case CAL_ACT_SWITCH:
		r = switch_over(c, &why);
		break;
	case CAL_ACT_CANCEL_NEXT:
		r = cancel_next(c, &why);
		break;
	case CAL_ACT_MAKE_CRL:
		r = crl_update(c, CAR_RECIPIENT_ACTIVE, &why);
		break;
	case CAL_ACT_MAKE_NEXT_CRL:
		r = crl_update(c, CAR_RECIPIENT_NEXT, &why);
		break;
	case CAL_ACT_NONE:
	case CAL_ACT_N_:
		return;
	}
	calendar_act_done(c, act, r, NULL, &why);
}

/* INSTALL, ACTIVATE, RETIRE, ABANDON: what becomes of pairs and keys. Link first, then the key's promotion. */
#include <errno.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/deliver.h"
#include "common/auto_ssl.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/x509facts.h"

static int facts_of(const struct trustpoint *tp, const struct tp_cert *who, struct x509_facts *ret, struct err *reterr)
{
	AUTO(x509) X509 *x = NULL;
	int r = bag_cert(&tp->rec.bag, who, &x, reterr);

	return r < 0 ? r : x509_facts_get(x, ret, reterr);
}

/* For listings: how the active key is kept. */
static void protection_note(struct trustpoint *tp, struct ks *ks, const char *spki)
{
	struct ks_key facts;

	if (ks_load(ks, tp->conf.label, KS_SLOT_ACTIVE, spki, NULL, &facts, NULL) < 0)
		return; /* the listing does without */
	(void) snprintf(tp->rec.protection, sizeof(tp->rec.protection), "%s", ks_protection_name(facts.protection));
	(void) snprintf(tp->rec.at_rest, sizeof(tp->rec.at_rest), "%s", facts.at_rest);
	tp->rec.bits = facts.bits;
}

/* The key of the pair just delivered becomes the active one. */
static int promote(struct trustpoint *tp, const char *spki, struct err *reterr)
{
	struct ks *ks = NULL;
	int r = agent_ks(tp->agent, &ks, reterr);

	FAULT("agent.k9-before-promote");
	if (r == 0)
		r = ks_promote(ks, tp->conf.label, spki, reterr);
	if (r < 0)
		return r;
	protection_note(tp, ks, spki);
	return 0;
}

/* Remembers the old ID's key, so that RETIRE can destroy it. */
static void previous_note(struct trustpoint *tp, const char *new_spki)
{
	struct x509_facts old;

	if (!tp->rec.state.id.na_sec || facts_of(tp, &tp->rec.state.id, &old, NULL) < 0)
		return;
	if (strcmp(old.spki_sha256, new_spki) != 0)
		(void) snprintf(tp->rec.previous_spki, sizeof(tp->rec.previous_spki), "%s", old.spki_sha256);
}

/* The pair proves itself before anybody uses it: a signature by the custodian, checked with the certificate's key. Fault point agent.k7. */
static int pair_check(struct trustpoint *tp, const struct tp_cert *who, const char *spki, struct err *reterr)
{
	static const unsigned char probe[] = "keyroll: does this key belong to this certificate?";
	AUTO(md_ctx) EVP_MD_CTX *sign = EVP_MD_CTX_new();
	AUTO(md_ctx) EVP_MD_CTX *verify = EVP_MD_CTX_new();
	AUTO(pkey) EVP_PKEY *key = NULL;
	AUTO(x509) X509 *x = NULL;
	unsigned char sig[LIMIT_KEY_BITS_MAX / 8];
	size_t len = sizeof(sig);
	struct ks *ks = NULL;
	int r = agent_ks(tp->agent, &ks, reterr);

	if (r == 0)
		r = ks_load(ks, tp->conf.label, KS_SLOT_ACTIVE, spki, &key, NULL, reterr);
	if (r == 0)
		r = bag_cert(&tp->rec.bag, who, &x, reterr);
	if (r < 0)
		return r;
	if (!sign || !verify || EVP_DigestSignInit_ex(sign, NULL, "SHA256", NULL, NULL, key, NULL) != 1 ||
	    EVP_DigestSign(sign, sig, &len, probe, sizeof(probe)) != 1)
		return err_from_openssl(reterr, -EIO, "a test signature by key %.16s", spki);
	if (EVP_DigestVerifyInit_ex(verify, NULL, "SHA256", NULL, NULL, X509_get0_pubkey(x), NULL) != 1 ||
	    EVP_DigestVerify(verify, sig, len, probe, sizeof(probe)) != 1)
		return err_from_openssl(reterr, -EKEYREJECTED, "key %.16s does not fit its certificate", spki);
	return 0;
}

static const char *install_reason(const struct trustpoint *tp)
{
	return tp->rec.state.op == TP_OP_ENROLL ? "enroll" : "renew";
}

static int install(struct trustpoint *tp, struct x509_facts *f, struct err *reterr)
{
	const struct tp_cert *granted = &tp->rec.state.granted;
	int r = facts_of(tp, granted, f, reterr);

	FAULT("agent.k6-granted-stored");
	if (r == 0)
		r = pair_check(tp, granted, f->spki_sha256, reterr);
	if (r == 0)
		r = deliver_role(tp, DELIVER_GRANTED, install_reason(tp), reterr);
	if (r == 0)
		r = promote(tp, f->spki_sha256, reterr);
	return r;
}

void perform_install(struct trustpoint *tp)
{
	struct log_fields fields = trustpoint_fields(tp);
	struct x509_facts f;
	struct err e = { 0 };
	int r = install(tp, &f, &e);

	if (r < 0) {
		work_fail(tp, TP_RESULT_LOCAL, r, &e, "install", 0);
		return;
	}
	previous_note(tp, f.spki_sha256);
	request_clear(&tp->rec.request);
	fields.serial = f.serial;
	fields.due_sec = f.na_sec;
	log_event(LOG_EV_CERT_INSTALL, &fields, "certificate %s of %s is in use", f.serial, f.subject);
	work_done(tp, TP_RESULT_OK, NULL, 0);
}

/* The request that got the shadow has done its work; one that still waits goes on under the CA that is active from now on. */
static void activate_finish(struct trustpoint *tp, const struct x509_facts *f)
{
	struct log_fields fields = trustpoint_fields(tp);

	fields.serial = f->serial;
	previous_note(tp, f->spki_sha256);
	if (tp->rec.state.op == TP_OP_NONE)
		request_clear(&tp->rec.request);
	log_event(LOG_EV_SHADOW_ACTIVATED, &fields, "CA and certificate %s of %s are in use", f->serial, f->subject);
	work_done(tp, TP_RESULT_OK, NULL, 0);
}

static void activate_ca_alone(struct trustpoint *tp)
{
	const struct log_fields fields = trustpoint_fields(tp);

	previous_note(tp, "");
	log_event(LOG_EV_SHADOW_ACTIVATED, &fields, "the next CA is in use; there is no shadow certificate for it");
	work_done(tp, TP_RESULT_OK, NULL, 0);
}

void perform_activate(struct trustpoint *tp)
{
	struct x509_facts f;
	struct err e = { 0 };
	int r;

	if (!tp->rec.state.shadow.na_sec) {
		activate_ca_alone(tp);
		return;
	}
	r = deliver_role(tp, DELIVER_SHADOW, "rollover", &e); /* prepared ahead: one rename */
	if (r == 0)
		r = facts_of(tp, &tp->rec.state.shadow, &f, &e);
	if (r == 0)
		r = promote(tp, f.spki_sha256, &e);
	if (r < 0)
		work_fail(tp, TP_RESULT_LOCAL, r, &e, "activate", 0);
	else
		activate_finish(tp, &f);
}

void perform_retire(struct trustpoint *tp)
{
	const struct log_fields fields = trustpoint_fields(tp);
	struct x509_facts f = { .spki_sha256 = "" };
	struct ks *ks = NULL;
	struct err e = { 0 };
	int r = 0;

	if (!tp->rec.previous_spki[0])
		return;
	if (tp->rec.state.id.na_sec)
		r = facts_of(tp, &tp->rec.state.id, &f, &e);
	if (r == 0 && strcmp(f.spki_sha256, tp->rec.previous_spki) != 0) {
		r = agent_ks(tp->agent, &ks, &e);
		if (r == 0)
			r = ks_delete(ks, tp->conf.label, tp->rec.previous_spki, &e);
	}
	FAULT("agent.k10-retired");
	if (r < 0) {
		trustpoint_fail(tp, r, &e, "destroy the previous key"); /* a promotion destroys an older previous key anyway */
		return;
	}
	log_event(LOG_EV_KEY_DELETED, &fields, "previous key %.16s", tp->rec.previous_spki);
	tp->rec.previous_spki[0] = '\0';
	tp->dirty = true;
}

/* Whether that certificate, if it is there, is over that key. */
static bool is_over(const struct trustpoint *tp, const struct tp_cert *who, const char *spki)
{
	struct x509_facts f;

	return who->na_sec && facts_of(tp, who, &f, NULL) == 0 && strcmp(f.spki_sha256, spki) == 0;
}

void perform_abandon(struct trustpoint *tp)
{
	const struct tp_state *s = &tp->rec.state;
	const struct log_fields fields = trustpoint_fields(tp);
	struct request *q = &tp->rec.request;
	struct ks *ks = NULL;
	struct err e = { 0 };
	bool serves;
	int r = 0;

	serves = is_over(tp, &s->id, q->spki) || is_over(tp, &s->shadow, q->spki);
	if (q->transaction_id[0] && q->new_key && !serves) {
		r = agent_ks(tp->agent, &ks, &e);
		if (r == 0)
			r = ks_delete(ks, tp->conf.label, q->spki, &e);
		if (r < 0)
			trustpoint_fail(tp, r, &e, "destroy an abandoned key"); /* the next PREPARE finds it in its slot and uses it */
		else
			log_event(LOG_EV_KEY_DELETED, &fields, "key %.16s of an abandoned request", q->spki);
	}
	request_clear(q);
	tp->dirty = true;
}

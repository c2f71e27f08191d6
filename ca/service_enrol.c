/* PKCSReq, RenewalReq and CertPoll: facts gathered here, decided by lifecycle/car.h. */
#include <errno.h>
#include <string.h>

#include "ca/service_internal.h"
#include "common/log.h"

#define DB_ISSUER_HEX 16 /* of an spki within a signer's text */

static void fail_decided(struct answer *a, const struct car_decision *d)
{
	answer_fail(a, (enum scep_fail) d->fail, d->why);
}

/* ---- who signed ---- */

static int signer_self(struct exchange *x, struct signer_facts *ret, struct err *reterr)
{
	char spki[X509F_SHA256_HEX];
	int r;

	r = spki_sha256(X509_get0_pubkey(x->req.signer), spki, reterr);
	if (r < 0)
		return r;
	ret->who = CAR_SIGNER_SELF;
	(void) snprintf(ret->text, sizeof(ret->text), "self:%s", spki); /* fits */
	return 0;
}

static enum car_signer issued_judge(const struct db_cert *c, int64_t now_sec)
{
	if (c->revoked_sec != 0)
		return CAR_SIGNER_REVOKED;
	return now_sec < c->nb_sec || now_sec >= c->na_sec ? CAR_SIGNER_EXPIRED : CAR_SIGNER_ISSUED;
}

/* A certificate of ours lies in the database, byte for byte: that says more than its signature. -ENOENT: not of this key. */
static int signer_of_role(struct exchange *x, const struct view_role *role, const struct x509_facts *facts, const struct buf *der,
			  struct signer_facts *ret, struct err *reterr)
{
	AUTO(db_cert) struct db_cert c = { 0 };
	int r;

	r = db_cert_get(x->service->o.db, role->facts.spki_sha256, facts->serial, &c, reterr);
	if (r < 0)
		return r;
	if (c.der.len != der->len || memcmp(c.der.data, der->data, der->len) != 0)
		return -ENOENT;
	ret->who = issued_judge(&c, x->now.wall.ms / 1000);
	(void) snprintf(ret->text, sizeof(ret->text), "cert:%.*s:%s", DB_ISSUER_HEX, role->facts.spki_sha256, facts->serial); /* fits */
	return 0;
}

static int signer_issued(struct exchange *x, struct signer_facts *ret, struct err *reterr)
{
	AUTO(buf) struct buf der = BUF_EMPTY;
	struct x509_facts facts;
	int i, r;

	if (x509_facts_get(x->req.signer, &facts, NULL) < 0)
		return 0; /* stays unknown: not a certificate of ours */
	r = x509_to_der(x->req.signer, &der, reterr);
	for (i = 0; r == 0 && i < CAR_RECIPIENT_N_; i++) {
		if (!x->view->role[i].cert)
			continue;
		r = signer_of_role(x, &x->view->role[i], &facts, &der, ret, reterr);
		if (r != -ENOENT)
			return r;
		r = 0;
	}
	return r;
}

int service_signer_judge(struct exchange *x, struct signer_facts *ret, struct err *reterr)
{
	*ret = (struct signer_facts){ .who = CAR_SIGNER_UNKNOWN, .text = "unknown" };
	return x->req.signer_self_signed ? signer_self(x, ret, reterr) : signer_issued(x, ret, reterr);
}

/* ---- what is asked ---- */

struct enrolment {
	struct signer_facts signer;
	struct car_facts facts;
	struct db_request row;
	bool bad_alg;
	struct err objection;
};

static inline void auto_enrolment(struct enrolment *e)
{
	db_request_clear(&e->row);
}

static int row_init(struct exchange *x, struct enrolment *e, struct err *reterr)
{
	struct db_request *r = &e->row;
	int rc;

	(void) snprintf(r->issuer_spki, sizeof(r->issuer_spki), "%s", x->view->role[x->role].facts.spki_sha256); /* same size */
	(void) snprintf(r->transaction_id, sizeof(r->transaction_id), "%s", x->req.transaction_id);              /* likewise */
	(void) snprintf(r->csr_sha256, sizeof(r->csr_sha256), "%s", x->req.csr_sha256);                          /* likewise */
	(void) snprintf(r->signer, sizeof(r->signer), "%s", e->signer.text);                                     /* likewise */
	(void) snprintf(r->address, sizeof(r->address), "%s", x->address);                                       /* likewise */
	r->renewal = e->signer.who != CAR_SIGNER_SELF;
	r->received_sec = x->now.wall.ms / 1000;
	if (x509_name_text(X509_REQ_get_subject_name(x->req.csr), r->subject, NULL) < 0)
		r->subject[0] = '\0'; /* csr_judge says so */
	rc = buf_set(&r->csr, x->req.csr_der.data, x->req.csr_der.len);
	return rc < 0 ? rc : x509_to_der(x->req.signer, &r->signer_cert, reterr);
}

/* Another subject's key, or one of the CA's own. */
static int key_in_use(struct exchange *x, const struct enrolment *e, const char *spki, bool *ret, struct err *reterr)
{
	if (view_role_of(x->view, spki) != CAR_RECIPIENT_N_) {
		*ret = true;
		return 0;
	}
	return db_key_other_subject(x->service->o.db, spki, e->row.subject, ret, reterr);
}

/* What the signer would refuse must be refused before an intent is written, which nobody could ever sign. */
static int subject_judge(struct exchange *x, struct err *reterr)
{
	X509_NAME *subject = X509_REQ_get_subject_name(x->req.csr);
	char text[X509F_NAME_BYTES];

	if (x509_name_text(subject, text, NULL) < 0)
		return err_set(reterr, -EPROTO, "the request's subject cannot be read");
	if (X509_NAME_cmp(subject, X509_get_subject_name(x->view->role[x->role].cert)) == 0)
		return err_set(reterr, -EPROTO, "the request asks for the CA's own name");
	return 0;
}

static void csr_judge(struct exchange *x, struct enrolment *e, const char *spki)
{
	int r;

	r = issue_csr_check(x->req.csr, ca_conf_scep_policy(x->view->conf)->digests, &e->objection);
	e->bad_alg = r == -EINVAL;
	if (r == 0)
		r = subject_judge(x, &e->objection);
	if (r == 0 && e->signer.who == CAR_SIGNER_SELF && strcmp(spki, e->signer.text + strlen("self:")) != 0)
		r = err_set(&e->objection, -EPROTO, "a self-signed certificate over another key than the CSR's");
	e->facts.csr_allowed = r == 0;
}

/* The same request in the database, if any: *row becomes it. */
static int stored_find(struct exchange *x, struct enrolment *e, struct err *reterr)
{
	int r;

	r = db_request_find(x->service->o.db, &e->row, reterr);
	if (r == -ENOENT) {
		e->row.status = CAR_STATUS_NONE;
		return 0;
	}
	if (r == 0)
		e->facts.stored = e->row.status;
	return r;
}

static int facts_gather(struct exchange *x, struct enrolment *e, struct err *reterr)
{
	char spki[X509F_SHA256_HEX];
	int r;

	if ((r = service_signer_judge(x, &e->signer, reterr)) < 0 || (r = row_init(x, e, reterr)) < 0 ||
	    (r = spki_sha256(X509_REQ_get0_pubkey(x->req.csr), spki, reterr)) < 0 ||
	    (r = key_in_use(x, e, spki, &e->facts.csr_key_in_use, reterr)) < 0)
		return r;
	e->facts.renewal_type = x->req.type == SCEP_TYPE_RENEWAL_REQ;
	e->facts.signer = e->signer.who;
	e->facts.recipient = x->role;
	e->facts.same_subject = X509_NAME_cmp(X509_REQ_get_subject_name(x->req.csr), X509_get_subject_name(x->req.signer)) == 0;
	csr_judge(x, e, spki);
	e->facts.new_names = e->facts.csr_allowed && issue_csr_new_names(x->req.csr, x->req.signer);
	return stored_find(x, e, reterr);
}

/* ---- what becomes of it ---- */

static void issued_log(const struct exchange *x, const struct db_request *row, const X509 *cert)
{
	char serial[DB_SERIAL_HEX] = "";
	const struct log_fields fields = { .ca = x->view->conf->name, .transaction = row->transaction_id, .serial = serial };

	if (service_serial_text(X509_get0_serialNumber(cert), serial) < 0)
		serial[0] = '\0'; /* our own always fits; the log would do without */
	log_event(LOG_EV_CS_CERT_ISSUED, &fields, "%s for %s from %s%s", row->renewal ? "renewal" : "certificate", row->subject, x->address,
		  x->role == CAR_RECIPIENT_NEXT ? ", under the rollover CA" : "");
}

static void issue_result(struct answer *a, int r, const struct err *why)
{
	if (r < 0)
		answer_unavailable(a, SERVICE_RETRY_AFTER_SEC, err_text(why, r));
	else
		a->status = SCEP_STATUS_SUCCESS;
}

static void grant(struct exchange *x, struct db_request *row, X509_REQ *csr, struct answer *a)
{
	struct err why = { 0 };
	int r;

	r = service_issue(x->service, x->view, x->role, &x->now, row, csr, x->actor, &a->cert, &why);
	if (r == 0)
		issued_log(x, row, a->cert);
	issue_result(a, r, &why);
}

static void finish(struct exchange *x, const struct db_request *row, struct answer *a)
{
	struct err why = { 0 };
	int r;

	r = service_issue_finish(x->service, x->view, &x->now, row, x->actor, &a->cert, &why);
	issue_result(a, r, &why);
}

static void same(struct exchange *x, const struct db_request *row, struct answer *a)
{
	struct err why = { 0 };
	int r;

	r = service_issued_get(x->service, row, &a->cert, &why);
	issue_result(a, r, &why);
}

static void pending_log(const struct exchange *x, const struct db_request *row)
{
	const struct log_fields fields = { .ca = x->view->conf->name, .transaction = row->transaction_id };

	log_event(LOG_EV_CS_REQUEST_PENDING, &fields, "request %lld of %s from %s, fingerprint %s", (long long) row->id, row->subject,
		  x->address, row->csr_sha256);
}

static void pending(struct exchange *x, struct enrolment *e, struct answer *a)
{
	struct err why = { 0 };
	bool fresh = e->facts.stored != CAR_STATUS_PENDING;
	int r = 0;

	if (fresh)
		r = db_request_add(x->service->o.db, &e->row, x->now.wall.ms / 1000, x->actor, &why);
	if (r == -EDQUOT) {
		answer_unavailable(a, SERVICE_BUSY_SEC, "too many requests are pending");
		return;
	}
	if (r < 0) {
		answer_unavailable(a, SERVICE_RETRY_AFTER_SEC, err_text(&why, r));
		return;
	}
	if (fresh)
		pending_log(x, &e->row);
	a->status = SCEP_STATUS_PENDING;
}

static void rejected(const struct enrolment *e, const struct car_decision *d, struct answer *a)
{
	if (!e->facts.csr_allowed && e->facts.signer != CAR_SIGNER_UNKNOWN && d->fail == CAR_FAIL_BAD_REQUEST)
		answer_fail(a, e->bad_alg ? SCEP_FAIL_BAD_ALG : SCEP_FAIL_BAD_REQUEST, e->objection.text);
	else
		fail_decided(a, d);
}

void service_enrol(struct exchange *x, struct answer *a)
{
	AUTO(enrolment) struct enrolment e = { 0 };
	struct car_decision d;
	struct err why = { 0 };
	int r;

	r = facts_gather(x, &e, &why);
	if (r < 0) {
		answer_unavailable(a, SERVICE_RETRY_AFTER_SEC, err_text(&why, r));
		return;
	}
	d = car_decide(&x->view->conf->car, &e.facts);
	switch (d.verdict) {
	case CAR_VERDICT_GRANT:
		grant(x, &e.row, x->req.csr, a);
		return;
	case CAR_VERDICT_FINISH:
		finish(x, &e.row, a);
		return;
	case CAR_VERDICT_SAME:
		same(x, &e.row, a);
		return;
	case CAR_VERDICT_PENDING:
		pending(x, &e, a);
		return;
	case CAR_VERDICT_REJECT:
		rejected(&e, &d, a);
		return;
	case CAR_VERDICT_N_:
		break;
	}
	answer_unavailable(a, SERVICE_BUSY_SEC, d.why);
}

/* ---- polls ---- */

/* Authorised by an operator, collected now. The previous CA issues no more. */
static void poll_grant(struct exchange *x, struct db_request *row, struct answer *a)
{
	AUTO(req) X509_REQ *csr = NULL;
	const unsigned char *p = row->csr.data;

	if (x->role == CAR_RECIPIENT_PREVIOUS) {
		answer_fail(a, SCEP_FAIL_BAD_CERT_ID, "granted, but its CA ended before it was collected");
		return;
	}
	csr = p ? d2i_X509_REQ(NULL, &p, (long) row->csr.len) : NULL;
	if (!csr) {
		(void) err_from_openssl(NULL, 0, "said below");
		answer_unavailable(a, SERVICE_RETRY_AFTER_SEC, "the stored CSR cannot be read");
		return;
	}
	grant(x, row, csr, a);
}

static void poll_decide(struct exchange *x, struct db_request *row, struct answer *a)
{
	struct car_decision d = car_decide_poll(row->status);

	switch (d.verdict) {
	case CAR_VERDICT_GRANT:
		poll_grant(x, row, a);
		return;
	case CAR_VERDICT_FINISH:
		finish(x, row, a);
		return;
	case CAR_VERDICT_SAME:
		same(x, row, a);
		return;
	case CAR_VERDICT_PENDING:
		a->status = SCEP_STATUS_PENDING;
		return;
	case CAR_VERDICT_REJECT:
	case CAR_VERDICT_N_:
		break;
	}
	fail_decided(a, &d);
}

void service_poll(struct exchange *x, struct answer *a)
{
	AUTO(db_request) struct db_request row = { 0 };
	struct signer_facts signer;
	struct err why = { 0 };
	int r;

	r = service_signer_judge(x, &signer, &why);
	if (r == 0 && signer.who == CAR_SIGNER_REVOKED) {
		answer_fail(a, SCEP_FAIL_BAD_MESSAGE_CHECK, "the signer's certificate is revoked");
		return;
	}
	if (r == 0)
		r = db_request_find_poll(x->service->o.db, x->view->role[x->role].facts.spki_sha256, x->req.transaction_id, signer.text,
					 &row, &why);
	if (r == -ENOENT)
		answer_fail(a, SCEP_FAIL_BAD_CERT_ID, "no such request");
	else if (r < 0)
		answer_unavailable(a, SERVICE_RETRY_AFTER_SEC, err_text(&why, r));
	else
		poll_decide(x, &row, a);
}

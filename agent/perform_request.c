/* REQUEST and POLL: the prepared request leaves with a new nonce, and what comes back becomes a verdict. */
#include <errno.h>
#include <openssl/rand.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/ca_roles.h"
#include "agent/drive.h"
#include "agent/exchange.h"
#include "agent/profile.h"
#include "agent/verify.h"
#include "common/auto_ssl.h"
#include "common/clk.h"
#include "common/fault.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/x509facts.h"

#define SIGNERS_MAX 6

/* What both ways of an exchange need, loaded for its duration. */
struct parts {
	struct ca_roles recipient;
	X509 *signer;
	EVP_PKEY *signer_key, *subject_key;
};

static void parts_clear(struct parts *p)
{
	ca_roles_clear(&p->recipient);
	X509_free(p->signer);
	EVP_PKEY_free(p->signer_key);
	EVP_PKEY_free(p->subject_key);
}
static inline void auto_parts(struct parts *p)
{
	parts_clear(p);
}

static const char *doing(const struct trustpoint *tp)
{
	return tp->work.act == TP_ACT_POLL ? "poll" : tp_op_name(tp->rec.state.op);
}

static int pem_one(const struct buf *pem, X509 **ret, struct err *reterr)
{
	AUTO(x509_sk) STACK_OF(X509) *sk = NULL;
	int r = x509_from_pem(pem->data, pem->len, &sk, reterr);

	if (r == 0)
		*ret = sk_X509_shift(sk);
	return r;
}

static int keys_load(struct trustpoint *tp, struct parts *p, struct err *reterr)
{
	const struct request *q = &tp->rec.request;
	struct x509_facts f;
	struct ks *ks = NULL;
	int r = agent_ks(tp->agent, &ks, reterr);

	if (r == 0)
		r = x509_facts_get(p->signer, &f, reterr);
	if (r == 0)
		r = ks_load(ks, tp->conf.label, KS_SLOT_ACTIVE, q->spki, &p->subject_key, NULL, reterr);
	if (r == 0)
		r = ks_load(ks, tp->conf.label, KS_SLOT_ACTIVE, f.spki_sha256, &p->signer_key, NULL, reterr);
	return r;
}

static int parts_load(struct trustpoint *tp, struct parts *ret, struct err *reterr)
{
	const struct request *q = &tp->rec.request;
	int r;

	*ret = (struct parts){ .signer = NULL };
	if (!q->transaction_id[0])
		return err_set(reterr, -ENOENT, "no prepared request is stored");
	r = ca_roles_load(&tp->rec.bag, &q->recipient, &ret->recipient, reterr);
	if (r == 0)
		r = pem_one(&q->signer_pem, &ret->signer, reterr);
	return r < 0 ? r : keys_load(tp, ret, reterr);
}

/* ---- out ---- */

static int csr_load(const struct trustpoint *tp, X509_REQ **ret, struct err *reterr)
{
	const struct buf *der = &tp->rec.request.csr;
	const unsigned char *at = der->data;

	*ret = d2i_X509_REQ(NULL, &at, (long) der->len);
	return *ret ? 0 : err_from_openssl(reterr, -EBADMSG, "the stored CSR");
}

static int poll_content(const struct trustpoint *tp, const struct parts *p, struct buf *ret, struct err *reterr)
{
	AUTO(req) X509_REQ *csr = NULL;
	int r = csr_load(tp, &csr, reterr);

	if (r < 0)
		return r;
	return scep_issuer_and_subject_build(X509_get_subject_name(p->recipient.ca), X509_REQ_get_subject_name(csr), ret);
}

static enum scep_type type_choose(const struct trustpoint *tp)
{
	const struct request *q = &tp->rec.request;

	if (tp->work.act == TP_ACT_POLL)
		return SCEP_TYPE_CERT_POLL;
	return q->self_signed || q->as_pkcs_req ? SCEP_TYPE_PKCS_REQ : profile_renewal_type(tp->work.caps);
}

static int message_build(struct trustpoint *tp, struct buf *ret, struct err *reterr)
{
	const struct request *q = &tp->rec.request;
	AUTO(buf) struct buf content = BUF_SECRET;
	AUTO(parts) struct parts p = { .signer = NULL };
	int r = parts_load(tp, &p, reterr);

	if (r < 0)
		return r;
	if (RAND_bytes(tp->work.nonce, SCEP_NONCE_BYTES) != 1)
		return err_from_openssl(reterr, -EIO, "random nonce");
	tp->work.type = type_choose(tp);
	r = tp->work.type == SCEP_TYPE_CERT_POLL ? poll_content(tp, &p, &content, reterr) : buf_set(&content, q->csr.data, q->csr.len);
	if (r < 0)
		return r;
	return scep_request_build(&(struct scep_request_in){ .type = tp->work.type,
							     .transaction_id = q->transaction_id,
							     .sender_nonce = tp->work.nonce,
							     .content = content.data,
							     .content_len = content.len,
							     .signer = p.signer,
							     .signer_key = p.signer_key,
							     .recipient = p.recipient.encrypt,
							     .algs = profile_algs(&tp->conf, tp->work.caps) },
				  ret, reterr);
}

static void on_pki(struct trustpoint *tp, const struct exchange_result *x);

static void message_send(struct trustpoint *tp)
{
	AUTO(buf) struct buf der = BUF_EMPTY;
	struct err e = { 0 };
	int r = message_build(tp, &der, &e);

	FAULT("agent.k3-before-send");
	if (r == 0)
		r = exchange_start(tp, EXCHANGE_PKI, der.data, der.len, profile_post(tp->work.caps), on_pki, &tp->work.exchange, &e);
	FAULT("agent.k4-sent");
	if (r == -ENOKEY || r == -ECONNREFUSED || r == -EPIPE)
		agent_ks_lost(tp->agent);
	if (r < 0)
		work_fail(tp, TP_RESULT_LOCAL, r, &e, doing(tp), 0);
}

/* ---- back ---- */

static void signer_add(struct trustpoint *tp, const struct tp_cert *who, struct ca_roles *store, X509 **list, size_t *n)
{
	if (!who->na_sec || ca_roles_load(&tp->rec.bag, who, store, NULL) < 0)
		return; /* the other signers remain */
	list[(*n)++] = store->ca;
	if (X509_cmp(store->ca, store->sign) != 0)
		list[(*n)++] = store->sign;
}

/* The active CA or the one that was asked may sign. */
static int reply_open(struct trustpoint *tp, const struct exchange_result *x, const struct parts *p, struct scep_reply *ret, struct err *reterr)
{
	const struct tp_now now = agent_now(tp->agent);
	AUTO(ca_roles) struct ca_roles active = { .certs = NULL };
	AUTO(ca_roles) struct ca_roles old = { .certs = NULL };
	X509 *signers[SIGNERS_MAX] = { p->recipient.ca };
	size_t n = 1;

	if (X509_cmp(p->recipient.ca, p->recipient.sign) != 0)
		signers[n++] = p->recipient.sign;
	signer_add(tp, &tp->rec.state.ca, &active, signers, &n);
	signer_add(tp, &tp->rec.state.old_ca, &old, signers, &n);
	return scep_reply_open(x->body, x->len,
			       &(struct scep_reply_want){ .transaction_id = tp->rec.request.transaction_id,
							  .sender_nonce = tp->work.nonce,
							  .signers = signers,
							  .n_signers = n,
							  .recipient = p->signer,
							  .recipient_key = p->signer_key,
							  .subject_key = p->subject_key,
							  .policy = profile_policy(&tp->conf) },
			       now.wall.ms / 1000, ret, reterr);
}

/* Accepted, for old CAs rewrite subjects; but somebody should know. */
static void subject_compare(const struct trustpoint *tp, X509 *cert, X509_REQ *csr)
{
	char found[X509F_NAME_BYTES], wanted[X509F_NAME_BYTES];

	if (X509_NAME_cmp(X509_get_subject_name(cert), X509_REQ_get_subject_name(csr)) == 0)
		return;
	if (x509_name_text(X509_get_subject_name(cert), found, NULL) == 0 && x509_name_text(X509_REQ_get_subject_name(csr), wanted, NULL) == 0)
		log_line(LOG_WARNING, "%s: granted certificate: found subject '%s', asked for '%s'", tp->name, found, wanted);
}

static int granted_keep(struct trustpoint *tp, const struct parts *p, X509 *cert, struct tp_cert *ret_who, struct err *reterr)
{
	const struct tp_now now = agent_now(tp->agent);
	AUTO(x509) X509 *old = NULL;
	AUTO(req) X509_REQ *csr = NULL;
	struct verify_want want = { .issuer = p->recipient.ca, .spki = tp->rec.request.spki, .now_sec = now.wall.ms / 1000, .trusted = now.trusted };
	int r = tp->rec.state.id.na_sec ? bag_cert(&tp->rec.bag, &tp->rec.state.id, &old, reterr) : 0;

	if (r == 0)
		r = csr_load(tp, &csr, reterr);
	if (r < 0)
		return r;
	want.old = old;
	want.csr = csr;
	FAULT("agent.k5-verified");
	r = verify_granted(cert, &want, reterr);
	if (r == 0)
		subject_compare(tp, cert, csr);
	return r < 0 ? r : bag_add(&tp->rec.bag, &cert, 1, ret_who, reterr);
}

static bool transaction_redraw(struct request *q)
{
	unsigned char raw[16];
	size_t i;

	if (RAND_bytes(raw, sizeof(raw)) != 1)
		return false;
	for (i = 0; i < sizeof(raw); i++)
		(void) snprintf(q->transaction_id + 2 * i, 3, "%02x", raw[i]);
	return true;
}

/* The same request would get the same certificate for ever: the next one is a new one. What was polled for is the CA's operator's to reject. */
static void granted_refuse(struct trustpoint *tp, int r, const struct err *e)
{
	const struct log_fields fields = trustpoint_fields(tp);

	log_event(LOG_EV_REPLY_REFUSED, &fields, "%s", err_text(e, r));
	if (tp->work.act == TP_ACT_REQUEST && transaction_redraw(&tp->rec.request))
		tp->dirty = true; /* on disk with the step that follows, before it leaves */
	work_fail(tp, TP_RESULT_NO_VERDICT, r, e, doing(tp), 0);
}

static void granted(struct trustpoint *tp, const struct parts *p, X509 *cert)
{
	struct log_fields fields = trustpoint_fields(tp);
	struct tp_cert who = { .na_sec = 0 };
	char from[CLK_RFC3339_BYTES], to[CLK_RFC3339_BYTES];
	struct x509_facts f;
	struct err e = { 0 };
	int r = granted_keep(tp, p, cert, &who, &e);

	if (r == -ENOMEM || r == -ENOSPC) {
		work_fail(tp, TP_RESULT_LOCAL, r, &e, doing(tp), 0);
		return;
	}
	if (r == 0)
		r = x509_facts_get(cert, &f, &e);
	if (r < 0) {
		granted_refuse(tp, r, &e);
		return;
	}
	fields.serial = f.serial;
	if (tp->rec.state.op == TP_OP_SHADOW && tp->rec.state.next_ca.na_sec)
		log_event(LOG_EV_SHADOW_INSTALL, &fields, "shadow certificate %s of %s, valid %s to %s", f.serial, f.subject, clk_rfc3339(f.nb_sec, from),
			  clk_rfc3339(f.na_sec, to));
	work_done(tp, TP_RESULT_GRANTED, &who, 0);
}

static void pending(struct trustpoint *tp)
{
	struct log_fields fields = trustpoint_fields(tp);

	fields.transaction = tp->rec.request.transaction_id;
	log_event(LOG_EV_CERT_PENDING, &fields, "the CA has not decided yet, answer %u", tp->rec.state.polls + 1);
	work_done(tp, TP_RESULT_PENDING, NULL, 0);
}

/* A CA that offers Renewal in the drafts' sense does not know type 17: the same request once more as PKCSReq. */
static bool repeat_as_pkcs_req(struct trustpoint *tp, const struct scep_reply *reply)
{
	struct request *q = &tp->rec.request;

	if (reply->fail != SCEP_FAIL_BAD_REQUEST || tp->work.type != SCEP_TYPE_RENEWAL_REQ || !transaction_redraw(q))
		return false;
	q->as_pkcs_req = true;
	log_line(LOG_NOTICE, "%s: the CA refused RenewalReq (badRequest): the same as PKCSReq, transaction %s", tp->name, q->transaction_id);
	drive_persist(tp);
	if (tp->dirty)
		return false; /* not on disk: it must not leave */
	message_send(tp);
	return true;
}

static void rejected(struct trustpoint *tp, const struct scep_reply *reply)
{
	struct log_fields fields = trustpoint_fields(tp);
	struct err e = { 0 };
	int r;

	if (repeat_as_pkcs_req(tp, reply))
		return;
	fields.transaction = tp->rec.request.transaction_id;
	r = err_set(&e, -EPERM, "the CA rejected it: %s%s%s", scep_fail_name(reply->fail), reply->fail_text[0] ? ", " : "", reply->fail_text);
	log_event(LOG_EV_CERT_REJECTED, &fields, "%s: %s", doing(tp), e.text);
	work_fail(tp, TP_RESULT_REJECTED, r, &e, doing(tp), 0);
}

static void verdict(struct trustpoint *tp, const struct parts *p, const struct scep_reply *reply)
{
	switch (reply->status) {
	case SCEP_STATUS_SUCCESS:
		granted(tp, p, reply->cert);
		return;
	case SCEP_STATUS_PENDING:
		pending(tp);
		return;
	case SCEP_STATUS_FAILURE:
		rejected(tp, reply);
		return;
	}
}

static void on_pki(struct trustpoint *tp, const struct exchange_result *x)
{
	AUTO(parts) struct parts p = { .signer = NULL };
	struct scep_reply reply = { .cert = NULL };
	struct log_fields fields = trustpoint_fields(tp);
	struct err e = { 0 };
	int r;

	tp->work.exchange = 0;
	if (x->code < 0) {
		work_fail(tp, TP_RESULT_NO_VERDICT, x->code, &x->err, doing(tp), x->retry_after_ms);
		return;
	}
	r = parts_load(tp, &p, &e);
	if (r < 0) {
		work_fail(tp, TP_RESULT_LOCAL, r, &e, doing(tp), 0);
		return;
	}
	r = reply_open(tp, x, &p, &reply, &e);
	if (r == 0) {
		verdict(tp, &p, &reply);
	} else {
		fields.transaction = tp->rec.request.transaction_id;
		log_event(LOG_EV_REPLY_REFUSED, &fields, "%s", err_text(&e, r));
		work_fail(tp, r == -ENOMEM ? TP_RESULT_LOCAL : TP_RESULT_NO_VERDICT, r, &e, doing(tp), 0);
	}
	scep_reply_clear(&reply);
}

static void on_caps(struct trustpoint *tp, const struct exchange_result *x)
{
	tp->work.exchange = 0;
	if (x->code == -EIO || x->status == 503 || x->status == 429) {
		work_fail(tp, TP_RESULT_NO_VERDICT, x->code, &x->err, doing(tp), x->retry_after_ms);
		return;
	}
	tp->work.caps = x->code == 0 ? scep_caps_parse(x->body, x->len) : 0;
	tp->work.caps_known = true;
	message_send(tp);
}

/* Capabilities are read before each request, and once in this process for its polls. */
static void begin(struct trustpoint *tp, bool fresh)
{
	struct err e = { 0 };
	int r;

	if (tp->work.caps_known && !fresh) {
		message_send(tp);
		return;
	}
	r = exchange_start(tp, EXCHANGE_CAPS, NULL, 0, false, on_caps, &tp->work.exchange, &e);
	if (r < 0)
		work_fail(tp, TP_RESULT_LOCAL, r, &e, doing(tp), 0);
}

void perform_request(struct trustpoint *tp)
{
	begin(tp, true);
}

void perform_poll(struct trustpoint *tp)
{
	begin(tp, false);
}

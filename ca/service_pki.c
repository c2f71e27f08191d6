/* PKIOperation: opened, answered, closed. How far opening came decides the answer. */
#include <assert.h>
#include <errno.h>
#include <openssl/rand.h>
#include <string.h>

#include "ca/service_internal.h"
#include "common/clk.h"
#include "common/fault.h"
#include "common/log.h"
#include "keystore/ks.h"

static_assert((int) CAR_FAIL_BAD_ALG == (int) SCEP_FAIL_BAD_ALG && (int) CAR_FAIL_BAD_CERT_ID == (int) SCEP_FAIL_BAD_CERT_ID,
	      "the numbers of RFC 8894");

static inline void auto_answer(struct answer *a)
{
	answer_clear(a);
}

static inline void auto_exchange(struct exchange *x)
{
	scep_request_clear(&x->req);
}

void answer_clear(struct answer *a)
{
	X509_free(a->cert);
	X509_CRL_free(a->crl);
	*a = (struct answer){ 0 };
}

void answer_fail(struct answer *a, enum scep_fail fail, const char *why)
{
	a->status = SCEP_STATUS_FAILURE;
	a->fail = fail;
	(void) snprintf(a->why, sizeof(a->why), "%s", why); /* cut: for the log */
}

void answer_unavailable(struct answer *a, int sec, const char *why)
{
	a->unavailable_sec = sec;
	(void) snprintf(a->why, sizeof(a->why), "%s", why); /* cut: for the log */
}

void service_now(const struct service *s, const struct view *v, struct tp_now *ret)
{
	if (s->o.now) {
		s->o.now(s->o.userdata, v->conf, ret);
		return;
	}
	*ret = (struct tp_now){ .wall.ms = clk_wall_ms(), .boot.ms = clk_boot_ms(), .trusted = clk_trusted(v->conf->clock) };
}

static void unavailable(struct http_reply *reply, int sec)
{
	buf_clear(&reply->body);
	reply->status = 503;
	reply->content_type = "text/plain";
	reply->retry_after_sec = sec;
}

/* ---- what is answered ---- */

static void dispatch(struct exchange *x, struct answer *a)
{
	switch (x->req.type) {
	case SCEP_TYPE_PKCS_REQ:
	case SCEP_TYPE_RENEWAL_REQ:
		service_enrol(x, a);
		return;
	case SCEP_TYPE_CERT_POLL:
		service_poll(x, a);
		return;
	case SCEP_TYPE_GET_CERT:
		service_get_cert(x, a);
		return;
	case SCEP_TYPE_GET_CRL:
		service_get_crl(x, a);
		return;
	case SCEP_TYPE_CERT_REP:
		break;
	}
	answer_fail(a, SCEP_FAIL_BAD_REQUEST, "a CertRep is no request");
}

static void answer_by_stage(struct exchange *x, const struct err *why, struct answer *a)
{
	switch (x->req.stage) {
	case SCEP_OPEN_DONE:
		x->role = x->view->which[x->req.recipient];
		dispatch(x, a);
		return;
	case SCEP_OPEN_UNKNOWN_RECIPIENT:
		answer_fail(a, SCEP_FAIL_BAD_REQUEST, why->text);
		return;
	case SCEP_OPEN_BAD_ALG:
		answer_fail(a, SCEP_FAIL_BAD_ALG, why->text);
		return;
	case SCEP_OPEN_BAD_TIME:
		answer_fail(a, SCEP_FAIL_BAD_TIME, why->text);
		return;
	case SCEP_OPEN_SEALED:
		answer_fail(a, SCEP_FAIL_BAD_MESSAGE_CHECK, why->text);
		return;
	case SCEP_OPEN_MALFORMED:
		break;
	}
	answer_fail(a, SCEP_FAIL_BAD_REQUEST, why->text); /* not reached: answered by HTTP */
}

/* ---- the CertRep ---- */

/* The request's algorithms are mirrored, as old clients read nothing else, but never below the floor. */
static struct scep_algs reply_algs(const struct exchange *x)
{
	const struct scep_policy *policy = ca_conf_scep_policy(x->view->conf);
	struct scep_algs algs = x->req.algs;

	if (algs.digest >= SCEP_DIGEST_N_ || !(policy->digests & 1u << algs.digest))
		algs.digest = SCEP_DIGEST_SHA256;
	if (algs.cipher >= SCEP_CIPHER_N_ || !(policy->ciphers & 1u << algs.cipher))
		algs.cipher = SCEP_CIPHER_AES128;
	return algs;
}

static int reply_make(const struct exchange *x, const struct answer *a, struct buf *ret, struct err *reterr)
{
	const struct view_role *role = &x->view->role[x->role];
	uint8_t nonce[SCEP_NONCE_BYTES];
	struct scep_reply_in in = {
		.status = a->status,
		.fail = a->fail,
		.transaction_id = x->req.transaction_id,
		.recipient_nonce = x->req.sender_nonce,
		.recipient_nonce_len = x->req.sender_nonce_len,
		.sender_nonce = nonce,
		.signer = role->cert,
		.signer_key = role->key,
		.recipient = x->req.signer,
		.algs = reply_algs(x),
		.certs = &a->cert,
		.n_certs = a->cert ? 1 : 0,
		.crl = a->crl,
	};

	if (RAND_bytes(nonce, sizeof(nonce)) != 1)
		return err_from_openssl(reterr, -EIO, "no random bytes for a nonce");
	return scep_reply_build(&in, ret, reterr);
}

static void answer_log(const struct exchange *x, const struct answer *a)
{
	struct log_fields fields = { .ca = x->view->conf->name, .transaction = x->req.transaction_id };
	const char *type = scep_type_name(x->req.type);

	if (a->unavailable_sec)
		log_line(LOG_WARNING, "%s from %s is told to come back in %d s: %s", type ? type : "a request", x->address,
			 a->unavailable_sec, a->why);
	else if (a->status == SCEP_STATUS_FAILURE)
		log_event(LOG_EV_CS_REQUEST_REJECTED, &fields, "%s from %s: %s: %s", type ? type : "a request", x->address,
			  scep_fail_name(a->fail), a->why);
}

static void reply_write(const struct exchange *x, const struct answer *a, struct http_reply *reply)
{
	struct err why = { 0 };
	int r;

	answer_log(x, a);
	if (a->unavailable_sec) {
		unavailable(reply, a->unavailable_sec);
		return;
	}
	r = reply_make(x, a, &reply->body, &why);
	if (r < 0) {
		(void) log_err(r, &why, "no reply can be made");
		unavailable(reply, SERVICE_RETRY_AFTER_SEC);
		return;
	}
	FAULT("ca.c6");
	reply->status = 200;
	reply->content_type = "application/x-pki-message";
}

/* ---- from request to reply ---- */

static int open_request(struct exchange *x, const struct http_request *request, struct err *reterr)
{
	return scep_request_open(request->body.data, request->body.len, x->view->identities, x->view->n_identities,
				 ca_conf_scep_policy(x->view->conf), x->now.wall.ms / 1000, &x->req, reterr);
}

static void malformed(const struct http_request *request, const struct err *why, struct http_reply *reply)
{
	log_event(LOG_EV_CS_MESSAGE_REFUSED, NULL, "%zu bytes from %s: %s", request->body.len, request->address, why->text);
	reply->status = 400;
	reply->content_type = "text/plain";
}

static void exchange_run(struct exchange *x, struct http_request *request, struct http_reply *reply)
{
	AUTO(answer) struct answer a = { 0 };
	struct err why = { 0 };
	unsigned failures = ks_failures();
	int r;

	r = open_request(x, request, &why);
	if (r == -ENOMEM) {
		unavailable(reply, SERVICE_RETRY_AFTER_SEC);
		return;
	}
	if (x->req.stage == SCEP_OPEN_MALFORMED) {
		malformed(request, &why, reply);
		return;
	}
	answer_by_stage(x, &why, &a);
	/* an envelope that nobody was there to open is no fault of the client's */
	if (a.status == SCEP_STATUS_FAILURE && ks_failures() != failures)
		answer_unavailable(&a, SERVICE_RETRY_AFTER_SEC, "keyroll-signer did not answer, or was lost meanwhile");
	reply_write(x, &a, reply);
	FAULT("ca.c7");
}

void service_pki(struct service *s, struct http_request *request, struct http_reply *reply)
{
	AUTO(view) struct view *v = service_view1(s);
	AUTO(exchange) struct exchange x = { .service = s, .view = v, .address = request->address, .role = CAR_RECIPIENT_ACTIVE };

	(void) snprintf(x.actor, sizeof(x.actor), "scep %s", request->address); /* fits */
	service_now(s, v, &x.now);
	if (!x.now.trusted) {
		log_line(LOG_WARNING, "a request from %s must wait: the clock is not trusted", request->address);
		unavailable(reply, SERVICE_BUSY_SEC);
		return;
	}
	exchange_run(&x, request, reply);
}

/* AUTHENTICATE: capabilities, CA certificate, fingerprint. Nothing is trusted on first use. */
#include <errno.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/ca_roles.h"
#include "agent/exchange.h"
#include "common/log.h"
#include "common/x509facts.h"

/* The file's fingerprint rules; without one, what an operator said. */
static const char *pin_get0(const struct trustpoint *tp)
{
	return tp->conf.pin[0] ? tp->conf.pin : tp->rec.operator_pin;
}

static int ca_accept(struct trustpoint *tp, const struct exchange_result *x, struct tp_cert *ret_who, struct err *reterr)
{
	const struct tp_now now = agent_now(tp->agent);
	struct scep_ca ca = { .ca = NULL };
	struct log_fields fields = trustpoint_fields(tp);
	struct x509_facts f;
	int r;

	if (!pin_get0(tp)[0])
		return err_set(reterr, -EKEYREJECTED, "no fingerprint to compare with: neither CAFingerprint= nor an operator's");
	r = scep_ca_open(x->body, x->len, pin_get0(tp), now.wall.ms / 1000, &ca, reterr);
	if (r == 0)
		r = x509_facts_get(ca.ca, &f, reterr);
	if (r == 0)
		r = ca_roles_store(&tp->rec.bag, &ca, ret_who, reterr);
	if (r == 0) {
		fields.serial = f.serial;
		log_event(LOG_EV_CA_AUTHENTICATED, &fields, "CA %s, sha256:%s", f.subject, f.sha256);
	}
	scep_ca_clear(&ca);
	return r;
}

static void on_ca(struct trustpoint *tp, const struct exchange_result *x)
{
	struct tp_cert who = { .na_sec = 0 };
	struct err e = { 0 };
	int r;

	tp->work.exchange = 0;
	if (x->code < 0) {
		work_fail(tp, TP_RESULT_NO_VERDICT, x->code, &x->err, "authenticate", x->retry_after_ms);
		return;
	}
	r = ca_accept(tp, x, &who, &e);
	if (r == 0)
		work_done(tp, TP_RESULT_OK, &who, 0);
	else
		work_fail(tp, r == -EKEYREJECTED ? TP_RESULT_REFUSED : r == -ENOMEM || r == -ENOSPC ? TP_RESULT_LOCAL : TP_RESULT_NO_VERDICT, r, &e,
			  "authenticate", 0);
}

static void on_caps(struct trustpoint *tp, const struct exchange_result *x)
{
	struct err e = { 0 };
	int r;

	tp->work.exchange = 0;
	if (x->code == -EIO) { /* the same host would not answer GetCACert either */
		work_fail(tp, TP_RESULT_NO_VERDICT, x->code, &x->err, "authenticate", 0);
		return;
	}
	tp->work.caps = x->code == 0 ? scep_caps_parse(x->body, x->len) : 0; /* old servers refuse the question */
	tp->work.caps_known = true;
	r = exchange_start(tp, EXCHANGE_CA, NULL, 0, false, on_ca, &tp->work.exchange, &e);
	if (r < 0)
		work_fail(tp, TP_RESULT_LOCAL, r, &e, "authenticate", 0);
}

void perform_authenticate(struct trustpoint *tp)
{
	struct err e = { 0 };
	int r = exchange_start(tp, EXCHANGE_CAPS, NULL, 0, false, on_caps, &tp->work.exchange, &e);

	if (r < 0)
		work_fail(tp, TP_RESULT_LOCAL, r, &e, "authenticate", 0);
}

/* FETCH_NEXT: the rollover CA, signed by the active one. */
#include <errno.h>

#include "agent/agent.h"
#include "agent/ca_roles.h"
#include "agent/exchange.h"
#include "agent/profile.h"
#include "common/clk.h"
#include "common/log.h"
#include "common/x509facts.h"

static int next_accept(struct trustpoint *tp, const struct exchange_result *x, struct tp_cert *ret_who, struct err *reterr)
{
	struct log_fields fields = trustpoint_fields(tp);
	AUTO(x509) X509 *current = NULL;
	AUTO(x509) X509 *next = NULL;
	char from[CLK_RFC3339_BYTES];
	struct x509_facts f;
	int r = bag_cert(&tp->rec.bag, &tp->rec.state.ca, &current, reterr);

	if (r < 0)
		return r;
	r = scep_next_ca_open(x->body, x->len, current, profile_policy(&tp->conf), &next, reterr);
	if (r == 0)
		r = x509_facts_get(next, &f, reterr);
	if (r == 0)
		r = bag_add(&tp->rec.bag, &next, 1, ret_who, reterr);
	if (r < 0)
		return r;
	fields.serial = f.serial;
	if (!bag_same(ret_who, &tp->rec.state.next_ca))
		log_event(LOG_EV_CA_ROLLOVER_AVAILABLE, &fields, "next CA certificate, valid from %s, sha256:%s", clk_rfc3339(f.nb_sec, from), f.sha256);
	return 0;
}

static void on_next(struct trustpoint *tp, const struct exchange_result *x)
{
	struct tp_cert who = { .na_sec = 0 };
	struct err e = { 0 };
	int r;

	tp->work.exchange = 0;
	if (x->code == -EREMOTEIO && x->status != 503 && x->status != 429) { /* how CAs say that there is none yet: 404, 500, 501 */
		work_fail(tp, TP_RESULT_NOT_YET, x->code, &x->err, "fetch the next CA certificate", x->retry_after_ms);
		return;
	}
	if (x->code < 0) {
		work_fail(tp, TP_RESULT_NO_VERDICT, x->code, &x->err, "fetch the next CA certificate", x->retry_after_ms);
		return;
	}
	r = next_accept(tp, x, &who, &e);
	if (r == 0) {
		work_done(tp, TP_RESULT_OK, &who, 0);
		return;
	}
	if (r != -ENOMEM && r != -ENOENT)
		log_event(LOG_EV_REPLY_REFUSED, &(struct log_fields){ .trustpoint = tp->name }, "GetNextCACert: %s", err_text(&e, r));
	work_fail(tp, r == -ENOMEM || r == -ENOENT ? TP_RESULT_LOCAL : TP_RESULT_NO_VERDICT, r, &e, "fetch the next CA certificate", 0);
}

static void on_caps(struct trustpoint *tp, const struct exchange_result *x)
{
	struct err e = { 0 };
	int r;

	tp->work.exchange = 0;
	if (x->code < 0) {
		work_fail(tp, TP_RESULT_NO_VERDICT, x->code, &x->err, "fetch the next CA certificate", x->retry_after_ms);
		return;
	}
	tp->work.caps = scep_caps_parse(x->body, x->len);
	tp->work.caps_known = true;
	if (!(tp->work.caps & SCEP_CAP_GET_NEXT_CA_CERT)) {
		r = err_set(&e, -ENODATA, "GetCACaps lacks GetNextCACert: the CA has no rollover certificate yet");
		work_fail(tp, TP_RESULT_NOT_YET, r, &e, "fetch the next CA certificate", 0);
		return;
	}
	r = exchange_start(tp, EXCHANGE_NEXT_CA, NULL, 0, false, on_next, &tp->work.exchange, &e);
	if (r < 0)
		work_fail(tp, TP_RESULT_LOCAL, r, &e, "fetch the next CA certificate", 0);
}

void perform_fetch_next(struct trustpoint *tp)
{
	struct err e = { 0 };
	int r = exchange_start(tp, EXCHANGE_CAPS, NULL, 0, false, on_caps, &tp->work.exchange, &e);

	if (r < 0)
		work_fail(tp, TP_RESULT_LOCAL, r, &e, "fetch the next CA certificate", 0);
}

/* ALERT: what an operator has to know, with its entry in the catalogue. */
#include <string.h>

#include "agent/agent.h"
#include "common/clk.h"
#include "common/log.h"

void perform_alert(struct trustpoint *tp, enum tp_alert alert)
{
	const struct tp_state *s = &tp->rec.state;
	struct log_fields fields = trustpoint_fields(tp);
	char end[CLK_RFC3339_BYTES];

	fields.due_sec = s->id.na_sec;
	(void) clk_rfc3339(s->id.na_sec, end); /* returns end */
	switch (alert) {
	case TP_ALERT_EXPIRING:
		log_event(LOG_EV_CERT_EXPIRING, &fields, "the certificate ends at %s, auto-enrolment is %s, shadow certificate: %s", end,
			  tp->conf.percent ? "on" : "off", s->shadow.na_sec ? "yes" : "no");
		return;
	case TP_ALERT_NO_SHADOW:
		log_event(LOG_EV_CERT_EXPIRING, &fields, "CA and certificate end at %s, and no shadow certificate is there", end);
		return;
	case TP_ALERT_EXPIRED:
		log_event(LOG_EV_CERT_EXPIRED, &fields, "the certificate ended at %s", end);
		return;
	case TP_ALERT_REJECTED:
		log_event(LOG_EV_CERT_REJECTED, &fields, "held since the CA's rejection: %s", tp->last_error);
		return;
	case TP_ALERT_EXHAUSTED:
		log_event(LOG_EV_RETRIES_EXHAUSTED, &fields, "RetryCount=%lld polls without a verdict: a new request in 1 h", (long long) tp->conf.retry_count);
		return;
	case TP_ALERT_FINGERPRINT:
		log_event(LOG_EV_FINGERPRINT_MISMATCH, &fields, "%s", tp->last_error);
		return;
	case TP_ALERT_NONE:
	case TP_ALERT_N_:
		return;
	}
}

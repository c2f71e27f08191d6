/* What is in flight: see work.h. */
#include "agent/work.h"

#include <errno.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/control.h"
#include "agent/drive.h"
#include "agent/exchange.h"
#include "common/log.h"

static void stop(struct trustpoint *tp)
{
	struct work *w = &tp->work;

	exchange_cancel(tp, &w->exchange);
	w->keygen = sd_event_source_disable_unref(w->keygen);
	auto_fd(&w->keygen_fd); /* the custodian finishes the key; the next PREPARE finds it in its slot */
	w->keygen_fd = -1;
	w->act = TP_ACT_NONE;
}

void work_cancel(struct trustpoint *tp)
{
	if (tp->work.act == TP_ACT_AUTHENTICATE)
		control_auth_ended(tp, TP_RESULT_NO_VERDICT, "another action took its place");
	stop(tp);
}

void work_start(struct trustpoint *tp, enum tp_act act, enum tp_alert alert)
{
	static void (*const starts[TP_ACT_N_])(struct trustpoint *) = {
		[TP_ACT_AUTHENTICATE] = perform_authenticate, [TP_ACT_FETCH_NEXT] = perform_fetch_next, [TP_ACT_PREPARE] = perform_prepare,
		[TP_ACT_REQUEST] = perform_request,	      [TP_ACT_POLL] = perform_poll,		[TP_ACT_INSTALL] = perform_install,
		[TP_ACT_ACTIVATE] = perform_activate,	      [TP_ACT_ABANDON] = perform_abandon,	[TP_ACT_RETIRE] = perform_retire,
	};

	if (act == TP_ACT_NONE)
		return;
	if (act == TP_ACT_ALERT) {
		perform_alert(tp, alert);
		return;
	}
	if (act != TP_ACT_ABANDON && act != TP_ACT_RETIRE) {
		work_cancel(tp); /* the machine has replaced it */
		tp->work.act = act;
	}
	log_line(LOG_DEBUG, "%s: %s", tp->name, tp_act_name(act));
	starts[act](tp);
}

void work_done(struct trustpoint *tp, enum tp_result result, const struct tp_cert *cert, int64_t retry_after_ms)
{
	struct tp_event event = { .kind = TP_EV_DONE, .act = tp->work.act, .result = result, .retry_after_ms = retry_after_ms };

	if (cert)
		event.cert = *cert;
	stop(tp);
	if (result != TP_RESULT_NO_VERDICT && result != TP_RESULT_LOCAL && result != TP_RESULT_REFUSED && result != TP_RESULT_REJECTED)
		tp->last_error[0] = '\0';
	log_line(LOG_DEBUG, "%s: %s ended: %s", tp->name, tp_act_name(event.act), tp_result_name(result));
	drive_done(tp, &event);
	if (event.act == TP_ACT_AUTHENTICATE)
		control_auth_ended(tp, result, tp->last_error);
}

void work_fail(struct trustpoint *tp, enum tp_result result, int code, const struct err *e, const char *doing, int64_t retry_after_ms)
{
	trustpoint_fail(tp, code, e, doing);
	work_done(tp, result, NULL, retry_after_ms);
}

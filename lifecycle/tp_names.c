/* One word each, the same in state files, JSON and pages. */
#include "lifecycle/tp_internal.h"

#include <assert.h>

#define NAME_TABLE(function, type, count, table)                                                                                                          \
	static_assert(sizeof(table) / sizeof((table)[0]) == (count), "a name for each value of enum " #type);                                             \
	const char *function(enum type value)                                                                                                             \
	{                                                                                                                                                 \
		return (unsigned)value < (unsigned)(count) ? (table)[value] : "unknown";                                                                  \
	}

static const char *const op_names[] = {"none", "auth", "enroll", "renew", "shadow"};
NAME_TABLE(tp_op_name, tp_op, TP_OP_N_, op_names)

static const char *const stage_names[] = {"idle", "begin", "prepare", "prepared", "pending", "granted"};
NAME_TABLE(tp_stage_name, tp_stage, TP_STAGE_N_, stage_names)

static const char *const hold_names[] = {"none", "operator", "rejected"};
NAME_TABLE(tp_hold_name, tp_hold, TP_HOLD_N_, hold_names)

static const char *const act_names[] = {
	"none", "authenticate", "fetch-next", "prepare", "request", "poll", "install", "activate", "abandon", "retire", "alert",
};
NAME_TABLE(tp_act_name, tp_act, TP_ACT_N_, act_names)

static const char *const result_names[] = {"ok", "granted", "pending", "rejected", "no-verdict", "not-yet", "refused", "local"};
NAME_TABLE(tp_result_name, tp_result, TP_RESULT_N_, result_names)

static const char *const event_names[] = {"start", "tick", "done", "command"};
NAME_TABLE(tp_event_name, tp_event_kind, TP_EV_N_, event_names)

static const char *const timer_names[] = {"RENEW", "SHADOW", "POLL", "CONNECT RETRY", "ACTIVATE", "ALERT", "RETIRE"};
NAME_TABLE(tp_timer_name, tp_timer, TP_TIMER_N_, timer_names)

static const char *const alert_names[] = {"none", "expiring", "expired", "rejected", "exhausted", "fingerprint", "no-shadow"};
NAME_TABLE(tp_alert_name, tp_alert, TP_ALERT_N_, alert_names)

const char *tp_status_name(const struct tp_policy *policy, const struct tp_state *state, const struct tp_now *now)
{
	(void)policy; /* the words do not depend on it today; callers have it at hand */
	if (!tp_has(&state->ca))
		return "unauthenticated";
	if (state->hold == TP_HOLD_REJECTED)
		return "held";
	if (tp_expired(&state->id, now))
		return "expired";
	if (state->stage == TP_STAGE_PENDING)
		return "pending";
	if (tp_has(&state->id))
		return tp_has(&state->shadow) ? "shadowed" : "enrolled";
	return state->op == TP_OP_ENROLL ? "enrolling" : "authenticated";
}

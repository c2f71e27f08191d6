/* What the control socket asks of the running CA. All on the event loop's thread. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/utsname.h>

#include "ca/cad.h"
#include "common/clk.h"

static void timers_fill(const struct cad *c, const struct view *v, const struct tp_now *now, struct ca_control_status *ret)
{
	struct cal_due due[CAL_TIMER_N_];
	size_t i, n = cal_timers(&v->conf->cal, calendar_state(c->calendar), now, due);

	static_assert((int) CAL_TIMER_N_ <= (int) CA_CONTROL_TIMERS_MAX, "every timer is shown");
	for (i = 0; i < n; i++) {
		struct ca_control_timer *t = &ret->timers[ret->n_timers++];

		t->timer = cal_timer_name(due[i].timer);
		t->left_ms = due[i].on_boot ? due[i].at_boot.ms - now->boot.ms : due[i].at_wall.ms - now->wall.ms;
		t->at_sec = (now->wall.ms + t->left_ms) / 1000;
		t->exact = due[i].exact;
	}
}

static const char *rollover_status(const struct cad *c, const struct view *v)
{
	if (v->role[CAR_RECIPIENT_NEXT].cert)
		return "available";
	return calendar_generating(c->calendar) ? "generating" : "none";
}

static const char *status_word(const struct cad *c, const struct view *v, const struct tp_now *now)
{
	if (!signer_up(c->signer))
		return "no-signer";
	if (!now->trusted)
		return "waiting-for-clock";
	return now->wall.ms >= v->role[CAR_RECIPIENT_ACTIVE].facts.na_sec * 1000 ? "expired" : "enabled";
}

static void op_status(void *userdata, struct ca_control_status *ret)
{
	const struct cad *c = userdata;
	AUTO(view) struct view *v = service_view1(c->service);
	struct utsname kernel;
	struct tp_now now;

	calendar_now(c->calendar, &now);
	ret->conf = v->conf; /* c->conf keeps it after the view has gone */
	ret->status = status_word(c, v, &now);
	ret->clock_trusted = now.trusted;
	ret->ca = v->role[CAR_RECIPIENT_ACTIVE].facts;
	ret->rollover = v->role[CAR_RECIPIENT_NEXT].facts;
	ret->previous = v->role[CAR_RECIPIENT_PREVIOUS].facts;
	ret->rollover_status = rollover_status(c, v);
	ret->crl_next_update_sec = v->role[CAR_RECIPIENT_ACTIVE].crl.next_update_sec;
	(void) snprintf(ret->protection, sizeof(ret->protection), "%s", ks_protection_name(c->key.protection)); /* short words */
	(void) snprintf(ret->at_rest, sizeof(ret->at_rest), "%s", c->key.at_rest); /* fits, as all of these */
	(void) snprintf(ret->better_protection, sizeof(ret->better_protection), "%s", c->key.advice);
	if (uname(&kernel) == 0)
		(void) snprintf(ret->kernel_release, sizeof(ret->kernel_release), "%s", kernel.release);
	ret->port = httpd_port(c->httpd);
	timers_fill(c, v, &now, ret);
}

static int op_grant(void *userdata, int64_t id, const char *actor, struct err *reterr)
{
	const struct cad *c = userdata;

	return service_grant(c->service, id, actor, reterr);
}

static int op_reject(void *userdata, int64_t id, const char *reason, const char *actor, struct err *reterr)
{
	const struct cad *c = userdata;

	return db_request_set_status(c->db, id, CAR_STATUS_REJECTED, reason, clk_wall_ms() / 1000, actor, reterr);
}

static void rollover_done(void *userdata, int code, const struct err *why)
{
	ca_control_rollover_done(userdata, code, why);
}

static int op_rollover(void *userdata, bool cancel, const char *actor, struct ca_control_wait *wait, struct err *reterr)
{
	const struct cad *c = userdata;

	(void) actor; /* ca_control logs who asked */
	return calendar_rollover(c->calendar, cancel, rollover_done, wait, reterr);
}

static int op_reload(void *userdata, struct err *reterr)
{
	return cad_reload(userdata, reterr);
}

const struct ca_control_ops cad_control_ops = {
	.status = op_status,
	.grant = op_grant,
	.reject = op_reject,
	.rollover = op_rollover,
	.reload = op_reload,
};

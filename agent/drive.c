/* Step, persist, perform: see drive.h. */
#include "agent/drive.h"

#include <errno.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/deliver.h"
#include "agent/timers.h"
#include "common/fault.h"
#include "common/fs.h"
#include "common/log.h"

#define STALL_USEC (10 * UINT64_C(1000000))

static int record_write(struct trustpoint *tp, const struct record *rec, struct err *reterr)
{
	AUTO(mem) char *path = NULL;

	if (asprintf(&path, "%s/%s/state", tp->agent->state_dir, tp->name) < 0)
		path = NULL;
	return path ? state_store(path, rec, reterr) : -ENOMEM;
}

static int on_stall(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct trustpoint *tp = userdata;

	(void) s;
	(void) usec;
	tp->stall = sd_event_source_disable_unref(tp->stall);
	drive_tick(tp);
	return 0;
}

/* The disk said no: the machine stays where it is, the event stays in hand, and both are tried again. */
static void stall(struct trustpoint *tp, int code, const struct err *e)
{
	int r;

	trustpoint_fail(tp, code, e, "write the state");
	r = sd_event_add_time_relative(tp->agent->event, &tp->stall, CLOCK_BOOTTIME, STALL_USEC, 0, on_stall, tp);
	if (r < 0)
		(void) log_err(r, NULL, "%s: arm the retry", tp->name);
}

/* The next event in hand; a DONE before all else, for it frees the machine. */
static bool event_next(struct trustpoint *tp, struct tp_event *ret)
{
	if (tp->have_done)
		*ret = tp->done;
	else if (tp->want_start)
		*ret = (struct tp_event){ .kind = TP_EV_START, .same_boot = tp->same_boot };
	else if (tp->have_command)
		*ret = tp->command;
	else if (tp->want_tick)
		*ret = (struct tp_event){ .kind = TP_EV_TICK };
	else
		return false;
	return true;
}

static void event_taken(struct trustpoint *tp, const struct tp_event *event)
{
	switch (event->kind) {
	case TP_EV_DONE:
		tp->have_done = false;
		break;
	case TP_EV_START:
		tp->want_start = false;
		break;
	case TP_EV_COMMAND:
		tp->have_command = false;
		break;
	case TP_EV_TICK:
	case TP_EV_N_:
		break;
	}
	tp->want_tick = false; /* every step looks at what is due */
}

/* Whether a load would tell them apart: what is in flight is not stored. So the exact switch costs no write before its rename. */
static bool state_same(const struct tp_state *a, const struct tp_state *b)
{
	struct tp_state x = *a;

	x.busy = b->busy;
	return memcmp(&x, b, sizeof(x)) == 0;
}

/* A step that changed nothing costs no write. */
static int step_persist(struct trustpoint *tp, const struct tp_state *next, struct err *reterr)
{
	struct record rec = tp->rec; /* borrows everything but the state */

	if (!tp->dirty && state_same(next, &tp->rec.state))
		return 0;
	rec.state = *next;
	(void) snprintf(rec.boot_id, sizeof(rec.boot_id), "%s", tp->agent->boot_id);
	return record_write(tp, &rec, reterr);
}

static int step_one(struct trustpoint *tp, const struct tp_event *event)
{
	const struct tp_policy policy = tpconf_policy(&tp->conf);
	const struct tp_now now = agent_now(tp->agent);
	struct tp_state next = tp->rec.state;
	struct tp_actions actions;
	struct err e = { 0 };
	size_t i;
	int r;

	tp_step(&policy, tp->seed, &next, event, &now, &actions);
	FAULT("agent.k0-decided");
	r = step_persist(tp, &next, &e);
	if (r < 0) {
		stall(tp, r, &e);
		return r;
	}
	log_line(LOG_DEBUG, "%s: %s: %s %s, %zu actions", tp->name, tp_event_name(event->kind), tp_op_name(next.op), tp_stage_name(next.stage),
		 actions.n);
	event_taken(tp, event);
	tp->dirty = false;
	tp->rec.state = next;
	(void) snprintf(tp->rec.boot_id, sizeof(tp->rec.boot_id), "%s", tp->agent->boot_id);
	record_sweep(&tp->rec);
	for (i = 0; i < actions.n; i++)
		work_start(tp, actions.list[i].act, actions.list[i].alert);
	return 0;
}

/* Everything in hand, one event after the other; what the actions hand in meanwhile is taken by the same loop. */
static void drive(struct trustpoint *tp)
{
	struct tp_event event;

	if (tp->driving || tp->stall || !tp->usable)
		return;
	tp->driving = true;
	while (event_next(tp, &event))
		if (step_one(tp, &event) < 0)
			break;
	tp->driving = false;
	deliver_refresh(tp);
	if (tp->dirty && !tp->stall)
		drive_persist(tp);
	hook_kick(tp);
	timers_look(tp);
}

void drive_tick(struct trustpoint *tp)
{
	tp->want_tick = true;
	drive(tp);
}

void drive_done(struct trustpoint *tp, const struct tp_event *event)
{
	tp->done = *event;
	tp->have_done = true;
	drive(tp);
}

int drive_command(struct trustpoint *tp, enum tp_command command)
{
	if (tp->stall || tp->have_command)
		return -EBUSY;
	tp->command = (struct tp_event){ .kind = TP_EV_COMMAND, .command = command };
	tp->have_command = true;
	drive(tp);
	return 0;
}

/* Keys that are not kept at rest went with the last boot: the certificate serves nobody, so RENEW is now. */
static bool key_went(struct trustpoint *tp)
{
	return strcmp(tp->rec.at_rest, "none") == 0 && tp->rec.state.op == TP_OP_NONE && perform_key_lost(tp);
}

void drive_start(struct trustpoint *tp, bool same_boot)
{
	tp->same_boot = same_boot;
	tp->want_start = true;
	drive(tp);
	if (key_went(tp) && drive_command(tp, TP_COMMAND_RENEW) < 0)
		log_line(LOG_WARNING, "%s: its key is lost, and an operator's command comes first", tp->name);
}

void drive_persist(struct trustpoint *tp)
{
	struct err e = { 0 };
	int r;

	tp->dirty = true;
	if (tp->driving)
		return; /* the DONE that follows writes it */
	r = record_write(tp, &tp->rec, &e);
	if (r < 0)
		trustpoint_fail(tp, r, &e, "write the state");
	else
		tp->dirty = false;
}

/* The agent: one object, one loop, any number of trustpoints. Each trustpoint is moved only by drive_*: step, persist, perform. */
#ifndef KEYROLL_AGENT_AGENT_H
#define KEYROLL_AGENT_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "agent/fetch_client.h"
#include "agent/hook.h"
#include "agent/level.h"
#include "agent/state.h"
#include "agent/tpconf.h"
#include "agent/work.h"
#include "common/ctl.h"
#include "keystore/ks.h"

struct agent;

struct trustpoint {
	struct agent *agent;
	char *name;
	struct tpconf conf;
	bool usable;		     /* conf is good; else config_error says why it does not run */
	bool seen;		     /* by the reload in progress */
	char config_error[ERR_TEXT_BYTES]; /* of the newest file: also while an older configuration runs */
	uint64_t seed;
	struct record rec;
	struct work work;	     /* what is in flight */
	struct hook_run hook;
	char last_error[ERR_TEXT_BYTES];
	struct level level;
	struct buf challenge;	     /* for the next request only; an operator gave it */
	/* drive.c */
	bool driving, want_tick, want_start, same_boot, have_done, have_command, dirty;
	struct tp_event done, command;
	sd_event_source *stall;	     /* a step could not be persisted: it is taken again when this fires */
	bool due_wall_exact;
	int64_t due_wall_ms, due_boot_ms; /* earliest timers; INT64_MAX: none */
	/* control.c */
	struct ctl_call *auth_call;  /* waits for AUTHENTICATE to end */
	struct ctl_call *show_call;  /* waits for the CA certificate, to show it */
	uint32_t show_exchange;
};

struct agent {
	sd_event *event;
	struct agentconf conf;
	struct ks *ks;		     /* NULL while the custodian was not reached */
	struct levels levels;
	struct fetch_client *fetch;
	struct ctl_server *ctl;
	struct trustpoint **tps;
	size_t n;
	char boot_id[STATE_BOOT_ID_TEXT];
	char machine_id[64];
	char *state_dir, *delivered_dir, *conf_dir;
	bool clock_trusted;
	int lock_fd;
	sd_event_source *wall_timer, *boot_timer, *clock_source, *clock_poll;
	int clock_fd;
};

/* ---- agent.c ---- */
int agent_new(struct agent **ret, struct err *reterr) CHECKED;
void agent_free(struct agent *a);
/* Reads every trustpoint file: new ones begin, changed ones go on under the new policy, vanished ones are let go (key and state stay). A bad file keeps
 * what runs. Returns how many files were refused. */
unsigned agent_reload(struct agent *a);
struct trustpoint *agent_find(struct agent *a, const char *name);
struct tp_now agent_now(const struct agent *a);
/* The custodian, connected when first needed. -ECONNREFUSED and the like. */
int agent_ks(struct agent *a, struct ks **ret, struct err *reterr) CHECKED;
/* It went away: the next use connects again. */
void agent_ks_lost(struct agent *a);

/* Remembers for Status what went wrong, and logs it. */
void trustpoint_fail(struct trustpoint *tp, int code, const struct err *e, const char *doing);
struct log_fields;
struct log_fields trustpoint_fields(const struct trustpoint *tp);

#endif

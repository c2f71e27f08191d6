/* Telling consumers about a delivery: units are reloaded, the hook runs; each until it succeeds, none blocks the loop. */
#ifndef KEYROLL_AGENT_HOOK_H
#define KEYROLL_AGENT_HOOK_H

#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

struct trustpoint;

struct hook_run {
	pid_t pid;	/* 0: nothing runs */
	bool is_units;	/* what runs */
	bool outdated;	/* another delivery came while it ran: run again */
	unsigned failures;
	sd_event_source *child, *timeout, *backoff;
};

/* Starts what the record says is still to be told, unless something runs or waits. */
void hook_kick(struct trustpoint *tp);
/* A new delivery: begins anew without waiting. */
void hook_reset(struct trustpoint *tp);
/* The trustpoint goes: what runs is killed. */
void hook_stop(struct trustpoint *tp);

#endif

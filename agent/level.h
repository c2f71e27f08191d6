/* Protection= of a trustpoint names a level: whether the custodian can give it is known from the file's load on, not only when a key is wanted. */
#ifndef KEYROLL_AGENT_LEVEL_H
#define KEYROLL_AGENT_LEVEL_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "common/err.h"
#include "keystore/ks.h"

struct agent;
struct trustpoint;

struct level { /* of one trustpoint */
	bool known;		     /* the custodian has answered */
	char refused[ERR_TEXT_BYTES]; /* level, reason and "Do: "; "": it is to be had, or not known */
	int64_t said_ms;	     /* boot time of the last alarm */
};

struct levels { /* of the agent: one question for all trustpoints that name the same level */
	struct { bool asked; struct err e; } of[KS_PROTECTION_N_];
	sd_event_source *timer; /* armed while a trustpoint waits for an answer, or for its level */
};

/* The next looks ask anew. */
void level_forget(struct agent *a);
/* Asks (once for each level since level_forget), sets tp->level and raises the alarm; true: it was refused until now. */
bool level_look(struct trustpoint *tp);
/* The same by a question of its own, after which it goes on if it may. */
void level_ask_now(struct trustpoint *tp);
/* What waited for its level goes on, without waiting for the retry that is armed. */
void level_go_on(struct trustpoint *tp);
/* Arms the timer if somebody waits. */
void level_watch(struct agent *a);
void level_close(struct agent *a);

#endif

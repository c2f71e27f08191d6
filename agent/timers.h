/* The agent's two timers: the earliest wall-clock moment and the earliest boot-clock moment of all trustpoints; and the clock's trust. */
#ifndef KEYROLL_AGENT_TIMERS_H
#define KEYROLL_AGENT_TIMERS_H

#include "common/auto.h"
#include "common/err.h"

struct agent;
struct trustpoint;

int timers_open(struct agent *a, struct err *reterr) CHECKED;
void timers_close(struct agent *a);
/* Asks the machine what this trustpoint waits for, and arms the loop. */
void timers_look(struct trustpoint *tp);

#endif

/* Moving a trustpoint: step, persist, perform, always in this order and only here. */
#ifndef KEYROLL_AGENT_DRIVE_H
#define KEYROLL_AGENT_DRIVE_H

#include <stdbool.h>

#include "common/auto.h"
#include "lifecycle/tp.h"

struct agent;
struct trustpoint;

void drive_start(struct trustpoint *tp, bool same_boot);
void drive_tick(struct trustpoint *tp);
void drive_done(struct trustpoint *tp, const struct tp_event *event);
/* -EBUSY while an earlier command waits for the disk. */
int drive_command(struct trustpoint *tp, enum tp_command command) CHECKED;
/* Writes the record after a change that no step made (a hook that succeeded, a generation). Failure is logged; the change is written with the next. */
void drive_persist(struct trustpoint *tp);

#endif

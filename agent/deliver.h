/* Delivery: a generation folder is written, synced, and switched to by one rename. */
#ifndef KEYROLL_AGENT_DELIVER_H
#define KEYROLL_AGENT_DELIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

struct trustpoint;

struct generation { /* the files of one, as bytes */
	struct buf cert, chain, ca; /* PEM */
	char label[80], spki[65];
};
void generation_clear(struct generation *g);
/* Over all files: two generations with the same sum are the same. */
void generation_sha256(const struct generation *g, char ret_hex[65]);

/* Writes folder/gen-N with a number above all that are there, durable when it returns. Nothing points to it yet. */
int generation_write(const char *folder, const struct generation *g, int64_t *ret_number, struct err *reterr) CHECKED;
/* folder/current points to gen-N: the switch. */
int generation_switch(const char *folder, int64_t number, struct err *reterr) CHECKED;
/* Removes all but the three that are named (0: none), and what a crash left half-made. */
void generation_prune(const char *folder, int64_t current, int64_t before, int64_t staged);

/* ---- of a trustpoint ---- */

enum deliver_role { DELIVER_ID, DELIVER_GRANTED, DELIVER_SHADOW };
/* Delivers the pair in that role. The record is changed, not written. Already delivered: only success. */
int deliver_role(struct trustpoint *tp, enum deliver_role role, const char *reason, struct err *reterr) CHECKED;
/* Brings the CA bundle up to date, and builds the shadow's generation ahead, so that ACTIVATE is one rename. Failures are logged and tried again at the
 * next event. */
void deliver_refresh(struct trustpoint *tp);

static inline void auto_generation(struct generation *g)
{
	generation_clear(g);
}

#endif

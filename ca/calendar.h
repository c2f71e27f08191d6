/* Drives lifecycle/cal.h: loads what the CA is, arms its timers, performs what they ask for, and publishes each change as a new view. One thread: the
 * event loop's. */
#ifndef KEYROLL_CA_CALENDAR_H
#define KEYROLL_CA_CALENDAR_H

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "ca/db.h"
#include "ca/service.h"
#include "ca/signer_client.h"
#include "ca/view.h"
#include "common/auto.h"
#include "common/err.h"
#include "lifecycle/cal.h"

struct calendar;

struct calendar_options { /* all borrowed */
	sd_event *event;
	const char *name;
	struct view_conf *conf;
	struct signer *signer;
	struct service *service;
	struct db *db;
};

/* Loads certificates and keys, mends what a crash left half done, publishes the first view and starts. -ENOENT: the CA has no certificate yet. */
int calendar_new(const struct calendar_options *o, struct calendar **ret, struct err *reterr) CHECKED;
void calendar_free(struct calendar *c);

/* Called once per accepted command, on this thread: code 0, or why not. */
typedef void (*calendar_done_fn)(void *userdata, int code, const struct err *why);
/* Makes the rollover CA now, or deletes it. -EEXIST, -ENODATA, -ETIME (clock), -EBUSY (one is being made or deleted). After an error done is not called. */
int calendar_rollover(struct calendar *c, bool cancel, calendar_done_fn done, void *userdata, struct err *reterr) CHECKED;
/* Takes over a new configuration (a reference of its own). */
int calendar_reload(struct calendar *c, struct view_conf *conf, struct err *reterr) CHECKED;

/* For status. */
const struct cal_state *calendar_state(const struct calendar *c);
bool calendar_generating(const struct calendar *c);
void calendar_now(const struct calendar *c, struct tp_now *ret);

AUTO_DEFINE(calendar, struct calendar *, calendar_free);

#endif

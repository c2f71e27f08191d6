/* Shared by calendar.c (timers and events), calendar_act.c (what they ask for) and calendar_load.c (what the CA is at start). */
#ifndef KEYROLL_CA_CALENDAR_INTERNAL_H
#define KEYROLL_CA_CALENDAR_INTERNAL_H

#include "ca/calendar.h"

struct calendar {
	struct calendar_options o;
	struct cal_state state;
	sd_event_source *wall_timer, *boot_timer, *generate_source;
	int generate_fd;
	calendar_done_fn done; /* an operator who waits; NULL: nobody */
	void *done_userdata;
	bool done_cancel;
	bool was_trusted, started;
	bool next_waits; /* next.pem is there, and its key cannot be had */
};

/* calendar.c */
void calendar_event(struct calendar *c, const struct cal_event *event);
void calendar_act_done(struct calendar *c, enum cal_act act, int code, const struct tp_cert *cert, const struct err *why);

/* calendar_act.c. Ends in calendar_act_done, now or later, for those that have a DONE. */
void calendar_perform(struct calendar *c, enum cal_act act);

/* calendar_load.c: the view and the state as the files and the signer say. */
int calendar_load(struct calendar *c, struct view **ret, struct err *reterr) CHECKED;
/* Whole milliseconds of a role's certificate. */
struct tp_cert calendar_times(const struct x509_facts *facts);

#endif

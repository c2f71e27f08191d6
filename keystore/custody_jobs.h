/* Work that blocks for milliseconds, on threads of its own beside an event loop. */
#ifndef KEYROLL_KEYSTORE_CUSTODY_JOBS_H
#define KEYROLL_KEYSTORE_CUSTODY_JOBS_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "common/auto.h"
#include "common/err.h"

struct jobs;

struct job { /* first member of the caller's struct */
	void (*run)(struct job *job);  /* on a worker's thread */
	void (*done)(struct job *job); /* afterwards, on the loop's thread; frees it */
	unsigned lane;		       /* whose it is, a user's number: lanes are served in turn, however many jobs each has waiting */
	bool dropped;		       /* by jobs_drop: it has not run */
	uint64_t turn;		       /* the queue's own */
	struct job *next;
};

int jobs_new(sd_event *event, int workers, struct jobs **ret, struct err *reterr) CHECKED;
void jobs_free(struct jobs *j); /* waits for what runs; what waits is not run; done is called for neither, so free what they borrow afterwards */
void jobs_add(struct jobs *j, struct job *job);
/* Until nothing runs or waits, at most so long: -ETIMEDOUT. */
int jobs_wait(struct jobs *j, unsigned ms) CHECKED;
/* What waits is not run; its done is called, on the loop, with dropped set. */
void jobs_drop(struct jobs *j);
/* What each worker does last, before it ends. Once, before the first job. */
void jobs_at_end(struct jobs *j, void (*last)(void));
/* Nothing more is begun, and what runs is waited for, at most so long. -ETIMEDOUT: it still runs, so j and what its jobs borrow must stay until the
 * process ends. Else jobs_free is next. */
int jobs_end(struct jobs *j, unsigned ms) CHECKED;
/* No worker runs anything between the two calls, so that fork(2) is safe. */
void jobs_quiesce(struct jobs *j);
void jobs_resume(struct jobs *j);
/* Called by a job around what may block for long and holds nothing that a forked child would need: jobs_quiesce does not wait for that, and
 * jobs_unblock waits for jobs_resume. On a thread that is no worker they do nothing. */
void jobs_block(void);
void jobs_unblock(void);

AUTO_DEFINE(jobs, struct jobs *, jobs_free);

#endif

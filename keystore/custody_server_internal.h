/* What the parts of the custodian's server share: one loop's thread owns all of it. */
#ifndef KEYROLL_KEYSTORE_CUSTODY_SERVER_INTERNAL_H
#define KEYROLL_KEYSTORE_CUSTODY_SERVER_INTERNAL_H

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "keystore/custody_jobs.h"
#include "keystore/custody_peer.h"
#include "keystore/custody_proto.h"
#include "keystore/custody_server.h"
#include "keystore/vault.h"

struct making; /* a key in the making: custody_make.c */

struct client {
	struct server *server;
	struct client *next;
	int fd;
	sd_event_source *source;
	struct peer peer;
	bool busy; /* a job or a generation answers later */
	const struct jobs *waits_in; /* the queue of that job; NULL: of no private operation */
	bool gone; /* its connection has ended while busy */
	uint64_t last; /* the server's count when it came or asked last */
};

struct server {
	const struct custody_options *o;
	sd_event *event;
	sd_event_source *listener;
	struct vault *vault;
	struct jobs *jobs;
	struct jobs *device_jobs; /* NULL: no device is configured */
	struct job device_first;  /* asks it whether it is there */
	sd_event_source *device_watch; /* NULL: it has had no work yet */
	struct client *clients;
	struct making *makings;
	size_t n_clients, n_makings;
	uint64_t requests;   /* and connections, counted */
	uint64_t refusals_since; /* CLOCK_MONOTONIC in microseconds */
	unsigned refusals; /* since then */
	uint64_t crowd_said; /* when, CLOCK_MONOTONIC in microseconds; 0: never */
};

/* ---- custody_client.c */

/* Takes a connection from the listening socket; userdata is the server. */
int on_connection(sd_event_source *source, int fd, uint32_t revents, void *userdata);
/* Ends the connection. Not while a job or a generation is at work for it. */
void client_free(struct client *c);
/* Sends a reply, if the client is still there. */
void client_reply(struct client *c, struct custody_msg *m);
/* Answers what was asked by request: status and, of a failure, its text. */
void client_answer(struct client *c, const struct custody_msg *request, int status, const struct err *e);
/* No more requests are read until client_ready: the answer comes later. */
void client_busy(struct client *c);
/* What was asked later is done: the next request may come. The client may be freed by it. */
void client_ready(struct client *c);

/* ---- the requests. 0: done, to be answered; 1: answered, or will be; negative errno with its text: refused. */

/* custody_server.c: whichever m asks for. */
int dispatch(struct server *s, struct client *c, struct custody_msg *m, struct err *reterr) CHECKED;
/* custody_server.c: where private operations of that backend are queued, unless it is a device that hangs: -ENODEV. Errors as device_watch. */
int jobs_of(struct server *s, const struct backend *b, struct jobs **ret, struct err *reterr) CHECKED;
/* custody_server.c: no thread of ours is inside a library between the two, but for what jobs_block is for. */
void server_quiesce(const struct server *s);
void server_resume(const struct server *s);
/* custody_sign.c: SIGN, SIGN_DIGEST, DECRYPT. Takes m's body. -ENOKEY, -EACCES, -EPROTO by the floor, -EINVAL. */
int op_start(struct server *s, struct client *c, struct custody_msg *m, struct err *reterr) CHECKED;
/* custody_make.c: GENERATE. -EINVAL, -EACCES, -EEXIST, -EAGAIN while too many are being made, -ENOTSUP the level. */
int making_start(struct server *s, struct client *c, struct custody_msg *m, struct err *reterr) CHECKED;
/* Those that a device is at are answered, forgotten, and what still comes of them is thrown away. Their waiting jobs must have been dropped. */
void makings_abandon(struct server *s);
/* Whether a key of that label is being made. */
bool making_has(const struct server *s, const char *label);
/* Ends it, its child included, without an answer. */
void making_free(struct making *g);
/* custody_keys.c: LOAD, PROMOTE, DELETE, LIST, LEVEL. -ENOKEY, -EACCES, -ENOMEM, -ENOTSUP. */
int keys_load(struct server *s, struct client *c, const struct custody_msg *m, struct err *reterr) CHECKED;
int keys_promote(struct server *s, const struct client *c, const struct custody_msg *m, struct err *reterr) CHECKED;
int keys_delete(struct server *s, const struct client *c, const struct custody_msg *m, struct err *reterr) CHECKED;
int keys_list(struct server *s, struct client *c, const struct custody_msg *m) CHECKED;
int keys_level(struct server *s, struct client *c, const struct custody_msg *m, struct err *reterr) CHECKED;

/* ---- custody_device.c: only with a device configured */

/* Starts its thread and asks the device whether it is there, for as long as a start may take: token_state says what came out. */
int device_start(struct server *s, struct err *reterr) CHECKED;
/* LEVEL, of the device: asks it. -ENOTSUP at once when it hangs. */
int device_level(struct server *s, struct client *c, const struct custody_msg *m, struct err *reterr) CHECKED;
/* Tests the keys that were found, one by one, and says which do not work. -ENOMEM, and errors as device_watch. */
int device_test_keys(struct server *s, struct err *reterr) CHECKED;
/* Before each job for the device: should it hang, whoever waits for it is answered within a second of when that shows, though nobody asks for anything.
 * Errors as sd_event_add_time(3). */
int device_watch(struct server *s, struct err *reterr) CHECKED;
/* Closes the device and ends the thread. -ETIMEDOUT: the device hangs, so that no memory of ours may be freed any more. */
int device_end(struct server *s) CHECKED;

/* The key that m names, borrowed, when the client may use it. -ENOKEY, -EACCES. */
int keys_find(const struct server *s, const struct client *c, const struct custody_msg *m, struct vault_key **ret, struct err *reterr) CHECKED;
/* A key that is not where it should be is looked for, and restored from its sealed copy; one that is nowhere leaves its slot free. -ENOKEY; -EBUSY: it is
 * there, and the quota, memory or time of this moment forbids it. */
int keys_recover(struct server *s, struct vault_key *k, struct err *reterr) CHECKED;

#endif

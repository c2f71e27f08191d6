/* The agent's side of HTTP: keyroll-fetch is started when there is something to fetch, and may die at any moment. */
#ifndef KEYROLL_AGENT_FETCH_CLIENT_H
#define KEYROLL_AGENT_FETCH_CLIENT_H

#include <systemd/sd-event.h>

#include "agent/fetch_proto.h"
#include "common/err.h"

struct fetch_client;

/* reply->status 0: error says why there is no HTTP answer. Borrowed for the call. Called once for each start that was not cancelled. */
typedef void (*fetch_fn)(void *userdata, const struct fetch_reply *reply);

/* path: of the program. -ENOMEM. */
int fetch_client_new(sd_event *event, const char *path, struct fetch_client **ret) CHECKED;
void fetch_client_free(struct fetch_client *f); /* nothing is called any more */
/* request->id is given here. fn is called later, never from within. -ENOMEM, -EMSGSIZE, or why the program does not start. */
int fetch_start(struct fetch_client *f, struct fetch_request *request, fetch_fn fn, void *userdata, struct err *reterr) CHECKED;
/* Returns the userdata of the call, or NULL when it has ended already. */
void *fetch_cancel(struct fetch_client *f, uint32_t id);

#endif

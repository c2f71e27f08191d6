/* Control sockets: JSON messages in the varlink framing (each ends with one NUL) over AF_UNIX SOCK_STREAM.
 * Call: {"method":"org.keyroll.agent.Status","parameters":{..}}; reply: {"parameters":{..}} or
 * {"error":"org.keyroll.agent.NoSuchTrustpoint","parameters":{"message":"..","do":".."}}. */
#ifndef KEYROLL_COMMON_CTL_H
#define KEYROLL_COMMON_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <systemd/sd-event.h>

#include "common/auto.h"
#include "common/err.h"

struct ctl_server;
struct ctl_call; /* one request that has not been answered */

/* Answers now or keeps the call and answers later from the same thread; every call is answered exactly once. params is borrowed and never NULL. */
typedef void (*ctl_method_fn)(void *userdata, struct ctl_call *call, json_t *params);

struct ctl_method {
	const char *name; /* full: "org.keyroll.agent.Enroll" */
	bool changes;	  /* only root, the daemon's own user, or group keyroll-admin may call; the others: group keyroll too */
	ctl_method_fn run;
};

/* Serves on listen_fd (taken on success) with event; interface is the text of the .varlink file (answers
 * org.varlink.service.GetInfo and GetInterfaceDescription). methods ends with name == NULL. Peers are known by SO_PEERCRED;
 * groups keyroll and keyroll-admin need not exist. At most LIMIT_CTL_CLIENTS at once. */
int ctl_server_new(sd_event *event, int listen_fd, const char *interface, const struct ctl_method *methods, void *userdata,
		   struct ctl_server **ret, struct err *reterr) CHECKED;
/* Clients that still wait get an error. A call that its owner keeps stays valid: answering it (into nothing) releases it. */
void ctl_server_free(struct ctl_server *s);

/* parameters is stolen (NULL: {}). A call whose client has gone is answered into nothing. */
void ctl_reply(struct ctl_call *call, json_t *parameters);
/* error: last part or full name; do_text: the operator's next step, printed as "Do: ..." */
void ctl_error(struct ctl_call *call, const char *error, const char *do_text, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
uid_t ctl_call_uid(const struct ctl_call *call);

/* Makes, binds (mode) and listens; removes a stale socket first. Returns the descriptor. */
int ctl_listen(const char *path, mode_t mode, struct err *reterr) CHECKED;

struct ctl_failure {
	char error[96];	   /* "" when the daemon did not answer at all */
	char message[256];
	char do_text[256];
};
/* One call, blocking, for pkictl and tests. params stolen (NULL: {}). 0; -ECONNREFUSED/-ENOENT/-EACCES when the daemon is not reachable;
 * -EREMOTEIO when it answered with an error (in *ret_failure); -EBADMSG; -ECONNRESET when it hung up without
 * an answer; -ETIMEDOUT after timeout_ms. *ret_reply owned by the caller. */
int ctl_ask(const char *path, const char *method, json_t *params, int timeout_ms, json_t **ret_reply, struct ctl_failure *ret_failure,
	    struct err *reterr) CHECKED;

/* The framing alone, for the fuzzer: finds one complete message in data. Returns its length without the NUL, -EAGAIN when incomplete, -EMSGSIZE over the
 * limit. */
ssize_t ctl_frame(const char *data, size_t len);

AUTO_DEFINE(json, json_t *, json_decref);

#endif

/* What the agent answers on agent.sock: org.keyroll.agent.varlink. */
#ifndef KEYROLL_AGENT_CONTROL_H
#define KEYROLL_AGENT_CONTROL_H

#include <jansson.h>

#include "common/auto.h"
#include "common/err.h"
#include "lifecycle/tp.h"

struct agent;
struct trustpoint;

/* On the activated socket, else on /run/keyroll/agent.sock. */
int control_open(struct agent *a, struct err *reterr) CHECKED;
void control_close(struct agent *a);
/* AUTHENTICATE ended: whoever waits for it is answered. */
void control_auth_ended(struct trustpoint *tp, enum tp_result result, const char *why);

/* ---- status.c: facts as JSON; NULL when out of memory ---- */
json_t *status_trustpoint(const struct trustpoint *tp);
json_t *status_certificate(const struct trustpoint *tp, const struct tp_cert *who);
/* Appends the trustpoint's timers to list. */
int status_timers(const struct trustpoint *tp, json_t *list) CHECKED;

#endif

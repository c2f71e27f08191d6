/* What a trustpoint has in flight: at most one action of the machine. Each perform_* function starts one; its end is one call of work_done. */
#ifndef KEYROLL_AGENT_WORK_H
#define KEYROLL_AGENT_WORK_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "common/err.h"
#include "keystore/ks.h"
#include "lifecycle/tp.h"
#include "scep/scep.h"

struct trustpoint;

struct work {
	enum tp_act act;	 /* TP_ACT_NONE: nothing in flight */
	uint32_t exchange;	 /* id of the HTTP exchange, 0: none */
	unsigned caps;		 /* that the CA said last; valid once caps_known */
	bool caps_known;
	int keygen_fd;		 /* -1: no key is being made */
	enum ks_slot keygen_slot;
	bool key_lost; /* PREPARE found the active ID's key gone: the request is a first one again */
	sd_event_source *keygen;
	uint8_t nonce[SCEP_NONCE_BYTES]; /* of the request in flight */
	enum scep_type type;
};

/* Starts the action. One with a DONE ends by work_done, perhaps at once. */
void work_start(struct trustpoint *tp, enum tp_act act, enum tp_alert alert);
/* Ends what is in flight without a result: the machine has replaced it. */
void work_cancel(struct trustpoint *tp);
void work_done(struct trustpoint *tp, enum tp_result result, const struct tp_cert *cert, int64_t retry_after_ms);
/* Says the failure, then work_done. code -ENOMEM and everything of ours is LOCAL; the caller knows better for the peer's. */
void work_fail(struct trustpoint *tp, enum tp_result result, int code, const struct err *e, const char *doing, int64_t retry_after_ms);

/* One for each action, in a file of its own. */
void perform_authenticate(struct trustpoint *tp);
void perform_fetch_next(struct trustpoint *tp);
void perform_prepare(struct trustpoint *tp);
/* Whether the custodian is there and has not the key of the active ID. One question to it. */
bool perform_key_lost(struct trustpoint *tp);
void perform_request(struct trustpoint *tp);
void perform_poll(struct trustpoint *tp);
void perform_install(struct trustpoint *tp);
void perform_activate(struct trustpoint *tp);
void perform_abandon(struct trustpoint *tp);
void perform_retire(struct trustpoint *tp);
void perform_alert(struct trustpoint *tp, enum tp_alert alert);

#endif

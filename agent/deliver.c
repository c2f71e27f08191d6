/* What is delivered for a trustpoint, and when: see deliver.h. */
#include "agent/deliver.h"

#include <errno.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/drive.h"
#include "common/auto_ssl.h"
#include "common/log.h"
#include "common/x509facts.h"

static char *folder_of(const struct trustpoint *tp)
{
	char *path = NULL;

	return asprintf(&path, "%s/%s", tp->agent->delivered_dir, tp->name) < 0 ? NULL : path;
}

/* The first certificate of an entry: a CA's, without those of its RA. */
static int pem_add_first(const struct trustpoint *tp, const struct tp_cert *who, struct buf *append, struct err *reterr)
{
	AUTO(x509) X509 *x = NULL;
	int r = bag_cert(&tp->rec.bag, who, &x, reterr);

	return r < 0 ? r : x509_to_pem(x, append, reterr);
}

static const struct tp_cert *role_cert(const struct trustpoint *tp, enum deliver_role role)
{
	switch (role) {
	case DELIVER_ID:
		return &tp->rec.state.id;
	case DELIVER_GRANTED:
		return &tp->rec.state.granted;
	case DELIVER_SHADOW:
		break;
	}
	return &tp->rec.state.shadow;
}

/* The issuer first, then who is to be trusted beside it: the next CA as soon as it is known, the old one for its grace time. The bundle that the
 * shadow's generation holds is the one that will be right after the switch, so nothing has to be written then. */
static int bundle_build(const struct trustpoint *tp, enum deliver_role role, struct buf *ret, struct err *reterr)
{
	const struct tp_state *s = &tp->rec.state;
	const struct tp_cert *shadow[] = { &s->next_ca, &s->ca, NULL }, *others[] = { &s->ca, &s->next_ca, &s->old_ca, NULL };
	const struct tp_cert *const *at = role == DELIVER_SHADOW ? shadow : others;
	int r = 0;

	for (; r == 0 && *at; at++)
		if ((*at)->na_sec)
			r = pem_add_first(tp, *at, ret, reterr);
	return r;
}

static int generation_make(const struct trustpoint *tp, enum deliver_role role, struct generation *ret, struct err *reterr)
{
	const struct tp_cert *issuer = role == DELIVER_SHADOW ? &tp->rec.state.next_ca : &tp->rec.state.ca;
	AUTO(x509) X509 *x = NULL;
	struct x509_facts f;
	int r = bag_cert(&tp->rec.bag, role_cert(tp, role), &x, reterr);

	if (r == 0)
		r = x509_facts_get(x, &f, reterr);
	if (r == 0)
		r = x509_to_pem(x, &ret->cert, reterr);
	if (r == 0)
		r = pem_add_first(tp, issuer, &ret->chain, reterr);
	if (r == 0)
		r = bundle_build(tp, role, &ret->ca, reterr);
	if (r < 0)
		return r;
	(void) snprintf(ret->label, sizeof(ret->label), "%s", tp->conf.label);
	(void) snprintf(ret->spki, sizeof(ret->spki), "%s", f.spki_sha256);
	return 0;
}

static void notify_want(struct trustpoint *tp, const char *reason)
{
	tp->rec.notify.units = tp->conf.reload_units && tp->conf.reload_units[0];
	tp->rec.notify.hook = tp->conf.hook != NULL;
	(void) snprintf(tp->rec.notify.reason, sizeof(tp->rec.notify.reason), "%s", reason);
	hook_reset(tp);
}

/* Switches to `number`, and remembers it. */
static int current_set(struct trustpoint *tp, const char *folder, int64_t number, const char *sha256, const char *reason, struct err *reterr)
{
	int64_t before = tp->rec.generation;
	int r = generation_switch(folder, number, reterr);

	if (r < 0)
		return r;
	tp->rec.generation = number;
	(void) snprintf(tp->rec.generation_sha256, STATE_HEX, "%s", sha256);
	if (tp->rec.staged == number) {
		tp->rec.staged = 0;
		tp->rec.staged_sha256[0] = '\0';
	}
	notify_want(tp, reason);
	generation_prune(folder, number, before, tp->rec.staged);
	return 0;
}

int deliver_role(struct trustpoint *tp, enum deliver_role role, const char *reason, struct err *reterr)
{
	AUTO(generation) struct generation g = { .label = "" };
	AUTO(mem) char *folder = folder_of(tp);
	char sha256[STATE_HEX] = "";
	int64_t number = 0;
	int r;

	if (!folder)
		return -ENOMEM;
	r = generation_make(tp, role, &g, reterr);
	if (r < 0)
		return r;
	generation_sha256(&g, sha256);
	if (tp->rec.generation && strcmp(sha256, tp->rec.generation_sha256) == 0)
		return 0;
	if (tp->rec.staged && strcmp(sha256, tp->rec.staged_sha256) == 0)
		number = tp->rec.staged;
	else
		r = generation_write(folder, &g, &number, reterr);
	return r < 0 ? r : current_set(tp, folder, number, sha256, reason, reterr);
}

/* The shadow's generation, ready before its moment. */
static int stage(struct trustpoint *tp, struct err *reterr)
{
	AUTO(generation) struct generation g = { .label = "" };
	AUTO(mem) char *folder = folder_of(tp);
	char sha256[STATE_HEX] = "";
	int r;

	if (!tp->rec.state.shadow.na_sec)
		return 0;
	r = folder ? generation_make(tp, DELIVER_SHADOW, &g, reterr) : -ENOMEM;
	if (r < 0)
		return r;
	generation_sha256(&g, sha256);
	if (tp->rec.staged && strcmp(sha256, tp->rec.staged_sha256) == 0)
		return 0;
	r = generation_write(folder, &g, &tp->rec.staged, reterr);
	if (r < 0)
		return r;
	(void) snprintf(tp->rec.staged_sha256, STATE_HEX, "%s", sha256);
	drive_persist(tp);
	return 0;
}

/* An INSTALL or ACTIVATE that failed half-way may have switched the link already: it must not be taken back. */
static bool is_between_pairs(const struct tp_state *s)
{
	return s->stage == TP_STAGE_GRANTED || s->busy == TP_ACT_ACTIVATE || s->activate_failures > 0;
}

void deliver_refresh(struct trustpoint *tp)
{
	struct err e = { 0 };
	int64_t before = tp->rec.generation;
	int r;

	if (!tp->usable || !tp->rec.state.id.na_sec || is_between_pairs(&tp->rec.state))
		return;
	r = deliver_role(tp, DELIVER_ID, "ca", &e);
	if (r == 0 && tp->rec.generation != before)
		drive_persist(tp);
	if (r == 0)
		r = stage(tp, &e);
	if (r < 0)
		trustpoint_fail(tp, r, &e, "deliver");
}

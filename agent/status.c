/* A trustpoint as JSON: the types of org.keyroll.agent.varlink. Absent facts are left out. */
#include <errno.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/control.h"
#include "common/auto_ssl.h"
#include "common/clk.h"
#include "common/x509facts.h"

json_t *status_certificate(const struct trustpoint *tp, const struct tp_cert *who)
{
	AUTO(x509) X509 *x = NULL;
	char nb[CLK_RFC3339_BYTES], na[CLK_RFC3339_BYTES];
	struct x509_facts f;

	if (!who->na_sec || bag_cert(&tp->rec.bag, who, &x, NULL) < 0 || x509_facts_get(x, &f, NULL) < 0)
		return NULL;
	return json_pack("{ss ss ss ss ss ss ss}", "serial", f.serial, "subject", f.subject, "issuer", f.issuer, "not_before",
			 clk_rfc3339(f.nb_sec, nb), "not_after", clk_rfc3339(f.na_sec, na), "sha256", f.sha256, "spki", f.spki_sha256);
}

static json_t *timer_json(const struct trustpoint *tp, const struct tp_due *d, const struct tp_now *now)
{
	int64_t left = d->on_boot ? d->at_boot.ms - now->boot.ms : d->at_wall.ms - now->wall.ms;
	int64_t at_ms = now->wall.ms + left;
	char at[CLK_RFC3339_BYTES];

	return json_pack("{ss ss ss sI sb ss ss}", "timer", tp_timer_name(d->timer), "trustpoint", tp->name, "at", clk_rfc3339(at_ms / 1000, at),
			 "left_ms", (json_int_t) left, "exact", d->exact, "why", d->why, "if_missed", d->missed);
}

int status_timers(const struct trustpoint *tp, json_t *list)
{
	const struct tp_policy policy = tpconf_policy(&tp->conf);
	const struct tp_now now = agent_now(tp->agent);
	struct tp_due due[TP_TIMER_N_];
	size_t i, n;

	if (!tp->usable)
		return 0;
	n = tp_timers(&policy, tp->seed, &tp->rec.state, &now, due);
	for (i = 0; i < n; i++)
		if (json_array_append_new(list, timer_json(tp, &due[i], &now)) < 0)
			return -ENOMEM;
	return 0;
}

static json_t *next_timer(const struct trustpoint *tp)
{
	AUTO(json) json_t *list = json_array();

	if (!list || status_timers(tp, list) < 0)
		return NULL;
	return json_incref(json_array_get(list, 0));
}

/* NULL, and empty text, are absent facts. */
static void put(json_t *o, const char *key, json_t *value)
{
	if (value)
		(void) json_object_set_new(o, key, value); /* out of memory: one fact less */
}
static void put_text(json_t *o, const char *key, const char *text)
{
	if (text && text[0])
		put(o, key, json_string(text));
}

static void put_certificates(const struct trustpoint *tp, json_t *o)
{
	const struct tp_state *s = &tp->rec.state;

	put(o, "ca", status_certificate(tp, &s->ca));
	put(o, "id", status_certificate(tp, &s->id));
	put(o, "next_ca", status_certificate(tp, &s->next_ca));
	put(o, "shadow", status_certificate(tp, &s->shadow));
}

/* It has nothing to serve with, and no key may be made. */
static bool waits_for_level(const struct trustpoint *tp)
{
	return tp->level.refused[0] && tp->rec.state.ca.na_sec && !tp->rec.state.id.na_sec;
}

static const char *status_word(const struct trustpoint *tp)
{
	const struct tp_policy policy = tpconf_policy(&tp->conf);
	const struct tp_now now = agent_now(tp->agent);

	if (!tp->usable)
		return "disabled";
	return waits_for_level(tp) ? "held" : tp_status_name(&policy, &tp->rec.state, &now);
}

json_t *status_trustpoint(const struct trustpoint *tp)
{
	const struct tp_state *s = &tp->rec.state;
	json_t *o = json_pack("{ss ss ss ss sI sI ss ss}", "name", tp->name, "status", status_word(tp), "operation", tp_op_name(s->op), "stage",
			      tp_stage_name(s->stage), "polls", (json_int_t) s->polls, "failures", (json_int_t) s->failures, "enrollment_url",
			      tp->conf.enrollment_url ? tp->conf.enrollment_url : "", "key_label", tp->conf.label ? tp->conf.label : "");

	if (!o)
		return NULL;
	if (s->hold != TP_HOLD_NONE)
		put_text(o, "hold", tp_hold_name(s->hold));
	else if (waits_for_level(tp))
		put_text(o, "hold", "protection");
	put_text(o, "transaction", tp->rec.request.transaction_id);
	put_text(o, "last_error", tp->last_error);
	put_text(o, "alarm", tp->level.refused);
	put_text(o, "protection", tp->rec.protection);
	put_text(o, "at_rest", tp->rec.at_rest);
	if (tp->rec.bits)
		put(o, "bits", json_integer(tp->rec.bits));
	put_certificates(tp, o);
	if (tp->rec.generation)
		put(o, "generation", json_integer(tp->rec.generation));
	put(o, "next_timer", next_timer(tp));
	put_text(o, "config_error", tp->config_error);
	return o;
}

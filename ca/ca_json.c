/* The types of org.keyroll.ca.varlink. */
#include "config.h"

#include "ca/ca_control_internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "common/clk.h"
#include "common/ctl.h"

/* NULL for 0: json_pack's s* leaves such a key out. */
static const char *time_text(int64_t sec, char out[CLK_RFC3339_BYTES])
{
	return sec != 0 ? clk_rfc3339(sec, out) : NULL;
}

static const char *text_or_null(const char *text)
{
	return text[0] ? text : NULL;
}

json_t *ca_json_facts(const struct x509_facts *f, int64_t revoked_sec)
{
	char nb[CLK_RFC3339_BYTES], na[CLK_RFC3339_BYTES], revoked[CLK_RFC3339_BYTES];

	return json_pack("{s:s, s:s, s:s*, s:s, s:s, s:s*, s:s*, s:s*}", "serial", f->serial, "subject", f->subject, "issuer", text_or_null(f->issuer),
			 "not_before", clk_rfc3339(f->nb_sec, nb), "not_after", clk_rfc3339(f->na_sec, na), "sha256", text_or_null(f->sha256), "spki",
			 text_or_null(f->spki_sha256), "revoked", time_text(revoked_sec, revoked));
}

/* From the certificate itself; a row whose bytes cannot be read (never written by us) shows what its columns say. */
json_t *ca_json_cert(const struct db_cert *c)
{
	struct x509_facts f = { .nb_sec = 0 };
	X509 *x = NULL;

	if (x509_from_der(c->der.data, c->der.len, &x, NULL) < 0 || x509_facts_get(x, &f, NULL) < 0) {
		f = (struct x509_facts){ .nb_sec = c->nb_sec, .na_sec = c->na_sec };
		(void) snprintf(f.serial, sizeof(f.serial), "%s", c->serial);
		(void) snprintf(f.subject, sizeof(f.subject), "%s", c->subject);
		(void) snprintf(f.spki_sha256, sizeof(f.spki_sha256), "%s", c->spki);
	}
	X509_free(x);
	return ca_json_facts(&f, c->revoked_sec);
}

json_t *ca_json_request(const struct db_request *r, const char *rollover_spki)
{
	char received[CLK_RFC3339_BYTES];
	bool rollover = rollover_spki[0] && strcmp(rollover_spki, r->issuer_spki) == 0;

	return json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:s, s:s*, s:s*}", "id", (json_int_t) r->id, "status", car_status_name(r->status),
			 "subject", r->subject, "fingerprint", r->csr_sha256, "transaction", r->transaction_id, "address", r->address, "renewal",
			 (int) r->renewal, "rollover", (int) rollover, "received", clk_rfc3339(r->received_sec, received), "serial",
			 text_or_null(r->serial), "why", text_or_null(r->why));
}

static json_t *timers_json(const struct ca_control_status *s)
{
	AUTO(json) json_t *list = json_array();
	char at[CLK_RFC3339_BYTES];

	for (size_t i = 0; list && i < s->n_timers && i < CA_CONTROL_TIMERS_MAX; i++) {
		const struct ca_control_timer *t = &s->timers[i];
		json_t *one = json_pack("{s:s, s:s, s:I, s:b}", "timer", t->timer, "at", clk_rfc3339(t->at_sec, at), "left_ms", (json_int_t) t->left_ms,
					"exact", (int) t->exact);

		if (json_array_append_new(list, one) < 0) /* refuses NULL too */
			return NULL;
	}
	return TAKE(list);
}

/* URL=, or http://HOST[:PORT] of the listener; where it listens everywhere, the machine's name stands for HOST. */
static void url_text(const struct ca_control_status *s, char *out, size_t bytes)
{
	const char *colon = strrchr(s->conf->listen, ':');
	int host_len = colon ? (int) (colon - s->conf->listen) : 0;
	bool everywhere = host_len == 0 || strncmp(s->conf->listen, "[::]:", 5) == 0 || strncmp(s->conf->listen, "0.0.0.0:", 8) == 0;
	struct utsname u;
	char port[8] = "";

	if (s->conf->url) {
		(void) snprintf(out, bytes, "%s", s->conf->url);
		return;
	}
	if (s->port != 0 && s->port != 80)
		(void) snprintf(port, sizeof(port), ":%u", (unsigned) s->port);
	if (everywhere && uname(&u) == 0)
		(void) snprintf(out, bytes, "http://%s%s", u.nodename, port);
	else
		(void) snprintf(out, bytes, "http://%.*s%s", host_len, s->conf->listen, port);
}

static int cert_set(json_t *o, const char *key, const struct x509_facts *f)
{
	return f->sha256[0] ? json_object_set_new(o, key, ca_json_facts(f, 0)) : 0;
}

json_t *ca_json_status(const struct ca_control_status *s, int64_t pending, int64_t issued)
{
	char crl[CLK_RFC3339_BYTES], url[512];
	AUTO(json) json_t *o = NULL;

	url_text(s, url, sizeof(url));
	o = json_pack("{s:s, s:s, s:s, s:s, s:b, s:s, s:s*, s:I, s:I, s:s*, s:s*, s:s*, s:s*, s:s, s:s, s:o, s:s}", "name", s->conf->name, "status",
		      s->status, "issuer",
		      s->conf->issuer_name, "grant", ca_grant_words[s->conf->car.grant], "grant_renewals", (int) s->conf->car.grant_renewals,
		      "rollover_status", s->rollover_status, "crl_next_update", time_text(s->crl_next_update_sec, crl), "pending", (json_int_t) pending,
		      "issued", (json_int_t) issued, "protection", text_or_null(s->protection), "at_rest", text_or_null(s->at_rest), "kernel_release",
		      text_or_null(s->kernel_release), "better_protection", text_or_null(s->better_protection), "url", url, "clock",
		      s->clock_trusted ? "trusted" : "untrusted", "timers", timers_json(s), "version", PACKAGE_VERSION);
	if (!o || cert_set(o, "ca", &s->ca) < 0 || cert_set(o, "rollover", &s->rollover) < 0 || cert_set(o, "previous", &s->previous) < 0)
		return NULL;
	if (s->conf->cal.overlap_ms > 0 && json_object_set_new(o, "overlap_ms", json_integer(s->conf->cal.overlap_ms)) < 0)
		return NULL;
	return TAKE(o);
}

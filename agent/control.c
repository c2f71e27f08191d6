/* The control socket: see control.h. */
#include "config.h"

#include "agent/control.h"

#include <errno.h>
#include <string.h>
#include <sys/utsname.h>
#include <systemd/sd-daemon.h>

#include "agent/agent.h"
#include "agent/drive.h"
#include "agent/exchange.h"
#include "common/clk.h"
#include "common/fs.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/x509facts.h"
#include "scep/scep.h"

#define SOCKET_MODE 0666 /* who may ask what is decided by SO_PEERCRED */

static const char interface_text[] =
#include "agent/org.keyroll.agent.varlink.h"
	;

/* ---- finding ---- */

static struct trustpoint *find(struct agent *a, struct ctl_call *call, json_t *params)
{
	const char *name = NULL;
	struct trustpoint *tp;

	if (json_unpack(params, "{ss}", "name", &name) < 0) {
		ctl_error(call, "InvalidParameter", "Name a trustpoint.", "parameter 'name' is missing or is not text");
		return NULL;
	}
	tp = agent_find(a, name);
	if (!tp)
		ctl_error(call, "NoSuchTrustpoint", "See 'pkictl list'; files lie in /etc/keyroll/trustpoints.", "no trustpoint '%.64s'", name);
	return tp;
}

/* One that runs: not disabled by its file. */
static struct trustpoint *find_usable(struct agent *a, struct ctl_call *call, json_t *params)
{
	struct trustpoint *tp = find(a, call, params);

	if (!tp || tp->usable)
		return tp;
	ctl_error(call, "Failed", "Correct the file, then 'systemctl reload keyrolld'.", "%s", tp->config_error);
	return NULL;
}

/* ---- Status, Timers, Reload ---- */

/* Calls fn for the named trustpoint or for all. */
static bool each(struct agent *a, struct ctl_call *call, json_t *params, int (*fn)(const struct trustpoint *tp, json_t *list), json_t *list)
{
	json_t *name = json_object_get(params, "name");
	struct trustpoint *tp;
	size_t i;
	int r = 0;

	if (name && !json_is_null(name)) {
		tp = find(a, call, params);
		if (!tp)
			return false;
		r = fn(tp, list);
	} else {
		for (i = 0; r == 0 && i < a->n; i++)
			r = fn(a->tps[i], list);
	}
	if (r < 0)
		ctl_error(call, "Failed", "Try again.", "out of memory");
	return r == 0;
}

/* Of one trustpoint that is named: what the custodian says of its key now. A listing of all does without, it may be thousands. */
static void protection_add(struct agent *a, const struct trustpoint *tp, json_t *one)
{
	struct ks_key facts;
	struct utsname kernel;
	struct ks *ks = NULL;

	if (!one || !tp->conf.label || agent_ks(a, &ks, NULL) < 0 || ks_load(ks, tp->conf.label, KS_SLOT_ACTIVE, NULL, NULL, &facts, NULL) < 0)
		return; /* no key yet, or no custodian: what was noted last is shown */
	(void) json_object_set_new(one, "protection", json_string(ks_protection_name(facts.protection))); /* a listing without it is as good */
	(void) json_object_set_new(one, "at_rest", json_string(facts.at_rest));
	if (facts.advice[0])
		(void) json_object_set_new(one, "better_protection", json_string(facts.advice));
	if (uname(&kernel) == 0)
		(void) json_object_set_new(one, "kernel_release", json_string(kernel.release));
}

static int add_status(const struct trustpoint *tp, json_t *list)
{
	return json_array_append_new(list, status_trustpoint(tp)) < 0 ? -ENOMEM : 0;
}

static void on_status(void *userdata, struct ctl_call *call, json_t *params)
{
	struct agent *a = userdata;
	AUTO(json) json_t *list = json_array();
	const char *name = json_string_value(json_object_get(params, "name"));
	struct trustpoint *tp = name ? agent_find(a, name) : NULL;

	if (tp)
		level_ask_now(tp);
	if (!each(a, call, params, add_status, list))
		return;
	if (tp)
		protection_add(a, tp, json_array_get(list, 0));
	ctl_reply(call, json_pack("{sO ss ss}", "trustpoints", list, "clock", a->clock_trusted ? "trusted" : "untrusted", "version",
					  PACKAGE_VERSION));
}

static void on_timers(void *userdata, struct ctl_call *call, json_t *params)
{
	AUTO(json) json_t *list = json_array();

	if (each(userdata, call, params, status_timers, list))
		ctl_reply(call, json_pack("{sO}", "timers", list));
}

/* Out of memory: a line less. */
static void errors_add(json_t *errors, const struct trustpoint *tp)
{
	if (tp->config_error[0])
		(void) json_array_append_new(errors, json_string(tp->config_error)); /* names the file */
	if (tp->level.refused[0])
		(void) json_array_append_new(errors, json_sprintf("%s: %s", tp->name, tp->level.refused));
}

static void on_reload(void *userdata, struct ctl_call *call, json_t *params)
{
	struct agent *a = userdata;
	AUTO(json) json_t *errors = json_array();
	size_t i;

	(void) params;
	(void) agent_reload(a); /* each refusal is in the list below */
	for (i = 0; i < a->n; i++)
		errors_add(errors, a->tps[i]);
	ctl_reply(call, json_pack("{sI sO}", "trustpoints", (json_int_t) a->n, "errors", errors));
}

/* ---- FetchCA: to be looked at, not to be trusted ---- */

static json_t *ca_json(X509 *x, struct err *reterr)
{
	char nb[CLK_RFC3339_BYTES], na[CLK_RFC3339_BYTES];
	struct x509_facts f;

	if (x509_facts_get(x, &f, reterr) < 0)
		return NULL;
	return json_pack("{ss ss ss ss ss ss ss}", "serial", f.serial, "subject", f.subject, "issuer", f.issuer, "not_before",
			 clk_rfc3339(f.nb_sec, nb), "not_after", clk_rfc3339(f.na_sec, na), "sha256", f.sha256, "spki", f.spki_sha256);
}

static void on_shown_ca(struct trustpoint *tp, const struct exchange_result *x)
{
	const struct tp_now now = agent_now(tp->agent);
	struct ctl_call *call = TAKE(tp->show_call);
	struct scep_ca ca = { .ca = NULL };
	struct err e = x->err;
	json_t *j = NULL;
	int r = x->code;

	tp->show_exchange = 0;
	if (r == 0)
		r = scep_ca_open(x->body, x->len, NULL, now.wall.ms / 1000, &ca, &e);
	if (r == 0)
		j = ca_json(ca.ca, &e);
	scep_ca_clear(&ca);
	if (j)
		ctl_reply(call, json_pack("{so}", "ca", j));
	else
		ctl_error(call, "Failed", "Check EnrollmentURL= and that the CA answers.", "%s", err_text(&e, r));
}

static void on_fetch_ca(void *userdata, struct ctl_call *call, json_t *params)
{
	struct trustpoint *tp = find_usable(userdata, call, params);
	struct err e = { 0 };
	int r;

	if (!tp)
		return;
	if (tp->show_call) {
		ctl_error(call, "Busy", "Try again in a moment.", "%s: the CA certificate is being fetched already", tp->name);
		return;
	}
	r = exchange_start(tp, EXCHANGE_CA, NULL, 0, false, on_shown_ca, &tp->show_exchange, &e);
	if (r < 0)
		ctl_error(call, "Failed", "See the journal of keyrolld.", "%s", err_text(&e, r));
	else
		tp->show_call = call;
}

/* ---- Authenticate ---- */

void control_auth_ended(struct trustpoint *tp, enum tp_result result, const char *why)
{
	struct ctl_call *call = TAKE(tp->auth_call);

	if (!call)
		return;
	if (result == TP_RESULT_OK)
		ctl_reply(call, json_pack("{so?}", "ca", status_certificate(tp, &tp->rec.state.ca)));
	else if (result == TP_RESULT_REFUSED)
		ctl_error(call, "FingerprintMismatch", "Ask the CA's operator for the fingerprint; do not trust this CA.", "%s", why);
	else
		ctl_error(call, "Failed", "Check that the CA answers; the agent goes on trying.", "%s", why);
}

static void authenticate(struct trustpoint *tp, struct ctl_call *call, const char *pin)
{
	if (tp->conf.pin[0] && strcmp(tp->conf.pin, pin) != 0) {
		ctl_error(call, "FingerprintMismatch", "Correct CAFingerprint= or the argument.", "found %s, wanted %s as CAFingerprint= says", pin,
			  tp->conf.pin);
		return;
	}
	if (tp->auth_call || tp->rec.state.busy == TP_ACT_INSTALL || tp->rec.state.busy == TP_ACT_ACTIVATE) {
		ctl_error(call, "Busy", "Try again in a moment.", "%s: %s is in progress", tp->name, tp_act_name(tp->rec.state.busy));
		return;
	}
	(void) snprintf(tp->rec.operator_pin, sizeof(tp->rec.operator_pin), "%s", pin);
	tp->dirty = true;
	if (drive_command(tp, TP_COMMAND_AUTHENTICATE) < 0)
		ctl_error(call, "Busy", "Look at the disk; the agent goes on trying.", "%s: %s", tp->name, tp->last_error);
	else if (tp->work.act == TP_ACT_AUTHENTICATE)
		tp->auth_call = call; /* answered when it ends */
	else
		ctl_error(call, "Failed", "See 'pkictl show'.", "%s: %s", tp->name, tp->last_error[0] ? tp->last_error : "the request did not start");
}

static void on_authenticate(void *userdata, struct ctl_call *call, json_t *params)
{
	struct trustpoint *tp = find_usable(userdata, call, params);
	const char *text = NULL;
	char pin[X509F_SHA256_HEX], prefixed[256];
	struct err e = { 0 };

	if (!tp)
		return;
	if (json_unpack(params, "{ss}", "fingerprint", &text) < 0) {
		ctl_error(call, "InvalidParameter", "Give the CA's SHA-256 fingerprint.", "parameter 'fingerprint' is missing or is not text");
		return;
	}
	(void) snprintf(prefixed, sizeof(prefixed), "%s%.200s", strchr(text, ':') && strncmp(text, "sha256:", 7) == 0 ? "" : "sha256:", text);
	if (fingerprint_parse(prefixed, pin, &e) < 0)
		ctl_error(call, "InvalidParameter", "Give the CA's SHA-256 fingerprint.", "%s", err_text(&e, -EINVAL));
	else
		authenticate(tp, call, pin);
}

/* ---- Enroll, Renew ---- */

static bool may_enroll(struct trustpoint *tp, struct ctl_call *call)
{
	level_ask_now(tp);
	if (!tp->agent->clock_trusted)
		ctl_error(call, "ClockNotTrusted", "Wait for NTP, or set Clock=assume-valid in keyrolld.conf.", "the clock is not synchronised");
	else if (!tp->rec.state.ca.na_sec)
		ctl_error(call, "NotAuthenticated", "Run 'pkictl authenticate' first.", "%s: no CA is trusted yet", tp->name);
	else if (tp->rec.state.busy != TP_ACT_NONE)
		ctl_error(call, "Busy", "Try again in a moment.", "%s: %s is in progress", tp->name, tp_act_name(tp->rec.state.busy));
	else if (tp->level.refused[0])
		ctl_error(call, "Failed", "See 'pkictl show', or name another Protection= and reload.", "%s: %s", tp->name, tp->level.refused);
	else
		return true;
	return false;
}

static void command_run(struct trustpoint *tp, struct ctl_call *call, enum tp_command command)
{
	if (drive_command(tp, command) < 0)
		ctl_error(call, "Busy", "Look at the disk; the agent goes on trying.", "%s: %s", tp->name, tp->last_error);
	else
		ctl_reply(call, json_pack("{so}", "trustpoint", status_trustpoint(tp)));
}

static void on_enroll(void *userdata, struct ctl_call *call, json_t *params)
{
	struct trustpoint *tp = find_usable(userdata, call, params);
	json_t *challenge = json_object_get(params, "challenge");

	if (!tp || !may_enroll(tp, call))
		return;
	tp->challenge.secret = true;
	buf_clear(&tp->challenge);
	if (json_is_string(challenge)) {
		if (json_string_length(challenge) > LIMIT_CHALLENGE_BYTES) {
			ctl_error(call, "InvalidParameter", "Give a shorter challenge.", "challenge of more than %d bytes", LIMIT_CHALLENGE_BYTES);
			return;
		}
		if (buf_set(&tp->challenge, json_string_value(challenge), json_string_length(challenge)) < 0) {
			ctl_error(call, "Failed", "Try again.", "out of memory");
			return;
		}
	}
	command_run(tp, call, TP_COMMAND_ENROLL);
}

static void on_renew(void *userdata, struct ctl_call *call, json_t *params)
{
	struct trustpoint *tp = find_usable(userdata, call, params);

	if (!tp || !may_enroll(tp, call))
		return;
	if (!tp->rec.state.id.na_sec)
		ctl_error(call, "Failed", "Run 'pkictl enroll' instead.", "%s: there is no certificate to renew", tp->name);
	else
		command_run(tp, call, TP_COMMAND_RENEW);
}

/* ---- the server ---- */

static const struct ctl_method methods[] = {
	{ "org.keyroll.agent.Status", false, on_status },	  { "org.keyroll.agent.Timers", false, on_timers },
	{ "org.keyroll.agent.FetchCA", true, on_fetch_ca },	  { "org.keyroll.agent.Authenticate", true, on_authenticate },
	{ "org.keyroll.agent.Enroll", true, on_enroll },	  { "org.keyroll.agent.Renew", true, on_renew },
	{ "org.keyroll.agent.Reload", true, on_reload },	  { NULL, false, NULL },
};

/* Of systemd, or our own. */
static int listen_fd_get(struct err *reterr)
{
	AUTO(mem) char *path = fs_path("/run/keyroll/agent.sock");
	AUTO(mem) char *folder = fs_path("/run/keyroll");
	int r = sd_listen_fds(1);

	if (r > 1)
		return err_set(reterr, -EINVAL, "found %d activated sockets, wanted one", r);
	if (r == 1)
		return SD_LISTEN_FDS_START;
	if (!path || !folder)
		return -ENOMEM;
	r = fs_mkdir(folder, 0755, reterr);
	return r < 0 ? r : ctl_listen(path, SOCKET_MODE, reterr);
}

int control_open(struct agent *a, struct err *reterr)
{
	AUTO(fd) int fd = listen_fd_get(reterr);
	int r;

	if (fd < 0)
		return fd;
	r = ctl_server_new(a->event, fd, interface_text, methods, a, &a->ctl, reterr);
	if (r == 0)
		(void) TAKE_FD(fd); /* the server's now */
	return r;
}

void control_close(struct agent *a)
{
	ctl_server_free(a->ctl);
	a->ctl = NULL;
}

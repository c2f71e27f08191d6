/* The methods of org.keyroll.ca. */
#include "ca/ca_control_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "common/ctl.h"

static const char interface_text[] =
#include "ca/org.keyroll.ca.varlink.h"
	;

struct ca_control_wait {
	struct ca_control *control;
	struct ctl_call *call;
	bool cancel;
	LIST_ENTRY(ca_control_wait) link;
};

struct ca_control {
	struct ctl_server *server;
	struct db *db;
	const struct ca_control_ops *ops;
	void *userdata;
	LIST_HEAD(, ca_control_wait) waits;
};

static void status_get(struct ca_control *c, struct ca_control_status *ret)
{
	memset(ret, 0, sizeof(*ret));
	c->ops->status(c->userdata, ret);
}

static void failed(struct ctl_call *call, int code, const struct err *e)
{
	ctl_error(call, "Failed", "see the CA's journal: journalctl -u 'keyroll-ca@*'", "%s", err_text(e, code));
}

static void reply(struct ctl_call *call, json_t *parameters)
{
	if (parameters)
		ctl_reply(call, parameters);
	else
		failed(call, -ENOMEM, NULL);
}

/* ---- parameters: absent is the default, another type is an error that has been answered ---- */

static bool param_bool(struct ctl_call *call, json_t *params, const char *name, bool *ret)
{
	const json_t *v = json_object_get(params, name);

	*ret = json_is_true(v);
	if (!v || json_is_null(v) || json_is_boolean(v))
		return true;
	ctl_error(call, "InvalidParameter", "give true or false", "%s is not a boolean", name);
	return false;
}

static bool param_text(struct ctl_call *call, json_t *params, const char *name, const char *otherwise, const char **ret)
{
	const json_t *v = json_object_get(params, name);

	*ret = json_is_string(v) ? json_string_value(v) : otherwise;
	if (!v || json_is_null(v) || (json_is_string(v) && strlen(*ret) == json_string_length(v)))
		return true;
	ctl_error(call, "InvalidParameter", "give a text", "%s is not a text", name);
	return false;
}

static bool param_max(struct ctl_call *call, json_t *params, size_t *ret)
{
	const json_t *v = json_object_get(params, "max");
	json_int_t n = v && !json_is_null(v) ? json_integer_value(v) : 0;

	*ret = n > 0 ? (size_t) n : 0;
	if (!v || json_is_null(v) || (json_is_integer(v) && n > 0))
		return true;
	ctl_error(call, "InvalidParameter", "give a whole number above 0", "max is not a number above 0");
	return false;
}

/* ---- Status ---- */

static void method_status(void *userdata, struct ctl_call *call, json_t *params)
{
	struct ca_control *c = userdata;
	struct ca_control_status s;
	struct err e = { .code = 0 };
	int64_t pending, issued;
	int r = db_counts(c->db, &pending, &issued, &e);

	(void) params; /* has none */
	if (r < 0) {
		failed(call, r, &e);
		return;
	}
	status_get(c, &s);
	reply(call, ca_json_status(&s, pending, issued));
}

/* ---- Requests, List ---- */

struct rows {
	json_t *list;
	size_t bytes;
	bool more; /* what there is does not fit into one message */
	const char *rollover_spki;
};

/* 1 stops the walk. */
static int rows_add(struct rows *rows, json_t *one, size_t bytes)
{
	rows->bytes += bytes;
	if (rows->bytes > CA_CONTROL_LIST_BYTES) {
		json_decref(one);
		rows->more = true;
		return 1;
	}
	return json_array_append_new(rows->list, one) < 0 ? -ENOMEM : 0; /* refuses NULL too */
}

static int request_row(void *userdata, const struct db_request *r)
{
	struct rows *rows = userdata;
	size_t bytes = 320 + 2 * strlen(r->subject) + 2 * strlen(r->transaction_id) + strlen(r->why);

	return rows_add(rows, ca_json_request(r, rows->rollover_spki), bytes);
}

static int cert_row(void *userdata, const struct db_cert *c)
{
	struct rows *rows = userdata;

	return rows_add(rows, ca_json_cert(c), 480 + 2 * strlen(c->subject) + X509F_NAME_BYTES / 2);
}

/* Takes rows->list. walked: what the walk has returned. */
static void reply_rows(struct ctl_call *call, const char *name, struct rows *rows, int walked, const struct err *e)
{
	AUTO(json) json_t *list = TAKE(rows->list);

	if (walked < 0)
		failed(call, walked, e);
	else if (rows->more)
		reply(call, json_pack("{s:O, s:b}", name, list, "more", 1));
	else
		reply(call, json_pack("{s:O}", name, list));
}

static void method_requests(void *userdata, struct ctl_call *call, json_t *params)
{
	struct ca_control *c = userdata;
	struct ca_control_status s;
	struct err e = { .code = 0 };
	struct rows rows = { .rollover_spki = s.rollover.spki_sha256 };
	bool all;
	int r;

	if (!param_bool(call, params, "all", &all))
		return;
	status_get(c, &s);
	rows.list = json_array();
	r = rows.list ? db_requests_each(c->db, all, 0, request_row, &rows, &e) : -ENOMEM;
	reply_rows(call, "requests", &rows, r, &e);
}

static void method_list(void *userdata, struct ctl_call *call, json_t *params)
{
	struct ca_control *c = userdata;
	struct err e = { .code = 0 };
	struct rows rows = { .list = NULL };
	size_t max;
	int r;

	if (!param_max(call, params, &max))
		return;
	rows.list = json_array();
	r = rows.list ? db_certs_each(c->db, max, cert_row, &rows, &e) : -ENOMEM;
	reply_rows(call, "certificates", &rows, r, &e);
}

/* ---- Grant, Reject ---- */

struct ids {
	int64_t list[CA_CONTROL_IDS_MAX];
	size_t n;
	bool all; /* whatever is pending */
};

static int id_pending(void *userdata, const struct db_request *r)
{
	struct ids *ids = userdata;

	if (r->status == CAR_STATUS_PENDING)
		ids->list[ids->n++] = r->id;
	return ids->n == CA_CONTROL_IDS_MAX;
}

static bool ids_named(struct ctl_call *call, const json_t *named, struct ids *ret)
{
	size_t n = json_is_array(named) ? json_array_size(named) : 0;

	if (n == 0 || n > CA_CONTROL_IDS_MAX) {
		ctl_error(call, "InvalidParameter", "give the numbers that `pkictl ca requests` shows, or all", "wanted 1 to %d request numbers",
			  CA_CONTROL_IDS_MAX);
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		const json_t *v = json_array_get(named, i);

		if (!json_is_integer(v)) {
			ctl_error(call, "InvalidParameter", "give the numbers that `pkictl ca requests` shows", "a request's number is not a number");
			return false;
		}
		ret->list[ret->n++] = json_integer_value(v);
	}
	return true;
}

static bool ids_get(struct ca_control *c, struct ctl_call *call, json_t *params, struct ids *ret)
{
	struct err e = { .code = 0 };
	bool all;
	int r;

	if (!param_bool(call, params, "all", &all))
		return false;
	ret->all = all;
	if (!all)
		return ids_named(call, json_object_get(params, "ids"), ret);
	r = db_requests_each(c->db, false, 0, id_pending, ret, &e);
	if (r < 0)
		failed(call, r, &e);
	return r >= 0;
}

/* Some may have been done already: the operator is told where it stopped. */
static void decide_failed(struct ctl_call *call, int64_t id, size_t done, int code, const struct err *e)
{
	static const struct {
		int code;
		const char *error, *do_text;
	} rows[] = {
		{ -ENOENT, "NoSuchRequest", "pkictl ca requests --all" },
		{ -EINVAL, "NotPending", "pkictl ca requests --all" },
		{ -ETIME, "ClockNotTrusted", "wait for NTP, or set Clock=assume-valid in [CA]" },
		{ -ESTALE, "Failed", "pkictl ca reject, so that it leaves the list" },
		{ 0, "Failed", "see the CA's journal: journalctl -u 'keyroll-ca@*'" },
	};
	size_t i = 0;

	while (rows[i].code != 0 && rows[i].code != code)
		i++;
	ctl_error(call, rows[i].error, rows[i].do_text, "request %lld: %s (%zu before it were done)", (long long) id, err_text(e, code), done);
}

static int decide_one(struct ca_control *c, const struct ctl_call *call, int64_t id, const char *reason, struct err *reterr)
{
	char actor[32];

	(void) snprintf(actor, sizeof(actor), "uid %u", (unsigned) ctl_call_uid(call));
	return reason ? c->ops->reject(c->userdata, id, reason, actor, reterr) : c->ops->grant(c->userdata, id, actor, reterr);
}

/* reason NULL: grant */
static void decide(struct ca_control *c, struct ctl_call *call, json_t *params, const char *reason)
{
	struct ids ids = { .n = 0 };
	struct ca_control_status s;
	struct err e = { .code = 0 };
	struct rows rows = { .rollover_spki = s.rollover.spki_sha256 };
	AUTO(db_request) struct db_request row = { .id = 0 };
	int r = 0;

	if (!ids_get(c, call, params, &ids))
		return;
	status_get(c, &s);
	rows.list = json_array();
	for (size_t i = 0; rows.list && r == 0 && i < ids.n; i++) {
		r = decide_one(c, call, ids.list[i], reason, &e);
		if (r == -ESTALE && ids.all) { /* left over by the previous CA: it shall not stop the others */
			r = 0;
			continue;
		}
		if (r < 0) {
			decide_failed(call, ids.list[i], i, r, &e);
			json_decref(rows.list);
			return;
		}
		r = db_request_get(c->db, ids.list[i], &row, &e);
		if (r == 0 && !rows.more && request_row(&rows, &row) < 0)
			r = -ENOMEM;
	}
	reply_rows(call, "requests", &rows, rows.list ? r : -ENOMEM, &e);
}

static void method_grant(void *userdata, struct ctl_call *call, json_t *params)
{
	decide(userdata, call, params, NULL);
}

static void method_reject(void *userdata, struct ctl_call *call, json_t *params)
{
	const char *reason;

	if (param_text(call, params, "reason", "rejected by the operator", &reason))
		decide(userdata, call, params, reason);
}

/* ---- Rollover ---- */

static void rollover_failed(struct ctl_call *call, int code, const struct err *e)
{
	switch (code) {
	case -EEXIST:
		ctl_error(call, "RolloverExists", "pkictl ca status shows it; pkictl ca rollover --cancel deletes it", "%s", err_text(e, code));
		break;
	case -ENODATA:
		ctl_error(call, "NoRollover", "pkictl ca rollover makes one", "%s", err_text(e, code));
		break;
	case -ETIME:
		ctl_error(call, "ClockNotTrusted", "wait for NTP, or set Clock=assume-valid in [CA]", "%s", err_text(e, code));
		break;
	default:
		failed(call, code, e);
	}
}

static void wait_free(struct ca_control_wait *w)
{
	LIST_REMOVE(w, link);
	free(w);
}

void ca_control_rollover_done(struct ca_control_wait *w, int code, const struct err *error)
{
	struct ca_control_status s;

	if (code < 0) {
		rollover_failed(w->call, code, error);
	} else if (w->cancel) {
		reply(w->call, json_object());
	} else {
		status_get(w->control, &s);
		reply(w->call, json_pack("{s:o}", "rollover", ca_json_facts(&s.rollover, 0)));
	}
	wait_free(w);
}

static void method_rollover(void *userdata, struct ctl_call *call, json_t *params)
{
	struct ca_control *c = userdata;
	struct ca_control_wait *w;
	struct err e = { .code = 0 };
	char actor[32];
	bool cancel;
	int r;

	if (!param_bool(call, params, "cancel", &cancel))
		return;
	w = calloc(1, sizeof(*w));
	if (!w) {
		failed(call, -ENOMEM, NULL);
		return;
	}
	*w = (struct ca_control_wait){ .control = c, .call = call, .cancel = cancel };
	LIST_INSERT_HEAD(&c->waits, w, link);
	(void) snprintf(actor, sizeof(actor), "uid %u", (unsigned) ctl_call_uid(call));
	r = c->ops->rollover(c->userdata, cancel, actor, w, &e);
	if (r < 0) {
		rollover_failed(call, r, &e);
		wait_free(w);
	}
}

/* ---- Reload ---- */

static void method_reload(void *userdata, struct ctl_call *call, json_t *params)
{
	struct ca_control *c = userdata;
	struct err e = { .code = 0 };
	int r = c->ops->reload(c->userdata, &e);

	(void) params; /* has none */
	if (r < 0)
		ctl_error(call, "Failed", "pkictl verify; the CA goes on with the configuration that it has", "%s", err_text(&e, r));
	else
		reply(call, json_object());
}

static const struct ctl_method methods[] = {
	{ "org.keyroll.ca.Status", false, method_status },     { "org.keyroll.ca.Requests", false, method_requests },
	{ "org.keyroll.ca.List", false, method_list },	       { "org.keyroll.ca.Grant", true, method_grant },
	{ "org.keyroll.ca.Reject", true, method_reject },      { "org.keyroll.ca.Rollover", true, method_rollover },
	{ "org.keyroll.ca.Reload", true, method_reload },      { .name = NULL },
};

int ca_control_new(sd_event *event, int listen_fd, struct db *db, const struct ca_control_ops *ops, void *userdata, struct ca_control **ret,
		   struct err *reterr)
{
	AUTO(ca_control) struct ca_control *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_set(reterr, -ENOMEM, "control: out of memory");
	c->db = db;
	c->ops = ops;
	c->userdata = userdata;
	r = ctl_server_new(event, listen_fd, interface_text, methods, c, &c->server, reterr);
	if (r < 0)
		return r;
	*ret = TAKE(c);
	return 0;
}

void ca_control_free(struct ca_control *c)
{
	struct ca_control_wait *w;

	if (!c)
		return;
	while ((w = LIST_FIRST(&c->waits))) {
		ctl_error(w->call, "Failed", "ask again when the CA is up", "the CA is stopping");
		wait_free(w);
	}
	if (c->server)
		ctl_server_free(c->server);
	free(c);
}

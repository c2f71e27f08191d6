/* Calls: from message to method, and the answers. See ctl.h. */
#include "config.h"

#include "common/ctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/ctl_internal.h"
#include "common/limits.h"

#define SERVICE "org.varlink.service"
#define REPLY_LIMIT_DO "ask for less at once"

static const char service_text[] = "interface " SERVICE "\n"
				   "method GetInfo() -> (vendor: string, product: string, version: string, url: string, interfaces: []string)\n"
				   "method GetInterfaceDescription(interface: string) -> (description: string)\n"
				   "error InterfaceNotFound (interface: string)\n"
				   "error MethodNotFound (method: string)\n"
				   "error InvalidParameter (parameter: string)\n";

/* Ends the call; queues the answer if anybody waits for it. message is stolen. */
static void call_answer(struct ctl_call *call, json_t *message)
{
	struct ctl_client *client = call->client;
	AUTO(json) json_t *owned = message;
	bool oneway = call->oneway;
	int r = 0;

	free(call);
	if (!client)
		return;
	client->call = NULL;
	if (!oneway)
		r = owned ? ctl_json_build(owned, LIMIT_CTL_REPLY_BYTES, &client->out) : -ENOMEM;
	if (r == -EMSGSIZE) {
		AUTO(json) json_t *sorry = json_pack("{s:s, s:{s:s, s:s}}", "error", SERVICE ".ReplyTooLarge", "parameters", "message",
						     "the answer is too large", "do", REPLY_LIMIT_DO);
		r = sorry ? ctl_json_build(sorry, LIMIT_CTL_REPLY_BYTES, &client->out) : -ENOMEM;
	}
	if (r < 0)
		client->eof = true; /* no memory for an answer: the closed connection has to say it */
	ctl_client_rearm(client);
}

void ctl_reply(struct ctl_call *call, json_t *parameters)
{
	AUTO(json) json_t *owned = parameters ? parameters : json_object();

	call_answer(call, json_pack("{s:O}", "parameters", owned));
}

/* Text from elsewhere (files, peers) need not be UTF-8, which JSON demands. */
static void text_clean(char *text)
{
	for (; *text; text++)
		if (*text < 0x20 || *text > 0x7e)
			*text = '?';
}

void ctl_error(struct ctl_call *call, const char *error, const char *do_text, const char *fmt, ...)
{
	char name[200], message[512], todo[256];
	va_list ap;

	va_start(ap, fmt);
	(void) vsnprintf(message, sizeof(message), fmt, ap); /* cut is fine */
	va_end(ap);
	(void) snprintf(todo, sizeof(todo), "%s", do_text ? do_text : ""); /* cut is fine */
	if (strchr(error, '.'))
		(void) snprintf(name, sizeof(name), "%s", error);
	else
		(void) snprintf(name, sizeof(name), "%s.%s", call->interface, error);
	text_clean(message);
	text_clean(todo);
	call_answer(call, json_pack("{s:s, s:{s:s, s:s}}", "error", name, "parameters", "message", message, "do", todo));
}

uid_t ctl_call_uid(const struct ctl_call *call)
{
	return call->uid;
}

/* varlink's own errors carry the offending name. */
static void service_error(struct ctl_call *call, const char *error, const char *key, const char *value)
{
	char name[64];

	(void) snprintf(name, sizeof(name), SERVICE ".%s", error); /* fits */
	call_answer(call, json_pack("{s:s, s:{s:s, s:s++}}", "error", name, "parameters", key, value, "message", error, ": ", value));
}

static void get_info(const struct ctl_server *s, struct ctl_call *call)
{
	ctl_reply(call, json_pack("{s:s, s:s, s:s, s:s, s:[s, s]}", "vendor", PACKAGE_NAME, "product", PACKAGE_NAME, "version",
				  PACKAGE_VERSION, "url", PACKAGE_URL, "interfaces", SERVICE, s->interface_name));
}

static void get_description(const struct ctl_server *s, struct ctl_call *call, json_t *params)
{
	const char *name = json_string_value(json_object_get(params, "interface"));

	if (!name)
		service_error(call, "InvalidParameter", "parameter", "interface");
	else if (strcmp(name, s->interface_name) == 0)
		ctl_reply(call, json_pack("{s:s}", "description", s->interface_text));
	else if (strcmp(name, SERVICE) == 0)
		ctl_reply(call, json_pack("{s:s}", "description", service_text));
	else
		service_error(call, "InterfaceNotFound", "interface", name);
}

static void method_run(const struct ctl_server *s, const struct ctl_client *client, const struct ctl_method *m, struct ctl_call *call,
		       json_t *params)
{
	if (m->changes && !client->may_change)
		ctl_error(call, "PermissionDenied", "use sudo, or join group keyroll-admin", "user %u may not change anything here",
			  (unsigned) client->uid);
	else if (!client->may_read)
		ctl_error(call, "PermissionDenied", "use sudo, or join group keyroll", "user %u may not ask anything here",
			  (unsigned) client->uid);
	else
		m->run(s->userdata, call, params);
}

static void call_dispatch(struct ctl_client *client, const char *method, struct ctl_call *call, json_t *params)
{
	const struct ctl_server *s = client->server;
	const struct ctl_method *m;

	if (strcmp(method, SERVICE ".GetInfo") == 0) {
		get_info(s, call);
		return;
	}
	if (strcmp(method, SERVICE ".GetInterfaceDescription") == 0) {
		get_description(s, call, params);
		return;
	}
	for (m = s->methods; m->name; m++) {
		if (strcmp(m->name, method) == 0) {
			method_run(s, client, m, call, params);
			return;
		}
	}
	service_error(call, "MethodNotFound", "method", method);
}

static struct ctl_call *call_new(struct ctl_client *client, const char *method, bool oneway)
{
	struct ctl_call *call = calloc(1, sizeof(*call));
	const char *dot = strrchr(method, '.');

	if (!call)
		return NULL;
	(void) snprintf(call->interface, sizeof(call->interface), "%.*s", (int) (dot ? dot - method : 0), method); /* ours are short */
	call->client = client;
	call->uid = client->uid;
	call->oneway = oneway;
	client->call = call;
	return call;
}

/* "more" asks for several answers if the method has them; ours have one, which varlink allows. */
int ctl_call_take(struct ctl_client *client, const char *text, size_t len)
{
	AUTO(json) json_t *message = NULL;
	AUTO(json) json_t *params = NULL;
	struct ctl_call *call;
	const char *method;
	int r;

	r = ctl_json_parse(text, len, &message, NULL);
	if (r < 0)
		return r;
	method = json_string_value(json_object_get(message, "method"));
	params = json_incref(json_object_get(message, "parameters"));
	if (!params)
		params = json_object();
	if (!method || !json_is_object(params) || json_is_true(json_object_get(message, "upgrade")))
		return -EBADMSG;
	call = call_new(client, method, json_is_true(json_object_get(message, "oneway")));
	if (!call)
		return -ENOMEM;
	call_dispatch(client, method, call, params);
	return 0;
}

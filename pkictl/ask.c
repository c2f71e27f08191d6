/* Asking the daemons, and telling the operator why it failed and what to do. See cli.h. */
#include "pkictl/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "common/conf.h"
#include "common/ctl.h"
#include "common/fs.h"

static void printable(char *text)
{
	for (; *text; text++)
		if (*text < 0x20 || *text > 0x7e)
			*text = '?';
}

enum cli_exit cli_fail(const struct cli *c, enum cli_exit code, const char *do_text, const char *fmt, ...)
{
	char message[1024];
	va_list ap;

	va_start(ap, fmt);
	(void) vsnprintf(message, sizeof(message), fmt, ap); /* cut is fine */
	va_end(ap);
	printable(message);
	(void) fprintf(c->io->err, "pkictl: %s\nDo: %s\n", message, do_text); /* nobody to complain to */
	return code;
}

enum cli_exit cli_print_json(const struct cli *c, const json_t *object)
{
	size_t flags = JSON_ENSURE_ASCII | (c->json == CLI_JSON_PRETTY ? JSON_INDENT(2) : JSON_COMPACT);

	if (!object || json_dumpf(object, c->io->out, flags) < 0)
		return cli_fail(c, CLI_FAILED, "free some memory", "the answer cannot be printed as JSON");
	(void) fputc('\n', c->io->out); /* main checks out at the end */
	return CLI_OK;
}

void cli_print_more(const struct cli *c, const json_t *reply, const char *do_text)
{
	if (json_is_true(json_object_get(reply, "more")))
		(void) fprintf(c->io->out, "There are more: %s\n", do_text); /* main checks out at the end */
}

const char *cli_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static enum cli_exit code_of_error(const char *error)
{
	static const struct {
		const char *name;
		enum cli_exit code;
	} codes[] = {
		{ "ClockNotTrusted", CLI_CLOCK },      { "FingerprintMismatch", CLI_REFUSED }, { "PermissionDenied", CLI_REFUSED },
		{ "InvalidParameter", CLI_USAGE },
	};
	const char *last = strrchr(error, '.');
	size_t i;

	for (i = 0; last && i < sizeof(codes) / sizeof(codes[0]); i++)
		if (strcmp(last + 1, codes[i].name) == 0)
			return codes[i].code;
	return CLI_FAILED;
}

/* What to do about a daemon that does not answer; start: the command that starts it. */
static const char *do_about(int r, const char *start)
{
	if (r == -EACCES || r == -EPERM)
		return "use sudo, or join group keyroll";
	if (r == -ENOENT || r == -ECONNREFUSED)
		return start;
	return "look at its journal: journalctl -b -u 'keyroll*'";
}

static enum cli_exit ask(const struct cli *c, const char *path, const char *daemon, const char *start, const char *method, json_t *params,
			 int timeout_ms, json_t **ret)
{
	struct ctl_failure failure;
	struct err e = { 0 };
	int r;

	r = ctl_ask(path, method, params, timeout_ms, ret, &failure, &e);
	if (r == 0)
		return CLI_OK;
	if (r == -EREMOTEIO) {
		printable(failure.do_text);
		return cli_fail(c, code_of_error(failure.error), failure.do_text[0] ? failure.do_text : "look at the daemon's journal", "%s",
				e.text);
	}
	return cli_fail(c, r == -EBADMSG || r == -ENOMEM ? CLI_FAILED : CLI_UNREACHABLE, do_about(r, start), "%s: %s", daemon, err_text(&e, r));
}

enum cli_exit cli_ask_agent(const struct cli *c, const char *method, json_t *params, int timeout_ms, json_t **ret)
{
	AUTO(mem) char *path = fs_path("/run/keyroll/agent.sock");
	char full[96];

	if (!path) {
		json_decref(params);
		return cli_fail(c, CLI_FAILED, "free some memory", "out of memory");
	}
	(void) snprintf(full, sizeof(full), "org.keyroll.agent.%s", method); /* ours are short */
	return ask(c, path, "keyrolld", "systemctl start keyrolld", full, params, timeout_ms, ret);
}

enum cli_exit cli_ask_ca(const struct cli *c, const char *name, const char *method, json_t *params, int timeout_ms, json_t **ret)
{
	AUTO(mem) char *path = fs_path("/run/keyroll/ca/%s.sock", name);
	char full[96], start[128];

	if (!path) {
		json_decref(params);
		return cli_fail(c, CLI_FAILED, "free some memory", "out of memory");
	}
	(void) snprintf(full, sizeof(full), "org.keyroll.ca.%s", method);		   /* ours are short */
	(void) snprintf(start, sizeof(start), "systemctl start keyroll-ca@%s", name); /* names are short */
	return ask(c, path, "keyroll-cad", start, full, params, timeout_ms, ret);
}

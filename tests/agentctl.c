/* agentctl SOCKET METHOD [JSON]: one call on a control socket, for the end-to-end scripts. Prints the reply, or the error's name and message and exits 1. */
#include <stdio.h>

#include "common/ctl.h"

#define TIMEOUT_MS 90000

int main(int argc, char **argv)
{
	AUTO(json) json_t *reply = NULL;
	AUTO(mem) char *text = NULL;
	struct ctl_failure failure = { .error = "" };
	struct err e = { 0 };
	json_t *params = NULL;
	int r;

	if (argc < 3)
		return 2;
	if (argc > 3 && !(params = json_loads(argv[3], 0, NULL)))
		return 2;
	r = ctl_ask(argv[1], argv[2], params, TIMEOUT_MS, &reply, &failure, &e);
	if (r < 0) {
		(void) printf("%s: %s\n", failure.error[0] ? failure.error : "unreachable", failure.message[0] ? failure.message : err_text(&e, r));
		return 1;
	}
	text = json_dumps(reply, JSON_INDENT(1) | JSON_SORT_KEYS);
	(void) printf("%s\n", text ? text : "{}");
	return 0;
}

/* keyrolld: options, signals, the loop. */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "agent/agent.h"
#include "common/fs.h"
#include "common/log.h"

struct options {
	const char *root;
	bool verbose;
};

static void usage(FILE *to)
{
	(void) fprintf(to, "keyrolld [--root=DIR] [--verbose]\n\n"
			   "The Keyroll agent: keeps the certificates of /etc/keyroll/trustpoints/*.conf alive.\n\n"
			   "  --root=DIR   put DIR before /etc, /var/lib and /run\n"
			   "  --verbose    log every step\n"
			   "  --version    print the version\n"
			   "  --help       print this\n\n"
			   "See keyrolld(8).\n");
}

/* -1: go on; else the exit status. */
static int options_parse(int argc, char **argv, struct options *ret)
{
	static const struct option longs[] = { { "root", required_argument, NULL, 'r' },
					       { "verbose", no_argument, NULL, 'v' },
					       { "version", no_argument, NULL, 'V' },
					       { "help", no_argument, NULL, 'h' },
					       { NULL, 0, NULL, 0 } };
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) >= 0) {
		if (c == 'r') {
			ret->root = optarg;
		} else if (c == 'v') {
			ret->verbose = true;
		} else if (c == 'V') {
			(void) printf("keyrolld %s\n", PACKAGE_VERSION);
			return 0;
		} else if (c == 'h') {
			usage(stdout);
			return 0;
		} else {
			usage(stderr);
			return 2;
		}
	}
	if (optind < argc) {
		usage(stderr);
		return 2;
	}
	return -1;
}

static int on_term(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
	(void) si;
	(void) userdata;
	return sd_event_exit(sd_event_source_get_event(s), 0);
}

static int on_hup(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
	struct agent *a = userdata;
	unsigned refused;

	(void) s;
	(void) si;
	(void) sd_notify(0, "RELOADING=1"); /* nobody listens, or it is done */
	refused = agent_reload(a);
	(void) sd_notifyf(0, "READY=1\nSTATUS=%zu trustpoints%s", a->n, refused ? ", some files refused" : "");
	return 0;
}

static int signals_block(void)
{
	sigset_t set;

	if (sigemptyset(&set) < 0 || sigaddset(&set, SIGTERM) < 0 || sigaddset(&set, SIGINT) < 0 || sigaddset(&set, SIGHUP) < 0 ||
	    sigaddset(&set, SIGCHLD) < 0 || sigprocmask(SIG_BLOCK, &set, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return -errno;
	return 0;
}

static int signals_watch(struct agent *a)
{
	int r = sd_event_add_signal(a->event, NULL, SIGTERM, on_term, a);

	if (r >= 0)
		r = sd_event_add_signal(a->event, NULL, SIGINT, on_term, a);
	if (r >= 0)
		r = sd_event_add_signal(a->event, NULL, SIGHUP, on_hup, a);
	if (r >= 0)
		r = sd_event_set_watchdog(a->event, true); /* only does something when systemd asked for it */
	return r;
}

/* A challenge comes as JSON, and lies in the state as part of the CSR: what jansson lets go is wiped. */
static void json_wipe(void *p)
{
	if (p)
		OPENSSL_cleanse(p, malloc_usable_size(p));
	free(p);
}

static int run(void)
{
	struct agent *a = NULL;
	struct err e = { 0 };
	int r = signals_block();

	if (r == 0)
		r = agent_new(&a, &e);
	if (r < 0)
		return log_err(r, &e, "start");
	r = signals_watch(a);
	if (r >= 0) {
		(void) agent_reload(a); /* refusals are logged, and shown by Status */
		log_event(LOG_EV_STARTED, NULL, "keyrolld %s with %zu trustpoints, clock %s", PACKAGE_VERSION, a->n,
			  a->clock_trusted ? "trusted" : "untrusted");
		(void) sd_notifyf(0, "READY=1\nSTATUS=%zu trustpoints", a->n); /* nobody listens without systemd */
		r = sd_event_loop(a->event);
	}
	(void) sd_notify(0, "STOPPING=1"); /* as above */
	agent_free(a);
	return r < 0 ? log_err(r, NULL, "event loop") : 0;
}

int main(int argc, char **argv)
{
	struct options o = { .root = NULL };
	struct err e = { 0 };
	int r = options_parse(argc, argv, &o);

	if (r >= 0)
		return r;
	json_set_alloc_funcs(malloc, json_wipe);
	log_open("keyrolld", o.verbose ? LOG_DEBUG : LOG_INFO);
	r = fs_set_root(o.root, &e);
	if (r < 0) {
		(void) log_err(r, &e, "start");
		return 1;
	}
	return run() < 0;
}

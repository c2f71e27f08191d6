/* keyroll-keyd: the custodian of a router's keys. Configuration and arguments; the rest is custody_server. */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/conf.h"
#include "common/fs.h"
#include "common/log.h"
#include "keystore/custody_server.h"
#include "keystore/secrecy.h"

enum seal_word { SEAL_AUTO, SEAL_NONE, SEAL_N_ };
static const char *const seal_words[] = { "auto", "none", NULL };

struct keyd_conf {
	int protection; /* enum ks_protection */
	int seal;	/* enum seal_word */
	bool keep_parsed;
	int64_t workers;
	char **makers;
	char *token_provider, *token_pin_file;
};

static const struct conf_range workers_range = { 0, 8 };

static const struct conf_key keyd_keys[] = {
	{ "Keyd", "Protection", conf_parse_word, ks_protection_words, offsetof(struct keyd_conf, protection) },
	{ "Keyd", "Seal", conf_parse_word, seal_words, offsetof(struct keyd_conf, seal) },
	{ "Keyd", "KeepParsed", conf_parse_bool, NULL, offsetof(struct keyd_conf, keep_parsed) },
	{ "Keyd", "Workers", conf_parse_int, &workers_range, offsetof(struct keyd_conf, workers) },
	{ "Keyd", "Makers", conf_parse_list, NULL, offsetof(struct keyd_conf, makers) },
	{ "Token", "Provider", conf_parse_text, NULL, offsetof(struct keyd_conf, token_provider) },
	{ "Token", "PINFile", conf_parse_path, NULL, offsetof(struct keyd_conf, token_pin_file) },
	{ NULL, NULL, NULL, NULL, 0 },
};

static void keyd_conf_clear(struct keyd_conf *c)
{
	conf_list_free(c->makers);
	free(c->token_provider);
	free(c->token_pin_file);
}

static int keyd_conf_load(struct keyd_conf *ret, struct err *reterr)
{
	AUTO(mem) char *path = fs_path("/etc/keyroll/keyd.conf");
	int r = path ? conf_load(path, keyd_keys, ret, reterr) : -ENOMEM;

	return r == -ENOENT ? 0 : r; /* the file may be missing */
}

struct keyd_args {
	const char *root, *socket;
	bool verbose;
};

static int usage(FILE *to)
{
	(void) fputs("usage: keyroll-keyd [--root=DIR] [--socket=PATH] [--verbose]\n"
		     "The custodian of Keyroll's keys: keyroll-keyd(8).\n", to); /* a terminal that is gone */
	return to == stderr ? 2 : 0;
}

/* -1: go on; else the exit status. */
static int args_parse(int argc, char **argv, struct keyd_args *ret)
{
	static const struct option options[] = {
		{ "root", required_argument, NULL, 'r' },    { "socket", required_argument, NULL, 's' }, { "verbose", no_argument, NULL, 'v' },
		{ "version", no_argument, NULL, 'V' }, { "help", no_argument, NULL, 'h' },	   { NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'r')
			ret->root = optarg;
		else if (c == 's')
			ret->socket = optarg;
		else if (c == 'v')
			ret->verbose = true;
		else if (c == 'V')
			return printf("keyroll-keyd %s\n", PACKAGE_VERSION) < 0;
		else
			return usage(c == 'h' ? stdout : stderr);
	}
	return optind < argc ? usage(stderr) : -1;
}

static int run(const struct keyd_args *a, const struct keyd_conf *conf, struct err *reterr)
{
	static const char *const default_makers[] = { "keyroll", NULL };
	AUTO(mem) char *state = fs_path("/var/lib/keyroll/keyd");
	AUTO(mem) char *pin_file = conf->token_pin_file ? fs_path("%s", conf->token_pin_file) : NULL;
	AUTO(mem) char *run_dir = fs_path("/run/keyroll");
	AUTO(mem) char *socket = a->socket ? strdup(a->socket) : fs_path("/run/keyroll/keyd.sock");
	struct custody_options o = {
		.program = "keyroll-keyd", .state_dir = state, .socket_path = socket, .socket_mode = 0666, /* who may do what is judged by user */
		.protection = (enum ks_protection) conf->protection, .seal = conf->seal != SEAL_NONE, .keep_parsed = conf->keep_parsed,
		.workers = (int) conf->workers, .makers = conf->makers ? (const char *const *) conf->makers : default_makers,
		.token_provider = conf->token_provider, .token_pin_file = pin_file, .allow_sign_digest = true, .allow_decrypt = true,
	};
	int r = 0;

	if (!state || !run_dir || !socket || (conf->token_pin_file && !pin_file))
		return -ENOMEM;
	if (!a->socket)
		r = fs_mkdir(run_dir, 0755, reterr);
	return r < 0 ? r : custody_server_run(&o, reterr);
}

int main(int argc, char **argv)
{
	struct keyd_conf conf = { .protection = KS_PROTECTION_AUTO };
	struct keyd_args args = { .root = NULL };
	struct err e = { .code = 0 };
	int r = args_parse(argc, argv, &args);

	if (r >= 0)
		return r;
	log_open("keyroll-keyd", args.verbose ? LOG_DEBUG : LOG_INFO);
	r = secrecy_heap(&e);
	if (r == 0)
		r = fs_set_root(args.root, &e);
	if (r == 0)
		r = keyd_conf_load(&conf, &e);
	if (r < 0) {
		log_event(LOG_EV_CONFIG_REFUSED, NULL, "%s", err_text(&e, r));
	} else {
		r = run(&args, &conf, &e);
		if (r < 0)
			(void) log_err(r, &e, "stopped"); /* the code again */
	}
	keyd_conf_clear(&conf);
	return r < 0;
}

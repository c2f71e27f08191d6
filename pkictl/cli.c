/* Command lines: options, verbs, help. See cli.h. */
#include "config.h"

#include "pkictl/cli.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>

#include "common/conf.h"
#include "common/fs.h"

enum { TAKES_FINGERPRINT = 1, TAKES_CHALLENGE = 2, TAKES_ALL = 4, TAKES_CANCEL = 8, TAKES_YES = 16, TAKES_REASON = 32, TAKES_MAX = 64, TAKES_CA = 128 };

#define MANY 1000

static const struct verb {
	const char *group, *name;
	int args_min, args_max;
	unsigned takes;
	cli_verb_fn run;
	const char *usage, *help;
} verbs[] = {
	{ "", "status", 0, MANY, 0, verb_status, "[NAME...]", "how each trustpoint is, and what it does next; the exit code tells the worst" },
	{ "", "list", 0, MANY, 0, verb_list, "[NAME...]", "the certificates: CA, own, next CA, shadow" },
	{ "", "show", 1, MANY, 0, verb_show, "NAME...", "all that is known of a trustpoint" },
	{ "", "timers", 0, MANY, 0, verb_timers, "[NAME...]", "what will happen when, why, and what follows if it is missed" },
	{ "", "authenticate", 1, 1, TAKES_FINGERPRINT, verb_authenticate, "NAME [--fingerprint=sha256:HEX]",
	  "fetch the CA certificate, compare its fingerprint, trust it" },
	{ "", "enroll", 1, 1, TAKES_CHALLENGE, verb_enroll, "NAME [--challenge-file=FILE]", "ask the CA for a certificate" },
	{ "", "renew", 1, MANY, 0, verb_renew, "NAME...", "renew now, before the timer" },
	{ "", "reload", 0, 0, 0, verb_reload, "", "read the trustpoints' files again; tells what is wrong with them" },
	{ "ca", "init", 1, 1, 0, verb_ca_init, "NAME", "make a CA's key and certificate; prints its fingerprint" },
	{ "ca", "status", 0, 0, TAKES_CA, verb_ca_status, "", "the CA, its rollover and its timers" },
	{ "ca", "requests", 0, 0, TAKES_CA | TAKES_ALL, verb_ca_requests, "[--all]", "pending requests, or all that are stored" },
	{ "ca", "grant", 0, MANY, TAKES_CA | TAKES_ALL, verb_ca_grant, "ID...|--all", "grant pending requests" },
	{ "ca", "reject", 0, MANY, TAKES_CA | TAKES_ALL | TAKES_REASON, verb_ca_reject, "ID...|--all [--reason=TEXT]", "reject pending requests" },
	{ "ca", "list", 0, 0, TAKES_CA | TAKES_MAX, verb_ca_list, "[--max=N]", "issued certificates" },
	{ "ca", "rollover", 0, 0, TAKES_CA | TAKES_CANCEL | TAKES_YES, verb_ca_rollover, "[--cancel --yes=NAME]",
	  "make the next CA certificate now, or delete it" },
};

enum { OPT_JSON = 256, OPT_ROOT, OPT_NO_LEGEND, OPT_NO_PAGER, OPT_CA, OPT_FINGERPRINT, OPT_CHALLENGE, OPT_ALL, OPT_CANCEL, OPT_YES, OPT_REASON, OPT_MAX };

static const struct option options[] = {
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ "json", optional_argument, NULL, OPT_JSON },
	{ "root", required_argument, NULL, OPT_ROOT },
	{ "no-legend", no_argument, NULL, OPT_NO_LEGEND },
	{ "no-pager", no_argument, NULL, OPT_NO_PAGER },
	{ "ca", required_argument, NULL, OPT_CA },
	{ "fingerprint", required_argument, NULL, OPT_FINGERPRINT },
	{ "challenge-file", required_argument, NULL, OPT_CHALLENGE },
	{ "all", no_argument, NULL, OPT_ALL },
	{ "cancel", no_argument, NULL, OPT_CANCEL },
	{ "yes", required_argument, NULL, OPT_YES },
	{ "reason", required_argument, NULL, OPT_REASON },
	{ "max", required_argument, NULL, OPT_MAX },
	{ NULL, 0, NULL, 0 },
};

struct line {
	struct cli c;
	unsigned given; /* TAKES_* */
	bool help, version;
};

static enum cli_exit help_print(const struct cli *c)
{
	FILE *out = c->io->out;
	size_t i;

	/* main checks */
	(void) fprintf(out, "pkictl [OPTIONS] [VERB] [NAME...]\n\nAsks and commands keyrolld on this router, and keyroll-cad on a CA host.\n\n");
	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		const struct verb *v = &verbs[i];

		(void) fprintf(out, "  %s%s%s%s%s\n        %s\n", v->group, v->group[0] ? " " : "", v->name, v->usage[0] ? " " : "", v->usage,
			       v->help); /* main checks */
	}
	(void) fprintf(out, "\n  --ca=NAME          the CA that a ca verb means; default: the only one\n"
			    "  --json[=short|pretty]\n  --no-legend        no headings\n  --no-pager         accepted; there is none\n"
			    "  --root=DIR         use DIR/etc, DIR/var, DIR/run\n  --help  --version\n\n"
			    "NAME may be a glob. Exit codes: 0 fine, 1 failed, 2 usage, 3 warning, 4 critical, 5 pending, 6 expired,\n"
			    "7 clock not trusted, 8 daemon not reachable, 9 plan has conflicts, 10 refused by policy.\n"); /* main checks */
	return CLI_OK;
}

static enum cli_exit json_option(struct cli *c, const char *word)
{
	if (!word || strcmp(word, "short") == 0)
		c->json = CLI_JSON_SHORT;
	else if (strcmp(word, "pretty") == 0)
		c->json = CLI_JSON_PRETTY;
	else
		return cli_fail(c, CLI_USAGE, "write --json=short or --json=pretty", "--json=%s is not known", word);
	return CLI_OK;
}

static enum cli_exit max_option(struct cli *c, const char *word)
{
	static const struct conf_range range = { 1, 1000000 };
	struct err e = { 0 };

	if (conf_parse_int(word, &range, &c->max, &e) < 0)
		return cli_fail(c, CLI_USAGE, "write --max=100", "--max=%s: %s", word, e.text);
	return CLI_OK;
}

static enum cli_exit root_option(const struct cli *c, const char *word)
{
	struct err e = { 0 };

	if (fs_set_root(word, &e) < 0)
		return cli_fail(c, CLI_USAGE, "name an existing folder", "%s", e.text);
	return CLI_OK;
}

static void text_option(struct line *l, unsigned bit, const char **field, const char *word)
{
	l->given |= bit;
	*field = word;
}

static void flag_option(struct line *l, unsigned bit, bool *field)
{
	l->given |= bit;
	*field = true;
}

/* Options that only store. */
static bool option_store(struct line *l, int option, const char *word)
{
	if (option == OPT_CA)
		text_option(l, TAKES_CA, &l->c.ca, word);
	else if (option == OPT_FINGERPRINT)
		text_option(l, TAKES_FINGERPRINT, &l->c.fingerprint, word);
	else if (option == OPT_CHALLENGE)
		text_option(l, TAKES_CHALLENGE, &l->c.challenge_file, word);
	else if (option == OPT_YES)
		text_option(l, TAKES_YES, &l->c.yes, word);
	else if (option == OPT_REASON)
		text_option(l, TAKES_REASON, &l->c.reason, word);
	else if (option == OPT_ALL)
		flag_option(l, TAKES_ALL, &l->c.all);
	else if (option == OPT_CANCEL)
		flag_option(l, TAKES_CANCEL, &l->c.cancel);
	else if (option == OPT_NO_LEGEND)
		l->c.legend = false;
	else if (option == 'h')
		l->help = true;
	else if (option == 'V')
		l->version = true;
	else
		return option == OPT_NO_PAGER;
	return true;
}

static enum cli_exit option_take(struct line *l, int option, const char *word, const char *typed)
{
	if (option == OPT_JSON)
		return json_option(&l->c, word);
	if (option == OPT_ROOT)
		return root_option(&l->c, word);
	if (option == OPT_MAX) {
		l->given |= TAKES_MAX;
		return max_option(&l->c, word);
	}
	if (option_store(l, option, word))
		return CLI_OK;
	return cli_fail(&l->c, CLI_USAGE, "pkictl --help", option == ':' ? "%s needs a value" : "option %s is not known", typed);
}

static enum cli_exit options_parse(struct line *l, int argc, char **argv)
{
	enum cli_exit r = CLI_OK;
	int option;

	optind = 0; /* GNU: begin anew, also when called twice as tests do */
	opterr = 0; /* our own words, with their Do: */
	while (r == CLI_OK && (option = getopt_long(argc, argv, ":hV", options, NULL)) != -1)
		r = option_take(l, option, optarg, optind > 0 ? argv[optind - 1] : "");
	l->c.args = argv + optind;
	l->c.n_args = argc - optind;
	return r;
}

static const struct verb *verb_find(struct cli *c)
{
	const char *group = "", *name = "status";
	size_t i;

	if (c->n_args > 0 && strcmp(c->args[0], "ca") == 0) {
		group = "ca";
		c->args++;
		c->n_args--;
	}
	if (c->n_args > 0)
		name = c->args[0];
	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(verbs[i].group, group) == 0 && strcmp(verbs[i].name, name) == 0) {
			c->args += c->n_args > 0;
			c->n_args -= c->n_args > 0;
			return &verbs[i];
		}
	}
	(void) cli_fail(c, CLI_USAGE, "pkictl --help", "%s%s is no verb", group[0] ? "ca " : "", name); /* the caller returns it */
	return NULL;
}

static enum cli_exit verb_run(struct line *l)
{
	struct cli *c = &l->c;
	const struct verb *v = verb_find(c);

	if (!v)
		return CLI_USAGE;
	if (c->n_args < v->args_min || c->n_args > v->args_max || (l->given & ~v->takes))
		return cli_fail(c, CLI_USAGE, "pkictl --help", "usage: pkictl %s%s%s%s%s", v->group, v->group[0] ? " " : "", v->name,
				v->usage[0] ? " " : "", v->usage);
	return v->run(c);
}

enum cli_exit cli_run(const struct cli_io *io, int argc, char **argv)
{
	struct line l = { .c = { .io = io, .legend = true } };
	enum cli_exit r;

	r = options_parse(&l, argc, argv);
	if (r != CLI_OK)
		return r;
	if (l.help)
		return help_print(&l.c);
	if (l.version) {
		(void) fprintf(io->out, "%s\n", PACKAGE_STRING); /* main checks */
		return CLI_OK;
	}
	return verb_run(&l);
}

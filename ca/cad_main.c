/* keyroll-cad: the CA's front. */
#include "config.h"

#include <getopt.h>
#include <stdio.h>

#include "ca/cad.h"
#include "ca/own_user.h"
#include "common/conf.h"
#include "common/fs.h"
#include "common/log.h"

struct arguments {
	struct cad_options cad;
	const char *root;
	bool init;
};

static int usage(int status)
{
	(void) fprintf(status ? stderr : stdout,
		       "Usage: keyroll-cad [--root=DIR] [--verbose] NAME\n"
		       "       keyroll-cad [--root=DIR] [--verbose] --init NAME\n"
		       "Serves the CA of /etc/keyroll/ca/NAME.conf, or makes its key and certificate. See keyroll-cad(8).\n");
	return status;
}

/* 0: go on; positive: exit with one less */
static int arguments_read(int argc, char **argv, struct arguments *a)
{
	static const struct option longs[] = {
		{ "root", required_argument, NULL, 'r' }, { "verbose", no_argument, NULL, 'v' }, { "init", no_argument, NULL, 'i' },
		{ "help", no_argument, NULL, 'h' },       { "version", no_argument, NULL, 'V' }, { NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "vh", longs, NULL)) != -1)
		switch (c) {
		case 'r':
			a->root = optarg;
			break;
		case 'v':
			a->cad.verbose = true;
			break;
		case 'i':
			a->init = true;
			break;
		case 'h':
			return 1 + usage(0);
		case 'V':
			(void) puts("keyroll-cad " PACKAGE_VERSION);
			return 1;
		default:
			return 1 + usage(2);
		}
	if (argc - optind != 1 || !conf_name_ok(argv[optind]))
		return 1 + usage(2);
	a->cad.name = argv[optind];
	return 0;
}

int main(int argc, char **argv)
{
	struct arguments a = { .init = false };
	struct err why = { 0 };
	int r;

	r = arguments_read(argc, argv, &a);
	if (r > 0)
		return r - 1;
	log_open("keyroll-cad", a.cad.verbose ? LOG_DEBUG : LOG_INFO);
	r = fs_set_root(a.root, &why);
	if (r == 0 && a.init)
		r = own_user_become(&why);
	if (r == 0)
		r = a.init ? init_run(&a.cad, &why) : cad_run(&a.cad, &why);
	if (r < 0) {
		(void) log_err(r, &why, "CA %s", a.cad.name);
		return 1;
	}
	return 0;
}

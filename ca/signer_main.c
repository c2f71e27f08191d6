/* keyroll-signer: the CA's keys behind a floor. The custody server of keyroll-keyd, which signs no bare digest and only what the floor has read. */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "ca/ca_conf.h"
#include "ca/x509sig.h"
#include "ca/signer_floor.h"
#include "common/conf.h"
#include "common/fs.h"
#include "common/log.h"
#include "keystore/custody_server.h"
#include "keystore/secrecy.h"

struct options {
	const char *name, *root;
	bool verbose;
};

static int usage(int status)
{
	(void) fprintf(status ? stderr : stdout, "Usage: keyroll-signer [--root=DIR] [--verbose] NAME\n"
						 "Keeps the keys of the CA of /etc/keyroll/ca/NAME.conf. See keyroll-signer(8).\n");
	return status;
}

/* 0: go on; positive: exit with one less */
static int options_read(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "root", required_argument, NULL, 'r' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "vh", longs, NULL)) != -1)
		switch (c) {
		case 'r':
			o->root = optarg;
			break;
		case 'v':
			o->verbose = true;
			break;
		case 'h':
			return 1 + usage(0);
		case 'V':
			(void) puts("keyroll-signer " PACKAGE_VERSION);
			return 1;
		default:
			return 1 + usage(2);
		}
	if (argc - optind != 1 || !conf_name_ok(argv[optind]))
		return 1 + usage(2);
	o->name = argv[optind];
	return 0;
}

static int refuse(const struct custody_ask *ask, int code, const char *why, struct err *reterr)
{
	log_event(LOG_EV_KEY_REFUSED, &(struct log_fields){ .ca = ask->label }, "uid %u asked for a signature by key %.16s: %s",
		  (unsigned) ask->uid, ask->spki, why);
	return err_set(reterr, code, "%s", why);
}

struct judge {
	const char *name;
	struct floor *floor;
};

/* The front takes a new CACertificateLifetime= over by a reload, of which nobody tells us: before its own certificate is refused, the file is read again. */
static int judge_own(struct judge *j, const struct floor_ask *in, enum floor_form *ret_form, struct err *reterr)
{
	AUTO(ca_conf) struct ca_conf *conf = NULL;

	if (ca_conf_load(j->name, &conf, NULL) < 0)
		return err_set(reterr, -EPERM, "its own certificate is refused, and the configuration cannot be read again");
	floor_set_lifetime(j->floor, conf->cal.ca_lifetime_ms);
	return floor_check(j->floor, in, ret_form, reterr);
}

static int sign_check(void *userdata, const struct custody_ask *ask, struct err *reterr)
{
	struct judge *j = userdata;
	struct floor_ask in = {
		.spki = ask->spki, .spki_der = ask->spki_der, .spki_der_len = ask->spki_der_len, .bytes = ask->bytes, .len = ask->len
	};
	enum floor_form form = FLOOR_FORM_N_;
	struct err why = { 0 };
	int r;

	if (ask->padding != CUSTODY_PADDING_PKCS1)
		return refuse(ask, -EPERM, "only PKCS#1 v1.5, whose signatures can be made again", reterr);
	if (x509sig_digest_from_name(ask->digest, &in.digest) < 0)
		return refuse(ask, -EPERM, "a digest below the floor", reterr);
	r = floor_check(j->floor, &in, &form, &why);
	if (r == -EPERM && form == FLOOR_FORM_OWN_CA)
		r = judge_own(j, &in, &form, &why);
	if (r < 0)
		return refuse(ask, r, err_text(&why, r), reterr);
	log_line(LOG_DEBUG, "signs %s of %zu bytes", floor_form_name(form), ask->len);
	return 0;
}

static int serve(const struct options *o, struct err *reterr)
{
	AUTO(ca_conf) struct ca_conf *conf = NULL;
	AUTO(floor) struct floor *floor = NULL;
	AUTO(mem) char *state = fs_path("/var/lib/keyroll/signer/%s", o->name);
	AUTO(mem) char *records = fs_path("/var/lib/keyroll/signer/%s/floor", o->name);
	AUTO(mem) char *socket = fs_path("/run/keyroll/signer/%s.sock", o->name);
	AUTO(mem) char *pin_file = NULL;
	static const char *const makers[] = { "keyroll-ca", NULL };
	struct custody_options custody = { .program = "keyroll-signer",
					   .socket_mode = 0660,
					   .seal = true,
					   .keep_parsed = true,
					   .makers = makers,
					   .allow_decrypt = true,
					   .decrypt_pkcs1_only = true,
					   .check_sign = sign_check };
	struct judge judge = { .name = o->name };
	int r;

	if (!state || !records || !socket)
		return err_set(reterr, -ENOMEM, "start");
	if ((r = ca_conf_load(o->name, &conf, reterr)) < 0 || (r = fs_mkdir(state, 0700, reterr)) < 0 ||
	    (r = floor_new(conf->issuer_name, conf->cal.ca_lifetime_ms, records, &floor, reterr)) < 0)
		return r;
	if (conf->token_pin_file && !(pin_file = fs_path("%s", conf->token_pin_file)))
		return err_set(reterr, -ENOMEM, "start");
	custody.state_dir = state;
	custody.socket_path = socket;
	custody.protection = conf->protection;
	custody.token_provider = conf->token_provider;
	custody.token_pin_file = pin_file;
	judge.floor = floor;
	custody.userdata = &judge;
	return custody_server_run(&custody, reterr);
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	struct err why = { 0 };
	int r;

	r = options_read(argc, argv, &o);
	if (r > 0)
		return r - 1;
	log_open("keyroll-signer", o.verbose ? LOG_DEBUG : LOG_INFO);
	r = secrecy_heap(&why);
	if (r == 0)
		r = fs_set_root(o.root, &why);
	if (r == 0)
		r = serve(&o, &why);
	if (r < 0) {
		(void) log_err(r, &why, "keyroll-signer %s", o.name);
		return 1;
	}
	return 0;
}

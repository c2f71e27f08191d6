/* /etc/keyroll/ca/NAME.conf: which keys there are, and what they mean together. */
#include "ca/ca_conf.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/conf.h"
#include "common/fs.h"
#include "common/x509facts.h"

#define SEC_MS INT64_C(1000)
#define MIN_MS (60 * SEC_MS)
#define HOUR_MS (60 * MIN_MS)
#define DAY_MS (24 * HOUR_MS)

const char *const ca_grant_words[] = { "manual", "auto", "none", NULL };
const char *const ca_profile_words[] = { "default", "3des", "legacy", NULL };
const char *const ca_clock_words[] = { "auto", "assume-valid", NULL };
static const char *const hash_words[] = { "sha256", "sha384", "sha512", NULL };
static const char *const rollover_start_words[] = { "at-expiry", "now", NULL };

#define WORDS_ARE(words, n) _Static_assert(sizeof(words) / sizeof((words)[0]) == (n) + 1, #words " has a word for each value")
WORDS_ARE(ca_grant_words, CAR_GRANT_N_);
WORDS_ARE(ca_profile_words, CA_PROFILE_N_);
WORDS_ARE(ca_clock_words, CLK_POLICY_N_);
_Static_assert(SCEP_DIGEST_SHA256 == 0 && SCEP_DIGEST_SHA384 == 1 && SCEP_DIGEST_SHA512 == 2, "hash_words are the first of enum scep_digest");

/* Words are parsed into ints; finish() makes them enums. */
struct raw {
	struct ca_conf *c;
	struct ca_conf v; /* moved into *c at the end */
	int grant, hash, protection, clock, profile, rollover_start;
	char *db_url;
};

/* ---- values of our own ---- */

/* Knows one word of several: the others are named in the design and not built yet. */
struct only {
	const char *built, *others[3];
};
static int parse_only(const char *value, const void *arg, void *field, struct err *reterr)
{
	const struct only *o = arg;

	(void) field;
	if (strcmp(value, o->built) == 0)
		return 0;
	for (size_t i = 0; o->others[i]; i++)
		if (strcmp(value, o->others[i]) == 0)
			return err_set(reterr, -EINVAL, "%s is not built yet; %s is wanted", value, o->built);
	return err_set(reterr, -EINVAL, "%s is wanted", o->built);
}

static int parse_key_size(const char *value, const void *arg, void *field, struct err *reterr)
{
	static const struct conf_range range = { LIMIT_KEY_BITS_MIN, LIMIT_KEY_BITS_MAX };
	int64_t bits;
	int r = conf_parse_int(value, &range, &bits, reterr);

	(void) arg;
	if (r < 0)
		return r;
	if (bits % 1024 != 0)
		return err_set(reterr, -EINVAL, "2048, 3072 or 4096 is wanted");
	*(int64_t *) field = bits;
	return 0;
}

/* A time before the end of the CA, or "no": only by command. */
static int parse_auto_rollover(const char *value, const void *arg, void *field, struct err *reterr)
{
	int r;

	if (strcasecmp(value, "no") == 0) {
		*(int64_t *) field = 0;
		return 0;
	}
	r = conf_parse_span(value, arg, field, reterr);
	return r < 0 ? err_set(reterr, -EINVAL, "a time before the end of the CA (\"90d\"), or no, is wanted") : 0;
}

static int parse_database_url(const char *value, const void *arg, void *field, struct err *reterr)
{
	if (strncmp(value, "postgresql:", 11) == 0)
		return err_set(reterr, -EINVAL, "postgresql: is not built yet; sqlite:/PATH is wanted");
	if (strncmp(value, "sqlite:/", 8) != 0 || value[8] == 0 || value[strlen(value) - 1] == '/')
		return err_set(reterr, -EINVAL, "sqlite:/PATH is wanted");
	return conf_parse_text(value, arg, field, reterr);
}

static int parse_http_url(const char *value, const void *arg, void *field, struct err *reterr)
{
	if (strncmp(value, "http://", 7) != 0 || value[7] == 0 || value[7] == '/' || strpbrk(value, " \t\"<>?#"))
		return err_set(reterr, -EINVAL, "http://HOST/... is wanted");
	return conf_parse_text(value, arg, field, reterr);
}

static int parse_name(const char *value, const void *arg, void *field, struct err *reterr)
{
	X509_NAME *name = NULL;
	int r = x509_name_parse(value, &name, reterr);

	X509_NAME_free(name);
	return r < 0 ? r : conf_parse_text(value, arg, field, reterr);
}

/* ---- the table ---- */

static const struct conf_range life_range = { SEC_MS, 100 * 366 * DAY_MS };
static const struct conf_range request_range = { SEC_MS, 366 * DAY_MS };
static const struct conf_range deadline_range = { 100, HOUR_MS };
static const struct conf_range connection_range = { 1, 100000 };
static const struct conf_range address_range = { 0, 100000 };
static const struct conf_range thread_range = { 0, 256 };
static const struct only level_only = { "complete", { "minimum", "names" } };
static const struct only identity_only = { "ca", { "ra" } };

#define KEY(section, key, parse, arg, field) { section, key, parse, arg, offsetof(struct raw, field) }
static const struct conf_key keys[] = {
	KEY("CA", "IssuerName", parse_name, NULL, v.issuer_name),
	KEY("CA", "Listen", conf_parse_text, NULL, v.listen),
	KEY("CA", "URL", parse_http_url, NULL, v.url),
	KEY("CA", "CDPURL", parse_http_url, NULL, v.cdp_url),
	KEY("CA", "Grant", conf_parse_word, ca_grant_words, grant),
	KEY("CA", "GrantRenewals", conf_parse_bool, NULL, v.car.grant_renewals),
	KEY("CA", "CACertificateLifetime", conf_parse_span, &life_range, v.cal.ca_lifetime_ms),
	KEY("CA", "CertificateLifetime", conf_parse_span, &life_range, v.cal.cert_lifetime_ms),
	KEY("CA", "CRLLifetime", conf_parse_span, &life_range, v.cal.crl_lifetime_ms),
	KEY("CA", "EnrollmentRequestLifetime", conf_parse_span, &request_range, v.cal.request_lifetime_ms),
	KEY("CA", "AutoRollover", parse_auto_rollover, &life_range, v.cal.overlap_ms),
	KEY("CA", "RolloverStart", conf_parse_word, rollover_start_words, rollover_start),
	KEY("CA", "Hash", conf_parse_word, hash_words, hash),
	KEY("CA", "KeySize", parse_key_size, NULL, v.key_bits),
	KEY("CA", "Protection", conf_parse_word, ks_protection_words, protection),
	KEY("CA", "Clock", conf_parse_word, ca_clock_words, clock),
	KEY("CA", "Profile", conf_parse_word, ca_profile_words, profile),
	KEY("CA", "AllowDES", conf_parse_bool, NULL, v.allow_des),
	KEY("CA", "ScepIdentity", parse_only, &identity_only, v),
	KEY("Database", "URL", parse_database_url, NULL, db_url),
	KEY("Database", "Level", parse_only, &level_only, v),
	KEY("HTTP", "Threads", conf_parse_int, &thread_range, v.threads),
	KEY("HTTP", "MaxConnections", conf_parse_int, &connection_range, v.max_connections),
	KEY("HTTP", "MaxConnectionsPerAddress", conf_parse_int, &address_range, v.max_per_address),
	KEY("HTTP", "HeadTimeout", conf_parse_span, &deadline_range, v.head_deadline_ms),
	KEY("HTTP", "BodyTimeout", conf_parse_span, &deadline_range, v.body_deadline_ms),
	KEY("Token", "Provider", conf_parse_text, NULL, v.token_provider),
	KEY("Token", "PINFile", conf_parse_path, NULL, v.token_pin_file),
	{ .section = "Archive", .key = "Format" }, /* known, not built yet */
	{ .section = "Archive", .key = "PasswordFile" },
	{ .section = "Archive", .key = "PublishURL" },
	{ .section = NULL },
};

/* IOS's defaults where it has them, but for MD5 and the minimum database. */
static void raw_init(struct raw *w)
{
	*w = (struct raw){ .protection = KS_PROTECTION_AUTO };
	w->v.cal = (struct cal_policy){ .ca_lifetime_ms = 1095 * DAY_MS,
					.cert_lifetime_ms = 365 * DAY_MS,
					.crl_lifetime_ms = 6 * HOUR_MS,
					.request_lifetime_ms = 168 * HOUR_MS };
	w->v.key_bits = 3072;
	w->v.max_connections = 4096;
	w->v.max_per_address = 1024;
	w->v.head_deadline_ms = 10 * SEC_MS;
	w->v.body_deadline_ms = 30 * SEC_MS;
}

static void conf_clear(struct ca_conf *c)
{
	free(c->issuer_name);
	free(c->listen);
	free(c->url);
	free(c->cdp_url);
	free(c->token_provider);
	free(c->token_pin_file);
	free(c->db_path);
}

static void raw_clear(struct raw *w)
{
	conf_clear(&w->v);
	free(w->db_url);
}
AUTO_DEFINE(raw, struct raw *, raw_clear);

/* ---- what the values mean together ---- */

static int text_default(char **field, const char *before, const char *text)
{
	if (!*field && asprintf(field, "%s%s", before, text) < 0)
		*field = NULL; /* its content is undefined after a failure */
	return *field ? 0 : -ENOMEM;
}

static int cdp_slash(struct ca_conf *c)
{
	AUTO(mem) char *old = c->cdp_url;

	c->cdp_url = NULL;
	if (!old)
		return 0;
	return text_default(&c->cdp_url, old, old[strlen(old) - 1] == '/' ? "" : "/");
}

static int db_path_make(struct raw *w)
{
	if (w->db_url)
		w->v.db_path = fs_path("%s", w->db_url + strlen("sqlite:"));
	else
		w->v.db_path = fs_path("/var/lib/keyroll/ca/%s/ca.db", w->v.name);
	return w->v.db_path ? 0 : -ENOMEM;
}

static int together(const struct ca_conf *c, struct err *reterr)
{
	const struct cal_policy *p = &c->cal;

	if (p->cert_lifetime_ms > p->ca_lifetime_ms)
		return err_set(reterr, -EINVAL, "%s: CertificateLifetime is longer than CACertificateLifetime, which it may not exceed", c->name);
	if (p->overlap_ms >= p->ca_lifetime_ms)
		return err_set(reterr, -EINVAL, "%s: AutoRollover is not shorter than CACertificateLifetime: the CA would roll over at once, for ever",
			       c->name);
	if (c->allow_des && c->profile != CA_PROFILE_LEGACY)
		return err_set(reterr, -EINVAL, "%s: AllowDES=yes is for Profile=legacy only", c->name);
	if (c->allow_des && scep_des_check(reterr) < 0)
		return err_prefix(reterr, -EINVAL, "%s", c->name);
	return 0;
}

static int finish(struct raw *w, struct err *reterr)
{
	struct ca_conf *c = &w->v;

	c->car.grant = (enum car_grant) w->grant;
	c->hash = (enum scep_digest) w->hash;
	c->protection = (enum ks_protection) w->protection;
	c->clock = (enum clk_policy) w->clock;
	c->profile = (enum ca_profile) w->profile;
	c->cal.rollover_start_now = w->rollover_start == 1;
	if (text_default(&c->issuer_name, "CN=", c->name) < 0 || text_default(&c->listen, "", "[::]:80") < 0 || cdp_slash(c) < 0 ||
	    db_path_make(w) < 0)
		return err_set(reterr, -ENOMEM, "%s: out of memory", c->name);
	return together(c, reterr);
}

/* Reads with one of the two readers, then makes the struct. */
typedef int (*read_fn)(struct raw *w, const void *arg, struct err *reterr);

static int make(const char *name, read_fn read_it, const void *arg, struct ca_conf **ret, struct err *reterr)
{
	AUTO(ca_conf) struct ca_conf *c = calloc(1, sizeof(*c));
	struct raw raw;
	AUTO(raw) struct raw *w = &raw;
	int r;

	raw_init(w);
	if (!c)
		return err_set(reterr, -ENOMEM, "%s: out of memory", name);
	if (!conf_name_ok(name))
		return err_set(reterr, -EINVAL, "CA name \"%.80s\": wanted 1 to %d of A-Z a-z 0-9 . _ -, not beginning with . or -", name, LIMIT_LABEL_BYTES);
	(void) snprintf(w->v.name, sizeof(w->v.name), "%s", name); /* fits: conf_name_ok */
	r = read_it(w, arg, reterr);
	if (r == 0)
		r = finish(w, reterr);
	if (r < 0)
		return r;
	*c = w->v;
	w->v = (struct ca_conf){ .threads = 0 }; /* *c owns the texts now */
	*ret = TAKE(c);
	return 0;
}

static int read_files(struct raw *w, const void *arg, struct err *reterr)
{
	AUTO(mem) char *path = fs_path("/etc/keyroll/ca/%s.conf", w->v.name);

	(void) arg;
	return path ? conf_load(path, keys, w, reterr) : err_set(reterr, -ENOMEM, "%s: out of memory", w->v.name);
}

struct text {
	const char *at;
	size_t len;
};
static int read_text(struct raw *w, const void *arg, struct err *reterr)
{
	const struct text *t = arg;

	return conf_parse(w->v.name, t->at, t->len, keys, w, reterr);
}

int ca_conf_load(const char *name, struct ca_conf **ret, struct err *reterr)
{
	return make(name, read_files, NULL, ret, reterr);
}

int ca_conf_parse(const char *name, const char *text, size_t len, struct ca_conf **ret, struct err *reterr)
{
	struct text t = { .at = text, .len = len };

	return make(name, read_text, &t, ret, reterr);
}

void ca_conf_free(struct ca_conf *c)
{
	if (!c)
		return;
	conf_clear(c);
	free(c);
}

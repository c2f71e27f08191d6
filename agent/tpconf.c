/* Trustpoint files and keyrolld.conf: see tpconf.h. */
#include "agent/tpconf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "common/conf.h"
#include "common/limits.h"
#include "common/x509facts.h"
#include "keystore/ks.h"
#include "scep/scep.h"

#define SECOND_MS INT64_C(1000)
#define HOUR_MS (3600 * SECOND_MS)
#define DAY_MS (24 * HOUR_MS)

static const char *const profile_words[] = { "default", "3des", "legacy", NULL };
static const char *const key_file_words[] = { "uri", NULL };
static const char *const clock_words[] = { "auto", "assume-valid", NULL };
static const struct conf_range percent_range = { 10, 100 };
static const struct conf_range count_range = { 0, UINT32_MAX };
static const struct conf_range period_range = { SECOND_MS, 24 * HOUR_MS };
static const struct conf_range grace_range = { 0, 365 * DAY_MS };
static const struct conf_range hook_range = { SECOND_MS, HOUR_MS };

static int parse_pin(const char *value, const void *arg, void *field, struct err *reterr)
{
	(void) arg;
	return fingerprint_parse(value, field, reterr);
}

static int parse_url(const char *value, const void *arg, void *field, struct err *reterr)
{
	const char *host = strstr(value, "://");

	if (strncmp(value, "http://", 7) != 0 && strncmp(value, "https://", 8) != 0)
		return err_set(reterr, -EINVAL, "found '%.80s', wanted http://HOST[:PORT][/PATH] or https://", value);
	if (!host[3] || host[3] == '/' || strpbrk(value, "?# \t"))
		return err_set(reterr, -EINVAL, "found '%.80s', wanted a host, and neither '?', '#' nor blanks", value);
	return conf_parse_text(value, arg, field, reterr);
}

static int parse_subject(const char *value, const void *arg, void *field, struct err *reterr)
{
	AUTO(name) X509_NAME *name = NULL;
	int r = x509_name_parse(value, &name, reterr);

	return r < 0 ? r : conf_parse_text(value, arg, field, reterr);
}

static int parse_label(const char *value, const void *arg, void *field, struct err *reterr)
{
	if (!conf_name_ok(value))
		return err_set(reterr, -EINVAL, "found '%.80s', wanted 1 to %d of A-Z a-z 0-9 . _ -", value, LIMIT_LABEL_BYTES);
	return conf_parse_text(value, arg, field, reterr);
}

static int parse_bits(const char *value, const void *arg, void *field, struct err *reterr)
{
	static const struct conf_range any = { LIMIT_KEY_BITS_MIN, LIMIT_KEY_BITS_MAX };
	int64_t bits = 0;
	int r = conf_parse_int(value, &any, &bits, reterr);

	(void) arg;
	if (r < 0)
		return r;
	if (bits != 2048 && bits != 3072 && bits != 4096)
		return err_set(reterr, -EINVAL, "found '%.40s', wanted 2048, 3072 or 4096", value);
	*(int64_t *) field = bits;
	return 0;
}

static int parse_addresses(const char *value, const void *arg, void *field, struct err *reterr)
{
	AUTO(mem) char *copy = strdup(value);
	unsigned char raw[16];
	char *save = NULL;
	const char *word;

	if (!copy)
		return -ENOMEM;
	if (strcmp(value, "none") == 0)
		return conf_parse_list("", arg, field, reterr);
	for (word = strtok_r(copy, " \t", &save); word; word = strtok_r(NULL, " \t", &save))
		if (inet_pton(AF_INET, word, raw) != 1 && inet_pton(AF_INET6, word, raw) != 1)
			return err_set(reterr, -EINVAL, "found '%.60s', wanted IPv4 or IPv6 addresses, or none", word);
	return conf_parse_list(value, arg, field, reterr);
}

/* A check that is asked for and silently left out would be worse than none. */
static int parse_revocation(const char *value, const void *arg, void *field, struct err *reterr)
{
	(void) arg;
	(void) field;
	if (strcmp(value, "none") == 0)
		return 0;
	if (strcmp(value, "crl") == 0)
		return err_set(reterr, -EINVAL, "crl is known but not built yet, wanted none");
	return err_set(reterr, -EINVAL, "found '%.40s', wanted none", value);
}

#define FIELD(name) offsetof(struct tpconf, name)
static const struct conf_key tp_keys[] = {
	{ "Trustpoint", "EnrollmentURL", parse_url, NULL, FIELD(enrollment_url) },
	{ "Trustpoint", "CAFingerprint", parse_pin, NULL, FIELD(pin) },
	{ "Trustpoint", "SubjectName", parse_subject, NULL, FIELD(subject_name) },
	{ "Trustpoint", "SerialNumber", conf_parse_text, NULL, FIELD(serial_number) },
	{ "Trustpoint", "IPAddress", parse_addresses, NULL, FIELD(ip) },
	{ "Trustpoint", "DNSName", conf_parse_list, NULL, FIELD(dns) },
	{ "Trustpoint", "ChallengePasswordFile", conf_parse_path, NULL, FIELD(challenge_file) },
	{ "Trustpoint", "ChallengeOnRenewal", conf_parse_bool, NULL, FIELD(challenge_on_renewal) },
	{ "Trustpoint", "RevocationCheck", parse_revocation, NULL, 0 },
	{ "Key", "Label", parse_label, NULL, FIELD(label) },
	{ "Key", "Size", parse_bits, NULL, FIELD(bits) },
	{ "Key", "Protection", conf_parse_word, ks_protection_words, FIELD(protection) },
	{ "Key", "TokenURI", conf_parse_text, NULL, FIELD(token_uri) },
	{ "Key", "Users", conf_parse_list, NULL, FIELD(users) },
	{ "Key", "Groups", conf_parse_list, NULL, FIELD(groups) },
	{ "AutoEnroll", "Percent", conf_parse_int, &percent_range, FIELD(percent) },
	{ "AutoEnroll", "Regenerate", conf_parse_bool, NULL, FIELD(regenerate) },
	{ "AutoEnroll", "RetryCount", conf_parse_int, &count_range, FIELD(retry_count) },
	{ "AutoEnroll", "RetryPeriod", conf_parse_span, &period_range, FIELD(retry_period_ms) },
	{ "AutoEnroll", "Jitter", conf_parse_bool, NULL, FIELD(jitter) },
	{ "Scep", "Profile", conf_parse_word, profile_words, FIELD(profile) },
	{ "Scep", "AllowDES", conf_parse_bool, NULL, FIELD(allow_des) },
	{ "Deliver", "ReloadUnits", conf_parse_list, NULL, FIELD(reload_units) },
	{ "Deliver", "Hook", conf_parse_path, NULL, FIELD(hook) },
	{ "Deliver", "HookTimeout", conf_parse_span, &hook_range, FIELD(hook_timeout_ms) },
	{ "Deliver", "KeyFile", conf_parse_word, key_file_words, FIELD(key_file) },
	{ "Deliver", "Grace", conf_parse_span, &grace_range, FIELD(grace_ms) },
	{ NULL, NULL, NULL, NULL, 0 },
};
#undef FIELD

static void defaults_set(struct tpconf *c)
{
	*c = (struct tpconf){
		.bits = 2048,
		.jitter = true,
		.retry_count = 999,
		.retry_period_ms = 60 * SECOND_MS,
		.grace_ms = HOUR_MS,
		.hook_timeout_ms = 60 * SECOND_MS,
	};
}

/* What no single line shows. */
static int whole_check(const char *file, const char *name, struct tpconf *c, struct err *reterr)
{
	if (!c->enrollment_url)
		return err_set(reterr, -EINVAL, "%s: no EnrollmentURL= in [Trustpoint], wanted one", file);
	if (!c->subject_name)
		return err_set(reterr, -EINVAL, "%s: no SubjectName= in [Trustpoint], wanted one", file);
	if (c->allow_des && c->profile != TPCONF_PROFILE_LEGACY)
		return err_set(reterr, -EINVAL, "%s: AllowDES=yes in [Scep], wanted only with Profile=legacy", file);
	if (c->allow_des && scep_des_check(reterr) < 0)
		return err_prefix(reterr, -EINVAL, "%s", file);
	if (c->token_uri && (c->protection != KS_PROTECTION_TOKEN || c->regenerate))
		return err_set(reterr, -EINVAL, "%s: TokenURI= in [Key], wanted only with Protection=token and Regenerate=no: no other key is made", file);
	if (c->serial_number && strcmp(c->serial_number, "no") == 0) {
		free(c->serial_number);
		c->serial_number = NULL;
	}
	if (!c->label)
		c->label = strdup(name);
	return c->label ? 0 : -ENOMEM;
}

int tpconf_load(const char *path, const char *name, struct tpconf *ret, struct err *reterr)
{
	int r;

	defaults_set(ret);
	r = conf_load(path, tp_keys, ret, reterr);
	return r < 0 ? r : whole_check(path, name, ret, reterr);
}

int tpconf_parse(const char *file, const char *text, size_t len, const char *name, struct tpconf *ret, struct err *reterr)
{
	int r;

	defaults_set(ret);
	r = conf_parse(file, text, len, tp_keys, ret, reterr);
	return r < 0 ? r : whole_check(file, name, ret, reterr);
}

void tpconf_clear(struct tpconf *c)
{
	free(c->enrollment_url);
	free(c->subject_name);
	free(c->serial_number);
	free(c->challenge_file);
	free(c->label);
	free(c->token_uri);
	free(c->hook);
	conf_list_free(c->dns);
	conf_list_free(c->ip);
	conf_list_free(c->users);
	conf_list_free(c->groups);
	conf_list_free(c->reload_units);
	*c = (struct tpconf){ .bits = 0 };
}

struct tp_policy tpconf_policy(const struct tpconf *c)
{
	return (struct tp_policy){
		.auto_enroll = c->percent != 0,
		.percent = (int) c->percent,
		.regenerate = c->regenerate,
		.jitter = c->jitter,
		.pinned = c->pin[0] != '\0',
		.retry_period_ms = c->retry_period_ms,
		.retry_count = (uint32_t) c->retry_count,
		.previous_grace_ms = c->grace_ms,
	};
}

static const struct conf_key agent_keys[] = {
	{ "Agent", "Clock", conf_parse_word, clock_words, offsetof(struct agentconf, clock) },
	{ "Agent", "KeydSocket", conf_parse_path, NULL, offsetof(struct agentconf, keyd_socket) },
	{ NULL, NULL, NULL, NULL, 0 },
};

int agentconf_load(const char *path, struct agentconf *ret, struct err *reterr)
{
	int r;

	*ret = (struct agentconf){ .clock = CLK_POLICY_AUTO };
	r = conf_load(path, agent_keys, ret, reterr);
	return r == -ENOENT ? 0 : r;
}

void agentconf_clear(struct agentconf *c)
{
	free(c->keyd_socket);
	c->keyd_socket = NULL;
}

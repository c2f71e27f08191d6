/* What /etc/keyroll/ca/NAME.conf says, checked. Loaded once at start and again at a reload; a value is never changed in place. */
#ifndef KEYROLL_CA_CA_CONF_H
#define KEYROLL_CA_CA_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/auto.h"
#include "common/clk.h"
#include "common/err.h"
#include "common/limits.h"
#include "keystore/ks.h"
#include "lifecycle/cal.h"
#include "lifecycle/car.h"
#include "scep/scep.h"

enum ca_profile { CA_PROFILE_DEFAULT, CA_PROFILE_3DES, CA_PROFILE_LEGACY, CA_PROFILE_N_ };

struct ca_conf { /* release with ca_conf_free; texts are owned */
	char name[LIMIT_LABEL_BYTES + 1];
	char *issuer_name;	      /* IssuerName: RFC 4514, parses with x509_name_parse */
	char *listen;		      /* Listen: "[::]:80"; a socket handed over by systemd wins */
	char *url;		      /* URL: what status prints as the address for routers; NULL: made from Listen */
	char *cdp_url;		      /* CDPURL: folder that the CRL's file name is appended to, ends in '/'; NULL: no CDP in certificates */
	struct cal_policy cal;	      /* lifetimes, AutoRollover (0: by command only), RolloverStart */
	struct car_policy car;	      /* Grant, GrantRenewals */
	enum scep_digest hash;	      /* Hash: sha256 sha384 sha512, for what the CA signs */
	int64_t key_bits;	      /* KeySize: 2048 3072 4096 */
	enum ks_protection protection; /* Protection */
	char *token_provider, *token_pin_file; /* [Token] of the signer; NULL: none */
	enum clk_policy clock;	      /* Clock */
	enum ca_profile profile;      /* Profile, for scep_policy below */
	bool allow_des;		      /* AllowDES: true only with Profile=legacy */
	char *db_path;		      /* [Database] URL without "sqlite:", under --root; never NULL */
	/* [HTTP] */
	int64_t threads;	      /* 0: one for each core */
	int64_t max_connections, max_per_address;
	int64_t head_deadline_ms, body_deadline_ms;
};

/* Reads /etc/keyroll/ca/NAME.conf (under --root) and NAME.conf.d. -ENOENT; -EINVAL with "FILE:LINE: what was found, what was expected". */
int ca_conf_load(const char *name, struct ca_conf **ret, struct err *reterr) CHECKED;
/* The same from memory: tests, the fuzzer, `pkictl verify`. */
int ca_conf_parse(const char *name, const char *text, size_t len, struct ca_conf **ret, struct err *reterr) CHECKED;
void ca_conf_free(struct ca_conf *c);

/* The i-th thing that is allowed but unwise ("CertificateLifetime=30s is under a minute"), NULL after the last. Written to buf. */
const char *ca_conf_warning(const struct ca_conf *c, size_t i, char *buf, size_t bytes);

/* What the running CA cannot take over by a reload (database, listener, issuer name once there is a CA certificate): the key's name, NULL when there is
 * none. */
const char *ca_conf_needs_restart(const struct ca_conf *running, const struct ca_conf *loaded);

/* What is accepted from clients: static. */
const struct scep_policy *ca_conf_scep_policy(const struct ca_conf *c);

extern const char *const ca_grant_words[];	    /* enum car_grant: manual auto none */
extern const char *const ca_profile_words[];	    /* enum ca_profile: default 3des legacy */
extern const char *const ca_clock_words[];	    /* enum clk_policy: auto assume-valid */

AUTO_DEFINE(ca_conf, struct ca_conf *, ca_conf_free);

#endif

/* What the CA is at one moment: certificates by role, handles of their keys, CRLs, and the static replies made from them. A view never changes; the
 * main thread builds a new one and swaps it in, handlers hold a reference for as long as they work. */
#ifndef KEYROLL_CA_VIEW_H
#define KEYROLL_CA_VIEW_H

#include <openssl/x509.h>
#include <stdbool.h>

#include "ca/ca_conf.h"
#include "ca/issue.h"
#include "common/auto.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/x509facts.h"
#include "lifecycle/cal.h"
#include "lifecycle/car.h"
#include "scep/scep.h"

struct view_crl { /* empty der: none yet */
	struct buf der;
	int64_t next_update_sec;
};

struct view_role {
	X509 *cert; /* NULL: the role is not filled */
	EVP_PKEY *key;
	struct x509_facts facts;
	struct view_crl crl;
	char crl_name[ISSUE_CRL_NAME_BYTES];
};

/* A configuration that several views share. */
struct view_conf;
int view_conf_new(struct ca_conf *conf, struct view_conf **ret) CHECKED; /* taken on success */
void view_conf_put(struct view_conf *c);

struct view {
	struct view_role role[CAR_RECIPIENT_N_];
	const struct ca_conf *conf; /* borrowed from shared */
	struct view_conf *shared;
	struct buf caps, ca_cert, next_ca; /* replies; next_ca is empty while there is none */
	struct scep_identity identities[CAR_RECIPIENT_N_];
	enum car_recipient which[CAR_RECIPIENT_N_]; /* of each identity */
	size_t n_identities;
	struct cal_state cal; /* ca and next, for cal_cert_validity */
	int refs;	      /* atomic */
};

/* An empty view under that configuration, to be filled by the role functions and sealed. */
int view_new(struct view_conf *conf, struct view **ret) CHECKED;
/* A new view with the roles and CRLs of another; not sealed. conf NULL: the same configuration. */
int view_copy(const struct view *from, struct view_conf *conf, struct view **ret, struct err *reterr) CHECKED;
/* cert and key get references of their own. */
int view_role_set(struct view *v, enum car_recipient role, X509 *cert, EVP_PKEY *key, struct err *reterr) CHECKED;
void view_role_clear(struct view *v, enum car_recipient role);
/* next becomes active, active becomes previous. */
void view_switch(struct view *v);
int view_crl_set(struct view *v, enum car_recipient role, const void *der, size_t len, int64_t next_update_sec) CHECKED;
/* Makes the replies; signs GetNextCACert's. After this nothing may be changed. */
int view_seal(struct view *v, struct err *reterr) CHECKED;

struct view *view_get1(struct view *v);
void view_put(struct view *v);
/* The filled role with that key, CAR_RECIPIENT_N_ when there is none. */
enum car_recipient view_role_of(const struct view *v, const char *spki);

AUTO_DEFINE(view, struct view *, view_put);

#endif

/* A CA for tests of the service: a temporary root, a real keyroll-signer as child, two CA keys, a database, and a client that speaks SCEP to
 * service_handle without HTTP. Time is NOW, whatever the machine says. */
#ifndef KEYROLL_TESTS_CA_FIXTURE_H
#define KEYROLL_TESTS_CA_FIXTURE_H

#include "ca/service.h"
#include "ca/signer_client.h"
#include "scep/scep.h"

#define FX_NOW 1800000000LL
#define FX_DAY 86400LL

struct fx {
	char root[64];
	struct signer *signer;
	struct db *db;
	struct service *service;
	struct view_conf *conf;
	X509 *ca, *next;
	EVP_PKEY *ca_key, *next_key; /* handles */
	bool trusted;
	int64_t now_sec;
};

int fx_start(struct fx *f);
void fx_stop(struct fx *f);
/* Publishes a view: mode as Grant= words, with or without the rollover CA, or after the switch. */
int fx_view(struct fx *f, enum car_grant grant, bool grant_renewals, bool with_next, bool switched);

struct fx_ask { /* one request */
	enum scep_type type;
	const char *tid;
	const void *content;
	size_t content_len;
	X509 *signer;
	EVP_PKEY *signer_key;
	X509 *recipient;
	EVP_PKEY *subject_key; /* of the certificate that is expected; NULL: any */
};
struct fx_answer {
	int http;
	struct scep_reply reply;
	int opened; /* what scep_reply_open said */
	size_t bytes;
};
void fx_ask(struct fx *f, const struct fx_ask *ask, struct fx_answer *ret);
void fx_answer_clear(struct fx_answer *a);
static inline void auto_fx_answer(struct fx_answer *a)
{
	fx_answer_clear(a);
}

/* A router: key, CSR, self-signed signer. */
struct fx_router {
	EVP_PKEY *key;
	struct buf csr;
	X509 *self;
};
int fx_router_make(struct fx_router *r, const char *subject, const char *dns);
void fx_router_clear(struct fx_router *r);
/* PKCSReq by its self-signed certificate. */
struct fx_ask fx_enrol(const struct fx *f, const struct fx_router *r, const char *tid);
/* CSR of `to` (its subject and key), signed by an issued certificate over key. */
struct fx_ask fx_renew(const struct fx *f, const struct fx_router *to, X509 *cert, EVP_PKEY *key, enum scep_type type, const char *tid);

#endif

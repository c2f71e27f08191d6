/* Shared by service.c, service_pki.c, service_enrol.c and service_issue.c. */
#ifndef KEYROLL_CA_SERVICE_INTERNAL_H
#define KEYROLL_CA_SERVICE_INTERNAL_H

#include <pthread.h>

#include "ca/service.h"
#include "common/auto_ssl.h"

#define SERVICE_RETRY_AFTER_SEC 30 /* after a failure of our own: signer, database */
#define SERVICE_BUSY_SEC 300	   /* the queue is full, the clock is not trusted */

struct service {
	struct service_options o;
	pthread_mutex_t lock; /* of view */
	struct view *view;
};

struct exchange { /* one PKIOperation */
	struct service *service;
	struct view *view;
	struct tp_now now;
	struct scep_request req;
	const char *address;
	char actor[80]; /* of audit rows: "scep ADDRESS" */
	enum car_recipient role;
};

struct answer {
	enum scep_status status;
	enum scep_fail fail;
	char why[160];	     /* for the log only: clients learn the failInfo */
	int unavailable_sec; /* not 0: 503 with this Retry-After, no CertRep */
	X509 *cert;	     /* SUCCESS; owned */
	X509_CRL *crl;
};
void answer_clear(struct answer *a);
void answer_fail(struct answer *a, enum scep_fail fail, const char *why);
void answer_unavailable(struct answer *a, int sec, const char *why);

struct signer_facts { /* who signed a request */
	enum car_signer who;
	char text[sizeof(((struct db_request *) 0)->signer)]; /* as db_request has it */
};

/* service_pki.c */
void service_pki(struct service *s, struct http_request *request, struct http_reply *reply);
void service_now(const struct service *s, const struct view *v, struct tp_now *ret);

/* service_enrol.c: PKCSReq, RenewalReq, CertPoll */
void service_enrol(struct exchange *x, struct answer *a);
void service_poll(struct exchange *x, struct answer *a);
/* service_query.c: GetCert, GetCRL */
void service_get_cert(struct exchange *x, struct answer *a);
void service_get_crl(struct exchange *x, struct answer *a);
/* Upper-case hex without leading zeros, as the database has it. -EINVAL beyond 20 bytes. */
int service_serial_text(const ASN1_INTEGER *serial, char ret[DB_SERIAL_HEX]) CHECKED;
int service_signer_judge(struct exchange *x, struct signer_facts *ret, struct err *reterr) CHECKED;

/* service_issue.c. The request's certificate under role: intent, signature, record. *ret_cert owned by the caller.
 * -EKEYEXPIRED: the CA has no time left to give. -EIO and others: try later. */
int service_issue(struct service *s, const struct view *v, enum car_recipient role, const struct tp_now *now, struct db_request *r, X509_REQ *csr,
		  const char *actor,
		  X509 **ret_cert, struct err *reterr) CHECKED;
/* What the intent of an INTENT row says, signed and recorded. */
int service_issue_finish(struct service *s, const struct view *v, const struct tp_now *now, const struct db_request *r, const char *actor, X509 **ret_cert,
			 struct err *reterr) CHECKED;
/* The certificate of a GRANTED row. */
int service_issued_get(struct service *s, const struct db_request *r, X509 **ret_cert, struct err *reterr) CHECKED;

#endif

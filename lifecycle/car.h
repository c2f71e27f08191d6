/* A CA request's life: what becomes of a request that has been opened and verified. Pure: facts in, verdict out. Default deny. */
#ifndef KEYROLL_LIFECYCLE_CAR_H
#define KEYROLL_LIFECYCLE_CAR_H

#include <stdbool.h>
#include <stdint.h>

enum car_grant { CAR_GRANT_MANUAL, CAR_GRANT_AUTO, CAR_GRANT_NONE, CAR_GRANT_N_ }; /* Grant= */

struct car_policy {
	enum car_grant grant;
	bool grant_renewals;  /* GrantRenewals=yes: what an active certificate of this CA signed */
};

enum car_signer {
	CAR_SIGNER_SELF,	/* self-signed over the CSR's key: proves possession, nothing else */
	CAR_SIGNER_ISSUED,	/* a certificate of this CA (active or rollover key), in the database, not revoked, in validity */
	CAR_SIGNER_REVOKED,
	CAR_SIGNER_EXPIRED,
	CAR_SIGNER_UNKNOWN,	/* anything else */
	CAR_SIGNER_N_
};

enum car_recipient { CAR_RECIPIENT_ACTIVE, CAR_RECIPIENT_NEXT, CAR_RECIPIENT_PREVIOUS, CAR_RECIPIENT_N_ };

enum car_status {
	CAR_STATUS_NONE,
	CAR_STATUS_PENDING,
	CAR_STATUS_AUTHORIZED,
	CAR_STATUS_INTENT,
	CAR_STATUS_GRANTED,
	CAR_STATUS_REJECTED,
	CAR_STATUS_EXPIRED,
	CAR_STATUS_N_
};

struct car_facts {
	bool renewal_type;	    /* messageType 17 */
	enum car_signer signer;
	enum car_recipient recipient;
	bool same_subject;	    /* CSR's subject is the signer's (X509_NAME_cmp) */
	bool new_names;		    /* the CSR asks for a subjectAltName that the signer's certificate lacks */
	bool csr_allowed;	    /* key type, size, digest and extensions within policy */
	bool csr_key_in_use;	    /* another subject holds a certificate with this key */
	enum car_status stored;	    /* of the same request in the database */
};

enum car_verdict {
	CAR_VERDICT_GRANT,	/* write the intent, sign, reply SUCCESS */
	CAR_VERDICT_FINISH,	/* the intent is there: sign what it says, reply SUCCESS */
	CAR_VERDICT_SAME,	/* reply with the stored certificate */
	CAR_VERDICT_PENDING,	/* store if new, reply PENDING */
	CAR_VERDICT_REJECT,	/* reply FAILURE with `fail` */
	CAR_VERDICT_N_
};

/* RFC 8894 3.2.1.4: the same numbers */
enum car_fail { CAR_FAIL_BAD_ALG, CAR_FAIL_BAD_MESSAGE_CHECK, CAR_FAIL_BAD_REQUEST, CAR_FAIL_BAD_TIME, CAR_FAIL_BAD_CERT_ID };

struct car_decision {
	enum car_verdict verdict;
	enum car_fail fail;
	const char *why; /* static text for the log and the audit row */
};

/* PKCSReq and RenewalReq. */
struct car_decision car_decide(const struct car_policy *policy, const struct car_facts *facts);
/* CertPoll: by what is stored for (recipient, transactionID, signer). NONE and EXPIRED: badCertId (RFC 8894 3.3.3). */
struct car_decision car_decide_poll(enum car_status stored);

const char *car_status_name(enum car_status status); /* none pending authorized intent granted rejected expired */

#endif

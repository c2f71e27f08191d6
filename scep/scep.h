/* SCEP messages, RFC 8894, shared by agent and CA: bytes to verified facts and back. No I/O, no clock, no randomness of its own:
 * the time and the nonces are arguments. Every failure says what was found, what was wanted, and which section. */
#ifndef KEYROLL_SCEP_SCEP_H
#define KEYROLL_SCEP_SCEP_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/auto_ssl.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/limits.h"

#define SCEP_NONCE_BYTES 16
#define SCEP_TRANSACTION_ID_TEXT (LIMIT_TRANSACTION_ID_BYTES + 1)

enum scep_type { /* messageType, RFC 8894 3.2.1.2: the numbers of the wire */
	SCEP_TYPE_CERT_REP = 3,
	SCEP_TYPE_RENEWAL_REQ = 17,
	SCEP_TYPE_PKCS_REQ = 19,
	SCEP_TYPE_CERT_POLL = 20,
	SCEP_TYPE_GET_CERT = 21,
	SCEP_TYPE_GET_CRL = 22,
};
enum scep_status { SCEP_STATUS_SUCCESS = 0, SCEP_STATUS_FAILURE = 2, SCEP_STATUS_PENDING = 3 };
enum scep_fail { SCEP_FAIL_BAD_ALG, SCEP_FAIL_BAD_MESSAGE_CHECK, SCEP_FAIL_BAD_REQUEST, SCEP_FAIL_BAD_TIME, SCEP_FAIL_BAD_CERT_ID, SCEP_FAIL_N_ };

enum scep_cipher { SCEP_CIPHER_AES128, SCEP_CIPHER_AES192, SCEP_CIPHER_AES256, SCEP_CIPHER_DES3, SCEP_CIPHER_DES, SCEP_CIPHER_N_ };
enum scep_digest { SCEP_DIGEST_SHA256, SCEP_DIGEST_SHA384, SCEP_DIGEST_SHA512, SCEP_DIGEST_SHA1, SCEP_DIGEST_MD5, SCEP_DIGEST_N_ };

/* Bit masks (1u << enum) of what is accepted; the floor is local policy, never the peer's capabilities. */
struct scep_policy {
	unsigned ciphers, digests;
	int64_t max_skew_sec; /* signingTime, when present; 0: not judged */
};
extern const struct scep_policy scep_policy_default; /* AES, 3DES refused; SHA-2 */
extern const struct scep_policy scep_policy_3des;    /* default and 3DES, SHA-1: IOS-XE */
extern const struct scep_policy scep_policy_legacy;  /* Profile=legacy with AllowDES=yes: and DES, SHA-1; never MD5 signatures on what we send */

/* AllowDES=yes can work on this machine: OpenSSL's legacy provider is there. -ENOTSUP. Called once at start where the policy has DES. */
int scep_des_check(struct err *reterr) CHECKED;

struct scep_algs { enum scep_cipher cipher; enum scep_digest digest; };

/* ---- capabilities, RFC 8894 3.5.2 ---- */
enum scep_cap { /* bits */
	SCEP_CAP_AES = 1 << 0, SCEP_CAP_DES3 = 1 << 1, SCEP_CAP_GET_NEXT_CA_CERT = 1 << 2, SCEP_CAP_POST = 1 << 3, SCEP_CAP_RENEWAL = 1 << 4,
	SCEP_CAP_SHA1 = 1 << 5, SCEP_CAP_SHA256 = 1 << 6, SCEP_CAP_SHA384 = 1 << 7, SCEP_CAP_SHA512 = 1 << 8, SCEP_CAP_STANDARD = 1 << 9,
};
/* Lines end with LF or CRLF; case is ignored; unknown lines and blank ones too. SCEPStandard adds what it implies. Anything not text: 0. */
unsigned scep_caps_parse(const void *text, size_t len);
/* One keyword a line, no blank line. */
int scep_caps_build(unsigned caps, struct buf *ret) CHECKED;

/* ---- a request: client builds, CA opens ---- */
struct scep_request_in {
	enum scep_type type;
	const char *transaction_id;
	const uint8_t *sender_nonce;	 /* SCEP_NONCE_BYTES */
	const void *content;		 /* DER: PKCS#10, IssuerAndSubject, or IssuerAndSerialNumber */
	size_t content_len;
	X509 *signer;			 /* borrowed */
	EVP_PKEY *signer_key;		 /* a provider's handle will do */
	X509 *recipient;		 /* CA or RA certificate that the envelope is encrypted to */
	struct scep_algs algs;
	int64_t signing_time_sec;	 /* 0: attribute left out */
};
int scep_request_build(const struct scep_request_in *in, struct buf *ret_der, struct err *reterr) CHECKED;

struct scep_identity { /* one key that can open requests */
	X509 *cert;
	EVP_PKEY *key;
};

enum scep_open_stage { /* how far opening came: decides the answer */
	SCEP_OPEN_MALFORMED,	/* no good outer signature: HTTP 400, empty body */
	SCEP_OPEN_UNKNOWN_RECIPIENT, /* badRequest */
	SCEP_OPEN_BAD_ALG,	/* badAlg: below the floor */
	SCEP_OPEN_BAD_TIME,	/* badTime */
	SCEP_OPEN_SEALED,	/* outer signature good, then anything failed before the content was parsed: badMessageCheck, always the same */
	SCEP_OPEN_DONE,
};

/* Verified facts: the signature verifies under signer's key; who the signer is remains the caller's question. Release with scep_request_clear. */
struct scep_request {
	enum scep_open_stage stage;
	enum scep_type type;
	char transaction_id[SCEP_TRANSACTION_ID_TEXT];
	uint8_t sender_nonce[LIMIT_NONCE_BYTES];
	size_t sender_nonce_len;
	X509 *signer;		 /* owned; the SignerInfo's own certificate */
	bool signer_self_signed; /* verifies under its own key */
	size_t recipient;	 /* index into the identities */
	struct scep_algs algs;	 /* to be mirrored in the reply */
	/* by type; only after SCEP_OPEN_DONE */
	X509_REQ *csr;		 /* PKCSReq, RenewalReq: its signature is verified */
	struct buf csr_der;
	char csr_sha256[65];
	struct buf challenge;	 /* secret; empty when there was none */
	X509_NAME *poll_issuer, *poll_subject;		/* CertPoll: informative only */
	X509_NAME *query_issuer; ASN1_INTEGER *query_serial;	/* GetCert, GetCRL */
};
/* 0, or a negative errno with ret->stage telling what to answer: -EBADMSG malformed, -EKEYREJECTED signature, -EPROTO not allowed,
 * -ENOKEY unknown recipient, -ENOMEM. ret is always valid for scep_request_clear; transactionID, nonce, signer and algs are set
 * once stage is beyond MALFORMED. */
int scep_request_open(const void *der, size_t len, const struct scep_identity *identities, size_t n, const struct scep_policy *policy,
		      int64_t now_sec, struct scep_request *ret, struct err *reterr) CHECKED;
void scep_request_clear(struct scep_request *r);

/* ---- CertRep: CA builds, client opens ---- */
struct scep_reply_in {
	enum scep_status status;
	enum scep_fail fail;		 /* FAILURE */
	const char *fail_text;		 /* optional, UTF-8 */
	const char *transaction_id;
	const uint8_t *recipient_nonce;	 /* the request's senderNonce */
	size_t recipient_nonce_len;
	const uint8_t *sender_nonce;	 /* SCEP_NONCE_BYTES, fresh */
	X509 *signer;
	EVP_PKEY *signer_key;
	X509 *recipient;		 /* SUCCESS: the certificate that signed the request */
	struct scep_algs algs;
	X509 *const *certs; size_t n_certs; /* SUCCESS: the issued one first; certs-only keeps this order */
	X509_CRL *crl;			 /* SUCCESS of GetCRL: then no certificate */
};
/* FAILURE and PENDING carry an empty OCTET STRING and no envelope. SignerInfo says rsaEncryption with NULL. */
int scep_reply_build(const struct scep_reply_in *in, struct buf *ret_der, struct err *reterr) CHECKED;

struct scep_reply_want {
	const char *transaction_id;
	const uint8_t *sender_nonce;	 /* that the request had: must come back */
	X509 *const *signers; size_t n_signers; /* certificates that may sign the reply: CA, next CA, RA */
	X509 *recipient; EVP_PKEY *recipient_key; /* the request's signer */
	EVP_PKEY *subject_key;		 /* the issued certificate must be for this key; NULL for queries */
	bool want_crl;			 /* the request was GetCRL */
	const struct scep_policy *policy;
};
struct scep_reply {
	enum scep_status status;
	enum scep_fail fail;
	char fail_text[256];		 /* printable, "" when there was none */
	X509 *cert;			 /* SUCCESS: the one for subject_key (or the first, for GetCert) */
	STACK_OF(X509) *others;		 /* the rest; may be NULL */
	X509_CRL *crl;
	size_t signer;			 /* index into signers */
};
/* -EBADMSG, -EKEYREJECTED (signer, signature, nonce, transactionID, foreign key), -EPROTO; nothing of an unverified reply comes out. */
int scep_reply_open(const void *der, size_t len, const struct scep_reply_want *want, int64_t now_sec, struct scep_reply *ret, struct err *reterr) CHECKED;
void scep_reply_clear(struct scep_reply *r);

/* ---- GetCACert, GetNextCACert ---- */
struct scep_ca { /* a CA's certificates by role; owned */
	X509 *ca;		  /* the pinned one */
	X509 *encrypt;		  /* recipient of requests: RA with keyEncipherment, else ca. A reference of its own */
	X509 *sign;		  /* additional signer of replies (RA), or ca. A reference of its own */
	STACK_OF(X509) *all;
};
void scep_ca_clear(struct scep_ca *ca);
/* One DER certificate, or certs-only SignedData (told by content, not by Content-Type). want_sha256: lower-case hex of the CA certificate's DER; NULL:
 * the caller shows ret->ca's fingerprint to a person. The others must be issued by the pinned CA. -EKEYREJECTED when no certificate has that fingerprint
 * (text names the one found), -EBADMSG otherwise. */
int scep_ca_open(const void *body, size_t len, const char *want_sha256, int64_t now_sec, struct scep_ca *ret, struct err *reterr) CHECKED;
/* One certificate: its DER; more: certs-only. */
int scep_ca_build(X509 *const *certs, size_t n, struct buf *ret, struct err *reterr) CHECKED;

/* The next CA, from the signed content only; exactly one signer, which is `current`; CA:TRUE, self-issued by its own key, notBefore <= current's notAfter
 * < notAfter, another key than current's, RSA within limits, same subject. -EKEYREJECTED for a wrong or missing signature. */
int scep_next_ca_open(const void *body, size_t len, X509 *current, const struct scep_policy *policy, X509 **ret, struct err *reterr) CHECKED;
int scep_next_ca_build(X509 *const *next, size_t n, X509 *current, EVP_PKEY *current_key, struct buf *ret, struct err *reterr) CHECKED;

/* ---- contents ---- */
struct scep_csr_in {
	X509_NAME *subject;
	EVP_PKEY *key;
	const char *challenge;	   /* NULL: none. Wiped by the caller */
	const char *const *dns;    /* subjectAltName, NULL-terminated; NULL: none */
	const char *const *ip;
	enum scep_digest digest;
};
int scep_csr_build(const struct scep_csr_in *in, struct buf *ret_der, struct err *reterr) CHECKED;
/* Throw-away signer of a first request: subject of the CSR, keyUsage digitalSignature and keyEncipherment, valid now - 1 h .. now + 30 d. */
int scep_self_signed(X509_NAME *subject, EVP_PKEY *key, const char *transaction_id, int64_t now_sec, X509 **ret, struct err *reterr) CHECKED;
int scep_issuer_and_subject_build(const X509_NAME *issuer, const X509_NAME *subject, struct buf *ret_der) CHECKED;
int scep_issuer_and_serial_build(const X509_NAME *issuer, const ASN1_INTEGER *serial, struct buf *ret_der) CHECKED;

/* ---- HTTP's side ---- */
/* "<url>?operation=OP[&message=..]"; path /cgi-bin/pkiclient.exe when the URL has none. message is percent-escaped; binary messages are base64 first. */
int scep_url_build(const char *base, const char *operation, const void *message, size_t message_len, bool base64, struct buf *ret, struct err *reterr) CHECKED;
/* message= of a GET after percent-decoding: base64, lenient (newlines, space for '+', missing padding). -EBADMSG, -EMSGSIZE. */
int scep_message_decode(const char *text, size_t len, struct buf *ret, struct err *reterr) CHECKED;

/* The allow-list walker: accepts exactly the shape of a pkiMessage before OpenSSL sees it. No allocation. */
int scep_shape_check(const void *der, size_t len, struct err *reterr) CHECKED;

const char *scep_type_name(enum scep_type type); /* "PKCSReq" ...; NULL for anything else */
const char *scep_fail_name(enum scep_fail fail); /* "badAlg" ... */
const char *scep_cipher_name(enum scep_cipher c);
const char *scep_digest_name(enum scep_digest d);

#endif

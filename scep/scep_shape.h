/* What the walker found: slices of the message, which must outlive them. See scep_shape.c for what is allowed. */
#ifndef KEYROLL_SCEP_SCEP_SHAPE_H
#define KEYROLL_SCEP_SCEP_SHAPE_H

#include "scep/scep.h"
#include "scep/scep_der.h"

struct shape_attrs { /* bodies; absent ones have at == NULL */
	struct der message_type, status, fail, sender_nonce, recipient_nonce, transaction_id, fail_text;
	struct der message_digest, content_type;
	struct der signing_time; /* whole value: its tag tells the form */
};

struct shape_signed {
	enum scep_digest digest;
	bool content_is_signed_data; /* else id-data */
	bool content_present;
	struct der content;
	unsigned n_certs;
	struct der certs; /* body of the set */
	struct shape_attrs attrs;
	/* of a pkiMessage */
	enum scep_type type;
	enum scep_status reply_status;
	enum scep_fail reply_fail;
};

struct shape_envelope {
	bool cipher_known;
	enum scep_cipher cipher;
	struct der key, iv, content;
};

struct shape_bag { /* certs-only */
	unsigned n_certs, n_crls;
	struct der cert[LIMIT_BUNDLE_CERTS]; /* whole values */
	struct der crl;			     /* whole value */
};

/* A SignedData with one signer, signed attributes, and nothing unexpected. -EBADMSG. */
int shape_signed(const struct der *in, struct shape_signed *ret, struct err *reterr) CHECKED;
/* The same, and the attributes of a pkiMessage, each well-formed; fills type, reply_status, reply_fail. -EBADMSG. */
int shape_message(const struct der *in, struct shape_signed *ret, struct err *reterr) CHECKED;
/* signedAttrs [0]: body given. -EBADMSG. */
int shape_attrs(struct der in, struct shape_attrs *ret, struct err *reterr) CHECKED;
/* The attributes that a pkiMessage must have, RFC 8894 3.2.1. */
int shape_message_attrs(struct shape_signed *s, struct err *reterr) CHECKED;
/* pkcsPKIEnvelope. -EBADMSG. */
int shape_envelope(const struct der *in, struct shape_envelope *ret, struct err *reterr) CHECKED;
/* Degenerate SignedData: a ContentInfo, or the bare SignedData. -EBADMSG. */
int shape_bag(const struct der *in, struct shape_bag *ret, struct err *reterr) CHECKED;

/* Parts */
bool shape_algorithm(struct der *in, struct der *ret_oid, struct der *ret_parameters) CHECKED; /* AlgorithmIdentifier; parameters: what follows the OID */
bool shape_null_or_absent(const struct der *parameters) CHECKED;
bool shape_issuer_and_serial(struct der *in) CHECKED;

#endif

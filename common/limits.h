/* Every size that a peer, a file or a token influences. */
#ifndef KEYROLL_COMMON_LIMITS_H
#define KEYROLL_COMMON_LIMITS_H

enum {
	LIMIT_SCEP_MESSAGE_BYTES = 64 * 1024,	/* one pkiMessage, either way */
	LIMIT_CA_REPLY_BYTES = 1024 * 1024,	/* GetCACert, GetNextCACert, CRL */
	LIMIT_CAPS_BYTES = 4 * 1024,
	LIMIT_URI_BYTES = 12 * 1024,		/* GET with message= */
	LIMIT_BUNDLE_CERTS = 32,
	LIMIT_TRANSACTION_ID_BYTES = 255,
	LIMIT_NONCE_BYTES = 64,			/* accepted; 16 are sent */
	LIMIT_CHALLENGE_BYTES = 8 * 1024,
	LIMIT_DER_DEPTH = 16,
	LIMIT_SIGNED_ATTRS = 24,
	LIMIT_LABEL_BYTES = 64,			/* key label, trustpoint and CA names */
	LIMIT_CONF_BYTES = 256 * 1024,
	LIMIT_CONF_LINE_BYTES = 4096,
	LIMIT_CTL_MESSAGE_BYTES = 1024 * 1024,	/* to a daemon */
	LIMIT_CTL_REPLY_BYTES = 16 * 1024 * 1024, /* from it: some thousand trustpoints */
	LIMIT_CTL_CLIENTS = 64,
	LIMIT_PENDING_REQUESTS = 100000,	/* of one CA */
	LIMIT_PENDING_PER_ADDRESS = 1000,
	LIMIT_KEY_BITS_MIN = 2048,
	LIMIT_KEY_BITS_MAX = 4096,		/* the kernel refuses more */
};

#endif

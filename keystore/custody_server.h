/* The custodian: serves keys of one state folder on one socket. keyroll-keyd and keyroll-signer are this server with different options; the
 * signer adds a floor, which sees the bytes of each request for a signature before the key is touched. */
#ifndef KEYROLL_KEYSTORE_CUSTODY_SERVER_H
#define KEYROLL_KEYSTORE_CUSTODY_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"
#include "keystore/ks.h"

enum custody_padding { CUSTODY_PADDING_PKCS1, CUSTODY_PADDING_PSS, CUSTODY_PADDING_OAEP, CUSTODY_PADDING_TLS, CUSTODY_PADDING_N_ };

struct custody_ask { /* a request to sign, as the floor sees it; everything is borrowed for the time of the call */
	const char *label;
	const char *spki;      /* lower-case hex of SHA-256 over SubjectPublicKeyInfo */
	enum ks_slot slot;     /* where that key lies now */
	const char *digest;    /* "SHA256", "SHA384", "SHA512" ... */
	enum custody_padding padding;
	const uint8_t *bytes;  /* what is to be signed (not its digest): the DER of a TBSCertificate, a TBSCertList, CMS signed attributes ... */
	size_t len;	       /* at most LIMIT_CA_REPLY_BYTES */
	const uint8_t *spki_der; /* the key's SubjectPublicKeyInfo, to find its own certificates by */
	size_t spki_der_len;
	uid_t uid;	       /* of the peer */
};

/* Answers 0, or a negative errno with the reason, which the client gets (-EPROTO: not allowed). Called on the event loop's thread, one at a time,
 * so it needs no lock and must not block. */
typedef int (*custody_check_fn)(void *userdata, const struct custody_ask *ask, struct err *reterr);

struct custody_options {
	const char *program;	    /* for the log and sd_notify's STATUS: "keyroll-keyd" */
	const char *state_dir;	    /* with the root's prefix already; made with mode 0700 when missing */
	const char *socket_path;    /* likewise; not used when the service manager hands a socket over (LISTEN_FDS) */
	mode_t socket_mode;	    /* of a socket that the server makes */
	enum ks_protection protection; /* AUTO: the best that the probe proves; a named one that is not to be had stops the start */
	bool seal;		    /* false: Seal=none, keys survive a restart of the program, not of the machine */
	bool keep_parsed;	    /* level keyring: keep the decoded key in memory instead of decoding it for each operation */
	const char *token_provider, *token_pin_file; /* level token: token_configure; NULL: there is none */
	int workers;		    /* threads for private operations; 0: one for each core, at most 8 */
	const char *const *makers;  /* users who may generate keys beside root and the server's own user; NULL: nobody else */
	bool allow_sign_digest;	    /* signing of a digest alone, which no floor can judge */
	bool allow_decrypt;
	bool decrypt_pkcs1_only;    /* SCEP's envelopes need no other padding */
	custody_check_fn check_sign; /* NULL: no floor */
	void *userdata;		    /* of check_sign */
};

/* Serves until SIGTERM or SIGINT; then 0. READY=1 is sent once keys are found and the socket listens; WATCHDOG=1 when asked for. Opens no log (call
 * log_open before).
 * Negative errno when it cannot start: -ENOTSUP the named protection, -EACCES the folder, -EADDRINUSE another custodian listens there, -EBADMSG damaged state,
 * -EPERM keyctl is forbidden (containers). fs_set_root must have been called. Call once for each process. */
int custody_server_run(const struct custody_options *o, struct err *reterr) CHECKED;

#endif

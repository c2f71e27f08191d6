/* Custody on the wire: AF_UNIX SOCK_SEQPACKET, one record for a request, one for its reply. Big endian, fixed header, then five fields without
 * padding: label, spki (0 or 64 lower-case hex digits), name, text, body. A body above CUSTODY_BODY_INLINE travels in a sealed memfd beside the record.
 *
 *   0 u16 magic "KR" | 2 u8 version | 3 u8 operation | 4 u32 id | 8 i32 status | 12 u8 slot | 13 u8 padding | 14 u8 protection | 15 u8 flags
 *   16 u32 number | 20 u16 label length | 22 u16 spki length | 24 u16 name length | 26 u16 text length | 28 u32 body length
 *
 * The body of GENERATE is the users' names, then the groups', each ended by NUL, each list ended by an empty name. The body of a LOAD reply is the
 * SubjectPublicKeyInfo; its name is the level at rest, its text what better protection
 * would need; a request for a key has a text too, no other record. An error's body is its text. LIST replies hold one line for each key. */
#ifndef KEYROLL_KEYSTORE_CUSTODY_PROTO_H
#define KEYROLL_KEYSTORE_CUSTODY_PROTO_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/limits.h"

enum custody_op {
	CUSTODY_OP_GENERATE,	/* label, slot, protection, number = bits, body = who may use it, text = URI of a token's key that is taken instead of
				 * making one; reply: spki, when it is done */
	CUSTODY_OP_LOAD,	/* label, slot or spki; reply: slot, protection, number = bits, spki, name = at rest, text = advice, body = public key */
	CUSTODY_OP_SIGN,	/* label, spki, name = digest, padding, number = PSS salt bytes, body = the bytes; reply: body = signature */
	CUSTODY_OP_SIGN_DIGEST, /* the same, body = the digest */
	CUSTODY_OP_DECRYPT,	/* label, spki, padding, body = ciphertext; reply: body = plaintext. PKCS#1 v1.5: or random bytes when the padding was bad.
				 * OAEP: name = "DIGEST,MGF1-DIGEST", number = bytes of the label, which follows the ciphertext. TLS (the premaster secret of
				 * RFC 5246 7.4.7.1): number = client_hello version << 16 | another version to be taken, or 0; reply: 48 bytes, random when
				 * padding, length or version were wrong */
	CUSTODY_OP_PROMOTE,	/* label, spki */
	CUSTODY_OP_DELETE,	/* label, spki or none */
	CUSTODY_OP_LIST,	/* reply: body = "label slot spki bits protection at-rest\n" ... */
	CUSTODY_OP_LEVEL,	/* protection; reply: whether a key can be made at that level, in its status */
	CUSTODY_OP_N_
};

enum {
	CUSTODY_VERSION = 1,
	CUSTODY_HEADER_BYTES = 32,
	CUSTODY_FLAG_FD = 1, /* the body lies in the descriptor beside the record */
	CUSTODY_SPKI_BYTES = 64,
	CUSTODY_NAME_BYTES = 64,
	CUSTODY_TEXT_BYTES = 256, /* printable ASCII with blanks */
	CUSTODY_BODY_INLINE = 64 * 1024,
	CUSTODY_BODY_BYTES = LIMIT_CA_REPLY_BYTES,
	CUSTODY_RECORD_BYTES = CUSTODY_HEADER_BYTES + LIMIT_LABEL_BYTES + CUSTODY_SPKI_BYTES + CUSTODY_NAME_BYTES + CUSTODY_TEXT_BYTES +
			       CUSTODY_BODY_INLINE,
};

struct custody_msg {
	enum custody_op op;
	uint32_t id;
	int32_t status; /* of a reply: 0 or a negative errno */
	uint8_t slot, padding, protection;
	uint32_t number;
	char label[LIMIT_LABEL_BYTES + 1];
	char spki[CUSTODY_SPKI_BYTES + 1];
	char name[CUSTODY_NAME_BYTES + 1];
	char text[CUSTODY_TEXT_BYTES + 1];
	struct buf body;
};
#define CUSTODY_MSG_EMPTY ((struct custody_msg){ .body = BUF_EMPTY })
void custody_msg_clear(struct custody_msg *m); /* keeps the body's secret flag only */
static inline void auto_custody_msg(struct custody_msg *m)
{
	custody_msg_clear(m);
}

/* Reads one record. *ret_body_len is not 0 when the body lies in a descriptor: take it with custody_msg_body_fd. -EBADMSG with the field's name. */
int custody_msg_parse(const uint8_t *data, size_t len, struct custody_msg *ret, size_t *ret_fd_body, struct err *reterr) CHECKED;
/* Writes header and short fields, and the body too when it is short; *ret_fd is -1 or a sealed memfd that holds the body. -EMSGSIZE, -ENOMEM. */
int custody_msg_build(const struct custody_msg *m, struct buf *ret, int *ret_fd, struct err *reterr) CHECKED;
/* Reads the body from the peer's memfd, after checking its seals and length. fd stays the caller's. -EPROTO. */
int custody_msg_body_fd(struct custody_msg *m, int fd, size_t len, struct err *reterr) CHECKED;

/* One record each way. -EAGAIN and -EINTR as recv(2) and send(2); -ECONNRESET when the peer has gone; -EBADMSG. */
int custody_msg_send(int fd, const struct custody_msg *m, struct err *reterr) CHECKED;
int custody_msg_recv(int fd, struct custody_msg *ret, struct err *reterr) CHECKED;

/* Takes one NUL-ended list out of a GENERATE body at *pos. Names are at most LIMIT_LABEL_BYTES of printable ASCII without space or comma, at most
 * CUSTODY_NAMES of them; joined by commas into ret ("" for none). -EBADMSG. */
enum { CUSTODY_NAMES = 16 };
int custody_names_parse(const struct buf *body, size_t *pos, struct buf *ret, struct err *reterr) CHECKED;
int custody_names_build(const char *const *names, struct buf *append) CHECKED;

#endif

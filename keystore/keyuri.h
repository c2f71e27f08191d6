/* The names of keys: keyroll://LABEL[/SLOT][?spki=HEX][&socket=PATH] (keyroll:LABEL and keyroll:object=LABEL are taken too), and a URI's form in a
 * file: a PEM block "KEYROLL URI" around SEQUENCE { UTF8String "Keyroll URI", UTF8String uri }. The bytes come from a program's user: bounded. */
#ifndef KEYROLL_KEYSTORE_KEYURI_H
#define KEYROLL_KEYSTORE_KEYURI_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "keystore/custody_proto.h"
#include "keystore/ks.h"

#define KEYURI_PEM_NAME "KEYROLL URI"
#define KEYURI_STRUCTURE "keyroll-uri" /* what our two decoders call the DER form between them */
enum { KEYURI_BYTES = 512, KEYURI_SOCKET_BYTES = 107, KEYURI_DER_BYTES = KEYURI_BYTES + 32 };

struct keyuri {
	char label[LIMIT_LABEL_BYTES + 1];
	enum ks_slot slot; /* active when none is named */
	char spki[CUSTODY_SPKI_BYTES + 1]; /* "": the slot says which */
	char socket[KEYURI_SOCKET_BYTES + 1]; /* "": the configured one */
};

/* Reads len bytes of text. -EINVAL with what is wrong. */
int keyuri_parse(const char *text, size_t len, struct keyuri *ret, struct err *reterr) CHECKED;
/* The text within the DER form, borrowed from der. -EBADMSG: it is none, which a decoder passes over in silence. */
int keyuri_der_parse(const uint8_t *der, size_t len, const char **ret_text, size_t *ret_len) CHECKED;
/* Appends the PEM block. -EINVAL: the text is too long; -ENOMEM. */
int keyuri_pem_build(const char *text, struct buf *append) CHECKED;

#endif

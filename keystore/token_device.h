/* The device behind token.h: open or closed, its PIN, and how long it has been at work. Only for token.c: all but token_device_enter under the lock
 * that it takes. */
#ifndef KEYROLL_KEYSTORE_TOKEN_DEVICE_H
#define KEYROLL_KEYSTORE_TOKEN_DEVICE_H

#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/ui.h>
#include <stdbool.h>

#include "common/buf.h"
#include "common/err.h"

enum { TOKEN_OPERATION_SEC = 30, TOKEN_MAKING_SEC = 180 }; /* a device that takes longer for one request does not answer */

struct token_device {
	const char *provider;
	char properties[96]; /* "provider=NAME" */
	OSSL_LIB_CTX *lib;
	OSSL_PROVIDER *base, *device; /* NULL: closed */
	UI_METHOD *pin;
	EVP_PKEY *key; /* The last one used stays loaded: a TPM takes longer for loading one than for an operation with it, and holds three. */
	struct buf key_reference;
	bool pin_given;	   /* for that key, and not proved right by an operation yet */
	bool pin_withheld; /* it was asked for, and is one that was refused */
	struct buf proved; /* the reference whose PIN was proved right last; kept when the device is closed */
};

extern struct token_device token;

/* Takes the device for one request, which is taken for hung after sec seconds. Waits for the requests before it. */
void token_device_enter(unsigned sec);
void token_device_leave(void);

/* Opens it, unless it is open. -ENOTSUP: none is configured; -EPERM: the PIN file, with what is wrong with it; -EINVAL: the provider's name is too long;
 * -ENODEV. */
int token_device_open(struct err *reterr) CHECKED;
/* Whether an open one passes its own test, if its provider has one. */
bool token_device_answers(void);
void token_device_close(void); /* its key too */
void token_key_drop(void);

/* Notes that the device did not take the PIN, which is then withheld until its file has changed. -EACCES, with the words for it. */
int token_pin_refuse(struct err *reterr);
int token_pin_words(struct err *reterr); /* the same words alone */

#endif

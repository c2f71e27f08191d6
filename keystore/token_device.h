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
	bool pin_given; /* since the last operation that proved it right */
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

/* Devices count wrong PINs, and lock themselves after a few: one that was refused is not tried again until its file has changed. */
bool token_pin_is_refused(void);
int token_pin_refuse(struct err *reterr); /* notes that the device did not take it. -EACCES, with the words for it */

#endif

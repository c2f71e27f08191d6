/* The certificates of one trustpoint, kept as PEM text and found by what the machine knows of them. The machine's state alone says which
 * of them is the CA, the shadow, and so on: a change of role is a change of state, so no crash can leave two files that disagree. */
#ifndef KEYROLL_AGENT_BAG_H
#define KEYROLL_AGENT_BAG_H

#include <openssl/x509.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/err.h"
#include "lifecycle/tp.h"

#define BAG_MAX 12

struct bag_entry {
	struct tp_cert who;
	struct buf pem; /* the certificate; for a CA with RA certificates: CA, encryption, signing */
};
struct bag {
	struct bag_entry list[BAG_MAX];
	size_t n;
};

struct tp_cert bag_identity(X509 *x); /* na_sec 0 when x cannot be read */
/* Adds, or replaces what has the same identity, which is that of the first certificate. -ENOSPC, -ENOMEM, -EBADMSG. */
int bag_add(struct bag *bag, X509 *const *certs, size_t n, struct tp_cert *ret_who, struct err *reterr) CHECKED;
int bag_add_pem(struct bag *bag, const char *pem, size_t len, struct err *reterr) CHECKED;
/* Borrowed PEM, or NULL. */
const struct buf *bag_get0(const struct bag *bag, const struct tp_cert *who);
/* Parsed, owned by the caller. -ENOENT when it is not there. */
int bag_certs(const struct bag *bag, const struct tp_cert *who, STACK_OF(X509) **ret, struct err *reterr) CHECKED;
int bag_cert(const struct bag *bag, const struct tp_cert *who, X509 **ret, struct err *reterr) CHECKED;
/* Keeps those that keep says. */
void bag_sweep(struct bag *bag, bool (*keep)(const struct tp_cert *who, const void *arg), const void *arg);
void bag_clear(struct bag *bag);
bool bag_same(const struct tp_cert *a, const struct tp_cert *b);

#endif

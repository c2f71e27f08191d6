/* The client's side of custody: connections to one custodian's socket, kept for reuse, safe for threads and across fork(2). */
#ifndef KEYROLL_KEYSTORE_CUSTODY_CONN_H
#define KEYROLL_KEYSTORE_CUSTODY_CONN_H

#include "common/auto.h"
#include "common/err.h"
#include "keystore/custody_proto.h"

struct custody_pool;

#define CUSTODY_SOCKET_DEFAULT "/run/keyroll/keyd.sock"
enum { CUSTODY_TIMEOUT_MS = 2000 }; /* KeydTimeout: how long one operation may take */

/* A connected socket, on which no call waits for longer than CUSTODY_TIMEOUT_MS. -ETIMEDOUT: no room in the backlog for so long. -ECONNREFUSED,
 * -ENOENT, -EACCES: nobody serves there, or not us. */
int custody_connect(const char *path, int *ret_fd, struct err *reterr) CHECKED;

int custody_pool_new(const char *path, struct custody_pool **ret, struct err *reterr) CHECKED;
void custody_pool_free(struct custody_pool *p);
/* Sends the request (its id is set here) and waits for the reply. A connection that the custodian's restart has cut is made anew once; in a forked
 * child the parent's are never used, so that the custodian sees the child's own user. All of that takes CUSTODY_TIMEOUT_MS at most, whatever signals
 * the program catches meanwhile. A reply with a status becomes this call's error, with its text. -ETIMEDOUT, -ECONNREFUSED, -ECONNRESET, -EBADMSG. */
int custody_ask(struct custody_pool *p, struct custody_msg *request, struct custody_msg *ret_reply, struct err *reterr) CHECKED;
/* The reply's status as our error. */
int custody_reply_check(const struct custody_msg *request, const struct custody_msg *reply, struct err *reterr) CHECKED;

AUTO_DEFINE(custody_pool, struct custody_pool *, custody_pool_free);

#endif

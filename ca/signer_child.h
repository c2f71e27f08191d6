/* keyroll-signer as a child of the front: started on a socket that the front holds, as the service manager would. */
#ifndef KEYROLL_CA_SIGNER_CHILD_H
#define KEYROLL_CA_SIGNER_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"

struct signer_child {
	pid_t pid; /* 0: none */
};

/* listen_fd stays the caller's. The caller waits for the pid. -ENOENT when the program is not found. */
int signer_child_start(struct signer_child *c, const char *name, int listen_fd, bool verbose, struct err *reterr) CHECKED;
/* SIGTERM, and waits. */
void signer_child_stop(struct signer_child *c);

#endif

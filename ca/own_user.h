/* --init by an operator who is root: what it makes belongs to the user that the CA's unit runs as. */
#ifndef KEYROLL_CA_OWN_USER_H
#define KEYROLL_CA_OWN_USER_H

#include "common/auto.h"
#include "common/err.h"

/* Becomes user keyroll-ca for good, when this process is root, there is such a user, and there is no --root. Otherwise does nothing. Before any
 * thread. -EPERM ... with the reason when it cannot. */
int own_user_become(struct err *reterr) CHECKED;

#endif

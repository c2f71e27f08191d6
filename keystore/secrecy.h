/* What keeps private keys in the memory of a process of ours, and there no longer than they are used. */
#ifndef KEYROLL_KEYSTORE_SECRECY_H
#define KEYROLL_KEYSTORE_SECRECY_H

#include "common/auto.h"
#include "common/err.h"

/* Memory that OpenSSL gives back is wiped, in this process and its forked children: its decoders free the DER of a private key as it is, which then lies in
 * malloc(3)'s free blocks for days. Before OpenSSL allocates anything, so at the head of main. -EALREADY: it has allocated. */
int secrecy_heap(struct err *reterr) CHECKED;
/* No core and no ptrace by others, and nothing on swap where locked memory is not limited (under a limit, later allocations would fail instead). Best
 * effort. Locks are not inherited over fork(2), so a child calls it again. */
void secrecy_process(void);

#endif

/* See secrecy.h: CRYPTO_set_mem_functions(3), mlockall(2). */
#include <errno.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "keystore/secrecy.h"

static void *take(size_t len, const char *file, int line)
{
	(void) file; /* of the caller, for debugging */
	(void) line;
	return malloc(len);
}

/* All of the block: what an earlier owner of it asked for may have been longer. */
static void give_back(void *p, const char *file, int line)
{
	(void) file;
	(void) line;
	if (p)
		explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

/* realloc(3) would leave the old place as it is. */
static void *resize(void *p, size_t len, const char *file, int line)
{
	size_t old = p ? malloc_usable_size(p) : 0;
	void *moved = len > 0 ? take(len, file, line) : NULL;

	if (len > 0 && !moved)
		return NULL;
	if (moved && p)
		memcpy(moved, p, old < len ? old : len);
	give_back(p, file, line);
	return moved;
}

int secrecy_heap(struct err *reterr)
{
	return CRYPTO_set_mem_functions(take, resize, give_back) ? 0 : err_set(reterr, -EALREADY, "OpenSSL has memory already that would not be wiped");
}

void secrecy_process(void)
{
#ifndef __SANITIZE_ADDRESS__ /* whose leak checker looks in by ptrace */
	struct rlimit none = { 0, 0 }, lock;

	(void) prctl(PR_SET_DUMPABLE, 0); /* best effort all three */
	(void) setrlimit(RLIMIT_CORE, &none);
	if (getrlimit(RLIMIT_MEMLOCK, &lock) == 0 && lock.rlim_cur == RLIM_INFINITY)
		(void) mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
#endif
}

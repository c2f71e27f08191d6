/* keyroll-keyd with a device that hangs: while there is a FIFO where KEYROLL_TEST_HANG says, the device's test of itself lasts until somebody opens that
 * FIFO for writing. Linked with --wrap for that one call, so that all of the custodian is what is shipped. */
#include <fcntl.h>
#include <openssl/provider.h>
#include <stdlib.h>
#include <unistd.h>

int __real_OSSL_PROVIDER_self_test(const OSSL_PROVIDER *provider);
int __wrap_OSSL_PROVIDER_self_test(const OSSL_PROVIDER *provider);

int __wrap_OSSL_PROVIDER_self_test(const OSSL_PROVIDER *provider)
{
	const char *path = getenv("KEYROLL_TEST_HANG");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (fd >= 0)
		(void) close(fd); /* nothing was written */
	return __real_OSSL_PROVIDER_self_test(provider);
}

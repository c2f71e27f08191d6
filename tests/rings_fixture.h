/* What custodians leave in the kernel: keys outlive a custodian on purpose, a test's shall not outlive the test, however the custodian ended. */
#ifndef KEYROLL_TESTS_RINGS_FIXTURE_H
#define KEYROLL_TESTS_RINGS_FIXTURE_H

#include <stdbool.h>
#include <keyutils.h>

/* The keyring that anchors the custodian of state_dir (an absolute path without links), or -1 with errno. */
key_serial_t rings_anchor(const char *state_dir, char *ret_name, size_t room);
/* Empties and unlinks it, once the custodian has ended. True also when there is none. */
bool rings_purge(const char *state_dir);

#endif

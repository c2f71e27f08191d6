/* Keyrings of a test's custodian: see rings_fixture.h. */
#include "tests/rings_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/x509facts.h"

key_serial_t rings_anchor(const char *state_dir, char *ret_name, size_t room)
{
	char hash[X509F_SHA256_HEX];

	sha256_hex(state_dir, strlen(state_dir), hash);
	(void) snprintf(ret_name, room, "keyroll:%.24s", hash); /* as keystore/ring.c names it */
	if (keyctl_join_session_keyring(NULL) < 0 || keyctl_link(KEY_SPEC_USER_KEYRING, KEY_SPEC_SESSION_KEYRING) < 0)
		return -1;
	return (key_serial_t) keyctl_search(KEY_SPEC_USER_KEYRING, "keyring", ret_name, 0);
}

bool rings_purge(const char *state_dir)
{
	char name[80];
	key_serial_t anchor = rings_anchor(state_dir, name, sizeof(name));

	if (anchor < 0)
		return errno == ENOKEY;
	return keyctl_clear(anchor) == 0 && keyctl_unlink(anchor, KEY_SPEC_USER_KEYRING) == 0;
}

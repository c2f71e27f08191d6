/* A keyroll-keyd of one's own for a test: its root is a temporary folder, its socket is made here and handed over as a service manager does, so that
 * nobody waits for it to come up, and a killed one is followed by another on the same socket. */
#ifndef KEYROLL_TESTS_KEYD_FIXTURE_H
#define KEYROLL_TESTS_KEYD_FIXTURE_H

#include <keyutils.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <sys/types.h>

#include "keystore/ks.h"

struct keyd {
	char root[64];
	char socket[96];
	int listen_fd;
	pid_t pid;
	uid_t uid; /* whom the custodian runs as, when not 0 */
};

/* conf: text of keyd.conf, or NULL. $KEYROLL_PROTECTION, where it is set, is the level that keyd.conf names, unless conf names another: without it
 * the custodian does not start. */
bool keyd_setup(struct keyd *k, const char *conf);
/* The same, run by another user (root only). */
bool keyd_setup_as(struct keyd *k, const char *conf, uid_t uid);
/* Runs $KEYROLL_TOKEN_TIDY before, where it is set: frees what a killed custodian left in a device that has no resource manager. */
bool keyd_start(struct keyd *k);
bool keyd_conf_write(const struct keyd *k, const char *conf); /* for the next start */
void keyd_signal(struct keyd *k, int sig); /* and waits for its end; 0: which it comes to by itself */
bool keyd_restart_logged(struct keyd *k, int log_fd); /* and what it says goes there */
/* Deletes the labels (NULL-terminated), ends the custodian, removes the folder: no key and no keyring stays behind. 0, or its exit status. */
int keyd_teardown(struct keyd *k, const char *const *labels);
/* Invalidates every key in the custodian's slot rings, as a reboot does. */
bool keyd_rings_empty(const struct keyd *k);
/* The custodian's keyrings, for who meddles with them; -1 with errno. Gives the caller a session keyring with @u in it. */
key_serial_t keyd_anchor(const struct keyd *k);
key_serial_t keyd_ring(const struct keyd *k, enum ks_slot slot);
int keyd_ring_keys(const struct keyd *k, enum ks_slot slot); /* how many keys lie in it; -1 */
/* ks_generate to its end. */
int keyd_make(struct ks *ks, const struct ks_spec *spec, char spki[KS_SPKI_HEX], struct err *reterr);
/* The public half, in the default provider; the caller frees it. NULL. */
EVP_PKEY *keyd_public(EVP_PKEY *key);
/* Signs SHA-256 of a text with the handle and verifies with the default provider's public key. */
bool keyd_key_works(EVP_PKEY *key);

#endif

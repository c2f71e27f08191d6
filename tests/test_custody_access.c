/* Who may do what with a key, and what the custodian's configuration changes. Other users are tried by children that become `nobody`, which takes root. */
#include <errno.h>
#include <grp.h>
#include <openssl/err.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "common/auto_ssl.h"
#include "common/fs.h"
#include "keystore/custody_conn.h"
#include "keystore/custody_peer.h"
#include "tests/keyd_fixture.h"
#include "tests/test_main.h"

static struct keyd keyd;
static const char *const labels[] = { "mine", "lent", "theirs", NULL };

static int make(struct ks *ks, const char *label, enum ks_slot slot, const char *const *users, char spki[KS_SPKI_HEX])
{
	struct ks_spec spec = { .label = label, .slot = slot, .bits = 2048, .users = users };

	return keyd_make(ks, &spec, spki, NULL);
}

/* What `nobody` gets: one bit for each answer that is not the one wanted. */
static int as_nobody(const char *socket)
{
	AUTO(ks) struct ks *ks = NULL;
	AUTO(pkey) EVP_PKEY *key = NULL;
	struct ks_key facts;
	char spki[KS_SPKI_HEX];
	int bad = 0;

	if (ks_open(socket, &ks, NULL) < 0)
		return 254;
	bad |= (ks_load(ks, "mine", KS_SLOT_ACTIVE, NULL, NULL, &facts, NULL) != -EACCES) << 0;
	bad |= (ks_load(ks, "lent", KS_SLOT_SHADOW, NULL, NULL, &facts, NULL) != -EACCES) << 1;
	bad |= (ks_load(ks, "lent", KS_SLOT_ACTIVE, NULL, &key, &facts, NULL) != 0 || !keyd_key_works(key)) << 2;
	bad |= (ks_promote(ks, "lent", facts.spki, NULL) != -EACCES) << 3;
	bad |= (ks_delete(ks, "lent", NULL, NULL) != -EACCES) << 4;
	bad |= (make(ks, "theirs", KS_SLOT_ACTIVE, NULL, spki) != -EACCES) << 5;
	bad |= (make(ks, "lent", KS_SLOT_SHADOW, NULL, spki) != -EACCES) << 6;
	bad |= (ks_level(ks, KS_PROTECTION_KERNEL, NULL) != -EACCES) << 7;
	return bad;
}

static int in_child(const char *socket)
{
	struct passwd *pw = getpwnam("nobody");
	pid_t pid;
	int status;

	if (!pw)
		return -1;
	pid = fork();
	if (pid == 0) {
		if (setgroups(0, NULL) < 0 || setgid(pw->pw_gid) < 0 || setuid(pw->pw_uid) < 0)
			_exit(255);
		_exit(as_nobody(socket));
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_others(void)
{
	static const char *const nobody[] = { "nobody", NULL };
	struct ks *ks = NULL;
	char spki[KS_SPKI_HEX];

	NEED(geteuid() == 0, "not root");
	CU_ASSERT_TRUE(keyd_setup(&keyd, NULL));
	CU_ASSERT_EQUAL(ks_open(keyd.socket, &ks, NULL), 0);
	CU_ASSERT_EQUAL(make(ks, "mine", KS_SLOT_ACTIVE, NULL, spki), 0);
	CU_ASSERT_EQUAL(make(ks, "lent", KS_SLOT_ACTIVE, nobody, spki), 0);
	CU_ASSERT_EQUAL(make(ks, "lent", KS_SLOT_SHADOW, nobody, spki), 0);
	CU_ASSERT_EQUAL(in_child(keyd.socket), 0);
	CU_ASSERT_EQUAL(ks_promote(ks, "lent", spki, NULL), 0);
	ks_close(ks);
	CU_ASSERT_EQUAL(keyd_teardown(&keyd, labels), 0);
}

/* ---- other users, with the handle that was loaded before they were forked: as a server's workers */

enum worker_use { USE_WORKS, USE_REFUSED, USE_OTHERWISE, USE_NOT_TRIED };

struct worker {
	const char *why, *user, *group; /* group: supplementary, besides the user's own */
	int more_groups;		/* before it in the list */
	enum worker_use want;
};

static bool worker_become(const struct worker *w)
{
	const struct passwd *pw = getpwnam(w->user);
	const struct group *gr = w->group ? getgrnam(w->group) : NULL;
	gid_t gids[PEER_GROUPS + 1];
	size_t n = 0;

	if (!pw || (w->group && !gr))
		return false;
	for (; n < (size_t) w->more_groups; n++)
		gids[n] = 1879048192u + (gid_t) n; /* nobody's */
	if (gr)
		gids[n++] = gr->gr_gid;
	return setgroups(n, gids) == 0 && setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) == 0 && setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) == 0;
}

/* Refused is: an error that names the reason, and the public half goes on being of use. */
static enum worker_use worker_use(EVP_PKEY *key)
{
	const char *text = NULL;
	int flags = 0;

	ERR_clear_error();
	if (keyd_key_works(key))
		return USE_WORKS;
	(void) ERR_peek_last_error_all(NULL, NULL, NULL, &text, &flags); /* text and flags are looked at */
	return (flags & ERR_TXT_STRING) && strstr(text, "may not use") && EVP_PKEY_get_bits(key) == 2048 ? USE_REFUSED : USE_OTHERWISE;
}

static enum worker_use worker_use_twice(EVP_PKEY *key)
{
	enum worker_use first = worker_use(key); /* by root's connection, were it inherited */

	return worker_use(key) == first ? first : USE_OTHERWISE;
}

static enum worker_use worker_run(const struct worker *w, EVP_PKEY *key)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(worker_become(w) ? (int) worker_use_twice(key) : USE_NOT_TRIED);
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? (enum worker_use) WEXITSTATUS(status) : USE_OTHERWISE;
}

static const struct worker workers[] = {
	{ "in Users=", "daemon", NULL, 0, USE_WORKS },
	{ "in neither", "nobody", NULL, 0, USE_REFUSED },
	{ "in another group", "nobody", "games", 0, USE_REFUSED },
	{ "in Groups= by a supplementary group", "nobody", "mail", 0, USE_WORKS },
	{ "in Groups= by its own group", "mail", NULL, 0, USE_WORKS },
	{ "in Groups=, the last that fits", "nobody", "mail", PEER_GROUPS - 2, USE_WORKS },
	{ "in more groups than are looked at", "nobody", "mail", PEER_GROUPS, USE_REFUSED },
};

static void test_workers(void)
{
	static const char *const users[] = { "bin", "daemon", NULL }, *const groups[] = { "sys", "mail", NULL };
	struct ks_spec spec = { .label = "lent", .slot = KS_SLOT_ACTIVE, .bits = 2048, .users = users, .groups = groups };
	AUTO(pkey) EVP_PKEY *key = NULL;
	AUTO(pkey) EVP_PKEY *shadow = NULL;
	struct ks *ks = NULL;
	char spki[KS_SPKI_HEX];

	if (geteuid() != 0) {
		printf("(skipped: not root) ");
		return;
	}
	CU_ASSERT_TRUE(keyd_setup(&keyd, NULL));
	CU_ASSERT_EQUAL(ks_open(keyd.socket, &ks, NULL), 0);
	CU_ASSERT_EQUAL(keyd_make(ks, &spec, spki, NULL), 0);
	CU_ASSERT_EQUAL(ks_load(ks, "lent", KS_SLOT_ACTIVE, spki, &key, NULL, NULL), 0);
	spec.slot = KS_SLOT_SHADOW;
	CU_ASSERT_EQUAL(keyd_make(ks, &spec, spki, NULL), 0);
	CU_ASSERT_EQUAL(ks_load(ks, "lent", KS_SLOT_SHADOW, spki, &shadow, NULL, NULL), 0);
	CU_ASSERT_TRUE(keyd_key_works(key)); /* root's connection is open and idle when the workers are forked */
	for (size_t i = 0; i < sizeof(workers) / sizeof(workers[0]); i++) {
		enum worker_use got = worker_run(&workers[i], key);

		if (got != workers[i].want)
			printf("%s: %d ", workers[i].why, (int) got);
		CU_ASSERT_EQUAL(got, workers[i].want);
		CU_ASSERT_EQUAL(worker_run(&workers[i], shadow), USE_REFUSED);
	}
	CU_ASSERT_TRUE(keyd_key_works(key));
	ks_close(ks);
	CU_ASSERT_EQUAL(keyd_teardown(&keyd, labels), 0);
}

static void test_maker(void)
{
	struct ks *ks = NULL;
	int status = -1;
	pid_t pid;

	NEED(geteuid() == 0, "not root");
	CU_ASSERT_TRUE(keyd_setup(&keyd, "[Keyd]\nMakers=daemon nobody\n"));
	pid = fork();
	if (pid == 0) {
		struct passwd *pw = getpwnam("nobody");
		char spki[KS_SPKI_HEX];

		_exit(!pw || setuid(pw->pw_uid) < 0 || ks_open(keyd.socket, &ks, NULL) < 0 || make(ks, "theirs", KS_SLOT_ACTIVE, NULL, spki) < 0 ||
		      make(ks, "theirs", KS_SLOT_SHADOW, NULL, spki) < 0 || ks_promote(ks, "theirs", spki, NULL) < 0 ||
		      ks_delete(ks, "theirs", NULL, NULL) < 0);
	}
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_EQUAL(status, 0);
	CU_ASSERT_EQUAL(keyd_teardown(&keyd, labels), 0);
}

/* Seal=none: as long as the keyrings last, and no longer. */
static void test_unsealed(void)
{
	AUTO(pkey) EVP_PKEY *key = NULL;
	struct ks *ks = NULL;
	struct ks_key facts;
	char spki[KS_SPKI_HEX];

	CU_ASSERT_TRUE(keyd_setup(&keyd, "[Keyd]\nSeal=none\nKeepParsed=yes\n"));
	CU_ASSERT_EQUAL(ks_open(keyd.socket, &ks, NULL), 0);
	CU_ASSERT_EQUAL(make(ks, "mine", KS_SLOT_ACTIVE, NULL, spki), 0);
	CU_ASSERT_EQUAL(ks_load(ks, "mine", KS_SLOT_ACTIVE, NULL, &key, &facts, NULL), 0);
	CU_ASSERT_STRING_EQUAL(facts.at_rest, "none");
	keyd_signal(&keyd, SIGKILL);
	CU_ASSERT_TRUE(keyd_start(&keyd));
	CU_ASSERT_TRUE(keyd_key_works(key));
	keyd_signal(&keyd, SIGTERM);
	CU_ASSERT_TRUE(keyd_conf_write(&keyd, "[Keyd]\nSeal=none\nProtection=token\n")); /* a start that fails takes nothing with it */
	CU_ASSERT_TRUE(keyd_start(&keyd));
	keyd_signal(&keyd, 0);
	CU_ASSERT_TRUE(keyd_conf_write(&keyd, "[Keyd]\nSeal=none\nKeepParsed=yes\n"));
	CU_ASSERT_TRUE(keyd_start(&keyd));
	CU_ASSERT_TRUE(keyd_key_works(key));
	keyd_signal(&keyd, SIGKILL);
	CU_ASSERT_TRUE(keyd_rings_empty(&keyd));
	CU_ASSERT_TRUE(keyd_start(&keyd));
	CU_ASSERT_FALSE(keyd_key_works(key));
	ERR_clear_error();
	CU_ASSERT_EQUAL(make(ks, "mine", KS_SLOT_ACTIVE, NULL, spki), 0); /* the slot is free again */
	CU_ASSERT_TRUE(keyd_rings_empty(&keyd));
	keyd_signal(&keyd, SIGTERM);
	CU_ASSERT_TRUE(keyd_start(&keyd));
	CU_ASSERT_EQUAL(ks_load(ks, "mine", KS_SLOT_ACTIVE, NULL, NULL, &facts, NULL), -ENOKEY);
	ks_close(ks);
	CU_ASSERT_EQUAL(keyd_teardown(&keyd, labels), 0);
}

static bool anchor_clear(void)
{
	return keyctl_clear(keyd_anchor(&keyd)) == 0;
}

static bool anchor_unlink(void)
{
	return keyctl_unlink(keyd_anchor(&keyd), KEY_SPEC_USER_KEYRING) == 0;
}

static bool anchor_revoke(void)
{
	return keyctl_revoke(keyd_anchor(&keyd)) == 0;
}

static bool secret_invalidate(void)
{
	return keyctl_invalidate((key_serial_t) keyctl_search(keyd_anchor(&keyd), "user", "machine-secret", 0)) == 0;
}

static bool secret_overwrite(void)
{
	static const char other[32];

	return keyctl_update((key_serial_t) keyctl_search(keyd_anchor(&keyd), "user", "machine-secret", 0), other, sizeof(other)) == 0;
}

static bool secret_strip(void)
{
	return keyctl_setperm((key_serial_t) keyctl_search(keyd_anchor(&keyd), "user", "machine-secret", 0), 0) == 0;
}

/* What cannot be put back is told, and costs no key. */
static bool secret_block(void)
{
	return secret_invalidate() && keyctl_setperm(keyd_anchor(&keyd), KEY_POS_VIEW | KEY_POS_READ | KEY_POS_SEARCH | KEY_USR_VIEW | KEY_USR_READ) == 0;
}

/* What a refused padding is answered by: it depends on key, ciphertext and machine secret, and on nothing else. */
static bool rejected_get(EVP_PKEY *key, unsigned char plain[256], size_t *len)
{
	static const unsigned char cipher[256] = { 0, 7 };
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);

	*len = 256;
	return ctx && EVP_PKEY_decrypt_init(ctx) == 1 && EVP_PKEY_decrypt(ctx, plain, len, cipher, sizeof(cipher)) == 1;
}

static bool said(int log_fd, const char *words)
{
	char text[16384];
	ssize_t n = pread(log_fd, text, sizeof(text), 0);

	return n > 0 && memmem(text, (size_t) n, words, strlen(words)) != NULL;
}

/* Seal=none, and the keyrings are lost while the custodian runs: the key is lost with them, and is said to be. Keys made afterwards are what others are. */
static void unsealed_lost(struct ks *ks, bool (*lose)(void), bool key_too)
{
	AUTO(pkey) EVP_PKEY *mine = NULL;
	AUTO(pkey) EVP_PKEY *lent = NULL;
	unsigned char before[256], after[256];
	char spki[KS_SPKI_HEX];
	size_t len, again;

	CU_ASSERT_EQUAL(make(ks, "mine", KS_SLOT_ACTIVE, NULL, spki), 0);
	CU_ASSERT_EQUAL(ks_load(ks, "mine", KS_SLOT_ACTIVE, NULL, &mine, NULL, NULL), 0);
	CU_ASSERT_TRUE(lose());
	CU_ASSERT_EQUAL(keyd_key_works(mine), !key_too);
	ERR_clear_error();
	CU_ASSERT_EQUAL(make(ks, "mine", KS_SLOT_ACTIVE, NULL, spki), key_too ? 0 : -EEXIST);
	CU_ASSERT_EQUAL(make(ks, "lent", KS_SLOT_ACTIVE, NULL, spki), 0);
	CU_ASSERT_EQUAL(ks_load(ks, "lent", KS_SLOT_ACTIVE, NULL, &lent, NULL, NULL), 0);
	CU_ASSERT_TRUE(rejected_get(lent, before, &len));
	keyd_signal(&keyd, SIGKILL);
	CU_ASSERT_TRUE(keyd_start(&keyd));
	CU_ASSERT_TRUE(rejected_get(lent, after, &again));
	CU_ASSERT_TRUE(len == again && memcmp(before, after, len) == 0);
	CU_ASSERT_EQUAL(ks_delete(ks, "mine", NULL, NULL), 0);
	CU_ASSERT_EQUAL(ks_delete(ks, "lent", NULL, NULL), 0);
}

static void test_unsealed_blocked(void)
{
	AUTO(file) FILE *log = tmpfile();
	AUTO(fd) int was = dup(STDERR_FILENO);
	struct ks *ks = NULL;
	char spki[KS_SPKI_HEX];

	NEED(!getenv("KEYROLL_PROTECTION"), "one level is asked for, which takes minutes there");
	CU_ASSERT_TRUE(log && was >= 0 && dup2(fileno(log), STDERR_FILENO) >= 0);
	CU_ASSERT_TRUE(keyd_setup(&keyd, "[Keyd]\nSeal=none\n"));
	CU_ASSERT_EQUAL(ks_open(keyd.socket, &ks, NULL), 0);
	CU_ASSERT_EQUAL(make(ks, "mine", KS_SLOT_ACTIVE, NULL, spki), 0);
	CU_ASSERT_TRUE(secret_block());
	CU_ASSERT_EQUAL(make(ks, "lent", KS_SLOT_ACTIVE, NULL, spki), 0);
	CU_ASSERT_TRUE(said(fileno(log), "the machine secret is gone from its keyring: machine secret: Permission denied"));
	ks_close(ks);
	CU_ASSERT_EQUAL(keyd_teardown(&keyd, labels), 0);
	CU_ASSERT_TRUE(dup2(was, STDERR_FILENO) >= 0);
}

static void test_unsealed_lost(void)
{
	static const struct { const char *why; bool (*lose)(void), key_too; } rows[] = {
		{ "the anchor emptied", anchor_clear, true },	      { "unlinked", anchor_unlink, true },	{ "revoked", anchor_revoke, true },
		{ "the secret alone destroyed", secret_invalidate, false }, { "overwritten", secret_overwrite, false },
	};

	NEED(!getenv("KEYROLL_PROTECTION"), "one level is asked for, which takes minutes there");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(file) FILE *log = tmpfile();
		AUTO(fd) int was = dup(STDERR_FILENO);
		struct ks *ks = NULL;
		unsigned failed = CU_get_number_of_failures();

		CU_ASSERT_TRUE(log && was >= 0 && dup2(fileno(log), STDERR_FILENO) >= 0);
		CU_ASSERT_TRUE(keyd_setup(&keyd, "[Keyd]\nSeal=none\n"));
		CU_ASSERT_EQUAL(ks_open(keyd.socket, &ks, NULL), 0);
		unsealed_lost(ks, rows[i].lose, rows[i].key_too);
		CU_ASSERT_EQUAL(said(fileno(log), "key mine is lost"), rows[i].key_too);
		CU_ASSERT_TRUE(said(fileno(log), "the machine secret was gone from its keyring, or another, and is put back"));
		ks_close(ks);
		CU_ASSERT_EQUAL(keyd_teardown(&keyd, labels), 0);
		CU_ASSERT_TRUE(dup2(was, STDERR_FILENO) >= 0);
		if (CU_get_number_of_failures() > failed)
			printf("%s\n", rows[i].why);
	}
}

/* While the custodian is down, so that it does not know the secret any more: nothing but what a refused padding is answered by is another. */
static void test_unsealed_stripped(void)
{
	AUTO(pkey) EVP_PKEY *mine = NULL;
	unsigned char before[256], after[256];
	struct ks *ks = NULL;
	char spki[KS_SPKI_HEX];
	size_t len, again;

	NEED(!getenv("KEYROLL_PROTECTION"), "one level is asked for, which takes minutes there");
	CU_ASSERT_TRUE(keyd_setup(&keyd, "[Keyd]\nSeal=none\n"));
	CU_ASSERT_EQUAL(ks_open(keyd.socket, &ks, NULL), 0);
	CU_ASSERT_EQUAL(make(ks, "mine", KS_SLOT_ACTIVE, NULL, spki), 0);
	CU_ASSERT_EQUAL(ks_load(ks, "mine", KS_SLOT_ACTIVE, NULL, &mine, NULL, NULL), 0);
	CU_ASSERT_TRUE(rejected_get(mine, before, &len));
	keyd_signal(&keyd, SIGKILL);
	CU_ASSERT_TRUE(secret_strip());
	CU_ASSERT_TRUE(keyd_start(&keyd));
	CU_ASSERT_TRUE(keyd_key_works(mine));
	CU_ASSERT_TRUE(rejected_get(mine, after, &again));
	CU_ASSERT_TRUE(len != again || memcmp(before, after, len) != 0);
	ks_close(ks);
	CU_ASSERT_EQUAL(keyd_teardown(&keyd, labels), 0);
}

/* Another machine's secret: the sealed copy is there and of no use, which is said and stops nothing else. */
static void test_foreign_secret(void)
{
	AUTO(mem) char *path = NULL;
	AUTO(pkey) EVP_PKEY *key = NULL;
	struct ks *ks = NULL;
	char spki[KS_SPKI_HEX];

	CU_ASSERT_TRUE(keyd_setup(&keyd, NULL));
	CU_ASSERT_EQUAL(ks_open(keyd.socket, &ks, NULL), 0);
	CU_ASSERT_EQUAL(make(ks, "mine", KS_SLOT_ACTIVE, NULL, spki), 0);
	CU_ASSERT_EQUAL(ks_load(ks, "mine", KS_SLOT_ACTIVE, NULL, &key, NULL, NULL), 0);
	keyd_signal(&keyd, SIGKILL);
	CU_ASSERT_TRUE(asprintf(&path, "%s/var/lib/keyroll/keyd/machine-secret", keyd.root) > 0);
	CU_ASSERT_EQUAL(fs_write(path, "0123456789abcdef0123456789abcdef", 32, 0600, NULL), 0);
	CU_ASSERT_TRUE(keyd_rings_empty(&keyd));
	CU_ASSERT_TRUE(keyd_start(&keyd));
	CU_ASSERT_FALSE(keyd_key_works(key));
	ERR_clear_error();
	CU_ASSERT_EQUAL(ks_load(ks, "mine", KS_SLOT_ACTIVE, NULL, NULL, NULL, NULL), -ENOKEY);
	CU_ASSERT_EQUAL(make(ks, "mine", KS_SLOT_ACTIVE, NULL, spki), -EEXIST); /* the right secret may come back */
	CU_ASSERT_EQUAL(make(ks, "theirs", KS_SLOT_ACTIVE, NULL, spki), 0);
	ks_close(ks);
	CU_ASSERT_EQUAL(keyd_teardown(&keyd, labels), 0);
}

static void test_start_refused(void)
{
	static const struct { const char *why, *conf; } rows[] = {
		{ "unknown key", "[Keyd]\nColour=red\n" },
		{ "unknown level", "[Keyd]\nProtection=steel\n" },
		{ "a level that is not built", "[Keyd]\nProtection=token\n" },
		{ "too many workers", "[Keyd]\nWorkers=9\n" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int status = 0;

		CU_ASSERT_TRUE(keyd_setup(&keyd, rows[i].conf));
		CU_ASSERT_EQUAL(waitpid(keyd.pid, &status, 0), keyd.pid);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 1)
			printf("%s: status %d\n", rows[i].why, status);
		CU_ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1);
		keyd.pid = 0;
		(void) close(keyd.listen_fd); /* nobody will serve it: ks_open in the teardown must be refused, not wait */
		keyd.listen_fd = -1;
		CU_ASSERT_EQUAL(keyd_teardown(&keyd, NULL), 0);
	}
}

enum { REFUSED = 150, REFUSED_SAID = 100 };

static bool nonsense_is_refused(void)
{
	static const char text[] = "GET / HTTP/1.0\r\n\r\n";
	AUTO(fd) int fd = -1;
	char byte;

	return custody_connect(keyd.socket, &fd, NULL) == 0 && write(fd, text, sizeof(text)) == sizeof(text) && read(fd, &byte, 1) == 0; /* closed */
}

static int times_said(int log_fd, const char *words)
{
	static char text[65536];
	ssize_t n = pread(log_fd, text, sizeof(text) - 1, 0);
	int times = 0;

	text[n > 0 ? n : 0] = '\0';
	for (const char *p = text; (p = strstr(p, words)); p++)
		times++;
	return times;
}

/* Anybody may send anything, as often: the custodian goes on serving, and the journal has room for others. */
static void test_nonsense(void)
{
	AUTO(fd) int log_fd = memfd_create("log", MFD_CLOEXEC);
	struct ks *ks = NULL;
	char spki[KS_SPKI_HEX];

	CU_ASSERT_TRUE(keyd_setup(&keyd, NULL));
	CU_ASSERT_EQUAL(ks_open(keyd.socket, &ks, NULL), 0);
	CU_ASSERT_EQUAL(make(ks, "theirs", KS_SLOT_ACTIVE, NULL, spki), 0); /* it is up: a slow machine needs longer than a client waits */
	CU_ASSERT_TRUE(keyd_restart_logged(&keyd, log_fd));
	for (int i = 0; i < REFUSED; i++)
		CU_ASSERT_TRUE(nonsense_is_refused());
	CU_ASSERT_EQUAL(times_said(log_fd, "KEY_REFUSED"), REFUSED_SAID);
	CU_ASSERT_EQUAL(times_said(log_fd, "more are refused"), 1);
	CU_ASSERT_EQUAL(make(ks, "mine", KS_SLOT_ACTIVE, NULL, spki), 0);
	ks_close(ks);
	CU_ASSERT_EQUAL(keyd_teardown(&keyd, labels), 0);
}

enum { CROWD = 100, CROWD_SERVED = 64, ANSWER_MS = 60000 }; /* an emulated machine needs longer for a 4096-bit key than a client waits */

static bool crowd_send(const char *spki, int fd[CROWD])
{
	struct custody_msg m = { .op = CUSTODY_OP_SIGN, .id = 1, .label = "mine", .name = "SHA256", .body = BUF_EMPTY };
	bool ok = buf_set(&m.body, "text", 4) == 0;

	strcpy(m.spki, spki);
	for (int i = 0; ok && i < CROWD; i++)
		ok = custody_connect(keyd.socket, &fd[i], NULL) == 0;
	for (int i = 0; ok && i < CROWD; i++)
		ok = custody_msg_send(fd[i], &m, NULL) == 0;
	custody_msg_clear(&m);
	return ok;
}

/* A hundred requests of one user at once: what does not fit is told so, and none waits for ever. */
static void test_crowd(void)
{
	struct ks_spec spec = { .label = "mine", .slot = KS_SLOT_ACTIVE, .bits = 4096 };
	struct ks *ks = NULL;
	char spki[KS_SPKI_HEX];
	int fd[CROWD], served = 0, refused = 0, late = 0;

	NEED(!getenv("KEYROLL_PROTECTION"), "one level is asked for, which takes minutes there");
	CU_ASSERT_TRUE(keyd_setup(&keyd, "[Keyd]\nWorkers=1\n"));
	CU_ASSERT_EQUAL(ks_open(keyd.socket, &ks, NULL), 0);
	CU_ASSERT_EQUAL(keyd_make(ks, &spec, spki, NULL), 0);
	for (int i = 0; i < CROWD; i++)
		fd[i] = -1;
	CU_ASSERT_TRUE(crowd_send(spki, fd));
	for (int i = 0; i < CROWD; i++) {
		AUTO(custody_msg) struct custody_msg m = CUSTODY_MSG_EMPTY;
		struct pollfd p = { .fd = fd[i], .events = POLLIN };

		CU_ASSERT_EQUAL(poll(&p, 1, ANSWER_MS), 1);
		if (custody_msg_recv(fd[i], &m, NULL) == 0) {
			served += m.status == 0;
			refused += m.status == -EBUSY;
			late += m.status == -ETIMEDOUT; /* not computed any more, where a sanitizer makes it take so long */
			CU_ASSERT_TRUE(m.status != -EBUSY || memmem(m.body.data, m.body.len, "64 requests waiting", 19) != NULL);
		}
		auto_fd(&fd[i]);
	}
	CU_ASSERT_EQUAL(served + refused + late, CROWD);
	CU_ASSERT_TRUE(served > 0 && served + late >= CROWD_SERVED);
	CU_ASSERT_TRUE(refused > 0);
	ks_close(ks);
	CU_ASSERT_EQUAL(keyd_teardown(&keyd, labels), 0);
}

static CU_TestInfo tests[] = {
	{ "64 requests of a user may wait", test_crowd },
	{ "another user may use what it is lent, and no more", test_others },
	{ "forked workers, by the user and groups that they dropped to", test_workers },
	{ "Makers= may make keys", test_maker },
	{ "Seal=none lasts as long as the keyrings", test_unsealed },
	{ "and a key made after they were lost as long as any", test_unsealed_lost },
	{ "also where its secret cannot be put back", test_unsealed_blocked },
	{ "or was taken away while the custodian was down", test_unsealed_stripped },
	{ "a foreign machine secret", test_foreign_secret },
	{ "configurations that are refused", test_start_refused },
	{ "nonsense on the socket", test_nonsense },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "access", NULL, NULL, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

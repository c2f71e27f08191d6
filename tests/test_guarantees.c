/* What a key's level guarantees, and against whom: the custodian runs as a user of its own, and children who know the serials of key and keyrings try
 * everything as another user, as the custodian's user outside its unit, and as root. keyroll-keyd(8), GUARANTEES, says the table below in words.
 * Levels are chosen as in test_ks_contract; for level token KEYROLL_TOKEN_ELSEWHERE is what another machine has in its environment ("NAME=VALUE"), whose
 * device is another. It takes root. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <keyutils.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/auto_ssl.h"
#include "common/fs.h"
#include "keystore/token.h"
#include "tests/keyd_fixture.h"
#include "tests/rings_fixture.h"
#include "tests/test_main.h"

#define LABEL "guarded"

enum view {
	VIEW_OTHER,	  /* another user */
	VIEW_SAME,	  /* the custodian's user, who has not linked @u into the session */
	VIEW_SAME_LINKED, /* and who has */
	VIEW_ROOT,
	VIEW_ROOT_LINKED, /* root, with the custodian's user as real user and its @u linked: whatever a process can have */
	VIEW_N_
};
static const char *const view_names[] = { "another user", "the same user", "the same user with @u", "root", "root with @u" };
static_assert(sizeof(view_names) / sizeof(view_names[0]) == VIEW_N_, "each has a name");

static struct target { /* shared with the children */
	key_serial_t key, ring, anchor, user;
	char state[96], meta[128], copy[256], secret[128], pin[96];
	pid_t keyd;
	uid_t uid, other;
	uint8_t record[KS_SPKI_HEX + TOKEN_REFERENCE_BYTES], signature[256]; /* what was taken, and made with it */
	size_t record_len;
} *at;

static struct keyd keyd;
static struct ks *ks;
static enum ks_protection level;
static bool there;
static int levels_run;
static uid_t base = 1879048192u; /* quota and @u are a user's: nobody else may be counted */

static const char *key_type(void)
{
	return level == KS_PROTECTION_KERNEL ? "asymmetric" : "user";
}

static const char *copy_suffix(void)
{
	return level == KS_PROTECTION_TOKEN ? ".token" : ".p8";
}

/* ---- children */

static bool become(uid_t real, uid_t effective)
{
	return setgroups(0, NULL) == 0 && setresgid(real, effective, effective) == 0 && setresuid(real, effective, effective) == 0;
}

static bool enter(enum view v)
{
	bool linked = v == VIEW_SAME_LINKED || v == VIEW_ROOT_LINKED;

	if (v == VIEW_OTHER && !become(at->other, at->other))
		return false;
	if ((v == VIEW_SAME || v == VIEW_SAME_LINKED) && !become(at->uid, at->uid))
		return false;
	if (v == VIEW_ROOT_LINKED && !become(at->uid, 0))
		return false;
	return keyctl_join_session_keyring(NULL) >= 0 && (!linked || keyctl_link(KEY_SPEC_USER_KEYRING, KEY_SPEC_SESSION_KEYRING) == 0);
}

typedef int (*call_fn)(void); /* 0 or an errno */

static int child_status(pid_t pid)
{
	int status = 0;

	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int as_view(enum view v, call_fn call)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(enter(v) ? call() : 255);
	return child_status(pid);
}

/* As the custodian's user, with its @u in the session, also where the session that was inherited has it not. The keyring for it is root's, whose quota is
 * not looked at. */
static int as_user(call_fn call)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(keyctl_join_session_keyring(NULL) >= 0 && become(at->uid, at->uid) &&
				      keyctl_link(KEY_SPEC_USER_KEYRING, KEY_SPEC_SESSION_KEYRING) == 0 ? call() : 255);
	return child_status(pid);
}

static enum ks_slot wanted_slot;

static int rings_look(void)
{
	char name[80], ring[96];

	at->anchor = rings_anchor(at->state, name, sizeof(name));
	(void) snprintf(ring, sizeof(ring), "%s.%s", name, ks_slot_name(wanted_slot)); /* fits */
	at->ring = (key_serial_t) keyctl_search(at->anchor, "keyring", ring, 0);
	at->key = (key_serial_t) keyctl_search(at->ring, key_type(), LABEL, 0);
	at->user = keyctl_get_keyring_ID(KEY_SPEC_USER_KEYRING, 0);
	return at->anchor < 0 || at->ring < 0 || at->key < 0 || at->user < 0;
}

/* The serials, which root can have: it looks with the eyes of the custodian's user. */
static bool found(enum ks_slot slot)
{
	wanted_slot = slot;
	return as_view(VIEW_ROOT_LINKED, rings_look) == 0;
}

/* ---- what is tried */

static int errno_of(long r)
{
	return r < 0 ? errno : 0;
}

static int call_read(void)
{
	char room[4096];

	return errno_of(keyctl_read(at->key, room, sizeof(room)));
}

/* Who may set permissions gives itself all of them first. */
static int call_setperm_read(void)
{
	return keyctl_setperm(at->key, KEY_POS_ALL | KEY_USR_ALL | KEY_GRP_ALL | KEY_OTH_ALL) < 0 ? errno : call_read();
}

/* It can be described, and not found. */
static int call_setperm_view(void)
{
	return errno_of(keyctl_setperm(at->key, KEY_POS_VIEW | KEY_USR_VIEW));
}

static int call_setperm_none(void)
{
	return errno_of(keyctl_setperm(at->key, 0));
}

static int call_search_ring(void)
{
	return errno_of(keyctl_search(at->ring, key_type(), LABEL, 0));
}

static int call_search_user(void)
{
	return errno_of(keyctl_search(KEY_SPEC_USER_KEYRING, key_type(), LABEL, 0));
}

static int call_list_ring(void)
{
	return errno_of(keyctl_read(at->ring, NULL, 0));
}

static int call_listed(void)
{
	AUTO(file) FILE *f = fopen("/proc/keys", "re");
	char line[512];
	unsigned id;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%x ", &id) == 1 && (key_serial_t) id == at->key)
			return 0;
	return ENOENT;
}

static int call_describe(void)
{
	char text[256];

	return errno_of(keyctl_describe(at->key, text, sizeof(text)));
}

static int call_query(void)
{
	struct keyctl_pkey_query q;

	return errno_of(keyctl_pkey_query(at->key, "enc=pkcs1", &q));
}

static int call_decrypt(void)
{
	unsigned char in[256] = { [255] = 7 }, out[256];

	return errno_of(keyctl_pkey_decrypt(at->key, "enc=raw", in, sizeof(in), out, sizeof(out)));
}

static int call_sign(void)
{
	unsigned char in[32] = { 7 }, out[256];

	return errno_of(keyctl_pkey_sign(at->key, "enc=pkcs1", in, sizeof(in), out, sizeof(out)));
}

static int call_link(void)
{
	return errno_of(keyctl_link(at->key, KEY_SPEC_SESSION_KEYRING));
}

static int call_link_user(void)
{
	return errno_of(keyctl_link(at->user, KEY_SPEC_SESSION_KEYRING));
}

static int call_update(void)
{
	return errno_of(keyctl_update(at->key, "x", 1));
}

static int call_chown(void)
{
	return errno_of(keyctl_chown(at->key, at->other, (gid_t) -1));
}

static int call_timeout(void)
{
	return errno_of(keyctl_set_timeout(at->key, 3600));
}

static int call_move(void)
{
	return errno_of(keyctl_move(at->key, at->ring, KEY_SPEC_SESSION_KEYRING, 0));
}

static int call_unlink(void)
{
	return errno_of(keyctl_unlink(at->key, at->ring));
}

static int call_clear(void)
{
	return errno_of(keyctl_clear(at->ring));
}

static int call_unlink_ring(void)
{
	return errno_of(keyctl_unlink(at->ring, at->anchor));
}

static int call_unlink_anchor(void)
{
	return errno_of(keyctl_unlink(at->anchor, at->user));
}

static int call_revoke(void)
{
	return errno_of(keyctl_revoke(at->key));
}

static int call_invalidate(void)
{
	return errno_of(keyctl_invalidate(at->key));
}

static int open_read(const char *path)
{
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);

	return errno_of(fd);
}

static int call_copy(void)
{
	return open_read(at->copy);
}

static int call_meta(void)
{
	return open_read(at->meta);
}

static int call_pin(void)
{
	return open_read(at->pin);
}

static int call_secret(void)
{
	return open_read(at->secret);
}

#ifndef __SANITIZE_ADDRESS__ /* where the custodian stays open to its leak checker */
static int call_ptrace(void)
{
	return errno_of(ptrace(PTRACE_SEIZE, at->keyd, 0, 0)); /* let go when the child ends */
}

static int call_memory(void)
{
	char path[32];

	(void) snprintf(path, sizeof(path), "/proc/%d/mem", (int) at->keyd); /* fits */
	return open_read(path);
}
#endif

/* ---- what each gets: a change of this table is a change of the page */

enum { ASYMMETRIC, USER, TYPE_N_ }; /* the key's type: a key's bytes at level keyring and a record at level token are alike to the kernel */
#define OK 0
#define BOTH(other, same, same_u, root, root_u) { { other, same, same_u, root, root_u }, { other, same, same_u, root, root_u } }

static const struct row {
	const char *what;
	call_fn call;
	bool changes; /* where it succeeds, the custodian's key signs on all the same */
	int want[TYPE_N_][VIEW_N_];
} table[] = {
	{ "read it", call_read, false,
	  { { EACCES, EACCES, EOPNOTSUPP, EACCES, EOPNOTSUPP }, { EACCES, EACCES, OK, EACCES, OK } } },
	{ "read it with all permissions set", call_setperm_read, true,
	  { { EACCES, EACCES, EOPNOTSUPP, EACCES, EOPNOTSUPP }, { EACCES, EACCES, OK, EACCES, OK } } },
	{ "query it", call_query, false,
	  { { EACCES, EACCES, OK, EACCES, OK }, { EACCES, EACCES, EOPNOTSUPP, EACCES, EOPNOTSUPP } } },
	{ "decrypt with it", call_decrypt, false,
	  { { EACCES, EACCES, OK, EACCES, OK }, { EACCES, EACCES, EOPNOTSUPP, EACCES, EOPNOTSUPP } } },
	{ "sign with it", call_sign, false,
	  { { EACCES, EACCES, OK, EACCES, OK }, { EACCES, EACCES, EOPNOTSUPP, EACCES, EOPNOTSUPP } } },
	{ "describe it", call_describe, false, BOTH(EACCES, OK, OK, EACCES, OK) },
	{ "see it in /proc/keys", call_listed, false, BOTH(ENOENT, OK, OK, ENOENT, OK) },
	{ "search its ring", call_search_ring, false, BOTH(EACCES, EACCES, OK, EACCES, OK) },
	{ "search the own @u", call_search_user, false, BOTH(ENOKEY, OK, OK, ENOKEY, OK) },
	{ "list its ring", call_list_ring, false, BOTH(EACCES, EACCES, OK, EACCES, OK) },
	{ "link it", call_link, false, BOTH(EACCES, EACCES, OK, EACCES, OK) },
	{ "link the custodian's @u", call_link_user, false, BOTH(EACCES, OK, OK, EACCES, OK) },
	{ "overwrite it", call_update, true, { { EACCES, EACCES, EACCES, EACCES, EACCES }, { EACCES, EACCES, OK, EACCES, OK } } },
	{ "leave it no permission but to be described", call_setperm_view, true, BOTH(EACCES, EACCES, OK, EACCES, OK) },
	{ "leave it no permission", call_setperm_none, true, BOTH(EACCES, EACCES, OK, EACCES, OK) },
	{ "give it to another user", call_chown, true, BOTH(EACCES, EACCES, EACCES, EACCES, OK) },
	{ "set a time-out", call_timeout, true, BOTH(EACCES, EACCES, OK, EACCES, OK) },
	{ "move it", call_move, true, BOTH(EACCES, EACCES, OK, EACCES, OK) },
	{ "unlink it", call_unlink, true, BOTH(EACCES, EACCES, OK, EACCES, OK) },
	{ "clear its ring", call_clear, true, BOTH(EACCES, EACCES, OK, EACCES, OK) },
	{ "unlink its ring", call_unlink_ring, true, BOTH(EACCES, EACCES, OK, EACCES, OK) },
	{ "unlink the anchor", call_unlink_anchor, true, BOTH(EACCES, OK, OK, EACCES, OK) },
	{ "revoke it", call_revoke, true, BOTH(EACCES, EACCES, OK, EACCES, OK) },
	{ "invalidate it", call_invalidate, true, BOTH(EACCES, EACCES, OK, EACCES, OK) },
	{ "open the copy, sealed or a record", call_copy, false, BOTH(EACCES, OK, OK, OK, OK) },
	{ "open the label's file", call_meta, false, BOTH(EACCES, OK, OK, OK, OK) },
	{ "open the secret's file", call_secret, false, BOTH(EACCES, OK, OK, OK, OK) },
	{ "open the PIN file", call_pin, false, BOTH(EACCES, OK, OK, OK, OK) }, /* at level token alone */
#ifndef __SANITIZE_ADDRESS__
	{ "trace the custodian", call_ptrace, false, BOTH(EPERM, EPERM, EPERM, OK, OK) },
	{ "open the custodian's memory", call_memory, false, BOTH(EACCES, EACCES, EACCES, OK, OK) },
#endif
};

/* ---- what the kernel counts */

struct numbers { /* of the custodian's user in /proc/key-users */
	int keys, keys_max, bytes, bytes_max;
};

static struct numbers idle; /* with no key */

static struct numbers numbers_get(void)
{
	AUTO(file) FILE *f = fopen("/proc/key-users", "re");
	struct numbers n = { .keys = -1 };
	char line[256];
	unsigned uid;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " %u: %*s %*s %d/%d %d/%d", &uid, &n.keys, &n.keys_max, &n.bytes, &n.bytes_max) == 5 && uid == at->uid)
			return n;
	return (struct numbers){ .keys = -1 };
}

/* The kernel gives room back, and a key's line in /proc/keys up, some ticks after the key's end, and tells nobody: it is asked. */
static bool comes_true(bool (*question)(const void *arg), const void *arg)
{
	for (int i = 0; i < 500; i++) {
		if (question(arg))
			return true;
		(void) poll(NULL, 0, 20); /* cannot fail in a way that matters */
	}
	return false;
}

/* Nothing of the custodian's user is on its way out: what the kernel lists has users, and is neither revoked nor invalidated. */
static int call_settled(void)
{
	AUTO(file) FILE *f = fopen("/proc/keys", "re");
	char line[512], flags[8];
	int users, uid;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%*x %7s %d %*s %*x %d ", flags, &users, &uid) == 3 && (uid_t) uid == at->uid && (users == 0 || strpbrk(flags, "Ri")))
			return EAGAIN;
	return f ? 0 : errno;
}

static bool settled(const void *arg)
{
	(void) arg;
	return as_user(call_settled) == 0;
}

/* ---- the suites' fixture: one custodian for each level, of a user of its own */

static int make(enum ks_slot slot, char spki[KS_SPKI_HEX], struct err *reterr)
{
	struct ks_spec spec = { .label = LABEL, .slot = slot, .bits = 2048, .protection = level };

	return keyd_make(ks, &spec, spki, reterr);
}

static void custodian_stop(void)
{
	keyd_signal(&keyd, SIGTERM);
	at->keyd = 0;
}

static bool custodian_again(void)
{
	bool ok = keyd_start(&keyd);

	at->keyd = keyd.pid;
	return ok;
}

/* A PIN that no key here has, for the sake of its file, which lies where the root's name must be known before. */
static bool token_conf_write(void)
{
	static const char pin[] = "no-key-has-it\n";
	const char *provider = getenv("KEYROLL_TOKEN_PROVIDER");
	char conf[256];

	if (!provider)
		return true;
	(void) snprintf(conf, sizeof(conf), "[Token]\nProvider=%s\nPINFile=/etc/keyroll/token.pin\n", provider); /* fits */
	custodian_stop();
	return keyd_conf_write(&keyd, conf) && fs_write(at->pin, pin, strlen(pin), 0600, NULL) == 0 && chown(at->pin, at->uid, (gid_t) -1) == 0 &&
	       custodian_again();
}

static bool custodian_start(void)
{
	at->uid = base + (uid_t) level * (1u << 23) + (uid_t) getpid();
	at->other = at->uid + (1u << 22);
	if (!keyd_setup_as(&keyd, NULL, at->uid))
		return false;
	(void) snprintf(at->state, sizeof(at->state), "%s/var/lib/keyroll/keyd", keyd.root); /* they fit */
	(void) snprintf(at->secret, sizeof(at->secret), "%s/machine-secret", at->state);
	(void) snprintf(at->meta, sizeof(at->meta), "%s/" LABEL ".keys", at->state);
	(void) snprintf(at->pin, sizeof(at->pin), "%s/etc/keyroll/token.pin", keyd.root);
	at->keyd = keyd.pid;
	return (level != KS_PROTECTION_TOKEN || token_conf_write()) && ks_open(keyd.socket, &ks, NULL) == 0;
}

/* The kernel keeps a user's @u for ever. */
static int user_rings_drop(void)
{
	(void) keyctl_invalidate(KEY_SPEC_USER_KEYRING); /* absent is as good */
	(void) keyctl_invalidate(KEY_SPEC_USER_SESSION_KEYRING);
	return 0;
}

static int teardown(void)
{
	static const char *const labels[] = { LABEL, NULL };
	int r;

	if (!ks)
		return 0;
	ks_close(ks);
	ks = NULL;
	r = keyd_teardown(&keyd, labels);
	r |= as_user(user_rings_drop);
	at->uid = at->other;
	r |= as_user(user_rings_drop);
	(void) munmap(at, sizeof(*at)); /* cannot fail */
	return r;
}

static int suite_setup(enum ks_protection p)
{
	const char *list = getenv("KEYROLL_BACKENDS");
	struct err e = { .code = 0 };
	char spki[KS_SPKI_HEX];
	int r;

	level = p;
	there = false;
	if (geteuid() != 0 || (list && !strstr(list, ks_protection_name(p)))) {
		printf("\n  level %s: %s\n", ks_protection_name(p), geteuid() != 0 ? "skipped: not root" : "is not asked for");
		return 0;
	}
	at = mmap(NULL, sizeof(*at), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED || !custodian_start())
		return 1;
	r = make(KS_SLOT_ACTIVE, spki, &e);
	there = r == 0;
	if (!there)
		printf("\n  %s: %s\n", r == -ENOTSUP && !list ? "skipped" : "not there", e.text);
	else
		levels_run++;
	if (!there && r == -ENOTSUP && !list)
		return 0;
	if (!there) {
		(void) teardown(); /* CUnit does not, when a suite fails to start; that it fails is said already */
		return 1;
	}
	if (ks_delete(ks, LABEL, NULL, NULL) < 0 || !comes_true(settled, NULL))
		return 1;
	idle = numbers_get();
	return idle.keys <= 0;
}

static int setup_kernel(void)
{
	return suite_setup(KS_PROTECTION_KERNEL);
}

static int setup_token(void)
{
	return suite_setup(KS_PROTECTION_TOKEN);
}

static int setup_keyring(void)
{
	return suite_setup(KS_PROTECTION_KEYRING);
}

/* ---- the table */

static int key_invalidate(void)
{
	(void) call_invalidate(); /* gone already, perhaps */
	return 0;
}

/* The record in the keyring is what the file says. */
static int call_record_checked(void)
{
	AUTO(buf) struct buf file = BUF_EMPTY;
	uint8_t record[sizeof(at->record)];
	long n = keyctl_read(at->key, (char *) record, sizeof(record));

	if (n <= KS_SPKI_HEX || fs_read(at->copy, sizeof(record), &file, NULL) < 0)
		return ENODATA;
	return file.len == (size_t) n && memcmp(file.data, record, file.len) == 0 ? 0 : EBADMSG;
}

/* Whoever meddled has ended, and nobody has repaired anything: the custodian does, when it is asked. */
static bool signs_on(EVP_PKEY *handle)
{
	return keyd_key_works(handle) && found(KS_SLOT_ACTIVE) &&
	       (level != KS_PROTECTION_TOKEN || as_view(VIEW_ROOT_LINKED, call_record_checked) == 0);
}

/* The key as it was, by a restore, and its serials. */
static bool made_good(EVP_PKEY *handle)
{
	return as_view(VIEW_ROOT_LINKED, key_invalidate) == 0 && keyd_key_works(handle) && found(KS_SLOT_ACTIVE);
}

static void copy_name(const char *spki)
{
	(void) snprintf(at->copy, sizeof(at->copy), "%s/" LABEL ".%s%s", at->state, spki, copy_suffix()); /* fits */
}

static void row_try(const struct row *row, enum view v, EVP_PKEY *handle)
{
	int want = row->want[level == KS_PROTECTION_KERNEL ? ASYMMETRIC : USER][v], got = as_view(v, row->call);
	bool on = !row->changes || got == EACCES || signs_on(handle);

	if (got != want)
		printf("%s, to %s: %d (%s), wanted %d (%s)\n", view_names[v], row->what, got, strerror(got), want, strerror(want));
	CU_ASSERT_EQUAL(got, want);
	if (!on)
		printf("%s, to %s: the key does not sign on\n", view_names[v], row->what);
	CU_ASSERT_TRUE(on);
	if (row->changes && got != EACCES)
		CU_ASSERT_TRUE(made_good(handle));
}

static void test_table(void)
{
	AUTO(pkey) EVP_PKEY *handle = NULL;
	struct ks_key facts;

	NEED(there, NULL);
	CU_ASSERT_EQUAL(make(KS_SLOT_ACTIVE, facts.spki, NULL), 0);
	CU_ASSERT_EQUAL(ks_load(ks, LABEL, KS_SLOT_ACTIVE, NULL, &handle, &facts, NULL), 0);
	copy_name(facts.spki);
	CU_ASSERT_TRUE(found(KS_SLOT_ACTIVE));
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		for (int v = 0; v < VIEW_N_ && (table[i].call != call_pin || level == KS_PROTECTION_TOKEN); v++)
			row_try(&table[i], (enum view) v, handle);
	CU_ASSERT_EQUAL(ks_delete(ks, LABEL, NULL, NULL), 0);
	ERR_clear_error();
}

/* ---- a record is not a key */

static int call_take(void)
{
	long n = keyctl_read(at->key, (char *) at->record, sizeof(at->record));

	at->record_len = n > KS_SPKI_HEX && n <= (long) sizeof(at->record) ? (size_t) n : 0;
	return at->record_len > 0 ? 0 : ENODATA;
}

static int call_put(void)
{
	return errno_of(keyctl_update(at->key, at->record, at->record_len));
}

/* Without the custodian: who has the record, and a device. The device must answer, or its refusal says nothing. */
static int call_record_sign(void)
{
	static const uint8_t digest[32] = { 7 };
	const struct token_digest d = { .md = EVP_sha256(), .bytes = digest, .len = sizeof(digest), .pss_salt = -1 };
	AUTO(buf) struct buf reference = BUF_EMPTY;
	int r;

	token_configure(getenv("KEYROLL_TOKEN_PROVIDER"), NULL);
	if (buf_set(&reference, at->record + KS_SPKI_HEX, at->record_len - KS_SPKI_HEX) < 0 || token_ready(NULL) < 0)
		return EHOSTDOWN;
	memset(at->signature, 0, sizeof(at->signature));
	r = -token_sign(&reference, &d, at->signature, sizeof(at->signature), NULL);
	if (token_ready(NULL) < 0)
		r = EHOSTDOWN;
	token_close();
	return r;
}

static int call_record_sign_elsewhere(void)
{
	return putenv(getenv("KEYROLL_TOKEN_ELSEWHERE")) == 0 ? call_record_sign() : errno;
}

static bool signature_is_of(EVP_PKEY *handle)
{
	static const uint8_t digest[32] = { 7 };
	AUTO(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, handle, NULL);

	return ctx && EVP_PKEY_verify_init(ctx) == 1 && EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1 &&
	       EVP_PKEY_verify(ctx, at->signature, sizeof(at->signature), digest, sizeof(digest)) == 1;
}

static bool opens_without_device(void)
{
	AUTO(bio) BIO *bio = BIO_new_mem_buf(at->record + KS_SPKI_HEX, (int) (at->record_len - KS_SPKI_HEX));
	AUTO(pkey) EVP_PKEY *key = PEM_read_bio_PrivateKey_ex(bio, NULL, NULL, (char *) "", NULL, NULL);

	ERR_clear_error();
	return !bio || key;
}

/* A record is of use where its device is, to whoever has both, and nowhere else. */
static void test_record_alone(void)
{
	AUTO(pkey) EVP_PKEY *handle = NULL;
	char spki[KS_SPKI_HEX];

	NEED(there, NULL);
	NEED(getenv("KEYROLL_TOKEN_ELSEWHERE"), "no other device");
	CU_ASSERT_EQUAL(make(KS_SLOT_ACTIVE, spki, NULL), 0);
	CU_ASSERT_EQUAL(ks_load(ks, LABEL, KS_SLOT_ACTIVE, NULL, &handle, NULL, NULL), 0);
	CU_ASSERT_TRUE(found(KS_SLOT_ACTIVE));
	CU_ASSERT_EQUAL(as_view(VIEW_SAME_LINKED, call_take), 0);
	CU_ASSERT_FALSE(opens_without_device());
	custodian_stop(); /* a TPM in software has one client at a time */
	CU_ASSERT_EQUAL(as_view(VIEW_OTHER, call_record_sign_elsewhere), ENODEV);
	CU_ASSERT_FALSE(signature_is_of(handle));
	CU_ASSERT_EQUAL(as_view(VIEW_OTHER, call_record_sign), 0);
	CU_ASSERT_TRUE(signature_is_of(handle));
	CU_ASSERT_TRUE(custodian_again());
	CU_ASSERT_TRUE(keyd_key_works(handle));
	CU_ASSERT_EQUAL(ks_delete(ks, LABEL, NULL, NULL), 0);
	ERR_clear_error();
}

/* Another key's record, whole, in the place of this one's: its signatures are withheld, and the record comes back. */
static void test_record_exchanged(void)
{
	AUTO(pkey) EVP_PKEY *handle = NULL;
	char spki[KS_SPKI_HEX], other[KS_SPKI_HEX];

	NEED(there, NULL);
	CU_ASSERT_EQUAL(make(KS_SLOT_ACTIVE, spki, NULL), 0);
	CU_ASSERT_EQUAL(make(KS_SLOT_SHADOW, other, NULL), 0);
	CU_ASSERT_EQUAL(ks_load(ks, LABEL, KS_SLOT_ACTIVE, NULL, &handle, NULL, NULL), 0);
	copy_name(spki);
	CU_ASSERT_TRUE(found(KS_SLOT_SHADOW));
	CU_ASSERT_EQUAL(as_view(VIEW_SAME_LINKED, call_take), 0);
	CU_ASSERT_TRUE(found(KS_SLOT_ACTIVE));
	CU_ASSERT_EQUAL(as_view(VIEW_SAME_LINKED, call_put), 0);
	CU_ASSERT_EQUAL(as_view(VIEW_ROOT_LINKED, call_record_checked), EBADMSG);
	CU_ASSERT_TRUE(signs_on(handle));
	CU_ASSERT_EQUAL(ks_delete(ks, LABEL, NULL, NULL), 0);
	ERR_clear_error();
}

/* The key's own hash before a reference that is not the key's: the record in the keyring is not what the file says, and the file is right. */
static void reference_changed(EVP_PKEY *handle, const char *why, bool at_start)
{
	bool on;

	CU_ASSERT_TRUE(found(KS_SLOT_ACTIVE));
	if (at_start)
		custodian_stop();
	CU_ASSERT_EQUAL(as_view(VIEW_SAME_LINKED, call_put), 0);
	CU_ASSERT_EQUAL(as_view(VIEW_ROOT_LINKED, call_record_checked), EBADMSG);
	if (at_start)
		CU_ASSERT_TRUE(custodian_again());
	on = signs_on(handle);
	if (!on)
		printf("%s, %s: the key does not sign on\n", why, at_start ? "at the start" : "while the custodian runs");
	CU_ASSERT_TRUE(on);
	CU_ASSERT_TRUE(made_good(handle));
}

static void test_reference_changed(void)
{
	AUTO(pkey) EVP_PKEY *handle = NULL;
	char spki[KS_SPKI_HEX], other[KS_SPKI_HEX];

	NEED(there, NULL);
	CU_ASSERT_EQUAL(make(KS_SLOT_ACTIVE, spki, NULL), 0);
	CU_ASSERT_EQUAL(make(KS_SLOT_SHADOW, other, NULL), 0);
	CU_ASSERT_EQUAL(ks_load(ks, LABEL, KS_SLOT_ACTIVE, NULL, &handle, NULL, NULL), 0);
	copy_name(spki);
	CU_ASSERT_TRUE(found(KS_SLOT_SHADOW));
	CU_ASSERT_EQUAL(as_view(VIEW_SAME_LINKED, call_take), 0);
	memcpy(at->record, spki, KS_SPKI_HEX - 1);
	for (int at_start = 0; at_start < 2; at_start++)
		reference_changed(handle, "another key's reference", at_start);
	at->record_len = KS_SPKI_HEX + 17;
	memcpy(at->record + KS_SPKI_HEX, "handle:0x8100ffff", 17);
	for (int at_start = 0; at_start < 2; at_start++)
		reference_changed(handle, "nobody's reference", at_start);
	CU_ASSERT_EQUAL(ks_delete(ks, LABEL, NULL, NULL), 0);
	ERR_clear_error();
}

/* ---- files */

static bool owned(const char *path, mode_t mode)
{
	struct stat st;
	bool ok = lstat(path, &st) == 0 && st.st_uid == at->uid && st.st_mode == mode;

	if (!ok)
		printf("%s: mode %o, user %u\n", path, (unsigned) st.st_mode, (unsigned) st.st_uid);
	return ok;
}

static void test_files(void)
{
	AUTO(dir) DIR *d = NULL;
	struct dirent *entry;
	char spki[KS_SPKI_HEX];
	int n = 0;

	NEED(there, NULL);
	CU_ASSERT_EQUAL(make(KS_SLOT_ACTIVE, spki, NULL), 0);
	CU_ASSERT_TRUE(owned(at->state, S_IFDIR | 0700));
	d = opendir(at->state);
	while (d && (entry = readdir(d))) {
		AUTO(mem) char *path = NULL;

		if (entry->d_name[0] == '.')
			continue;
		CU_ASSERT_TRUE(asprintf(&path, "%s/%s", at->state, entry->d_name) > 0);
		CU_ASSERT_TRUE(owned(path, S_IFREG | 0600));
		n++;
	}
	CU_ASSERT_TRUE(n >= 4); /* the secret, the probe's key, the label's file, the copy */
	CU_ASSERT_EQUAL(ks_delete(ks, LABEL, NULL, NULL), 0);
}

/* ---- destruction at once */

static bool as_before(const void *arg)
{
	const struct numbers *before = arg, now = numbers_get();

	return now.keys == before->keys && now.bytes == before->bytes;
}

static bool not_listed(const void *arg)
{
	(void) arg;
	return as_user(call_listed) == ENOENT;
}

static int copies_count(void)
{
	AUTO(dir) DIR *d = opendir(at->state);
	struct dirent *entry;
	int n = 0;

	while (d && (entry = readdir(d)))
		n += strstr(entry->d_name, copy_suffix()) != NULL;
	return d ? n : -1;
}

/* To whoever has everything that a process can have, the serial is nothing any more. */
static bool destroyed_at_once(void)
{
	static const call_fn calls[] = { call_query, call_decrypt, call_sign, call_describe, call_link, call_update, call_chown, call_timeout, call_revoke,
					 call_invalidate };
	int r = as_view(VIEW_ROOT_LINKED, call_read);
	bool ok = r == ENOKEY || r == EACCES; /* this one call asks for the permission before it asks whether there still is a key */

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		int got = as_view(VIEW_ROOT_LINKED, calls[i]);

		if (got != ENOKEY)
			printf("call %zu on a destroyed key: %d (%s)\n", i, got, strerror(got));
		ok = ok && got == ENOKEY;
	}
	return ok;
}

/* The key in that slot, which the kernel lists: so that its absence afterwards means something. */
static void aim(enum ks_slot slot, int copies)
{
	CU_ASSERT_TRUE(found(slot));
	CU_ASSERT_EQUAL(as_user(call_listed), 0);
	CU_ASSERT_EQUAL(copies_count(), copies);
}

static void gone(int copies)
{
	CU_ASSERT_TRUE(destroyed_at_once());
	CU_ASSERT_EQUAL(copies_count(), copies);
	CU_ASSERT_TRUE(comes_true(not_listed, NULL));
	CU_ASSERT_EQUAL(as_view(VIEW_ROOT_LINKED, call_read), ENOKEY);
}

static void test_destruction(void)
{
	char spki[KS_SPKI_HEX];

	NEED(there, NULL);
	CU_ASSERT_EQUAL(make(KS_SLOT_ACTIVE, spki, NULL), 0);
	CU_ASSERT_EQUAL(numbers_get().keys, idle.keys + 1);
	aim(KS_SLOT_ACTIVE, 1);
	CU_ASSERT_EQUAL(ks_delete(ks, LABEL, spki, NULL), 0);
	gone(0);
	CU_ASSERT_EQUAL(make(KS_SLOT_ACTIVE, spki, NULL), 0);
	aim(KS_SLOT_ACTIVE, 1);
	CU_ASSERT_EQUAL(as_view(VIEW_SAME_LINKED, call_setperm_view), 0); /* one that is not found is unlinked, and ends some ticks later */
	CU_ASSERT_EQUAL(ks_delete(ks, LABEL, spki, NULL), 0);
	CU_ASSERT_TRUE(comes_true(not_listed, NULL));
	CU_ASSERT_EQUAL(copies_count(), 0);
	CU_ASSERT_TRUE(comes_true(as_before, &idle));
}

/* The promotion that puts another key into previous destroys the one that was there. */
static void test_destruction_by_promotion(void)
{
	char a[KS_SPKI_HEX], b[KS_SPKI_HEX], c[KS_SPKI_HEX];

	NEED(there, NULL);
	CU_ASSERT_EQUAL(make(KS_SLOT_ACTIVE, a, NULL), 0);
	CU_ASSERT_EQUAL(make(KS_SLOT_SHADOW, b, NULL), 0);
	CU_ASSERT_EQUAL(ks_promote(ks, LABEL, b, NULL), 0);
	CU_ASSERT_EQUAL(make(KS_SLOT_SHADOW, c, NULL), 0);
	aim(KS_SLOT_PREVIOUS, 3);
	CU_ASSERT_EQUAL(ks_promote(ks, LABEL, c, NULL), 0);
	gone(2);
	CU_ASSERT_TRUE(found(KS_SLOT_PREVIOUS)); /* b */
	CU_ASSERT_EQUAL(ks_delete(ks, LABEL, NULL, NULL), 0);
	gone(0);
	CU_ASSERT_TRUE(comes_true(as_before, &idle));
}

/* What stands where the copy was, and no file's removal removes. */
static bool copy_blocked(void)
{
	return unlink(at->copy) == 0 && mkdir(at->copy, 0700) == 0;
}

/* A copy that stays is no destruction: the answer says so and names it, and the key keeps its slot until another attempt ends what the first began. */
static void destruction_fails(const char *spki)
{
	struct err e = { .code = 0 };

	CU_ASSERT_TRUE(ks_delete(ks, LABEL, spki, &e) < 0);
	if (!strstr(e.text, at->copy))
		printf("found '%s', wanted it to name %s\n", e.text, at->copy);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, at->copy));
}

static void test_destruction_fails(void)
{
	char a[KS_SPKI_HEX], b[KS_SPKI_HEX];

	NEED(there, NULL);
	CU_ASSERT_EQUAL(make(KS_SLOT_ACTIVE, a, NULL), 0);
	CU_ASSERT_EQUAL(make(KS_SLOT_SHADOW, b, NULL), 0);
	copy_name(a);
	aim(KS_SLOT_ACTIVE, 2);
	CU_ASSERT_TRUE(copy_blocked());
	destruction_fails(a);
	CU_ASSERT_TRUE(destroyed_at_once()); /* as far as it goes */
	CU_ASSERT_EQUAL(make(KS_SLOT_ACTIVE, b, NULL), -EEXIST);
	destruction_fails(NULL); /* all of the label: the other one is gone */
	CU_ASSERT_EQUAL(copies_count(), 1);
	custodian_stop();
	CU_ASSERT_TRUE(custodian_again());
	destruction_fails(a);
	CU_ASSERT_EQUAL(rmdir(at->copy), 0);
	CU_ASSERT_EQUAL(ks_delete(ks, LABEL, a, NULL), 0);
	gone(0);
	CU_ASSERT_EQUAL(make(KS_SLOT_ACTIVE, a, NULL), 0);
	CU_ASSERT_EQUAL(ks_delete(ks, LABEL, NULL, NULL), 0);
	CU_ASSERT_TRUE(comes_true(as_before, &idle));
}

/* ---- a full quota */

enum { FILLER_BYTES = 32767, FILLER_OVERHEAD_BYTES = 32, FULL_BYTES = 64 }; /* the least key needs 100 */

/* Keys of the custodian's user until no other fits. None is tried in vain: what fails counts until it is collected. */
static int quota_fill(void)
{
	static const char payload[FILLER_BYTES];
	char name[32];

	for (int n = 0;; n++) {
		struct numbers now = numbers_get();
		int left = now.bytes_max - now.bytes, size = left - FILLER_OVERHEAD_BYTES;

		if (now.keys == now.keys_max || left < FULL_BYTES)
			return now.keys < 0;
		(void) snprintf(name, sizeof(name), "filler-%d", n); /* fits */
		if (add_key("user", name, payload, (size_t) (size < FILLER_BYTES ? size : FILLER_BYTES), KEY_SPEC_USER_KEYRING) < 0)
			return errno;
	}
}

/* The last bytes too: a link costs four. */
static int quota_fill_links(void)
{
	key_serial_t links = add_key("keyring", "filler-links", NULL, 0, KEY_SPEC_USER_KEYRING);
	key_serial_t small = add_key("keyring", "filler-small", NULL, 0, KEY_SPEC_USER_KEYRING);
	key_serial_t ids[FULL_BYTES / 4];
	char name[32];
	int r;

	for (size_t n = 0; n < sizeof(ids) / sizeof(ids[0]); n++) {
		(void) snprintf(name, sizeof(name), "small-%zu", n); /* fits */
		ids[n] = add_key("user", name, "x", 1, small);
		if (ids[n] < 0)
			return errno;
	}
	r = quota_fill();
	for (size_t n = 0; r == 0 && n < sizeof(ids) / sizeof(ids[0]); n++)
		if (keyctl_link(ids[n], links) < 0)
			return errno == EDQUOT ? 0 : errno;
	return r == 0 ? ENOSPC : r;
}

static int links_free(void)
{
	static const char *const names[] = { "filler-links", "filler-small" };

	for (size_t i = 0; i < 2; i++) {
		long ring = keyctl_search(KEY_SPEC_USER_KEYRING, "keyring", names[i], 0);

		if (ring < 0 || keyctl_clear((key_serial_t) ring) < 0 || keyctl_unlink((key_serial_t) ring, KEY_SPEC_USER_KEYRING) < 0)
			return errno;
	}
	return 0;
}

static int quota_free(void)
{
	char name[32];

	for (int n = 0;; n++) {
		long id;

		(void) snprintf(name, sizeof(name), "filler-%d", n); /* fits */
		id = keyctl_search(KEY_SPEC_USER_KEYRING, "user", name, 0);
		if (id < 0)
			return n == 0 || errno != ENOKEY;
		if (keyctl_unlink((key_serial_t) id, KEY_SPEC_USER_KEYRING) < 0)
			return errno;
	}
}

/* The key that did not fit may still be counted, with its description, when the custodian asks for the numbers. */
static bool numbers_told(const char *text, const struct numbers *full)
{
	struct numbers n;
	char rest[16];
	bool ok = sscanf(text, "%*[^(](keys %d/%d, bytes %d/%d used). %15[Do:] raise", &n.keys, &n.keys_max, &n.bytes, &n.bytes_max, rest) == 5 &&
		  n.keys - full->keys == (n.bytes - full->bytes) / (int) sizeof(LABEL) && (unsigned) (n.keys - full->keys) <= 1 &&
		  n.keys_max == full->keys_max && n.bytes_max == full->bytes_max;

	if (!ok)
		printf("found '%s', wanted keys %d/%d, bytes %d/%d\n", text, full->keys, full->keys_max, full->bytes, full->bytes_max);
	return ok;
}

/* The old key stays and signs, the numbers are told, nothing is left over; with room, the next one is made. */
static void test_quota(void)
{
	AUTO(pkey) EVP_PKEY *handle = NULL;
	struct err e = { .code = 0 };
	struct numbers before, full;
	char spki[KS_SPKI_HEX];

	NEED(there, NULL);
	CU_ASSERT_EQUAL(make(KS_SLOT_ACTIVE, spki, NULL), 0);
	CU_ASSERT_EQUAL(ks_load(ks, LABEL, KS_SLOT_ACTIVE, NULL, &handle, NULL, NULL), 0);
	before = numbers_get();
	CU_ASSERT_EQUAL(as_user(quota_fill), 0);
	full = numbers_get();
	CU_ASSERT_EQUAL(make(KS_SLOT_SHADOW, spki, &e), -EDQUOT);
	CU_ASSERT_TRUE(numbers_told(e.text, &full));
	CU_ASSERT_TRUE(keyd_key_works(handle));
	CU_ASSERT_EQUAL(ks_load(ks, LABEL, KS_SLOT_SHADOW, NULL, NULL, NULL, NULL), -ENOKEY);
	CU_ASSERT_EQUAL(copies_count(), 1);
	CU_ASSERT_EQUAL(as_user(quota_free), 0);
	CU_ASSERT_TRUE(comes_true(as_before, &before));
	CU_ASSERT_EQUAL(make(KS_SLOT_SHADOW, spki, &e), 0);
	CU_ASSERT_EQUAL(ks_promote(ks, LABEL, spki, NULL), 0);
	CU_ASSERT_TRUE(keyd_key_works(handle));
	CU_ASSERT_EQUAL(ks_delete(ks, LABEL, NULL, NULL), 0);
	CU_ASSERT_TRUE(comes_true(as_before, &idle));
}

/* Once the kernel has collected what took up the room. */
static bool works(const void *handle)
{
	return keyd_key_works((EVP_PKEY *) (uintptr_t) handle);
}

static int key_evict(void)
{
	return errno_of(keyctl_unlink(at->key, at->ring));
}

/* A start with a full quota proves no level by a key of its own; the keys that lie there are found all the same. One that has gone is not lost, and
 * comes back when there is room. */
static void test_start_at_quota(void)
{
	AUTO(pkey) EVP_PKEY *handle = NULL;
	struct numbers before;
	char spki[KS_SPKI_HEX];

	NEED(there, NULL);
	CU_ASSERT_EQUAL(make(KS_SLOT_ACTIVE, spki, NULL), 0);
	CU_ASSERT_EQUAL(ks_load(ks, LABEL, KS_SLOT_ACTIVE, NULL, &handle, NULL, NULL), 0);
	before = numbers_get();
	CU_ASSERT_EQUAL(as_user(quota_fill), 0);
	keyd_signal(&keyd, SIGKILL);
	CU_ASSERT_TRUE(keyd_start(&keyd));
	at->keyd = keyd.pid;
	CU_ASSERT_TRUE(keyd_key_works(handle));
	CU_ASSERT_EQUAL(as_user(quota_free), 0);
	CU_ASSERT_TRUE(comes_true(as_before, &before)); /* room for the view's keyring */
	CU_ASSERT_TRUE(found(KS_SLOT_ACTIVE));
	CU_ASSERT_EQUAL(as_view(VIEW_ROOT_LINKED, key_evict), 0);
	CU_ASSERT_TRUE(comes_true(not_listed, NULL));
	CU_ASSERT_EQUAL(as_user(quota_fill), 0);
	CU_ASSERT_FALSE(keyd_key_works(handle));
	CU_ASSERT_EQUAL(ks_load(ks, LABEL, KS_SLOT_ACTIVE, NULL, NULL, NULL, NULL), -EBUSY); /* -ENOKEY would have the agent enrol anew */
	CU_ASSERT_EQUAL(as_user(quota_free), 0);
	CU_ASSERT_TRUE(comes_true(works, handle));
	CU_ASSERT_EQUAL(ks_delete(ks, LABEL, NULL, NULL), 0);
	CU_ASSERT_TRUE(comes_true(as_before, &idle));
	ERR_clear_error();
}

/* Not a byte is free: what was made before takes over all the same, and who holds the old key goes on with it. */
static void test_promotion_at_quota(void)
{
	AUTO(pkey) EVP_PKEY *old = NULL;
	AUTO(pkey) EVP_PKEY *new = NULL;
	char spki[KS_SPKI_HEX];

	NEED(there, NULL);
	CU_ASSERT_EQUAL(make(KS_SLOT_ACTIVE, spki, NULL), 0);
	CU_ASSERT_EQUAL(make(KS_SLOT_SHADOW, spki, NULL), 0);
	CU_ASSERT_EQUAL(ks_load(ks, LABEL, KS_SLOT_ACTIVE, NULL, &old, NULL, NULL), 0);
	CU_ASSERT_EQUAL(ks_load(ks, LABEL, KS_SLOT_SHADOW, spki, &new, NULL, NULL), 0);
	CU_ASSERT_EQUAL(as_user(quota_fill_links), 0);
	CU_ASSERT_EQUAL(ks_promote(ks, LABEL, spki, NULL), 0);
	CU_ASSERT_TRUE(keyd_key_works(new));
	CU_ASSERT_TRUE(keyd_key_works(old));
	CU_ASSERT_EQUAL(as_user(links_free), 0);
	CU_ASSERT_EQUAL(as_user(quota_free), 0);
	CU_ASSERT_EQUAL(ks_delete(ks, LABEL, NULL, NULL), 0);
	CU_ASSERT_TRUE(comes_true(as_before, &idle));
	ERR_clear_error();
}

#define EACH_LEVELS                                                                           \
	{ "a promotion with a full quota takes nothing either", test_promotion_at_quota },    \
	{ "a key that is deleted is destroyed at once", test_destruction },                   \
	{ "so is one that a promotion displaces", test_destruction_by_promotion },            \
	{ "or else the answer says so, and another attempt ends it", test_destruction_fails }, \
	{ "a full quota takes nothing from the keys that are there", test_quota },            \
	{ "a start with a full quota finds the keys that are there", test_start_at_quota },   \
	{ "the custodian's files are its user's alone", test_files },                         \
	{ "what each may do with a key", test_table }

static CU_TestInfo tests[] = { EACH_LEVELS, CU_TEST_INFO_NULL };
static CU_TestInfo tests_token[] = {
	EACH_LEVELS,
	{ "a record without its device signs nothing", test_record_alone },
	{ "another key's record is found out, and the right one comes back", test_record_exchanged },
	{ "so is one with another reference", test_reference_changed },
	CU_TEST_INFO_NULL,
};

static void test_some_level(void)
{
	CU_ASSERT_TRUE(levels_run > 0 || geteuid() != 0);
}

static CU_TestInfo tests_end[] = { { "one level at least was there", test_some_level }, CU_TEST_INFO_NULL };

CU_SuiteInfo test_suites[] = {
	{ "level kernel", setup_kernel, teardown, NULL, NULL, tests },
	{ "level token", setup_token, teardown, NULL, NULL, tests_token },
	{ "level keyring", setup_keyring, teardown, NULL, NULL, tests },
	{ "levels", NULL, NULL, NULL, NULL, tests_end },
	CU_SUITE_INFO_NULL,
};

/* A custodian for tests: see keyd_fixture.h. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <keyutils.h>
#include <openssl/x509.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "common/auto_ssl.h"
#include "common/fs.h"
#include "tests/keyd_fixture.h"
#include "tests/rings_fixture.h"

bool keyd_conf_write(const struct keyd *k, const char *conf)
{
	const char *level = getenv("KEYROLL_PROTECTION");
	AUTO(mem) char *text = NULL;
	char path[128];

	(void) snprintf(path, sizeof(path), "%s/etc/keyroll", k->root);
	if (fs_mkdir(path, 0755, NULL) < 0)
		return false;
	if (asprintf(&text, "%s%s%s%s", level ? "[Keyd]\nProtection=" : "", level ? level : "", level ? "\n" : "", conf ? conf : "") < 0) {
		text = NULL;
		return false;
	}
	(void) snprintf(path, sizeof(path), "%s/etc/keyroll/keyd.conf", k->root);
	return fs_write(path, text, strlen(text), 0644, NULL) == 0;
}

bool keyd_setup(struct keyd *k, const char *conf)
{
	return keyd_setup_as(k, conf, 0);
}

bool keyd_setup_as(struct keyd *k, const char *conf, uid_t uid)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	memset(k, 0, sizeof(*k));
	strcpy(k->root, "/tmp/keyroll-test.XXXXXX");
	if (!mkdtemp(k->root))
		return false;
	(void) snprintf(k->socket, sizeof(k->socket), "%s/keyd.sock", k->root);
	strcpy(sa.sun_path, k->socket);
	k->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (k->listen_fd < 0 || bind(k->listen_fd, (struct sockaddr *) &sa, sizeof(sa)) < 0 ||
	    chmod(k->root, 0755) < 0 || chmod(k->socket, 0666) < 0 || listen(k->listen_fd, 64) < 0)
		return false;
	k->uid = uid;
	if (uid != 0 && chown(k->root, uid, (gid_t) -1) < 0)
		return false;
	return ((!conf && !getenv("KEYROLL_PROTECTION")) || keyd_conf_write(k, conf)) && keyd_start(k);
}

static void child(const struct keyd *k)
{
	const char *program = getenv("KEYROLL_KEYD"), *build = getenv("top_builddir");
	char path[256], root[80], pid[16];
	int program_fd;

	if (program)
		(void) snprintf(path, sizeof(path), "%s", program);
	else
		(void) snprintf(path, sizeof(path), "%s/keyroll-keyd", build ? build : ".");
	(void) snprintf(root, sizeof(root), "--root=%s", k->root);
	(void) snprintf(pid, sizeof(pid), "%d", (int) getpid());
	if (dup2(k->listen_fd, 3) < 0 || setenv("LISTEN_FDS", "1", 1) < 0 || setenv("LISTEN_PID", pid, 1) < 0)
		_exit(99);
	if (k->listen_fd == 3)
		(void) fcntl(3, F_SETFD, 0);
	program_fd = open(path, O_RDONLY | O_CLOEXEC); /* before the change of user, who may not reach the build folder */
	if (program_fd < 0 || (k->uid != 0 && (setgroups(0, NULL) < 0 || setgid(k->uid) < 0 || setuid(k->uid) < 0)))
		_exit(99);
	(void) fexecve(program_fd, (char *[]){ (char *) "keyroll-keyd", root, (char *) "--verbose", NULL }, environ);
	perror(path);
	_exit(99);
}

bool keyd_start(struct keyd *k)
{
	const char *tidy = getenv("KEYROLL_TOKEN_TIDY");

	if (tidy && system(tidy) != 0) /* NOLINT(cert-env33-c): the test script's own */
		return false;
	k->pid = fork();
	if (k->pid == 0)
		child(k);
	return k->pid > 0;
}

static int reap(struct keyd *k)
{
	int status = 0;

	if (k->pid <= 0)
		return 0;
	if (waitpid(k->pid, &status, 0) < 0)
		return -1;
	k->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void keyd_signal(struct keyd *k, int sig)
{
	(void) kill(k->pid, sig);
	(void) reap(k); /* the caller knows how it ends */
}

bool keyd_restart_logged(struct keyd *k, int log_fd)
{
	AUTO(fd) int was = dup(STDERR_FILENO);
	bool ok;

	keyd_signal(k, SIGTERM);
	ok = was >= 0 && dup2(log_fd, STDERR_FILENO) >= 0 && keyd_start(k);
	return dup2(was, STDERR_FILENO) >= 0 && ok;
}

int keyd_teardown(struct keyd *k, const char *const *labels)
{
	struct ks *ks = NULL;
	char path[128];
	bool bad = false;
	int r;

	if (labels && ks_open(k->socket, &ks, NULL) == 0) {
		for (; *labels; labels++)
			bad |= ks_delete(ks, *labels, NULL, NULL) < 0;
		ks_close(ks);
	}
	if (k->pid > 0)
		(void) kill(k->pid, SIGTERM);
	r = reap(k);
	(void) snprintf(path, sizeof(path), "%s/var/lib/keyroll/keyd", k->root);
	bad |= k->uid == 0 && !rings_purge(path); /* another user's @u is not ours */
	auto_fd(&k->listen_fd);
	return fs_remove_tree(k->root, NULL) < 0 || bad ? -1 : r;
}

static bool ring_empty(key_serial_t ring)
{
	void *list = NULL;
	int bytes = keyctl_read_alloc(ring, &list);
	const key_serial_t *ids = list;
	bool ok = bytes >= 0;

	for (size_t i = 0; ok && i < (size_t) bytes / sizeof(*ids); i++)
		ok = keyctl_invalidate(ids[i]) == 0;
	free(list);
	return ok;
}

static key_serial_t anchor_named(const struct keyd *k, char *name, size_t room)
{
	char path[128];

	(void) snprintf(path, sizeof(path), "%s/var/lib/keyroll/keyd", k->root);
	return rings_anchor(path, name, room);
}

key_serial_t keyd_anchor(const struct keyd *k)
{
	char name[80];

	return anchor_named(k, name, sizeof(name));
}

key_serial_t keyd_ring(const struct keyd *k, enum ks_slot slot)
{
	char name[80], ring[96];
	key_serial_t anchor = anchor_named(k, name, sizeof(name));

	(void) snprintf(ring, sizeof(ring), "%s.%s", name, ks_slot_name(slot));
	return anchor < 0 ? -1 : (key_serial_t) keyctl_search(anchor, "keyring", ring, 0);
}

int keyd_ring_keys(const struct keyd *k, enum ks_slot slot)
{
	key_serial_t ring = keyd_ring(k, slot);
	long bytes = ring < 0 ? -1 : keyctl_read(ring, NULL, 0);

	return bytes < 0 ? -1 : (int) ((size_t) bytes / sizeof(key_serial_t));
}

bool keyd_rings_empty(const struct keyd *k)
{
	for (int i = 0; i < KS_SLOT_N_; i++) {
		key_serial_t ring = keyd_ring(k, (enum ks_slot) i);

		if (ring < 0 || !ring_empty(ring))
			return false;
	}
	return true;
}

int keyd_make(struct ks *ks, const struct ks_spec *spec, char spki[KS_SPKI_HEX], struct err *reterr)
{
	int fd = -1, r = ks_generate(ks, spec, &fd, spki, reterr);

	if (r < 0)
		return r;
	while ((r = ks_generate(ks, spec, &fd, spki, reterr)) == -EAGAIN) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (poll(&p, 1, 150 * 1000) <= 0) /* the custodian itself gives up after 120 s; 4096 bits can take an emulated machine one */
			return -ETIMEDOUT;
	}
	return r;
}

EVP_PKEY *keyd_public(EVP_PKEY *key)
{
	AUTO(der) unsigned char *der = NULL;
	int len = i2d_PUBKEY(key, &der);
	const unsigned char *p = der;

	return len > 0 ? d2i_PUBKEY_ex(NULL, &p, len, NULL, "provider=default") : NULL;
}

bool keyd_key_works(EVP_PKEY *key)
{
	static const unsigned char text[] = "what is signed";
	AUTO(pkey) EVP_PKEY *pub = keyd_public(key);
	AUTO(md_ctx) EVP_MD_CTX *sign = EVP_MD_CTX_new();
	AUTO(md_ctx) EVP_MD_CTX *verify = EVP_MD_CTX_new();
	unsigned char sig[512];
	size_t len = sizeof(sig);

	return pub && EVP_DigestSignInit(sign, NULL, EVP_sha256(), NULL, key) == 1 && EVP_DigestSign(sign, sig, &len, text, sizeof(text)) == 1 &&
	       EVP_DigestVerifyInit_ex(verify, NULL, "SHA256", NULL, "provider=default", pub, NULL) == 1 &&
	       EVP_DigestVerify(verify, sig, len, text, sizeof(text)) == 1;
}

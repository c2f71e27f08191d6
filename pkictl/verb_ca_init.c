/* pkictl ca init: keyroll-cad --init does it; here it is only found and run. */
#include "pkictl/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/conf.h"
#include "common/fs.h"

#define OUTPUT_BYTES_MAX (64 * 1024)

/* FOLDER/keyroll-cad if that can be run. Owned by the caller. */
static char *candidate(const char *folder, const char *below)
{
	AUTO(mem) char *path = malloc(PATH_MAX);

	if (!path || snprintf(path, PATH_MAX, "%s%s/keyroll-cad", folder, below) >= PATH_MAX || access(path, X_OK) < 0)
		return NULL;
	return TAKE(path);
}

/* Beside pkictl or one up (a build tree), in sbin beside its bin, where it was configured to go; KEYROLL_LIBEXECDIR is before all. */
static char *cad_find(void)
{
	const char *forced = getenv("KEYROLL_LIBEXECDIR");
	char self[PATH_MAX];
	char *found = NULL, *slash;
	ssize_t n;

	if (forced && forced[0])
		return candidate(forced, "");
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash) {
		*slash = '\0';
		found = candidate(self, "");
		found = found ? found : candidate(self, "/..");
		found = found ? found : candidate(self, "/../sbin");
	}
	found = found ? found : candidate(SBINDIR, "");
	return found ? found : candidate(LIBEXECDIR, "");
}

static int argv_fill(char *argv[5], char *cad, char *name, char root[PATH_MAX + 8])
{
	int n = 0;

	argv[n++] = cad;
	(void) snprintf(root, PATH_MAX + 8, "--root=%s", fs_root()); /* sized for it */
	if (fs_root()[0])
		argv[n++] = root;
	argv[n++] = (char *) "--init";
	argv[n++] = name;
	argv[n] = NULL;
	return n;
}

/* In the child; out_fd -1: our own stdout. */
static void child_exec(char *const argv[], int out_fd) __attribute__((noreturn));
static void child_exec(char *const argv[], int out_fd)
{
	if (out_fd >= 0 && dup2(out_fd, STDOUT_FILENO) < 0)
		_exit(127);
	(void) execv(argv[0], argv); /* comes back only when it failed */
	_exit(127);
}

static int output_read(int fd, struct buf *out)
{
	char chunk[4096];
	ssize_t n;
	int r = 0;

	while (r == 0 && ((n = read(fd, chunk, sizeof(chunk))) > 0 || (n < 0 && errno == EINTR)))
		if (n > 0)
			r = out->len + (size_t) n > OUTPUT_BYTES_MAX ? -EFBIG : buf_add(out, chunk, (size_t) n);
	return r;
}

/* Exit status of the program, its stdout in *out; or a negative errno. */
static int run(char *const argv[], struct buf *out)
{
	AUTO(fd) int from = -1;
	int pair[2], status = 0, r;
	pid_t child;

	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	from = pair[0];
	child = fork();
	if (child == 0)
		child_exec(argv, pair[1]);
	(void) close(pair[1]); /* nothing was written by us */
	if (child < 0)
		return -EAGAIN;
	r = output_read(from, out);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (r < 0)
		return r;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -ECHILD;
}

/* The value after "CAFingerprint=" at the beginning of a line, cut there; NULL: none. */
static char *fingerprint_find(struct buf *out)
{
	static const char key[] = "CAFingerprint=";
	char *text = (char *) out->data, *at;

	for (at = text; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
		if (strncmp(at, key, strlen(key)) == 0) {
			at += strlen(key);
			at[strcspn(at, " \r\n")] = '\0';
			return at;
		}
	}
	return NULL;
}

static enum cli_exit output_show(const struct cli *c, struct buf *out)
{
	AUTO(json) json_t *answer = NULL;
	char *fingerprint;

	if (!c->json) {
		(void) fwrite(out->data ? (char *) out->data : "", 1, out->len, c->io->out); /* main checks out at the end */
		return CLI_OK;
	}
	fingerprint = fingerprint_find(out);
	if (!fingerprint)
		return cli_fail(c, CLI_FAILED, "run it without --json and read its words", "keyroll-cad --init printed no CAFingerprint=");
	answer = json_pack("{s:s, s:s}", "name", c->args[0], "fingerprint", fingerprint);
	return cli_print_json(c, answer);
}

enum cli_exit verb_ca_init(const struct cli *c)
{
	AUTO(mem) char *conf = fs_path("/etc/keyroll/ca/%s.conf", c->args[0]);
	AUTO(mem) char *cad = cad_find();
	AUTO(buf) struct buf out = BUF_EMPTY;
	char root[PATH_MAX + 8], *argv[5];
	int r;

	if (!conf_name_ok(c->args[0]))
		return cli_fail(c, CLI_USAGE, "use letters, digits, '.', '_' and '-'", "%s is no name for a CA", c->args[0]);
	if (!conf || access(conf, R_OK) < 0)
		return cli_fail(c, CLI_FAILED, "write that file first; the man page of keyroll-cad has an example", "%s cannot be read: %s",
				conf ? conf : "the configuration", strerror(errno));
	if (!cad)
		return cli_fail(c, CLI_FAILED, "install the CA's package", "keyroll-cad is not installed");
	(void) argv_fill(argv, cad, c->args[0], root); /* counts what it fills */
	r = run(argv, &out);
	if (r == 0)
		return output_show(c, &out);
	(void) fwrite(out.data ? (char *) out.data : "", 1, out.len, c->io->err); /* what it said, if it failed */
	return cli_fail(c, CLI_FAILED, "read the lines above; they come from keyroll-cad", "keyroll-cad --init %s failed (%d)", c->args[0], r);
}

/* keyroll-signer as a child: see signer_child.h. */
#include "ca/signer_child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "common/fs.h"

#define PROGRAM "keyroll-signer"
#define LISTEN_FD 3 /* SD_LISTEN_FDS_START */
#define PID_DIGITS 10
#define ENV_MAX 16

extern char **environ;

static bool runs(const char *path)
{
	return access(path, X_OK) == 0;
}

static char *beside_itself(void)
{
	AUTO(mem) char *self = realpath("/proc/self/exe", NULL);
	char *slash = self ? strrchr(self, '/') : NULL;
	char *path = NULL;

	if (!slash)
		return NULL;
	*slash = '\0';
	return asprintf(&path, "%s/" PROGRAM, self) < 0 ? NULL : path;
}

static int program_find(char **ret, struct err *reterr)
{
	const char *folder = getenv("KEYROLL_LIBEXECDIR");
	AUTO(mem) char *path = NULL;

	if (folder && asprintf(&path, "%s/" PROGRAM, folder) < 0)
		path = NULL;
	if (!path)
		path = beside_itself();
	if (!path || (!folder && !runs(path))) {
		free(TAKE(path));
		path = strdup(LIBEXECDIR "/" PROGRAM);
	}
	if (!path)
		return err_set(reterr, -ENOMEM, "signer");
	if (!runs(path))
		return err_set(reterr, -ENOENT, "%s cannot be run: %s", path, strerror(errno));
	*ret = TAKE(path);
	return 0;
}

/* The child of a process with threads may only make system calls: everything is laid out before the fork. */
struct launch {
	const char *argv[6];
	char *root;
	char pid_text[sizeof("LISTEN_PID=") + PID_DIGITS];
	char *env[ENV_MAX + 3];
	int listen_fd;
	pid_t parent;
};

static bool passes(const char *variable)
{
	static const char *const names[] = { "PATH=",         "LANG=",          "KEYROLL_",     "JOURNAL_STREAM=", "CREDENTIALS_DIRECTORY=",
					     "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "LSAN_OPTIONS=",
					     "TPM2OPENSSL_",  "TSS2_" /* which device level token opens */ };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strncmp(variable, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

static int launch_init(struct launch *l, const char *path, const char *name, int listen_fd, bool verbose)
{
	static char listen_fds[] = "LISTEN_FDS=1";
	size_t n = 0, i;
	char **e;

	*l = (struct launch){ .listen_fd = listen_fd, .parent = getpid() };
	if (asprintf(&l->root, "--root=%s", fs_root()) < 0) {
		l->root = NULL;
		return -ENOMEM;
	}
	i = 0;
	l->argv[i++] = path;
	l->argv[i++] = l->root;
	if (verbose)
		l->argv[i++] = "--verbose";
	l->argv[i++] = name;
	for (e = environ; *e && n < ENV_MAX; e++)
		if (passes(*e))
			l->env[n++] = *e;
	l->env[n++] = listen_fds;
	l->env[n++] = l->pid_text;
	return 0;
}

/* snprintf is not for the child of a process with threads. */
static void pid_print(char *text, pid_t pid)
{
	char digits[PID_DIGITS];
	size_t n = 0;

	memcpy(text, "LISTEN_PID=", sizeof("LISTEN_PID="));
	text += sizeof("LISTEN_PID=") - 1;
	do
		digits[n++] = (char) ('0' + pid % 10);
	while ((pid /= 10) > 0 && n < PID_DIGITS);
	while (n > 0)
		*text++ = digits[--n];
	*text = '\0';
}

static void fds_arrange(int listen_fd)
{
	if (listen_fd == LISTEN_FD) {
		if (fcntl(LISTEN_FD, F_SETFD, 0) < 0)
			_exit(126);
	} else if (dup2(listen_fd, LISTEN_FD) < 0) { /* the copy is not close-on-exec */
		_exit(126);
	}
	if (close_range(LISTEN_FD + 1, ~0U, 0) < 0)
		_exit(126);
}

static void launch_run(struct launch *l) __attribute__((noreturn));
static void launch_run(struct launch *l)
{
	sigset_t none;

	(void) prctl(PR_SET_PDEATHSIG, SIGTERM); /* a front that was killed leaves no signer behind */
	if (getppid() != l->parent)
		_exit(126);
	(void) sigemptyset(&none);                    /* cannot fail */
	(void) sigprocmask(SIG_SETMASK, &none, NULL); /* likewise */
	pid_print(l->pid_text, getpid());
	fds_arrange(l->listen_fd);
	(void) execve(l->argv[0], (char *const *) l->argv, l->env);
	_exit(127); /* the parent sees the status */
}

int signer_child_start(struct signer_child *c, const char *name, int listen_fd, bool verbose, struct err *reterr)
{
	AUTO(mem) char *path = NULL;
	struct launch launch;
	pid_t pid;
	int r;

	r = program_find(&path, reterr);
	if (r < 0)
		return r;
	if (launch_init(&launch, path, name, listen_fd, verbose) < 0)
		return err_set(reterr, -ENOMEM, "signer");
	pid = fork();
	if (pid == 0)
		launch_run(&launch);
	free(launch.root);
	if (pid < 0)
		return err_set(reterr, -errno, "keyroll-signer cannot be started: %s", strerror(errno));
	c->pid = pid;
	return 0;
}

void signer_child_stop(struct signer_child *c)
{
	if (c->pid <= 0)
		return;
	if (kill(c->pid, SIGTERM) == 0)
		while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
			;
	c->pid = 0;
}

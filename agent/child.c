/* Starting a program: see child.h. */
#include "agent/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#include "common/log.h"

extern char **environ;

/* The loop blocks SIGCHLD, SIGTERM and SIGHUP; a child must not inherit that. */
static int signals_set(posix_spawnattr_t *attr)
{
	sigset_t none, all;
	int r;

	(void) sigemptyset(&none); /* cannot fail */
	(void) sigfillset(&all);
	r = posix_spawnattr_setsigmask(attr, &none);
	if (r == 0)
		r = posix_spawnattr_setsigdefault(attr, &all);
	if (r == 0)
		r = posix_spawnattr_setpgroup(attr, 0);
	if (r == 0)
		r = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	return r;
}

static int input_set(posix_spawn_file_actions_t *actions, int stdin_fd)
{
	if (stdin_fd < 0)
		return posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	return posix_spawn_file_actions_adddup2(actions, stdin_fd, STDIN_FILENO);
}

int child_start(char *const argv[], char *const envp[], int stdin_fd, pid_t *ret_pid, struct err *reterr)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int r = posix_spawnattr_init(&attr);

	if (r != 0)
		return err_set(reterr, -r, "start %s: %s", argv[0], strerror(r));
	r = posix_spawn_file_actions_init(&actions);
	if (r == 0) {
		r = signals_set(&attr);
		if (r == 0)
			r = input_set(&actions, stdin_fd);
		if (r == 0)
			r = posix_spawnp(ret_pid, argv[0], &actions, &attr, argv, envp ? envp : environ);
		(void) posix_spawn_file_actions_destroy(&actions); /* frees only */
	}
	(void) posix_spawnattr_destroy(&attr); /* frees only */
	return r != 0 ? err_set(reterr, -r, "start %s: %s", argv[0], strerror(r)) : 0;
}

static int on_end(sd_event_source *s, const siginfo_t *si, void *userdata)
{
	(void) si;
	(void) userdata;
	return sd_event_source_set_floating(s, 0); /* the loop's reference was the only one */
}

void child_end(sd_event *event, pid_t pid)
{
	int r;

	(void) kill(-pid, SIGKILL); /* it may have ended this moment */
	r = sd_event_add_child(event, NULL, pid, WEXITED, on_end, NULL);
	if (r < 0 && r != -ESTALE) /* the loop has ended: init reaps it */
		(void) log_err(r, NULL, "wait for child %d", (int) pid);
}

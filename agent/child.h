/* Starting a program: no shell, a signal state of its own, a process group of its own. */
#ifndef KEYROLL_AGENT_CHILD_H
#define KEYROLL_AGENT_CHILD_H

#include <sys/types.h>
#include <systemd/sd-event.h>

#include "common/auto.h"
#include "common/err.h"

/* argv[0]: the path, or (without a slash) a name sought in PATH. envp NULL: our own environment. stdin_fd -1: /dev/null. */
int child_start(char *const argv[], char *const envp[], int stdin_fd, pid_t *ret_pid, struct err *reterr) CHECKED;
/* Kills it with its group, and reaps it from the loop: for a child that nobody waits for any more. */
void child_end(sd_event *event, pid_t pid);

#endif

/* Reloads and hooks: see hook.h. */
#include "agent/hook.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>

#include "agent/agent.h"
#include "agent/child.h"
#include "agent/drive.h"
#include "common/auto_ssl.h"
#include "common/log.h"
#include "common/x509facts.h"

#define BACKOFF_MIN_USEC (10 * UINT64_C(1000000))
#define BACKOFF_MAX_USEC (3600 * UINT64_C(1000000))
#define UNITS_MAX 64
#define ENV_BYTES 512

static int on_backoff(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct trustpoint *tp = userdata;

	(void) s;
	(void) usec;
	tp->hook.backoff = sd_event_source_disable_unref(tp->hook.backoff);
	hook_kick(tp);
	return 0;
}

static void backoff_arm(struct trustpoint *tp)
{
	struct hook_run *h = &tp->hook;
	unsigned shift = h->failures < 10 ? h->failures : 10;
	uint64_t wait = BACKOFF_MIN_USEC << shift;
	int r;

	h->failures++;
	r = sd_event_add_time_relative(tp->agent->event, &h->backoff, CLOCK_BOOTTIME, wait < BACKOFF_MAX_USEC ? wait : BACKOFF_MAX_USEC, 0, on_backoff,
				       tp);
	if (r < 0)
		(void) log_err(r, NULL, "%s: arm the hook's retry", tp->name);
}

static void finished(struct trustpoint *tp, bool ok, const char *how)
{
	struct hook_run *h = &tp->hook;
	const struct log_fields fields = trustpoint_fields(tp);
	const char *what = h->is_units ? "reload of units" : tp->conf.hook ? tp->conf.hook : "hook";

	h->pid = 0;
	h->child = sd_event_source_disable_unref(h->child);
	h->timeout = sd_event_source_disable_unref(h->timeout);
	if (!ok) {
		log_event(LOG_EV_HOOK_FAILED, &fields, "%s: %s; tried again until it succeeds", what, how);
		(void) snprintf(tp->last_error, sizeof(tp->last_error), "%.120s: %.100s", what, how);
		backoff_arm(tp);
		return;
	}
	log_line(LOG_INFO, "%s: %s done (%s)", tp->name, what, tp->rec.notify.reason);
	h->failures = 0;
	if (!h->outdated) {
		if (h->is_units)
			tp->rec.notify.units = false;
		else
			tp->rec.notify.hook = false;
		drive_persist(tp);
	}
	h->outdated = false;
	hook_kick(tp);
}

static int on_exit_(sd_event_source *s, const siginfo_t *si, void *userdata)
{
	char how[64];

	(void) s;
	if (si->si_code == CLD_EXITED)
		(void) snprintf(how, sizeof(how), "exit status %d", si->si_status);
	else
		(void) snprintf(how, sizeof(how), "ended by signal %d", si->si_status);
	finished(userdata, si->si_code == CLD_EXITED && si->si_status == 0, how);
	return 0;
}

/* The whole group: what a hook started goes with it. on_exit_ follows. */
static int on_timeout(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct trustpoint *tp = userdata;

	(void) s;
	(void) usec;
	log_line(LOG_WARNING, "%s: hook runs longer than %lld s: killed", tp->name, (long long) tp->conf.hook_timeout_ms / 1000);
	if (tp->hook.pid > 0)
		(void) kill(-tp->hook.pid, SIGKILL); /* it may have ended this moment */
	return 0;
}

static void run(struct trustpoint *tp, char *const argv[], char *const envp[])
{
	struct hook_run *h = &tp->hook;
	struct err e = { 0 };
	int r = child_start(argv, envp, -1, &h->pid, &e);

	if (r < 0) {
		finished(tp, false, err_text(&e, r));
		return;
	}
	r = sd_event_add_child(tp->agent->event, &h->child, h->pid, WEXITED, on_exit_, tp);
	if (r >= 0)
		r = sd_event_add_time_relative(tp->agent->event, &h->timeout, CLOCK_BOOTTIME, (uint64_t) tp->conf.hook_timeout_ms * 1000, 0, on_timeout,
					       tp);
	if (r < 0) {
		h->child = sd_event_source_disable_unref(h->child);
		child_end(tp->agent->event, h->pid);
		finished(tp, false, strerror(-r));
	}
}

static void units_run(struct trustpoint *tp)
{
	char *argv[UNITS_MAX + 4] = { (char *) "systemctl", (char *) "reload-or-restart", (char *) "--" };
	size_t i;

	tp->hook.is_units = true;
	if (sd_booted() <= 0) {
		log_line(LOG_NOTICE, "%s: ReloadUnits= left alone: systemd does not run here", tp->name);
		tp->rec.notify.units = false;
		drive_persist(tp);
		hook_kick(tp);
		return;
	}
	for (i = 0; tp->conf.reload_units && tp->conf.reload_units[i] && i < UNITS_MAX; i++)
		argv[3 + i] = tp->conf.reload_units[i];
	run(tp, argv, NULL);
}

static void serial_say(const struct trustpoint *tp, char *out, size_t size)
{
	AUTO(x509) X509 *x = NULL;
	struct x509_facts f;

	if (bag_cert(&tp->rec.bag, &tp->rec.state.id, &x, NULL) == 0 && x509_facts_get(x, &f, NULL) == 0)
		(void) snprintf(out, size, "KEYROLL_SERIAL=%s", f.serial);
	else
		(void) snprintf(out, size, "KEYROLL_SERIAL=");
}

/* Fixed names, an environment of its own, no shell: nothing that a CA wrote is ever interpreted. */
static void hook_run_it(struct trustpoint *tp)
{
	char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	char name[ENV_BYTES], reason[ENV_BYTES], serial[ENV_BYTES], dir[PATH_MAX + 32];
	char *const envp[] = { path, name, reason, serial, dir, NULL };
	char *const argv[] = { tp->conf.hook, NULL };

	tp->hook.is_units = false;
	(void) snprintf(name, sizeof(name), "KEYROLL_TRUSTPOINT=%s", tp->name);
	(void) snprintf(reason, sizeof(reason), "KEYROLL_REASON=%s", tp->rec.notify.reason);
	(void) snprintf(dir, sizeof(dir), "KEYROLL_DIR=%s/%s/current", tp->agent->delivered_dir, tp->name);
	serial_say(tp, serial, sizeof(serial));
	run(tp, argv, envp);
}

void hook_kick(struct trustpoint *tp)
{
	if (tp->hook.pid || tp->hook.backoff || !tp->usable)
		return;
	if (tp->rec.notify.units && tp->conf.reload_units)
		units_run(tp);
	else if (tp->rec.notify.hook && tp->conf.hook)
		hook_run_it(tp);
}

void hook_reset(struct trustpoint *tp)
{
	tp->hook.backoff = sd_event_source_disable_unref(tp->hook.backoff);
	tp->hook.failures = 0;
	tp->hook.outdated = tp->hook.pid != 0;
}

void hook_stop(struct trustpoint *tp)
{
	tp->hook.child = sd_event_source_disable_unref(tp->hook.child);
	if (tp->hook.pid > 0)
		child_end(tp->agent->event, tp->hook.pid);
	tp->hook.timeout = sd_event_source_disable_unref(tp->hook.timeout);
	tp->hook.backoff = sd_event_source_disable_unref(tp->hook.backoff);
	tp->hook.pid = 0;
}

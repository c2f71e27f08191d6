/* The agent's object: its trustpoints, its way to the custodian, its view of the clock. See agent.h. */
#include "agent/agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "agent/control.h"
#include "agent/drive.h"
#include "agent/exchange.h"
#include "agent/timers.h"
#include "common/clk.h"
#include "common/conf.h"
#include "common/fs.h"
#include "common/log.h"
#include "common/x509facts.h"

#define TRUSTPOINTS_MAX 100000
#define ID_BYTES_MAX 256

struct tp_now agent_now(const struct agent *a)
{
	return (struct tp_now){ .wall = { clk_wall_ms() }, .boot = { clk_boot_ms() }, .trusted = a->clock_trusted };
}

struct log_fields trustpoint_fields(const struct trustpoint *tp)
{
	return (struct log_fields){ .trustpoint = tp->name };
}

void trustpoint_fail(struct trustpoint *tp, int code, const struct err *e, const char *doing)
{
	const struct log_fields fields = trustpoint_fields(tp);

	(void) snprintf(tp->last_error, sizeof(tp->last_error), "%s: %.200s", doing, err_text(e, code));
	log_event(LOG_EV_CONNECT_RETRY, &fields, "%s", tp->last_error);
}

struct trustpoint *agent_find(struct agent *a, const char *name)
{
	size_t i;

	for (i = 0; i < a->n; i++)
		if (strcmp(a->tps[i]->name, name) == 0)
			return a->tps[i];
	return NULL;
}

/* ---- the custodian ---- */

int agent_ks(struct agent *a, struct ks **ret, struct err *reterr)
{
	AUTO(mem) char *path = fs_path("%s", a->conf.keyd_socket ? a->conf.keyd_socket : "/run/keyroll/keyd.sock");
	int r;

	if (!path)
		return -ENOMEM;
	if (!a->ks) {
		r = ks_open(path, &a->ks, reterr);
		if (r < 0)
			return r;
	}
	*ret = a->ks;
	return 0;
}

void agent_ks_lost(struct agent *a)
{
	if (a->ks)
		ks_close(a->ks);
	a->ks = NULL;
}

/* ---- one trustpoint ---- */

static void trustpoint_free(struct trustpoint *tp)
{
	if (!tp)
		return;
	tp->usable = false;
	work_cancel(tp);
	exchange_cancel(tp, &tp->show_exchange);
	if (tp->show_call)
		ctl_error(TAKE(tp->show_call), "NoSuchTrustpoint", "See 'pkictl list'.", "the trustpoint was removed");
	hook_stop(tp);
	tp->stall = sd_event_source_disable_unref(tp->stall);
	record_clear(&tp->rec);
	buf_clear(&tp->challenge);
	tpconf_clear(&tp->conf);
	free(tp->name);
	free(tp);
}

/* Draws are the same on every restart of this machine, and differ between machines and between trustpoints. */
static uint64_t seed_of(const struct agent *a, const char *name)
{
	char text[sizeof(a->machine_id) + 256], hex[X509F_SHA256_HEX], low[17];

	(void) snprintf(text, sizeof(text), "keyroll %s %s", a->machine_id, name);
	sha256_hex(text, strlen(text), hex);
	(void) snprintf(low, sizeof(low), "%.16s", hex);
	return strtoull(low, NULL, 16);
}

static struct trustpoint *trustpoint_new(struct agent *a, const char *name)
{
	struct trustpoint **list = realloc(a->tps, (a->n + 1) * sizeof(*list));
	struct trustpoint *tp = calloc(1, sizeof(*tp));

	if (list)
		a->tps = list;
	if (!list || !tp) {
		free(tp);
		return NULL;
	}
	*tp = (struct trustpoint){ .agent = a,
				   .name = strdup(name),
				   .seed = seed_of(a, name),
				   .work = { .keygen_fd = -1 },
				   .rec = { .request = { .csr = BUF_SECRET } },
				   .challenge = BUF_SECRET,
				   .due_wall_ms = INT64_MAX,
				   .due_boot_ms = INT64_MAX };
	if (!tp->name) {
		free(tp);
		return NULL;
	}
	a->tps[a->n++] = tp;
	return tp;
}

/* A state that cannot be read is never thrown away: the trustpoint rests until somebody has looked. */
static int state_fetch(struct trustpoint *tp, struct err *reterr)
{
	AUTO(mem) char *folder = NULL;
	AUTO(mem) char *path = NULL;
	int r;

	if (asprintf(&folder, "%s/%s", tp->agent->state_dir, tp->name) < 0) {
		folder = NULL;
		return -ENOMEM;
	}
	if (asprintf(&path, "%s/state", folder) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	r = fs_mkdir(folder, 0700, reterr);
	if (r < 0)
		return r;
	fs_sweep(folder);
	r = state_load(path, &tp->rec, reterr);
	return r == -ENOENT ? 0 : r;
}

/* A request that nothing works on any more: a crash came between its end and the next write. */
static void request_drop_stale(struct trustpoint *tp)
{
	if (tp->rec.state.stage < TP_STAGE_PREPARED)
		request_clear(&tp->rec.request);
}

static void trustpoint_begin(struct trustpoint *tp)
{
	struct err e = { 0 };
	bool same_boot;
	int r = state_fetch(tp, &e);

	if (r < 0) {
		(void) snprintf(tp->config_error, sizeof(tp->config_error), "%s", err_text(&e, r));
		log_event(LOG_EV_CONFIG_REFUSED, &(struct log_fields){ .trustpoint = tp->name }, "%s", tp->config_error);
		return;
	}
	request_drop_stale(tp);
	tp->usable = true;
	same_boot = strcmp(tp->rec.boot_id, tp->agent->boot_id) == 0;
	(void) level_look(tp); /* nothing waited yet */
	drive_start(tp, same_boot);
}

/* The file has changed while it runs. */
static void trustpoint_go_on(struct trustpoint *tp)
{
	bool freed = level_look(tp);

	drive_start(tp, true);
	if (freed)
		level_go_on(tp);
}

/* Takes a good file; a bad one leaves what runs. */
static int trustpoint_configure(struct trustpoint *tp, const char *path)
{
	AUTO(tpconf) struct tpconf conf = { .bits = 0 };
	struct tpconf old = tp->conf;
	struct err e = { 0 };
	int r = tpconf_load(path, tp->name, &conf, &e);

	if (r < 0) {
		(void) snprintf(tp->config_error, sizeof(tp->config_error), "%s", err_text(&e, r));
		log_event(LOG_EV_CONFIG_REFUSED, &(struct log_fields){ .trustpoint = tp->name }, "%s%s", tp->config_error,
			  tp->usable ? " (the configuration before goes on)" : "");
		return r;
	}
	tp->config_error[0] = '\0';
	tp->conf = conf;
	conf = old; /* released here */
	log_event(LOG_EV_CONFIG_LOADED, &(struct log_fields){ .trustpoint = tp->name }, "%s", path);
	if (!tp->usable)
		trustpoint_begin(tp);
	else
		trustpoint_go_on(tp);
	return 0;
}

/* ---- all of them ---- */

/* "NAME.conf" with a good name: NAME, owned by the caller; else NULL. */
static char *name_from_file(const char *file)
{
	size_t len = strlen(file);
	char *name;

	if (len <= 5 || strcmp(file + len - 5, ".conf") != 0 || file[0] == '.')
		return NULL;
	name = strndup(file, len - 5);
	if (name && !conf_name_ok(name)) {
		log_event(LOG_EV_CONFIG_REFUSED, NULL, "file name '%s': wanted NAME.conf, NAME of A-Z a-z 0-9 . _ -", file);
		free(name);
		return NULL;
	}
	return name;
}

static int is_conf(const struct dirent *e)
{
	return e->d_name[0] != '.' && strstr(e->d_name, ".conf") != NULL;
}

static unsigned file_take(struct agent *a, const char *file)
{
	AUTO(mem) char *name = name_from_file(file);
	AUTO(mem) char *path = NULL;
	struct trustpoint *tp;

	if (!name || a->n >= TRUSTPOINTS_MAX)
		return 0;
	if (asprintf(&path, "%s/%s", a->conf_dir, file) < 0) {
		path = NULL;
		return 1;
	}
	tp = agent_find(a, name);
	if (!tp)
		tp = trustpoint_new(a, name);
	if (!tp) {
		(void) log_err(-ENOMEM, NULL, "trustpoint %s", name);
		return 1;
	}
	tp->seen = true;
	return trustpoint_configure(tp, path) < 0;
}

static void vanished_drop(struct agent *a)
{
	size_t i, n = 0;

	for (i = 0; i < a->n; i++) {
		if (a->tps[i]->seen) {
			a->tps[n++] = a->tps[i];
			continue;
		}
		log_line(LOG_NOTICE, "%s: its file is gone: let go; key and state stay", a->tps[i]->name);
		trustpoint_free(a->tps[i]);
	}
	a->n = n;
}

unsigned agent_reload(struct agent *a)
{
	struct dirent **files = NULL;
	unsigned refused = 0;
	size_t i;
	int k, n = scandir(a->conf_dir, &files, is_conf, alphasort);

	if (n < 0 && errno != ENOENT) {
		(void) log_err(-errno, NULL, "%s", a->conf_dir);
		return 1; /* not the same as an empty folder: what runs goes on */
	}
	for (i = 0; i < a->n; i++)
		a->tps[i]->seen = false;
	level_forget(a);
	for (k = 0; k < n; k++) {
		refused += file_take(a, files[k]->d_name);
		free(files[k]);
	}
	free(files);
	vanished_drop(a);
	level_watch(a);
	return refused;
}

/* ---- birth and end ---- */

static int line_read(const char *path, char *out, size_t size)
{
	AUTO(buf) struct buf text = BUF_EMPTY;
	int r = fs_read(path, ID_BYTES_MAX, &text, NULL);

	if (r < 0)
		return r;
	if (text.len == 0)
		return -ENODATA;
	(void) snprintf(out, size, "%.*s", (int) strcspn((const char *) text.data, "\n"), (const char *) text.data);
	return out[0] ? 0 : -ENODATA;
}

static int random_hex(char out[33])
{
	unsigned char raw[16];
	size_t i;

	if (RAND_bytes(raw, sizeof(raw)) != 1)
		return -EIO;
	for (i = 0; i < sizeof(raw); i++)
		(void) snprintf(out + 2 * i, 3, "%02x", raw[i]);
	return 0;
}

/* Where /proc/sys is hidden (ProcSubset=pid), every start counts as another boot: retries begin anew, nothing else differs. */
static int boot_id_get(struct agent *a, struct err *reterr)
{
	if (line_read("/proc/sys/kernel/random/boot_id", a->boot_id, sizeof(a->boot_id)) == 0)
		return 0;
	log_line(LOG_NOTICE, "no /proc/sys/kernel/random/boot_id: this start counts as another boot");
	return random_hex(a->boot_id) < 0 ? err_from_openssl(reterr, -EIO, "random boot id") : 0;
}

/* The machine's id, or one of our own where there is none. */
static int machine_id_get(struct agent *a, struct err *reterr)
{
	AUTO(mem) char *rooted = fs_path("/etc/machine-id");
	AUTO(mem) char *own = NULL;

	if (!rooted || asprintf(&own, "%s/machine-id", a->state_dir) < 0) {
		own = NULL;
		return -ENOMEM;
	}
	if (line_read(rooted, a->machine_id, sizeof(a->machine_id)) == 0 || line_read("/etc/machine-id", a->machine_id, sizeof(a->machine_id)) == 0 ||
	    line_read(own, a->machine_id, sizeof(a->machine_id)) == 0)
		return 0;
	if (random_hex(a->machine_id) < 0)
		return err_from_openssl(reterr, -EIO, "random machine id");
	return fs_write(own, a->machine_id, strlen(a->machine_id), 0644, reterr);
}

static int folders_make(struct agent *a, struct err *reterr)
{
	int r;

	a->state_dir = fs_path("/var/lib/keyroll/agent");
	a->delivered_dir = fs_path("/var/lib/keyroll/delivered");
	a->conf_dir = fs_path("/etc/keyroll/trustpoints");
	if (!a->state_dir || !a->delivered_dir || !a->conf_dir)
		return -ENOMEM;
	r = fs_mkdir(a->state_dir, 0700, reterr);
	return r < 0 ? r : fs_mkdir(a->delivered_dir, 0755, reterr);
}

/* A second agent on the same state would be a disaster, so it ends. */
static int lock_take(struct agent *a, struct err *reterr)
{
	a->lock_fd = open(a->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (a->lock_fd < 0)
		return err_set(reterr, -errno, "open %s: %s", a->state_dir, strerror(errno));
	if (flock(a->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return err_set(reterr, -EBUSY, "another keyrolld works on %s", a->state_dir);
	return err_set(reterr, -errno, "lock %s: %s", a->state_dir, strerror(errno));
}

/* Where the environment says, else beside ourselves (a build tree, a moved prefix), else where it was installed. */
static char *fetch_path(void)
{
	const char *folder = getenv("KEYROLL_LIBEXECDIR");
	char self[PATH_MAX], *path = NULL, *slash;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (folder && folder[0])
		return asprintf(&path, "%s/keyroll-fetch", folder) < 0 ? NULL : path;
	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash && asprintf(&path, "%.*s/keyroll-fetch", (int) (slash - self), self) < 0)
		return NULL;
	if (path && access(path, X_OK) == 0)
		return path;
	free(path);
	return strdup(LIBEXECDIR "/keyroll-fetch");
}

static int config_read(struct agent *a, struct err *reterr)
{
	AUTO(mem) char *path = fs_path("/etc/keyroll/keyrolld.conf");

	return path ? agentconf_load(path, &a->conf, reterr) : -ENOMEM;
}

static int agent_open(struct agent *a, struct err *reterr)
{
	AUTO(mem) char *fetch = fetch_path();
	int r = sd_event_default(&a->event);

	if (r < 0)
		return err_set(reterr, r, "event loop: %s", strerror(-r));
	if (!fetch)
		return -ENOMEM;
	r = config_read(a, reterr);
	if (r == 0)
		r = folders_make(a, reterr);
	if (r == 0)
		r = lock_take(a, reterr);
	if (r == 0)
		r = boot_id_get(a, reterr);
	if (r == 0)
		r = machine_id_get(a, reterr);
	if (r == 0)
		r = fetch_client_new(a->event, fetch, &a->fetch);
	if (r == 0)
		r = timers_open(a, reterr);
	return r < 0 ? r : control_open(a, reterr);
}

int agent_new(struct agent **ret, struct err *reterr)
{
	struct agent *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	*a = (struct agent){ .lock_fd = -1, .clock_fd = -1 };
	r = agent_open(a, reterr);
	if (r < 0) {
		agent_free(a);
		return r;
	}
	*ret = a;
	return 0;
}

void agent_free(struct agent *a)
{
	size_t i;

	if (!a)
		return;
	for (i = 0; i < a->n; i++)
		trustpoint_free(a->tps[i]);
	free(a->tps);
	a->n = 0;
	control_close(a);
	level_close(a);
	timers_close(a);
	fetch_client_free(a->fetch);
	agent_ks_lost(a);
	auto_fd(&a->lock_fd);
	agentconf_clear(&a->conf);
	free(a->state_dir);
	free(a->delivered_dir);
	free(a->conf_dir);
	(void) sd_event_unref(a->event);
	free(a);
}

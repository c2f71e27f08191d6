/* The custodian's loop: start-up, sockets, and who does what is asked. Private operations run on worker threads, everything else here. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <systemd/sd-daemon.h>

#include "common/log.h"
#include "keystore/custody_server.h"
#include "keystore/custody_server_internal.h"
#include "keystore/level.h"
#include "keystore/secrecy.h"
#include "keystore/token.h"

int jobs_of(struct server *s, const struct backend *b, struct jobs **ret, struct err *reterr)
{
	int r = b->device ? b->device->hung(reterr) : 0;

	*ret = s->jobs;
	if (r == 0 && b->device && s->device_jobs) {
		*ret = s->device_jobs;
		r = device_watch(s, reterr);
	}
	return r;
}

void server_quiesce(const struct server *s)
{
	if (s->device_jobs)
		jobs_quiesce(s->device_jobs);
	jobs_quiesce(s->jobs);
}

void server_resume(const struct server *s)
{
	if (s->device_jobs)
		jobs_resume(s->device_jobs);
	jobs_resume(s->jobs);
}

int dispatch(struct server *s, struct client *c, struct custody_msg *m, struct err *reterr)
{
	switch (m->op) {
	case CUSTODY_OP_GENERATE:
		return making_start(s, c, m, reterr);
	case CUSTODY_OP_LOAD:
		return keys_load(s, c, m, reterr);
	case CUSTODY_OP_SIGN:
	case CUSTODY_OP_SIGN_DIGEST:
	case CUSTODY_OP_DECRYPT:
		return op_start(s, c, m, reterr);
	case CUSTODY_OP_PROMOTE:
		return keys_promote(s, c, m, reterr);
	case CUSTODY_OP_DELETE:
		return keys_delete(s, c, m, reterr);
	case CUSTODY_OP_LIST:
		return keys_list(s, c, m);
	case CUSTODY_OP_LEVEL:
		return keys_level(s, c, m, reterr);
	case CUSTODY_OP_N_:
		break;
	}
	return err_set(reterr, -EBADMSG, "operation %d", (int) m->op);
}

static int listen_make(const char *path, mode_t mode, struct err *reterr)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	AUTO(fd) int fd = -1;
	int probe = -1;

	if (strlen(path) >= sizeof(sa.sun_path))
		return err_set(reterr, -ENAMETOOLONG, "socket %s: longer than %zu bytes", path, sizeof(sa.sun_path) - 1);
	strcpy(sa.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || probe < 0) {
		auto_fd(&probe);
		return err_set(reterr, -errno, "socket: %s", strerror(errno));
	}
	if (connect(probe, (struct sockaddr *) &sa, sizeof(sa)) == 0) {
		(void) close(probe);
		return err_set(reterr, -EADDRINUSE, "another custodian serves %s", path);
	}
	(void) close(probe);
	(void) unlink(path); /* what a killed one left, or nothing */
	if (bind(fd, (struct sockaddr *) &sa, sizeof(sa)) < 0 || chmod(path, mode) < 0 || listen(fd, 128) < 0)
		return err_set(reterr, -errno, "socket %s: %s", path, strerror(errno));
	return TAKE_FD(fd);
}

static int listen_get(const struct custody_options *o, struct err *reterr)
{
	int n = sd_listen_fds(1);

	if (n > 1 || (n == 1 && sd_is_socket(SD_LISTEN_FDS_START, AF_UNIX, SOCK_SEQPACKET, 1) <= 0))
		return err_set(reterr, -EINVAL, "the service manager handed over %d descriptors: one listening SOCK_SEQPACKET socket is wanted", n);
	if (n == 1)
		return fcntl(SD_LISTEN_FDS_START, F_SETFL, O_NONBLOCK) < 0 ? -errno : SD_LISTEN_FDS_START;
	return listen_make(o->socket_path, o->socket_mode, reterr);
}

static void say(int level, const struct err *e, const char *label)
{
	if (label)
		log_line(level, "key %s: %s", label, e->text);
	else
		log_line(level, "%s", e->text);
}

static void close_up(void)
{
	secrecy_process();
#ifndef __SANITIZE_ADDRESS__ /* which watches malloc's memory alone */
	(void) CRYPTO_secure_malloc_init(256 * 1024, 16); /* RSA's private numbers are secure-heap ones */
#endif
}

static void protection_say(const struct vault *v)
{
	const struct err *why = &v->levels.why_not[KS_PROTECTION_KERNEL];
	bool lower = v->backend->protection == KS_PROTECTION_KEYRING && why->code != 0;
	struct log_fields fields = { .protection = ks_protection_name(v->backend->protection), .at_rest = vault_at_rest(v, NULL) };
	char better[KS_ADVICE_BYTES];
	struct utsname kernel;

	if (uname(&kernel) == 0)
		fields.kernel = kernel.release;
	vault_advice(v, NULL, better);
	if (better[0])
		fields.better = better;
	log_event(LOG_EV_KEY_PROTECTION, &fields, "protection %s, at rest %s%s%s%s", fields.protection, fields.at_rest, lower ? " (not kernel: " : "",
		  lower ? why->text : "", lower ? ")" : "");
}

/* The named level is not to be had, which ends the start: with what it needs. */
static void level_say(const struct custody_options *o)
{
	struct log_fields fields = { .protection = ks_protection_name(o->protection) };
	struct backend_levels levels;
	struct utsname kernel;
	struct err why = { .code = 0 };

	if (uname(&kernel) == 0)
		fields.kernel = kernel.release;
	if (level_probe(o->state_dir, o->protection, &levels, &why) == -ENOTSUP)
		log_event(LOG_EV_KEY_LEVEL, &fields, "%s", why.text);
}

static int loop_prepare(struct server *s, struct err *reterr)
{
	sigset_t ends;
	int r;

	(void) sigemptyset(&ends); /* these cannot fail */
	(void) sigaddset(&ends, SIGTERM);
	(void) sigaddset(&ends, SIGINT);
	(void) sigprocmask(SIG_BLOCK, &ends, NULL);
	(void) signal(SIGPIPE, SIG_IGN);
	r = sd_event_default(&s->event);
	if (r >= 0)
		r = sd_event_add_signal(s->event, NULL, SIGTERM, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_signal(s->event, NULL, SIGINT, NULL, NULL);
	if (r >= 0)
		r = sd_event_set_watchdog(s->event, 1);
	return r < 0 ? err_set(reterr, r, "event loop: %s", strerror(-r)) : 0;
}

static void server_clear(struct server *s)
{
	while (s->makings)
		making_free(s->makings);
	while (s->clients)
		client_free(s->clients);
	(void) sd_event_source_disable_unref(s->listener);
	if (s->vault)
		vault_free(s->vault);
	(void) sd_event_unref(s->event);
}

/* Finding keys forks, as keygen_restore. */
static int vault_start(struct server *s, struct err *reterr)
{
	const struct custody_options *o = s->o;
	int r = rings_session(reterr); /* the device's thread reads records */

	if (r == 0 && o->token_provider)
		r = device_start(s, reterr);
	if (r < 0)
		return r;
	if (s->device_jobs)
		jobs_quiesce(s->device_jobs);
	r = vault_open(o->state_dir, o->protection, o->seal, o->keep_parsed, say, &s->vault, reterr);
	if (s->device_jobs)
		jobs_resume(s->device_jobs);
	return r;
}

static int serve(struct server *s, int listen_fd, struct err *reterr)
{
	int r = jobs_new(s->event, s->o->workers, &s->jobs, reterr);

	if (r < 0)
		return r;
	r = sd_event_add_io(s->event, &s->listener, listen_fd, EPOLLIN, on_connection, s);
	if (r >= 0) {
		protection_say(s->vault);
		log_event(LOG_EV_STARTED, NULL, "%zu keys", s->vault->n_keys);
		(void) sd_notifyf(0, "READY=1\nSTATUS=%zu keys, protection %s", s->vault->n_keys, ks_protection_name(s->vault->backend->protection));
		if (s->device_jobs)
			r = device_test_keys(s, reterr);
		if (r >= 0)
			r = sd_event_loop(s->event);
		(void) sd_notify(0, "STOPPING=1");
	}
	jobs_free(s->jobs);
	return r < 0 ? err_set(reterr, r, "event loop: %s", strerror(-r)) : 0;
}

int custody_server_run(const struct custody_options *o, struct err *reterr)
{
	struct server s = { .o = o };
	AUTO(fd) int listen_fd = -1;
	bool hung;
	int r;

	close_up();
	token_configure(o->token_provider, o->token_pin_file);
	r = loop_prepare(&s, reterr);
	if (r == 0)
		r = listen_fd = listen_get(o, reterr); /* first, so that clients wait instead of being refused */
	if (r >= 0)
		r = vault_start(&s, reterr);
	if (r == -ENOTSUP)
		level_say(o);
	if (r == 0)
		r = serve(&s, listen_fd, reterr);
	hung = s.device_jobs && device_end(&s) < 0;
	if (!hung)
		server_clear(&s);
	if (listen_fd >= 0 && listen_fd != SD_LISTEN_FDS_START && o->socket_path)
		(void) unlink(o->socket_path); /* ours; a socket unit's stays */
	if (hung) { /* a thread is still in the device's provider, which the end of main would clear away under it */
		log_line(LOG_WARNING, "the token does not answer, and its end is not waited for");
		if (r < 0)
			(void) log_err(r, reterr, "stopped"); /* the code again */
		_exit(r < 0);
	}
	return r < 0 ? r : 0;
}

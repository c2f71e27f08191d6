/* keyroll-cad: everything started in order, and stopped in the reverse. */
#include "ca/cad.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include "ca/material.h"
#include "common/ctl.h"
#include "common/fs.h"
#include "common/log.h"

#define CRL_PREFIX "/crl/"
#define SOCKET_MODE 0666 /* callers are judged by SO_PEERCRED */

/* ---- sockets ---- */

struct sockets { /* handed over by the service manager; -1: none */
	int control, http;
};

static int sockets_take(struct sockets *ret, struct err *reterr)
{
	char **names = NULL;
	int i, n;

	*ret = (struct sockets){ -1, -1 };
	n = sd_listen_fds_with_names(1, &names);
	if (n < 0)
		return err_set(reterr, n, "sockets handed over: %s", strerror(-n));
	for (i = 0; i < n; i++) {
		if (strcmp(names[i], "control") == 0)
			ret->control = SD_LISTEN_FDS_START + i;
		else if (strcmp(names[i], "http") == 0)
			ret->http = SD_LISTEN_FDS_START + i;
		free(names[i]);
	}
	free(names);
	return 0;
}

/* ---- parts ---- */

static int service_start(struct cad *c, struct err *reterr)
{
	const struct service_options o = { .db = c->db };
	const struct calendar_options cal = { .event = c->event, .name = c->name, .conf = c->conf, .signer = c->signer, .db = c->db };
	struct calendar_options full = cal;
	int r;

	r = service_new(&o, &c->service, reterr);
	if (r < 0)
		return r;
	full.service = c->service;
	r = calendar_new(&full, &c->calendar, reterr);
	if (r == -ENOENT)
		return err_set(reterr, r, "CA %s has no certificate yet: run pkictl ca init %s", c->name, c->name);
	return r;
}

/* With a clock that is not trusted nothing is signed: then each is finished when its client comes again. */
static int intents_finish(struct cad *c, struct err *reterr)
{
	unsigned done = 0, left = 0;
	struct tp_now now;
	int r;

	calendar_now(c->calendar, &now);
	if (!now.trusted)
		return 0;
	r = service_finish(c->service, &done, &left, reterr);
	if (r == 0 && done + left > 0)
		log_line(left ? LOG_ERR : LOG_NOTICE, "%u certificates were finished that a stop had left unsigned, %u could not be", done,
			 left);
	return r;
}

/* Where tests and scripts read the port that Listen=...:0 got. */
static int port_write(struct cad *c, struct err *reterr)
{
	AUTO(mem) char *path = fs_path("/run/keyroll/ca/%s.port", c->name);
	char text[16];
	int n;

	if (!path)
		return err_set(reterr, -ENOMEM, "port");
	n = snprintf(text, sizeof(text), "%u\n", httpd_port(c->httpd));
	return fs_write(path, text, (size_t) n, 0644, reterr);
}

static int httpd_begin(struct cad *c, int fd, struct err *reterr)
{
	AUTO(view) struct view *v = service_view1(c->service);
	const struct httpd_options o = {
		.listen = v->conf->listen,
		.listen_fd = fd,
		.threads = (unsigned) v->conf->threads,
		.max_connections = (unsigned) v->conf->max_connections,
		.max_per_address = (unsigned) v->conf->max_per_address,
		.head_deadline_ms = v->conf->head_deadline_ms,
		.body_deadline_ms = v->conf->body_deadline_ms,
		.crl_prefix = CRL_PREFIX,
	};
	int r;

	r = httpd_start(&o, service_handle, c->service, &c->httpd, reterr);
	return r < 0 ? r : port_write(c, reterr);
}

static int control_start(struct cad *c, int fd, struct err *reterr)
{
	AUTO(mem) char *path = fs_path("/run/keyroll/ca/%s.sock", c->name);
	AUTO(fd) int listener = fd;
	int r;

	if (!path)
		return err_set(reterr, -ENOMEM, "control socket");
	if (listener < 0)
		listener = ctl_listen(path, SOCKET_MODE, reterr);
	if (listener < 0)
		return listener;
	r = ca_control_new(c->event, listener, c->db, &cad_control_ops, c, &c->control, reterr);
	if (r == 0)
		(void) TAKE_FD(listener); /* the control has it now */
	return r;
}

static int folders_make(struct cad *c, struct err *reterr)
{
	AUTO(mem) char *run = fs_path("/run/keyroll/ca");
	int r;

	if (!run)
		return err_set(reterr, -ENOMEM, "folders");
	r = material_folder_make(c->name, reterr);
	return r < 0 ? r : fs_mkdir(run, 0755, reterr);
}

static int conf_start(struct cad *c, const char **ret_db_path, struct err *reterr)
{
	AUTO(ca_conf) struct ca_conf *conf = NULL;
	char text[ERR_TEXT_BYTES];
	size_t i;
	int r;

	r = ca_conf_load(c->name, &conf, reterr);
	if (r < 0)
		return r;
	for (i = 0; ca_conf_warning(conf, i, text, sizeof(text)); i++)
		log_line(LOG_WARNING, "%s", text);
	*ret_db_path = conf->db_path;
	if (view_conf_new(conf, &c->conf) < 0)
		return err_set(reterr, -ENOMEM, "configuration");
	(void) TAKE(conf); /* the shared one owns it now */
	return 0;
}

/* ---- signals ---- */

static int hangup(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	struct err why = { 0 };
	int r;

	(void) source;
	(void) info;
	r = cad_reload(userdata, &why);
	if (r < 0)
		log_event(LOG_EV_CONFIG_REFUSED, NULL, "the running configuration stays: %s", err_text(&why, r));
	return 0;
}

static int signals_block(struct err *reterr)
{
	static const int list[] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };
	sigset_t set;
	size_t i;

	(void) sigemptyset(&set); /* cannot fail for these */
	for (i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		(void) sigaddset(&set, list[i]); /* likewise */
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return err_set(reterr, -errno, "signals");
	return 0;
}

static int signals_watch(struct cad *c, struct err *reterr)
{
	int r;

	if ((r = sd_event_add_signal(c->event, NULL, SIGTERM, NULL, NULL)) < 0 ||
	    (r = sd_event_add_signal(c->event, NULL, SIGINT, NULL, NULL)) < 0 ||
	    (r = sd_event_add_signal(c->event, NULL, SIGHUP, hangup, c)) < 0 || (r = sd_event_set_watchdog(c->event, true)) < 0)
		return err_set(reterr, r, "event loop: %s", strerror(-r));
	return 0;
}

/* ---- life ---- */

static int start(struct cad *c, struct err *reterr)
{
	const char *db_path = NULL;
	struct sockets sockets;
	int r;

	if ((r = sockets_take(&sockets, reterr)) < 0 || (r = conf_start(c, &db_path, reterr)) < 0 || (r = folders_make(c, reterr)) < 0)
		return r;
	if ((r = signals_watch(c, reterr)) < 0 || (r = signer_new(c->event, c->name, c->verbose, &c->signer, reterr)) < 0 ||
	    (r = db_open(db_path, &c->db, reterr)) < 0 || (r = service_start(c, reterr)) < 0 || (r = intents_finish(c, reterr)) < 0)
		return r;
	r = signer_load(c->signer, KS_SLOT_ACTIVE, NULL, NULL, &c->key, reterr);
	if (r < 0)
		return r;
	r = control_start(c, sockets.control, reterr);
	return r < 0 ? r : httpd_begin(c, sockets.http, reterr);
}

/* The front first: no handler runs when what it uses goes. */
static void stop(struct cad *c)
{
	if (c->httpd)
		httpd_stop(c->httpd);
	if (c->control)
		ca_control_free(c->control);
	if (c->calendar)
		calendar_free(c->calendar);
	if (c->service)
		service_free(c->service);
	if (c->db)
		db_close(c->db);
	if (c->signer)
		signer_free(c->signer);
	if (c->conf)
		view_conf_put(c->conf);
	(void) sd_event_unref(c->event);
}

int cad_reload(struct cad *c, struct err *reterr)
{
	AUTO(view) struct view *now = service_view1(c->service);
	AUTO(ca_conf) struct ca_conf *conf = NULL;
	struct view_conf *shared = NULL;
	const char *frozen;
	int r;

	r = ca_conf_load(c->name, &conf, reterr);
	if (r < 0)
		return r;
	frozen = ca_conf_needs_restart(now->conf, conf);
	if (frozen)
		log_line(LOG_WARNING, "%s= changes with the next start only", frozen);
	if (view_conf_new(conf, &shared) < 0)
		return err_set(reterr, -ENOMEM, "configuration");
	(void) TAKE(conf); /* the shared one owns it now */
	r = calendar_reload(c->calendar, shared, reterr);
	if (r < 0) {
		view_conf_put(shared);
		return r;
	}
	view_conf_put(c->conf);
	c->conf = shared;
	log_event(LOG_EV_CONFIG_LOADED, &(struct log_fields){ .ca = c->name }, "configuration read again");
	return 0;
}

int cad_run(const struct cad_options *o, struct err *reterr)
{
	struct cad c = { .name = o->name, .verbose = o->verbose };
	int r;

	r = signals_block(reterr); /* before any thread, so that all of them inherit it */
	if (r == 0) {
		r = sd_event_default(&c.event);
		r = r < 0 ? err_set(reterr, r, "event loop: %s", strerror(-r)) : start(&c, reterr);
	}
	if (r == 0) {
		log_event(LOG_EV_CS_ENABLED, &(struct log_fields){ .ca = o->name }, "CA %s serves on port %u", o->name,
			  httpd_port(c.httpd));
		(void) sd_notifyf(0, "READY=1\nSTATUS=CA %s serves on port %u", o->name, httpd_port(c.httpd)); /* nobody may listen */
		r = sd_event_loop(c.event);
		(void) sd_notify(0, "STOPPING=1"); /* likewise */
	}
	stop(&c);
	return r < 0 ? r : 0;
}

/* The way to keyroll-signer: see signer_client.h. The child is in signer_child.c. */
#include "ca/signer_client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "ca/signer_child.h"
#include "common/clk.h"
#include "common/fs.h"
#include "common/log.h"
#include "keystore/custody_conn.h"

#define RESTART_FIRST_MS 100
#define RESTART_LAST_MS 10000
#define BACKLOG 64
#define START_TIMEOUT_MS 60000 /* its first start makes a key for its probe */

struct signer {
	sd_event *event; /* NULL during --init */
	sd_event_source *child_source, *restart_source, *lifeline_source;
	char *name, *socket;
	struct ks *ks;
	struct signer_child child;
	int listen_fd;                  /* of a child's socket: stays while the child is gone */
	int lifeline_fd;                /* to a signer that others started: its end is how we learn of it */
	int64_t restart_ms, started_ms; /* boot time of the last start */
	bool verbose;
};

static int reach(struct signer *s, struct err *reterr);

/* ---- again, after a loss ---- */

static void restart_arm(struct signer *s);

static int restart_due(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct signer *s = userdata;
	struct err why = { 0 };
	int r;

	(void) usec; /* when it was due says nothing here */
	(void) sd_event_source_unref(source);
	s->restart_source = NULL;
	r = reach(s, &why);
	if (r < 0) {
		(void) log_err(r, &why, "keyroll-signer cannot be started again");
		restart_arm(s);
	}
	return 0;
}

static void restart_arm(struct signer *s)
{
	uint64_t after;
	int r;

	if (clk_boot_ms() - s->started_ms > RESTART_LAST_MS)
		s->restart_ms = RESTART_FIRST_MS; /* it had run well for a while */
	after = (uint64_t) s->restart_ms * 1000;
	s->restart_ms = s->restart_ms * 2 > RESTART_LAST_MS ? RESTART_LAST_MS : s->restart_ms * 2;
	r = sd_event_add_time_relative(s->event, &s->restart_source, CLOCK_MONOTONIC, after, 1000, restart_due, s);
	if (r < 0)
		(void) log_err(r, NULL, "keyroll-signer will not be started again");
}

/* ---- a child of ours ---- */

static int child_ended(sd_event_source *source, const siginfo_t *info, void *userdata)
{
	struct signer *s = userdata;

	log_event(LOG_EV_CS_SIGNER_LOST, &(struct log_fields){ .ca = s->name }, "keyroll-signer (pid %d) ended with %s %d",
		  (int) info->si_pid, info->si_code == CLD_EXITED ? "status" : "signal", info->si_status);
	(void) sd_event_source_unref(source);
	s->child_source = NULL;
	s->child.pid = 0; /* sd-event has waited for it */
	restart_arm(s);
	return 0;
}

static int child_start(struct signer *s, struct err *reterr)
{
	int r;

	r = signer_child_start(&s->child, s->name, s->listen_fd, s->verbose, reterr);
	if (r < 0 || !s->event)
		return r;
	r = sd_event_add_child(s->event, &s->child_source, s->child.pid, WEXITED, child_ended, s);
	return r < 0 ? err_set(reterr, r, "keyroll-signer's end cannot be watched: %s", strerror(-r)) : 0;
}

static int socket_listen(const char *path, int *ret_fd, struct err *reterr)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	AUTO(fd) int fd = -1;

	if (strlen(path) >= sizeof(address.sun_path))
		return err_set(reterr, -ENAMETOOLONG, "%s: longer than a socket's path may be (%zu bytes)", path,
			       sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	(void) unlink(path); /* nobody listens there; a missing one is fine, and bind tells of the rest */
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *) &address, sizeof(address)) < 0 || listen(fd, BACKLOG) < 0)
		return err_set(reterr, -errno, "%s: cannot listen: %s", path, strerror(errno));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int child_why(pid_t pid, struct err *reterr)
{
	siginfo_t info = { .si_status = 0 };

	(void) waitid(P_PID, (id_t) pid, &info, WEXITED | WNOWAIT); /* it has ended, and who reaps it comes later */
	return err_set(reterr, -ECHILD, "it ended with %s %d before it served: its own lines say why", info.si_code == CLD_EXITED ? "status" : "signal",
		       info.si_status);
}

static int own_start(struct signer *s, struct err *reterr)
{
	AUTO(mem) char *folder = fs_path("/run/keyroll/signer");
	int r;

	if (!folder)
		return err_set(reterr, -ENOMEM, "signer");
	if ((r = fs_mkdir(folder, 0755, reterr)) < 0 || (r = socket_listen(s->socket, &s->listen_fd, reterr)) < 0)
		return r;
	return child_start(s, reterr);
}

/* ---- one that others started ---- */

static int lifeline_cut(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct signer *s = userdata;

	(void) fd;      /* s has it */
	(void) revents; /* the signer never writes unasked: anything is its end */
	(void) sd_event_source_unref(source);
	s->lifeline_source = NULL;
	(void) close(TAKE_FD(s->lifeline_fd)); /* read side */
	log_event(LOG_EV_CS_SIGNER_LOST, &(struct log_fields){ .ca = s->name }, "keyroll-signer closed its socket");
	restart_arm(s);
	return 0;
}

static int lifeline_watch(struct signer *s, struct err *reterr)
{
	int r;

	if (!s->event)
		return 0;
	r = sd_event_add_io(s->event, &s->lifeline_source, s->lifeline_fd, EPOLLIN | EPOLLHUP, lifeline_cut, s);
	return r < 0 ? err_set(reterr, r, "keyroll-signer's socket cannot be watched: %s", strerror(-r)) : 0;
}

/* ---- both ---- */

/* Somebody else's signer comes first: its socket may be the service manager's, which starts it when we connect. */
static int reach(struct signer *s, struct err *reterr)
{
	int r;

	s->started_ms = clk_boot_ms();
	if (s->listen_fd >= 0)
		return child_start(s, reterr);
	r = custody_connect(s->socket, &s->lifeline_fd, reterr);
	if (r == 0)
		return lifeline_watch(s, reterr);
	return r == -ENOENT || r == -ECONNREFUSED ? own_start(s, reterr) : r;
}

/* A connection says nothing: the socket is ours, or the service manager's, and takes connections whatever becomes of the signer. Only an answer
 * tells that it serves. */
static int serving_await(const struct signer *s, struct err *reterr)
{
	static const struct custody_msg question = { .op = CUSTODY_OP_LEVEL, .protection = KS_PROTECTION_AUTO };
	AUTO(custody_msg) struct custody_msg answer = CUSTODY_MSG_EMPTY;
	AUTO(fd) int fd = -1;
	AUTO(fd) int end = s->child.pid > 0 ? pidfd_open(s->child.pid, 0) : -1;
	struct pollfd p[] = { { .fd = end, .events = POLLIN }, { .events = POLLIN } }; /* poll passes over -1 */
	int r = custody_connect(s->socket, &fd, reterr);

	if (r == 0)
		r = custody_msg_send(fd, &question, reterr);
	p[1].fd = fd;
	while (r == 0) {
		r = poll(p, 2, START_TIMEOUT_MS);
		if (r < 0)
			r = errno == EINTR ? 0 : err_set(reterr, -errno, "waiting for it: %s", strerror(errno));
		else if (r == 0)
			r = err_set(reterr, -ETIMEDOUT, "it does not serve within %d s", START_TIMEOUT_MS / 1000);
	}
	if (r < 0)
		return r;
	if (p[0].revents)
		return child_why(s->child.pid, reterr);
	r = custody_msg_recv(fd, &answer, NULL);
	return r < 0 ? err_set(reterr, r, "it ended before it served. Do: journalctl -u keyroll-signer@%s", s->name) : 0;
}

int signer_new(sd_event *event, const char *name, bool verbose, struct signer **ret, struct err *reterr)
{
	AUTO(signer) struct signer *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_set(reterr, -ENOMEM, "signer");
	s->listen_fd = s->lifeline_fd = -1;
	s->restart_ms = RESTART_FIRST_MS;
	s->verbose = verbose;
	s->event = event ? sd_event_ref(event) : NULL;
	s->name = strdup(name);
	s->socket = fs_path("/run/keyroll/signer/%s.sock", name);
	if (!s->name || !s->socket)
		return err_set(reterr, -ENOMEM, "signer");
	r = reach(s, reterr);
	if (r == 0)
		r = serving_await(s, reterr);
	if (r == 0)
		r = ks_open(s->socket, &s->ks, reterr);
	if (r < 0)
		return err_prefix(reterr, r, "keyroll-signer");
	*ret = TAKE(s);
	return 0;
}

void signer_free(struct signer *s)
{
	(void) sd_event_source_disable_unref(s->child_source);
	(void) sd_event_source_disable_unref(s->restart_source);
	(void) sd_event_source_disable_unref(s->lifeline_source);
	if (s->ks)
		ks_close(s->ks);
	signer_child_stop(&s->child);
	if (s->listen_fd >= 0)
		(void) unlink(s->socket); /* so that the next one need not try it */
	auto_fd(&s->listen_fd);
	auto_fd(&s->lifeline_fd);
	(void) sd_event_unref(s->event);
	free(s->name);
	free(s->socket);
	free(s);
}

bool signer_up(const struct signer *s)
{
	return s->child.pid > 0 || s->lifeline_fd >= 0;
}

int signer_load(struct signer *s, enum ks_slot slot, const char *spki, EVP_PKEY **ret_key, struct ks_key *ret_facts, struct err *reterr)
{
	return ks_load(s->ks, s->name, slot, spki, ret_key, ret_facts, reterr);
}

int signer_promote(struct signer *s, const char *spki, struct err *reterr)
{
	return ks_promote(s->ks, s->name, spki, reterr);
}

int signer_delete(struct signer *s, const char *spki, struct err *reterr)
{
	return ks_delete(s->ks, s->name, spki, reterr);
}

int signer_generate(struct signer *s, enum ks_slot slot, int bits, enum ks_protection protection, int *fd, char ret_spki[KS_SPKI_HEX],
		    struct err *reterr)
{
	const struct ks_spec spec = { .label = s->name, .slot = slot, .bits = bits, .protection = protection };
	struct ks_key there = { 0 };
	int r;

	r = ks_generate(s->ks, &spec, fd, ret_spki, reterr);
	if (r != -EEXIST)
		return r;
	r = signer_load(s, slot, NULL, NULL, &there, reterr);
	if (r < 0)
		return r;
	memcpy(ret_spki, there.spki, KS_SPKI_HEX);
	return 0;
}

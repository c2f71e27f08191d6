/* Connections to the custodian: one request at a time for each. Its socket is open to all users of the machine, so that a connection that does nothing has
 * no right to its room: at a limit the newcomer takes it. Clients connect anew when they find theirs closed (custody_ask). */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "common/log.h"
#include "keystore/custody_server_internal.h"

enum { CLIENTS_MAX = 512, CLIENTS_PER_UID = 128 };
/* A stranger must not fill the journal. */
enum { REFUSALS_SAID = 100 }; /* in such a time */
#define SAID_USEC (60 * UINT64_C(1000000))

void client_free(struct client *c)
{
	struct server *s = c->server;

	for (struct client **p = &s->clients; *p; p = &(*p)->next)
		if (*p == c) {
			*p = c->next;
			s->n_clients--;
			break;
		}
	(void) sd_event_source_disable_unref(c->source);
	(void) shutdown(c->fd, SHUT_RDWR); /* a child that makes a key may hold a copy of the descriptor */
	(void) close(c->fd);
	free(c);
}

static void client_end(struct client *c)
{
	if (!c->busy) {
		client_free(c);
		return;
	}
	c->gone = true; /* whoever is at work for it frees it */
	c->source = sd_event_source_disable_unref(c->source);
}

void client_reply(struct client *c, struct custody_msg *m)
{
	if (c->gone)
		return;
	if (custody_msg_send(c->fd, m, NULL) < 0)
		client_end(c); /* it does not read its replies, or has gone */
}

void client_answer(struct client *c, const struct custody_msg *request, int status, const struct err *e)
{
	struct custody_msg m = { .op = request->op, .id = request->id, .status = status, .body = BUF_EMPTY };
	const char *text = status < 0 ? err_text(e, status) : "";

	if (buf_set(&m.body, text, strlen(text)) < 0)
		m.status = -ENOMEM;
	client_reply(c, &m);
	custody_msg_clear(&m);
}

void client_ready(struct client *c)
{
	c->busy = false;
	c->waits_in = NULL;
	if (c->gone)
		client_free(c);
	else if (sd_event_source_set_enabled(c->source, SD_EVENT_ON) < 0)
		client_free(c);
}

void client_busy(struct client *c)
{
	c->busy = true;
	(void) sd_event_source_set_enabled(c->source, SD_EVENT_OFF); /* cannot fail for a live source */
}

static void refusal_say(const struct client *c, const char *label, const char *text)
{
	struct server *s = c->server;
	uint64_t now = 0;

	(void) sd_event_now(s->event, CLOCK_MONOTONIC, &now); /* 0: no new time begins */
	if (now >= s->refusals_since + SAID_USEC) {
		s->refusals_since = now;
		s->refusals = 0;
	}
	if (s->refusals < REFUSALS_SAID)
		log_event(LOG_EV_KEY_REFUSED, NULL, "user %u, key %s: %s", (unsigned) c->peer.uid, *label ? label : "-", text);
	else if (s->refusals == REFUSALS_SAID)
		log_line(LOG_WARNING, "more are refused, of which nothing is said until a minute is over");
	s->refusals += s->refusals <= REFUSALS_SAID;
}

static int on_request(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	AUTO(custody_msg) struct custody_msg m = CUSTODY_MSG_EMPTY;
	struct client *c = userdata;
	struct err e = { .code = 0 };
	int r = custody_msg_recv(fd, &m, &e);

	(void) source;
	(void) revents;
	if (r == -EAGAIN)
		return 0;
	c->last = ++c->server->requests;
	if (r < 0) {
		if (r != -ECONNRESET)
			refusal_say(c, "", e.text);
		client_end(c);
		return 0;
	}
	r = dispatch(c->server, c, &m, &e);
	if (r == -EACCES || r == -EPROTO || r == -EBADMSG)
		refusal_say(c, m.label, err_text(&e, r));
	else if (r < 0)
		log_line(LOG_DEBUG, "user %u, key %s: %s", (unsigned) c->peer.uid, m.label, err_text(&e, r));
	if (r <= 0)
		client_answer(c, &m, r, &e);
	return 0;
}

static size_t clients_of(const struct server *s, uid_t uid, bool idle_only)
{
	size_t n = 0;

	for (const struct client *c = s->clients; c; c = c->next)
		n += c->peer.uid == uid && !(idle_only && c->busy);
	return n;
}

/* The user with the most connections that wait for nothing. -ENOENT: nobody has one. */
static int crowd_find(const struct server *s, uid_t *ret)
{
	size_t most = 0;

	for (const struct client *c = s->clients; c; c = c->next) {
		size_t n = clients_of(s, c->peer.uid, true);

		if (n > most) {
			most = n;
			*ret = c->peer.uid;
		}
	}
	return most > 0 ? 0 : -ENOENT;
}

static struct client *oldest_idle(const struct server *s, uid_t uid)
{
	struct client *oldest = NULL;

	for (struct client *c = s->clients; c; c = c->next)
		if (c->peer.uid == uid && !c->busy && (!oldest || c->last < oldest->last))
			oldest = c;
	return oldest;
}

static void crowd_say(struct server *s, uid_t uid, const char *what)
{
	uint64_t now;

	if (sd_event_now(s->event, CLOCK_MONOTONIC, &now) < 0 || (s->crowd_said && now < s->crowd_said + SAID_USEC))
		return;
	s->crowd_said = now;
	log_line(LOG_WARNING, "user %u has %zu connections, at most %d, and all users %zu, at most %d: %s", (unsigned) uid, clients_of(s, uid, false), CLIENTS_PER_UID,
		 s->n_clients, CLIENTS_MAX, what);
}

/* Root is not kept out by what others do. -EMFILE: all connections wait for an answer. */
static int room_make(struct server *s, uid_t uid)
{
	bool own = clients_of(s, uid, false) >= CLIENTS_PER_UID;
	struct client *victim = NULL;
	uid_t whose = uid;

	if (!own && s->n_clients < CLIENTS_MAX)
		return 0;
	if (own || crowd_find(s, &whose) == 0)
		victim = oldest_idle(s, whose);
	if (victim) {
		crowd_say(s, whose, "the one that was idle for longest is closed");
		client_free(victim);
	} else if (uid != 0) {
		crowd_say(s, uid, "all are at work, and one more is refused");
		return -EMFILE;
	}
	return 0;
}

static int client_new(struct server *s, int fd)
{
	struct client *c;
	int r;

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	r = peer_get(fd, &c->peer, NULL);
	if (r == 0)
		r = room_make(s, c->peer.uid);
	if (r == 0)
		r = sd_event_add_io(s->event, &c->source, fd, EPOLLIN, on_request, c);
	if (r < 0) {
		free(c);
		return r;
	}
	c->server = s;
	c->fd = fd;
	c->last = ++s->requests;
	c->next = s->clients;
	s->clients = c;
	s->n_clients++;
	return 0;
}

int on_connection(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct server *s = userdata;
	int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int r;

	(void) source;
	(void) revents;
	if (conn < 0)
		return 0; /* gone again, or no descriptors left: it waits in the backlog */
	r = client_new(s, conn);
	if (r < 0) {
		if (r != -EMFILE) /* which was said */
			log_line(LOG_WARNING, "a connection is refused: %s", strerror(-r));
		(void) close(conn);
	}
	return 0;
}

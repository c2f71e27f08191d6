/* Connections to the custodian: one request at a time for each. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "common/log.h"
#include "keystore/custody_server_internal.h"

enum { CLIENTS_MAX = 512, CLIENTS_PER_UID = 128 };

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
	if (r < 0) {
		if (r != -ECONNRESET)
			log_event(LOG_EV_KEY_REFUSED, NULL, "user %u: %s", (unsigned) c->peer.uid, e.text);
		client_end(c);
		return 0;
	}
	r = dispatch(c->server, c, &m, &e);
	if (r == -EACCES || r == -EPROTO || r == -EBADMSG)
		log_event(LOG_EV_KEY_REFUSED, NULL, "user %u, key %s: %s", (unsigned) c->peer.uid, m.label, err_text(&e, r));
	else if (r < 0)
		log_line(LOG_DEBUG, "user %u, key %s: %s", (unsigned) c->peer.uid, m.label, err_text(&e, r));
	if (r <= 0)
		client_answer(c, &m, r, &e);
	return 0;
}

static int client_new(struct server *s, int fd)
{
	struct client *c;
	size_t same = 0;
	int r;

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	r = peer_get(fd, &c->peer, NULL);
	for (const struct client *o = s->clients; o; o = o->next)
		same += o->peer.uid == c->peer.uid;
	if (r == 0 && (s->n_clients >= CLIENTS_MAX || (same >= CLIENTS_PER_UID && c->peer.uid != 0)))
		r = -EMFILE;
	if (r == 0)
		r = sd_event_add_io(s->event, &c->source, fd, EPOLLIN, on_request, c);
	if (r < 0) {
		free(c);
		return r;
	}
	c->server = s;
	c->fd = fd;
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
		log_line(LOG_WARNING, "a connection is refused: %s", strerror(-r));
		(void) close(conn);
	}
	return 0;
}

/* The serving side of the control sockets: connections. Calls are in ctl_call.c; see ctl.h. */
#include "common/ctl.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "common/ctl_internal.h"
#include "common/limits.h"

#define READ_CHUNK_BYTES (16 * 1024)
#define GROUPS_MAX 256
#define NSS_BYTES 4096
#define CLIENTS_PER_USER (LIMIT_CTL_CLIENTS / 4) /* nobody but root and the daemon's user can fill all places */

/* -1 when there is no such group. */
static gid_t group_id(const char *name)
{
	char memory[NSS_BYTES];
	struct group g, *found = NULL;

	if (getgrnam_r(name, &g, memory, sizeof(memory), &found) != 0 || !found)
		return (gid_t) -1;
	return g.gr_gid;
}

static int user_groups(uid_t uid, gid_t gid, gid_t groups[GROUPS_MAX])
{
	char memory[NSS_BYTES];
	struct passwd pw, *found = NULL;
	int n = GROUPS_MAX;

	groups[0] = gid;
	if (getpwuid_r(uid, &pw, memory, sizeof(memory), &found) != 0 || !found)
		return 1;
	if (getgrouplist(pw.pw_name, gid, groups, &n) < 0)
		return GROUPS_MAX; /* it filled them and knew more */
	return n;
}

static bool groups_have(const gid_t *groups, int n, const char *name)
{
	gid_t wanted = group_id(name);
	int i;

	for (i = 0; wanted != (gid_t) -1 && i < n; i++)
		if (groups[i] == wanted)
			return true;
	return false;
}

static bool user_is_master(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

static void client_judge(struct ctl_client *c, const struct ucred *who)
{
	gid_t groups[GROUPS_MAX];
	int n;

	c->uid = who->uid;
	c->may_read = c->may_change = user_is_master(who->uid);
	if (c->may_change)
		return;
	n = user_groups(who->uid, who->gid, groups);
	c->may_change = groups_have(groups, n, "keyroll-admin");
	c->may_read = c->may_change || groups_have(groups, n, "keyroll");
}

static void client_free(struct ctl_client *c)
{
	if (c->call)
		c->call->client = NULL; /* its answer will go nowhere */
	(void) sd_event_source_disable_unref(c->source); /* returns NULL */
	auto_fd(&c->fd);
	buf_clear(&c->in);
	buf_clear(&c->out);
	free(c);
}

static void client_close(struct ctl_client *c)
{
	struct ctl_server *s = c->server;
	struct ctl_client **p;

	for (p = &s->clients; *p != c; p = &(*p)->next)
		;
	*p = c->next;
	s->n_clients--;
	client_free(c);
	(void) sd_event_source_set_enabled(s->listen_source, SD_EVENT_ON); /* it may have been out of descriptors; fails for NULL only */
}

static bool client_has_frame(const struct ctl_client *c)
{
	return ctl_frame((const char *) c->in.data, c->in.len) != -EAGAIN;
}

static bool client_is_done(const struct ctl_client *c)
{
	return c->eof && !c->call && c->out.len == 0 && !client_has_frame(c);
}

void ctl_client_rearm(struct ctl_client *c)
{
	uint32_t events = 0;

	if (c->out.len > 0 || (!c->call && (client_has_frame(c) || c->eof)))
		events = EPOLLOUT; /* there is something to do as soon as it is writable, which it nearly always is */
	else if (!c->call)
		events = EPOLLIN;
	/* with an open call: only the hang-up, which epoll always tells */
	(void) sd_event_source_set_io_events(c->source, events); /* fails for a dead loop only, which serves nobody */
}

static int client_read(struct ctl_client *c)
{
	char chunk[READ_CHUNK_BYTES];
	ssize_t n;
	int r;

	n = recv(c->fd, chunk, sizeof(chunk), 0);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		c->eof = true;
	r = buf_add(&c->in, chunk, (size_t) n);
	explicit_bzero(chunk, (size_t) n);
	return r;
}

static int client_write(struct ctl_client *c)
{
	ssize_t n;

	if (c->out.len == 0)
		return 0;
	n = send(c->fd, c->out.data + c->out_sent, c->out.len - c->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	c->out_sent += (size_t) n;
	if (c->out_sent == c->out.len) {
		buf_clear(&c->out);
		c->out_sent = 0;
	}
	return 0;
}

/* Runs the first message of `in`, if nothing is under way. */
static int client_next_call(struct ctl_client *c)
{
	AUTO(buf) struct buf message = BUF_SECRET;
	AUTO(buf) struct buf rest = BUF_SECRET;
	ssize_t len;
	int r;

	if (c->call || c->out.len > 0)
		return 0;
	len = ctl_frame((const char *) c->in.data, c->in.len);
	if (len < 0)
		return len == -EAGAIN ? 0 : (int) len;
	r = buf_set(&rest, c->in.data + len + 1, c->in.len - (size_t) len - 1);
	if (r < 0)
		return r;
	buf_take(&message, &c->in);
	buf_take(&c->in, &rest);
	return ctl_call_take(c, (const char *) message.data, (size_t) len);
}

static int client_event(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct ctl_client *c = userdata;
	int r = 0;

	(void) source, (void) fd; /* both are in c */
	if (revents & EPOLLIN)
		r = client_read(c);
	else if (revents & (EPOLLHUP | EPOLLERR))
		r = -EPIPE;
	if (r == 0)
		r = client_write(c);
	if (r == 0)
		r = client_next_call(c);
	if (r < 0 || client_is_done(c))
		client_close(c);
	else
		ctl_client_rearm(c);
	return 0;
}

static bool has_room(const struct ctl_server *s, uid_t uid)
{
	const struct ctl_client *c;
	int same = 0;

	for (c = s->clients; c; c = c->next)
		same += c->uid == uid;
	return s->n_clients < LIMIT_CTL_CLIENTS && (user_is_master(uid) || same < CLIENTS_PER_USER);
}

static int client_new(struct ctl_server *s, int taken_fd)
{
	AUTO(fd) int fd = taken_fd;
	struct ctl_client *c;
	struct ucred who;
	socklen_t size = sizeof(who);
	int r;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0)
		return -errno;
	if (!has_room(s, who.uid))
		return -EUSERS;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->server = s;
	c->in = BUF_SECRET;
	c->fd = TAKE_FD(fd);
	client_judge(c, &who);
	r = sd_event_add_io(s->event, &c->source, c->fd, EPOLLIN, client_event, c);
	if (r < 0) {
		client_free(c);
		return r;
	}
	c->next = s->clients;
	s->clients = c;
	s->n_clients++;
	return 0;
}

static int listen_event(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct ctl_server *s = userdata;
	int client_fd;

	(void) revents; /* only EPOLLIN was asked for */
	client_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (client_fd >= 0)
		(void) client_new(s, client_fd); /* refused: the peer sees the connection closed */
	else if ((errno == EMFILE || errno == ENFILE) && s->clients)
		(void) sd_event_source_set_enabled(source, SD_EVENT_OFF); /* until a client leaves: do not spin */
	return 0;
}

/* "interface org.keyroll.agent" in the text -> the name. */
static char *interface_name_find(const char *text)
{
	const char *line = strstr(text, "interface "), *name;

	while (line && line != text && line[-1] != '\n')
		line = strstr(line + 1, "interface ");
	if (!line)
		return NULL;
	name = line + strlen("interface ");
	return strndup(name, strcspn(name, " \t\r\n"));
}

int ctl_server_new(sd_event *event, int listen_fd, const char *interface, const struct ctl_method *methods, void *userdata,
		   struct ctl_server **ret, struct err *reterr)
{
	struct ctl_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_set(reterr, -ENOMEM, "control socket");
	s->listen_fd = -1; /* the caller's until nothing can fail any more */
	s->event = sd_event_ref(event);
	s->methods = methods;
	s->userdata = userdata;
	s->interface_name = interface_name_find(interface);
	s->interface_text = strdup(interface);
	r = s->interface_name && s->interface_text ? 0 : -EINVAL;
	if (r == 0)
		r = sd_event_add_io(event, &s->listen_source, listen_fd, EPOLLIN, listen_event, s);
	if (r < 0) {
		ctl_server_free(s);
		return err_set(reterr, r, "control socket: %s", strerror(-r));
	}
	s->listen_fd = listen_fd;
	*ret = s;
	return 0;
}

/* Tells it once, without waiting: a peer that does not read, or no memory, leaves the closed connection to say it. */
static void client_dismiss(struct ctl_client *c)
{
	static const char sorry[] = "{\"error\":\"org.varlink.service.Disconnected\",\"parameters\":"
				    "{\"message\":\"the daemon is stopping\",\"do\":\"try again\"}}";

	if (c->call && !c->call->oneway && buf_add(&c->out, sorry, sizeof(sorry)) < 0) /* with the NUL */
		return;
	(void) client_write(c); /* see above */
}

void ctl_server_free(struct ctl_server *s)
{
	struct ctl_client *c;

	if (!s)
		return;
	while ((c = s->clients)) {
		client_dismiss(c);
		s->clients = c->next;
		client_free(c);
	}
	(void) sd_event_source_disable_unref(s->listen_source); /* returns NULL */
	auto_fd(&s->listen_fd);
	free(s->interface_name);
	free(s->interface_text);
	(void) sd_event_unref(s->event); /* returns NULL */
	free(s);
}

/* Shared by the control server's own files only. */
#ifndef KEYROLL_COMMON_CTL_INTERNAL_H
#define KEYROLL_COMMON_CTL_INTERNAL_H

#include <sys/socket.h>
#include <sys/un.h>

#include "common/buf.h"
#include "common/ctl.h"

/* One connection. It has at most one open call: further ones wait in `in`, as varlink demands replies in order. */
struct ctl_client {
	struct ctl_client *next;
	struct ctl_server *server;
	sd_event_source *source;
	int fd;
	uid_t uid;
	bool may_read, may_change;
	bool eof;		/* it will send nothing more, but may still wait for an answer */
	struct ctl_call *call;	/* open, NULL: none */
	struct buf in;		/* secret: a challenge password passes here */
	struct buf out;
	size_t out_sent;
};

struct ctl_server {
	sd_event *event;
	sd_event_source *listen_source;
	int listen_fd;
	char *interface_name, *interface_text;
	const struct ctl_method *methods;
	void *userdata;
	struct ctl_client *clients;
	int n_clients;
};

struct ctl_call {
	struct ctl_client *client; /* NULL: it has gone */
	char interface[96];	   /* of the method, for the names of errors */
	uid_t uid;
	bool oneway;
};

/* A message of one client, without the NUL. 0, or -EBADMSG: close the connection. */
int ctl_call_take(struct ctl_client *client, const char *text, size_t len) CHECKED;
/* Watches for what the client's state can make use of. */
void ctl_client_rearm(struct ctl_client *client);

/* Names longer than sun_path are reached through an open descriptor of their folder, which must stay open meanwhile. */
int ctl_address(const char *path, struct sockaddr_un *ret, int *ret_folder_fd, struct err *reterr) CHECKED;
/* One JSON object, strict, duplicates refused. -EBADMSG. */
int ctl_json_parse(const char *text, size_t len, json_t **ret, struct err *reterr) CHECKED;
/* With the NUL at its end. -EMSGSIZE when longer than max, -ENOMEM. */
int ctl_json_build(const json_t *message, size_t max, struct buf *append) CHECKED;

#endif

/* The listening socket. */
#include "ca/httpd_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { LISTEN_BACKLOG = 1024 };

struct place {
	struct sockaddr_storage address;
	socklen_t len;
};

static bool port_parse(const char *text, uint16_t *ret)
{
	unsigned long n = 0;

	if (!*text || strlen(text) > 5)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		n = n * 10 + (unsigned long) (*text - '0');
	}
	*ret = (uint16_t) n;
	return n <= 65535;
}

/* The host's text without brackets; "" stands for every address. */
static bool split(const char *text, char *host, size_t bytes, const char **ret_port)
{
	const char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t) (colon - text) : 0;

	if (!colon || len >= bytes)
		return false;
	*ret_port = colon + 1;
	if (len >= 2 && text[0] == '[' && colon[-1] == ']') {
		memcpy(host, text + 1, len - 2);
		host[len - 2] = 0;
		return strchr(host, ':') != NULL;
	}
	memcpy(host, text, len);
	host[len] = 0;
	return strchr(host, ':') == NULL; /* a bare IPv6 address is ambiguous */
}

static bool place_parse(const char *text, struct place *ret)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *) &ret->address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *) &ret->address;
	char host[64];
	const char *port_text;
	uint16_t port;

	memset(ret, 0, sizeof(*ret));
	if (!split(text, host, sizeof(host), &port_text) || !port_parse(port_text, &port))
		return false;
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		ret->len = sizeof(*v4);
		return true;
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	ret->len = sizeof(*v6);
	return host[0] == 0 || inet_pton(AF_INET6, host, &v6->sin6_addr) == 1;
}

/* [::] takes IPv4 too; where the kernel has no IPv6 it is 0.0.0.0. */
static int socket_make(struct place *p)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *) &p->address;
	int fd = socket(p->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 && errno == EAFNOSUPPORT && p->address.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr)) {
		struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = v6->sin6_port };

		memcpy(&p->address, &v4, sizeof(v4));
		p->len = sizeof(v4);
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	}
	return fd;
}

int httpd_listen_taken(int fd, uint16_t *ret_port, struct err *reterr)
{
	struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
	socklen_t len = sizeof(address);
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || getsockname(fd, (struct sockaddr *) &address, &len) < 0)
		return err_set(reterr, -errno, "http: the listening socket cannot be used: %s", strerror(errno));
	*ret_port = 0;
	if (address.ss_family == AF_INET)
		*ret_port = ntohs(((struct sockaddr_in *) &address)->sin_port);
	else if (address.ss_family == AF_INET6)
		*ret_port = ntohs(((struct sockaddr_in6 *) &address)->sin6_port);
	return 0;
}

int httpd_listen(const char *text, int *ret_fd, uint16_t *ret_port, struct err *reterr)
{
	struct place p;
	AUTO(fd) int fd = -1;
	int on = 1, off = 0, r;

	if (!place_parse(text, &p))
		return err_set(reterr, -EINVAL, "Listen=%s: wanted ADDRESS:PORT, [IPV6]:PORT or :PORT", text);
	fd = socket_make(&p);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return err_set(reterr, -errno, "http: no socket: %s", strerror(errno));
	if (p.address.ss_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0)
		return err_set(reterr, -errno, "http: no socket for both IPv4 and IPv6: %s", strerror(errno));
	if (bind(fd, (struct sockaddr *) &p.address, p.len) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
		return err_set(reterr, -errno, "http: cannot listen on %s: %s", text, strerror(errno));
	r = httpd_listen_taken(fd, ret_port, reterr);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

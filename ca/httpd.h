/* The CA's HTTP side on libmicrohttpd (thread pool, epoll): strict where the library is lenient, absolute deadlines, body
 * and URI limits. It knows operations and bytes, nothing of CMS. */
#ifndef KEYROLL_CA_HTTPD_H
#define KEYROLL_CA_HTTPD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

struct httpd;

enum http_op { HTTP_OP_GET_CA_CAPS, HTTP_OP_GET_CA_CERT, HTTP_OP_GET_NEXT_CA_CERT, HTTP_OP_PKI_OPERATION, HTTP_OP_CRL, HTTP_OP_N_ };

struct http_request {
	enum http_op op;
	/* message= of GETs other than PKIOperation (a CA identifier), or the CRL's file name; "". operation=GetCRL (IOS's CDP): HTTP_OP_CRL with "", the
	 * active key's */
	const char *message;
	struct buf body;	/* PKIOperation: the DER, from POST or decoded from GET */
	char address[64];	/* of the peer */
};
struct http_reply {
	int status;		/* 200, 400, 404, 503 ... */
	const char *content_type; /* static; NULL: the operation's usual one */
	struct buf body;
	int retry_after_sec;	/* 503; 0: none */
};
/* PKIOperation runs on one of some dozens of worker threads and may block (database, signer); beyond a bounded queue the peer gets 503 without the service
 * being asked. Everything else runs on the network threads and must not block: it is served from memory. reply is zeroed; body is taken. Of a reply that
 * is not 200 only status and retry_after_sec are sent, and the connection is closed. */
typedef void (*httpd_fn)(void *userdata, struct http_request *request, struct http_reply *reply);

struct httpd_options {
	const char *listen;	/* "[::]:80", "127.0.0.1:8080", ":80"; port 0 is for tests */
	int listen_fd;		/* socket activation, taken on success; -1: bind `listen` */
	unsigned threads;	/* of the network; 0: cores */
	unsigned max_connections, max_per_address; /* max_per_address 0: no bound */
	int64_t head_deadline_ms, body_deadline_ms; /* absolute, from accept / from the end of the head */
	const char *crl_prefix; /* "/crl/" */
};
int httpd_start(const struct httpd_options *o, httpd_fn fn, void *userdata, struct httpd **ret, struct err *reterr) CHECKED;
uint16_t httpd_port(const struct httpd *h); /* that it listens on */
void httpd_stop(struct httpd *h); /* finishes what workers have, ends connections; returns when no handler runs */

#endif

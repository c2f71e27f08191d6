/* The SCEP service on opened requests: what each operation answers. Runs on the pool's threads; everything it decides by is the view of the moment, the
 * database, and the clock that it is given. */
#ifndef KEYROLL_CA_SERVICE_H
#define KEYROLL_CA_SERVICE_H

#include <stdbool.h>

#include "ca/db.h"
#include "ca/httpd.h"
#include "ca/view.h"
#include "common/auto.h"
#include "common/err.h"

struct service;

struct service_options {
	struct db *db;				    /* borrowed */
	void (*now)(const void *userdata, const struct ca_conf *conf, struct tp_now *ret); /* NULL: the machine's clock, trusted as Clock= says */
	const void *userdata;			    /* its */
};

int service_new(const struct service_options *o, struct service **ret, struct err *reterr) CHECKED;
void service_free(struct service *s); /* no handler runs any more */

/* Swaps in a sealed view, which is taken. Handlers that began before finish with the old one. */
void service_publish(struct service *s, struct view *v);
/* The view in force, a reference of the caller's. NULL before the first one. */
struct view *service_view1(struct service *s);

/* An httpd_fn. */
void service_handle(void *service, struct http_request *request, struct http_reply *reply);

/* An operator's grant: durable when it returns; the certificate is made when the router polls. -ENOENT; -EINVAL: not pending; -ETIME: the clock is not
 * trusted; -ESTALE: the CA certificate it is addressed to is in use no more. */
int service_grant(struct service *s, int64_t id, const char *actor, struct err *reterr) CHECKED;
/* Signs what intents say that a crash left behind. Returns 0 also when some must wait (their key is gone): *ret_left counts those. */
int service_finish(struct service *s, unsigned *ret_done, unsigned *ret_left, struct err *reterr) CHECKED;
/* The CRL of that role, signed; its number is durable before. -EAGAIN: clock not trusted. */
int service_crl_make(struct service *s, const struct view *v, enum car_recipient role, struct view_crl *ret, struct err *reterr) CHECKED;

AUTO_DEFINE(service, struct service *, service_free);

#endif

/* The SCEP service: see service.h. Static replies and the CRL; PKIOperation is in service_pki.c. */
#include "ca/service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ca/service_internal.h"
#include "ca/x509sig.h"
#include "common/log.h"

int service_new(const struct service_options *o, struct service **ret, struct err *reterr)
{
	struct service *s = calloc(1, sizeof(*s));

	if (!s || pthread_mutex_init(&s->lock, NULL) != 0) {
		free(s);
		return err_set(reterr, -ENOMEM, "service");
	}
	s->o = *o;
	*ret = s;
	return 0;
}

void service_free(struct service *s)
{
	if (s->view)
		view_put(s->view);
	(void) pthread_mutex_destroy(&s->lock); /* nobody holds it */
	free(s);
}

static void lock(struct service *s)
{
	(void) pthread_mutex_lock(&s->lock); /* a plain mutex that is initialised cannot fail */
}

static void unlock(struct service *s)
{
	(void) pthread_mutex_unlock(&s->lock); /* likewise */
}

void service_publish(struct service *s, struct view *v)
{
	struct view *old;

	lock(s);
	old = s->view;
	s->view = v;
	unlock(s);
	if (old)
		view_put(old);
}

struct view *service_view1(struct service *s)
{
	struct view *v;

	lock(s);
	v = s->view ? view_get1(s->view) : NULL;
	unlock(s);
	return v;
}

/* ---- static replies ---- */

static void reply_empty(struct http_reply *reply, int status)
{
	buf_clear(&reply->body);
	reply->status = status;
	reply->content_type = "text/plain";
}

static void reply_copy(struct http_reply *reply, const struct buf *body, const char *content_type)
{
	if (buf_set(&reply->body, body->data, body->len) < 0) {
		reply_empty(reply, 503);
		return;
	}
	reply->status = 200;
	reply->content_type = content_type;
}

static void next_ca_reply(const struct view *v, struct http_reply *reply)
{
	if (v->next_ca.len > 0)
		reply_copy(reply, &v->next_ca, "application/x-x509-next-ca-cert");
	else
		reply_empty(reply, 404); /* no next CA certificate yet */
}

static void crl_reply(const struct view *v, const char *name, struct http_reply *reply)
{
	int i;

	if (!*name)
		name = v->role[CAR_RECIPIENT_ACTIVE].crl_name; /* operation=GetCRL, as IOS's CDP has it */
	for (i = 0; i < CAR_RECIPIENT_N_; i++)
		if (v->role[i].cert && v->role[i].crl.der.len > 0 && strcmp(v->role[i].crl_name, name) == 0) {
			reply_copy(reply, &v->role[i].crl.der, "application/pkix-crl");
			return;
		}
	reply_empty(reply, 404);
}

void service_handle(void *service, struct http_request *request, struct http_reply *reply)
{
	struct service *s = service;
	AUTO(view) struct view *v = service_view1(s);

	if (!v) {
		reply_empty(reply, 503);
		reply->retry_after_sec = SERVICE_RETRY_AFTER_SEC;
		return;
	}
	switch (request->op) {
	case HTTP_OP_GET_CA_CAPS:
		reply_copy(reply, &v->caps, "text/plain");
		return;
	case HTTP_OP_GET_CA_CERT:
		reply_copy(reply, &v->ca_cert, "application/x-x509-ca-cert");
		return;
	case HTTP_OP_GET_NEXT_CA_CERT:
		next_ca_reply(v, reply);
		return;
	case HTTP_OP_PKI_OPERATION:
		db_expect(s->o.db, 1);
		service_pki(s, request, reply);
		db_expect(s->o.db, -1);
		return;
	case HTTP_OP_CRL:
		crl_reply(v, request->message, reply);
		return;
	case HTTP_OP_N_:
		break;
	}
	reply_empty(reply, 400);
}

/* ---- CRL ---- */

struct revoked_list {
	struct issue_revoked *list;
	size_t n, room;
};

static int revoked_collect(void *userdata, const struct db_cert *c)
{
	struct revoked_list *l = userdata;
	struct issue_revoked *more;

	if (l->n == l->room) {
		l->room = l->room ? l->room * 2 : 64;
		more = reallocarray(l->list, l->room, sizeof(*more));
		if (!more)
			return -ENOMEM;
		l->list = more;
	}
	(void) snprintf(l->list[l->n].serial, sizeof(l->list[l->n].serial), "%s", c->serial); /* same size */
	l->list[l->n].at_sec = c->revoked_sec;
	l->list[l->n++].reason = c->revoked_reason;
	return 0;
}

static int crl_sign(struct service *s, const struct view *v, const struct view_role *role, const struct tp_now *now,
		    const struct revoked_list *revoked, struct view_crl *ret, struct err *reterr)
{
	struct issue_crl crl = {
		.ca = role->cert, .this_sec = now->wall.ms / 1000, .revoked = revoked->list, .n_revoked = revoked->n, .hash = v->conf->hash
	};
	AUTO(buf) struct buf tbs = BUF_EMPTY;
	int r;

	crl.next_sec = crl.this_sec + v->conf->cal.crl_lifetime_ms / 1000;
	if ((r = db_crl_number(s->o.db, role->facts.spki_sha256, &crl.number, reterr)) < 0 || (r = issue_crl_tbs(&crl, &tbs, reterr)) < 0)
		return r;
	ret->next_update_sec = crl.next_sec;
	return x509sig_make(tbs.data, tbs.len, v->conf->hash, role->key, &ret->der, reterr);
}

int service_crl_make(struct service *s, const struct view *v, enum car_recipient role, struct view_crl *ret, struct err *reterr)
{
	struct revoked_list revoked = { 0 };
	struct tp_now now;
	int r;

	service_now(s, v, &now);
	if (!now.trusted)
		return err_set(reterr, -EAGAIN, "the clock is not trusted");
	/* RFC 5280 3.3: an entry stays until one CRL after the certificate's end */
	r = db_revoked_each(s->o.db, v->role[role].facts.spki_sha256, now.wall.ms / 1000 - v->conf->cal.crl_lifetime_ms / 1000,
			    revoked_collect, &revoked, reterr);
	if (r == 0)
		r = crl_sign(s, v, &v->role[role], &now, &revoked, ret, reterr);
	free(revoked.list);
	return r;
}

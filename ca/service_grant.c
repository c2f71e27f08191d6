/* An operator's grant. It signs nothing: the certificate is made when the router comes for it, so what would stop it then is told now. */
#include <errno.h>

#include "ca/service_internal.h"

static int role_check(const struct view *v, const struct db_request *r, const struct tp_now *now, struct err *reterr)
{
	enum car_recipient role = view_role_of(v, r->issuer_spki);

	if (role != CAR_RECIPIENT_ACTIVE && role != CAR_RECIPIENT_NEXT)
		return err_set(reterr, -ESTALE, "addressed to a CA certificate (key %.16s) that is no longer in use; the router asks the new CA by itself",
			       r->issuer_spki);
	if (now->wall.ms / 1000 >= v->role[role].facts.na_sec)
		return err_set(reterr, -ESTALE, "the CA certificate that it is addressed to has ended");
	return 0;
}

int service_grant(struct service *s, int64_t id, const char *actor, struct err *reterr)
{
	AUTO(view) struct view *v = service_view1(s);
	AUTO(db_request) struct db_request r = { 0 };
	struct tp_now now;
	int rc;

	if (!v)
		return err_set(reterr, -EAGAIN, "no CA certificate yet");
	service_now(s, v, &now);
	if (!now.trusted)
		return err_set(reterr, -ETIME, "the clock is not trusted, so nothing is granted");
	rc = db_request_get(s->o.db, id, &r, reterr);
	if (rc == 0 && r.status == CAR_STATUS_PENDING)
		rc = role_check(v, &r, &now, reterr);
	return rc < 0 ? rc : db_request_set_status(s->o.db, id, CAR_STATUS_AUTHORIZED, "", now.wall.ms / 1000, actor, reterr);
}

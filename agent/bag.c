/* A trustpoint's certificates: see bag.h. */
#include "agent/bag.h"

#include <errno.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "common/x509facts.h"

bool bag_same(const struct tp_cert *a, const struct tp_cert *b)
{
	return a->nb_sec == b->nb_sec && a->na_sec == b->na_sec && a->serial_low == b->serial_low;
}

struct tp_cert bag_identity(X509 *x)
{
	struct x509_facts f;

	if (x509_facts_get(x, &f, NULL) < 0)
		return (struct tp_cert){ .na_sec = 0 };
	return (struct tp_cert){ .nb_sec = f.nb_sec, .na_sec = f.na_sec, .serial_low = f.serial_low };
}

static struct bag_entry *entry_find(const struct bag *bag, const struct tp_cert *who)
{
	size_t i;

	for (i = 0; i < bag->n; i++)
		if (bag_same(&bag->list[i].who, who))
			return (struct bag_entry *) &bag->list[i];
	return NULL;
}

static struct bag_entry *entry_make(struct bag *bag, const struct tp_cert *who)
{
	struct bag_entry *e = entry_find(bag, who);

	if (e || bag->n == BAG_MAX)
		return e;
	e = &bag->list[bag->n++];
	*e = (struct bag_entry){ .who = *who };
	return e;
}

int bag_add(struct bag *bag, X509 *const *certs, size_t n, struct tp_cert *ret_who, struct err *reterr)
{
	AUTO(buf) struct buf pem = BUF_EMPTY;
	struct tp_cert who = bag_identity(certs[0]);
	struct bag_entry *e;
	size_t i;
	int r = 0;

	if (who.na_sec == 0)
		return err_set(reterr, -EBADMSG, "a certificate whose validity or serial cannot be read");
	for (i = 0; i < n && r == 0; i++)
		r = x509_to_pem(certs[i], &pem, reterr);
	if (r < 0)
		return r;
	e = entry_make(bag, &who);
	if (!e)
		return err_set(reterr, -ENOSPC, "more than %d certificates of one trustpoint", BAG_MAX);
	buf_clear(&e->pem);
	buf_take(&e->pem, &pem);
	if (ret_who)
		*ret_who = who;
	return 0;
}

int bag_add_pem(struct bag *bag, const char *pem, size_t len, struct err *reterr)
{
	AUTO(x509_sk) STACK_OF(X509) *sk = NULL;
	X509 *certs[3] = { NULL, NULL, NULL };
	int i, n, r = x509_from_pem(pem, len, &sk, reterr);

	if (r < 0)
		return r;
	n = sk_X509_num(sk);
	if (n > 3)
		return err_set(reterr, -EBADMSG, "%d certificates in one entry, wanted at most 3", n);
	for (i = 0; i < n; i++)
		certs[i] = sk_X509_value(sk, i);
	return bag_add(bag, certs, (size_t) n, NULL, reterr);
}

const struct buf *bag_get0(const struct bag *bag, const struct tp_cert *who)
{
	const struct bag_entry *e = who->na_sec ? entry_find(bag, who) : NULL;

	return e ? &e->pem : NULL;
}

int bag_certs(const struct bag *bag, const struct tp_cert *who, STACK_OF(X509) **ret, struct err *reterr)
{
	const struct buf *pem = bag_get0(bag, who);

	if (!pem)
		return err_set(reterr, -ENOENT, "a certificate that the state names is not stored");
	return x509_from_pem(pem->data, pem->len, ret, reterr);
}

int bag_cert(const struct bag *bag, const struct tp_cert *who, X509 **ret, struct err *reterr)
{
	AUTO(x509_sk) STACK_OF(X509) *sk = NULL;
	int r = bag_certs(bag, who, &sk, reterr);

	if (r < 0)
		return r;
	*ret = sk_X509_shift(sk);
	return 0;
}

void bag_sweep(struct bag *bag, bool (*keep)(const struct tp_cert *who, const void *arg), const void *arg)
{
	size_t i, n = 0;

	for (i = 0; i < bag->n; i++) {
		if (!keep(&bag->list[i].who, arg)) {
			buf_clear(&bag->list[i].pem);
			continue;
		}
		if (n != i)
			bag->list[n] = bag->list[i];
		n++;
	}
	bag->n = n;
}

void bag_clear(struct bag *bag)
{
	while (bag->n > 0)
		buf_clear(&bag->list[--bag->n].pem);
}

/* The CA's files: see material.h. */
#include "ca/material.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "common/fs.h"
#include "common/limits.h"
#include "common/x509facts.h"

#define FOLDER "/var/lib/keyroll/ca/%s"

static char *role_path(const char *ca, enum car_recipient role)
{
	static const char *const names[] = { "ca.pem", "next.pem", "previous.pem" };
	static_assert(sizeof(names) / sizeof(names[0]) == CAR_RECIPIENT_N_, "a file for each role");

	return fs_path(FOLDER "/%s", ca, names[role]);
}

int material_folder_make(const char *ca, struct err *reterr)
{
	AUTO(mem) char *path = fs_path(FOLDER, ca);

	return path ? fs_mkdir(path, 0700, reterr) : err_set(reterr, -ENOMEM, "CA folder");
}

int material_load(const char *ca, enum car_recipient role, X509 **ret, struct err *reterr)
{
	AUTO(mem) char *path = role_path(ca, role);
	AUTO(buf) struct buf pem = BUF_EMPTY;
	AUTO(x509_sk) STACK_OF(X509) *all = NULL;
	int r;

	if (!path)
		return err_set(reterr, -ENOMEM, "CA certificate");
	r = fs_read(path, LIMIT_CA_REPLY_BYTES, &pem, reterr);
	if (r < 0)
		return r;
	r = x509_from_pem(pem.data, pem.len, &all, reterr);
	if (r < 0)
		return err_prefix(reterr, r, "%s", path);
	if (sk_X509_num(all) != 1)
		return err_set(reterr, -EBADMSG, "%s: %d certificates, one wanted", path, sk_X509_num(all));
	*ret = sk_X509_pop(all);
	return 0;
}

int material_store(const char *ca, enum car_recipient role, X509 *cert, struct err *reterr)
{
	AUTO(mem) char *path = role_path(ca, role);
	AUTO(buf) struct buf pem = BUF_EMPTY;
	int r;

	if (!path)
		return err_set(reterr, -ENOMEM, "CA certificate");
	r = x509_to_pem(cert, &pem, reterr);
	return r < 0 ? r : fs_write(path, pem.data, pem.len, 0644, reterr);
}

int material_remove(const char *ca, enum car_recipient role, struct err *reterr)
{
	AUTO(mem) char *path = role_path(ca, role);

	return path ? fs_remove(path, reterr) : err_set(reterr, -ENOMEM, "CA certificate");
}

int material_switch(const char *ca, struct err *reterr)
{
	AUTO(mem) char *folder = fs_path(FOLDER, ca);
	AUTO(mem) char *active = role_path(ca, CAR_RECIPIENT_ACTIVE);
	AUTO(mem) char *next = role_path(ca, CAR_RECIPIENT_NEXT);
	AUTO(x509) X509 *cert = NULL;
	int r;

	if (!folder || !active || !next)
		return err_set(reterr, -ENOMEM, "switch");
	r = material_load(ca, CAR_RECIPIENT_ACTIVE, &cert, reterr);
	if (r == 0)
		r = material_store(ca, CAR_RECIPIENT_PREVIOUS, cert, reterr);
	if (r < 0)
		return r;
	if (rename(next, active) < 0)
		return err_set(reterr, -errno, "%s cannot become %s: %s", next, active, strerror(errno));
	return fs_sync_folder(folder, reterr);
}

int material_crl_load(const char *ca, const char *crl_name, struct buf *ret, struct err *reterr)
{
	AUTO(mem) char *path = fs_path(FOLDER "/%s", ca, crl_name);

	return path ? fs_read(path, LIMIT_CA_REPLY_BYTES, ret, reterr) : err_set(reterr, -ENOMEM, "CRL");
}

int material_crl_store(const char *ca, const char *crl_name, const struct buf *der, struct err *reterr)
{
	AUTO(mem) char *path = fs_path(FOLDER "/%s", ca, crl_name);

	return path ? fs_write(path, der->data, der->len, 0644, reterr) : err_set(reterr, -ENOMEM, "CRL");
}

int material_crl_remove(const char *ca, const char *crl_name, struct err *reterr)
{
	AUTO(mem) char *path = fs_path(FOLDER "/%s", ca, crl_name);

	return path ? fs_remove(path, reterr) : err_set(reterr, -ENOMEM, "CRL");
}

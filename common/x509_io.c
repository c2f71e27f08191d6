/* Certificates from and to DER and PEM: see x509facts.h. */
#include "common/x509facts.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "common/limits.h"

int x509_from_der(const void *der, size_t len, X509 **ret, struct err *reterr)
{
	const unsigned char *p = der;
	AUTO(x509) X509 *x = NULL;

	if (len > LIMIT_CA_REPLY_BYTES)
		return err_set(reterr, -EBADMSG, "certificate of %zu bytes, at most %d wanted", len, LIMIT_CA_REPLY_BYTES);
	x = d2i_X509(NULL, &p, (long) len);
	if (!x)
		return err_from_openssl(reterr, -EBADMSG, "not a DER certificate");
	if (p != (const unsigned char *) der + len)
		return err_set(reterr, -EBADMSG, "%zu bytes follow the certificate", (size_t) ((const unsigned char *) der + len - p));
	*ret = TAKE(x);
	return 0;
}

int x509_to_der(const X509 *x, struct buf *ret, struct err *reterr)
{
	AUTO(der) unsigned char *der = NULL;
	int len;

	len = i2d_X509(x, &der);
	if (len <= 0)
		return err_from_openssl(reterr, -ENOMEM, "certificate cannot be encoded");
	return buf_set(ret, der, (size_t) len);
}

int x509_to_pem(X509 *x, struct buf *append, struct err *reterr)
{
	AUTO(bio) BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL;
	long len;

	if (!bio || PEM_write_bio_X509(bio, x) != 1)
		return err_from_openssl(reterr, -ENOMEM, "certificate cannot be encoded as PEM");
	len = BIO_get_mem_data(bio, &text);
	if (len <= 0 || !text)
		return err_set(reterr, -ENOMEM, "certificate cannot be encoded as PEM");
	return buf_add(append, text, (size_t) len);
}

/* An encrypted block must not make the daemon ask at a terminal. */
static int no_password(char *out, int size, int writing, void *u)
{
	(void) out, (void) size, (void) writing, (void) u; /* never asked */
	return -1;
}

/* 0 with a certificate or, at the end of the text, with NULL. */
static int pem_next(BIO *bio, X509 **ret, struct err *reterr)
{
	X509 *x = PEM_read_bio_X509(bio, NULL, no_password, NULL);
	unsigned long why;

	*ret = x;
	if (x)
		return 0;
	why = ERR_peek_last_error();
	if (ERR_GET_LIB(why) == ERR_LIB_PEM && ERR_GET_REASON(why) == PEM_R_NO_START_LINE)
		return err_from_openssl(NULL, 0, "end"); /* only to empty the queue */
	return err_from_openssl(reterr, -EBADMSG, "broken PEM certificate");
}

static int pem_gather(BIO *bio, STACK_OF(X509) *all, struct err *reterr)
{
	for (;;) {
		AUTO(x509) X509 *x = NULL;
		int r;

		r = pem_next(bio, &x, reterr);
		if (r < 0 || !x)
			return r;
		if (sk_X509_num(all) >= LIMIT_BUNDLE_CERTS)
			return err_set(reterr, -EBADMSG, "more than %d certificates", LIMIT_BUNDLE_CERTS);
		if (!sk_X509_push(all, x))
			return err_from_openssl(reterr, -ENOMEM, "certificates");
		(void) TAKE(x); /* the stack owns it now */
	}
}

int x509_from_pem(const void *pem, size_t len, STACK_OF(X509) **ret, struct err *reterr)
{
	AUTO(x509_sk) STACK_OF(X509) *all = NULL;
	AUTO(bio) BIO *bio = NULL;
	int r;

	if (len == 0 || len > LIMIT_CA_REPLY_BYTES)
		return err_set(reterr, -EBADMSG, "PEM text of %zu bytes, 1 to %d wanted", len, LIMIT_CA_REPLY_BYTES);
	all = sk_X509_new_null();
	bio = BIO_new_mem_buf(pem, (int) len);
	if (!all || !bio)
		return err_from_openssl(reterr, -ENOMEM, "certificates");
	r = pem_gather(bio, all, reterr);
	if (r < 0)
		return r;
	if (sk_X509_num(all) == 0)
		return err_set(reterr, -EBADMSG, "no PEM certificate in %zu bytes", len);
	*ret = TAKE(all);
	return 0;
}

/* IssuerAndSubject of a poll, IssuerAndSerialNumber of a query and of CMS's identifiers. RFC 8894 3.3.3, 3.3.4. */
#include <errno.h>

#include "scep/scep.h"
#include "scep/scep_der.h"

static int name_put(struct buf *b, const X509_NAME *name)
{
	AUTO(der) unsigned char *der = NULL;
	int len = i2d_X509_NAME(name, &der);

	return len <= 0 ? -ENOMEM : buf_add(b, der, (size_t) len);
}

int scep_issuer_and_subject_build(const X509_NAME *issuer, const X509_NAME *subject, struct buf *ret_der)
{
	AUTO(buf) struct buf body = BUF_EMPTY;
	AUTO(buf) struct buf out = BUF_EMPTY;
	int r;

	r = name_put(&body, issuer);
	if (r == 0)
		r = name_put(&body, subject);
	if (r == 0)
		r = der_put_buf(&out, DER_SEQUENCE, &body);
	if (r == 0)
		buf_take(ret_der, &out);
	return r;
}

int scep_issuer_and_serial_build(const X509_NAME *issuer, const ASN1_INTEGER *serial, struct buf *ret_der)
{
	AUTO(buf) struct buf body = BUF_EMPTY;
	AUTO(buf) struct buf out = BUF_EMPTY;
	AUTO(der) unsigned char *number = NULL;
	int len, r;

	r = name_put(&body, issuer);
	if (r < 0)
		return r;
	len = i2d_ASN1_INTEGER(serial, &number);
	if (len <= 0)
		return -ENOMEM;
	r = buf_add(&body, number, (size_t) len);
	if (r == 0)
		r = der_put_buf(&out, DER_SEQUENCE, &body);
	if (r == 0)
		buf_take(ret_der, &out);
	return r;
}

/* CertRep, RFC 8894 3.3.2. */
#include <errno.h>
#include <string.h>

#include "scep/scep_internal.h"
#include "scep/scep_oid.h"

static const char *status_text(enum scep_status status)
{
	switch (status) {
	case SCEP_STATUS_SUCCESS:
		return "0";
	case SCEP_STATUS_FAILURE:
		return "2";
	case SCEP_STATUS_PENDING:
		return "3";
	}
	return NULL;
}

static int in_check(const struct scep_reply_in *in, struct err *reterr)
{
	size_t id = strlen(in->transaction_id);

	if (!status_text(in->status) || (in->status == SCEP_STATUS_FAILURE && !scep_fail_name(in->fail)))
		return err_set(reterr, -EINVAL, "found no pkiStatus or failInfo (RFC 8894 3.2.1)");
	if (id < 1 || id > LIMIT_TRANSACTION_ID_BYTES || in->recipient_nonce_len < 1 || in->recipient_nonce_len > LIMIT_NONCE_BYTES)
		return err_set(reterr, -EINVAL, "found no transactionID or no nonce to send back (RFC 8894 3.2.1)");
	if (in->status == SCEP_STATUS_SUCCESS && (!in->recipient || (in->n_certs == 0) == !in->crl))
		return err_set(reterr, -EINVAL, "found SUCCESS without recipient, or not either certificates or a CRL (RFC 8894 3.3.2.1)");
	return 0;
}

/* What does not fit a PrintableString came as another type, and goes back as UTF8String. */
static uint8_t text_tag(const char *text)
{
	return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?") == strlen(text) ? DER_PRINTABLE : DER_UTF8;
}

static int attrs_build(const struct scep_reply_in *in, struct buf *ret)
{
	const char *status = status_text(in->status), fail = (char) ('0' + in->fail);
	bool failed = in->status == SCEP_STATUS_FAILURE;
	int r;

	r = attr_put(ret, OID_MESSAGE_TYPE, DER_PRINTABLE, "3", 1);
	if (r == 0)
		r = attr_put(ret, OID_PKI_STATUS, DER_PRINTABLE, status, 1);
	if (r == 0 && failed)
		r = attr_put(ret, OID_FAIL_INFO, DER_PRINTABLE, &fail, 1);
	if (r == 0 && failed && in->fail_text && in->fail_text[0])
		r = attr_put(ret, OID_FAIL_INFO_TEXT, DER_UTF8, in->fail_text, strlen(in->fail_text));
	if (r == 0)
		r = attr_put(ret, OID_TRANSACTION_ID, text_tag(in->transaction_id), in->transaction_id, strlen(in->transaction_id));
	if (r == 0)
		r = attr_put(ret, OID_RECIPIENT_NONCE, DER_OCTETS, in->recipient_nonce, in->recipient_nonce_len);
	if (r == 0)
		r = attr_put(ret, OID_SENDER_NONCE, DER_OCTETS, in->sender_nonce, SCEP_NONCE_BYTES);
	return r;
}

/* SUCCESS only; FAILURE and PENDING have an empty OCTET STRING: certmonger cannot read an absent one. */
static int content_build(const struct scep_reply_in *in, struct buf *ret, struct err *reterr)
{
	AUTO(buf) struct buf bag = BUF_EMPTY;
	int r;

	if (in->status != SCEP_STATUS_SUCCESS)
		return 0;
	r = bag_build(in->certs, in->n_certs, in->crl, &bag, reterr);
	if (r < 0)
		return r;
	return envelope_seal(bag.data, bag.len, in->recipient, in->algs.cipher, ret, reterr);
}

int scep_reply_build(const struct scep_reply_in *in, struct buf *ret_der, struct err *reterr)
{
	AUTO(buf) struct buf content = BUF_EMPTY;
	AUTO(buf) struct buf attrs = BUF_EMPTY;
	struct sign_in sign;
	int r;

	r = in_check(in, reterr);
	if (r == 0)
		r = content_build(in, &content, reterr);
	if (r < 0)
		return r;
	if (attrs_build(in, &attrs) < 0)
		return err_set(reterr, -ENOMEM, "out of memory");
	sign = (struct sign_in){ .content = content.data,
				 .content_len = content.len,
				 .attrs = &attrs,
				 .signer = in->signer,
				 .key = in->signer_key,
				 .digest = in->algs.digest };
	return signed_build(&sign, ret_der, reterr);
}

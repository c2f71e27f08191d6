/* A request: content, sealed to the CA, signed by the client. RFC 8894 3.2. */
#include <errno.h>
#include <string.h>

#include "scep/scep_internal.h"
#include "scep/scep_oid.h"

/* Text of the wire for a message type; NULL: no request. */
static const char *type_text(enum scep_type type)
{
	switch (type) {
	case SCEP_TYPE_RENEWAL_REQ:
		return "17";
	case SCEP_TYPE_PKCS_REQ:
		return "19";
	case SCEP_TYPE_CERT_POLL:
		return "20";
	case SCEP_TYPE_GET_CERT:
		return "21";
	case SCEP_TYPE_GET_CRL:
		return "22";
	case SCEP_TYPE_CERT_REP:
		break;
	}
	return NULL;
}

static bool is_printable_string(const char *text)
{
	size_t n = strlen(text);

	return n >= 1 && n <= LIMIT_TRANSACTION_ID_BYTES &&
	       strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?") == n;
}

static int attrs_build(const struct scep_request_in *in, const char *type, struct buf *ret)
{
	int r;

	r = attr_put(ret, OID_MESSAGE_TYPE, DER_PRINTABLE, type, strlen(type));
	if (r == 0)
		r = attr_put(ret, OID_TRANSACTION_ID, DER_PRINTABLE, in->transaction_id, strlen(in->transaction_id));
	if (r == 0)
		r = attr_put(ret, OID_SENDER_NONCE, DER_OCTETS, in->sender_nonce, SCEP_NONCE_BYTES);
	return r;
}

int scep_request_build(const struct scep_request_in *in, struct buf *ret_der, struct err *reterr)
{
	const char *type = type_text(in->type);
	AUTO(buf) struct buf envelope = BUF_EMPTY;
	AUTO(buf) struct buf attrs = BUF_EMPTY;
	AUTO(buf) struct buf out = BUF_EMPTY;
	struct sign_in sign;
	int r;

	if (!type || !is_printable_string(in->transaction_id))
		return err_set(reterr, -EINVAL, "found no request type or no PrintableString transactionID (RFC 8894 3.2.1)");
	r = envelope_seal(in->content, in->content_len, in->recipient, in->algs.cipher, &envelope, reterr);
	if (r < 0)
		return r;
	if (attrs_build(in, type, &attrs) < 0)
		return err_set(reterr, -ENOMEM, "out of memory");
	sign = (struct sign_in){ .content = envelope.data,
				 .content_len = envelope.len,
				 .attrs = &attrs,
				 .signer = in->signer,
				 .key = in->signer_key,
				 .digest = in->algs.digest,
				 .signing_time_sec = in->signing_time_sec };
	r = signed_build(&sign, &out, reterr);
	if (r < 0)
		return r;
	if (out.len > LIMIT_SCEP_MESSAGE_BYTES)
		return err_set(reterr, -EMSGSIZE, "found a request of %zu bytes, wanted at most %d", out.len, LIMIT_SCEP_MESSAGE_BYTES);
	buf_take(ret_der, &out);
	return 0;
}

/* Signed attributes: each once, one value each, of the right ASN.1 type. A confused attribute is the classic way around a signature. */
#include <errno.h>
#include <string.h>

#include "scep/scep_oid.h"
#include "scep/scep_shape.h"

enum { UNKNOWN_ATTRS_MAX = LIMIT_SIGNED_ATTRS };

static bool is_text(uint8_t tag, const struct der *body)
{
	size_t i;

	if (tag != DER_PRINTABLE && tag != DER_UTF8 && tag != DER_IA5 && tag != DER_T61)
		return false;
	for (i = 0; i < body->left; i++)
		if (body->at[i] < 0x20 || body->at[i] > 0x7e)
			return false;
	return body->left > 0;
}

/* One known attribute's single value goes to its place. */
struct place {
	enum oid oid;
	struct der *to;
	enum { VALUE_TEXT, VALUE_ANY_TEXT, VALUE_OCTETS, VALUE_OID, VALUE_TIME } kind;
};

static bool value_fits(const struct place *p, uint8_t tag, const struct der *body)
{
	switch (p->kind) {
	case VALUE_TEXT:
		return is_text(tag, body);
	case VALUE_ANY_TEXT: /* failInfoText: UTF-8, not looked into here */
		return tag == DER_UTF8 || tag == DER_PRINTABLE || tag == DER_IA5;
	case VALUE_OCTETS:
		return tag == DER_OCTETS && body->left > 0;
	case VALUE_OID:
		return tag == DER_OID;
	case VALUE_TIME:
		return tag == DER_UTC_TIME || tag == DER_GENERALIZED_TIME;
	}
	return false;
}

static int attr_place(const struct place *p, const struct der *values, struct err *reterr)
{
	struct der at = *values, body;
	uint8_t tag;

	if (!der_next(&at, &tag, &body) || at.left != 0)
		return err_set(reterr, -EBADMSG, "found a signed attribute with none or several values, wanted one");
	if (!value_fits(p, tag, &body))
		return err_set(reterr, -EBADMSG, "found a signed attribute of type %#x, wanted that of RFC 8894 3.2.1", tag);
	*p->to = p->kind == VALUE_TIME ? *values : body;
	return 0;
}

static bool seen_before(struct der seen[], unsigned n, const struct der *oid)
{
	unsigned i;

	for (i = 0; i < n; i++)
		if (der_equal(&seen[i], oid->at, oid->left))
			return true;
	return false;
}

int shape_attrs(struct der in, struct shape_attrs *ret, struct err *reterr)
{
	const struct place places[] = {
		{ OID_CONTENT_TYPE, &ret->content_type, VALUE_OID },
		{ OID_MESSAGE_DIGEST, &ret->message_digest, VALUE_OCTETS },
		{ OID_SIGNING_TIME, &ret->signing_time, VALUE_TIME },
		{ OID_MESSAGE_TYPE, &ret->message_type, VALUE_TEXT },
		{ OID_PKI_STATUS, &ret->status, VALUE_TEXT },
		{ OID_FAIL_INFO, &ret->fail, VALUE_TEXT },
		{ OID_SENDER_NONCE, &ret->sender_nonce, VALUE_OCTETS },
		{ OID_RECIPIENT_NONCE, &ret->recipient_nonce, VALUE_OCTETS },
		{ OID_TRANSACTION_ID, &ret->transaction_id, VALUE_TEXT },
		{ OID_FAIL_INFO_TEXT, &ret->fail_text, VALUE_ANY_TEXT },
	};
	struct der seen[UNKNOWN_ATTRS_MAX], attr, oid, values;
	unsigned n = 0, i;

	for (; in.left > 0; seen[n++] = oid) {
		if (n == UNKNOWN_ATTRS_MAX)
			return err_set(reterr, -EBADMSG, "found more than %d signed attributes", LIMIT_SIGNED_ATTRS);
		if (!der_take(&in, DER_SEQUENCE, &attr) || !der_take(&attr, DER_OID, &oid) || !der_take(&attr, DER_SET, &values) || attr.left != 0)
			return err_set(reterr, -EBADMSG, "found something that is no signed attribute (RFC 5652 5.3)");
		if (seen_before(seen, n, &oid))
			return err_set(reterr, -EBADMSG, "found a signed attribute twice, wanted it once");
		for (i = 0; i < sizeof(places) / sizeof(places[0]); i++)
			if (oid_is(&oid, places[i].oid) && attr_place(&places[i], &values, reterr) < 0)
				return -EBADMSG;
	}
	if (!ret->content_type.at || !ret->message_digest.at)
		return err_set(reterr, -EBADMSG, "found no contentType or messageDigest attribute (RFC 5652 11)");
	return 0;
}

static bool text_is(const struct der *text, const char *want)
{
	return der_equal(text, want, strlen(want));
}

/* Decimal text exactly as IANA has it: "019" is not 19, and 18 (UpdateReq of a draft) has no meaning here: it once meant "no authorisation". */
static bool type_read(const struct der *text, enum scep_type *ret)
{
	static const struct {
		const char *text;
		enum scep_type type;
	} types[] = {
		{ "3", SCEP_TYPE_CERT_REP },   { "17", SCEP_TYPE_RENEWAL_REQ }, { "19", SCEP_TYPE_PKCS_REQ },
		{ "20", SCEP_TYPE_CERT_POLL }, { "21", SCEP_TYPE_GET_CERT },	  { "22", SCEP_TYPE_GET_CRL },
	};
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (text_is(text, types[i].text)) {
			*ret = types[i].type;
			return true;
		}
	return false;
}

static bool status_read(const struct der *text, enum scep_status *ret)
{
	if (text_is(text, "0"))
		*ret = SCEP_STATUS_SUCCESS;
	else if (text_is(text, "2"))
		*ret = SCEP_STATUS_FAILURE;
	else if (text_is(text, "3"))
		*ret = SCEP_STATUS_PENDING;
	else
		return false;
	return true;
}

static int reply_attrs(struct shape_signed *s, struct err *reterr)
{
	const struct shape_attrs *a = &s->attrs;

	if (!a->status.at || !status_read(&a->status, &s->reply_status))
		return err_set(reterr, -EBADMSG, "found no pkiStatus of 0, 2 or 3 (RFC 8894 3.2.1.3)");
	if (!a->recipient_nonce.at || a->recipient_nonce.left > LIMIT_NONCE_BYTES)
		return err_set(reterr, -EBADMSG, "found no recipientNonce of 1 to %d bytes (RFC 8894 3.2.1.5)", LIMIT_NONCE_BYTES);
	if (s->reply_status == SCEP_STATUS_FAILURE) {
		if (!a->fail.at || a->fail.left != 1 || a->fail.at[0] < '0' || a->fail.at[0] >= '0' + SCEP_FAIL_N_)
			return err_set(reterr, -EBADMSG, "found FAILURE without a failInfo of 0 to 4 (RFC 8894 3.2.1.4)");
		s->reply_fail = (enum scep_fail)(a->fail.at[0] - '0');
	}
	if (s->reply_status != SCEP_STATUS_SUCCESS && s->content.left > 1) /* NDES sends one byte */
		return err_set(reterr, -EBADMSG, "found an envelope in a reply that is not SUCCESS (RFC 8894 3.2)");
	if (s->reply_status == SCEP_STATUS_SUCCESS && s->content.left == 0)
		return err_set(reterr, -EBADMSG, "found SUCCESS without an envelope (RFC 8894 3.3.2.1)");
	return 0;
}

int shape_message_attrs(struct shape_signed *s, struct err *reterr)
{
	const struct shape_attrs *a = &s->attrs;

	if (!a->message_type.at || !type_read(&a->message_type, &s->type))
		return err_set(reterr, -EBADMSG, "found no messageType of 3, 17, 19, 20, 21, 22 (RFC 8894 3.2.1.2)");
	if (!a->transaction_id.at || a->transaction_id.left > LIMIT_TRANSACTION_ID_BYTES)
		return err_set(reterr, -EBADMSG, "found no transactionID of 1 to %d characters (RFC 8894 3.2.1.1)", LIMIT_TRANSACTION_ID_BYTES);
	if (!a->sender_nonce.at || a->sender_nonce.left > LIMIT_NONCE_BYTES)
		return err_set(reterr, -EBADMSG, "found no senderNonce of 1 to %d bytes (RFC 8894 3.2.1.5)", LIMIT_NONCE_BYTES);
	return s->type == SCEP_TYPE_CERT_REP ? reply_attrs(s, reterr) : 0;
}

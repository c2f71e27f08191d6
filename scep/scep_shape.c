/* The allow-list walker, spec of robustness 3.3: exactly one shape of SignedData passes, and OpenSSL's parser sees nothing else. What RFC 5652
 * allows and SCEP does not use (other signer identifiers, several signers, CRLs, unsigned attributes, countersignatures, PSS) is refused. */
#include "scep/scep_shape.h"

#include <errno.h>

#include "scep/scep_oid.h"

enum { SHAPE_CERTS_MAX_REQUEST = 4 };

bool shape_algorithm(struct der *in, struct der *ret_oid, struct der *ret_parameters)
{
	return der_take(in, DER_SEQUENCE, ret_parameters) && der_take(ret_parameters, DER_OID, ret_oid);
}

bool shape_null_or_absent(const struct der *parameters)
{
	return parameters->left == 0 || der_equal(parameters, "\x05\x00", 2);
}

bool shape_issuer_and_serial(struct der *in)
{
	struct der body, part;

	return der_take(in, DER_SEQUENCE, &body) && der_take(&body, DER_SEQUENCE, &part) && der_take(&body, DER_INTEGER, &part) && body.left == 0;
}

static bool digest_algorithm(struct der *in, enum scep_digest *ret)
{
	struct der oid, parameters;

	return shape_algorithm(in, &oid, &parameters) && shape_null_or_absent(&parameters) && scep_digest_find(&oid, ret);
}

/* rsaEncryption, or the digest's own combination. PSS and ECDSA are not. */
static bool signature_algorithm(struct der *in, enum scep_digest digest)
{
	struct der oid, parameters;

	return shape_algorithm(in, &oid, &parameters) && shape_null_or_absent(&parameters) &&
	       (oid_is(&oid, OID_RSA) || oid_is(&oid, scep_digest_rsa_oid(digest)));
}

/* EncapsulatedContentInfo. */
static bool content_info(struct der *in, struct shape_signed *ret)
{
	struct der body, explicit;

	if (!der_take(in, DER_SEQUENCE, &body))
		return false;
	ret->content_is_signed_data = oid_take(&body, OID_SIGNED_DATA);
	if (!ret->content_is_signed_data && !oid_take(&body, OID_DATA))
		return false;
	if (body.left == 0)
		return true;
	ret->content_present = true;
	return der_take(&body, DER_CONTEXT_0, &explicit) && body.left == 0 && der_take(&explicit, DER_OCTETS, &ret->content) && explicit.left == 0;
}

/* A certificate only as far as to know that it is one: tbs, algorithm, signature. */
static bool cert_skip(struct der *in)
{
	struct der cert, part;

	return der_take(in, DER_SEQUENCE, &cert) && der_take(&cert, DER_SEQUENCE, &part) && der_take(&cert, DER_SEQUENCE, &part) &&
	       der_take(&cert, 0x03, &part) && cert.left == 0;
}

static bool certs_count(struct der certs, unsigned *ret)
{
	for (*ret = 0; certs.left > 0; (*ret)++)
		if (*ret >= LIMIT_BUNDLE_CERTS || !cert_skip(&certs))
			return false;
	return true;
}

static int signer_info(struct der *in, struct shape_signed *ret, struct err *reterr)
{
	struct der si, part;
	enum scep_digest digest;
	unsigned version;

	if (!der_take(in, DER_SEQUENCE, &si) || in->left != 0)
		return err_set(reterr, -EBADMSG, "found none or several SignerInfos, wanted one (RFC 8894 3.2)");
	if (!der_take_small(&si, &version) || version != 1 || !shape_issuer_and_serial(&si))
		return err_set(reterr, -EBADMSG, "found another signer identifier, wanted issuerAndSerialNumber (RFC 5652 5.3)");
	if (!digest_algorithm(&si, &digest) || digest != ret->digest)
		return err_set(reterr, -EBADMSG, "found two digest algorithms, wanted one and the same (RFC 5652 5.3)");
	if (!der_take(&si, DER_CONTEXT_0, &part))
		return err_set(reterr, -EBADMSG, "found no signed attributes (RFC 8894 3.2.1)");
	if (shape_attrs(part, &ret->attrs, reterr) < 0)
		return -EBADMSG;
	if (!signature_algorithm(&si, digest) || !der_take(&si, DER_OCTETS, &part) || part.left == 0)
		return err_set(reterr, -EBADMSG, "found another signature algorithm, wanted RSA with the digest (RFC 8894 2.9)");
	if (si.left != 0)
		return err_set(reterr, -EBADMSG, "found unsigned attributes, wanted none");
	if (ret->attrs.message_digest.left != scep_digest_bytes(digest))
		return err_set(reterr, -EBADMSG, "found a messageDigest of %zu bytes, wanted %zu", ret->attrs.message_digest.left,
			       scep_digest_bytes(digest));
	if (!oid_is(&ret->attrs.content_type, ret->content_is_signed_data ? OID_SIGNED_DATA : OID_DATA))
		return err_set(reterr, -EBADMSG, "found a contentType attribute that is not the content's (RFC 5652 11.1)");
	return 0;
}

/* The SignedData's body up to its SignerInfos. */
static int signed_data(struct der *in, struct shape_signed *ret, struct err *reterr)
{
	struct der part;
	unsigned version;

	if (!der_take_small(in, &version) || version < 1 || version > 5)
		return err_set(reterr, -EBADMSG, "found no version of SignedData (RFC 5652 5.1)");
	if (!der_take(in, DER_SET, &part) || !digest_algorithm(&part, &ret->digest) || part.left != 0)
		return err_set(reterr, -EBADMSG, "found none, several or an unknown digest algorithm, wanted one of SHA-256, -384, -512, SHA-1");
	if (!content_info(in, ret))
		return err_set(reterr, -EBADMSG, "found another content, wanted id-data in an OCTET STRING (RFC 8894 3.2)");
	if (der_peek(in, DER_CONTEXT_0) && (!der_take(in, DER_CONTEXT_0, &ret->certs) || !certs_count(ret->certs, &ret->n_certs)))
		return err_set(reterr, -EBADMSG, "found more than %d certificates, or something else among them", LIMIT_BUNDLE_CERTS);
	if (!der_take(in, DER_SET, &part) || in->left != 0)
		return err_set(reterr, -EBADMSG, "found CRLs or no SignerInfos (RFC 8894 3.2)");
	return signer_info(&part, ret, reterr);
}

int shape_signed(const struct der *in, struct shape_signed *ret, struct err *reterr)
{
	struct der at = *in, info, explicit, body;

	*ret = (struct shape_signed){ .n_certs = 0 };
	if (!der_sane(in))
		return err_set(reterr, -EBADMSG, "found something that is not DER within bounds");
	if (!der_take(&at, DER_SEQUENCE, &info) || at.left != 0)
		return err_set(reterr, -EBADMSG, "found bytes after the message, or no message");
	if (!oid_take(&info, OID_SIGNED_DATA) || !der_take(&info, DER_CONTEXT_0, &explicit) || info.left != 0)
		return err_set(reterr, -EBADMSG, "found another content type, wanted SignedData (RFC 8894 3.2)");
	if (!der_take(&explicit, DER_SEQUENCE, &body) || explicit.left != 0)
		return err_set(reterr, -EBADMSG, "found no SignedData (RFC 5652 5.1)");
	return signed_data(&body, ret, reterr);
}

int shape_message(const struct der *in, struct shape_signed *ret, struct err *reterr)
{
	int r;

	r = shape_signed(in, ret, reterr);
	if (r < 0)
		return r;
	if (ret->content_is_signed_data)
		return err_set(reterr, -EBADMSG, "found a content of type SignedData, wanted id-data (RFC 8894 3.2)");
	r = shape_message_attrs(ret, reterr);
	if (r < 0 || ret->type == SCEP_TYPE_CERT_REP)
		return r;
	if (ret->n_certs < 1 || ret->n_certs > SHAPE_CERTS_MAX_REQUEST)
		return err_set(reterr, -EBADMSG, "found %u certificates in a request, wanted the signer's and at most %d (RFC 8894 3.2)", ret->n_certs,
			       SHAPE_CERTS_MAX_REQUEST);
	if (!ret->content_present || ret->content.left == 0)
		return err_set(reterr, -EBADMSG, "found a request without pkcsPKIEnvelope (RFC 8894 3.2)");
	return 0;
}

int scep_shape_check(const void *der, size_t len, struct err *reterr)
{
	struct der in = { .at = der, .left = len };
	struct shape_envelope envelope;
	struct shape_signed message;
	int r;

	if (len == 0 || len > LIMIT_SCEP_MESSAGE_BYTES)
		return err_set(reterr, -EBADMSG, "found a message of %zu bytes, wanted 1 to %d", len, LIMIT_SCEP_MESSAGE_BYTES);
	r = shape_message(&in, &message, reterr);
	if (r < 0)
		return r;
	if (message.type == SCEP_TYPE_CERT_REP && message.reply_status != SCEP_STATUS_SUCCESS)
		return 0;
	return shape_envelope(&message.content, &envelope, reterr);
}

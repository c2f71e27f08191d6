/* The walker for what is inside: the envelope, and certs-only. */
#include <errno.h>

#include "scep/scep_oid.h"
#include "scep/scep_shape.h"

/* One KeyTransRecipientInfo with issuerAndSerialNumber; [1] KARI, [2] KEKRI, [3] PWRI and [4] are refused. */
static int recipient_info(struct der *in, struct shape_envelope *ret, struct err *reterr)
{
	struct der set, info, oid, parameters;
	unsigned version;

	if (!der_take(in, DER_SET, &set) || !der_take(&set, DER_SEQUENCE, &info) || set.left != 0)
		return err_set(reterr, -EBADMSG, "found none, several or another kind of recipient, wanted one KeyTransRecipientInfo (RFC 8894 3.2)");
	if (!der_take_small(&info, &version) || version != 0 || !shape_issuer_and_serial(&info))
		return err_set(reterr, -EBADMSG, "found another recipient identifier, wanted issuerAndSerialNumber (RFC 5652 6.2.1)");
	if (!shape_algorithm(&info, &oid, &parameters) || !oid_is(&oid, OID_RSA) || !shape_null_or_absent(&parameters))
		return err_set(reterr, -EBADMSG, "found another key transport, wanted rsaEncryption (RFC 8894 3.2)");
	if (!der_take(&info, DER_OCTETS, &ret->key) || ret->key.left == 0 || info.left != 0)
		return err_set(reterr, -EBADMSG, "found no encryptedKey (RFC 5652 6.2.1)");
	return 0;
}

static bool sizes_fit(const struct shape_envelope *e)
{
	size_t block = scep_cipher_block_bytes(e->cipher);

	return e->iv.left == block && e->content.left > 0 && e->content.left % block == 0;
}

static int encrypted_content(struct der *in, struct shape_envelope *ret, struct err *reterr)
{
	struct der body, oid, parameters;

	if (!der_take(in, DER_SEQUENCE, &body) || in->left != 0 || !oid_take(&body, OID_DATA))
		return err_set(reterr, -EBADMSG, "found another encrypted content, wanted id-data (RFC 8894 3.2)");
	if (!shape_algorithm(&body, &oid, &parameters) || !der_take(&body, DER_CONTEXT_0_PRIMITIVE, &ret->content) || body.left != 0)
		return err_set(reterr, -EBADMSG, "found no encryptedContent (RFC 5652 6.1)");
	ret->cipher_known = scep_cipher_find(&oid, &ret->cipher);
	if (!ret->cipher_known)
		return 0; /* not malformed: below the floor */
	if (!der_take(&parameters, DER_OCTETS, &ret->iv) || parameters.left != 0 || !sizes_fit(ret))
		return err_set(reterr, -EBADMSG, "found an initialisation vector or content that does not fit the cipher's blocks");
	return 0;
}

int shape_envelope(const struct der *in, struct shape_envelope *ret, struct err *reterr)
{
	struct der at = *in, info, explicit, body;
	unsigned version;
	int r;

	*ret = (struct shape_envelope){ .cipher_known = false };
	if (!der_sane(in) || !der_take(&at, DER_SEQUENCE, &info) || at.left != 0)
		return err_set(reterr, -EBADMSG, "found no envelope in DER within bounds, or bytes after it");
	if (!oid_take(&info, OID_ENVELOPED_DATA) || !der_take(&info, DER_CONTEXT_0, &explicit) || info.left != 0)
		return err_set(reterr, -EBADMSG, "found another content, wanted EnvelopedData (RFC 8894 3.2)");
	if (!der_take(&explicit, DER_SEQUENCE, &body) || explicit.left != 0 || !der_take_small(&body, &version) || version != 0)
		return err_set(reterr, -EBADMSG, "found another version, wanted EnvelopedData version 0 (RFC 5652 6.1)");
	r = recipient_info(&body, ret, reterr);
	if (r < 0)
		return r;
	return encrypted_content(&body, ret, reterr);
}

static bool bag_certs(struct der certs, struct shape_bag *ret)
{
	for (; certs.left > 0; ret->n_certs++)
		if (ret->n_certs == LIMIT_BUNDLE_CERTS || !der_take_whole(&certs, DER_SEQUENCE, &ret->cert[ret->n_certs]))
			return false;
	return true;
}

static bool bag_crls(struct der crls, struct shape_bag *ret)
{
	for (; crls.left > 0; ret->n_crls++)
		if (ret->n_crls == 1 || !der_take_whole(&crls, DER_SEQUENCE, &ret->crl))
			return false;
	return true;
}

/* The algorithms and signers are empty sets, the content is absent. */
static bool bag_body(struct der body, struct shape_bag *ret)
{
	struct der part;
	unsigned version;

	if (!der_take_small(&body, &version) || version < 1 || version > 5 || !der_take(&body, DER_SET, &part))
		return false;
	/* some senders name a digest here although nothing is signed */
	if (!der_take(&body, DER_SEQUENCE, &part) || !oid_take(&part, OID_DATA) || part.left != 0)
		return false;
	if (der_peek(&body, DER_CONTEXT_0) && (!der_take(&body, DER_CONTEXT_0, &part) || !bag_certs(part, ret)))
		return false;
	if (der_peek(&body, DER_CONTEXT_1) && (!der_take(&body, DER_CONTEXT_1, &part) || !bag_crls(part, ret)))
		return false;
	return der_take(&body, DER_SET, &part) && part.left == 0 && body.left == 0;
}

int shape_bag(const struct der *in, struct shape_bag *ret, struct err *reterr)
{
	struct der at = *in, info, explicit, body;

	ret->n_certs = ret->n_crls = 0;
	if (!der_sane(in) || !der_take(&at, DER_SEQUENCE, &info) || at.left != 0)
		return err_set(reterr, -EBADMSG, "found no certs-only message in DER within bounds, or bytes after it");
	body = info;
	if (oid_take(&info, OID_SIGNED_DATA) && (!der_take(&info, DER_CONTEXT_0, &explicit) || info.left != 0 ||
						 !der_take(&explicit, DER_SEQUENCE, &body) || explicit.left != 0))
		return err_set(reterr, -EBADMSG, "found another content type, wanted certs-only SignedData (RFC 8894 3.4)");
	if (!bag_body(body, ret))
		return err_set(reterr, -EBADMSG, "found another structure, wanted certs-only SignedData with at most %d certificates (RFC 8894 3.4)",
			       LIMIT_BUNDLE_CERTS);
	return 0;
}

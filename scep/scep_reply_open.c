/* Opening a CertRep. Nothing comes out before the signature, the transaction and the nonce are right. */
#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

#include "scep/scep_internal.h"

void scep_reply_clear(struct scep_reply *r)
{
	X509_free(r->cert);
	sk_X509_pop_free(r->others, X509_free);
	X509_CRL_free(r->crl);
	*r = (struct scep_reply){ .cert = NULL };
}

/* Is it an answer to what we asked? */
static int answer_check(const struct shape_signed *m, const struct scep_reply_want *want, struct err *reterr)
{
	const struct shape_attrs *a = &m->attrs;

	if (!der_equal(&a->transaction_id, want->transaction_id, strlen(want->transaction_id)))
		return err_set(reterr, -EKEYREJECTED, "found another transactionID, wanted %.64s (RFC 8894 3.2.1.1)", want->transaction_id);
	if (a->recipient_nonce.left != SCEP_NONCE_BYTES || CRYPTO_memcmp(a->recipient_nonce.at, want->sender_nonce, SCEP_NONCE_BYTES) != 0)
		return err_set(reterr, -EKEYREJECTED, "found another recipientNonce, wanted the request's senderNonce (RFC 8894 3.2.1.5)");
	return 0;
}

static void text_copy(const struct der *from, char *to, size_t size)
{
	size_t i, n = from->left < size - 1 ? from->left : size - 1;

	for (i = 0; i < n; i++)
		to[i] = from->at[i] >= 0x20 && from->at[i] <= 0x7e ? (char) from->at[i] : '?';
	to[n] = '\0';
}

/* The certificate for key moves from the stack to r->cert; without a key, the first does. */
static int cert_pick(struct scep_reply *r, EVP_PKEY *key, struct err *reterr)
{
	int i;

	for (i = 0; i < sk_X509_num(r->others); i++)
		if (!key || EVP_PKEY_eq(X509_get0_pubkey(sk_X509_value(r->others, i)), key) == 1) {
			r->cert = sk_X509_delete(r->others, i);
			(void) err_from_openssl(NULL, 0, "%s", ""); /* only empties the queue: unequal kinds of keys leave errors */
			return 0;
		}
	return err_from_openssl(reterr, -EKEYREJECTED, "found no certificate for the request's key (RFC 8894 3.3.2.1)");
}

static int crl_read(const struct shape_bag *bag, struct scep_reply *r, struct err *reterr)
{
	const unsigned char *at = bag->crl.at;

	if (bag->n_crls != 1 || bag->n_certs != 0)
		return err_set(reterr, -EPROTO, "found %u CRLs and %u certificates, wanted one CRL (RFC 8894 3.3.4)", bag->n_crls, bag->n_certs);
	r->crl = d2i_X509_CRL(NULL, &at, (long) bag->crl.left);
	if (!r->crl || at != bag->crl.at + bag->crl.left)
		return err_from_openssl(reterr, -EBADMSG, "found a CRL that cannot be read");
	return 0;
}

static int bag_open(const struct buf *plain, const struct scep_reply_want *want, struct scep_reply *r, struct err *reterr)
{
	AUTO(buf) struct buf strict = BUF_EMPTY;
	struct shape_bag bag;
	struct der in;
	int rc;

	rc = ber_to_der(plain->data, plain->len, false, &strict, reterr);
	if (rc < 0)
		return rc;
	in = (struct der){ .at = strict.data, .left = strict.len };
	rc = shape_bag(&in, &bag, reterr);
	if (rc < 0)
		return rc;
	if (want->want_crl)
		return crl_read(&bag, r, reterr);
	if (bag.n_certs == 0)
		return err_set(reterr, -EPROTO, "found SUCCESS without a certificate (RFC 8894 3.3.2.1)");
	rc = bag_certs_get(&bag, &r->others, reterr);
	if (rc < 0)
		return rc;
	return cert_pick(r, want->subject_key, reterr);
}

static int success_open(const struct der *sealed, const struct scep_reply_want *want, struct scep_reply *r, struct err *reterr)
{
	AUTO(buf) struct buf envelope = BUF_EMPTY;
	AUTO(buf) struct buf plain = BUF_SECRET;
	struct shape_envelope shape;
	struct der in;
	int rc;

	rc = ber_to_der(sealed->at, sealed->left, true, &envelope, reterr);
	if (rc < 0)
		return rc;
	in = (struct der){ .at = envelope.data, .left = envelope.len };
	rc = shape_envelope(&in, &shape, reterr);
	if (rc < 0)
		return rc;
	if (!shape.cipher_known || !(want->policy->ciphers & (1u << shape.cipher)))
		return err_set(reterr, -EPROTO, "found %s, which the policy does not allow (RFC 8894 2.9)",
			       shape.cipher_known ? scep_cipher_name(shape.cipher) : "an unknown cipher");
	rc = envelope_is_for(&envelope, want->recipient, reterr);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(reterr, -EKEYREJECTED, "found an envelope for another recipient, wanted the request's signer (RFC 8894 3.2)");
	if (!envelope_unseal(&envelope, &shape, want->recipient, want->recipient_key, &plain))
		return err_set(reterr, -EKEYREJECTED, "the reply's content does not open with the request's key");
	return bag_open(&plain, want, r, reterr);
}

static int verdict_open(const struct shape_signed *m, const struct scep_reply_want *want, struct scep_reply *r, struct err *reterr)
{
	r->status = m->reply_status;
	switch (m->reply_status) {
	case SCEP_STATUS_SUCCESS:
		return success_open(&m->content, want, r, reterr);
	case SCEP_STATUS_FAILURE:
		r->fail = m->reply_fail;
		text_copy(&m->attrs.fail_text, r->fail_text, sizeof(r->fail_text));
		return 0;
	case SCEP_STATUS_PENDING:
		return 0;
	}
	return err_set(reterr, -EBADMSG, "found no pkiStatus");
}

static int signature_check(const struct buf *strict, const struct shape_signed *m, const struct scep_reply_want *want, size_t *ret_index,
			   struct err *reterr)
{
	AUTO(x509) X509 *signer = NULL;

	if (m->type != SCEP_TYPE_CERT_REP)
		return err_set(reterr, -EPROTO, "found messageType %d, wanted CertRep (RFC 8894 3.2.1.2)", (int) m->type);
	if (!(want->policy->digests & (1u << m->digest)))
		return err_set(reterr, -EPROTO, "found %s, which the policy does not allow (RFC 8894 2.9)", scep_digest_name(m->digest));
	if (want->n_signers == 0)
		return err_set(reterr, -EKEYREJECTED, "no certificate may sign this reply");
	return signed_verify(strict, m, want->signers, want->n_signers, &signer, ret_index, reterr);
}

int scep_reply_open(const void *der, size_t len, const struct scep_reply_want *want, int64_t now_sec, struct scep_reply *ret, struct err *reterr)
{
	AUTO(buf) struct buf strict = BUF_EMPTY;
	struct scep_reply r = { .cert = NULL };
	struct shape_signed message;
	struct der in;
	int rc;

	*ret = r;
	if (len > LIMIT_SCEP_MESSAGE_BYTES)
		return err_set(reterr, -EBADMSG, "found a reply of %zu bytes, wanted at most %d", len, LIMIT_SCEP_MESSAGE_BYTES);
	rc = ber_to_der(der, len, false, &strict, reterr);
	if (rc < 0)
		return rc;
	in = (struct der){ .at = strict.data, .left = strict.len };
	rc = shape_message(&in, &message, reterr);
	if (rc == 0)
		rc = signature_check(&strict, &message, want, &r.signer, reterr);
	if (rc == 0)
		rc = answer_check(&message, want, reterr);
	if (rc == 0)
		rc = signing_time_check(&message.attrs, want->policy, now_sec, reterr);
	if (rc == 0)
		rc = verdict_open(&message, want, &r, reterr);
	if (rc < 0) {
		scep_reply_clear(&r);
		return rc;
	}
	*ret = r;
	return 0;
}

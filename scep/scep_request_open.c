/* Opening a request. The stages are in the order of scep.h; between a good outer signature and a parsed content there is one way out. */
#include <errno.h>
#include <string.h>

#include "common/x509facts.h"
#include "scep/scep_content.h"
#include "scep/scep_internal.h"

struct opening {
	const struct scep_identity *identities;
	size_t n;
	const struct scep_policy *policy;
	int64_t now_sec;
	struct scep_request *r;
};

void scep_request_clear(struct scep_request *r)
{
	X509_free(r->signer);
	content_clear(r);
	*r = (struct scep_request){ .challenge.secret = true };
}

static void facts_copy(const struct shape_signed *s, struct scep_request *r)
{
	const struct shape_attrs *a = &s->attrs;

	r->type = s->type;
	memcpy(r->transaction_id, a->transaction_id.at, a->transaction_id.left);
	r->transaction_id[a->transaction_id.left] = '\0';
	memcpy(r->sender_nonce, a->sender_nonce.at, a->sender_nonce.left);
	r->sender_nonce_len = a->sender_nonce.left;
	r->algs.digest = s->digest;
}

/* Names are not compared: IOS's throw-away certificate has another subject than its CSR. */
static bool is_self_signed(X509 *x)
{
	bool ok = X509_verify(x, X509_get0_pubkey(x)) == 1;

	(void) err_from_openssl(NULL, 0, "%s", ""); /* only empties the queue: no is an answer */
	return ok;
}

static int floor_check(const struct opening *o, struct err *reterr)
{
	int bits = EVP_PKEY_get_bits(X509_get0_pubkey(o->r->signer));
	enum scep_digest digest = o->r->algs.digest;

	if (!(o->policy->digests & (1u << digest))) {
		o->r->algs.digest = SCEP_DIGEST_SHA256; /* of the reply: nothing weak is mirrored */
		return err_set(reterr, -EPROTO, "found %s, which the policy does not allow (RFC 8894 2.9)", scep_digest_name(digest));
	}
	if (bits < LIMIT_KEY_BITS_MIN)
		return err_set(reterr, -EPROTO, "found a signer's key of %d bits, wanted at least %d", bits, LIMIT_KEY_BITS_MIN);
	return 0;
}

/* The identity that the envelope names; its index goes to r->recipient. */
static int recipient_find(const struct opening *o, const struct buf *envelope, struct err *reterr)
{
	size_t i;
	int found;

	for (i = 0; i < o->n; i++) {
		found = envelope_is_for(envelope, o->identities[i].cert, reterr);
		if (found < 0)
			return found;
		if (found) {
			o->r->recipient = i;
			return 0;
		}
	}
	return -ENOKEY;
}

/* One path: whatever is wrong with the decryption or with what comes out of it, the same work is done and the same words are said. */
static int content_open(const struct opening *o, const struct buf *envelope, const struct shape_envelope *shape, struct err *reterr)
{
	const struct scep_identity *me = &o->identities[o->r->recipient];
	AUTO(buf) struct buf plain = BUF_SECRET;
	AUTO(buf) struct buf garbage = BUF_SECRET;
	bool opened = envelope_unseal(envelope, shape, me->cert, me->key, &plain);
	int rc;

	/* the ciphertext stands in for a plaintext that did not come */
	if (buf_set(&garbage, shape->content.at, shape->content.left) < 0)
		return err_set(reterr, -ENOMEM, "out of memory");
	rc = content_parse(opened ? &plain : &garbage, o->policy, o->r);
	if (opened && rc == 0) {
		o->r->stage = SCEP_OPEN_DONE;
		return 0;
	}
	content_clear(o->r);
	if (opened && rc == -EPROTO) { /* parsed and proven, only too small */
		o->r->stage = SCEP_OPEN_BAD_ALG;
		return err_set(reterr, -EPROTO, "found a CSR's key below %d bits (RFC 8894 3.2.1.4, badAlg)", LIMIT_KEY_BITS_MIN);
	}
	return err_set(reterr, -EKEYREJECTED, "the content does not open (RFC 8894 3.2.1.4, badMessageCheck)");
}

static int envelope_open(const struct opening *o, const struct der *sealed, struct err *reterr)
{
	AUTO(buf) struct buf envelope = BUF_EMPTY;
	struct shape_envelope shape;
	struct der in;
	int r;

	o->r->stage = SCEP_OPEN_SEALED;
	r = ber_to_der(sealed->at, sealed->left, true, &envelope, reterr);
	if (r < 0)
		return r;
	in = (struct der){ .at = envelope.data, .left = envelope.len };
	r = shape_envelope(&in, &shape, reterr);
	if (r < 0)
		return r;
	if (!shape.cipher_known || !(o->policy->ciphers & (1u << shape.cipher))) {
		o->r->stage = SCEP_OPEN_BAD_ALG;
		return err_set(reterr, -EPROTO, "found %s, which the policy does not allow (RFC 8894 2.9)",
			       shape.cipher_known ? scep_cipher_name(shape.cipher) : "an unknown cipher");
	}
	o->r->algs.cipher = shape.cipher;
	r = recipient_find(o, &envelope, reterr);
	if (r == -ENOKEY) {
		o->r->stage = SCEP_OPEN_UNKNOWN_RECIPIENT;
		return err_set(reterr, r, "found an envelope for another recipient (RFC 8894 3.2.1.4, badRequest)");
	}
	if (r < 0)
		return r;
	return content_open(o, &envelope, &shape, reterr);
}

/* After the signature: what the reply needs is known. */
static int verified_open(const struct opening *o, const struct shape_signed *message, struct err *reterr)
{
	struct scep_request *r = o->r;
	int rc;

	facts_copy(message, r);
	r->signer_self_signed = is_self_signed(r->signer);
	r->stage = SCEP_OPEN_BAD_ALG;
	rc = floor_check(o, reterr);
	if (rc < 0)
		return rc;
	r->stage = SCEP_OPEN_BAD_TIME;
	rc = signing_time_check(&message->attrs, o->policy, o->now_sec, reterr);
	if (rc < 0)
		return rc;
	return envelope_open(o, &message->content, reterr);
}

int scep_request_open(const void *der, size_t len, const struct scep_identity *identities, size_t n, const struct scep_policy *policy,
		      int64_t now_sec, struct scep_request *ret, struct err *reterr)
{
	const struct opening o = { .identities = identities, .n = n, .policy = policy, .now_sec = now_sec, .r = ret };
	AUTO(buf) struct buf strict = BUF_EMPTY;
	struct shape_signed message;
	struct der in;
	int r;

	*ret = (struct scep_request){ .stage = SCEP_OPEN_MALFORMED, .challenge.secret = true };
	if (len > LIMIT_SCEP_MESSAGE_BYTES)
		return err_set(reterr, -EBADMSG, "found a message of %zu bytes, wanted at most %d", len, LIMIT_SCEP_MESSAGE_BYTES);
	r = ber_to_der(der, len, false, &strict, reterr);
	if (r < 0)
		return r;
	in = (struct der){ .at = strict.data, .left = strict.len };
	r = shape_message(&in, &message, reterr);
	if (r < 0)
		return r;
	if (message.type == SCEP_TYPE_CERT_REP)
		return err_set(reterr, -EBADMSG, "found a CertRep, wanted a request (RFC 8894 3.2.1.2)");
	r = signed_verify(&strict, &message, NULL, 0, &ret->signer, NULL, reterr);
	if (r < 0)
		return r;
	return verified_open(&o, &message, reterr);
}

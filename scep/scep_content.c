/* Contents of requests: PKCS#10, IssuerAndSubject, IssuerAndSerialNumber. They come out of a decryption and may be garbage: no errors in words. */
#include "scep/scep_content.h"

#include <errno.h>
#include <openssl/objects.h>

#include "common/x509facts.h"
#include "scep/scep_internal.h"

void content_clear(struct scep_request *r)
{
	X509_REQ_free(r->csr);
	X509_NAME_free(r->poll_issuer);
	X509_NAME_free(r->poll_subject);
	X509_NAME_free(r->query_issuer);
	ASN1_INTEGER_free(r->query_serial);
	r->csr = NULL;
	r->poll_issuer = r->poll_subject = r->query_issuer = NULL;
	r->query_serial = NULL;
	r->csr_sha256[0] = '\0';
	buf_clear(&r->csr_der);
	buf_clear(&r->challenge);
}

static int challenge_copy(const ASN1_STRING *s, struct buf *ret)
{
	unsigned char *utf8 = NULL;
	int len, type = ASN1_STRING_type(s), r = 0;

	if (ASN1_STRING_length(s) > LIMIT_CHALLENGE_BYTES)
		return -EBADMSG;
	if (type != V_ASN1_BMPSTRING && type != V_ASN1_UNIVERSALSTRING)
		return buf_set(ret, ASN1_STRING_get0_data(s), (size_t) ASN1_STRING_length(s));
	len = ASN1_STRING_to_UTF8(&utf8, s);
	if (len < 0)
		return -EBADMSG;
	r = buf_set(ret, utf8, (size_t) len);
	OPENSSL_clear_free(utf8, (size_t) len);
	return r;
}

static bool is_string_type(int type)
{
	return type == V_ASN1_PRINTABLESTRING || type == V_ASN1_UTF8STRING || type == V_ASN1_IA5STRING || type == V_ASN1_T61STRING ||
	       type == V_ASN1_BMPSTRING || type == V_ASN1_UNIVERSALSTRING;
}

/* Absent is fine; twice, several values or no text is not. */
static int challenge_get(X509_REQ *csr, struct buf *ret)
{
	int at = X509_REQ_get_attr_by_NID(csr, NID_pkcs9_challengePassword, -1);
	X509_ATTRIBUTE *attr;
	ASN1_TYPE *value;

	if (at < 0)
		return 0;
	if (X509_REQ_get_attr_by_NID(csr, NID_pkcs9_challengePassword, at) >= 0)
		return -EBADMSG;
	attr = X509_REQ_get_attr(csr, at);
	if (!attr || X509_ATTRIBUTE_count(attr) != 1)
		return -EBADMSG;
	value = X509_ATTRIBUTE_get0_type(attr, 0);
	if (!value || !is_string_type(ASN1_TYPE_get(value)))
		return -EBADMSG;
	return challenge_copy(value->value.asn1_string, ret);
}

/* A proof of possession does not need collision resistance: SHA-1 always passes here, MD5 only where the policy has it. */
static bool csr_digest_allowed(const X509_REQ *csr, const struct scep_policy *policy)
{
	int md = NID_undef, pk = NID_undef;

	if (OBJ_find_sigid_algs(X509_REQ_get_signature_nid(csr), &md, &pk) != 1 || pk != NID_rsaEncryption)
		return false;
	if (md == NID_md5)
		return policy->digests & (1u << SCEP_DIGEST_MD5);
	return md == NID_sha256 || md == NID_sha384 || md == NID_sha512 || md == NID_sha1;
}

static int csr_judge(X509_REQ *csr, const struct scep_policy *policy)
{
	EVP_PKEY *key = X509_REQ_get0_pubkey(csr);

	if (!key_bounded(key) || !csr_digest_allowed(csr, policy) || X509_REQ_verify(csr, key) != 1)
		return -EBADMSG;
	return EVP_PKEY_get_bits(key) < LIMIT_KEY_BITS_MIN ? -EPROTO : 0;
}

static int csr_parse(const struct buf *plain, const struct scep_policy *policy, struct scep_request *r)
{
	const unsigned char *at = plain->data;
	int rc;

	r->csr = d2i_X509_REQ(NULL, &at, (long) plain->len);
	if (!r->csr || at != plain->data + plain->len)
		return -EBADMSG;
	rc = challenge_get(r->csr, &r->challenge);
	if (rc < 0)
		return rc;
	rc = csr_judge(r->csr, policy);
	if (rc < 0)
		return rc;
	sha256_hex(plain->data, plain->len, r->csr_sha256);
	return buf_set(&r->csr_der, plain->data, plain->len);
}

static X509_NAME *name_read(struct der *in)
{
	struct der whole;
	const unsigned char *at;
	AUTO(name) X509_NAME *name = NULL;

	if (!der_take_whole(in, DER_SEQUENCE, &whole))
		return NULL;
	at = whole.at;
	name = d2i_X509_NAME(NULL, &at, (long) whole.left);
	return name && at == whole.at + whole.left ? TAKE(name) : NULL;
}

static int poll_parse(struct der in, struct scep_request *r)
{
	r->poll_issuer = name_read(&in);
	r->poll_subject = r->poll_issuer ? name_read(&in) : NULL;
	return r->poll_subject && in.left == 0 ? 0 : -EBADMSG;
}

static int query_parse(struct der in, struct scep_request *r)
{
	struct der whole;
	const unsigned char *at;

	r->query_issuer = name_read(&in);
	if (!r->query_issuer || !der_take_whole(&in, DER_INTEGER, &whole) || in.left != 0)
		return -EBADMSG;
	at = whole.at;
	r->query_serial = d2i_ASN1_INTEGER(NULL, &at, (long) whole.left);
	return r->query_serial ? 0 : -EBADMSG;
}

static int by_type(const struct buf *plain, const struct der *body, const struct scep_policy *policy, struct scep_request *r)
{
	switch (r->type) {
	case SCEP_TYPE_PKCS_REQ:
	case SCEP_TYPE_RENEWAL_REQ:
		return csr_parse(plain, policy, r);
	case SCEP_TYPE_CERT_POLL:
		return poll_parse(*body, r);
	case SCEP_TYPE_GET_CERT:
	case SCEP_TYPE_GET_CRL:
		return query_parse(*body, r);
	case SCEP_TYPE_CERT_REP:
		break;
	}
	return -EBADMSG;
}

int content_parse(const struct buf *plain, const struct scep_policy *policy, struct scep_request *r)
{
	struct der in = { .at = plain->data, .left = plain->len }, body;
	int rc = -EBADMSG;

	if (plain->len > 0 && der_sane(&in) && der_take(&in, DER_SEQUENCE, &body) && in.left == 0)
		rc = by_type(plain, &body, policy, r);
	(void) err_from_openssl(NULL, 0, "%s", ""); /* only empties the queue */
	if (rc < 0)
		content_clear(r);
	return rc;
}

/* Writing SignedData. CMS_final() would do, but it stamps every message with the wall clock, which this layer does not read, and sorts the
 * certificates of certs-only, where the issued one comes first for old clients. So these two structures are written by hand, signed by EVP. */
#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "common/x509facts.h"
#include "scep/scep_internal.h"
#include "scep/scep_oid.h"

enum { ATTRS_MAX = 12 };

static const EVP_MD *digest_md(enum scep_digest d)
{
	switch (d) {
	case SCEP_DIGEST_SHA256:
		return EVP_sha256();
	case SCEP_DIGEST_SHA384:
		return EVP_sha384();
	case SCEP_DIGEST_SHA512:
		return EVP_sha512();
	case SCEP_DIGEST_SHA1:
		return EVP_sha1();
	case SCEP_DIGEST_MD5: /* read, never written */
	case SCEP_DIGEST_N_:
		break;
	}
	return NULL;
}

int key_matches(X509 *cert, EVP_PKEY *key, const char *what, struct err *reterr)
{
	EVP_PKEY *public = X509_get0_pubkey(cert);

	if (!public || !EVP_PKEY_is_a(public, "RSA"))
		return err_from_openssl(reterr, -EINVAL, "found a %s without RSA key, wanted RSA (RFC 8894 2.9)", what);
	if (EVP_PKEY_eq(public, key) != 1)
		return err_from_openssl(reterr, -EINVAL, "found a %s whose key is another one", what);
	return 0;
}

int attr_put(struct buf *b, int oid, uint8_t tag, const void *data, size_t len)
{
	AUTO(buf) struct buf value = BUF_EMPTY;
	AUTO(buf) struct buf attr = BUF_EMPTY;
	int r;

	r = der_put(&value, tag, data, len);
	if (r == 0)
		r = oid_put(&attr, (enum oid) oid);
	if (r == 0)
		r = der_put_buf(&attr, DER_SET, &value);
	if (r == 0)
		r = der_put_buf(b, DER_SEQUENCE, &attr);
	return r;
}

static int algorithm_put(struct buf *b, enum oid oid)
{
	AUTO(buf) struct buf body = BUF_EMPTY;
	int r;

	r = oid_put(&body, oid);
	if (r == 0)
		r = der_put(&body, DER_NULL, NULL, 0);
	if (r == 0)
		r = der_put_buf(b, DER_SEQUENCE, &body);
	return r;
}

static int attr_compare(const void *a, const void *b)
{
	const struct der *x = a, *y = b;
	size_t n = x->left < y->left ? x->left : y->left;
	int c = memcmp(x->at, y->at, n);

	return c != 0 ? c : (x->left > y->left) - (x->left < y->left);
}

/* DER orders a SET OF by its encodings; iOS once crashed on unordered ones. */
static int attrs_sort(const struct buf *attrs, struct buf *ret)
{
	struct der in = { .at = attrs->data, .left = attrs->len }, list[ATTRS_MAX];
	size_t n = 0, i;

	for (; in.left > 0; n++) {
		assert(n < ATTRS_MAX); /* our own */
		if (!der_take_whole(&in, DER_SEQUENCE, &list[n]))
			return -EINVAL;
	}
	qsort(list, n, sizeof(list[0]), attr_compare);
	for (i = 0; i < n; i++)
		if (buf_add(ret, list[i].at, list[i].left) < 0)
			return -ENOMEM;
	return 0;
}

static int time_attr_put(struct buf *b, int64_t at_sec)
{
	AUTO(asn1_time) ASN1_TIME *t = NULL;
	int r;

	r = asn1_time_from_sec(at_sec, &t);
	if (r < 0)
		return r;
	return attr_put(b, OID_SIGNING_TIME, ASN1_STRING_type(t) == V_ASN1_UTCTIME ? DER_UTC_TIME : DER_GENERALIZED_TIME, ASN1_STRING_get0_data(t),
			(size_t) ASN1_STRING_length(t));
}

/* The caller's attributes and CMS's own, in DER order, without the SET's header. */
static int attrs_build(const struct sign_in *in, struct buf *ret, struct err *reterr)
{
	AUTO(buf) struct buf all = BUF_EMPTY;
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned int md_len = 0;
	AUTO(buf) struct buf type = BUF_EMPTY;
	struct der oid, body;
	int r;

	if (EVP_Digest(in->content ? in->content : "", in->content_len, md, &md_len, digest_md(in->digest), NULL) != 1)
		return err_from_openssl(reterr, -ENOMEM, "cannot digest the content");
	r = oid_put(&type, OID_DATA);
	if (r < 0)
		return err_set(reterr, r, "out of memory");
	oid = (struct der){ .at = type.data, .left = type.len };
	if (!der_take(&oid, DER_OID, &body))
		return err_set(reterr, -EINVAL, "no identifier");
	r = attr_put(&all, OID_CONTENT_TYPE, DER_OID, body.at, body.left);
	if (r == 0)
		r = attr_put(&all, OID_MESSAGE_DIGEST, DER_OCTETS, md, md_len);
	if (r == 0 && in->signing_time_sec != 0)
		r = time_attr_put(&all, in->signing_time_sec);
	if (r == 0 && in->attrs)
		r = buf_add(&all, in->attrs->data, in->attrs->len);
	if (r == 0)
		r = attrs_sort(&all, ret);
	return r < 0 ? err_set(reterr, r, "cannot write the signed attributes") : 0;
}

/* The signature is over the attributes as a SET (RFC 5652 5.4). */
static int signature_make(const struct sign_in *in, const struct buf *attrs, struct buf *ret, struct err *reterr)
{
	AUTO(md_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	AUTO(buf) struct buf set = BUF_EMPTY;
	AUTO(mem) unsigned char *sig = NULL;
	size_t len = 0;

	if (!ctx || der_put_buf(&set, DER_SET, attrs) < 0)
		return err_from_openssl(reterr, -ENOMEM, "out of memory");
	if (EVP_DigestSignInit(ctx, NULL, digest_md(in->digest), NULL, in->key) != 1 || EVP_DigestSign(ctx, NULL, &len, set.data, set.len) != 1)
		return err_from_openssl(reterr, -ENOKEY, "the key cannot sign");
	sig = malloc(len);
	if (!sig)
		return err_set(reterr, -ENOMEM, "out of memory");
	if (EVP_DigestSign(ctx, sig, &len, set.data, set.len) != 1)
		return err_from_openssl(reterr, -ENOKEY, "the key cannot sign");
	return buf_set(ret, sig, len) < 0 ? err_set(reterr, -ENOMEM, "out of memory") : 0;
}

static int cert_put(struct buf *b, X509 *cert)
{
	AUTO(buf) struct buf der = BUF_EMPTY;
	int r;

	r = x509_to_der(cert, &der, NULL);
	if (r < 0)
		return r;
	return buf_add(b, der.data, der.len);
}

static int sid_put(struct buf *b, X509 *signer)
{
	AUTO(buf) struct buf sid = BUF_EMPTY;
	int r;

	r = scep_issuer_and_serial_build(X509_get_issuer_name(signer), X509_get0_serialNumber(signer), &sid);
	if (r < 0)
		return r;
	return buf_add(b, sid.data, sid.len);
}

static int signer_info_put(struct buf *b, const struct sign_in *in, struct err *reterr)
{
	AUTO(buf) struct buf attrs = BUF_EMPTY;
	AUTO(buf) struct buf sig = BUF_EMPTY;
	AUTO(buf) struct buf si = BUF_EMPTY;
	AUTO(buf) struct buf one = BUF_EMPTY;
	int r;

	r = attrs_build(in, &attrs, reterr);
	if (r == 0)
		r = signature_make(in, &attrs, &sig, reterr);
	if (r < 0)
		return r;
	r = der_put_small(&si, 1);
	if (r == 0)
		r = sid_put(&si, in->signer);
	if (r == 0)
		r = algorithm_put(&si, scep_digest_oid(in->digest));
	if (r == 0)
		r = der_put_buf(&si, DER_CONTEXT_0, &attrs);
	if (r == 0)
		r = algorithm_put(&si, OID_RSA); /* strongSwan 5.9.8 and IOS take no other */
	if (r == 0)
		r = der_put_buf(&si, DER_OCTETS, &sig);
	if (r == 0)
		r = der_put_buf(&one, DER_SEQUENCE, &si);
	if (r == 0)
		r = der_put_buf(b, DER_SET, &one);
	return r < 0 ? err_set(reterr, r, "cannot write the SignerInfo") : 0;
}

/* EncapsulatedContentInfo; without content at all when absent. */
static int content_put(struct buf *b, bool present, const void *content, size_t len)
{
	AUTO(buf) struct buf octets = BUF_EMPTY;
	AUTO(buf) struct buf info = BUF_EMPTY;
	int r;

	r = oid_put(&info, OID_DATA);
	if (r == 0 && present)
		r = der_put(&octets, DER_OCTETS, content, len);
	if (r == 0 && present)
		r = der_put_buf(&info, DER_CONTEXT_0, &octets);
	if (r == 0)
		r = der_put_buf(b, DER_SEQUENCE, &info);
	return r;
}

/* ContentInfo around a SignedData's body. */
static int signed_data_put(const struct buf *body, struct buf *ret)
{
	AUTO(buf) struct buf data = BUF_EMPTY;
	AUTO(buf) struct buf info = BUF_EMPTY;
	AUTO(buf) struct buf out = BUF_EMPTY;
	int r;

	r = der_put_buf(&data, DER_SEQUENCE, body);
	if (r == 0)
		r = oid_put(&info, OID_SIGNED_DATA);
	if (r == 0)
		r = der_put_buf(&info, DER_CONTEXT_0, &data);
	if (r == 0)
		r = der_put_buf(&out, DER_SEQUENCE, &info);
	if (r == 0)
		buf_take(ret, &out);
	return r;
}

static int signed_head_put(struct buf *b, const struct sign_in *in)
{
	AUTO(buf) struct buf part = BUF_EMPTY;
	int r;

	r = der_put_small(b, 1);
	if (r == 0)
		r = algorithm_put(&part, scep_digest_oid(in->digest));
	if (r == 0)
		r = der_put_buf(b, DER_SET, &part);
	if (r == 0)
		r = content_put(b, true, in->content, in->content_len);
	buf_clear(&part);
	if (r == 0)
		r = cert_put(&part, in->signer);
	if (r == 0)
		r = der_put_buf(b, DER_CONTEXT_0, &part);
	return r;
}

int signed_build(const struct sign_in *in, struct buf *ret, struct err *reterr)
{
	AUTO(buf) struct buf body = BUF_EMPTY;
	int r;

	if (!digest_md(in->digest))
		return err_set(reterr, -EINVAL, "found MD5, wanted a digest that may be sent (RFC 8894 2.9)");
	r = key_matches(in->signer, in->key, "signer", reterr);
	if (r < 0)
		return r;
	r = signed_head_put(&body, in);
	if (r < 0)
		return err_set(reterr, r, "cannot write the SignedData");
	r = signer_info_put(&body, in, reterr);
	if (r < 0)
		return r;
	r = signed_data_put(&body, ret);
	return r < 0 ? err_set(reterr, r, "cannot write the SignedData") : 0;
}

static int crl_put(struct buf *b, X509_CRL *crl)
{
	AUTO(der) unsigned char *der = NULL;
	int len = i2d_X509_CRL(crl, &der);

	return len <= 0 ? -ENOMEM : der_put(b, DER_CONTEXT_1, der, (size_t) len);
}

int bag_build(X509 *const *certs, size_t n, X509_CRL *crl, struct buf *ret, struct err *reterr)
{
	AUTO(buf) struct buf body = BUF_EMPTY;
	AUTO(buf) struct buf set = BUF_EMPTY;
	size_t i;
	int r;

	if (n > LIMIT_BUNDLE_CERTS)
		return err_set(reterr, -EINVAL, "found %zu certificates, wanted at most %d", n, LIMIT_BUNDLE_CERTS);
	r = der_put_small(&body, 1);
	if (r == 0)
		r = der_put(&body, DER_SET, NULL, 0);
	if (r == 0)
		r = content_put(&body, false, NULL, 0);
	for (i = 0; r == 0 && i < n; i++)
		r = cert_put(&set, certs[i]);
	if (r == 0 && n > 0)
		r = der_put_buf(&body, DER_CONTEXT_0, &set);
	if (r == 0 && crl)
		r = crl_put(&body, crl);
	if (r == 0)
		r = der_put(&body, DER_SET, NULL, 0);
	if (r == 0)
		r = signed_data_put(&body, ret);
	return r < 0 ? err_from_openssl(reterr, r, "cannot write certs-only") : 0;
}

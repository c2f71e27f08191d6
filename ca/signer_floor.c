/* The signer's floor: see signer_floor.h. */
#include "ca/signer_floor.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/cms.h>
#include <string.h>

#include "ca/x509sig.h"
#include "common/auto_ssl.h"
#include "common/clk.h"
#include "common/fs.h"
#include "common/x509facts.h"

#define ATTRIBUTES_BYTES 8192
#define RECORD_BYTES 64
#define SERIAL_BYTES_MAX 20

struct floor {
	X509_NAME *name;
	int64_t ca_lifetime_sec;
	char *folder;
};

AUTO_DEFINE(algor, X509_ALGOR *, X509_ALGOR_free);
AUTO_DEFINE(attr, X509_ATTRIBUTE *, X509_ATTRIBUTE_free);

const char *floor_form_name(enum floor_form form)
{
	static const char *const names[] = { "certificate", "own CA certificate", "CRL", "signed attributes", "own request" };
	static_assert(sizeof(names) / sizeof(names[0]) == FLOOR_FORM_N_, "one name each");

	return form < FLOOR_FORM_N_ ? names[form] : "?";
}

void floor_set_lifetime(struct floor *f, int64_t ca_lifetime_ms)
{
	f->ca_lifetime_sec = (ca_lifetime_ms + 999) / 1000;
}

int floor_new(const char *issuer_name, int64_t ca_lifetime_ms, const char *folder, struct floor **ret, struct err *reterr)
{
	AUTO(floor) struct floor *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return err_set(reterr, -ENOMEM, "floor");
	r = x509_name_parse(issuer_name, &f->name, reterr);
	if (r < 0)
		return r;
	floor_set_lifetime(f, ca_lifetime_ms);
	f->folder = strdup(folder);
	if (!f->folder)
		return err_set(reterr, -ENOMEM, "floor");
	r = fs_mkdir(folder, 0700, reterr);
	if (r < 0)
		return r;
	*ret = TAKE(f);
	return 0;
}

void floor_free(struct floor *f)
{
	X509_NAME_free(f->name);
	free(f->folder);
	free(f);
}

/* ---- what it remembers: one file for each own key, with the end of its CA certificate ---- */

static int record_path(const struct floor *f, const char *spki, char **ret, struct err *reterr)
{
	if (strlen(spki) != X509F_SHA256_HEX - 1 || strspn(spki, "0123456789abcdef") != X509F_SHA256_HEX - 1)
		return err_set(reterr, -EPERM, "the key has no proper name");
	return asprintf(ret, "%s/%s.ca", f->folder, spki) < 0 ? err_set(reterr, -ENOMEM, "floor") : 0;
}

static int record_store(const struct floor *f, const char *spki, int64_t na_sec, struct err *reterr)
{
	AUTO(mem) char *path = NULL;
	char text[RECORD_BYTES];
	int r, n;

	r = record_path(f, spki, &path, reterr);
	if (r < 0)
		return r;
	n = snprintf(text, sizeof(text), "not-after %" PRId64 "\n", na_sec);
	return fs_write(path, text, (size_t) n, 0600, reterr);
}

static int record_load(const struct floor *f, const char *spki, int64_t *ret_na_sec, struct err *reterr)
{
	AUTO(mem) char *path = NULL;
	AUTO(buf) struct buf text = BUF_EMPTY;
	int r;

	r = record_path(f, spki, &path, reterr);
	if (r < 0)
		return r;
	r = fs_read(path, RECORD_BYTES, &text, reterr);
	if (r == -ENOENT)
		return err_set(reterr, -EPERM, "this key has no CA certificate yet, so it issues nothing");
	if (r < 0)
		return r;
	if (!text.data || sscanf((const char *) text.data, "not-after %" SCNd64, ret_na_sec) != 1)
		return err_set(reterr, -EPERM, "the floor's record of this key is damaged");
	return 0;
}

/* ---- shapes ---- */

/* The content of the outer SEQUENCE or SET, which must use all bytes. */
static int outer_open(const void *der, size_t len, int want_tag, const unsigned char **ret, size_t *ret_len, struct err *reterr)
{
	const unsigned char *p = der;
	long content = 0;
	int tag = 0, class = 0, flags;

	flags = ASN1_get_object(&p, &content, &tag, &class, (long) len);
	if (flags != V_ASN1_CONSTRUCTED || tag != want_tag || class != V_ASN1_UNIVERSAL ||
	    (size_t) (p - (const unsigned char *) der) + (size_t) content != len)
		return err_from_openssl(reterr, -EPERM, "not one whole DER structure");
	*ret = p;
	*ret_len = (size_t) content;
	return 0;
}

/* What the parser understood, written again, must be what was handed in: nobody signs what he has not read. */
static int same_bytes(const struct floor_ask *ask, const unsigned char *again, int n, struct err *reterr)
{
	if (n <= 0)
		return err_from_openssl(reterr, -EPERM, "cannot be encoded again");
	if ((size_t) n != ask->len || memcmp(again, ask->bytes, ask->len) != 0)
		return err_set(reterr, -EPERM, "not DER: encoded again it differs");
	return 0;
}

static int wrapped(const struct floor_ask *ask, struct buf *ret, struct err *reterr)
{
	int r = x509sig_build(ask->bytes, ask->len, ask->digest, NULL, 0, ret);

	return r < 0 ? err_set(reterr, -EPERM, "too long or an unwanted digest") : 0;
}

static int algorithm_check(const struct floor_ask *ask, const X509_ALGOR *algor, struct err *reterr)
{
	const ASN1_OBJECT *oid = NULL;
	int type = 0;

	X509_ALGOR_get0(&oid, &type, NULL, algor);
	if (OBJ_obj2nid(oid) != x509sig_algorithm_nid(ask->digest) || type != V_ASN1_NULL)
		return err_set(reterr, -EPERM, "says another signature algorithm than the one asked for");
	return 0;
}

static int name_check(const struct floor *f, const X509_NAME *name, const char *which, struct err *reterr)
{
	if (X509_NAME_cmp(f->name, name) != 0)
		return err_from_openssl(reterr, -EPERM, "%s is not this CA's name", which);
	return 0;
}

/* ---- certificates ---- */

static int serial_check(const X509 *x, struct err *reterr)
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(x);
	int len = ASN1_STRING_length(serial);

	if (ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER || len < 1 || len > SERIAL_BYTES_MAX ||
	    (len == SERIAL_BYTES_MAX && (ASN1_STRING_get0_data(serial)[0] & 0x80)) || (len == 1 && ASN1_STRING_get0_data(serial)[0] == 0))
		return err_set(reterr, -EPERM, "serial number must be positive and of at most 20 bytes (RFC 5280 4.1.2.2)");
	return 0;
}

static int leaf_check(const struct floor *f, const struct floor_ask *ask, X509 *x, const struct x509_facts *facts, struct err *reterr)
{
	char na[CLK_RFC3339_BYTES], end[CLK_RFC3339_BYTES];
	int64_t ca_na_sec = 0;
	int r;

	if (X509_get_extension_flags(x) & EXFLAG_CA)
		return err_set(reterr, -EPERM, "CA:TRUE for another key than its own");
	if (facts->key_usage != UINT32_MAX && (facts->key_usage & (KU_KEY_CERT_SIGN | KU_CRL_SIGN)))
		return err_set(reterr, -EPERM, "keyCertSign or cRLSign for a router");
	if (facts->self_issued)
		return err_set(reterr, -EPERM, "the CA's own name for another key");
	r = record_load(f, ask->spki, &ca_na_sec, reterr);
	if (r < 0)
		return r;
	if (facts->na_sec > ca_na_sec)
		return err_set(reterr, -EPERM, "notAfter %s is after the CA's own end %s", clk_rfc3339(facts->na_sec, na),
			       clk_rfc3339(ca_na_sec, end));
	return 0;
}

static int own_ca_check(const struct floor *f, const struct floor_ask *ask, const struct x509_facts *facts, struct err *reterr)
{
	if (!facts->self_issued)
		return err_set(reterr, -EPERM, "its own key under another name");
	if (!facts->is_ca)
		return err_set(reterr, -EPERM, "its own certificate without CA:TRUE");
	if (facts->na_sec - facts->nb_sec > f->ca_lifetime_sec)
		return err_set(reterr, -EPERM,
			       "its own certificate for %" PRId64 " s, at most %" PRId64 " s configured (CACertificateLifetime)",
			       facts->na_sec - facts->nb_sec, f->ca_lifetime_sec);
	return record_store(f, ask->spki, facts->na_sec, reterr);
}

static int certificate_check(const struct floor *f, const struct floor_ask *ask, enum floor_form *ret_form, struct err *reterr)
{
	AUTO(buf) struct buf der = BUF_EMPTY;
	AUTO(x509) X509 *x = NULL;
	AUTO(der) unsigned char *again = NULL;
	struct x509_facts facts = { 0 };
	struct err why = { 0 };
	bool own;
	int r;

	if ((r = wrapped(ask, &der, reterr)) < 0)
		return r;
	if (x509_from_der(der.data, der.len, &x, &why) < 0 || x509_facts_get(x, &facts, &why) < 0)
		return err_set(reterr, -EPERM, "not a certificate: %s", why.text);
	if ((r = same_bytes(ask, again, i2d_re_X509_tbs(x, &again), reterr)) < 0)
		return r;
	if (X509_get_version(x) != X509_VERSION_3)
		return err_set(reterr, -EPERM, "not a version 3 certificate");
	if ((r = algorithm_check(ask, X509_get0_tbs_sigalg(x), reterr)) < 0 || (r = serial_check(x, reterr)) < 0 ||
	    (r = name_check(f, X509_get_issuer_name(x), "the issuer", reterr)) < 0)
		return r;
	if (facts.na_sec <= facts.nb_sec)
		return err_set(reterr, -EPERM, "notAfter is not after notBefore");
	own = strcmp(facts.spki_sha256, ask->spki) == 0;
	*ret_form = own ? FLOOR_FORM_OWN_CA : FLOOR_FORM_LEAF;
	return own ? own_ca_check(f, ask, &facts, reterr) : leaf_check(f, ask, x, &facts, reterr);
}

/* ---- CRL ---- */

/* X509_CRL has no getter for the algorithm inside: it stands behind the version, three bytes into the SEQUENCE. */
static int crl_algorithm_check(const struct floor_ask *ask, struct err *reterr)
{
	AUTO(algor) X509_ALGOR *algor = NULL;
	const unsigned char *p = NULL;
	size_t len = 0;
	int r;

	r = outer_open(ask->bytes, ask->len, V_ASN1_SEQUENCE, &p, &len, reterr);
	if (r < 0)
		return r;
	p += 3;
	algor = d2i_X509_ALGOR(NULL, &p, (long) len - 3);
	if (!algor)
		return err_from_openssl(reterr, -EPERM, "a CRL without an algorithm");
	return algorithm_check(ask, algor, reterr);
}

static int crl_check(const struct floor *f, const struct floor_ask *ask, struct err *reterr)
{
	AUTO(buf) struct buf der = BUF_EMPTY;
	AUTO(crl) X509_CRL *crl = NULL;
	AUTO(der) unsigned char *again = NULL;
	const unsigned char *p;
	int r;

	r = wrapped(ask, &der, reterr);
	if (r < 0)
		return r;
	p = der.data;
	crl = d2i_X509_CRL(NULL, &p, (long) der.len);
	if (!crl || p != der.data + der.len)
		return err_from_openssl(reterr, -EPERM, "not a CRL");
	r = same_bytes(ask, again, i2d_re_X509_CRL_tbs(crl, &again), reterr);
	if (r < 0)
		return r;
	r = crl_algorithm_check(ask, reterr);
	if (r < 0)
		return r;
	if (X509_CRL_get_version(crl) != X509_CRL_VERSION_2 || !X509_CRL_get0_nextUpdate(crl))
		return err_set(reterr, -EPERM, "a CRL of version 2 with nextUpdate is wanted");
	return name_check(f, X509_CRL_get_issuer(crl), "the CRL's issuer", reterr);
}

/* ---- the CA's own request to an upper CA ---- */

static int csr_check(const struct floor *f, const struct floor_ask *ask, struct err *reterr)
{
	AUTO(buf) struct buf der = BUF_EMPTY;
	AUTO(req) X509_REQ *req = NULL;
	AUTO(der) unsigned char *again = NULL;
	AUTO(der) unsigned char *key = NULL;
	const unsigned char *p;
	int r, n;

	r = wrapped(ask, &der, reterr);
	if (r < 0)
		return r;
	p = der.data;
	req = d2i_X509_REQ(NULL, &p, (long) der.len);
	if (!req || p != der.data + der.len)
		return err_from_openssl(reterr, -EPERM, "not a certification request");
	r = same_bytes(ask, again, i2d_re_X509_REQ_tbs(req, &again), reterr);
	if (r < 0)
		return r;
	n = i2d_X509_PUBKEY(X509_REQ_get_X509_PUBKEY(req), &key);
	if (n <= 0 || (size_t) n != ask->spki_der_len || memcmp(key, ask->spki_der, ask->spki_der_len) != 0)
		return err_from_openssl(reterr, -EPERM, "a request for another key than the one that signs");
	return name_check(f, X509_REQ_get_subject_name(req), "the request's subject", reterr);
}

/* ---- signed attributes of CMS, RFC 5652 section 5.3 ---- */

struct attributes_seen {
	int content_type, message_digest;
	const unsigned char *last; /* DER SET OF: in ascending order */
	size_t last_len;
};

static int attribute_judge(X509_ATTRIBUTE *attr, struct attributes_seen *seen, struct err *reterr)
{
	int nid = OBJ_obj2nid(X509_ATTRIBUTE_get0_object(attr));
	const ASN1_TYPE *value = X509_ATTRIBUTE_get0_type(attr, 0);

	if (X509_ATTRIBUTE_count(attr) != 1 || !value)
		return err_set(reterr, -EPERM, "an attribute with other than one value");
	if (nid == NID_pkcs9_contentType) {
		seen->content_type++;
		if (value->type != V_ASN1_OBJECT || OBJ_obj2nid(value->value.object) != NID_pkcs7_data)
			return err_set(reterr, -EPERM, "contentType is not id-data");
	} else if (nid == NID_pkcs9_messageDigest) {
		seen->message_digest++;
		/* the CMS digest may be SHA-1 for an old client: any length of a digest */
		if (value->type != V_ASN1_OCTET_STRING || ASN1_STRING_length(value->value.octet_string) < 16 ||
		    ASN1_STRING_length(value->value.octet_string) > EVP_MAX_MD_SIZE)
			return err_set(reterr, -EPERM, "messageDigest is not a digest");
	}
	return 0;
}

static int order_check(struct attributes_seen *seen, const unsigned char *der, size_t len, struct err *reterr)
{
	size_t common = len < seen->last_len ? len : seen->last_len;
	int order = seen->last ? memcmp(seen->last, der, common) : -1;

	if (order > 0 || (order == 0 && seen->last_len >= len))
		return err_set(reterr, -EPERM, "attributes out of order or doubled: not a DER SET");
	seen->last = der;
	seen->last_len = len;
	return 0;
}

static int attributes_check(const struct floor_ask *ask, struct err *reterr)
{
	struct attributes_seen seen = { 0 };
	const unsigned char *p = NULL, *end, *start;
	size_t len = 0, n = 0;
	int r;

	if (ask->len > ATTRIBUTES_BYTES)
		return err_set(reterr, -EPERM, "signed attributes of %zu bytes", ask->len);
	r = outer_open(ask->bytes, ask->len, V_ASN1_SET, &p, &len, reterr);
	if (r < 0)
		return r;
	for (end = p + len; p < end;) {
		AUTO(attr) X509_ATTRIBUTE *attr = NULL;

		start = p;
		attr = d2i_X509_ATTRIBUTE(NULL, &p, (long) (end - p));
		if (!attr || ++n > LIMIT_SIGNED_ATTRS)
			return err_from_openssl(reterr, -EPERM, "not signed attributes");
		if ((r = order_check(&seen, start, (size_t) (p - start), reterr)) < 0 || (r = attribute_judge(attr, &seen, reterr)) < 0)
			return r;
	}
	if (seen.content_type != 1 || seen.message_digest != 1)
		return err_set(reterr, -EPERM, "contentType and messageDigest are wanted once each (RFC 5652 11.1, 11.2)");
	return 0;
}

/* ---- which of them ---- */

/* By the first bytes inside the SEQUENCE: [0] version of a certificate, INTEGER 1 of a CRL, INTEGER 0 of a request. */
static int sequence_check(const struct floor *f, const struct floor_ask *ask, enum floor_form *ret_form, struct err *reterr)
{
	static const unsigned char crl[] = { 0x02, 0x01, 0x01 }, csr[] = { 0x02, 0x01, 0x00 };
	const unsigned char *p = NULL;
	size_t len = 0;
	int r;

	r = outer_open(ask->bytes, ask->len, V_ASN1_SEQUENCE, &p, &len, reterr);
	if (r < 0)
		return r;
	if (len > 0 && p[0] == 0xa0)
		return certificate_check(f, ask, ret_form, reterr);
	if (len > sizeof(crl) && memcmp(p, crl, sizeof(crl)) == 0) {
		*ret_form = FLOOR_FORM_CRL;
		return crl_check(f, ask, reterr);
	}
	if (len > sizeof(csr) && memcmp(p, csr, sizeof(csr)) == 0) {
		*ret_form = FLOOR_FORM_CSR;
		return csr_check(f, ask, reterr);
	}
	return err_set(reterr, -EPERM, "neither a certificate, a CRL, nor a request");
}

int floor_check(struct floor *f, const struct floor_ask *ask, enum floor_form *ret_form, struct err *reterr)
{
	const unsigned char *first = ask->bytes;

	if (ask->len < 2)
		return err_set(reterr, -EPERM, "nothing to sign");
	if (first[0] == (V_ASN1_SET | V_ASN1_CONSTRUCTED)) {
		*ret_form = FLOOR_FORM_ATTRIBUTES;
		return attributes_check(ask, reterr);
	}
	return sequence_check(f, ask, ret_form, reterr);
}

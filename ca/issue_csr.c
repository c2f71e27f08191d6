/* What a request may ask for: see issue.h. */
#include "ca/issue.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "ca/issue_internal.h"
#include "common/limits.h"

#define NAMES_MAX 32
#define DNS_BYTES_MAX 253
#define IP4_BYTES 4
#define IP6_BYTES 16

AUTO_DEFINE(basic, BASIC_CONSTRAINTS *, BASIC_CONSTRAINTS_free);

static int digest_check(X509_REQ *csr, unsigned digests, struct err *reterr)
{
	static const int nids[SCEP_DIGEST_N_] = {
		[SCEP_DIGEST_SHA256] = NID_sha256, [SCEP_DIGEST_SHA384] = NID_sha384, [SCEP_DIGEST_SHA512] = NID_sha512,
		[SCEP_DIGEST_SHA1] = NID_sha1,     [SCEP_DIGEST_MD5] = NID_md5,
	};
	int nid = NID_undef;
	size_t i;

	if (OBJ_find_sigid_algs(X509_REQ_get_signature_nid(csr), &nid, NULL) != 1)
		return err_from_openssl(reterr, -EINVAL, "the request's signature algorithm is unknown");
	for (i = 0; i < SCEP_DIGEST_N_; i++)
		if (nids[i] == nid && (digests & 1u << i))
			return 0;
	return err_set(reterr, -EINVAL, "the request is signed with %s, which is below the floor", OBJ_nid2sn(nid));
}

static int key_check(X509_REQ *csr, struct err *reterr)
{
	EVP_PKEY *key = X509_REQ_get0_pubkey(csr);
	int bits;

	if (!key || !EVP_PKEY_is_a(key, "RSA"))
		return err_from_openssl(reterr, -EINVAL, "the request's key is not RSA");
	bits = EVP_PKEY_get_bits(key);
	if (bits < LIMIT_KEY_BITS_MIN || bits > LIMIT_KEY_BITS_MAX)
		return err_set(reterr, -EINVAL, "the request's RSA key has %d bits, %d to %d wanted", bits, LIMIT_KEY_BITS_MIN,
			       LIMIT_KEY_BITS_MAX);
	return 0;
}

static int dns_check(const ASN1_STRING *name, struct err *reterr)
{
	const unsigned char *p = ASN1_STRING_get0_data(name);
	int len = ASN1_STRING_length(name), i;

	if (len < 1 || len > DNS_BYTES_MAX)
		return err_set(reterr, -EPROTO, "dNSName of %d bytes", len);
	for (i = 0; i < len; i++)
		if (!isascii(p[i]) || (!isalnum(p[i]) && p[i] != '-' && p[i] != '.' && p[i] != '_' && !(p[i] == '*' && i == 0)))
			return err_set(reterr, -EPROTO, "dNSName with a character that host names do not have");
	return 0;
}

static int name_check(const GENERAL_NAME *name, struct err *reterr)
{
	int type = 0, len;
	const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &type);

	if (type == GEN_DNS)
		return dns_check(value, reterr);
	if (type != GEN_IPADD)
		return err_set(reterr, -EPROTO, "alternative name of type %d, only dNSName (2) and iPAddress (7) are issued", type);
	len = ASN1_STRING_length(value);
	return len == IP4_BYTES || len == IP6_BYTES ? 0 : err_set(reterr, -EPROTO, "iPAddress of %d bytes", len);
}

/* Decoded value of one requested extension: NULL when absent. -EPROTO when doubled or undecodable. */
static int extension_get(X509_REQ *csr, int nid, void **ret, struct err *reterr)
{
	AUTO(ext_sk) STACK_OF(X509_EXTENSION) *exts = X509_REQ_get_extensions(csr);
	int critical = -1;

	(void) err_from_openssl(NULL, 0, "no extensions at all is no error, but leaves one in the queue");
	*ret = exts ? X509V3_get_d2i(exts, nid, &critical, NULL) : NULL;
	if (!*ret && critical != -1)
		return err_from_openssl(reterr, -EPROTO, "requested extension %s is doubled or cannot be read", OBJ_nid2sn(nid));
	return 0;
}

int issue_csr_names(X509_REQ *csr, GENERAL_NAMES **ret, struct err *reterr)
{
	AUTO(gens) GENERAL_NAMES *names = NULL;
	void *value = NULL;
	int r, i;

	r = extension_get(csr, NID_subject_alt_name, &value, reterr);
	names = value;
	if (r < 0)
		return r;
	if (names && (sk_GENERAL_NAME_num(names) < 1 || sk_GENERAL_NAME_num(names) > NAMES_MAX))
		return err_set(reterr, -EPROTO, "%d alternative names, 1 to %d wanted", sk_GENERAL_NAME_num(names), NAMES_MAX);
	for (i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
		r = name_check(sk_GENERAL_NAME_value(names, i), reterr);
		if (r < 0)
			return r;
	}
	*ret = TAKE(names);
	return 0;
}

static int authority_check(X509_REQ *csr, struct err *reterr)
{
	AUTO(basic) BASIC_CONSTRAINTS *basic = NULL;
	void *value = NULL;
	int r;

	r = extension_get(csr, NID_basic_constraints, &value, reterr);
	basic = value;
	if (r < 0)
		return r;
	return basic && basic->ca ? err_set(reterr, -EPROTO, "the request asks for CA:TRUE") : 0;
}

int issue_csr_check(X509_REQ *csr, unsigned digests, struct err *reterr)
{
	AUTO(gens) GENERAL_NAMES *names = NULL;
	int r;

	if ((r = key_check(csr, reterr)) < 0 || (r = digest_check(csr, digests, reterr)) < 0)
		return r;
	if (X509_NAME_entry_count(X509_REQ_get_subject_name(csr)) < 1)
		return err_set(reterr, -EPROTO, "the request has no subject");
	r = authority_check(csr, reterr);
	return r < 0 ? r : issue_csr_names(csr, &names, reterr);
}

static bool name_in(const GENERAL_NAME *name, GENERAL_NAMES *held)
{
	int i;

	for (i = 0; held && i < sk_GENERAL_NAME_num(held); i++)
		/* takes it without const, changes nothing */
		if (GENERAL_NAME_cmp((GENERAL_NAME *) name, sk_GENERAL_NAME_value(held, i)) == 0)
			return true;
	return false;
}

bool issue_csr_new_names(X509_REQ *csr, X509 *cert)
{
	AUTO(gens) GENERAL_NAMES *held = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	AUTO(gens) GENERAL_NAMES *asked = NULL;
	int i;

	if (issue_csr_names(csr, &asked, NULL) < 0)
		return true;
	for (i = 0; asked && i < sk_GENERAL_NAME_num(asked); i++)
		if (!name_in(sk_GENERAL_NAME_value(asked, i), held))
			return true;
	return false;
}

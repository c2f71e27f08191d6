/* GetNextCACert, RFC 8894 4.7.1: a certs-only message as the content of a message signed by the current CA. Certificates are taken from the signed
 * content only; other implementations were fooled by the bag around it. */
#include <errno.h>

#include "common/x509facts.h"
#include "scep/scep_internal.h"

static int content_open(const struct shape_signed *s, STACK_OF(X509) **ret, struct err *reterr)
{
	AUTO(buf) struct buf strict = BUF_EMPTY;
	struct shape_bag bag;
	struct der in;
	int r;

	if (!s->content_present || s->content.left == 0)
		return err_set(reterr, -EPROTO, "found no signed content, wanted the next CA's certificate (RFC 8894 4.7.1)");
	r = ber_to_der(s->content.at, s->content.left, false, &strict, reterr);
	if (r < 0)
		return r;
	in = (struct der){ .at = strict.data, .left = strict.len };
	r = shape_bag(&in, &bag, reterr);
	if (r < 0)
		return r;
	return bag_certs_get(&bag, ret, reterr);
}

static int next_check(X509 *next, X509 *current, struct err *reterr)
{
	struct x509_facts n, c;
	int r;

	r = x509_facts_get(next, &n, reterr);
	if (r == 0)
		r = x509_facts_get(current, &c, reterr);
	if (r < 0)
		return r;
	if (EVP_PKEY_eq(X509_get0_pubkey(next), X509_get0_pubkey(current)) == 1)
		return err_from_openssl(reterr, -EPROTO, "found a next CA with the current CA's key, wanted a new one");
	if (!key_bounded(X509_get0_pubkey(next)) || n.bits < LIMIT_KEY_BITS_MIN)
		return err_from_openssl(reterr, -EPROTO, "found a next CA's key of %d bits, wanted RSA of %d to %d", n.bits, LIMIT_KEY_BITS_MIN,
					SCEP_RSA_BITS_MAX);
	if (!n.self_issued || X509_verify(next, X509_get0_pubkey(next)) != 1)
		return err_from_openssl(reterr, -EPROTO, "found a next CA that its own key did not sign");
	if (n.nb_sec > c.na_sec || n.na_sec <= c.na_sec)
		return err_set(reterr, -EPROTO, "found a next CA valid from %lld to %lld, wanted from %lld at the latest and beyond it", (long long) n.nb_sec,
			       (long long) n.na_sec, (long long) c.na_sec);
	return err_from_openssl(NULL, 0, "%s", ""); /* only empties the queue: unequal kinds of keys leave errors */
}

/* The CA certificate of the same name that is not the current one; there must be one only. */
static int next_pick(STACK_OF(X509) *certs, X509 *current, X509 **ret, struct err *reterr)
{
	X509 *next = NULL;
	int i;

	for (i = 0; i < sk_X509_num(certs); i++) {
		X509 *x = sk_X509_value(certs, i);

		if (X509_check_ca(x) != 1 || X509_cmp(x, current) == 0 ||
		    X509_NAME_cmp(X509_get_subject_name(x), X509_get_subject_name(current)) != 0)
			continue;
		if (next)
			return err_from_openssl(reterr, -EPROTO, "found several next CAs, wanted one");
		next = x;
	}
	if (!next)
		return err_from_openssl(reterr, -EPROTO, "found no next CA: wanted CA:TRUE and the current CA's name");
	*ret = next;
	return next_check(next, current, reterr);
}

/* -EKEYREJECTED for everything without the current CA's signature: unsigned certs-only too, as early servers sent. */
static int signed_by_current(const struct buf *strict, struct shape_signed *s, X509 *current, const struct scep_policy *policy, struct err *reterr)
{
	struct der in = { .at = strict->data, .left = strict->len };
	AUTO(x509) X509 *signer = NULL;
	int r;

	r = shape_signed(&in, s, reterr);
	if (r < 0)
		return err_prefix(reterr, -EKEYREJECTED, "the next CA is not signed by one signer"), -EKEYREJECTED;
	if (!(policy->digests & (1u << s->digest)))
		return err_set(reterr, -EPROTO, "found %s, which the policy does not allow (RFC 8894 2.9)", scep_digest_name(s->digest));
	return signed_verify(strict, s, &current, 1, &signer, NULL, reterr);
}

int scep_next_ca_open(const void *body, size_t len, X509 *current, const struct scep_policy *policy, X509 **ret, struct err *reterr)
{
	AUTO(buf) struct buf strict = BUF_EMPTY;
	AUTO(x509_sk) STACK_OF(X509) *certs = NULL;
	struct shape_signed s;
	X509 *next = NULL;
	int r;

	r = ber_to_der(body, len, false, &strict, reterr);
	if (r < 0)
		return err_prefix(reterr, r, "GetNextCACert");
	r = signed_by_current(&strict, &s, current, policy, reterr);
	if (r == 0)
		r = content_open(&s, &certs, reterr);
	if (r == 0)
		r = next_pick(certs, current, &next, reterr);
	if (r < 0)
		return r;
	if (!X509_up_ref(next))
		return err_from_openssl(reterr, -ENOMEM, "out of memory");
	*ret = next;
	return 0;
}

int scep_next_ca_build(X509 *const *next, size_t n, X509 *current, EVP_PKEY *current_key, struct buf *ret, struct err *reterr)
{
	AUTO(buf) struct buf bag = BUF_EMPTY;
	struct sign_in sign;
	int r;

	if (n == 0)
		return err_set(reterr, -EINVAL, "found no next CA to send");
	r = bag_build(next, n, NULL, &bag, reterr);
	if (r < 0)
		return r;
	sign = (struct sign_in){ .content = bag.data, .content_len = bag.len, .signer = current, .key = current_key, .digest = SCEP_DIGEST_SHA256 };
	return signed_build(&sign, ret, reterr);
}

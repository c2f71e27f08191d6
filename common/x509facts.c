/* What a certificate says, as plain facts: see x509facts.h. */
#include "common/x509facts.h"

#include <errno.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "common/clk.h"

#define SERIAL_BYTES_MAX 20 /* RFC 5280 section 4.1.2.2 */

static void serial_low_get(const ASN1_INTEGER *serial, struct x509_facts *f)
{
	const unsigned char *p = ASN1_STRING_get0_data(serial);
	int len = ASN1_STRING_length(serial), i;

	f->serial_low = 0;
	for (i = len > 8 ? len - 8 : 0; i < len; i++)
		f->serial_low = f->serial_low << 8 | p[i];
}

static int serial_get(const X509 *x, struct x509_facts *f, struct err *reterr)
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(x);
	AUTO(bn) BIGNUM *n = NULL;
	AUTO(der) unsigned char *hex = NULL; /* OPENSSL_free, as for DER */
	const char *digits;
	bool minus;

	if (ASN1_STRING_length(serial) > SERIAL_BYTES_MAX)
		return err_set(reterr, -EBADMSG, "serial number of %d bytes, at most %d wanted (RFC 5280 4.1.2.2)", ASN1_STRING_length(serial),
			       SERIAL_BYTES_MAX);
	n = ASN1_INTEGER_to_BN(serial, NULL);
	hex = n ? (unsigned char *) BN_bn2hex(n) : NULL;
	if (!hex)
		return err_from_openssl(reterr, -EBADMSG, "serial number");
	digits = (const char *) hex;
	minus = *digits == '-';
	digits += minus;
	while (digits[0] == '0' && digits[1])
		digits++;
	(void) snprintf(f->serial, sizeof(f->serial), "%s%s", minus ? "-" : "", digits); /* 20 bytes fit */
	serial_low_get(serial, f);
	return 0;
}

int x509_name_text(const X509_NAME *name, char out[X509F_NAME_BYTES], struct err *reterr)
{
	AUTO(bio) BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL;
	long len;

	if (!bio || X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) < 0)
		return err_from_openssl(reterr, -EBADMSG, "name cannot be printed");
	len = BIO_get_mem_data(bio, &text);
	if (len < 0 || (len > 0 && !text))
		return err_set(reterr, -EBADMSG, "name cannot be printed");
	(void) snprintf(out, X509F_NAME_BYTES, "%.*s", (int) len, text ? text : ""); /* cut on the next line */
	if (len >= X509F_NAME_BYTES)
		(void) strcpy(out + X509F_NAME_BYTES - 4, "..."); /* three dots and the NUL */
	return 0;
}

static int times_get(const X509 *x, struct x509_facts *f, struct err *reterr)
{
	if (asn1_time_sec(X509_get0_notBefore(x), &f->nb_sec) < 0)
		return err_set(reterr, -EBADMSG, "notBefore is not a time of RFC 5280 4.1.2.5");
	if (asn1_time_sec(X509_get0_notAfter(x), &f->na_sec) < 0)
		return err_set(reterr, -EBADMSG, "notAfter is not a time of RFC 5280 4.1.2.5");
	return 0;
}

static int key_get(const X509 *x, struct x509_facts *f, struct err *reterr)
{
	EVP_PKEY *key = X509_get0_pubkey(x);

	if (!key)
		return err_from_openssl(reterr, -EBADMSG, "no usable public key");
	f->bits = EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_is_a(key, "RSA-PSS") ? EVP_PKEY_get_bits(key) : 0;
	return spki_sha256(key, f->spki_sha256, reterr);
}

static int digest_get(const X509 *x, struct x509_facts *f, struct err *reterr)
{
	AUTO(buf) struct buf der = BUF_EMPTY;
	int r;

	r = x509_to_der(x, &der, reterr);
	if (r < 0)
		return r;
	sha256_hex(der.data, der.len, f->sha256);
	return 0;
}

static int extensions_cache(X509 *x, int code, struct err *reterr)
{
	if (X509_check_purpose(x, -1, 0) != 1 || (X509_get_extension_flags(x) & EXFLAG_INVALID))
		return err_from_openssl(reterr, code, "invalid extensions");
	return 0;
}

int x509_facts_get(X509 *x, struct x509_facts *ret, struct err *reterr)
{
	struct x509_facts f = { 0 };
	int r;

	if ((r = extensions_cache(x, -EBADMSG, reterr)) < 0 || (r = times_get(x, &f, reterr)) < 0 || (r = serial_get(x, &f, reterr)) < 0 ||
	    (r = x509_name_text(X509_get_subject_name(x), f.subject, reterr)) < 0 ||
	    (r = x509_name_text(X509_get_issuer_name(x), f.issuer, reterr)) < 0 || (r = key_get(x, &f, reterr)) < 0 ||
	    (r = digest_get(x, &f, reterr)) < 0)
		return r;
	f.is_ca = X509_check_ca(x) == 1; /* 1: basicConstraints says so, the others are guesses */
	f.self_issued = (X509_get_extension_flags(x) & EXFLAG_SI) != 0;
	f.key_usage = X509_get_key_usage(x);
	*ret = f;
	return 0;
}

/* OpenSSL calls a certificate expired in the very second of its notAfter; so do we. */
static int valid_at(const X509 *x, const char *which, int64_t at_sec, struct err *reterr)
{
	char at[CLK_RFC3339_BYTES], bound[CLK_RFC3339_BYTES];
	struct x509_facts f;

	if (times_get(x, &f, NULL) < 0)
		return err_set(reterr, -EKEYREJECTED, "%s has times that are not of RFC 5280 4.1.2.5", which);
	if (at_sec < f.nb_sec)
		return err_set(reterr, -EKEYREJECTED, "%s is not valid before %s, asked for %s", which, clk_rfc3339(f.nb_sec, bound),
			       clk_rfc3339(at_sec, at));
	if (at_sec >= f.na_sec)
		return err_set(reterr, -EKEYREJECTED, "%s ended at %s, asked for %s", which, clk_rfc3339(f.na_sec, bound),
			       clk_rfc3339(at_sec, at));
	return 0;
}

static int signed_by(X509 *cert, X509 *issuer, struct err *reterr)
{
	int why = X509_check_issued(issuer, cert);
	EVP_PKEY *key = X509_get0_pubkey(issuer);

	if (why != X509_V_OK)
		return err_from_openssl(reterr, -EKEYREJECTED, "not issued by this CA: %s", X509_verify_cert_error_string(why));
	if (!key || X509_verify(cert, key) != 1)
		return err_from_openssl(reterr, -EKEYREJECTED, "the CA's signature on the certificate is wrong");
	return 0;
}

int x509_check_issued(X509 *cert, X509 *issuer, int64_t at_sec, struct err *reterr)
{
	int r;

	if ((r = extensions_cache(cert, -EKEYREJECTED, reterr)) < 0 || (r = extensions_cache(issuer, -EKEYREJECTED, reterr)) < 0)
		return r;
	if (X509_check_ca(issuer) != 1)
		return err_set(reterr, -EKEYREJECTED, "the issuer is not a CA certificate (basicConstraints, RFC 5280 4.2.1.9)");
	r = signed_by(cert, issuer, reterr);
	if (r < 0)
		return r;
	r = valid_at(cert, "the certificate", at_sec, reterr);
	if (r < 0)
		return r;
	return valid_at(issuer, "the CA certificate", at_sec, reterr);
}

/* Names, fingerprints and times as text: what is accepted can be encoded; no OpenSSL error stays behind. */
#include <openssl/err.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "common/clk.h"
#include "common/x509facts.h"
#include "tests/fuzz/fuzz.h"

static void name_check(const char *text)
{
	AUTO(name) X509_NAME *name = NULL;
	AUTO(name) X509_NAME *again = NULL;
	AUTO(der) unsigned char *der = NULL;
	const unsigned char *p;
	struct err e = { 0 };
	int len;

	if (x509_name_parse(text, &name, &e) < 0) {
		if (!e.text[0])
			abort(); /* refused without words */
		return;
	}
	len = i2d_X509_NAME(name, &der);
	p = der;
	again = len > 0 ? d2i_X509_NAME(NULL, &p, len) : NULL;
	if (!again || X509_NAME_cmp(name, again) != 0)
		abort(); /* it would not come back from a CSR */
}

int fuzz_one(const uint8_t *data, size_t len)
{
	AUTO(mem) char *text = strndup((const char *) data, len);
	char hex[X509F_SHA256_HEX], print[CLK_RFC3339_BYTES];
	int64_t sec;

	if (!text)
		return 0;
	name_check(text);
	if (fingerprint_parse(text, hex, NULL) == 0 && strspn(hex, "0123456789abcdef") != X509F_SHA256_HEX - 1)
		abort();
	if (clk_rfc3339_parse(text, &sec) == 0 && strcmp(clk_rfc3339(sec, print), text) != 0)
		abort(); /* parse(print(x)) == x */
	if (ERR_peek_error() != 0)
		abort();
	return 0;
}

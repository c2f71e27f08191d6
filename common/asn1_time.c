/* ASN.1 times to and from seconds: see x509facts.h. */
#include "common/x509facts.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "common/auto_ssl.h"

#define YEAR_0_SEC (-62167219200LL)
#define YEAR_9999_SEC 253402300799LL

static int digits_2(const unsigned char *p)
{
	return (p[0] - '0') * 10 + (p[1] - '0');
}

static bool digits_then_z(const unsigned char *p, size_t digits)
{
	size_t i;

	for (i = 0; i < digits; i++)
		if (p[i] < '0' || p[i] > '9')
			return false;
	return p[digits] == 'Z';
}

/* Years to months: the rest has the same shape in both types. */
static int fields_sec(int year, const unsigned char *p, int64_t *ret_sec)
{
	struct tm tm = { 0 }, again = { 0 };
	time_t t;

	tm.tm_year = year - 1900;
	tm.tm_mon = digits_2(p) - 1;
	tm.tm_mday = digits_2(p + 2);
	tm.tm_hour = digits_2(p + 4);
	tm.tm_min = digits_2(p + 6);
	tm.tm_sec = digits_2(p + 8);
	again = tm;
	t = timegm(&again); /* takes 30 February for 1 March: compare */
	if (again.tm_year != tm.tm_year || again.tm_mon != tm.tm_mon || again.tm_mday != tm.tm_mday || again.tm_hour != tm.tm_hour ||
	    again.tm_min != tm.tm_min || again.tm_sec != tm.tm_sec)
		return -EBADMSG;
	*ret_sec = (int64_t) t;
	return 0;
}

int asn1_time_sec(const ASN1_TIME *t, int64_t *ret_sec)
{
	const unsigned char *p = ASN1_STRING_get0_data(t);
	int len = ASN1_STRING_length(t), type = ASN1_STRING_type(t), year;

	/* RFC 5280 section 4.1.2.5: seconds present, no fraction, Zulu */
	if (type == V_ASN1_UTCTIME && len == 13 && digits_then_z(p, 12)) {
		year = digits_2(p);
		return fields_sec(year < 50 ? 2000 + year : 1900 + year, p + 2, ret_sec);
	}
	if (type == V_ASN1_GENERALIZEDTIME && len == 15 && digits_then_z(p, 14))
		return fields_sec(digits_2(p) * 100 + digits_2(p + 2), p + 4, ret_sec);
	return -EBADMSG;
}

int asn1_time_from_sec(int64_t sec, ASN1_TIME **ret)
{
	ASN1_TIME *t;

	if (sec < YEAR_0_SEC || sec > YEAR_9999_SEC)
		return -ERANGE;
	t = ASN1_TIME_adj(NULL, (time_t) sec, 0, 0);
	if (!t)
		return err_from_openssl(NULL, -ENOMEM, "time");
	*ret = t;
	return 0;
}

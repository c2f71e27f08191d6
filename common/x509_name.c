/* Distinguished names from text, RFC 4514: see x509facts.h. */
#include "common/x509facts.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "common/limits.h"

#define ATTRIBUTES_MAX 32
#define TYPE_BYTES 64

AUTO_DEFINE(name_entry, X509_NAME_ENTRY *, X509_NAME_ENTRY_free);

struct name_text {
	const char *start, *at;
	int attributes;
	struct err *reterr;
};

static const struct {
	const char *word;
	int nid;
} types[] = {
	{ "CN", NID_commonName }, { "OU", NID_organizationalUnitName }, { "O", NID_organizationName }, { "C", NID_countryName },
	{ "L", NID_localityName }, { "ST", NID_stateOrProvinceName }, { "STREET", NID_streetAddress }, { "DC", NID_domainComponent },
	{ "UID", NID_userId }, { "serialNumber", NID_serialNumber }, { "emailAddress", NID_pkcs9_emailAddress },
	{ "unstructuredName", NID_pkcs9_unstructuredName }, { "unstructuredAddress", NID_pkcs9_unstructuredAddress },
	{ "title", NID_title }, { "surname", NID_surname }, { "SN", NID_surname }, { "givenName", NID_givenName }, { "GN", NID_givenName },
	{ "name", NID_name }, { "initials", NID_initials }, { "dnQualifier", NID_dnQualifier }, { "pseudonym", NID_pseudonym },
};

static int name_error(const struct name_text *t, const char *what)
{
	return err_set(t->reterr, -EINVAL, "name: character %zu: %s", (size_t) (t->at - t->start) + 1, what);
}

static void spaces_skip(struct name_text *t)
{
	while (*t->at == ' ')
		t->at++;
}

static ASN1_OBJECT *type_object(const char *word)
{
	size_t i;

	if (isdigit((unsigned char) word[0]))
		return OBJ_txt2obj(word, 1);
	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcasecmp(word, types[i].word) == 0)
			return OBJ_nid2obj(types[i].nid);
	return NULL;
}

/* "CN", or an OID in dots, and the '=' behind it. */
static int type_parse(struct name_text *t, ASN1_OBJECT **ret)
{
	char word[TYPE_BYTES];
	size_t n;

	spaces_skip(t);
	n = strspn(t->at, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-");
	if (n == 0 || n >= sizeof(word))
		return name_error(t, "an attribute type as CN, OU, O or an OID is wanted");
	memcpy(word, t->at, n);
	word[n] = '\0';
	*ret = type_object(word);
	if (!*ret) {
		(void) err_from_openssl(NULL, 0, "empty the queue"); /* our own words say more */
		return name_error(t, "unknown attribute type, expected one of CN OU O C L ST DC UID serialNumber emailAddress or an OID");
	}
	t->at += n;
	spaces_skip(t);
	if (*t->at != '=')
		return name_error(t, "'=' is wanted after the attribute type");
	t->at++;
	spaces_skip(t);
	return 0;
}

static int hex_pair(const char *p)
{
	const char *digits = "0123456789abcdef", *high, *low;

	high = p[0] ? strchr(digits, tolower((unsigned char) p[0])) : NULL;
	low = high && p[1] ? strchr(digits, tolower((unsigned char) p[1])) : NULL;
	return low ? (int) ((high - digits) << 4 | (low - digits)) : -1;
}

/* After a backslash: one of the special characters, or two hex digits. */
static int escape_parse(struct name_text *t, unsigned char *ret)
{
	int byte;

	if (*t->at && strchr(",+\"\\<>;=# ", *t->at)) {
		*ret = (unsigned char) *t->at++;
		return 0;
	}
	byte = hex_pair(t->at);
	if (byte <= 0) /* NUL in a name has fooled enough programs */
		return name_error(t, "after \\ one of , + \" \\ < > ; = # or two hex digits (not 00) are wanted");
	*ret = (unsigned char) byte;
	t->at += 2;
	return 0;
}

/* Up to an unescaped ',' or '+' or the end; unescaped spaces at the end are not part of it. */
static int value_parse(struct name_text *t, unsigned char *out, size_t max, size_t *ret_len)
{
	size_t n = 0, solid = 0;
	int r;

	if (*t->at == '#')
		return name_error(t, "values in #hex are not supported, write \\# for the character");
	while (*t->at && *t->at != ',' && *t->at != '+') {
		if (n == max)
			return name_error(t, "value too long");
		if (strchr("\"<>;", *t->at))
			return name_error(t, "this character must be escaped by a backslash");
		if (*t->at != '\\') {
			solid = *t->at == ' ' ? solid : n + 1;
			out[n++] = (unsigned char) *t->at++;
			continue;
		}
		t->at++;
		r = escape_parse(t, &out[n]);
		if (r < 0)
			return r;
		solid = ++n;
	}
	if (solid == 0)
		return name_error(t, "empty value");
	*ret_len = solid;
	return 0;
}

/* One "type=value". In front of all earlier ones: RFC 4514 writes a name last to first. */
static int attribute_parse(struct name_text *t, X509_NAME *name, bool same_rdn)
{
	AUTO(asn1_obj) ASN1_OBJECT *type = NULL;
	AUTO(name_entry) X509_NAME_ENTRY *entry = NULL;
	unsigned char value[X509F_NAME_BYTES];
	size_t len = 0;
	int r;

	if (t->attributes++ == ATTRIBUTES_MAX)
		return name_error(t, "too many attributes");
	r = type_parse(t, &type);
	if (r < 0)
		return r;
	r = value_parse(t, value, sizeof(value), &len);
	if (r < 0)
		return r;
	entry = X509_NAME_ENTRY_create_by_OBJ(NULL, type, MBSTRING_UTF8, value, (int) len);
	if (!entry)
		return err_from_openssl(t->reterr, -EINVAL, "name: the value before character %zu does not fit its attribute type",
					(size_t) (t->at - t->start) + 1);
	if (X509_NAME_add_entry(name, entry, 0, same_rdn ? 1 : 0) != 1) /* copies */
		return err_from_openssl(t->reterr, -ENOMEM, "name");
	return 0;
}

static int name_fill(struct name_text *t, X509_NAME *name)
{
	bool same_rdn = false;
	int r;

	for (;;) {
		r = attribute_parse(t, name, same_rdn);
		if (r < 0)
			return r;
		if (!*t->at)
			return 0;
		same_rdn = *t->at++ == '+';
	}
}

int x509_name_parse(const char *text, X509_NAME **ret, struct err *reterr)
{
	struct name_text t = { .start = text, .at = text, .attributes = 0, .reterr = reterr };
	AUTO(name) X509_NAME *name = NULL;
	int r;

	if (strlen(text) > LIMIT_CONF_LINE_BYTES)
		return err_set(reterr, -EINVAL, "name: longer than %d characters", LIMIT_CONF_LINE_BYTES);
	name = X509_NAME_new();
	if (!name)
		return err_from_openssl(reterr, -ENOMEM, "name");
	r = name_fill(&t, name);
	if (r < 0)
		return r;
	if (i2d_X509_NAME(name, NULL) <= 0)
		return err_from_openssl(reterr, -EINVAL, "name cannot be encoded");
	*ret = TAKE(name);
	return 0;
}

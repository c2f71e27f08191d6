/* GetCACaps, RFC 8894 3.5.2. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "scep/scep.h"

static const struct {
	const char *word;
	unsigned bits;
} keywords[] = {
	{ "AES", SCEP_CAP_AES },
	{ "DES3", SCEP_CAP_DES3 },
	{ "GetNextCACert", SCEP_CAP_GET_NEXT_CA_CERT },
	{ "POSTPKIOperation", SCEP_CAP_POST },
	{ "Renewal", SCEP_CAP_RENEWAL },
	{ "SHA-1", SCEP_CAP_SHA1 },
	{ "SHA-256", SCEP_CAP_SHA256 },
	{ "SHA-384", SCEP_CAP_SHA384 },
	{ "SHA-512", SCEP_CAP_SHA512 },
	{ "SCEPStandard", SCEP_CAP_STANDARD },
};
#define N_KEYWORDS (sizeof(keywords) / sizeof(keywords[0]))

static unsigned word_bits(const char *word, size_t len)
{
	size_t i;

	for (i = 0; i < N_KEYWORDS; i++)
		if (strlen(keywords[i].word) == len && strncasecmp(keywords[i].word, word, len) == 0)
			return keywords[i].bits;
	return 0;
}

/* "anything not text": an error page in another encoding must not half match */
static bool is_text(const char *p, size_t len)
{
	for (; len > 0; p++, len--)
		if ((unsigned char) *p >= 0x7f || ((unsigned char) *p < 0x20 && !strchr("\t\r\n", *p)) || *p == '\0')
			return false;
	return true;
}

unsigned scep_caps_parse(const void *text, size_t len)
{
	const char *p = text, *end;
	unsigned caps = 0;
	size_t line;

	if (len == 0 || len > LIMIT_CAPS_BYTES || !is_text(p, len))
		return 0;
	while (len > 0) {
		end = memchr(p, '\n', len);
		line = end ? (size_t) (end - p) : len;
		caps |= word_bits(p, line > 0 && p[line - 1] == '\r' ? line - 1 : line);
		line += end ? 1 : 0;
		p += line;
		len -= line;
	}
	if (caps & SCEP_CAP_STANDARD)
		caps |= SCEP_CAP_AES | SCEP_CAP_POST | SCEP_CAP_SHA256;
	return caps;
}

int scep_caps_build(unsigned caps, struct buf *ret)
{
	AUTO(buf) struct buf out = BUF_EMPTY;
	size_t i;

	for (i = 0; i < N_KEYWORDS; i++)
		if (caps & keywords[i].bits)
			if (buf_add(&out, keywords[i].word, strlen(keywords[i].word)) < 0 || buf_add(&out, "\n", 1) < 0)
				return -ENOMEM;
	buf_take(ret, &out);
	return 0;
}

/* URLs of the four operations, RFC 8894 4, and the message= of a GET. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "scep/scep.h"

#define DEFAULT_PATH "/cgi-bin/pkiclient.exe"

static bool is_unreserved(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr("-._~", c));
}

/* Room for everything at once: appending byte by byte would copy the whole each time. */
static int escaped_add(struct buf *b, const uint8_t *data, size_t len)
{
	static const char hex[] = "0123456789ABCDEF";
	AUTO(mem) char *text = malloc(3 * len + 1);
	size_t i, n = 0;

	if (!text)
		return -ENOMEM;
	for (i = 0; i < len; i++) {
		if (is_unreserved(data[i])) {
			text[n++] = (char) data[i];
			continue;
		}
		text[n++] = '%';
		text[n++] = hex[data[i] >> 4];
		text[n++] = hex[data[i] & 15];
	}
	return buf_add(b, text, n);
}

static int base64_add(struct buf *b, const uint8_t *data, size_t len)
{
	AUTO(mem) unsigned char *text = malloc(4 * (len / 3 + 1) + 1);
	int n;

	if (!text)
		return -ENOMEM;
	n = EVP_EncodeBlock(text, data, (int) len);
	return escaped_add(b, text, (size_t) n);
}

/* Scheme, host, and path; the default path when there is none or only "/". */
static int base_add(struct buf *b, const char *base, struct err *reterr)
{
	const char *host = strstr(base, "://"), *path;
	size_t len = strlen(base), i;

	for (i = 0; i < len; i++)
		if ((unsigned char) base[i] <= 0x20 || (unsigned char) base[i] >= 0x7f || strchr("?#\"<>\\^`{|}", base[i]))
			return err_set(reterr, -EINVAL, "found byte %zu of the enrolment URL, wanted http://HOST[:PORT][/PATH] without query", i);
	if (!host || (strncmp(base, "http://", 7) != 0 && strncmp(base, "https://", 8) != 0) || host[3] == '\0' || host[3] == '/')
		return err_set(reterr, -EINVAL, "found no host in the enrolment URL, wanted http://HOST[:PORT][/PATH]");
	path = strchr(host + 3, '/');
	if (path && path[1] == '\0')
		len--; /* "/" alone is no path */
	if (buf_add(b, base, len) < 0)
		return err_set(reterr, -ENOMEM, "out of memory");
	if ((!path || path[1] == '\0') && buf_add(b, DEFAULT_PATH, strlen(DEFAULT_PATH)) < 0)
		return err_set(reterr, -ENOMEM, "out of memory");
	return 0;
}

int scep_url_build(const char *base, const char *operation, const void *message, size_t message_len, bool base64, struct buf *ret,
		   struct err *reterr)
{
	AUTO(buf) struct buf out = BUF_EMPTY;
	int r;

	r = base_add(&out, base, reterr);
	if (r < 0)
		return r;
	if (message_len > LIMIT_SCEP_MESSAGE_BYTES)
		return err_set(reterr, -EMSGSIZE, "found a message of %zu bytes, wanted at most %d", message_len, LIMIT_SCEP_MESSAGE_BYTES);
	if (buf_add(&out, "?operation=", 11) < 0 || escaped_add(&out, (const uint8_t *) operation, strlen(operation)) < 0)
		return err_set(reterr, -ENOMEM, "out of memory");
	if (message) {
		r = buf_add(&out, "&message=", 9);
		if (r == 0)
			r = base64 ? base64_add(&out, message, message_len) : escaped_add(&out, message, message_len);
		if (r < 0)
			return err_set(reterr, r, "out of memory");
	}
	if (out.len > LIMIT_URI_BYTES)
		return err_set(reterr, -EMSGSIZE, "found a URL of %zu bytes, wanted at most %d: the CA should offer POST (RFC 8894 4.1)", out.len,
			       LIMIT_URI_BYTES);
	buf_take(ret, &out);
	return 0;
}

static int digit_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == ' ') /* a '+' that was sent unescaped arrives as a space */
		return 62;
	return c == '/' ? 63 : -1;
}

int scep_message_decode(const char *text, size_t len, struct buf *ret, struct err *reterr)
{
	AUTO(mem) uint8_t *out = NULL;
	size_t i, n = 0, digits = 0, pads = 0;
	uint32_t bits = 0;
	int value;

	if (len / 4 * 3 > LIMIT_SCEP_MESSAGE_BYTES)
		return err_set(reterr, -EMSGSIZE, "found a message of %zu characters, wanted at most %d bytes", len, LIMIT_SCEP_MESSAGE_BYTES);
	out = malloc(len / 4 * 3 + 4);
	if (!out)
		return err_set(reterr, -ENOMEM, "out of memory");
	for (i = 0; i < len; i++) {
		if (text[i] == '\r' || text[i] == '\n' || text[i] == '\t')
			continue;
		if (text[i] == '=') {
			pads++;
			continue;
		}
		value = digit_value(text[i]);
		if (value < 0 || pads > 0)
			return err_set(reterr, -EBADMSG, "found byte %zu of message=, wanted base64 (RFC 4648 section 4)", i);
		bits = bits << 6 | (uint32_t) value;
		if (++digits % 4 == 0) {
			out[n++] = (uint8_t) (bits >> 16);
			out[n++] = (uint8_t) (bits >> 8);
			out[n++] = (uint8_t) bits;
		}
	}
	if (digits == 0 || digits % 4 == 1 || pads > 2)
		return err_set(reterr, -EBADMSG, "found %zu digits and %zu '=' in message=, wanted whole bytes of base64", digits, pads);
	if (digits % 4 >= 2)
		out[n++] = (uint8_t) (digits % 4 == 2 ? bits >> 4 : bits >> 10);
	if (digits % 4 == 3)
		out[n++] = (uint8_t) (bits >> 2);
	if (buf_set(ret, out, n) < 0)
		return err_set(reterr, -ENOMEM, "out of memory");
	return 0;
}

/* Names of keys: see keyuri.h. */
#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "keystore/keyuri.h"

#define MARK "Keyroll URI"
#define PEM_LINE(what) "-----" what " " KEYURI_PEM_NAME "-----\n"

enum { TAG_SEQUENCE = 0x30, TAG_UTF8 = 0x0c, LINE_BYTES = 64 };

struct text { /* what is not read yet */
	const char *at;
	size_t len;
};

static bool text_skip(struct text *t, const char *word)
{
	size_t n = strlen(word);

	if (t->len < n || memcmp(t->at, word, n) != 0)
		return false;
	t->at += n;
	t->len -= n;
	return true;
}

/* Cuts off what comes before one of the marks; the mark stays. */
static struct text text_until(struct text *t, const char *marks)
{
	struct text piece = *t;

	for (piece.len = 0; piece.len < t->len && !strchr(marks, t->at[piece.len]); piece.len++)
		;
	t->at += piece.len;
	t->len -= piece.len;
	return piece;
}

/* Copies into out, whose room is max + 1. */
static int text_copy(struct text piece, const char *allowed, size_t max, char *out, const char *what, struct err *reterr)
{
	if (piece.len == 0 || piece.len > max)
		return err_set(reterr, -EINVAL, "URI: %s of %zu characters, 1 to %zu are wanted", what, piece.len, max);
	for (size_t i = 0; i < piece.len; i++)
		if (allowed ? !strchr(allowed, piece.at[i]) : piece.at[i] <= ' ' || piece.at[i] > '~')
			return err_set(reterr, -EINVAL, "URI: character 0x%02x in its %s, %s are wanted", (unsigned char) piece.at[i], what,
				       allowed ? allowed : "printable ones");
	memcpy(out, piece.at, piece.len);
	out[piece.len] = '\0';
	return 0;
}

static int label_take(struct text *t, struct keyuri *u, struct err *reterr)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	int r = text_copy(text_until(t, "/?"), allowed, LIMIT_LABEL_BYTES, u->label, "key label", reterr);

	if (r == 0 && (u->label[0] == '.' || u->label[0] == '-'))
		r = err_set(reterr, -EINVAL, "URI: key label '%s' starts with '%c', a letter, digit or '_' is wanted", u->label, u->label[0]);
	return r;
}

static int slot_take(struct text *t, struct keyuri *u, struct err *reterr)
{
	struct text slot;

	u->slot = KS_SLOT_ACTIVE;
	if (!text_skip(t, "/"))
		return 0;
	slot = text_until(t, "?");
	for (int i = 0; i < KS_SLOT_N_; i++) {
		const char *name = ks_slot_name((enum ks_slot) i);

		if (slot.len == strlen(name) && memcmp(slot.at, name, slot.len) == 0) {
			u->slot = (enum ks_slot) i;
			return 0;
		}
	}
	return err_set(reterr, -EINVAL, "URI: active, shadow or previous is wanted after the key label, not '%.*s'", (int) slot.len, slot.at);
}

static int option_take(struct text *t, struct keyuri *u, struct err *reterr)
{
	struct text option = text_until(t, "&");
	bool spki = text_skip(&option, "spki=");

	if (!spki && !text_skip(&option, "socket=")) {
		option = text_until(&option, "="); /* what follows may be a secret */
		return err_set(reterr, -EINVAL, "URI: spki= or socket= is wanted, not '%.*s'", (int) option.len, option.at);
	}
	if ((spki ? u->spki : u->socket)[0] != '\0')
		return err_set(reterr, -EINVAL, "URI: %s= is there twice", spki ? "spki" : "socket");
	if (spki && option.len != CUSTODY_SPKI_BYTES)
		return err_set(reterr, -EINVAL, "URI: spki= of %zu characters, 64 lower-case hex digits are wanted", option.len);
	if (spki)
		return text_copy(option, "0123456789abcdef", CUSTODY_SPKI_BYTES, u->spki, "spki=", reterr);
	return text_copy(option, NULL, KEYURI_SOCKET_BYTES, u->socket, "socket=", reterr);
}

int keyuri_parse(const char *text, size_t len, struct keyuri *ret, struct err *reterr)
{
	struct text t = { text, len };
	const char *mark = "?";
	int r;

	memset(ret, 0, sizeof(*ret));
	if (len > KEYURI_BYTES)
		return err_set(reterr, -EINVAL, "URI of %zu bytes, at most %d", len, KEYURI_BYTES);
	if (!text_skip(&t, "keyroll:"))
		return err_set(reterr, -EINVAL, "URI: keyroll://LABEL is wanted, not '%.*s'", (int) text_until(&t, ":").len, text);
	if (!text_skip(&t, "//"))
		(void) text_skip(&t, "object="); /* either way a label follows */
	r = label_take(&t, ret, reterr);
	if (r == 0)
		r = slot_take(&t, ret, reterr);
	for (; r == 0 && t.len > 0; mark = "&") {
		(void) text_skip(&t, mark); /* it is there: the piece before ended at it */
		r = option_take(&t, ret, reterr);
	}
	return r;
}

/* ---- in a file */

/* One tag and definite length (of one or two bytes more, as DER writes what is short). */
static bool der_open(const uint8_t **p, const uint8_t *end, uint8_t tag, size_t *ret_len)
{
	size_t n, more = 0;

	if (end - *p < 2 || (*p)[0] != tag)
		return false;
	n = (*p)[1];
	*p += 2;
	if (n == 0x81 || n == 0x82) {
		more = n & 0x7f;
		if ((size_t) (end - *p) < more)
			return false;
		n = more == 1 ? (*p)[0] : (size_t) ((*p)[0] << 8 | (*p)[1]);
		*p += more;
	}
	if (n > (size_t) (end - *p) || (more == 0 ? n >= 0x80 : more == 1 ? n < 0x80 : n < 0x100))
		return false;
	*ret_len = n;
	return true;
}

int keyuri_der_parse(const uint8_t *der, size_t len, const char **ret_text, size_t *ret_len)
{
	const uint8_t *p = der, *end = der + len;
	size_t n;

	if (len > KEYURI_DER_BYTES || !der_open(&p, end, TAG_SEQUENCE, &n) || p + n != end)
		return -EBADMSG;
	if (!der_open(&p, end, TAG_UTF8, &n) || n != strlen(MARK) || memcmp(p, MARK, n) != 0)
		return -EBADMSG;
	p += n;
	if (!der_open(&p, end, TAG_UTF8, &n) || p + n != end)
		return -EBADMSG;
	*ret_text = (const char *) p;
	*ret_len = n;
	return 0;
}

static uint8_t *der_head(uint8_t *p, uint8_t tag, size_t len)
{
	*p++ = tag;
	if (len >= 0x80)
		*p++ = len < 0x100 ? 0x81 : 0x82;
	if (len >= 0x100)
		*p++ = (uint8_t) (len >> 8);
	*p++ = (uint8_t) len;
	return p;
}

static size_t der_whole(size_t len)
{
	return len + (len < 0x80 ? 2 : len < 0x100 ? 3 : 4);
}

static size_t der_build(const char *text, uint8_t der[KEYURI_DER_BYTES])
{
	size_t mark = strlen(MARK), len = strlen(text);
	uint8_t *p = der_head(der, TAG_SEQUENCE, der_whole(mark) + der_whole(len));

	p = der_head(p, TAG_UTF8, mark);
	memcpy(p, MARK, mark);
	p = der_head(p + mark, TAG_UTF8, len);
	memcpy(p, text, len);
	return (size_t) (p + len - der);
}

int keyuri_pem_build(const char *text, struct buf *append)
{
	uint8_t der[KEYURI_DER_BYTES], base64[2 * KEYURI_DER_BYTES];
	size_t len = strlen(text);
	int r, n;

	if (len > KEYURI_BYTES)
		return -EINVAL;
	n = EVP_EncodeBlock(base64, der, (int) der_build(text, der));
	r = buf_add(append, PEM_LINE("BEGIN"), strlen(PEM_LINE("BEGIN")));
	for (int i = 0; r == 0 && i < n; i += LINE_BYTES) {
		r = buf_add(append, base64 + i, (size_t) (n - i < LINE_BYTES ? n - i : LINE_BYTES));
		if (r == 0)
			r = buf_add(append, "\n", 1);
	}
	return r < 0 ? r : buf_add(append, PEM_LINE("END"), strlen(PEM_LINE("END")));
}

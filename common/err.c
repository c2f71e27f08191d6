/* Errors in words: see err.h. */
#include "common/err.h"

#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void text_clean(char *text)
{
	for (; *text; text++)
		if (*text < 0x20 || *text > 0x7e)
			*text = '?';
}

static void text_cut(char *text, int wanted)
{
	if (wanted >= ERR_TEXT_BYTES)
		(void) strcpy(text + ERR_TEXT_BYTES - 4, "..."); /* fits: three dots and the NUL */
}

static int text_fill(struct err *e, int code, const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));
static int text_fill(struct err *e, int code, const char *fmt, va_list ap)
{
	char text[ERR_TEXT_BYTES]; /* apart, since the arguments may point into e->text */
	int n;

	n = vsnprintf(text, sizeof(text), fmt, ap);
	if (n < 0)
		text[0] = '\0';
	text_cut(text, n);
	text_clean(text);
	memcpy(e->text, text, sizeof(text));
	e->code = code;
	return code;
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return code;
	va_start(ap, fmt);
	(void) text_fill(e, code, fmt, ap); /* returns code */
	va_end(ap);
	e->ssl = 0;
	return code;
}

static void text_append(struct err *e, const char *more)
{
	size_t used = strlen(e->text);
	int n;

	n = snprintf(e->text + used, sizeof(e->text) - used, "%s", more);
	text_cut(e->text, n < 0 ? 0 : (int) used + n);
	text_clean(e->text);
}

int err_from_openssl(struct err *e, int code, const char *fmt, ...)
{
	const char *data = NULL, *why;
	char number[48], details[ERR_TEXT_BYTES] = "";
	int flags = 0;
	unsigned long first = ERR_get_error_all(NULL, NULL, NULL, &data, &flags);
	va_list ap;

	why = first ? ERR_reason_error_string(first) : NULL;
	if (first && data && (flags & ERR_TXT_STRING) && data[0])
		(void) snprintf(details, sizeof(details), ": %s", data); /* cut is fine; it goes with the queue */

	ERR_clear_error();
	if (!e)
		return code;
	va_start(ap, fmt);
	(void) text_fill(e, code, fmt, ap); /* returns code */
	va_end(ap);
	e->ssl = first;
	if (first) {
		/* without the library's number: a provider's is another at each load, and the same failure would look new */
		(void) snprintf(number, sizeof(number), "OpenSSL error, reason %d", ERR_GET_REASON(first)); /* fits */
		text_append(e, ": ");
		text_append(e, why ? why : number);
		text_append(e, details);
	}
	return code;
}

int err_prefix(struct err *e, int code, const char *fmt, ...)
{
	char old[ERR_TEXT_BYTES];
	va_list ap;

	if (!e)
		return code;
	(void) snprintf(old, sizeof(old), "%s", err_text(e, code)); /* same size */
	if (e->code != 0)
		code = e->code;
	va_start(ap, fmt);
	(void) text_fill(e, code, fmt, ap); /* returns code */
	va_end(ap);
	text_append(e, ": ");
	text_append(e, old);
	return code;
}

const char *err_text(const struct err *e, int code)
{
	if (e && e->text[0])
		return e->text;
	return strerror(code < 0 ? -code : code);
}

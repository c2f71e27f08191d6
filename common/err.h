/* What went wrong, in words: filled where the fact is known, logged once by the shell. Libraries never log. */
#ifndef KEYROLL_COMMON_ERR_H
#define KEYROLL_COMMON_ERR_H

#define ERR_TEXT_BYTES 256

struct err {
	int code;		   /* negative errno, 0 while nothing failed */
	char text[ERR_TEXT_BYTES]; /* what was found, what was wanted, which section; printable ASCII */
	unsigned long ssl;	   /* first OpenSSL error, 0 if none */
};

/* Fills *e (which may be NULL) and returns code, so that `return err_set(reterr, -EPROTO, "...")` is the whole
 * failure path. Bytes that do not print, which may come from a peer, appear as '?'. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same, and empties OpenSSL's error queue: the only place that does. The first reason is appended, with its details. */
int err_from_openssl(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "context: " before the text; returns e->code (or code if e is NULL). */
int err_prefix(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The text, or strerror of code if there is none. Never NULL. Borrowed from e or static. */
const char *err_text(const struct err *e, int code);

#endif

/* The journal, or lines on stderr: see log.h. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <systemd/sd-journal.h>

#include "common/clk.h"

#define MESSAGE_BYTES 1024
#define FIELD_BYTES 384
#define FIELDS_MAX 15

static struct {
	const char *program;
	int max_level;
	bool journal;
} log_to = { .program = "keyroll", .max_level = LOG_INFO, .journal = false };

static const struct {
	const char *name, *id;
	int level;
} events[] = {
#define LOG_EVENT(name, id, level) { #name, id, level },
#include "common/log_events.def"
#undef LOG_EVENT
};
_Static_assert(sizeof(events) / sizeof(events[0]) == LOG_EV_N_, "one row for each event");

struct entry {
	char text[FIELDS_MAX][FIELD_BYTES];
	struct iovec iov[FIELDS_MAX + 1]; /* and MESSAGE */
	int n;
};

/* systemd sets JOURNAL_STREAM=DEVICE:INODE of the stream that it gave; a program started by us inherits the
 * variable even when its stderr goes elsewhere. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (!stream || sscanf(stream, "%llu:%llu", &dev, &ino) != 2 || fstat(STDERR_FILENO, &st) < 0)
		return false;
	return st.st_dev == dev && st.st_ino == ino;
}

void log_open(const char *program, int max_level)
{
	log_to.program = program;
	log_to.max_level = max_level;
	log_to.journal = stderr_is_journal();
}

/* Anything may come from a peer: what does not print becomes \xNN, so that no line or terminal sequence is forged. */
static void text_escape(char *out, size_t size, const char *in)
{
	size_t used = 0;

	for (; *in && used + 5 < size; in++) {
		unsigned char c = (unsigned char) *in;

		if (c < 0x20 || c > 0x7e)
			used += (size_t) snprintf(out + used, size - used, "\\x%02x", c);
		else
			out[used++] = (char) c;
	}
	out[used] = '\0';
}

static void entry_add(struct entry *e, const char *name, const char *value)
{
	char *text = e->text[e->n];
	size_t prefix;

	if (!value || !value[0])
		return;
	prefix = (size_t) snprintf(text, FIELD_BYTES, "%s=", name); /* names are ours and short */
	text_escape(text + prefix, FIELD_BYTES - prefix, value);
	e->iov[e->n] = (struct iovec){ .iov_base = text, .iov_len = strlen(text) };
	e->n++;
}

static void entry_add_fields(struct entry *e, const struct log_fields *f)
{
	char due[CLK_RFC3339_BYTES] = "";

	if (!f)
		return;
	if (f->due_sec != 0)
		(void) clk_rfc3339(f->due_sec, due); /* returns its argument */
	entry_add(e, "PKI_TRUSTPOINT", f->trustpoint);
	entry_add(e, "PKI_CA", f->ca);
	entry_add(e, "PKI_SERIAL", f->serial);
	entry_add(e, "PKI_TIMER", f->timer);
	entry_add(e, "PKI_TRANSACTION", f->transaction);
	entry_add(e, "PKI_DUE", due);
	entry_add(e, "PKI_PROTECTION", f->protection);
	entry_add(e, "PKI_AT_REST", f->at_rest);
	entry_add(e, "PKI_KERNEL", f->kernel);
	entry_add(e, "PKI_BETTER", f->better);
}

static void write_journal(int level, int ev, const struct log_fields *f, const char *message)
{
	struct entry e = { .n = 0 };
	char text[MESSAGE_BYTES + 8], digit[2] = { (char) ('0' + level), '\0' };

	entry_add(&e, "PRIORITY", digit);
	entry_add(&e, "SYSLOG_IDENTIFIER", log_to.program);
	if (ev >= 0) {
		entry_add(&e, "MESSAGE_ID", events[ev].id);
		entry_add(&e, "PKI_EVENT", events[ev].name);
	}
	entry_add_fields(&e, f);
	(void) snprintf(text, sizeof(text), "MESSAGE=%s", message); /* sized for it */
	e.iov[e.n] = (struct iovec){ .iov_base = text, .iov_len = strlen(text) };
	(void) sd_journal_sendv(e.iov, e.n + 1); /* nowhere to complain about a log that is full */
}

/* " (trustpoint=X serial=Y)" for people who have no journal. */
static void fields_text(const struct log_fields *f, char *out, size_t size)
{
	struct entry e = { .n = 0 };
	size_t used = 0;
	int i;

	out[0] = '\0';
	entry_add_fields(&e, f);
	for (i = 0; i < e.n && used < size; i++) {
		char *name = e.text[i] + strlen("PKI_"), *c;

		for (c = name; *c && *c != '='; c++)
			if (*c >= 'A' && *c <= 'Z')
				*c = (char) (*c | 0x20); /* to lower case */
		used += (size_t) snprintf(out + used, size - used, "%s%s", i == 0 ? " (" : " ", name);
	}
	if (e.n > 0 && used < size)
		(void) snprintf(out + used, size - used, ")"); /* cut is fine */
}

static void write_line(int level, int ev, const struct log_fields *f, const char *message)
{
	static const char *const words[] = { "emergency", "alert", "critical", "error", "warning", "notice", "info", "debug" };
	char line[MESSAGE_BYTES + 1024], more[768];
	int n;

	fields_text(f, more, sizeof(more));
	n = snprintf(line, sizeof(line), "%s %s: %s%s%s%s\n", words[level & LOG_PRIMASK], log_to.program, ev >= 0 ? events[ev].name : "",
		     ev >= 0 ? ": " : "", message, more);
	if (n < 0)
		return;
	if ((size_t) n >= sizeof(line)) {
		n = (int) sizeof(line) - 1;
		line[n - 1] = '\n';
	}
	if (write(STDERR_FILENO, line, (size_t) n) < 0) /* one call, so that threads do not mix their lines */
		return;					 /* stderr is closed: nobody listens */
}

static void log_write(int level, int ev, const struct log_fields *f, const char *raw)
{
	char message[MESSAGE_BYTES];

	text_escape(message, sizeof(message), raw);
	if (log_to.journal)
		write_journal(level, ev, f, message);
	else
		write_line(level, ev, f, message);
}

void log_event(enum log_event ev, const struct log_fields *fields, const char *fmt, ...)
{
	char raw[MESSAGE_BYTES];
	va_list ap;

	if (events[ev].level > log_to.max_level)
		return;
	va_start(ap, fmt);
	(void) vsnprintf(raw, sizeof(raw), fmt, ap); /* cut is fine */
	va_end(ap);
	log_write(events[ev].level, (int) ev, fields, raw);
}

void log_line(int level, const char *fmt, ...)
{
	char raw[MESSAGE_BYTES];
	va_list ap;

	if (level > log_to.max_level)
		return;
	va_start(ap, fmt);
	(void) vsnprintf(raw, sizeof(raw), fmt, ap); /* cut is fine */
	va_end(ap);
	log_write(level, -1, NULL, raw);
}

int log_err(int code, const struct err *e, const char *fmt, ...)
{
	char raw[MESSAGE_BYTES];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t) n < sizeof(raw))
		(void) snprintf(raw + n, sizeof(raw) - (size_t) n, ": %s", err_text(e, code)); /* cut is fine */
	log_write(LOG_ERR, -1, NULL, raw);
	return code;
}

/* The shells' log: one journal entry for an event, with fields; plain text on stderr where there is no journal. */
#ifndef KEYROLL_COMMON_LOG_H
#define KEYROLL_COMMON_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <syslog.h>

#include "common/err.h"

/* program: "keyrolld"; max_level: LOG_INFO, LOG_DEBUG ... To the journal when stderr is the journal
 * (JOURNAL_STREAM), else "LEVEL program: MNEMONIC: text (trustpoint=..)" lines on stderr. */
void log_open(const char *program, int max_level);

/* Events with an entry in the message catalogue: mnemonic as on IOS, and a MESSAGE_ID of its own.
 * The table stands in log_events.def: LOG_EVENT(NAME, "128-bit hex id", LOG_level). */
enum log_event {
#define LOG_EVENT(name, id, level) LOG_EV_##name,
#include "common/log_events.def"
#undef LOG_EVENT
	LOG_EV_N_
};

struct log_fields {
	const char *trustpoint; /* PKI_TRUSTPOINT= */
	const char *ca;		/* PKI_CA= */
	const char *serial;	/* PKI_SERIAL= */
	const char *timer;	/* PKI_TIMER= */
	const char *transaction; /* PKI_TRANSACTION= */
	const char *protection; /* PKI_PROTECTION= */
	const char *at_rest;	/* PKI_AT_REST= */
	const char *kernel;	/* PKI_KERNEL= */
	const char *better;	/* PKI_BETTER= */
	int64_t due_sec;	/* PKI_DUE=, 0: none */
};

/* fields may be NULL. */
void log_event(enum log_event ev, const struct log_fields *fields, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* A line without a catalogue entry. */
void log_line(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "fmt...: err_text". Returns code, so that log and return are one breath. */
int log_err(int code, const struct err *e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif

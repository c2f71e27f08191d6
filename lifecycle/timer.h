/* The timer calculus: when RENEW, SHADOW, POLL, CONNECT RETRY, ACTIVATE and ALERT are due. Numbers in, numbers out; all in milliseconds but
 * where a name says _sec. */
#ifndef KEYROLL_LIFECYCLE_TIMER_H
#define KEYROLL_LIFECYCLE_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "lifecycle/tp.h"

#define TIMER_SECOND_MS ((int64_t)1000)
#define TIMER_MINUTE_MS (60 * TIMER_SECOND_MS)
#define TIMER_HOUR_MS (60 * TIMER_MINUTE_MS)
#define TIMER_DAY_MS (24 * TIMER_HOUR_MS)
#define TIMER_CA_PERCENT 90 /* SHADOW of a trustpoint without auto-enroll: at this part of the CA's life */
#define TIMER_NO_DEADLINE INT64_MAX

/* A point on the axis of certificate time, and how much of it is jitter (negative: earlier). */
struct timer_at {
	int64_t ms;
	int64_t jitter_ms;
};

uint64_t timer_hash(uint64_t a, uint64_t b);

/* RENEW: notBefore + percent of the life, earlier by the jitter; never so late that the certificate has ended when it signs. */
struct timer_at timer_renew_at(const struct tp_policy *policy, uint64_t seed, const struct tp_cert *id);
/* SHADOW (a): the same point, later by the jitter. rollover_known: run at once when too little would be left. */
struct timer_at timer_shadow_at(const struct tp_policy *policy, uint64_t seed, const struct tp_cert *id, const struct tp_cert *ca, bool rollover_known);
/* SHADOW (b): 0.9 of the CA's life, later by the jitter. */
struct timer_at timer_shadow_ca_at(const struct tp_policy *policy, uint64_t seed, const struct tp_cert *ca);
bool timer_shadow_at_once(const struct tp_policy *policy, const struct tp_cert *id, const struct tp_cert *ca);
/* ACTIVATE: the active CA's notAfter, or 1 s before it when the next CA is already valid then. */
int64_t timer_activate_at(const struct tp_cert *ca, const struct tp_cert *next);

/* The largest interval: max(RetryPeriod, min(1 h, (deadline - now) / 16)). */
int64_t timer_cap_ms(int64_t period_ms, int64_t left_ms);
/* min(RetryPeriod * 2^n, cap). */
int64_t timer_interval_ms(int64_t period_ms, uint32_t n, int64_t left_ms);
/* POLL: the interval and 0 to +20 % from n = 1 on. draw: any random number. */
int64_t timer_poll_ms(const struct tp_policy *policy, uint32_t n, int64_t left_ms, uint64_t draw);
/* CONNECT RETRY: uniform in [x/2, x], never below RetryPeriod. */
int64_t timer_connect_ms(const struct tp_policy *policy, uint32_t n, int64_t left_ms, uint64_t draw);
/* Retry-After as far as it is believed: a peer may not talk a certificate into its end. */
int64_t timer_retry_after_ms(int64_t asked_ms, int64_t left_ms);

/* The next alert after now for a certificate that ends at end_ms, first at first_ms: weekly, daily in the last week, at the end, then daily. */
int64_t timer_alert_after(int64_t first_ms, int64_t end_ms, int64_t now_ms);
/* When alerts begin: 60 days before the end, but not before the operation that should have replaced the certificate had a fair chance. */
int64_t timer_alert_first(const struct tp_policy *policy, const struct tp_cert *id);

/* "365 d", "11 min", "1 h 12 min"; at most two units. Returns buf. */
char *timer_span_text(int64_t ms, char *buf, int size);

#endif

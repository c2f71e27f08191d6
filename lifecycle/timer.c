#include "lifecycle/timer.h"

#include <inttypes.h>
#include <stdio.h>

static int64_t min64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t max64(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* splitmix64's finaliser: spreads well, and is the same on every machine. */
uint64_t timer_hash(uint64_t a, uint64_t b)
{
	uint64_t x = a + 0x9e3779b97f4a7c15u * (b + 1);

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* Uniform in [0, span]. */
static int64_t draw_below(uint64_t draw, int64_t span)
{
	return span > 0 ? (int64_t)(draw % ((uint64_t)span + 1)) : 0;
}

static int64_t life_ms(const struct tp_cert *cert)
{
	return (cert->na_sec - cert->nb_sec) * TIMER_SECOND_MS;
}

/* 0 to min(1 h, 5 % of what is left after the point), a function of machine and serial: the same on every restart and in every plan. */
static int64_t jitter_ms(const struct tp_policy *policy, uint64_t seed, const struct tp_cert *cert, int percent)
{
	int64_t left = life_ms(cert) / 100 * (100 - percent);

	if (!policy->jitter)
		return 0;
	return draw_below(timer_hash(seed, cert->serial_low ^ (uint64_t)cert->nb_sec), min64(TIMER_HOUR_MS, left / 20));
}

static int64_t percent_at(const struct tp_cert *cert, int percent)
{
	return cert->nb_sec * TIMER_SECOND_MS + life_ms(cert) * percent / 100;
}

struct timer_at timer_renew_at(const struct tp_policy *policy, uint64_t seed, const struct tp_cert *id)
{
	int64_t jitter = jitter_ms(policy, seed, id, policy->percent);
	int64_t last = id->na_sec * TIMER_SECOND_MS - min64(TIMER_MINUTE_MS, life_ms(id) / 100);

	return (struct timer_at){.ms = min64(percent_at(id, policy->percent) - jitter, last), .jitter_ms = -jitter};
}

bool timer_shadow_at_once(const struct tp_policy *policy, const struct tp_cert *id, const struct tp_cert *ca)
{
	int64_t left = life_ms(id) * (100 - policy->percent) / 100;

	return left < TIMER_DAY_MS && left < life_ms(ca) / 10;
}

struct timer_at timer_shadow_at(const struct tp_policy *policy, uint64_t seed, const struct tp_cert *id, const struct tp_cert *ca, bool rollover_known)
{
	int64_t jitter = jitter_ms(policy, seed, id, policy->percent);
	int64_t last = id->na_sec * TIMER_SECOND_MS - min64(TIMER_MINUTE_MS, life_ms(id) / 100);
	int64_t at = percent_at(id, policy->percent);

	if (rollover_known && timer_shadow_at_once(policy, id, ca))
		at = id->nb_sec * TIMER_SECOND_MS;
	return (struct timer_at){.ms = min64(at + jitter, last), .jitter_ms = jitter};
}

struct timer_at timer_shadow_ca_at(const struct tp_policy *policy, uint64_t seed, const struct tp_cert *ca)
{
	int64_t jitter = jitter_ms(policy, seed, ca, TIMER_CA_PERCENT);

	return (struct timer_at){.ms = percent_at(ca, TIMER_CA_PERCENT) + jitter, .jitter_ms = jitter};
}

int64_t timer_activate_at(const struct tp_cert *ca, const struct tp_cert *next)
{
	int64_t at = ca->na_sec * TIMER_SECOND_MS;

	return next->nb_sec < ca->na_sec ? at - TIMER_SECOND_MS : at;
}

int64_t timer_cap_ms(int64_t period_ms, int64_t left_ms)
{
	return max64(period_ms, min64(TIMER_HOUR_MS, left_ms / 16));
}

int64_t timer_interval_ms(int64_t period_ms, uint32_t n, int64_t left_ms)
{
	int64_t cap = timer_cap_ms(period_ms, left_ms);

	while (n-- > 0 && period_ms < cap)
		period_ms *= 2;
	return min64(period_ms, cap);
}

int64_t timer_poll_ms(const struct tp_policy *policy, uint32_t n, int64_t left_ms, uint64_t draw)
{
	int64_t x = timer_interval_ms(policy->retry_period_ms, n, left_ms);

	return policy->jitter && n > 0 ? x + draw_below(draw, x / 5) : x;
}

int64_t timer_connect_ms(const struct tp_policy *policy, uint32_t n, int64_t left_ms, uint64_t draw)
{
	int64_t x = timer_interval_ms(policy->retry_period_ms, n, left_ms);

	return policy->jitter ? max64(policy->retry_period_ms, x / 2 + draw_below(draw, x - x / 2)) : x;
}

int64_t timer_retry_after_ms(int64_t asked_ms, int64_t left_ms)
{
	return max64(0, min64(asked_ms, min64(TIMER_DAY_MS, left_ms / 16)));
}

int64_t timer_alert_after(int64_t first_ms, int64_t end_ms, int64_t now_ms)
{
	int64_t last_week = end_ms - 7 * TIMER_DAY_MS;
	int64_t at;

	if (now_ms < first_ms)
		return first_ms;
	if (now_ms < last_week) {
		at = first_ms + ((now_ms - first_ms) / (7 * TIMER_DAY_MS) + 1) * 7 * TIMER_DAY_MS;
		return min64(at, last_week);
	}
	/* counted back from the end, so that the end itself is among them */
	if (now_ms < end_ms)
		return end_ms - (end_ms - now_ms - 1) / TIMER_DAY_MS * TIMER_DAY_MS;
	return now_ms + TIMER_DAY_MS;
}

int64_t timer_alert_first(const struct tp_policy *policy, const struct tp_cert *id)
{
	int64_t end = id->na_sec * TIMER_SECOND_MS;
	int64_t due = percent_at(id, policy->auto_enroll ? policy->percent : 50);

	return max64(end - 60 * TIMER_DAY_MS, due + (end - due) / 4);
}

static const struct {
	int64_t ms;
	const char *unit;
} span_units[] = {
	{TIMER_DAY_MS, "d"}, {TIMER_HOUR_MS, "h"}, {TIMER_MINUTE_MS, "min"}, {TIMER_SECOND_MS, "s"}, {1, "ms"},
};

char *timer_span_text(int64_t ms, char *buf, int size)
{
	const char *sign = ms < 0 ? "-" : "";
	unsigned i = 0;

	if (ms < 0)
		ms = -ms;
	while (i < 4 && ms < span_units[i].ms)
		i++;
	if (i < 4 && ms % span_units[i].ms >= span_units[i + 1].ms)
		(void)snprintf(buf, (size_t)size, "%s%" PRId64 " %s %" PRId64 " %s", sign, ms / span_units[i].ms, span_units[i].unit,
			       ms % span_units[i].ms / span_units[i + 1].ms, span_units[i + 1].unit); /* cut short is fine */
	else
		(void)snprintf(buf, (size_t)size, "%s%" PRId64 " %s", sign, ms / span_units[i].ms, span_units[i].unit);
	return buf;
}

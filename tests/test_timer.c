/* The timer calculus by tables. */
#include <string.h>

#include "lifecycle/timer.h"
#include "tests/test_main.h"

#define DAY_SEC 86400
#define N(a) (sizeof(a) / sizeof((a)[0]))

static struct tp_policy policy_of(int percent, bool jitter)
{
	return (struct tp_policy){.auto_enroll = true, .percent = percent, .jitter = jitter, .retry_period_ms = TIMER_MINUTE_MS, .retry_count = 999};
}

static const struct {
	const char *why;
	int64_t nb, na;
	int percent;
	int64_t want_ms;
} renewals[] = {
	{"80 % of a year is day 292", 0, 365 * DAY_SEC, 80, 292 * TIMER_DAY_MS},
	{"a device's capture: 2022-01-16T03:01:26 for 365 d", 1642302086, 1642302086 + 365 * DAY_SEC, 80, 1667530886000},
	{"90 % of a year", 0, 365 * DAY_SEC, 90, 28382400000},
	{"percent of odd seconds keeps its milliseconds", 0, 7, 33, 2310},
	{"100 % still leaves a minute to sign with", 0, 365 * DAY_SEC, 100, 365 * TIMER_DAY_MS - TIMER_MINUTE_MS},
	{"100 % of a short life leaves a hundredth", 0, 600, 100, 594000},
	{"a life of a second", 10, 11, 50, 10500},
	{"after 2038", 2147483648, 2147483648 + 100, 50, 2147483698000},
};

static void renew_is_exact_without_jitter(void)
{
	for (size_t i = 0; i < N(renewals); i++) {
		struct tp_policy policy = policy_of(renewals[i].percent, false);
		struct tp_cert id = {.nb_sec = renewals[i].nb, .na_sec = renewals[i].na, .serial_low = i};
		struct timer_at at = timer_renew_at(&policy, 1, &id);

		CU_ASSERT_EQUAL(at.ms, renewals[i].want_ms);
		CU_ASSERT_EQUAL(at.jitter_ms, 0);
	}
}

static void renew_jitter_is_early_and_bounded(void)
{
	struct tp_cert id = {.na_sec = 365 * DAY_SEC}, small = {.na_sec = 1000};
	struct tp_policy policy = policy_of(80, true);
	int64_t least = 0, most = -TIMER_DAY_MS;

	for (uint64_t seed = 0; seed < 2000; seed++) {
		struct timer_at at = timer_renew_at(&policy, seed, &id), again = timer_renew_at(&policy, seed, &id);

		CU_ASSERT_EQUAL(at.ms, again.ms); /* drawn once */
		CU_ASSERT_EQUAL(at.ms, 292 * TIMER_DAY_MS + at.jitter_ms);
		least = at.jitter_ms < least ? at.jitter_ms : least;
		most = at.jitter_ms > most ? at.jitter_ms : most;
		at = timer_renew_at(&policy, seed, &small); /* 5 % of 200 s */
		CU_ASSERT_TRUE(at.jitter_ms <= 0 && at.jitter_ms >= -10000);
	}
	CU_ASSERT_TRUE(least >= -TIMER_HOUR_MS && least < -55 * TIMER_MINUTE_MS);
	CU_ASSERT_TRUE(most <= 0 && most > -5 * TIMER_MINUTE_MS);
}

static void jitter_depends_on_machine_and_serial(void)
{
	struct tp_cert one = {.na_sec = 365 * DAY_SEC, .serial_low = 1}, two = {.na_sec = 365 * DAY_SEC, .serial_low = 2};
	struct tp_policy policy = policy_of(80, true);

	CU_ASSERT_NOT_EQUAL(timer_renew_at(&policy, 1, &one).ms, timer_renew_at(&policy, 2, &one).ms);
	CU_ASSERT_NOT_EQUAL(timer_renew_at(&policy, 1, &one).ms, timer_renew_at(&policy, 1, &two).ms);
}

static const struct {
	const char *why;
	int64_t id_nb, id_na, ca_na;
	int percent;
	bool known;
	int64_t want_ms;
	bool at_once;
} shadows[] = {
	{"E1: day 700.8", 584 * DAY_SEC, 730 * DAY_SEC, 730 * DAY_SEC, 80, true, 60549120000, false},
	{"a day's certificate, rollover known: at once", 729 * DAY_SEC, 730 * DAY_SEC, 730 * DAY_SEC, 80, true, 729 * TIMER_DAY_MS, true},
	{"its twin, rollover not known: at its percent", 729 * DAY_SEC, 730 * DAY_SEC, 730 * DAY_SEC, 80, false, 729 * TIMER_DAY_MS + 69120000, true},
	{"24 h left is not under 24 h", 725 * DAY_SEC, 730 * DAY_SEC, 730 * DAY_SEC, 80, true, 729 * TIMER_DAY_MS, false},
	{"E8: 4.5 min is not under a tenth of 30 min", 900, 1800, 1800, 70, true, 1530000, false},
	{"under a tenth of 30 min", 1300, 1800, 1800, 70, true, 1300000, true},
};

static void shadow_table(void)
{
	for (size_t i = 0; i < N(shadows); i++) {
		struct tp_policy policy = policy_of(shadows[i].percent, false);
		struct tp_cert id = {.nb_sec = shadows[i].id_nb, .na_sec = shadows[i].id_na}, ca = {.na_sec = shadows[i].ca_na};

		CU_ASSERT_EQUAL(timer_shadow_at(&policy, 1, &id, &ca, shadows[i].known).ms, shadows[i].want_ms);
		CU_ASSERT_EQUAL(timer_shadow_at_once(&policy, &id, &ca), shadows[i].at_once);
		policy.jitter = true;
		CU_ASSERT_TRUE(timer_shadow_at(&policy, 1, &id, &ca, shadows[i].known).jitter_ms >= 0); /* later, never earlier */
	}
}

static void shadow_of_the_ca_is_at_nine_tenths(void)
{
	/* a device's capture: CA 2022-01-15T08:48:17 for 1095 d, SHADOW listed at 2024-09-26T20:48:17 */
	struct tp_cert ca = {.nb_sec = 1642236497, .na_sec = 1642236497 + 1095LL * DAY_SEC};
	struct tp_policy policy = policy_of(0, false);

	CU_ASSERT_EQUAL(timer_shadow_ca_at(&policy, 1, &ca).ms, 1727383697000);
}

static void activate_is_exact_or_a_second_early(void)
{
	struct tp_cert ca = {.na_sec = 1000}, at_expiry = {.nb_sec = 1000, .na_sec = 2000}, from_now = {.nb_sec = 999, .na_sec = 2000};

	CU_ASSERT_EQUAL(timer_activate_at(&ca, &at_expiry), 1000000);
	CU_ASSERT_EQUAL(timer_activate_at(&ca, &from_now), 999000);
}

static const struct {
	const char *why;
	int64_t period;
	uint32_t n;
	int64_t left, want;
} intervals[] = {
	{"the first is RetryPeriod", TIMER_MINUTE_MS, 0, TIMER_NO_DEADLINE, TIMER_MINUTE_MS},
	{"doubled", TIMER_MINUTE_MS, 3, TIMER_NO_DEADLINE, 8 * TIMER_MINUTE_MS},
	{"capped at an hour", TIMER_MINUTE_MS, 6, TIMER_NO_DEADLINE, TIMER_HOUR_MS},
	{"for ever", TIMER_MINUTE_MS, UINT32_MAX, TIMER_NO_DEADLINE, TIMER_HOUR_MS},
	{"a sixteenth of what is left", TIMER_MINUTE_MS, 9, 8 * TIMER_HOUR_MS, 30 * TIMER_MINUTE_MS},
	{"never below RetryPeriod", TIMER_MINUTE_MS, 9, TIMER_MINUTE_MS, TIMER_MINUTE_MS},
	{"not even past the deadline", TIMER_MINUTE_MS, 9, -TIMER_DAY_MS, TIMER_MINUTE_MS},
	{"RetryPeriod above the hour wins", 2 * TIMER_HOUR_MS, 9, TIMER_NO_DEADLINE, 2 * TIMER_HOUR_MS},
	{"from a second", TIMER_SECOND_MS, 4, TIMER_NO_DEADLINE, 16 * TIMER_SECOND_MS},
};

static void interval_table(void)
{
	for (size_t i = 0; i < N(intervals); i++)
		CU_ASSERT_EQUAL(timer_interval_ms(intervals[i].period, intervals[i].n, intervals[i].left), intervals[i].want);
}

static void poll_jitter_is_a_fifth_from_the_second_on(void)
{
	struct tp_policy policy = policy_of(80, true);
	int64_t most = 0;

	for (uint64_t i = 0; i < 5000; i++) {
		int64_t x = timer_poll_ms(&policy, 6, TIMER_NO_DEADLINE, timer_hash(i, 0));

		CU_ASSERT_EQUAL(timer_poll_ms(&policy, 0, TIMER_NO_DEADLINE, timer_hash(i, 0)), TIMER_MINUTE_MS);
		CU_ASSERT_TRUE(x >= TIMER_HOUR_MS && x <= 72 * TIMER_MINUTE_MS);
		most = x > most ? x : most;
	}
	CU_ASSERT_TRUE(most > 71 * TIMER_MINUTE_MS);
	policy.jitter = false;
	CU_ASSERT_EQUAL(timer_poll_ms(&policy, 6, TIMER_NO_DEADLINE, 12345), TIMER_HOUR_MS);
}

static void connect_retry_is_drawn_from_the_upper_half(void)
{
	struct tp_policy policy = policy_of(80, true);
	int64_t least = TIMER_DAY_MS, most = 0;

	for (uint64_t i = 0; i < 5000; i++) {
		int64_t x = timer_connect_ms(&policy, 4, TIMER_NO_DEADLINE, timer_hash(i, 0));

		CU_ASSERT_EQUAL(timer_connect_ms(&policy, 0, TIMER_NO_DEADLINE, timer_hash(i, 0)), TIMER_MINUTE_MS);
		least = x < least ? x : least;
		most = x > most ? x : most;
	}
	CU_ASSERT_TRUE(least >= 8 * TIMER_MINUTE_MS && least < 8 * TIMER_MINUTE_MS + 10000);
	CU_ASSERT_TRUE(most <= 16 * TIMER_MINUTE_MS && most > 16 * TIMER_MINUTE_MS - 10000);
	policy.jitter = false;
	CU_ASSERT_EQUAL(timer_connect_ms(&policy, 4, TIMER_NO_DEADLINE, 12345), 16 * TIMER_MINUTE_MS);
}

static void retry_after_is_believed_within_reason(void)
{
	CU_ASSERT_EQUAL(timer_retry_after_ms(120000, TIMER_NO_DEADLINE), 120000);
	CU_ASSERT_EQUAL(timer_retry_after_ms(365 * TIMER_DAY_MS, TIMER_NO_DEADLINE), TIMER_DAY_MS);
	CU_ASSERT_EQUAL(timer_retry_after_ms(365 * TIMER_DAY_MS, 16 * TIMER_HOUR_MS), TIMER_HOUR_MS);
	CU_ASSERT_EQUAL(timer_retry_after_ms(120000, -5), 0);
	CU_ASSERT_EQUAL(timer_retry_after_ms(-120000, TIMER_DAY_MS), 0);
}

/* Ends on day 100, first alert on day 40. */
static const struct {
	const char *why;
	double now, want;
} alerts[] = {
	{"not begun", 3, 40}, {"weekly from the first", 40, 47}, {"weekly", 50, 54}, {"the last week begins", 92, 93}, {"daily", 93, 94},
	{"between two days", 95.5, 96}, {"the end itself", 99.5, 100}, {"daily after it", 100, 101}, {"daily after it, from any moment", 130.25, 131.25},
};

static void alert_table(void)
{
	for (size_t i = 0; i < N(alerts); i++)
		CU_ASSERT_EQUAL(timer_alert_after(40 * TIMER_DAY_MS, 100 * TIMER_DAY_MS, (int64_t)(alerts[i].now * (double)TIMER_DAY_MS)),
				(int64_t)(alerts[i].want * (double)TIMER_DAY_MS));
}

static void alerts_wait_for_the_renewal_to_have_failed(void)
{
	struct tp_cert year = {.na_sec = 365 * DAY_SEC}, quarter = {.na_sec = 90 * DAY_SEC};
	struct tp_policy policy = policy_of(80, false), none = {0};

	CU_ASSERT_EQUAL(timer_alert_first(&policy, &year), (int64_t)(310.25 * TIMER_DAY_MS)); /* RENEW at 292, alerts from 310.25 */
	CU_ASSERT_EQUAL(timer_alert_first(&none, &year), 305 * TIMER_DAY_MS);		     /* 60 days before, as on IOS */
	CU_ASSERT_EQUAL(timer_alert_first(&policy, &quarter), (int64_t)(76.5 * TIMER_DAY_MS));
}

static const struct {
	int64_t ms;
	const char *want;
} spans[] = {
	{365 * TIMER_DAY_MS, "365 d"}, {72 * TIMER_MINUTE_MS, "1 h 12 min"}, {-11 * TIMER_MINUTE_MS, "-11 min"}, {0, "0 ms"}, {1500, "1 s 500 ms"},
	{TIMER_DAY_MS + TIMER_MINUTE_MS, "1 d"}, {TIMER_DAY_MS + 4 * TIMER_HOUR_MS, "1 d 4 h"}, {999, "999 ms"},
};

static void span_table(void)
{
	char buf[40], tiny[4];

	for (size_t i = 0; i < N(spans); i++)
		CU_ASSERT_STRING_EQUAL(timer_span_text(spans[i].ms, buf, sizeof(buf)), spans[i].want);
	CU_ASSERT_STRING_EQUAL(timer_span_text(365 * TIMER_DAY_MS, tiny, sizeof(tiny)), "365");
}

static CU_TestInfo tests[] = {
	{"RENEW without jitter is exact", renew_is_exact_without_jitter},
	{"RENEW's jitter is early, and bounded", renew_jitter_is_early_and_bounded},
	{"jitter is a function of machine and serial", jitter_depends_on_machine_and_serial},
	{"SHADOW, at its percent and at once", shadow_table},
	{"SHADOW without auto-enroll is at 90 % of the CA", shadow_of_the_ca_is_at_nine_tenths},
	{"ACTIVATE is at the end, or a second before", activate_is_exact_or_a_second_early},
	{"intervals double to their cap", interval_table},
	{"POLL's jitter is 0 to 20 % from the second on", poll_jitter_is_a_fifth_from_the_second_on},
	{"CONNECT RETRY is drawn from the upper half", connect_retry_is_drawn_from_the_upper_half},
	{"Retry-After is believed within reason", retry_after_is_believed_within_reason},
	{"alerts: weekly, daily in the last week, at the end", alert_table},
	{"alerts wait until the renewal has failed for a while", alerts_wait_for_the_renewal_to_have_failed},
	{"spans of time as text", span_table},
	CU_TEST_INFO_NULL,
};
CU_SuiteInfo test_suites[] = {{.pName = "timer calculus", .pTests = tests}, CU_SUITE_INFO_NULL};

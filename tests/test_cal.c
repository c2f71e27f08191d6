/* The CA's calendar step by step, and validities by tables. */
#include <stdio.h>
#include <string.h>

#include "lifecycle/cal.h"
#include "lifecycle/timer.h"
#include "tests/test_main.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))
#define DAY_SEC 86400
#define T0_SEC 1444396456 /* 9 Oct 2015 13:14:16, the start of the CA in the captures */

struct bench {
	struct cal_policy policy;
	struct cal_state cal;
	struct tp_now now;
	char words[120];
};

static struct bench bench_new(void)
{
	struct bench b = {
		.policy = {.ca_lifetime_ms = 730 * TIMER_DAY_MS, .cert_lifetime_ms = 365 * TIMER_DAY_MS, .crl_lifetime_ms = 6 * TIMER_HOUR_MS,
			   .request_lifetime_ms = 168 * TIMER_HOUR_MS, .overlap_ms = 90 * TIMER_DAY_MS},
		.now = {.wall.ms = T0_SEC * TIMER_SECOND_MS, .boot.ms = TIMER_HOUR_MS, .trusted = true},
	};

	b.cal.ca = cal_first_validity(&b.policy, &b.now);
	b.cal.ca.serial_low = 1;
	return b;
}

static const char *step(struct bench *b, struct cal_event event)
{
	struct cal_actions actions;
	int at = 0;

	cal_step(&b->policy, &b->cal, &event, &b->now, &actions);
	b->words[0] = '\0';
	for (size_t i = 0; i < actions.n; i++)
		at += snprintf(b->words + at, sizeof(b->words) - (size_t)at, "%s%s", i ? " " : "", cal_act_name(actions.list[i]));
	return b->words;
}

static const char *kind(struct bench *b, enum cal_event_kind which)
{
	return step(b, (struct cal_event){.kind = which});
}

static const char *ends(struct bench *b, bool ok)
{
	struct cal_event event = {.kind = CAL_EV_DONE, .act = b->cal.busy, .ok = ok};

	if (event.act == CAL_ACT_MAKE_NEXT && ok) {
		event.cert = cal_next_validity(&b->policy, &b->cal, &b->now);
		event.cert.serial_low = b->cal.ca.serial_low + 1;
	}
	return step(b, event);
}

static void pass_to_day(struct bench *b, double day)
{
	int64_t by = T0_SEC * TIMER_SECOND_MS + (int64_t)(day * (double)TIMER_DAY_MS + 0.5) - b->now.wall.ms;

	b->now.wall.ms += by;
	b->now.boot.ms += by;
}

static int64_t wait_of(const struct bench *b)
{
	return cal_wait_ms(&b->policy, &b->cal, &b->now);
}

static const char *pass_to_next(struct bench *b)
{
	int64_t by = wait_of(b);

	b->now.wall.ms += by;
	b->now.boot.ms += by;
	return kind(b, CAL_EV_TICK);
}

#define IS(got, want) CU_ASSERT_STRING_EQUAL(got, want)

/* Everything quiet on the given day: CRL and sweep done, no rollover begun. */
static struct bench quiet_on(double day)
{
	struct bench b = bench_new();
	int64_t overlap = b.policy.overlap_ms;

	pass_to_day(&b, day);
	b.policy.overlap_ms = 0;
	IS(kind(&b, CAL_EV_START), "expire-requests make-crl");
	IS(ends(&b, true), "");
	b.policy.overlap_ms = overlap;
	return b;
}

static int64_t due_of(const struct bench *b, enum cal_timer timer)
{
	struct cal_due due[CAL_TIMER_N_];
	size_t n = cal_timers(&b->policy, &b->cal, &b->now, due);

	for (size_t i = 0; i < n; i++)
		if (due[i].timer == timer)
			return due[i].at_wall.ms / TIMER_SECOND_MS;
	return -1;
}

static void the_captured_timers(void)
{
	struct bench b = quiet_on(0);

	CU_ASSERT_EQUAL(due_of(&b, CAL_TIMER_SHADOW_CERT_GENERATION), 1499692456); /* 10 Jul 2017 13:14:16 */
	CU_ASSERT_EQUAL(due_of(&b, CAL_TIMER_CERT_EXPIRE), 1507468456);		   /* 8 Oct 2017 13:14:16 */
	CU_ASSERT_EQUAL(due_of(&b, CAL_TIMER_CRL_UPDATE), T0_SEC + 3 * 3600);	   /* half of six hours */
	CU_ASSERT_EQUAL(due_of(&b, CAL_TIMER_ROLLOVER_CRL_UPDATE), -1);
	CU_ASSERT_EQUAL(wait_of(&b), TIMER_HOUR_MS); /* requests are looked through */
}

static void a_whole_rollover(void)
{
	struct bench b = quiet_on(639.9999);

	pass_to_day(&b, 640);
	IS(kind(&b, CAL_EV_TICK), "make-next");
	CU_ASSERT_EQUAL(b.cal.next.na_sec, 0); /* not before it is durable */
	IS(ends(&b, true), "make-next-crl");
	IS(ends(&b, true), "");
	CU_ASSERT_EQUAL(b.cal.next.nb_sec, b.cal.ca.na_sec);
	CU_ASSERT_EQUAL(b.cal.next.na_sec, b.cal.ca.na_sec + 730 * DAY_SEC);
	CU_ASSERT_EQUAL(due_of(&b, CAL_TIMER_SHADOW_CERT_GENERATION), -1);
	pass_to_day(&b, 730);
	b.now.wall.ms--;
	(void)kind(&b, CAL_EV_TICK);
	CU_ASSERT_EQUAL(b.cal.busy, CAL_ACT_MAKE_CRL);
	IS(ends(&b, true), "make-next-crl");
	b.now.wall.ms++;
	IS(kind(&b, CAL_EV_TICK), ""); /* waits for what is in flight */
	IS(ends(&b, true), "switch");
	IS(ends(&b, true), "");
	CU_ASSERT_EQUAL(b.cal.ca.serial_low, 2);
	CU_ASSERT_EQUAL(b.cal.previous.serial_low, 1);
	CU_ASSERT_EQUAL(b.cal.next.na_sec, 0);
	CU_ASSERT_EQUAL(due_of(&b, CAL_TIMER_SHADOW_CERT_GENERATION), T0_SEC + (1460 - 90) * DAY_SEC);
	CU_ASSERT_EQUAL(due_of(&b, CAL_TIMER_CRL_UPDATE), T0_SEC + 730 * DAY_SEC + 3 * 3600); /* the rollover key's, as it was made */
	CU_ASSERT_EQUAL(due_of(&b, CAL_TIMER_PREVIOUS_EXPIRE), T0_SEC + 731 * DAY_SEC);
	pass_to_day(&b, 731);
	IS(kind(&b, CAL_EV_TICK), "retire-previous expire-requests make-crl");
	CU_ASSERT_EQUAL(b.cal.previous.na_sec, 0);
}

static void crl_at_half_of_its_life(void)
{
	struct bench b = quiet_on(0);
	int crls = 0;

	while (b.now.wall.ms < (T0_SEC + DAY_SEC) * TIMER_SECOND_MS) {
		if (strstr(pass_to_next(&b), "make-crl")) {
			crls++;
			IS(ends(&b, true), "");
		}
	}
	CU_ASSERT_EQUAL(crls, 8);
}

static void rollover_by_hand_and_its_cancellation(void)
{
	struct bench b = quiet_on(10);

	b.policy.overlap_ms = 0;
	IS(kind(&b, CAL_EV_CANCEL), ""); /* there is nothing to cancel */
	IS(kind(&b, CAL_EV_ROLLOVER), "make-next");
	IS(kind(&b, CAL_EV_ROLLOVER), ""); /* on its way */
	IS(ends(&b, false), "");
	IS(kind(&b, CAL_EV_TICK), ""); /* it waits for its next try */
	IS(kind(&b, CAL_EV_ROLLOVER), "make-next"); /* but not who asks */
	IS(ends(&b, true), "make-next-crl");
	IS(ends(&b, true), "");
	CU_ASSERT_EQUAL(b.cal.next.nb_sec, b.cal.ca.na_sec); /* only the overlap is longer */
	IS(kind(&b, CAL_EV_ROLLOVER), "");
	IS(kind(&b, CAL_EV_CANCEL), "cancel-next");
	IS(ends(&b, true), "");
	CU_ASSERT_EQUAL(b.cal.next.na_sec, 0);
	IS(kind(&b, CAL_EV_TICK), "");
}

static void without_a_successor_the_end_does_not_spin(void)
{
	struct bench b = quiet_on(729.99);

	b.policy.overlap_ms = 0;
	pass_to_day(&b, 740);
	(void)kind(&b, CAL_EV_TICK);
	IS(ends(&b, true), "");
	CU_ASSERT_TRUE(wait_of(&b) >= TIMER_MINUTE_MS);
	b.policy.overlap_ms = 90 * TIMER_DAY_MS; /* late, but better than never */
	IS(kind(&b, CAL_EV_TICK), "make-next");
	IS(ends(&b, true), "switch");
}

static void a_failed_switch_is_repeated_fast(void)
{
	static const int64_t seconds[] = {1, 2, 4, 8, 16, 32, 60, 60};
	struct bench b = quiet_on(729.9999);

	b.cal.next = (struct tp_cert){.nb_sec = b.cal.ca.na_sec, .na_sec = b.cal.ca.na_sec + 1000 * DAY_SEC, .serial_low = 2};
	b.cal.next_crl_due.ms = INT64_MAX;
	pass_to_day(&b, 730);
	IS(kind(&b, CAL_EV_TICK), "switch");
	for (size_t i = 0; i < N(seconds); i++) {
		IS(ends(&b, false), "");
		CU_ASSERT_EQUAL(wait_of(&b), seconds[i] * TIMER_SECOND_MS);
		IS(pass_to_next(&b), "switch");
	}
	IS(ends(&b, true), "");
	CU_ASSERT_EQUAL(b.cal.failures, 0);
}

/* The signer was killed while it made the key of a CA that has seconds left. */
static void a_short_lived_ca_is_not_outlived_by_its_retry(void)
{
	static const struct { int64_t overlap_sec, want_ms[5]; } rows[] = {
		{15, {1000, 1000, 1000, 1000, 1000}},
		{160, {10000, 9375, 8789, 8239, 7724}}, /* a sixteenth of what is left, each time */
		{90 * DAY_SEC, {60000, 120000, 240000, 480000, 960000}},
	};

	for (size_t i = 0; i < N(rows); i++) {
		struct bench b = bench_new();

		b.policy.overlap_ms = rows[i].overlap_sec * TIMER_SECOND_MS;
		b.cal.crl_due.ms = b.cal.sweep_due.ms = INT64_MAX / 2;
		b.policy.crl_lifetime_ms = b.policy.request_lifetime_ms = INT64_MAX / 4;
		b.now.wall.ms = b.cal.ca.na_sec * TIMER_SECOND_MS - b.policy.overlap_ms;
		(void)kind(&b, CAL_EV_TICK);
		for (size_t k = 0; k < N(rows[i].want_ms); k++) {
			CU_ASSERT_EQUAL(b.cal.busy, CAL_ACT_MAKE_NEXT);
			IS(ends(&b, false), "");
			CU_ASSERT_EQUAL(b.cal.retry_at.ms - b.now.boot.ms, rows[i].want_ms[k]);
			b.now.wall.ms += rows[i].want_ms[k];
			b.now.boot.ms += rows[i].want_ms[k];
			(void)kind(&b, CAL_EV_TICK);
		}
		(void)ends(&b, true);
		CU_ASSERT_NOT_EQUAL(b.cal.next.na_sec, 0);
	}
}

/* A disk that takes no CRL neither holds up the switch nor is hammered; a key that cannot be made does not starve the CRL. */
static void a_failure_holds_up_nothing_else(void)
{
	struct bench b = quiet_on(729.95);

	b.cal.next = (struct tp_cert){.nb_sec = b.cal.ca.na_sec, .na_sec = b.cal.ca.na_sec + 1000 * DAY_SEC, .serial_low = 2};
	b.cal.next_crl_due.ms = INT64_MAX;
	b.cal.crl_due.ms = 0;
	for (int i = 0; i < 7; i++) {
		while (b.cal.busy != CAL_ACT_MAKE_CRL)
			(void)pass_to_next(&b);
		(void)ends(&b, false);
	}
	CU_ASSERT_EQUAL(b.cal.retry_at.ms - b.now.boot.ms, TIMER_MINUTE_MS);
	pass_to_day(&b, 730);
	IS(kind(&b, CAL_EV_TICK), "expire-requests switch");

	b = quiet_on(640.1);
	(void)kind(&b, CAL_EV_TICK);
	CU_ASSERT_EQUAL(b.cal.busy, CAL_ACT_MAKE_NEXT);
	(void)ends(&b, false);
	pass_to_day(&b, 641);
	IS(kind(&b, CAL_EV_TICK), "expire-requests make-crl");
	IS(ends(&b, true), "make-next");
}

static void an_untrusted_clock_does_nothing(void)
{
	struct bench b = bench_new();

	pass_to_day(&b, 700);
	b.now.trusted = false;
	IS(kind(&b, CAL_EV_START), "");
	IS(kind(&b, CAL_EV_ROLLOVER), "");
	CU_ASSERT_EQUAL(wait_of(&b), -1);
	b.now.trusted = true;
	IS(kind(&b, CAL_EV_TICK), "expire-requests make-next"); /* the wish was kept */
}

static void before_its_certificate_there_is_nothing(void)
{
	struct bench b = bench_new();

	b.cal.ca = (struct tp_cert){0};
	IS(kind(&b, CAL_EV_START), "");
	CU_ASSERT_EQUAL(wait_of(&b), -1);
}

static void a_late_done_and_a_restart(void)
{
	struct bench b = quiet_on(639.9);

	IS(ends(&b, true), ""); /* nothing was in flight */
	pass_to_day(&b, 640);
	b.cal.sweep_due.ms = INT64_MAX;
	IS(kind(&b, CAL_EV_TICK), "make-next");
	IS(step(&b, (struct cal_event){.kind = CAL_EV_DONE, .act = CAL_ACT_SWITCH, .ok = true}), "");
	CU_ASSERT_EQUAL(b.cal.ca.serial_low, 1);
	IS(ends(&b, false), "");
	CU_ASSERT_TRUE(wait_of(&b) > 0);
	IS(kind(&b, CAL_EV_START), "make-next"); /* a restart tries again at once */
}

static void a_clock_set_back_puts_off_nothing_for_years(void)
{
	struct bench b = quiet_on(600);

	b.now.wall.ms -= 20 * 365 * TIMER_DAY_MS;
	IS(kind(&b, CAL_EV_TICK), "");
	CU_ASSERT_TRUE(wait_of(&b) <= TIMER_HOUR_MS);
	CU_ASSERT_TRUE(b.cal.crl_due.ms <= b.now.wall.ms + 3 * TIMER_HOUR_MS);
}

static const struct {
	const char *why;
	double day;
	bool under_next, start_now;
	double nb, na;
} validities[] = {
	{"in full", 10, false, false, 10, 375},
	{"capped at the CA's end", 584, false, false, 584, 730},
	{"ends exactly with the CA", 365, false, false, 365, 730},
	{"under the rollover CA, from the switch on", 700, true, false, 730, 1095},
	{"under the rollover CA after its begin", 740, true, false, 740, 1105},
	{"under a rollover CA that is valid now", 700, true, true, 700, 1065},
};

static void validity_table(void)
{
	for (size_t i = 0; i < N(validities); i++) {
		struct bench b = bench_new();
		struct tp_cert cert;

		pass_to_day(&b, 650);
		b.policy.rollover_start_now = validities[i].start_now;
		b.cal.next = cal_next_validity(&b.policy, &b.cal, &b.now);
		pass_to_day(&b, validities[i].day);
		cert = cal_cert_validity(&b.policy, &b.cal, validities[i].under_next, &b.now);
		CU_ASSERT_EQUAL(cert.nb_sec, T0_SEC + (int64_t)(validities[i].nb * DAY_SEC));
		CU_ASSERT_EQUAL(cert.na_sec, T0_SEC + (int64_t)(validities[i].na * DAY_SEC));
	}
}

static void names(void)
{
	CU_ASSERT_STRING_EQUAL(cal_timer_name(CAL_TIMER_SHADOW_CERT_GENERATION), "SHADOW CERT GENERATION");
	CU_ASSERT_STRING_EQUAL(cal_timer_name(CAL_TIMER_RETRY), "RETRY");
	CU_ASSERT_STRING_EQUAL(cal_timer_name(CAL_TIMER_N_), "unknown");
	CU_ASSERT_STRING_EQUAL(cal_act_name(CAL_ACT_CANCEL_NEXT), "cancel-next");
	CU_ASSERT_STRING_EQUAL(cal_act_name(CAL_ACT_N_), "unknown");
}

static CU_TestInfo tests[] = {
	{"the captured timers", the_captured_timers},
	{"a whole rollover", a_whole_rollover},
	{"a CRL at half of its life", crl_at_half_of_its_life},
	{"a rollover by hand, and its cancellation", rollover_by_hand_and_its_cancellation},
	{"without a successor the end does not spin", without_a_successor_the_end_does_not_spin},
	{"a failed switch is repeated fast", a_failed_switch_is_repeated_fast},
	{"a short-lived CA is not outlived by its retry", a_short_lived_ca_is_not_outlived_by_its_retry},
	{"a failure holds up nothing else", a_failure_holds_up_nothing_else},
	{"an untrusted clock does nothing, and forgets no wish", an_untrusted_clock_does_nothing},
	{"before its certificate there is nothing", before_its_certificate_there_is_nothing},
	{"a late DONE, a restart", a_late_done_and_a_restart},
	{"a clock set back puts off nothing for years", a_clock_set_back_puts_off_nothing_for_years},
	{"validities", validity_table},
	{"names", names},
	CU_TEST_INFO_NULL,
};
CU_SuiteInfo test_suites[] = {{.pName = "the CA's calendar", .pTests = tests}, CU_SUITE_INFO_NULL};

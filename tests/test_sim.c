/* The worked examples of the rollover specification, and what must survive: failing CAs, crashes, clocks that jump. All in virtual time. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"
#include "tests/test_main.h"

#define EVENTS_MAX 4096
#define START_MS (SIM_EPOCH_SEC * TIMER_SECOND_MS)

/* Every action that was begun, with the operation that it belongs to. */
struct record {
	size_t n;
	struct {
		int64_t ms;
		enum tp_act act;
		enum tp_op op;
	} list[EVENTS_MAX];
};

static struct sim_ca ca;
static struct record record;

static void note(const struct sim *sim, const struct tp_event *event, const struct tp_actions *actions, void *arg)
{
	struct record *r = arg;

	(void)event;
	for (size_t i = 0; i < actions->n && r->n < EVENTS_MAX; i++) {
		r->list[r->n].ms = sim->true_ms;
		r->list[r->n].act = actions->list[i].act;
		r->list[r->n++].op = sim->tp.op;
	}
}

/* The day of the n-th (from 0) such action; NAN: there were fewer. */
static double day_of(enum tp_op op, enum tp_act act, unsigned n)
{
	for (size_t i = 0; i < record.n; i++)
		if (record.list[i].op == op && record.list[i].act == act && n-- == 0)
			return sim_days(record.list[i].ms);
	return NAN;
}

static unsigned count_of(enum tp_op op, enum tp_act act)
{
	unsigned n = 0;

	for (size_t i = 0; i < record.n; i++)
		n += record.list[i].op == op && record.list[i].act == act;
	return n;
}

static struct tp_policy exact_policy(int percent)
{
	return (struct tp_policy){
		.auto_enroll = percent != 0, .percent = percent, .regenerate = true, .jitter = false, .pinned = true,
		.retry_period_ms = TIMER_MINUTE_MS, .retry_count = 999, .previous_grace_ms = TIMER_DAY_MS,
	};
}

static void build_ca(int64_t ca_ms, int64_t cert_ms, int64_t overlap_ms, bool start_now, int64_t until_ms)
{
	ca = (struct sim_ca){
		.policy = {.ca_lifetime_ms = ca_ms, .cert_lifetime_ms = cert_ms, .crl_lifetime_ms = SIM_YEAR_MS, .request_lifetime_ms = 7 * SIM_DAY_MS,
			   .overlap_ms = overlap_ms, .rollover_start_now = start_now},
		.grants = {.grant = CAR_GRANT_AUTO, .grant_renewals = true},
	};
	CU_ASSERT_TRUE(sim_ca_build(&ca, START_MS, START_MS + until_ms, NULL, 0));
}

static void check_whole(const struct sim *sim)
{
	if (sim->broken)
		printf("\n    day %.5f: %s\n", sim_days(sim->true_ms), sim->broken);
	CU_ASSERT_PTR_NULL(sim->broken);
}

struct example {
	const char *why;
	int64_t ca_ms, cert_ms, overlap_ms;
	int percent; /* 0: no auto-enroll, the operator enrols at the start */
	double enroll, renew[4];
	unsigned n_renew;
	double last_nb, last_na; /* the ID that ends with its CA */
	double shadow, rollover; /* SHADOW fires; the rollover CA exists from */
	bool too_early;
	double left; /* between SHADOW and the end of the CA */
};

static bool near(double a, double b)
{
	return fabs(a - b) < 2e-8; /* 2 ms */
}

static void live_example(struct sim *sim, const struct example *e)
{
	struct tp_policy policy = exact_policy(e->percent);
	int64_t begin = START_MS + llround(e->enroll * (double)SIM_DAY_MS);

	build_ca(e->ca_ms, e->cert_ms, e->overlap_ms, false, e->ca_ms + e->ca_ms / 8);
	record.n = 0;
	sim_init(sim, &policy, &ca, 7, begin);
	sim->trace = note;
	sim->trace_arg = &record;
	sim_start(sim, false);
	if (e->percent == 0) {
		sim_run(sim, begin + 1);
		sim_command(sim, TP_COMMAND_ENROLL);
	}
	sim_run(sim, START_MS + e->ca_ms - 1);
	check_whole(sim);
}

static void check_renewals(const struct sim *sim, const struct example *e)
{
	for (unsigned i = 0; i < e->n_renew && i < 4; i++)
		CU_ASSERT_TRUE(near(day_of(TP_OP_RENEW, TP_ACT_PREPARE, i), e->renew[i]));
	CU_ASSERT_EQUAL(count_of(TP_OP_RENEW, TP_ACT_INSTALL), e->n_renew);
	CU_ASSERT_TRUE(near(sim_days(sim->tp.id.nb_sec * TIMER_SECOND_MS), e->last_nb));
	CU_ASSERT_TRUE(near(sim_days(sim->tp.id.na_sec * TIMER_SECOND_MS), e->last_na));
}

static void check_shadow(const struct example *e)
{
	unsigned tries = count_of(TP_OP_SHADOW, TP_ACT_FETCH_NEXT);
	double first = day_of(TP_OP_SHADOW, TP_ACT_FETCH_NEXT, 0), last = day_of(TP_OP_SHADOW, TP_ACT_FETCH_NEXT, tries - 1);

	CU_ASSERT_TRUE(near(first, e->shadow));
	CU_ASSERT_TRUE(near(sim_days(START_MS + e->ca_ms) - first, e->left));
	CU_ASSERT_TRUE(near(sim_days(ca.era[1].from_ms), e->rollover));
	CU_ASSERT_EQUAL(tries > 1, e->too_early);
	CU_ASSERT_TRUE(last >= e->rollover);
	if (e->too_early) { /* refused until the rollover exists, fetched at most 1 h 12 min later */
		CU_ASSERT_TRUE(day_of(TP_OP_SHADOW, TP_ACT_FETCH_NEXT, tries - 2) < e->rollover);
		CU_ASSERT_TRUE(last - e->rollover <= 1.2 / 24);
	}
}

static void check_switch(struct sim *sim, const struct example *e)
{
	sim_run(sim, START_MS + e->ca_ms + e->ca_ms / 8 - 1);
	check_whole(sim);
	CU_ASSERT_TRUE(near(day_of(TP_OP_NONE, TP_ACT_ACTIVATE, 0), sim_days(START_MS + e->ca_ms)));
	CU_ASSERT_EQUAL(sim->switches, 1);
	if (e->percent != 0)
		CU_ASSERT_EQUAL(sim->expiries, 0);
}

static void check_example(const struct example *e)
{
	struct sim sim;

	live_example(&sim, e);
	check_renewals(&sim, e);
	check_shadow(e);
	check_switch(&sim, e);
}

#define DAY SIM_DAY_MS
#define MIN TIMER_MINUTE_MS
#define MINUTES(x) ((x) / 1440.0)

static void e1_seed_configuration(void)
{
	const struct example e = {
		.ca_ms = 730 * DAY, .cert_ms = 365 * DAY, .overlap_ms = 90 * DAY, .percent = 80, .renew = {292, 584}, .n_renew = 2, .last_nb = 584,
		.last_na = 730,
		.shadow = 700.8, .rollover = 640, .left = 29.2,
	};
	check_example(&e);
	CU_ASSERT_TRUE(near(e.shadow - e.rollover, 60.8));
}

/* Whatever day a client enrols on, SHADOW comes no earlier than day 657: 17 days after the rollover CA. */
static void e1_any_enrolment_date(void)
{
	for (int day = 0; day < 700; day += 7) {
		struct tp_policy policy = exact_policy(80);
		struct sim sim;

		build_ca(730 * DAY, 365 * DAY, 90 * DAY, false, 800 * DAY);
		record.n = 0;
		sim_init(&sim, &policy, &ca, 7, START_MS + day * DAY);
		sim.trace = note;
		sim.trace_arg = &record;
		sim_start(&sim, false);
		sim_run(&sim, START_MS + 731 * DAY);
		sim_finish(&sim);
		check_whole(&sim);
		CU_ASSERT_TRUE(day_of(TP_OP_SHADOW, TP_ACT_FETCH_NEXT, 0) >= 657);
		CU_ASSERT_EQUAL(count_of(TP_OP_SHADOW, TP_ACT_FETCH_NEXT), 1);
		CU_ASSERT_EQUAL(sim.expiries, 0);
		CU_ASSERT_EQUAL(sim.switches, 1);
	}
}

static void e2_factory_lifetimes_too_early(void)
{
	const struct example e = {
		.ca_ms = 1095 * DAY, .cert_ms = 365 * DAY, .overlap_ms = 30 * DAY, .percent = 80, .renew = {292, 584, 876}, .n_renew = 3, .last_nb = 876,
		.last_na = 1095, .shadow = 1051.2, .rollover = 1065, .too_early = true, .left = 43.8,
	};
	check_example(&e);
	CU_ASSERT_TRUE(near(e.rollover - e.shadow, 13.8));
	/* 19,872 minutes too early: the first try, 6 doublings in 63 min, then one each hour, and the one that succeeds */
	CU_ASSERT_EQUAL(count_of(TP_OP_SHADOW, TP_ACT_FETCH_NEXT), 1 + 6 + (19872 - 63) / 60 + 1);
}

static void e3_id_as_long_as_its_ca(void)
{
	const struct example e = {
		.ca_ms = 730 * DAY, .cert_ms = 730 * DAY, .overlap_ms = 90 * DAY, .percent = 80, .last_nb = 0, .last_na = 730, .shadow = 584, .rollover = 640,
		.too_early = true, .left = 146,
	};
	check_example(&e);
	CU_ASSERT_TRUE(near(e.rollover - e.shadow, 56));
}

static void e4_long_ca(void)
{
	const struct example e = {
		.ca_ms = 3650 * DAY, .cert_ms = 365 * DAY, .overlap_ms = 90 * DAY, .percent = 80, .renew = {292, 584, 876, 1168}, .n_renew = 12,
		.last_nb = 3504,
		.last_na = 3650, .shadow = 3620.8, .rollover = 3560, .left = 29.2,
	};
	check_example(&e);
}

static void e5_lab_configuration(void)
{
	const struct example e = {
		.ca_ms = 3650 * DAY, .cert_ms = 1095 * DAY, .overlap_ms = 365 * DAY, .percent = 80, .renew = {876, 1752, 2628}, .n_renew = 3, .last_nb = 2628,
		.last_na = 3650, .shadow = 3445.6, .rollover = 3285, .left = 204.4,
	};
	check_example(&e);
}

static void e6_late_percent(void)
{
	const struct example e = {
		.ca_ms = 730 * DAY, .cert_ms = 365 * DAY, .overlap_ms = 90 * DAY, .percent = 90, .renew = {328.5, 657}, .n_renew = 2, .last_nb = 657,
		.last_na = 730, .shadow = 722.7, .rollover = 640, .left = 7.3,
	};
	check_example(&e);
}

static void e7_no_auto_enroll(void)
{
	const struct example e = {
		.ca_ms = 1095 * DAY, .cert_ms = 365 * DAY, .overlap_ms = 20 * MIN, .percent = 0, .last_nb = 0, .last_na = 365, .shadow = 985.5,
		.rollover = 1095 - MINUTES(20), .too_early = true, .left = 109.5,
	};
	check_example(&e);
	CU_ASSERT_EQUAL(count_of(TP_OP_SHADOW, TP_ACT_PREPARE), 0); /* the next CA only */
}

static void e8_minutes(void)
{
	const struct example e = {
		.ca_ms = 30 * MIN, .cert_ms = 20 * MIN, .overlap_ms = 10 * MIN, .percent = 70, .enroll = MINUTES(1), .renew = {MINUTES(15)}, .n_renew = 1,
		.last_nb = MINUTES(15), .last_na = MINUTES(30), .shadow = MINUTES(25.5), .rollover = MINUTES(20), .left = MINUTES(4.5),
	};
	check_example(&e);
}

/* The one enrolment date in a million: the ID ends 13 s before its CA, within the tolerance. Nobody may be without a certificate. */
static void an_id_that_ends_just_before_its_ca(void)
{
	struct tp_policy policy = exact_policy(80);
	struct sim sim;

	build_ca(730 * DAY, 365 * DAY, 90 * DAY, false, 800 * DAY);
	ca.grants = (struct car_policy){.grant = CAR_GRANT_MANUAL, .grant_renewals = true};
	sim_init(&sim, &policy, &ca, 7, START_MS + 365 * DAY - 73 * TIMER_SECOND_MS); /* granted at the first poll, a minute later */
	sim_start(&sim, false);
	sim_run(&sim, START_MS + 731 * DAY);
	sim_finish(&sim);
	check_whole(&sim);
	CU_ASSERT_EQUAL(sim.enrolments, 1);
	CU_ASSERT_EQUAL(sim.renewals, 1);
	CU_ASSERT_EQUAL(sim.shadows, 1);
	CU_ASSERT_EQUAL(sim.expiries, 0);
	CU_ASSERT_EQUAL(sim.alerts, 0);
}

/* ---- what must survive */

static const struct {
	const char *why;
	struct sim_faults faults;
	bool manual, start_now;
	int64_t tolerance_ms; /* 0: a second */
} worlds[] = {
	{.why = "nothing fails"},
	{.why = "30 % no verdict", .faults = {.no_verdict = 30}},
	{.why = "50 % no verdict", .faults = {.no_verdict = 50}},
	{.why = "50 % no verdict, each exchange takes 40 s", .faults = {.no_verdict = 50, .latency_ms = 40000}},
	{.why = "50 % no verdict, 30 % of local actions fail", .faults = {.no_verdict = 50, .local = 30, .local_ms = 20}, .tolerance_ms = 10 * TIMER_MINUTE_MS},
	{.why = "pending for 5 days, 50 % no verdict", .faults = {.no_verdict = 50, .grant_delay_ms = 5 * SIM_DAY_MS}, .manual = true},
	{.why = "Retry-After of a year", .faults = {.no_verdict = 50, .retry_after_ms = SIM_YEAR_MS}},
	{.why = "RolloverStart=now", .faults = {.no_verdict = 50}, .start_now = true},
};

static void one_world(size_t which, unsigned router)
{
	struct tp_policy policy = exact_policy(80);
	struct sim sim;

	policy.jitter = router % 2;
	sim_init(&sim, &policy, &ca, timer_hash(router, which), START_MS + (int64_t)router * 29 * SIM_DAY_MS);
	sim.faults = worlds[which].faults;
	if (worlds[which].tolerance_ms != 0) /* a disk that fails at the very switch makes it late */
		sim.tolerance_ms = worlds[which].tolerance_ms;
	sim_start(&sim, false);
	sim_run(&sim, START_MS + 10 * SIM_YEAR_MS);
	sim_finish(&sim);
	check_whole(&sim);
	CU_ASSERT_EQUAL(sim.expiries, 0);
	CU_ASSERT_TRUE(sim.switches >= 4);
	CU_ASSERT_TRUE(sim.max_day_requests < 120);
	if (sim.expiries || sim.switches < 4 || sim.max_day_requests >= 120)
		printf("\n    %s, router %u: %llu expiries, %llu switches, %u requests a day\n", worlds[which].why, router, (unsigned long long)sim.expiries,
		       (unsigned long long)sim.switches, sim.max_day_requests);
}

static void nothing_expires_when_half_fails(void)
{
	for (size_t i = 0; i < sizeof(worlds) / sizeof(worlds[0]); i++) {
		build_ca(730 * DAY, 365 * DAY, 90 * DAY, worlds[i].start_now, 10 * SIM_YEAR_MS);
		if (worlds[i].manual)
			ca.grants = (struct car_policy){.grant = CAR_GRANT_MANUAL};
		for (unsigned router = 0; router < 24; router++)
			one_world(i, router);
	}
}

/* The twin: a CA that never answers must be seen to let everything lapse, or the count of expiries counts nothing. */
static void a_dead_ca_is_seen(void)
{
	struct tp_policy policy = exact_policy(80);
	struct sim sim;

	build_ca(730 * DAY, 365 * DAY, 90 * DAY, false, 2 * SIM_YEAR_MS);
	sim_init(&sim, &policy, &ca, 1, START_MS);
	sim_start(&sim, false);
	sim_run(&sim, START_MS + 100 * DAY);
	sim.faults.no_verdict = 100;
	sim_run(&sim, START_MS + 500 * DAY);
	sim_finish(&sim);
	check_whole(&sim);
	CU_ASSERT_EQUAL(sim.expiries, 1);
	CU_ASSERT_TRUE(sim.alerts > 0);
	CU_ASSERT_TRUE(sim.max_day_requests < 120); /* the last 16 hours of the ID: intervals of a sixteenth of what is left */
}

static void outcome_after_crash(unsigned step, bool same_boot, unsigned no_verdict, struct sim *ret)
{
	struct tp_policy policy = exact_policy(80);

	sim_init(ret, &policy, &ca, 11, START_MS);
	ret->faults = (struct sim_faults){.no_verdict = no_verdict, .latency_ms = 3000, .local_ms = 10, .grant_delay_ms = 2 * TIMER_HOUR_MS};
	sim_start(ret, false);
	while (ret->steps < step && ret->true_ms < START_MS + 1400 * DAY && !ret->broken) {
		/* one event at a time: no two of these events are closer than latency */
		struct tp_now now = sim_now(ret);
		int64_t wait = tp_wait_ms(&ret->policy, ret->seed, &ret->tp, &now);

		if (ret->flying && (wait < 0 || ret->lands_ms < ret->true_ms + wait))
			wait = ret->lands_ms - ret->true_ms;
		sim_run(ret, ret->true_ms + (wait < 1 ? 1 : wait + 1));
	}
	if (step != 0)
		sim_crash(ret, same_boot);
	sim_run(ret, START_MS + 1400 * DAY);
	sim_finish(ret);
	check_whole(ret);
}

/* A crash after any step, before or after the request left, leads where no crash leads. */
static void a_crash_changes_nothing(void)
{
	struct sim plain, crashed;

	build_ca(730 * DAY, 365 * DAY, 90 * DAY, false, 1400 * DAY);
	ca.grants = (struct car_policy){.grant = CAR_GRANT_MANUAL};
	for (unsigned no_verdict = 0; no_verdict <= 30; no_verdict += 30) {
		outcome_after_crash(0, true, no_verdict, &plain);
		for (unsigned step = 1; step < plain.steps; step++) {
			outcome_after_crash(step, step % 2, no_verdict, &crashed);
			CU_ASSERT_EQUAL(crashed.expiries, 0);
			CU_ASSERT_EQUAL(crashed.switches, plain.switches);
			CU_ASSERT_EQUAL(crashed.tp.op, plain.tp.op);
			CU_ASSERT_EQUAL(crashed.tp.ca.serial_low, plain.tp.ca.serial_low);
			CU_ASSERT_TRUE(crashed.tp.id.na_sec == crashed.delivered.na_sec);
			CU_ASSERT_TRUE(llabs((long long)(crashed.tp.id.na_sec - plain.tp.id.na_sec)) < 7 * 86400);
		}
	}
}

static void jump_there_and_back(int64_t day, int64_t by_ms, unsigned no_verdict)
{
	struct tp_policy policy = exact_policy(80);
	struct sim sim;

	policy.jitter = true;
	sim_init(&sim, &policy, &ca, (uint64_t)day, START_MS);
	sim_start(&sim, false);
	sim_run(&sim, START_MS + day * DAY);
	sim.faults.no_verdict = no_verdict;
	sim.skew_ms = by_ms;
	sim_event(&sim, &(struct tp_event){.kind = TP_EV_TICK});
	sim_run(&sim, START_MS + (day + 3) * DAY);
	CU_ASSERT_TRUE(sim.max_day_requests < 60);
	sim.skew_ms = 0;
	sim.faults.no_verdict = 0;
	sim_event(&sim, &(struct tp_event){.kind = TP_EV_TICK});
	sim_run(&sim, START_MS + 900 * DAY);
	sim_finish(&sim);
	check_whole(&sim);
	CU_ASSERT_TRUE(sim.max_day_requests < 60);
	CU_ASSERT_TRUE(sim.delivered.na_sec * TIMER_SECOND_MS > sim.true_ms);
	CU_ASSERT_TRUE(sim.tp.ca.na_sec * TIMER_SECOND_MS > sim.true_ms);
	CU_ASSERT_EQUAL(sim.expiries, 0);
}

static void a_jump_of_20_years_causes_no_storm(void)
{
	build_ca(730 * DAY, 365 * DAY, 90 * DAY, false, 1000 * DAY);
	for (int64_t day = 1; day < 728; day += 13) {
		jump_there_and_back(day, 20 * SIM_YEAR_MS, 0);
		jump_there_and_back(day, -20 * SIM_YEAR_MS, 0);
		jump_there_and_back(day, 20 * SIM_YEAR_MS, 100);
		jump_there_and_back(day, -20 * SIM_YEAR_MS, 50);
	}
}

/* A CA of half an hour, as in the demo, for a day: no certificate has time for many tries, and none may lapse. */
static void half_hour_cas_roll_all_day(void)
{
	struct tp_policy policy = exact_policy(70);
	struct sim sim;

	policy.retry_period_ms = 5 * TIMER_SECOND_MS;
	build_ca(30 * MIN, 20 * MIN, 10 * MIN, false, SIM_DAY_MS);
	for (unsigned router = 0; router < 20; router++) {
		policy.jitter = router % 2;
		sim_init(&sim, &policy, &ca, router, START_MS + router * MIN);
		sim.faults.no_verdict = 30;
		sim.faults.latency_ms = 50;
		sim_start(&sim, false);
		sim_run(&sim, START_MS + SIM_DAY_MS - MIN);
		sim_finish(&sim);
		check_whole(&sim);
		CU_ASSERT_EQUAL(sim.expiries, 0);
		CU_ASSERT_TRUE(sim.switches >= 46);
	}
}

static CU_TestInfo examples[] = {
	{"E1: the seed's configuration", e1_seed_configuration},
	{"E1: on any enrolment date SHADOW is 17 days late enough", e1_any_enrolment_date},
	{"an ID that ends 13 s before its CA leaves no gap", an_id_that_ends_just_before_its_ca},
	{"E2: factory lifetimes fire too early, are refused, and get it within 1 h 12 min", e2_factory_lifetimes_too_early},
	{"E3: an ID as long as its CA fires 56 days too early", e3_id_as_long_as_its_ca},
	{"E4: a long CA", e4_long_ca},
	{"E5: the lab's configuration", e5_lab_configuration},
	{"E6: a late percent leaves a week", e6_late_percent},
	{"E7: without auto-enroll only the next CA is fetched", e7_no_auto_enroll},
	{"E8: lifetimes of minutes", e8_minutes},
	CU_TEST_INFO_NULL,
};
static CU_TestInfo survival[] = {
	{"with a CA that answers half of the time nothing expires", nothing_expires_when_half_fails},
	{"a CA that never answers is seen, and is not stormed", a_dead_ca_is_seen},
	{"a crash after any step ends where no crash would", a_crash_changes_nothing},
	{"a clock jump of 20 years either way causes no storm", a_jump_of_20_years_causes_no_storm},
	{"half-hour CAs roll all day", half_hour_cas_roll_all_day},
	CU_TEST_INFO_NULL,
};
CU_SuiteInfo test_suites[] = {
	{.pName = "worked examples", .pTests = examples},
	{.pName = "survival", .pTests = survival},
	CU_SUITE_INFO_NULL,
};

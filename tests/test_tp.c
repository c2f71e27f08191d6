/* The trustpoint machine step by step: an event goes in, the actions come out as words. */
#include <stdio.h>
#include <string.h>

#include "lifecycle/timer.h"
#include "lifecycle/tp.h"
#include "tests/test_main.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))
#define DAY_SEC 86400
#define T0_SEC 1767225600
#define SEED 42

/* One trustpoint on a bench: the clock stands still until told. */
struct bench {
	struct tp_policy policy;
	struct tp_state tp;
	struct tp_now now;
	char words[160];
};

static struct tp_cert cert_of(int64_t from_day, int64_t to_day, uint64_t serial)
{
	return (struct tp_cert){.nb_sec = T0_SEC + from_day * DAY_SEC, .na_sec = T0_SEC + to_day * DAY_SEC, .serial_low = serial};
}

static struct bench bench_new(void)
{
	return (struct bench){
		.policy = {.auto_enroll = true, .percent = 80, .pinned = true, .retry_period_ms = TIMER_MINUTE_MS, .retry_count = 999,
			   .previous_grace_ms = TIMER_DAY_MS},
		.now = {.wall.ms = T0_SEC * TIMER_SECOND_MS, .boot.ms = TIMER_HOUR_MS, .trusted = true},
	};
}

static const char *step(struct bench *b, struct tp_event event)
{
	struct tp_actions actions;
	int at = 0;

	tp_step(&b->policy, SEED, &b->tp, &event, &b->now, &actions);
	b->words[0] = '\0';
	for (size_t i = 0; i < actions.n; i++)
		at += snprintf(b->words + at, sizeof(b->words) - (size_t)at, "%s%s%s%s", i ? " " : "", tp_act_name(actions.list[i].act),
			       actions.list[i].act == TP_ACT_ALERT ? ":" : "", actions.list[i].act == TP_ACT_ALERT ? tp_alert_name(actions.list[i].alert) : "");
	return b->words;
}

static const char *start(struct bench *b, bool same_boot)
{
	return step(b, (struct tp_event){.kind = TP_EV_START, .same_boot = same_boot});
}

static const char *tick(struct bench *b)
{
	return step(b, (struct tp_event){.kind = TP_EV_TICK});
}

static const char *command(struct bench *b, enum tp_command which)
{
	return step(b, (struct tp_event){.kind = TP_EV_COMMAND, .command = which});
}

/* Ends what is in flight. */
static const char *ends(struct bench *b, enum tp_result result)
{
	return step(b, (struct tp_event){.kind = TP_EV_DONE, .act = b->tp.busy, .result = result});
}

static const char *ends_with(struct bench *b, enum tp_result result, struct tp_cert cert)
{
	return step(b, (struct tp_event){.kind = TP_EV_DONE, .act = b->tp.busy, .result = result, .cert = cert});
}

static void pass(struct bench *b, int64_t ms)
{
	b->now.wall.ms += ms;
	b->now.boot.ms += ms;
}

static void pass_to_day(struct bench *b, double day)
{
	pass(b, T0_SEC * TIMER_SECOND_MS + (int64_t)(day * (double)TIMER_DAY_MS + 0.5) - b->now.wall.ms);
}

static int64_t wait_of(const struct bench *b)
{
	return tp_wait_ms(&b->policy, SEED, &b->tp, &b->now);
}

static const char *pass_to_next(struct bench *b)
{
	pass(b, wait_of(b));
	return tick(b);
}

/* When the named timer is due, in days since day 0; -1: it is not armed. */
static double due_day(const struct bench *b, enum tp_timer timer)
{
	struct tp_due due[TP_TIMER_N_];
	size_t n = tp_timers(&b->policy, SEED, &b->tp, &b->now, due);

	for (size_t i = 0; i < n; i++)
		if (due[i].timer == timer)
			return (double)((due[i].on_boot ? due[i].at_boot.ms - b->now.boot.ms + b->now.wall.ms : due[i].at_wall.ms) - T0_SEC * TIMER_SECOND_MS) /
			       (double)TIMER_DAY_MS;
	return -1;
}

#define IS(got, want) CU_ASSERT_STRING_EQUAL(got, want)

/* A CA of 730 days, an ID of 365, on day 0. */
static struct bench enrolled(void)
{
	struct bench b = bench_new();

	b.tp.ca = cert_of(0, 730, 1);
	b.tp.id = cert_of(0, 365, 2);
	(void)start(&b, true);
	return b;
}

/* Day 584: the ID ends with its CA; SHADOW at 700.8. */
static struct bench last_of_its_ca(void)
{
	struct bench b = enrolled();

	b.tp.id = cert_of(584, 730, 4);
	b.tp.alert_at.ms = 0;
	pass_to_day(&b, 584);
	IS(tick(&b), "");
	return b;
}

/* RENEW on its way, the request is in flight. */
static struct bench renewing(void)
{
	struct bench b = enrolled();

	pass_to_day(&b, 292);
	IS(tick(&b), "prepare");
	IS(ends(&b, TP_RESULT_OK), "request");
	return b;
}

/* SHADOW's request is in flight. */
static struct bench shadowing(void)
{
	struct bench b = last_of_its_ca();

	pass_to_day(&b, 700.8);
	IS(tick(&b), "fetch-next");
	IS(ends_with(&b, TP_RESULT_OK, cert_of(730, 1460, 5)), "prepare");
	IS(ends(&b, TP_RESULT_OK), "request");
	return b;
}

/* ---- the plain way */

static void first_enrolment(void)
{
	struct bench b = bench_new();

	IS(start(&b, false), "authenticate");
	IS(ends_with(&b, TP_RESULT_OK, cert_of(0, 730, 1)), "prepare");
	IS(ends(&b, TP_RESULT_OK), "request");
	IS(ends_with(&b, TP_RESULT_GRANTED, cert_of(0, 365, 2)), "install");
	CU_ASSERT_EQUAL(b.tp.stage, TP_STAGE_GRANTED);
	CU_ASSERT_EQUAL(b.tp.id.na_sec, 0);
	IS(ends(&b, TP_RESULT_OK), "");
	CU_ASSERT_EQUAL(b.tp.id.serial_low, 2);
	CU_ASSERT_DOUBLE_EQUAL(due_day(&b, TP_TIMER_RENEW), 292, 1e-6);
	CU_ASSERT_EQUAL(due_day(&b, TP_TIMER_RETIRE), -1); /* there was nothing before */
}

static void renewal(void)
{
	struct bench b = renewing();

	IS(ends_with(&b, TP_RESULT_GRANTED, cert_of(292, 657, 3)), "install");
	CU_ASSERT_EQUAL(b.tp.id.serial_low, 2);
	IS(ends(&b, TP_RESULT_OK), "");
	CU_ASSERT_EQUAL(b.tp.id.serial_low, 3);
	CU_ASSERT_DOUBLE_EQUAL(due_day(&b, TP_TIMER_RETIRE), 293, 1e-6);
	pass_to_day(&b, 293);
	IS(tick(&b), "retire");
	IS(tick(&b), "");
}

static void shadow_and_switch(void)
{
	struct bench b = shadowing();

	IS(ends_with(&b, TP_RESULT_GRANTED, cert_of(730, 1095, 6)), "");
	CU_ASSERT_EQUAL(b.tp.id.serial_low, 4); /* not used before activation */
	CU_ASSERT_EQUAL(b.tp.shadow.serial_low, 6);
	CU_ASSERT_DOUBLE_EQUAL(due_day(&b, TP_TIMER_ACTIVATE), 730, 1e-9);
	CU_ASSERT_EQUAL(due_day(&b, TP_TIMER_ALERT), -1); /* the shadow covers the end */
	pass_to_day(&b, 730);
	b.now.wall.ms--;
	IS(tick(&b), "");
	b.now.wall.ms++;
	IS(tick(&b), "activate");
	CU_ASSERT_EQUAL(b.tp.ca.serial_low, 1);
	IS(ends(&b, TP_RESULT_OK), "");
	CU_ASSERT_EQUAL(b.tp.ca.serial_low, 5);
	CU_ASSERT_EQUAL(b.tp.id.serial_low, 6);
	CU_ASSERT_EQUAL(b.tp.old_ca.serial_low, 1);
	CU_ASSERT_EQUAL(b.tp.shadow.na_sec, 0);
	CU_ASSERT_DOUBLE_EQUAL(due_day(&b, TP_TIMER_RENEW), 730 + 292, 1e-6);
	pass_to_day(&b, 731);
	IS(tick(&b), "retire");
	CU_ASSERT_EQUAL(b.tp.old_ca.na_sec, 0);
}

static void a_next_ca_valid_now_switches_a_second_early(void)
{
	struct bench b = last_of_its_ca();

	b.tp.next_ca = cert_of(600, 1400, 5);
	b.tp.shadow = cert_of(700, 1065, 6);
	pass_to_day(&b, 730);
	b.now.wall.ms -= 1001;
	IS(tick(&b), "");
	b.now.wall.ms++;
	IS(tick(&b), "activate");
}

/* ---- in flight */

static void nothing_begins_while_something_is_in_flight(void)
{
	struct bench b = renewing();

	for (int i = 0; i < 50; i++) {
		pass(&b, 7 * TIMER_MINUTE_MS);
		IS(tick(&b), "");
		IS(command(&b, TP_COMMAND_RENEW), "");
		IS(start(&b, true), ""); /* the policy changed */
	}
	CU_ASSERT_EQUAL(b.tp.busy, TP_ACT_REQUEST);
}

static void a_done_of_something_else_is_ignored(void)
{
	struct bench b = renewing();

	IS(step(&b, (struct tp_event){.kind = TP_EV_DONE, .act = TP_ACT_POLL, .result = TP_RESULT_GRANTED, .cert = cert_of(0, 999, 9)}), "");
	CU_ASSERT_EQUAL(b.tp.stage, TP_STAGE_PREPARED);
	CU_ASSERT_EQUAL(b.tp.busy, TP_ACT_REQUEST);
	IS(step(&b, (struct tp_event){.kind = TP_EV_DONE, .act = TP_ACT_NONE}), "");
	CU_ASSERT_EQUAL(b.tp.busy, TP_ACT_REQUEST);
}

/* ---- no verdict, pending */

static void a_lost_reply_sends_the_same_request(void)
{
	static const int64_t minutes[] = {1, 2, 4, 8, 16, 32, 60, 60};
	struct bench b = renewing();

	for (size_t i = 0; i < N(minutes); i++) {
		IS(ends(&b, TP_RESULT_NO_VERDICT), "");
		CU_ASSERT_EQUAL(wait_of(&b), minutes[i] * TIMER_MINUTE_MS);
		CU_ASSERT_TRUE(due_day(&b, TP_TIMER_CONNECT_RETRY) > 0);
		pass(&b, wait_of(&b) - 1);
		IS(tick(&b), "");
		pass(&b, 1);
		IS(tick(&b), "request"); /* not prepare, not poll */
	}
}

static void after_pending_it_only_polls(void)
{
	struct bench b = renewing();

	IS(ends(&b, TP_RESULT_PENDING), "");
	CU_ASSERT_EQUAL(wait_of(&b), TIMER_MINUTE_MS);
	CU_ASSERT_TRUE(due_day(&b, TP_TIMER_POLL) > 0);
	IS(pass_to_next(&b), "poll");
	IS(ends(&b, TP_RESULT_NO_VERDICT), "");
	CU_ASSERT_TRUE(due_day(&b, TP_TIMER_CONNECT_RETRY) > 0);
	IS(pass_to_next(&b), "poll");
	IS(ends(&b, TP_RESULT_PENDING), "");
	CU_ASSERT_EQUAL(wait_of(&b), 2 * TIMER_MINUTE_MS);
	IS(pass_to_next(&b), "poll");
	IS(ends_with(&b, TP_RESULT_GRANTED, cert_of(292, 657, 3)), "install");
}

static void a_verdict_begins_the_count_anew(void)
{
	struct bench b = renewing();

	for (int i = 0; i < 5; i++) {
		IS(ends(&b, TP_RESULT_NO_VERDICT), "");
		IS(pass_to_next(&b), "request");
	}
	IS(ends(&b, TP_RESULT_PENDING), "");
	IS(pass_to_next(&b), "poll");
	IS(ends(&b, TP_RESULT_NO_VERDICT), "");
	CU_ASSERT_EQUAL(wait_of(&b), TIMER_MINUTE_MS);
}

static void retry_after_is_honoured(void)
{
	struct bench b = renewing();

	IS(step(&b, (struct tp_event){.kind = TP_EV_DONE, .act = TP_ACT_REQUEST, .result = TP_RESULT_NO_VERDICT, .retry_after_ms = 5 * TIMER_MINUTE_MS}), "");
	CU_ASSERT_EQUAL(wait_of(&b), 5 * TIMER_MINUTE_MS);
	IS(pass_to_next(&b), "request");
	IS(step(&b, (struct tp_event){.kind = TP_EV_DONE, .act = TP_ACT_REQUEST, .result = TP_RESULT_PENDING, .retry_after_ms = 900 * TIMER_DAY_MS}), "");
	CU_ASSERT_EQUAL(wait_of(&b), TIMER_DAY_MS);
}

static void polls_used_up_begin_anew_after_an_hour(void)
{
	struct bench b = renewing();

	b.policy.retry_count = 3;
	IS(ends(&b, TP_RESULT_PENDING), "");
	for (int i = 0; i < 2; i++) {
		IS(pass_to_next(&b), "poll");
		IS(ends(&b, TP_RESULT_PENDING), "");
	}
	IS(pass_to_next(&b), "poll");
	IS(ends(&b, TP_RESULT_PENDING), "alert:exhausted");
	CU_ASSERT_EQUAL(wait_of(&b), TIMER_HOUR_MS);
	IS(pass_to_next(&b), "abandon prepare");
	CU_ASSERT_EQUAL(b.tp.op, TP_OP_RENEW);
	CU_ASSERT_EQUAL(b.tp.polls, 0);
}

static void no_limit_of_polls(void)
{
	struct bench b = renewing();

	b.policy.retry_count = 0;
	IS(ends(&b, TP_RESULT_PENDING), "");
	for (int i = 0; i < 1500; i++) {
		while (!strstr(pass_to_next(&b), "poll"))
			CU_ASSERT_PTR_NOT_NULL(strstr(b.words, "alert")); /* nothing else comes between */
		IS(ends(&b, TP_RESULT_PENDING), "");
	}
	CU_ASSERT_FALSE(b.tp.exhausted);
}

static void not_yet_is_tried_until_the_ca_ends(void)
{
	struct bench b = last_of_its_ca();
	int tries = 0;

	pass_to_day(&b, 700.8);
	while (b.now.wall.ms < b.tp.ca.na_sec * TIMER_SECOND_MS && tries < 2000) {
		const char *words = tick(&b);

		if (strstr(words, "fetch-next")) {
			tries++;
			IS(ends(&b, TP_RESULT_NOT_YET), "");
		} else {
			CU_ASSERT_TRUE(words[0] == '\0' || strcmp(words, "alert:no-shadow") == 0);
		}
		pass(&b, wait_of(&b) > 0 ? wait_of(&b) : 1);
	}
	CU_ASSERT_TRUE(tries > 600 && tries < 900);
}

static void requests_keep_their_distance(void)
{
	struct bench b = renewing();

	/* the new certificate's RENEW is overdue at once */
	IS(ends_with(&b, TP_RESULT_GRANTED, cert_of(0, 300, 3)), "install");
	IS(ends(&b, TP_RESULT_OK), "");
	CU_ASSERT_EQUAL(b.tp.op, TP_OP_RENEW);
	CU_ASSERT_EQUAL(wait_of(&b), TIMER_MINUTE_MS);
	pass(&b, TIMER_MINUTE_MS - 1);
	IS(tick(&b), "");
	IS(command(&b, TP_COMMAND_RENEW), "prepare"); /* an operator need not wait */
}

/* ---- verdicts */

static void a_rejection_holds_until_an_operator_asks(void)
{
	struct bench b = renewing();
	int alerts = 0;

	IS(ends(&b, TP_RESULT_REJECTED), "abandon alert:rejected");
	CU_ASSERT_EQUAL(b.tp.hold, TP_HOLD_REJECTED);
	for (int day = 0; day < 30; day++) {
		pass(&b, TIMER_DAY_MS);
		alerts += strcmp(tick(&b), "alert:rejected") == 0;
		IS(tick(&b), "");
		IS(start(&b, true), "");
	}
	CU_ASSERT_EQUAL(alerts, 30);
	IS(command(&b, TP_COMMAND_RENEW), "prepare");
	CU_ASSERT_EQUAL(b.tp.op, TP_OP_RENEW);
	CU_ASSERT_EQUAL(b.tp.hold, TP_HOLD_NONE);
}

static void a_held_trustpoint_still_learns_the_next_ca(void)
{
	struct bench b = renewing();

	IS(ends(&b, TP_RESULT_REJECTED), "abandon alert:rejected");
	pass_to_day(&b, 657);
	IS(tick(&b), "alert:expired fetch-next");
	IS(ends_with(&b, TP_RESULT_OK, cert_of(730, 1460, 5)), "");
	CU_ASSERT_EQUAL(b.tp.hold, TP_HOLD_REJECTED);
	pass_to_day(&b, 730);
	IS(tick(&b), "alert:expired activate");
	IS(ends(&b, TP_RESULT_OK), "");
	CU_ASSERT_EQUAL(b.tp.ca.serial_low, 5);
	IS(command(&b, TP_COMMAND_ENROLL), "prepare");
	CU_ASSERT_EQUAL(b.tp.op, TP_OP_ENROLL);
}

static void a_rejected_dead_signer_enrols_anew(void)
{
	struct bench b = renewing();

	IS(ends(&b, TP_RESULT_PENDING), "");
	pass_to_day(&b, 366);
	(void)tick(&b);
	CU_ASSERT_EQUAL(b.tp.busy, TP_ACT_POLL);
	IS(ends(&b, TP_RESULT_REJECTED), "abandon");
	CU_ASSERT_EQUAL(b.tp.op, TP_OP_ENROLL);
	IS(pass_to_next(&b), "prepare");
	IS(ends(&b, TP_RESULT_OK), "request");
	IS(ends(&b, TP_RESULT_REJECTED), "abandon alert:rejected"); /* but only once */
}

static void a_dead_signer_is_given_up_after_three_tries(void)
{
	struct bench b = renewing();

	for (int i = 0; i < 5; i++) {
		IS(ends(&b, TP_RESULT_NO_VERDICT), "");
		IS(pass_to_next(&b), "request");
	}
	IS(ends(&b, TP_RESULT_NO_VERDICT), "");
	pass_to_day(&b, 365);
	IS(tick(&b), "alert:expired abandon prepare");
	CU_ASSERT_EQUAL(b.tp.op, TP_OP_ENROLL);
}

static void an_expired_grant_is_no_answer(void)
{
	struct bench b = renewing();

	IS(ends_with(&b, TP_RESULT_GRANTED, cert_of(0, 200, 3)), "alert:expired");
	CU_ASSERT_EQUAL(wait_of(&b), TIMER_HOUR_MS);
	IS(pass_to_next(&b), "abandon prepare");
}

static void another_fingerprint_is_told_daily(void)
{
	struct bench b = bench_new();
	int alerts = 0, tries = 0;

	IS(start(&b, false), "authenticate");
	IS(ends(&b, TP_RESULT_REFUSED), "alert:fingerprint");
	while (b.now.wall.ms < (T0_SEC + 5 * DAY_SEC) * TIMER_SECOND_MS) {
		const char *words = pass_to_next(&b);

		alerts += strstr(words, "alert:fingerprint") != NULL;
		if (strstr(words, "authenticate")) {
			tries++;
			IS(ends(&b, TP_RESULT_REFUSED), "");
		}
	}
	CU_ASSERT_EQUAL(alerts, 5);
	CU_ASSERT_TRUE(tries > 100 && tries < 130);
}

static void a_next_ca_must_take_over(void)
{
	static const struct {
		const char *why;
		int64_t from, to;
		bool fits;
	} table[] = {
		{"begins as the active one ends", 730, 1460, true}, {"valid already", 650, 1380, true}, {"leaves a gap", 731, 1460, false},
		{"ends with the active one", 700, 730, false}, {"ends before it", 0, 729, false},
	};

	for (size_t i = 0; i < N(table); i++) {
		struct bench b = last_of_its_ca();

		pass_to_day(&b, 700.8);
		IS(tick(&b), "fetch-next");
		IS(ends_with(&b, TP_RESULT_OK, cert_of(table[i].from, table[i].to, 5)), table[i].fits ? "prepare" : "");
		CU_ASSERT_EQUAL(b.tp.next_ca.na_sec != 0, table[i].fits);
	}
}

static void a_cancelled_rollover_drops_its_shadow(void)
{
	struct bench b = shadowing();

	IS(ends_with(&b, TP_RESULT_GRANTED, cert_of(730, 1095, 6)), "");
	IS(command(&b, TP_COMMAND_RENEW), "fetch-next");
	IS(ends_with(&b, TP_RESULT_OK, cert_of(730, 1460, 5)), "prepare"); /* the same: kept */
	CU_ASSERT_EQUAL(b.tp.shadow.serial_low, 6);
	IS(ends(&b, TP_RESULT_OK), "request");
	IS(ends(&b, TP_RESULT_REJECTED), "abandon alert:rejected");
	IS(command(&b, TP_COMMAND_RENEW), "fetch-next");
	IS(ends_with(&b, TP_RESULT_OK, cert_of(730, 1460, 55)), "prepare");
	CU_ASSERT_EQUAL(b.tp.shadow.na_sec, 0);
	CU_ASSERT_EQUAL(b.tp.next_ca.serial_low, 55);
}

/* ---- the switch meets an operation */

static void the_switch_ends_a_pending_renewal(void)
{
	struct bench b = renewing();

	b.tp.next_ca = cert_of(730, 1460, 5);
	b.tp.id = cert_of(400, 729, 3); /* was issued so that it does not end with its CA */
	IS(ends(&b, TP_RESULT_PENDING), "");
	pass_to_day(&b, 730);
	IS(tick(&b), "alert:expired abandon activate");
	IS(ends(&b, TP_RESULT_OK), "prepare");
	CU_ASSERT_EQUAL(b.tp.op, TP_OP_ENROLL);
	CU_ASSERT_EQUAL(b.tp.ca.serial_low, 5);
}

static void a_pending_shadow_polls_on_after_the_switch(void)
{
	struct bench b = shadowing();

	IS(ends(&b, TP_RESULT_PENDING), "");
	pass_to_day(&b, 730);
	b.tp.retry_at.ms = b.now.boot.ms + 1000;
	IS(tick(&b), "alert:expired activate");
	IS(ends(&b, TP_RESULT_OK), "");
	CU_ASSERT_EQUAL(b.tp.op, TP_OP_SHADOW);
	CU_ASSERT_EQUAL(b.tp.id.na_sec, 0);
	IS(pass_to_next(&b), "poll");
	pass(&b, 2 * TIMER_DAY_MS); /* the old pair still signs polls: it is kept */
	IS(tick(&b), "alert:expired");
	IS(ends_with(&b, TP_RESULT_GRANTED, cert_of(730, 1095, 6)), "install"); /* at once: its CA is active */
	IS(ends(&b, TP_RESULT_OK), "");
	CU_ASSERT_EQUAL(b.tp.id.serial_low, 6);
	CU_ASSERT_EQUAL(b.tp.op, TP_OP_NONE);
	CU_ASSERT_DOUBLE_EQUAL(due_day(&b, TP_TIMER_RETIRE), (double)(b.now.wall.ms / TIMER_SECOND_MS - T0_SEC) / DAY_SEC + 1, 1e-3);
}

static void a_shadow_rejected_after_the_switch_enrols(void)
{
	struct bench b = shadowing();

	IS(ends(&b, TP_RESULT_NO_VERDICT), "");
	pass_to_day(&b, 730);
	IS(tick(&b), "alert:expired activate");
	IS(ends(&b, TP_RESULT_OK), "request"); /* the same request: it may have been granted */
	IS(ends(&b, TP_RESULT_REJECTED), "abandon");
	CU_ASSERT_EQUAL(b.tp.op, TP_OP_ENROLL);
	CU_ASSERT_EQUAL(b.tp.hold, TP_HOLD_NONE);
}

static void the_switch_does_not_wait_for_a_silent_ca(void)
{
	struct bench b = shadowing();

	pass_to_day(&b, 730);
	IS(tick(&b), "alert:expired activate"); /* the request is still in flight */
	CU_ASSERT_EQUAL(b.tp.busy, TP_ACT_ACTIVATE);
	IS(step(&b, (struct tp_event){.kind = TP_EV_DONE, .act = TP_ACT_REQUEST, .result = TP_RESULT_REJECTED}), ""); /* too late */
	CU_ASSERT_EQUAL(b.tp.busy, TP_ACT_ACTIVATE);
	IS(ends(&b, TP_RESULT_OK), "request");
}

static void a_request_cut_short_by_the_switch_keeps_its_distance(void)
{
	struct bench b = shadowing();

	IS(ends(&b, TP_RESULT_PENDING), "");
	pass_to_day(&b, 730);
	pass(&b, -10 * TIMER_SECOND_MS);
	(void)tick(&b);
	CU_ASSERT_EQUAL(b.tp.busy, TP_ACT_POLL);
	pass(&b, 10 * TIMER_SECOND_MS);
	IS(tick(&b), "alert:expired activate");
	IS(ends(&b, TP_RESULT_OK), "");
	CU_ASSERT_EQUAL(wait_of(&b), 50 * TIMER_SECOND_MS);
	IS(pass_to_next(&b), "poll");
}

static void the_switch_waits_for_a_delivery(void)
{
	struct bench b = renewing();

	b.tp.next_ca = cert_of(730, 1460, 5);
	IS(ends_with(&b, TP_RESULT_GRANTED, cert_of(292, 730, 3)), "install");
	pass_to_day(&b, 730);
	IS(tick(&b), "alert:expired");
	IS(ends(&b, TP_RESULT_OK), "activate");
}

static void a_failed_switch_is_repeated_at_once(void)
{
	static const int64_t seconds[] = {1, 2, 4, 8, 16, 32, 60, 60};
	struct bench b = last_of_its_ca();

	b.tp.next_ca = cert_of(730, 1460, 5);
	b.tp.shadow = cert_of(730, 1095, 6);
	pass_to_day(&b, 730);
	IS(tick(&b), "activate");
	for (size_t i = 0; i < N(seconds); i++) {
		IS(ends(&b, TP_RESULT_LOCAL), "");
		CU_ASSERT_EQUAL(wait_of(&b), seconds[i] * TIMER_SECOND_MS);
		CU_ASSERT_EQUAL(b.tp.ca.serial_low, 1);
		IS(pass_to_next(&b), "activate");
	}
	IS(ends(&b, TP_RESULT_OK), "");
	CU_ASSERT_EQUAL(b.tp.id.serial_low, 6);
}

static void the_next_ca_is_fetched_beside_a_stuck_renewal(void)
{
	struct bench b = renewing();

	b.tp.id = cert_of(292, 700, 3);
	IS(ends(&b, TP_RESULT_PENDING), "");
	pass_to_day(&b, 656);
	IS(tick(&b), "alert:expiring poll"); /* 0.9 of the CA's life is day 657 */
	IS(ends(&b, TP_RESULT_PENDING), "");
	pass_to_day(&b, 658);
	(void)tick(&b);
	CU_ASSERT_EQUAL(b.tp.busy, TP_ACT_FETCH_NEXT);
	IS(ends(&b, TP_RESULT_NOT_YET), "poll"); /* whatever it said, the poll follows */
	IS(ends(&b, TP_RESULT_PENDING), "");
	(void)pass_to_next(&b);
	IS(ends_with(&b, TP_RESULT_OK, cert_of(730, 1460, 5)), "poll");
	IS(ends(&b, TP_RESULT_PENDING), "");
	CU_ASSERT_EQUAL(b.tp.next_ca.serial_low, 5);
	IS(pass_to_next(&b), "poll");
	CU_ASSERT_EQUAL(b.tp.op, TP_OP_RENEW);
}

/* ---- ends */

static void an_expired_id_enrols_anew(void)
{
	struct bench b = enrolled();

	pass_to_day(&b, 400);
	IS(tick(&b), "alert:expired prepare");
	CU_ASSERT_EQUAL(b.tp.op, TP_OP_ENROLL);
	CU_ASSERT_STRING_EQUAL(tp_status_name(&b.policy, &b.tp, &b.now), "expired");
	IS(ends(&b, TP_RESULT_OK), "request");
	IS(ends_with(&b, TP_RESULT_GRANTED, cert_of(400, 730, 9)), "install");
	IS(ends(&b, TP_RESULT_OK), "");
	CU_ASSERT_STRING_EQUAL(tp_status_name(&b.policy, &b.tp, &b.now), "enrolled");
}

static void a_ca_that_ends_without_a_successor(void)
{
	struct bench b = shadowing(), c = last_of_its_ca();

	b.tp.next_ca = (struct tp_cert){0};
	IS(ends(&b, TP_RESULT_PENDING), "");
	pass_to_day(&b, 730);
	IS(tick(&b), "alert:expired abandon authenticate"); /* pinned */
	IS(ends_with(&b, TP_RESULT_OK, cert_of(0, 730, 1)), ""); /* the same CA, ended: no answer */
	IS(pass_to_next(&b), "authenticate");
	IS(ends_with(&b, TP_RESULT_OK, cert_of(730, 1460, 7)), "prepare");
	CU_ASSERT_EQUAL(b.tp.id.na_sec, 0);

	c.policy.pinned = false;
	pass_to_day(&c, 730);
	IS(tick(&c), "alert:expired");
	CU_ASSERT_EQUAL(c.tp.hold, TP_HOLD_OPERATOR);
	IS(command(&c, TP_COMMAND_AUTHENTICATE), "authenticate");
	IS(ends_with(&c, TP_RESULT_OK, cert_of(730, 1460, 7)), "prepare");
}

static void a_ca_only_switch_enrols(void)
{
	struct bench b = last_of_its_ca();

	b.tp.next_ca = cert_of(730, 1460, 5);
	b.tp.hold = TP_HOLD_NONE;
	b.policy.auto_enroll = false;
	pass_to_day(&b, 730);
	IS(tick(&b), "alert:expired activate");
	IS(ends(&b, TP_RESULT_OK), "");
	CU_ASSERT_EQUAL(b.tp.hold, TP_HOLD_OPERATOR);
	pass_to_day(&b, 731);
	IS(tick(&b), "alert:expired"); /* daily, and nothing is retired */
	IS(tick(&b), "");
	b.policy.auto_enroll = true; /* the policy changes */
	IS(start(&b, true), "prepare");
	CU_ASSERT_EQUAL(b.tp.hold, TP_HOLD_NONE);
}

/* ---- operators */

/* Enrolled so that the ID ends 13 s before its CA: the shadow would begin 13 s too late. */
static void a_gap_before_the_switch_is_closed_by_a_renewal(void)
{
	struct bench b = last_of_its_ca(), c;

	b.tp.id.na_sec -= 13;
	CU_ASSERT_TRUE(tp_ends_with_ca(&b.tp.id, &b.tp.ca));
	pass_to_day(&b, 700.8);
	IS(tick(&b), "prepare");
	CU_ASSERT_EQUAL(b.tp.op, TP_OP_RENEW);
	IS(ends(&b, TP_RESULT_OK), "request");
	c = b;
	IS(ends_with(&b, TP_RESULT_GRANTED, cert_of(700, 730, 8)), "install");
	IS(ends(&b, TP_RESULT_OK), "");
	CU_ASSERT_DOUBLE_EQUAL(due_day(&b, TP_TIMER_SHADOW), 724, 1e-6);
	/* a CA that always ends its certificates early is asked once, then SHADOW comes */
	IS(ends_with(&c, TP_RESULT_GRANTED, (struct tp_cert){.nb_sec = T0_SEC + 700 * DAY_SEC, .na_sec = T0_SEC + 730 * DAY_SEC - 13, .serial_low = 8}),
	   "install");
	IS(ends(&c, TP_RESULT_OK), "");
	CU_ASSERT_EQUAL(due_day(&c, TP_TIMER_RENEW), -1);
	CU_ASSERT_DOUBLE_EQUAL(due_day(&c, TP_TIMER_SHADOW), 724, 1e-3);
}

static void without_a_pin_an_operator_is_waited_for(void)
{
	struct bench b = bench_new();

	b.policy.pinned = false;
	IS(start(&b, false), "");
	CU_ASSERT_EQUAL(b.tp.hold, TP_HOLD_OPERATOR);
	CU_ASSERT_EQUAL(wait_of(&b), -1);
	IS(command(&b, TP_COMMAND_ENROLL), "");
	CU_ASSERT_EQUAL(b.tp.hold, TP_HOLD_OPERATOR);
	IS(command(&b, TP_COMMAND_AUTHENTICATE), "authenticate");
	IS(ends_with(&b, TP_RESULT_OK, cert_of(0, 730, 1)), "prepare");
	CU_ASSERT_EQUAL(b.tp.hold, TP_HOLD_NONE);
}

static void without_auto_enroll_an_operator_enrols(void)
{
	struct bench b = bench_new();

	b.policy.auto_enroll = false;
	IS(start(&b, false), "authenticate");
	IS(ends_with(&b, TP_RESULT_OK, cert_of(0, 730, 1)), "");
	CU_ASSERT_EQUAL(b.tp.hold, TP_HOLD_OPERATOR);
	IS(command(&b, TP_COMMAND_ENROLL), "prepare");
	IS(ends(&b, TP_RESULT_OK), "request");
	IS(ends_with(&b, TP_RESULT_GRANTED, cert_of(0, 365, 2)), "install");
	IS(ends(&b, TP_RESULT_OK), "");
	CU_ASSERT_EQUAL(due_day(&b, TP_TIMER_RENEW), -1);
	CU_ASSERT_DOUBLE_EQUAL(due_day(&b, TP_TIMER_SHADOW), 657, 1e-6);
}

static void renew_by_hand_follows_the_same_rule(void)
{
	struct bench b = enrolled(), c = last_of_its_ca();

	IS(command(&b, TP_COMMAND_RENEW), "prepare");
	CU_ASSERT_EQUAL(b.tp.op, TP_OP_RENEW);
	IS(command(&c, TP_COMMAND_ENROLL), "fetch-next");
	CU_ASSERT_EQUAL(c.tp.op, TP_OP_SHADOW);
	IS(ends(&c, TP_RESULT_NOT_YET), "");
	IS(command(&c, TP_COMMAND_RENEW), "fetch-next"); /* now, not when the retry is due */
}

static void authenticate_replaces_what_is_in_flight(void)
{
	struct bench b = renewing();

	IS(command(&b, TP_COMMAND_AUTHENTICATE), "abandon authenticate");
	IS(ends_with(&b, TP_RESULT_OK, cert_of(0, 730, 1)), "prepare"); /* the same CA: the ID stays, RENEW is still due */
	CU_ASSERT_EQUAL(b.tp.id.serial_low, 2);
	IS(command(&b, TP_COMMAND_AUTHENTICATE), "authenticate");
	IS(ends_with(&b, TP_RESULT_OK, cert_of(100, 800, 77)), "prepare"); /* another: nothing of the old one is of use */
	CU_ASSERT_EQUAL(b.tp.id.na_sec, 0);
	CU_ASSERT_EQUAL(b.tp.op, TP_OP_ENROLL);
}

/* ---- the clock */

static void an_untrusted_clock_begins_nothing(void)
{
	struct bench b = bench_new(), c = last_of_its_ca();
	struct tp_due due[TP_TIMER_N_];

	b.now.trusted = false;
	IS(start(&b, false), "");
	CU_ASSERT_EQUAL(wait_of(&b), -1);
	b.now.trusted = true;
	IS(tick(&b), "authenticate");

	c.tp.next_ca = cert_of(730, 1460, 5);
	pass_to_day(&c, 900);
	c.now.trusted = false;
	IS(tick(&c), "");
	CU_ASSERT_EQUAL(tp_timers(&c.policy, SEED, &c.tp, &c.now, due), 0);
	CU_ASSERT_STRING_EQUAL(tp_status_name(&c.policy, &c.tp, &c.now), "enrolled"); /* nothing is called expired */
	c.now.trusted = true;
	IS(tick(&c), "alert:expired activate");
}

static void an_untrusted_clock_does_not_stop_what_has_begun(void)
{
	struct bench b = renewing();

	b.now.trusted = false;
	IS(ends(&b, TP_RESULT_PENDING), "");
	IS(pass_to_next(&b), "poll");
	IS(ends_with(&b, TP_RESULT_GRANTED, cert_of(292, 657, 3)), "install");
	IS(ends(&b, TP_RESULT_OK), "");
	CU_ASSERT_EQUAL(wait_of(&b), -1);
}

static void alerts_come_as_written_and_stop_with_a_shadow(void)
{
	struct bench b = enrolled();

	b.policy.auto_enroll = false;
	(void)start(&b, true);
	CU_ASSERT_DOUBLE_EQUAL(due_day(&b, TP_TIMER_ALERT), 305, 1e-6);
	pass_to_day(&b, 305);
	IS(tick(&b), "alert:expiring");
	CU_ASSERT_DOUBLE_EQUAL(due_day(&b, TP_TIMER_ALERT), 312, 1e-6);
	pass_to_day(&b, 358);
	IS(tick(&b), "alert:expiring");
	CU_ASSERT_DOUBLE_EQUAL(due_day(&b, TP_TIMER_ALERT), 359, 1e-6);
	pass_to_day(&b, 365);
	IS(tick(&b), "alert:expired");
	CU_ASSERT_DOUBLE_EQUAL(due_day(&b, TP_TIMER_ALERT), 366, 1e-6);
}

/* ---- coming back */

static const struct {
	const char *why;
	enum tp_op op;
	enum tp_stage stage;
	const char *want;
} recoveries[] = {
	{"nothing fetched yet", TP_OP_AUTH, TP_STAGE_BEGIN, "authenticate"},
	{"no CSR yet", TP_OP_ENROLL, TP_STAGE_BEGIN, "prepare"},
	{"the request may have left", TP_OP_ENROLL, TP_STAGE_PREPARED, "request"},
	{"pending", TP_OP_ENROLL, TP_STAGE_PENDING, "poll"},
	{"granted, not installed", TP_OP_ENROLL, TP_STAGE_GRANTED, "install"},
	{"RENEW: no CSR yet", TP_OP_RENEW, TP_STAGE_BEGIN, "prepare"},
	{"RENEW: may have left", TP_OP_RENEW, TP_STAGE_PREPARED, "request"},
	{"RENEW: granted", TP_OP_RENEW, TP_STAGE_GRANTED, "install"},
	{"SHADOW: next CA not fetched", TP_OP_SHADOW, TP_STAGE_BEGIN, "fetch-next"},
	{"SHADOW: next CA stored", TP_OP_SHADOW, TP_STAGE_PREPARE, "prepare"},
	{"SHADOW: may have left", TP_OP_SHADOW, TP_STAGE_PREPARED, "request"},
	{"SHADOW: pending", TP_OP_SHADOW, TP_STAGE_PENDING, "poll"},
};

static struct bench interrupted(size_t i)
{
	struct bench b = bench_new();

	if (recoveries[i].op != TP_OP_AUTH)
		b.tp.ca = cert_of(0, 730, 1);
	if (recoveries[i].op == TP_OP_RENEW || recoveries[i].op == TP_OP_SHADOW)
		b.tp.id = cert_of(0, recoveries[i].op == TP_OP_SHADOW ? 730 : 365, 2);
	if (recoveries[i].op == TP_OP_SHADOW && recoveries[i].stage != TP_STAGE_BEGIN)
		b.tp.next_ca = cert_of(730, 1460, 5);
	if (recoveries[i].stage == TP_STAGE_GRANTED)
		b.tp.granted = cert_of(0, 365, 3);
	b.tp.op = recoveries[i].op;
	b.tp.stage = recoveries[i].stage;
	return b;
}

static void start_takes_each_stage_up_again(void)
{
	for (size_t i = 0; i < N(recoveries); i++) {
		struct bench b = interrupted(i), same = interrupted(i), soon = interrupted(i);

		IS(start(&b, false), recoveries[i].want);
		same.tp.last_request.ms = same.now.boot.ms - 10000; /* it crashed 10 s after a request */
		if (recoveries[i].stage != TP_STAGE_GRANTED) {
			IS(start(&same, true), "");
			CU_ASSERT_EQUAL(wait_of(&same), TIMER_MINUTE_MS - 10000);
			IS(pass_to_next(&same), recoveries[i].want);
		}
		soon.policy.jitter = true; /* a fleet after a power cut */
		soon.tp.retry_armed = true;
		soon.tp.retry_at.ms = 77 * TIMER_DAY_MS; /* of another boot */
		(void)start(&soon, false);
		CU_ASSERT_TRUE(soon.tp.busy == TP_ACT_INSTALL || wait_of(&soon) <= TIMER_MINUTE_MS);
	}
}

static void boot_times_of_another_boot_are_not_believed(void)
{
	struct bench b = renewing(), c = renewing();

	IS(ends(&b, TP_RESULT_PENDING), "");
	b.tp.retry_at.ms = b.now.boot.ms + 77 * TIMER_DAY_MS;
	IS(start(&b, true), "");
	CU_ASSERT_EQUAL(wait_of(&b), TIMER_MINUTE_MS);

	IS(ends(&c, TP_RESULT_PENDING), "");
	c.tp.last_request.ms = c.now.boot.ms + 1; /* a request in the future */
	IS(start(&c, true), "poll");
}

static void a_new_policy_does_not_delay_what_is_in_flight(void)
{
	struct bench b = bench_new();

	IS(start(&b, false), "authenticate");
	IS(ends_with(&b, TP_RESULT_OK, cert_of(0, 730, 1)), "prepare");
	IS(start(&b, true), "");
	IS(ends(&b, TP_RESULT_OK), "request"); /* the chain goes on */
}

static void what_follows_a_fetch_of_the_next_ca_keeps_its_distance(void)
{
	struct bench b = enrolled();

	b.policy.auto_enroll = false;
	pass_to_day(&b, 657);
	IS(tick(&b), "alert:expired fetch-next");
	b.policy.auto_enroll = true;
	IS(ends_with(&b, TP_RESULT_OK, cert_of(730, 1460, 5)), "");
	CU_ASSERT_EQUAL(b.tp.op, TP_OP_ENROLL);
	CU_ASSERT_EQUAL(wait_of(&b), TIMER_MINUTE_MS);
}

static void a_clock_set_back_keeps_no_key_for_ever(void)
{
	struct bench b = renewing();

	IS(ends_with(&b, TP_RESULT_GRANTED, cert_of(292, 657, 3)), "install");
	IS(ends(&b, TP_RESULT_OK), "");
	b.now.wall.ms -= 20 * 365 * TIMER_DAY_MS;
	IS(tick(&b), "");
	pass(&b, TIMER_DAY_MS);
	IS(tick(&b), "retire");
}

static void a_rollover_that_is_known_is_not_waited_for(void)
{
	struct bench b = last_of_its_ca();

	b.tp.id = cert_of(725, 730, 4); /* (1-p) of 5 d is not under 24 h */
	b.tp.next_ca = cert_of(730, 1460, 5);
	b.tp.alert_at.ms = 0;
	pass_to_day(&b, 726);
	IS(tick(&b), "");
	b.tp.id = cert_of(726, 730, 4); /* of 4 d it is */
	IS(tick(&b), "fetch-next");
}

static void a_poll_keeps_its_moment_across_a_restart(void)
{
	struct bench b = renewing();

	IS(ends(&b, TP_RESULT_PENDING), "");
	pass(&b, 20000);
	IS(start(&b, true), "");
	CU_ASSERT_EQUAL(wait_of(&b), 40000);
}

/* ---- small things */

static void ends_with_ca_table(void)
{
	static const struct {
		const char *why;
		struct tp_cert id, ca;
		bool want;
	} table[] = {
		{"the same second", {0, 1000000, 0}, {0, 1000000, 0}, true}, {"later", {0, 1000001, 0}, {0, 1000000, 0}, true},
		{"60 s before", {0, 999940, 0}, {0, 1000000, 0}, true}, {"61 s before", {0, 999939, 0}, {0, 1000000, 0}, false},
		{"1 % of a short life before", {900, 990, 0}, {0, 990, 0}, true}, {"more than 1 % of a short life", {900, 988, 0}, {0, 990, 0}, false},
		{"no ID", {0, 0, 0}, {0, 990, 0}, false}, {"no CA", {0, 990, 0}, {0, 0, 0}, false},
	};

	for (size_t i = 0; i < N(table); i++)
		CU_ASSERT_EQUAL(tp_ends_with_ca(&table[i].id, &table[i].ca), table[i].want);
}

static void timers_tell_why(void)
{
	struct bench b = enrolled();
	struct tp_due due[TP_TIMER_N_];

	CU_ASSERT_EQUAL(tp_timers(&b.policy, SEED, &b.tp, &b.now, due), 2);
	CU_ASSERT_EQUAL(due[0].timer, TP_TIMER_RENEW);
	CU_ASSERT_STRING_EQUAL(due[0].why, "80 % of 365 d");
	CU_ASSERT_STRING_EQUAL(due[0].missed, "retry 1 min, 2 min ... 1 h");
	CU_ASSERT_STRING_EQUAL(due[1].why, "certificate ends in 365 d");
	b.policy.jitter = true;
	CU_ASSERT_EQUAL(tp_timers(&b.policy, SEED, &b.tp, &b.now, due), 2);
	CU_ASSERT_PTR_NOT_NULL(strstr(due[0].why, "80 % of 365 d, jitter -"));
	b = shadowing();
	(void)ends(&b, TP_RESULT_PENDING);
	CU_ASSERT_EQUAL(tp_timers(&b.policy, SEED, &b.tp, &b.now, due), 3);
	CU_ASSERT_STRING_EQUAL(due[0].why, "shadow pending, try 1 of 999");
	CU_ASSERT_STRING_EQUAL(due[0].missed, "next in 2 min");
	CU_ASSERT_EQUAL(due[2].timer, TP_TIMER_ACTIVATE);
	CU_ASSERT_TRUE(due[2].exact);
	CU_ASSERT_STRING_EQUAL(due[2].why, "CA certificate ends, exact; no shadow certificate yet");
}

static void status_words(void)
{
	struct bench b = bench_new(), c = renewing(), d = shadowing();

	CU_ASSERT_STRING_EQUAL(tp_status_name(&b.policy, &b.tp, &b.now), "unauthenticated");
	(void)start(&b, false);
	(void)ends_with(&b, TP_RESULT_OK, cert_of(0, 730, 1));
	CU_ASSERT_STRING_EQUAL(tp_status_name(&b.policy, &b.tp, &b.now), "enrolling");
	b.tp.op = TP_OP_NONE;
	CU_ASSERT_STRING_EQUAL(tp_status_name(&b.policy, &b.tp, &b.now), "authenticated");
	CU_ASSERT_STRING_EQUAL(tp_status_name(&c.policy, &c.tp, &c.now), "enrolled");
	(void)ends(&c, TP_RESULT_PENDING);
	CU_ASSERT_STRING_EQUAL(tp_status_name(&c.policy, &c.tp, &c.now), "pending");
	(void)pass_to_next(&c);
	(void)ends(&c, TP_RESULT_REJECTED);
	CU_ASSERT_STRING_EQUAL(tp_status_name(&c.policy, &c.tp, &c.now), "held");
	(void)ends_with(&d, TP_RESULT_GRANTED, cert_of(730, 1095, 6));
	CU_ASSERT_STRING_EQUAL(tp_status_name(&d.policy, &d.tp, &d.now), "shadowed");
}

static void every_value_has_its_word(void)
{
	CU_ASSERT_STRING_EQUAL(tp_op_name(TP_OP_SHADOW), "shadow");
	CU_ASSERT_STRING_EQUAL(tp_stage_name(TP_STAGE_PREPARED), "prepared");
	CU_ASSERT_STRING_EQUAL(tp_hold_name(TP_HOLD_REJECTED), "rejected");
	CU_ASSERT_STRING_EQUAL(tp_act_name(TP_ACT_ALERT), "alert");
	CU_ASSERT_STRING_EQUAL(tp_result_name(TP_RESULT_LOCAL), "local");
	CU_ASSERT_STRING_EQUAL(tp_event_name(TP_EV_COMMAND), "command");
	CU_ASSERT_STRING_EQUAL(tp_timer_name(TP_TIMER_CONNECT_RETRY), "CONNECT RETRY");
	CU_ASSERT_STRING_EQUAL(tp_alert_name(TP_ALERT_NO_SHADOW), "no-shadow");
	CU_ASSERT_STRING_EQUAL(tp_op_name(TP_OP_N_), "unknown");
	CU_ASSERT_STRING_EQUAL(tp_act_name((enum tp_act)-1), "unknown");
}

static CU_TestInfo plain[] = {
	{"first enrolment: authenticate, prepare, request, install", first_enrolment},
	{"renewal keeps the previous pair for its grace", renewal},
	{"shadow, then the switch at the exact moment", shadow_and_switch},
	{"a next CA valid from now switches a second early", a_next_ca_valid_now_switches_a_second_early},
	{"nothing begins while something is in flight", nothing_begins_while_something_is_in_flight},
	{"a DONE of something else is ignored", a_done_of_something_else_is_ignored},
	CU_TEST_INFO_NULL,
};
static CU_TestInfo retries[] = {
	{"a lost reply sends the same request again", a_lost_reply_sends_the_same_request},
	{"after PENDING it only polls", after_pending_it_only_polls},
	{"a verdict begins the count of failures anew", a_verdict_begins_the_count_anew},
	{"Retry-After is honoured, within reason", retry_after_is_honoured},
	{"polls used up: alarm, and anew after an hour", polls_used_up_begin_anew_after_an_hour},
	{"RetryCount=0 polls without limit", no_limit_of_polls},
	{"not yet is tried until the CA ends", not_yet_is_tried_until_the_ca_ends},
	{"requests keep their distance, but for an operator's", requests_keep_their_distance},
	CU_TEST_INFO_NULL,
};
static CU_TestInfo verdicts[] = {
	{"a rejection holds until an operator asks", a_rejection_holds_until_an_operator_asks},
	{"a held trustpoint still learns the next CA", a_held_trustpoint_still_learns_the_next_ca},
	{"a rejection of a dead signer enrols anew, once", a_rejected_dead_signer_enrols_anew},
	{"a dead signer is given up after three tries", a_dead_signer_is_given_up_after_three_tries},
	{"an expired grant is no answer", an_expired_grant_is_no_answer},
	{"another fingerprint is told daily", another_fingerprint_is_told_daily},
	{"a next CA must take over from the active one", a_next_ca_must_take_over},
	{"a cancelled rollover drops its shadow", a_cancelled_rollover_drops_its_shadow},
	CU_TEST_INFO_NULL,
};
static CU_TestInfo switches[] = {
	{"it ends a pending renewal, which starts anew", the_switch_ends_a_pending_renewal},
	{"a pending shadow polls on", a_pending_shadow_polls_on_after_the_switch},
	{"a shadow rejected after it enrols", a_shadow_rejected_after_the_switch_enrols},
	{"it does not wait for a silent CA", the_switch_does_not_wait_for_a_silent_ca},
	{"a request that it cut short keeps its distance", a_request_cut_short_by_the_switch_keeps_its_distance},
	{"it waits for a delivery", the_switch_waits_for_a_delivery},
	{"failed, it is repeated at once", a_failed_switch_is_repeated_at_once},
	{"the next CA is fetched beside a stuck renewal", the_next_ca_is_fetched_beside_a_stuck_renewal},
	{"an expired ID enrols anew", an_expired_id_enrols_anew},
	{"a CA that ends without a successor is authenticated again", a_ca_that_ends_without_a_successor},
	{"a gap before the switch is closed by a renewal", a_gap_before_the_switch_is_closed_by_a_renewal},
	{"without a shadow only the CA switches", a_ca_only_switch_enrols},
	CU_TEST_INFO_NULL,
};
static CU_TestInfo outside[] = {
	{"without a pin an operator is waited for", without_a_pin_an_operator_is_waited_for},
	{"without auto-enroll an operator enrols", without_auto_enroll_an_operator_enrols},
	{"renew by hand follows the timers' rule", renew_by_hand_follows_the_same_rule},
	{"authenticate replaces what is in flight", authenticate_replaces_what_is_in_flight},
	{"an untrusted clock begins nothing", an_untrusted_clock_begins_nothing},
	{"an untrusted clock does not stop what has begun", an_untrusted_clock_does_not_stop_what_has_begun},
	{"alerts: 60 days before, weekly, daily", alerts_come_as_written_and_stop_with_a_shadow},
	{"START takes each stage up again", start_takes_each_stage_up_again},
	{"boot times of another boot are not believed", boot_times_of_another_boot_are_not_believed},
	{"a new policy does not delay what is in flight", a_new_policy_does_not_delay_what_is_in_flight},
	{"what follows a fetch of the next CA keeps its distance", what_follows_a_fetch_of_the_next_ca_keeps_its_distance},
	{"a clock set back keeps no key for ever", a_clock_set_back_keeps_no_key_for_ever},
	{"SHADOW comes at once when little is left and a rollover is known", a_rollover_that_is_known_is_not_waited_for},
	{"a poll keeps its moment across a restart", a_poll_keeps_its_moment_across_a_restart},
	CU_TEST_INFO_NULL,
};
static CU_TestInfo words[] = {
	{"ID and CA end together within a tolerance", ends_with_ca_table},
	{"timers tell why, and what follows", timers_tell_why},
	{"status words", status_words},
	{"every value has its word", every_value_has_its_word},
	CU_TEST_INFO_NULL,
};
CU_SuiteInfo test_suites[] = {
	{.pName = "the plain way", .pTests = plain},   {.pName = "no verdict", .pTests = retries},	{.pName = "verdicts", .pTests = verdicts},
	{.pName = "the switch and ends", .pTests = switches}, {.pName = "operators, clocks, restarts", .pTests = outside}, {.pName = "words", .pTests = words},
	CU_SUITE_INFO_NULL,
};

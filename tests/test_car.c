/* What becomes of a request: one good set of facts, then one thing is different. */
#include <string.h>

#include "lifecycle/car.h"
#include "tests/test_main.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))
#define GOOD .csr_allowed = true, .same_subject = true

static const struct car_policy manual = {.grant = CAR_GRANT_MANUAL, .grant_renewals = true};
static const struct car_policy strict = {.grant = CAR_GRANT_MANUAL};
static const struct car_policy automatic = {.grant = CAR_GRANT_AUTO};
static const struct car_policy none = {.grant = CAR_GRANT_NONE, .grant_renewals = true};

static const struct {
	const char *why;
	const struct car_policy *policy;
	struct car_facts facts;
	enum car_verdict want;
	enum car_fail fail;
} requests[] = {
	{"a first request waits", &manual, {GOOD, .signer = CAR_SIGNER_SELF}, CAR_VERDICT_PENDING, 0},
	{"a first request with Grant=auto", &automatic, {GOOD, .signer = CAR_SIGNER_SELF}, CAR_VERDICT_GRANT, 0},
	{"a first request with Grant=none", &none, {GOOD, .signer = CAR_SIGNER_SELF}, CAR_VERDICT_REJECT, CAR_FAIL_BAD_REQUEST},
	{"a renewal is granted", &manual, {GOOD, .signer = CAR_SIGNER_ISSUED}, CAR_VERDICT_GRANT, 0},
	{"a renewal of type 17", &manual, {GOOD, .signer = CAR_SIGNER_ISSUED, .renewal_type = true}, CAR_VERDICT_GRANT, 0},
	{"a renewal under the rollover CA", &manual, {GOOD, .signer = CAR_SIGNER_ISSUED, .recipient = CAR_RECIPIENT_NEXT}, CAR_VERDICT_GRANT, 0},
	{"a renewal even with Grant=none", &none, {GOOD, .signer = CAR_SIGNER_ISSUED}, CAR_VERDICT_GRANT, 0},
	{"not without GrantRenewals", &strict, {GOOD, .signer = CAR_SIGNER_ISSUED}, CAR_VERDICT_PENDING, 0},
	{"not for another subject", &manual, {.csr_allowed = true, .signer = CAR_SIGNER_ISSUED}, CAR_VERDICT_PENDING, 0},
	{"not with new names", &manual, {GOOD, .signer = CAR_SIGNER_ISSUED, .new_names = true}, CAR_VERDICT_PENDING, 0},
	{"not when the signer has expired", &manual, {GOOD, .signer = CAR_SIGNER_EXPIRED}, CAR_VERDICT_PENDING, 0},
	{"not when it is self-signed", &manual, {GOOD, .signer = CAR_SIGNER_SELF, .renewal_type = true}, CAR_VERDICT_REJECT, CAR_FAIL_BAD_REQUEST},
	{"a revoked signer", &automatic, {GOOD, .signer = CAR_SIGNER_REVOKED}, CAR_VERDICT_REJECT, CAR_FAIL_BAD_MESSAGE_CHECK},
	{"a revoked signer asks again", &automatic, {GOOD, .signer = CAR_SIGNER_REVOKED, .stored = CAR_STATUS_GRANTED}, CAR_VERDICT_REJECT,
	 CAR_FAIL_BAD_MESSAGE_CHECK},
	{"an unknown signer", &automatic, {GOOD, .signer = CAR_SIGNER_UNKNOWN}, CAR_VERDICT_REJECT, CAR_FAIL_BAD_MESSAGE_CHECK},
	{"a signer out of range", &automatic, {GOOD, .signer = CAR_SIGNER_N_}, CAR_VERDICT_REJECT, CAR_FAIL_BAD_MESSAGE_CHECK},
	{"a recipient out of range", &automatic, {GOOD, .recipient = CAR_RECIPIENT_N_}, CAR_VERDICT_REJECT, CAR_FAIL_BAD_REQUEST},
	{"the previous CA issues no more", &automatic, {GOOD, .recipient = CAR_RECIPIENT_PREVIOUS}, CAR_VERDICT_REJECT, CAR_FAIL_BAD_REQUEST},
	{"but it repeats what it said", &automatic, {GOOD, .recipient = CAR_RECIPIENT_PREVIOUS, .stored = CAR_STATUS_GRANTED}, CAR_VERDICT_SAME, 0},
	{"a CSR outside policy", &automatic, {.same_subject = true, .signer = CAR_SIGNER_ISSUED}, CAR_VERDICT_REJECT, CAR_FAIL_BAD_REQUEST},
	{"another's key", &automatic, {GOOD, .csr_key_in_use = true}, CAR_VERDICT_REJECT, CAR_FAIL_BAD_REQUEST},
	{"the same request again", &strict, {GOOD, .stored = CAR_STATUS_GRANTED}, CAR_VERDICT_SAME, 0},
	{"the same request, its signer expired meanwhile", &strict, {GOOD, .signer = CAR_SIGNER_EXPIRED, .stored = CAR_STATUS_GRANTED}, CAR_VERDICT_SAME, 0},
	{"a crash came before the signature", &strict, {GOOD, .stored = CAR_STATUS_INTENT}, CAR_VERDICT_FINISH, 0},
	{"rejected before", &automatic, {GOOD, .stored = CAR_STATUS_REJECTED}, CAR_VERDICT_REJECT, CAR_FAIL_BAD_REQUEST},
	{"an operator granted it", &strict, {GOOD, .stored = CAR_STATUS_AUTHORIZED}, CAR_VERDICT_GRANT, 0},
	{"still pending", &strict, {GOOD, .stored = CAR_STATUS_PENDING}, CAR_VERDICT_PENDING, 0},
	{"an expired one counts as new", &strict, {GOOD, .stored = CAR_STATUS_EXPIRED}, CAR_VERDICT_PENDING, 0},
};

static void request_table(void)
{
	for (size_t i = 0; i < N(requests); i++) {
		struct car_decision decision = car_decide(requests[i].policy, &requests[i].facts);

		if (decision.verdict != requests[i].want)
			CU_FAIL(requests[i].why);
		CU_ASSERT_EQUAL(decision.verdict, requests[i].want);
		if (decision.verdict == CAR_VERDICT_REJECT)
			CU_ASSERT_EQUAL(decision.fail, requests[i].fail);
		CU_ASSERT_PTR_NOT_NULL(decision.why);
	}
}

/* Nothing at all is known: the answer is no. */
static void default_is_deny(void)
{
	struct car_policy policy = {.grant = CAR_GRANT_N_};
	struct car_facts facts = {GOOD, .signer = CAR_SIGNER_SELF};

	CU_ASSERT_EQUAL(car_decide(&policy, &facts).verdict, CAR_VERDICT_REJECT);
	facts = (struct car_facts){0};
	CU_ASSERT_EQUAL(car_decide(&automatic, &facts).verdict, CAR_VERDICT_REJECT);
}

static const struct {
	enum car_status stored;
	enum car_verdict want;
	enum car_fail fail;
} polls[] = {
	{CAR_STATUS_NONE, CAR_VERDICT_REJECT, CAR_FAIL_BAD_CERT_ID},	 {CAR_STATUS_EXPIRED, CAR_VERDICT_REJECT, CAR_FAIL_BAD_CERT_ID},
	{CAR_STATUS_N_, CAR_VERDICT_REJECT, CAR_FAIL_BAD_CERT_ID},	 {CAR_STATUS_REJECTED, CAR_VERDICT_REJECT, CAR_FAIL_BAD_REQUEST},
	{CAR_STATUS_PENDING, CAR_VERDICT_PENDING, CAR_FAIL_BAD_REQUEST}, {CAR_STATUS_AUTHORIZED, CAR_VERDICT_GRANT, CAR_FAIL_BAD_REQUEST},
	{CAR_STATUS_INTENT, CAR_VERDICT_FINISH, CAR_FAIL_BAD_REQUEST},	 {CAR_STATUS_GRANTED, CAR_VERDICT_SAME, CAR_FAIL_BAD_REQUEST},
};

static void poll_table(void)
{
	for (size_t i = 0; i < N(polls); i++) {
		struct car_decision decision = car_decide_poll(polls[i].stored);

		CU_ASSERT_EQUAL(decision.verdict, polls[i].want);
		CU_ASSERT_EQUAL(decision.fail, polls[i].fail);
	}
}

static void fail_numbers_are_the_wire_s(void)
{
	CU_ASSERT_EQUAL(CAR_FAIL_BAD_ALG, 0);
	CU_ASSERT_EQUAL(CAR_FAIL_BAD_MESSAGE_CHECK, 1);
	CU_ASSERT_EQUAL(CAR_FAIL_BAD_REQUEST, 2);
	CU_ASSERT_EQUAL(CAR_FAIL_BAD_TIME, 3);
	CU_ASSERT_EQUAL(CAR_FAIL_BAD_CERT_ID, 4);
}

static void names(void)
{
	CU_ASSERT_STRING_EQUAL(car_status_name(CAR_STATUS_NONE), "none");
	CU_ASSERT_STRING_EQUAL(car_status_name(CAR_STATUS_INTENT), "intent");
	CU_ASSERT_STRING_EQUAL(car_status_name(CAR_STATUS_EXPIRED), "expired");
	CU_ASSERT_STRING_EQUAL(car_status_name(CAR_STATUS_N_), "unknown");
}

static CU_TestInfo tests[] = {
	{"requests: who is granted, who waits, who is refused", request_table},
	{"where nothing is known the answer is no", default_is_deny},
	{"polls", poll_table},
	{"failInfo has the numbers of RFC 8894 3.2.1.4", fail_numbers_are_the_wire_s},
	{"each status has its word", names},
	CU_TEST_INFO_NULL,
};
CU_SuiteInfo test_suites[] = {{.pName = "a CA request's life", .pTests = tests}, CU_SUITE_INFO_NULL};

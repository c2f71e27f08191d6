#include "lifecycle/car.h"

#include <assert.h>
#include <stddef.h>

static struct car_decision say(enum car_verdict verdict, const char *why)
{
	return (struct car_decision){.verdict = verdict, .fail = CAR_FAIL_BAD_REQUEST, .why = why};
}

static struct car_decision reject(enum car_fail fail, const char *why)
{
	return (struct car_decision){.verdict = CAR_VERDICT_REJECT, .fail = fail, .why = why};
}

/* What is settled already is answered as it was, whoever may ask today: the reply can only be read by the one who asked. */
static bool settled(enum car_status stored, struct car_decision *ret)
{
	switch (stored) {
	case CAR_STATUS_GRANTED:
		*ret = say(CAR_VERDICT_SAME, "the same request was granted before");
		return true;
	case CAR_STATUS_INTENT:
		*ret = say(CAR_VERDICT_FINISH, "the certificate is recorded and not signed yet");
		return true;
	case CAR_STATUS_REJECTED:
		*ret = reject(CAR_FAIL_BAD_REQUEST, "the same request was rejected before");
		return true;
	case CAR_STATUS_NONE:
	case CAR_STATUS_PENDING:
	case CAR_STATUS_AUTHORIZED:
	case CAR_STATUS_EXPIRED:
	case CAR_STATUS_N_:
		break;
	}
	return false;
}

/* Why the request can never be granted; NULL: it can. */
static const char *objection(const struct car_facts *facts)
{
	if (!facts->csr_allowed)
		return "the CSR is not within policy";
	if (facts->csr_key_in_use)
		return "another subject holds a certificate with this key";
	if (facts->recipient == CAR_RECIPIENT_PREVIOUS)
		return "addressed to the previous CA, which issues no more";
	if (facts->recipient != CAR_RECIPIENT_ACTIVE && facts->recipient != CAR_RECIPIENT_NEXT)
		return "the recipient is not known";
	if (facts->renewal_type && facts->signer == CAR_SIGNER_SELF)
		return "a RenewalReq signed by no certificate of this CA";
	return NULL;
}

static bool is_renewal(const struct car_facts *facts)
{
	return facts->signer == CAR_SIGNER_ISSUED && facts->same_subject && !facts->new_names;
}

static struct car_decision decide_new(const struct car_policy *policy, const struct car_facts *facts)
{
	if (facts->stored == CAR_STATUS_AUTHORIZED)
		return say(CAR_VERDICT_GRANT, "authorized by an operator");
	if (policy->grant_renewals && is_renewal(facts))
		return say(CAR_VERDICT_GRANT, "signed by an active certificate of the same subject");
	switch (policy->grant) {
	case CAR_GRANT_AUTO:
		return say(CAR_VERDICT_GRANT, "Grant=auto");
	case CAR_GRANT_MANUAL:
		if (facts->stored == CAR_STATUS_PENDING)
			return say(CAR_VERDICT_PENDING, "waits for an operator");
		return say(CAR_VERDICT_PENDING, "Grant=manual");
	case CAR_GRANT_NONE:
	case CAR_GRANT_N_:
		break;
	}
	return reject(CAR_FAIL_BAD_REQUEST, "Grant=none");
}

struct car_decision car_decide(const struct car_policy *policy, const struct car_facts *facts)
{
	struct car_decision decision;
	const char *why;

	if (facts->signer == CAR_SIGNER_REVOKED)
		return reject(CAR_FAIL_BAD_MESSAGE_CHECK, "the signer's certificate is revoked");
	/* EXPIRED proves no more than SELF does, and no less: an operator may still grant it */
	if (facts->signer != CAR_SIGNER_SELF && facts->signer != CAR_SIGNER_ISSUED && facts->signer != CAR_SIGNER_EXPIRED)
		return reject(CAR_FAIL_BAD_MESSAGE_CHECK, "the signer is not known");
	if (settled(facts->stored, &decision))
		return decision;
	why = objection(facts);
	if (why)
		return reject(CAR_FAIL_BAD_REQUEST, why);
	return decide_new(policy, facts);
}

struct car_decision car_decide_poll(enum car_status stored)
{
	struct car_decision decision;

	if (settled(stored, &decision))
		return decision;
	if (stored == CAR_STATUS_AUTHORIZED)
		return say(CAR_VERDICT_GRANT, "authorized by an operator");
	if (stored == CAR_STATUS_PENDING)
		return say(CAR_VERDICT_PENDING, "waits for an operator");
	return reject(CAR_FAIL_BAD_CERT_ID, "no such request");
}

static const char *const status_names[] = {"none", "pending", "authorized", "intent", "granted", "rejected", "expired"};
static_assert(sizeof(status_names) / sizeof(status_names[0]) == CAR_STATUS_N_, "a name for each status");

const char *car_status_name(enum car_status status)
{
	return (unsigned)status < CAR_STATUS_N_ ? status_names[status] : "unknown";
}

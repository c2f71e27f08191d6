/* The state file: what is written is what is read, and what is broken is named, never half-believed. */
#include <CUnit/CUnit.h>
#include <errno.h>
#include <openssl/rsa.h>
#include <string.h>
#include <unistd.h>

#include "agent/state.h"
#include "common/auto_ssl.h"
#include "common/fs.h"
#include "tests/agent_fixture.h"
#include "tests/test_main.h"

#define T0 INT64_C(1800000000)
#define DAY INT64_C(86400)

static EVP_PKEY *key;
static X509 *ca, *id, *stray;
static struct record full;

static int record_fill(void)
{
	struct tp_state *s = &full.state;

	if (bag_add(&full.bag, &ca, 1, &s->ca, NULL) < 0 || bag_add(&full.bag, &id, 1, &s->id, NULL) < 0 ||
	    bag_add(&full.bag, &stray, 1, NULL, NULL) < 0 || buf_set(&full.request.csr, "\x30\x03\x02\x01\x07", 5) < 0 ||
	    buf_set(&full.request.signer_pem, "-----BEGIN", 10) < 0)
		return -1;
	s->op = TP_OP_RENEW;
	s->stage = TP_STAGE_PENDING;
	s->hold = TP_HOLD_NONE;
	s->polls = 3;
	s->failures = 2;
	s->retry_armed = true;
	s->retry_at.ms = 123456789;
	s->alert_at.ms = T0 * 1000;
	s->retire_at.ms = T0 * 1000 + 1;
	s->last_request.ms = 77;
	s->draws = UINT64_MAX - 1;
	s->activate_failures = 4;
	s->activate_at.ms = 5;
	s->refused = true;
	s->ca_only = true;
	(void) snprintf(full.boot_id, sizeof(full.boot_id), "0b6a5a6e-7c1c-4d6e-9a51-111111111111");
	(void) snprintf(full.request.transaction_id, sizeof(full.request.transaction_id), "00112233445566778899aabbccddeeff");
	(void) snprintf(full.request.spki, sizeof(full.request.spki), "%064d", 7);
	full.request.new_key = true;
	full.request.as_pkcs_req = true;
	full.request.recipient = s->ca;
	full.generation = 12;
	full.staged = 13;
	(void) snprintf(full.generation_sha256, STATE_HEX, "%064d", 1);
	(void) snprintf(full.staged_sha256, STATE_HEX, "%064d", 2);
	(void) snprintf(full.previous_spki, STATE_HEX, "%064d", 3);
	(void) snprintf(full.operator_pin, STATE_HEX, "%064d", 4);
	full.notify = (struct notify){ .units = true, .hook = false, .reason = "renew" };
	(void) snprintf(full.protection, STATE_WORD, "kernel");
	(void) snprintf(full.at_rest, STATE_WORD, "host");
	full.bits = 3072;
	return 0;
}

static int setup(void)
{
	full = (struct record){ .request = { .csr = BUF_SECRET } };
	key = EVP_RSA_gen(2048);
	if (!key)
		return -1;
	ca = fixture_cert("CA", key, NULL, NULL, T0, T0 + 100 * DAY, 1, true);
	id = fixture_cert("router", key, ca, key, T0 + 5, T0 + 50 * DAY, 0x7fffffff, false);
	stray = fixture_cert("old", key, ca, key, T0 + 6, T0 + 51 * DAY, 3, false);
	return ca && id && stray ? record_fill() : -1;
}

static int teardown(void)
{
	record_clear(&full);
	X509_free(ca);
	X509_free(id);
	X509_free(stray);
	EVP_PKEY_free(key);
	return 0;
}

static void everything_returns(void)
{
	AUTO(buf) struct buf text = BUF_SECRET;
	AUTO(buf) struct buf again = BUF_SECRET;
	AUTO(record) struct record got = { .boot_id = "" };

	CU_ASSERT_EQUAL(state_build(&full, &text, NULL), 0);
	CU_ASSERT_EQUAL(state_parse((const char *) text.data, text.len, &got, NULL), 0);
	CU_ASSERT_EQUAL(got.state.draws, full.state.draws);
	CU_ASSERT_EQUAL(got.state.stage, TP_STAGE_PENDING);
	CU_ASSERT_EQUAL(got.state.retry_at.ms, 123456789);
	CU_ASSERT_TRUE(got.state.ca_only);
	CU_ASSERT_TRUE(bag_same(&got.state.id, &full.state.id));
	CU_ASSERT_EQUAL(got.request.csr.len, 5);
	CU_ASSERT_EQUAL(memcmp(got.request.csr.data, full.request.csr.data, 5), 0);
	CU_ASSERT_TRUE(got.request.csr.secret);
	CU_ASSERT_EQUAL(state_build(&got, &again, NULL), 0);
	CU_ASSERT_EQUAL(again.len, text.len);
	CU_ASSERT_EQUAL(memcmp(again.data, text.data, text.len), 0);
}

static void a_certificate_that_nothing_names_is_left_out(void)
{
	AUTO(buf) struct buf text = BUF_SECRET;
	AUTO(record) struct record got = { .boot_id = "" };

	CU_ASSERT_EQUAL(full.bag.n, 3);
	CU_ASSERT_EQUAL(state_build(&full, &text, NULL), 0);
	CU_ASSERT_EQUAL(state_parse((const char *) text.data, text.len, &got, NULL), 0);
	CU_ASSERT_EQUAL(got.bag.n, 2);
	CU_ASSERT_PTR_NOT_NULL(bag_get0(&got.bag, &full.state.ca));
}

static void an_empty_record_returns(void)
{
	AUTO(buf) struct buf text = BUF_SECRET;
	AUTO(record) struct record got = { .boot_id = "" };
	struct record empty = { .request = { .csr = BUF_SECRET } };

	CU_ASSERT_EQUAL(state_build(&empty, &text, NULL), 0);
	CU_ASSERT_EQUAL(state_parse((const char *) text.data, text.len, &got, NULL), 0);
	CU_ASSERT_EQUAL(got.state.op, TP_OP_NONE);
	CU_ASSERT_EQUAL(got.request.transaction_id[0], '\0');
}

static void every_truncation_is_refused(void)
{
	AUTO(buf) struct buf text = BUF_SECRET;
	size_t i;

	CU_ASSERT_EQUAL(state_build(&full, &text, NULL), 0);
	for (i = 0; i + 1 < text.len; i += 37) {
		AUTO(record) struct record got = { .boot_id = "" };
		struct err e = { 0 };

		CU_ASSERT_EQUAL(state_parse((const char *) text.data, i, &got, &e), -EBADMSG);
		CU_ASSERT_NOT_EQUAL(e.text[0], '\0');
	}
}

/* Replaces the first `from` by `to` of the same or another length. */
static void text_change(struct buf *text, const char *from, const char *to)
{
	AUTO(buf) struct buf out = BUF_EMPTY;
	const char *at = strstr((const char *) text->data, from);
	size_t head = at ? (size_t) (at - (const char *) text->data) : 0;

	CU_ASSERT_PTR_NOT_NULL(at);
	if (!at || buf_add(&out, text->data, head) < 0 || buf_add(&out, to, strlen(to)) < 0 ||
	    buf_add(&out, at + strlen(from), text->len - head - strlen(from)) < 0)
		return;
	buf_clear(text);
	buf_take(text, &out);
}

static void one_wrong_value_is_named(void)
{
	static const struct {
		const char *from, *to, *says;
		int want;
	} rows[] = {
		{ "\"version\": 1", "\"version\": 2", "version 2", -ENOTSUP },
		{ "\"version\": 1", "\"version\": \"1\"", "no version", -EBADMSG },
		{ "\"op\": \"renew\"", "\"op\": \"dance\"", "dance", -EBADMSG },
		{ "\"stage\": \"pending\"", "\"stage\": 7", "lacks a word", -EBADMSG },
		{ "\"polls\": 3", "\"polls\": -3", "out of range", -EBADMSG },
		{ "\"csr\": \"MAM", "\"csr\": \"!!!", "base64", -EBADMSG },
		{ "\"transaction_id\": \"0011", "\"transaction_id\": \"00110011", "transaction_id", -EBADMSG },
		{ "\"certificates\": [", "\"certificates\": [\"x\",", "", -EBADMSG },
		{ "\"draws\": \"ff", "\"draws\": \"zz", "lacks a word", -EBADMSG },
		{ "\"boot_id\"", "\"boot-id\"", "missing", -EBADMSG },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(buf) struct buf text = BUF_SECRET;
		AUTO(record) struct record got = { .boot_id = "" };
		struct err e = { 0 };
		int r;

		CU_ASSERT_EQUAL(state_build(&full, &text, NULL), 0);
		text_change(&text, rows[i].from, rows[i].to);
		r = state_parse((const char *) text.data, text.len, &got, &e);
		CU_ASSERT_EQUAL(r, rows[i].want);
		CU_ASSERT_PTR_NOT_NULL(strstr(e.text, rows[i].says));
		if (r != rows[i].want || !strstr(e.text, rows[i].says))
			(void) fprintf(stderr, "%s -> %s: %d '%s'\n", rows[i].from, rows[i].to, r, e.text);
	}
}

static void a_state_without_its_certificate_is_refused(void)
{
	AUTO(buf) struct buf text = BUF_SECRET;
	AUTO(record) struct record got = { .boot_id = "" };
	struct record lame = full;
	struct err e = { 0 };

	lame.bag.n = 1;
	CU_ASSERT_EQUAL(state_build(&lame, &text, NULL), 0);
	CU_ASSERT_EQUAL(state_parse((const char *) text.data, text.len, &got, &e), -EBADMSG);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "lacks"));
}

static void a_file_survives_its_writing(void)
{
	char path[] = "/tmp/keyroll-state-XXXXXX";
	int fd = mkstemp(path);
	AUTO(record) struct record got = { .boot_id = "" };

	CU_ASSERT_TRUE(fd >= 0);
	CU_ASSERT_EQUAL(state_store(path, &full, NULL), 0);
	CU_ASSERT_EQUAL(state_load(path, &got, NULL), 0);
	CU_ASSERT_EQUAL(got.generation, 12);
	CU_ASSERT_EQUAL(unlink(path), 0);
	record_clear(&got);
	CU_ASSERT_EQUAL(state_load(path, &got, NULL), -ENOENT);
	(void) close(fd); /* nothing was written to it */
}

static CU_TestInfo tests[] = {
	{ "everything returns", everything_returns },
	{ "a certificate that nothing names is left out", a_certificate_that_nothing_names_is_left_out },
	{ "an empty record returns", an_empty_record_returns },
	{ "every truncation is refused", every_truncation_is_refused },
	{ "one wrong value is named", one_wrong_value_is_named },
	{ "a state without its certificate is refused", a_state_without_its_certificate_is_refused },
	{ "a file survives its writing", a_file_survives_its_writing },
	CU_TEST_INFO_NULL,
};
CU_SuiteInfo test_suites[] = { { "the state file", setup, teardown, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

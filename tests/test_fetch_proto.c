/* Frames between keyrolld and keyroll-fetch: what is built is what is parsed, and nothing broken is believed. */
#include <CUnit/CUnit.h>
#include <errno.h>
#include <string.h>

#include "agent/fetch_proto.h"
#include "tests/test_main.h"

static const struct fetch_request request = { .id = 7,
					      .post = true,
					      .max_body = 4096,
					      .url = "http://ca.example/cgi-bin/pkiclient.exe?operation=PKIOperation",
					      .url_len = 62,
					      .body = (const uint8_t *) "\x30\x03\x02\x01\x00",
					      .body_len = 5 };
static const struct fetch_reply reply = { .id = 7,
					  .status = 200,
					  .retry_after_sec = 30,
					  .error = "",
					  .error_len = 0,
					  .type = "application/x-pki-message",
					  .type_len = 25,
					  .body = (const uint8_t *) "\x30\x00",
					  .body_len = 2 };

static void request_returns(void)
{
	AUTO(buf) struct buf b = BUF_EMPTY;
	struct fetch_request got;
	enum fetch_kind kind;

	CU_ASSERT_EQUAL(fetch_request_build(&request, &b), 0);
	CU_ASSERT_EQUAL(fetch_frame(b.data, b.len, &kind), (ssize_t) b.len);
	CU_ASSERT_EQUAL(kind, FETCH_KIND_REQUEST);
	CU_ASSERT_EQUAL(fetch_request_parse(b.data, b.len, &got), 0);
	CU_ASSERT_EQUAL(got.id, 7);
	CU_ASSERT_TRUE(got.post);
	CU_ASSERT_EQUAL(got.max_body, 4096);
	CU_ASSERT_EQUAL(got.url_len, request.url_len);
	CU_ASSERT_EQUAL(memcmp(got.url, request.url, got.url_len), 0);
	CU_ASSERT_EQUAL(got.body_len, 5);
	CU_ASSERT_EQUAL(memcmp(got.body, request.body, 5), 0);
}

static void reply_returns(void)
{
	AUTO(buf) struct buf b = BUF_EMPTY;
	struct fetch_reply got;

	CU_ASSERT_EQUAL(fetch_reply_build(&reply, &b), 0);
	CU_ASSERT_EQUAL(fetch_reply_parse(b.data, b.len, &got), 0);
	CU_ASSERT_EQUAL(got.status, 200);
	CU_ASSERT_EQUAL(got.retry_after_sec, 30);
	CU_ASSERT_EQUAL(got.type_len, 25);
	CU_ASSERT_EQUAL(memcmp(got.type, reply.type, 25), 0);
	CU_ASSERT_EQUAL(got.body_len, 2);
}

static void every_prefix_is_incomplete(void)
{
	AUTO(buf) struct buf b = BUF_EMPTY;
	enum fetch_kind kind;
	size_t i;

	CU_ASSERT_EQUAL(fetch_request_build(&request, &b), 0);
	for (i = 0; i < b.len; i++)
		CU_ASSERT_EQUAL(fetch_frame(b.data, i, &kind), -EAGAIN);
}

/* One byte of a good request is changed; what then is not refused must still be whole and within its bounds. */
static void one_wrong_byte_in_the_lengths_is_refused(void)
{
	static const struct {
		size_t at;
		uint8_t value;
		int want;
		const char *why;
	} rows[] = {
		{ 0, 'X', -EBADMSG, "magic" },		  { 2, 9, -EBADMSG, "unknown kind" },
		{ 2, 2, -EBADMSG, "a reply is no request" }, { 3, 2, -EBADMSG, "unknown version" },
		{ 7, 0, -EBADMSG, "length too short" },	  { 15, 2, -EBADMSG, "post is 0 or 1" },
		{ 16, 0xff, -EMSGSIZE, "reply limit" },	  { 20, 0x7f, -EMSGSIZE, "URL length" },
		{ 23, 1, -EBADMSG, "lengths do not add up" }, { 24, 0xff, -EMSGSIZE, "body length" },
	};
	struct fetch_request got;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(buf) struct buf b = BUF_EMPTY;
		int r;

		CU_ASSERT_EQUAL(fetch_request_build(&request, &b), 0);
		b.data[rows[i].at] = rows[i].value;
		r = fetch_request_parse(b.data, b.len, &got);
		CU_ASSERT_EQUAL(r, rows[i].want);
		if (r != rows[i].want)
			(void) fprintf(stderr, "%s: found %d, wanted %d\n", rows[i].why, r, rows[i].want);
	}
}

static void nul_in_a_text_is_refused(void)
{
	AUTO(buf) struct buf b = BUF_EMPTY;
	AUTO(buf) struct buf c = BUF_EMPTY;
	struct fetch_request q = request;
	struct fetch_reply p = reply, got_p;
	struct fetch_request got;

	q.url = "http://ca\0evil/";
	q.url_len = 15;
	p.type = "text/\0html";
	p.type_len = 10;
	CU_ASSERT_EQUAL(fetch_request_build(&q, &b), 0);
	CU_ASSERT_EQUAL(fetch_request_parse(b.data, b.len, &got), -EBADMSG);
	CU_ASSERT_EQUAL(fetch_reply_build(&p, &c), 0);
	CU_ASSERT_EQUAL(fetch_reply_parse(c.data, c.len, &got_p), -EBADMSG);
}

static void what_is_too_large_is_not_built(void)
{
	AUTO(buf) struct buf b = BUF_EMPTY;
	struct fetch_request q = request;
	struct fetch_reply p = reply;

	q.url_len = LIMIT_URI_BYTES + 1;
	CU_ASSERT_EQUAL(fetch_request_build(&q, &b), -EMSGSIZE);
	q = request;
	q.max_body = LIMIT_CA_REPLY_BYTES + 1;
	CU_ASSERT_EQUAL(fetch_request_build(&q, &b), -EMSGSIZE);
	p.body_len = LIMIT_CA_REPLY_BYTES + 1;
	CU_ASSERT_EQUAL(fetch_reply_build(&p, &b), -EMSGSIZE);
	CU_ASSERT_EQUAL(b.len, 0);
}

static void a_frame_over_the_bound_is_known_by_its_header(void)
{
	static const uint8_t head[FETCH_HEADER_BYTES] = { 'K', 'F', 2, 1, 0x7f, 0xff, 0xff, 0xff };
	enum fetch_kind kind;

	CU_ASSERT_EQUAL(fetch_frame(head, sizeof(head), &kind), -EMSGSIZE);
}

static void two_frames_are_taken_one_by_one(void)
{
	AUTO(buf) struct buf b = BUF_EMPTY;
	enum fetch_kind kind;
	uint32_t id = 0;
	ssize_t n;

	CU_ASSERT_EQUAL(fetch_cancel_build(5, &b), 0);
	CU_ASSERT_EQUAL(fetch_reply_build(&reply, &b), 0);
	n = fetch_frame(b.data, b.len, &kind);
	CU_ASSERT_EQUAL(kind, FETCH_KIND_CANCEL);
	CU_ASSERT_EQUAL(fetch_cancel_parse(b.data, (size_t) n, &id), 0);
	CU_ASSERT_EQUAL(id, 5);
	buf_drop(&b, (size_t) n);
	CU_ASSERT_EQUAL(fetch_frame(b.data, b.len, &kind), (ssize_t) b.len);
	CU_ASSERT_EQUAL(kind, FETCH_KIND_REPLY);
	buf_drop(&b, b.len);
	CU_ASSERT_EQUAL(b.len, 0);
}

static CU_TestInfo frames[] = {
	{ "a request returns as it was built", request_returns },
	{ "a reply returns as it was built", reply_returns },
	{ "every prefix is incomplete", every_prefix_is_incomplete },
	{ "one wrong byte is refused", one_wrong_byte_in_the_lengths_is_refused },
	{ "a NUL in a text is refused", nul_in_a_text_is_refused },
	{ "what is too large is not built", what_is_too_large_is_not_built },
	{ "a frame over the bound is known by its header", a_frame_over_the_bound_is_known_by_its_header },
	{ "two frames are taken one by one", two_frames_are_taken_one_by_one },
	CU_TEST_INFO_NULL,
};
CU_SuiteInfo test_suites[] = { { "frames of keyroll-fetch", NULL, NULL, NULL, NULL, frames }, CU_SUITE_INFO_NULL };

/* Custody's records: what is built is read back, and each broken twin is refused. Over a socket pair, long bodies travel in a sealed memfd. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "keystore/custody_proto.h"
#include "tests/test_main.h"

#define SPKI "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static struct custody_msg sample(void)
{
	return (struct custody_msg){ .op = CUSTODY_OP_SIGN, .id = 0x01020304, .status = -ENOKEY, .slot = 1, .padding = 1, .protection = 3, .number = 77,
				     .label = "tp-1.a", .spki = SPKI, .name = "SHA256", .body = BUF_EMPTY };
}

static bool same(const struct custody_msg *a, const struct custody_msg *b)
{
	return a->op == b->op && a->id == b->id && a->status == b->status && a->slot == b->slot && a->padding == b->padding &&
	       a->protection == b->protection && a->number == b->number && strcmp(a->label, b->label) == 0 && strcmp(a->spki, b->spki) == 0 &&
	       strcmp(a->name, b->name) == 0 && strcmp(a->text, b->text) == 0 && a->body.len == b->body.len &&
	       (a->body.len == 0 || memcmp(a->body.data, b->body.data, a->body.len) == 0);
}

static int built(struct buf *ret)
{
	AUTO(custody_msg) struct custody_msg m = sample();
	int fd = -1, r = buf_set(&m.body, "bytes to be signed", 18);

	if (r == 0)
		r = custody_msg_build(&m, ret, &fd, NULL);
	CU_ASSERT_EQUAL(fd, -1);
	return r;
}

static void test_round_trip(void)
{
	AUTO(custody_msg) struct custody_msg m = sample();
	AUTO(custody_msg) struct custody_msg back = CUSTODY_MSG_EMPTY;
	AUTO(buf) struct buf record = BUF_EMPTY;
	size_t fd_body = 9;

	CU_ASSERT_EQUAL(buf_set(&m.body, "bytes to be signed", 18), 0);
	CU_ASSERT_EQUAL(built(&record), 0);
	CU_ASSERT_EQUAL(record.len, CUSTODY_HEADER_BYTES + 6 + 64 + 6 + 18);
	CU_ASSERT_EQUAL(custody_msg_parse(record.data, record.len, &back, &fd_body, NULL), 0);
	CU_ASSERT_EQUAL(fd_body, 0);
	CU_ASSERT_TRUE(same(&m, &back));
}

static void test_twins(void)
{
	static const struct { const char *why; size_t at; uint8_t byte; int want; } rows[] = {
		{ "nothing changed", 0, 'K', 0 },	     { "magic", 0, 'k', -EBADMSG },
		{ "version", 2, 2, -EBADMSG },		     { "operation beyond the last", 3, CUSTODY_OP_N_, -EBADMSG },
		{ "unknown flag", 15, 2, -EBADMSG },	     { "label longer than it is", 21, 7, -EBADMSG },
		{ "label shorter than it is", 21, 5, -EBADMSG }, { "label of 64 KiB", 20, 255, -EBADMSG },
		{ "spki of 63", 23, 63, -EBADMSG },	     { "name of 255", 25, 255, -EBADMSG },
		{ "a text beside a signature", 27, 1, -EBADMSG }, { "body longer than the record", 31, 19, -EBADMSG },
		{ "body of 4 GiB", 28, 255, -EBADMSG },	     { "blank in the label", 32, ' ', -EBADMSG },
		{ "control character in the label", 33, 7, -EBADMSG }, { "upper case in the spki", 38, 'A', -EBADMSG },
		{ "another slot is the dispatcher's to judge", 12, 200, 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(custody_msg) struct custody_msg back = CUSTODY_MSG_EMPTY;
		AUTO(buf) struct buf record = BUF_EMPTY;
		size_t fd_body;
		int r;

		CU_ASSERT_EQUAL(built(&record), 0);
		record.data[rows[i].at] = rows[i].byte;
		r = custody_msg_parse(record.data, record.len, &back, &fd_body, NULL);
		if (r != rows[i].want)
			printf("%s: %d\n", rows[i].why, r);
		CU_ASSERT_EQUAL(r, rows[i].want);
	}
}

/* Only the answer about a key and the request for one have a text, and only of printable bytes. */
static void test_text(void)
{
	static const struct { const char *why, *text; enum custody_op op; uint8_t first; int want; } rows[] = {
		{ "as it should be", "kernel: modprobe pkcs8_key_parser", CUSTODY_OP_LOAD, 'k', 0 },
		{ "none", "", CUSTODY_OP_LOAD, 0, 0 },
		{ "the URI of a token's key", "handle:0x81000001", CUSTODY_OP_GENERATE, 'h', 0 },
		{ "a line end", "two lines", CUSTODY_OP_LOAD, '\n', -EBADMSG },
		{ "beyond ASCII", "umlaut", CUSTODY_OP_LOAD, 0xfc, -EBADMSG },
		{ "in a list", "keys", CUSTODY_OP_LIST, 'k', -EBADMSG },
		{ "in a question for a level", "keys", CUSTODY_OP_LEVEL, 'k', -EBADMSG },
		{ "in an error's operation", "keys", CUSTODY_OP_DECRYPT, 'k', -EBADMSG },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(custody_msg) struct custody_msg m = sample();
		AUTO(custody_msg) struct custody_msg back = CUSTODY_MSG_EMPTY;
		AUTO(buf) struct buf record = BUF_EMPTY;
		size_t fd_body;
		int fd = -1, r;

		m.op = rows[i].op;
		strcpy(m.text, rows[i].text);
		CU_ASSERT_EQUAL(custody_msg_build(&m, &record, &fd, NULL), 0);
		if (m.text[0])
			record.data[CUSTODY_HEADER_BYTES + strlen(m.label) + strlen(m.spki) + strlen(m.name)] = rows[i].first;
		r = custody_msg_parse(record.data, record.len, &back, &fd_body, NULL);
		if (r != rows[i].want)
			printf("%s: %d\n", rows[i].why, r);
		CU_ASSERT_EQUAL(r, rows[i].want);
		CU_ASSERT_TRUE(r < 0 || same(&m, &back));
	}
}

/* The longest that travels, and one byte more by a header that says so. */
static void test_text_length(void)
{
	for (size_t len = CUSTODY_TEXT_BYTES; len <= CUSTODY_TEXT_BYTES + 1; len++) {
		AUTO(custody_msg) struct custody_msg back = CUSTODY_MSG_EMPTY;
		uint8_t record[CUSTODY_HEADER_BYTES + CUSTODY_TEXT_BYTES + 1] = { 'K', 'R', CUSTODY_VERSION, CUSTODY_OP_LOAD };
		size_t fd_body;

		record[26] = (uint8_t) (len >> 8);
		record[27] = (uint8_t) len;
		memset(record + CUSTODY_HEADER_BYTES, 'a', len);
		CU_ASSERT_EQUAL(custody_msg_parse(record, CUSTODY_HEADER_BYTES + len, &back, &fd_body, NULL), len > CUSTODY_TEXT_BYTES ? -EBADMSG : 0);
		CU_ASSERT_EQUAL(strlen(back.text), len > CUSTODY_TEXT_BYTES ? 0 : len);
	}
}

static void test_cut(void)
{
	AUTO(buf) struct buf record = BUF_EMPTY;

	CU_ASSERT_EQUAL(built(&record), 0);
	for (size_t len = 0; len < record.len; len++) {
		AUTO(custody_msg) struct custody_msg back = CUSTODY_MSG_EMPTY;
		AUTO(mem) uint8_t *copy = malloc(len + 1); /* of its own size, so that a sanitizer sees a read beyond */
		size_t fd_body;

		memcpy(copy, record.data, len);
		CU_ASSERT_EQUAL(custody_msg_parse(copy, len, &back, &fd_body, NULL), -EBADMSG);
	}
}

static void test_long_body(void)
{
	static const size_t lengths[] = { 0, 1, CUSTODY_BODY_INLINE, CUSTODY_BODY_INLINE + 1, CUSTODY_BODY_BYTES };
	int pair[2];

	CU_ASSERT_EQUAL(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		AUTO(custody_msg) struct custody_msg m = sample();
		AUTO(custody_msg) struct custody_msg back = CUSTODY_MSG_EMPTY;
		AUTO(mem) uint8_t *bytes = malloc(lengths[i] + 1);

		memset(bytes, (int) i + 1, lengths[i]);
		CU_ASSERT_EQUAL(buf_set(&m.body, bytes, lengths[i]), 0);
		CU_ASSERT_EQUAL(custody_msg_send(pair[0], &m, NULL), 0);
		CU_ASSERT_EQUAL(custody_msg_recv(pair[1], &back, NULL), 0);
		CU_ASSERT_TRUE(same(&m, &back));
	}
	CU_ASSERT_EQUAL(close(pair[0]), 0);
	{
		AUTO(custody_msg) struct custody_msg back = CUSTODY_MSG_EMPTY;

		CU_ASSERT_EQUAL(custody_msg_recv(pair[1], &back, NULL), -ECONNRESET);
	}
	CU_ASSERT_EQUAL(close(pair[1]), 0);
}

static void test_too_long(void)
{
	AUTO(custody_msg) struct custody_msg m = sample();
	AUTO(mem) uint8_t *bytes = calloc(1, CUSTODY_BODY_BYTES + 1);
	AUTO(buf) struct buf record = BUF_EMPTY;
	int fd = -1;

	CU_ASSERT_EQUAL(buf_set(&m.body, bytes, CUSTODY_BODY_BYTES + 1), 0);
	CU_ASSERT_EQUAL(custody_msg_build(&m, &record, &fd, NULL), -EMSGSIZE);
}

/* A body that its sender could still change after it was judged. */
static void test_unsealed_body(void)
{
	AUTO(custody_msg) struct custody_msg m = CUSTODY_MSG_EMPTY;
	AUTO(fd) int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	CU_ASSERT_EQUAL(ftruncate(fd, 4096), 0);
	CU_ASSERT_EQUAL(custody_msg_body_fd(&m, fd, 4096, NULL), -EPROTO);
	CU_ASSERT_EQUAL(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	CU_ASSERT_EQUAL(custody_msg_body_fd(&m, fd, 4096, NULL), -EPROTO);
	CU_ASSERT_EQUAL(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	CU_ASSERT_EQUAL(custody_msg_body_fd(&m, fd, 4095, NULL), -EPROTO);
	CU_ASSERT_EQUAL(custody_msg_body_fd(&m, fd, 4097, NULL), -EPROTO);
	CU_ASSERT_EQUAL(custody_msg_body_fd(&m, fd, 4096, NULL), 0);
	CU_ASSERT_EQUAL(custody_msg_body_fd(&m, -1, 4096, NULL), -EPROTO);
	CU_ASSERT_EQUAL(custody_msg_body_fd(&m, STDIN_FILENO, 4096, NULL), -EPROTO);
}

static void test_names(void)
{
	static const char *const users[] = { "www-data", "nobody", NULL };
	static const struct { const char *why; const char *bytes; size_t len; int want; } rows[] = {
		{ "no end", "a\0", 2, -EBADMSG },	 { "no NUL", "a", 1, -EBADMSG },      { "empty", "", 0, -EBADMSG },
		{ "empty list", "\0", 1, 0 },		 { "a comma", "a,b\0\0", 5, -EBADMSG }, { "a blank", "a b\0\0", 5, -EBADMSG },
	};
	AUTO(buf) struct buf body = BUF_EMPTY;
	AUTO(buf) struct buf out = BUF_EMPTY;
	size_t pos = 0;

	CU_ASSERT_EQUAL(custody_names_build(users, &body), 0);
	CU_ASSERT_EQUAL(custody_names_build(NULL, &body), 0);
	CU_ASSERT_EQUAL(custody_names_parse(&body, &pos, &out, NULL), 0);
	CU_ASSERT_STRING_EQUAL((const char *) out.data, "www-data,nobody");
	buf_clear(&out);
	CU_ASSERT_EQUAL(custody_names_parse(&body, &pos, &out, NULL), 0);
	CU_ASSERT_EQUAL(out.len, 0);
	CU_ASSERT_EQUAL(pos, body.len);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int r;

		pos = 0;
		CU_ASSERT_EQUAL(buf_set(&body, rows[i].bytes, rows[i].len), 0);
		r = custody_names_parse(&body, &pos, &out, NULL);
		if (r != rows[i].want)
			printf("%s: %d\n", rows[i].why, r);
		CU_ASSERT_EQUAL(r, rows[i].want);
	}
}

static CU_TestInfo tests[] = {
	{ "what is built is read back", test_round_trip },
	{ "each broken twin is refused", test_twins },
	{ "a text goes with a key alone, and is printable", test_text },
	{ "a text has 256 bytes at most", test_text_length },
	{ "a cut record is refused at every length", test_cut },
	{ "bodies of all lengths travel", test_long_body },
	{ "a body above the limit does not", test_too_long },
	{ "an unsealed body is refused", test_unsealed_body },
	{ "lists of users", test_names },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = { { "custody's records", NULL, NULL, NULL, NULL, tests }, CU_SUITE_INFO_NULL };

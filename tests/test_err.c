#include "tests/test_main.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#include "common/err.h"

static void set_fills_and_returns_the_code(void)
{
	struct err e = { 0 };

	CU_ASSERT_EQUAL(err_set(&e, -EPROTO, "version %d, 0 wanted", 3), -EPROTO);
	CU_ASSERT_EQUAL(e.code, -EPROTO);
	CU_ASSERT_STRING_EQUAL(e.text, "version 3, 0 wanted");
	CU_ASSERT_EQUAL(err_set(NULL, -EPROTO, "%s", "nobody listens"), -EPROTO);
}

static void text_of_a_peer_cannot_forge_a_line(void)
{
	struct err e = { 0 };

	(void) err_set(&e, -EPROTO, "name %s", "a\nb\x1b[31m\xc3\xa9");
	CU_ASSERT_STRING_EQUAL(e.text, "name a?b?[31m??");
}

static void long_text_is_cut_with_dots(void)
{
	struct err e = { 0 };
	char big[1000];

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	(void) err_set(&e, -EPROTO, "%s", big);
	CU_ASSERT_EQUAL(strlen(e.text), ERR_TEXT_BYTES - 1);
	CU_ASSERT_STRING_EQUAL(e.text + ERR_TEXT_BYTES - 4, "...");
	(void) err_prefix(&e, -EIO, "%s", "context");
	CU_ASSERT_EQUAL(strlen(e.text), ERR_TEXT_BYTES - 1);
	CU_ASSERT_EQUAL(strncmp(e.text, "context: xxx", 12), 0);
}

static void prefix_keeps_the_first_code(void)
{
	struct err e = { 0 };

	(void) err_set(&e, -EBADMSG, "odd length");
	CU_ASSERT_EQUAL(err_prefix(&e, -EIO, "trustpoint %s", "a"), -EBADMSG);
	CU_ASSERT_STRING_EQUAL(e.text, "trustpoint a: odd length");
	CU_ASSERT_EQUAL(err_prefix(NULL, -EIO, "x"), -EIO);
}

static void prefix_of_nothing_uses_the_code(void)
{
	struct err e = { 0 };

	CU_ASSERT_EQUAL(err_prefix(&e, -ENOENT, "open"), -ENOENT);
	CU_ASSERT_STRING_EQUAL(e.text, "open: No such file or directory");
	CU_ASSERT_EQUAL(e.code, -ENOENT);
}

static void arguments_may_point_into_the_error(void)
{
	struct err e = { 0 };

	(void) err_set(&e, -EIO, "first");
	(void) err_set(&e, -EIO, "second after %s", e.text);
	CU_ASSERT_STRING_EQUAL(e.text, "second after first");
}

static void openssl_queue_is_emptied_and_its_first_reason_told(void)
{
	struct err e = { 0 };
	const unsigned char junk[] = { 0x30, 0x03, 0x02 };
	const unsigned char *p = junk;

	CU_ASSERT_PTR_NULL(d2i_PrivateKey(EVP_PKEY_RSA, NULL, &p, sizeof(junk)));
	CU_ASSERT_NOT_EQUAL(ERR_peek_error(), 0);
	CU_ASSERT_EQUAL(err_from_openssl(&e, -EBADMSG, "key"), -EBADMSG);
	CU_ASSERT_EQUAL(ERR_peek_error(), 0);
	CU_ASSERT_NOT_EQUAL(e.ssl, 0);
	CU_ASSERT_EQUAL(strncmp(e.text, "key: ", 5), 0);
	p = junk;
	CU_ASSERT_PTR_NULL(d2i_PrivateKey(EVP_PKEY_RSA, NULL, &p, sizeof(junk)));
	CU_ASSERT_EQUAL(err_from_openssl(NULL, -EBADMSG, "key"), -EBADMSG);
	CU_ASSERT_EQUAL(ERR_peek_error(), 0);
}

static void openssl_details_are_told_and_cleaned(void)
{
	struct err e = { 0 };

	ERR_raise_data(ERR_LIB_PROV, ERR_R_OPERATION_FAIL, "keyroll: the token\n is gone");
	CU_ASSERT_EQUAL(err_from_openssl(&e, -EIO, "signing"), -EIO);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "signing: "));
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, ": keyroll: the token? is gone"));
}

/* A provider's library number is another at each load; the words of one failure are the same, for who tells only what is new. */
static void openssl_library_number_is_not_told(void)
{
	struct err first = { 0 }, again = { 0 };

	ERR_raise_data(ERR_get_next_error_library(), 6, "IO failure");
	(void) err_from_openssl(&first, -ENODEV, "the token");
	ERR_raise_data(ERR_get_next_error_library(), 6, "IO failure");
	(void) err_from_openssl(&again, -ENODEV, "the token");
	CU_ASSERT_STRING_EQUAL(first.text, "the token: OpenSSL error, reason 6: IO failure");
	CU_ASSERT_STRING_EQUAL(again.text, first.text);
	CU_ASSERT_NOT_EQUAL(again.ssl, first.ssl);
}

static void openssl_without_an_error_adds_nothing(void)
{
	struct err e = { 0 };

	(void) err_from_openssl(&e, -EBADMSG, "key");
	CU_ASSERT_STRING_EQUAL(e.text, "key");
	CU_ASSERT_EQUAL(e.ssl, 0);
}

static void text_is_never_null(void)
{
	struct err e = { 0 };

	CU_ASSERT_STRING_EQUAL(err_text(NULL, -EACCES), "Permission denied");
	CU_ASSERT_STRING_EQUAL(err_text(&e, -EACCES), "Permission denied");
	(void) err_set(&e, -EACCES, "said");
	CU_ASSERT_STRING_EQUAL(err_text(&e, -EACCES), "said");
}

static CU_TestInfo tests[] = {
	{ "set fills and returns the code", set_fills_and_returns_the_code },
	{ "text of a peer cannot forge a line", text_of_a_peer_cannot_forge_a_line },
	{ "long text is cut with dots", long_text_is_cut_with_dots },
	{ "prefix keeps the first code", prefix_keeps_the_first_code },
	{ "prefix of nothing uses the code", prefix_of_nothing_uses_the_code },
	{ "arguments may point into the error", arguments_may_point_into_the_error },
	{ "OpenSSL's queue is emptied and its first reason told", openssl_queue_is_emptied_and_its_first_reason_told },
	{ "OpenSSL's details are told and cleaned", openssl_details_are_told_and_cleaned },
	{ "OpenSSL's number of a library is not told", openssl_library_number_is_not_told },
	{ "OpenSSL without an error adds nothing", openssl_without_an_error_adds_nothing },
	{ "text is never NULL", text_is_never_null },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = {
	{ "errors", NULL, NULL, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

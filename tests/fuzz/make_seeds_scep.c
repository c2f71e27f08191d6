/* Writes the seeds of the scep fuzzers below the folder given: make_seeds_scep tests/fuzz/seeds. Run when the fixture changes. */
#include <stdio.h>
#include <stdlib.h>

#include "common/fs.h"
#include "tests/scep_edit.h"
#include "tests/scep_fixture.h"

static struct fixture fx;
static const char *folder;

static void seed(const char *target, const char *name, const struct buf *b)
{
	char path[512];
	struct err e = { 0 };

	(void) snprintf(path, sizeof(path), "%s/%s/%s", folder, target, name); /* cut: the write fails */
	if (fs_write(path, b->data, b->len, 0644, &e) < 0) {
		(void) fprintf(stderr, "%s: %s\n", path, e.text); /* ends below */
		exit(1);
	}
}

static void must(int r)
{
	if (r < 0) {
		(void) fprintf(stderr, "a seed cannot be made: %d\n", r); /* ends below */
		exit(1);
	}
}

static void requests(void)
{
	AUTO(buf) struct buf b = BUF_EMPTY;
	AUTO(buf) struct buf ber = BUF_EMPTY;
	AUTO(buf) struct buf content = BUF_EMPTY;
	struct scep_request_in in = fx.request;

	must(scep_request_build(&in, &b, NULL));
	seed("scep_request", "pkcsreq", &b);
	must(edit_at(&b, "1.0.2.1.0", EDIT_INDEFINITE, NULL, 0, &ber));
	seed("scep_request", "pkcsreq-ber", &ber);
	in.algs = (struct scep_algs){ SCEP_CIPHER_DES, SCEP_DIGEST_SHA1 };
	in.signing_time_sec = FX_NOW;
	must(scep_request_build(&in, &b, NULL));
	seed("scep_request", "pkcsreq-des", &b);
	in = fx.request;
	must(scep_issuer_and_subject_build(X509_get_subject_name(fx.ca), fx.subject, &content));
	in.type = SCEP_TYPE_CERT_POLL;
	in.content = content.data;
	in.content_len = content.len;
	must(scep_request_build(&in, &b, NULL));
	seed("scep_request", "certpoll", &b);
	must(scep_issuer_and_serial_build(X509_get_subject_name(fx.ca), X509_get0_serialNumber(fx.client), &content));
	in.type = SCEP_TYPE_GET_CRL;
	in.content = content.data;
	in.content_len = content.len;
	must(scep_request_build(&in, &b, NULL));
	seed("scep_request", "getcrl", &b);
}

static void replies(void)
{
	AUTO(buf) struct buf b = BUF_EMPTY;
	struct scep_reply_in in = fx.reply;

	must(scep_reply_build(&in, &b, NULL));
	seed("scep_reply", "success", &b);
	in.status = SCEP_STATUS_PENDING;
	must(scep_reply_build(&in, &b, NULL));
	seed("scep_reply", "pending", &b);
	in.status = SCEP_STATUS_FAILURE;
	in.fail_text = "no";
	must(scep_reply_build(&in, &b, NULL));
	seed("scep_reply", "failure", &b);
	in = fx.reply;
	in.certs = NULL;
	in.n_certs = 0;
	in.crl = fx.crl;
	must(scep_reply_build(&in, &b, NULL));
	seed("scep_reply", "crl", &b);
}

static void authorities(void)
{
	AUTO(buf) struct buf b = BUF_EMPTY;
	X509 *both[] = { fx.ca, fx.client };

	must(scep_ca_build(both, 1, &b, NULL));
	seed("scep_ca", "one", &b);
	must(scep_ca_build(both, 2, &b, NULL));
	seed("scep_ca", "ra", &b);
	must(scep_next_ca_build(&fx.next, 1, fx.ca, fx.ca_key, &b, NULL));
	seed("scep_next_ca", "next", &b);
}

static void texts(void)
{
	AUTO(buf) struct buf b = BUF_EMPTY;

	must(scep_caps_build(0x3ff, &b));
	seed("scep_message", "caps", &b);
	must(buf_set(&b, "Zm9v\nYm F/+y==", 14));
	seed("scep_message", "base64", &b);
}

int main(int argc, char **argv)
{
	if (argc != 2 || fixture_init(&fx) < 0)
		return 2;
	folder = argv[1];
	requests();
	replies();
	authorities();
	texts();
	fixture_clear(&fx);
	return 0;
}

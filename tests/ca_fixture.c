/* A CA for tests of the service: see ca_fixture.h. */
#include "tests/ca_fixture.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "ca/selfsign.h"
#include "common/auto_ssl.h"
#include "common/fs.h"
#include "tests/rings_fixture.h"

#define NAME "T"

static const char conf_text[] = "[CA]\nIssuerName=CN=Test CA,O=Test\nListen=127.0.0.1:0\nGrant=manual\nCACertificateLifetime=730d\nCertificateLifetime=365d\n"
				"CRLLifetime=6h\nKeySize=2048\nClock=assume-valid\nCDPURL=http://crl.example.com/crl/\n";

static void now(const void *userdata, const struct ca_conf *conf, struct tp_now *ret)
{
	const struct fx *f = userdata;

	(void) conf;
	*ret = (struct tp_now) { .wall.ms = f->now_sec * 1000, .boot.ms = 1, .trusted = f->trusted };
}

static int key_make(struct fx *f, enum ks_slot slot, EVP_PKEY **ret)
{
	char spki[KS_SPKI_HEX];
	struct err e = { 0 };
	int fd = -1, r;

	r = signer_generate(f->signer, slot, 2048, KS_PROTECTION_AUTO, &fd, spki, &e);
	while (r == 0 && fd >= 0) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (poll(&p, 1, 60000) != 1)
			return -1;
		r = signer_generate(f->signer, slot, 0, KS_PROTECTION_AUTO, &fd, spki, &e);
		if (r == -EAGAIN)
			r = 0;
	}
	if (r == 0)
		r = signer_load(f->signer, slot, spki, ret, NULL, &e);
	if (r < 0)
		(void) fprintf(stderr, "key: %s\n", e.text);
	return r;
}

static int ca_make(EVP_PKEY *key, int64_t nb_sec, X509 **ret)
{
	AUTO(name) X509_NAME *name = NULL;
	struct selfsign in = { .key = key, .hash = SCEP_DIGEST_SHA256, .validity = { .nb_sec = nb_sec, .na_sec = nb_sec + 730 * FX_DAY } };
	struct err e = { 0 };
	int r;

	r = x509_name_parse("CN=Test CA,O=Test", &name, &e);
	in.name = name;
	if (r == 0)
		r = selfsign_make(&in, ret, &e);
	if (r < 0)
		(void) fprintf(stderr, "CA certificate: %s\n", e.text);
	return r;
}

static int conf_write(struct fx *f)
{
	AUTO(mem) char *folder = NULL;
	AUTO(mem) char *path = NULL;

	(void) strcpy(f->root, "/tmp/keyroll-ca-XXXXXX"); /* fits */
	if (!mkdtemp(f->root) || fs_set_root(f->root, NULL) < 0)
		return -1;
	folder = fs_path("/etc/keyroll/ca");
	path = fs_path("/etc/keyroll/ca/" NAME ".conf");
	return fs_mkdir(folder, 0755, NULL) < 0 ? -1 : fs_write(path, conf_text, sizeof(conf_text) - 1, 0644, NULL);
}

static int parts_start(struct fx *f)
{
	const struct service_options o = { .db = NULL, .now = now, .userdata = f };
	struct service_options with_db = o;
	AUTO(mem) char *path = NULL;
	struct err e = { 0 };
	int r;

	r = signer_new(NULL, NAME, false, &f->signer, &e);
	path = fs_path("/ca.db");
	if (r == 0)
		r = db_open(path, &f->db, &e);
	with_db.db = f->db;
	if (r == 0)
		r = service_new(&with_db, &f->service, &e);
	if (r < 0)
		(void) fprintf(stderr, "start: %s\n", e.text);
	return r;
}

int fx_start(struct fx *f)
{
	const char *build = getenv("top_builddir");

	*f = (struct fx) { .trusted = true, .now_sec = FX_NOW };
	if (setenv("KEYROLL_LIBEXECDIR", build ? build : ".", 1) < 0 || conf_write(f) < 0 || parts_start(f) < 0)
		return -1;
	if (key_make(f, KS_SLOT_ACTIVE, &f->ca_key) < 0 || key_make(f, KS_SLOT_SHADOW, &f->next_key) < 0)
		return -1;
	return ca_make(f->ca_key, FX_NOW - 700 * FX_DAY, &f->ca) < 0 ? -1 : ca_make(f->next_key, FX_NOW + 30 * FX_DAY, &f->next);
}

/* Also when the signer hangs or was killed, and no one deletes a key any more. */
static void rings_end(void)
{
	AUTO(mem) char *state = fs_path("/var/lib/keyroll/signer/" NAME);

	if (!state || !rings_purge(state))
		(void) fprintf(stderr, "keys are left over\n");
}

void fx_stop(struct fx *f)
{
	if (f->service)
		service_free(f->service);
	if (f->db)
		db_close(f->db);
	X509_free(f->ca);
	X509_free(f->next);
	EVP_PKEY_free(f->ca_key);
	EVP_PKEY_free(f->next_key);
	if (f->signer)
		signer_free(f->signer);
	rings_end();
	if (fs_remove_tree(f->root, NULL) < 0)
		(void) fprintf(stderr, "%s is left over\n", f->root);
}

static int conf_make(enum car_grant grant, bool grant_renewals, struct view_conf **ret)
{
	static const char *const words[] = { "manual", "auto", "none" };
	AUTO(ca_conf) struct ca_conf *conf = NULL;
	char text[1024];
	struct err e = { 0 };
	int n;

	n = snprintf(text, sizeof(text), "%sGrant=%s\nGrantRenewals=%s\n", conf_text, words[grant], grant_renewals ? "yes" : "no");
	if (ca_conf_parse(NAME, text, (size_t) n, &conf, &e) < 0) {
		(void) fprintf(stderr, "configuration: %s\n", e.text);
		return -1;
	}
	if (view_conf_new(conf, ret) < 0)
		return -1;
	(void) TAKE(conf); /* the shared one owns it now */
	return 0;
}

int fx_view(struct fx *f, enum car_grant grant, bool grant_renewals, bool with_next, bool switched)
{
	struct view_conf *conf = NULL;
	AUTO(view) struct view *v = NULL;
	struct view_crl crl = { .der = BUF_EMPTY };
	struct err e = { 0 };
	int r;

	if (conf_make(grant, grant_renewals, &conf) < 0)
		return -1;
	r = view_new(conf, &v);
	view_conf_put(conf); /* the view has its own */
	if (r == 0)
		r = view_role_set(v, CAR_RECIPIENT_ACTIVE, f->ca, f->ca_key, &e);
	if (r == 0 && with_next)
		r = view_role_set(v, CAR_RECIPIENT_NEXT, f->next, f->next_key, &e);
	if (r == 0 && switched)
		view_switch(v);
	if (r == 0)
		r = service_crl_make(f->service, v, CAR_RECIPIENT_ACTIVE, &crl, &e);
	if (r == 0)
		r = view_crl_set(v, CAR_RECIPIENT_ACTIVE, crl.der.data, crl.der.len, crl.next_update_sec);
	buf_clear(&crl.der);
	if (r == 0)
		r = view_seal(v, &e);
	if (r == 0)
		service_publish(f->service, TAKE(v));
	else
		(void) fprintf(stderr, "view: %s\n", e.text);
	return r;
}

/* ---- the client ---- */

static void reply_read(struct fx *f, const struct fx_ask *ask, const uint8_t *nonce, const struct http_reply *http, struct fx_answer *ret)
{
	X509 *signers[] = { f->ca, f->next };
	const struct scep_reply_want want = { .transaction_id = ask->tid, .sender_nonce = nonce, .signers = signers, .n_signers = 2, .recipient = ask->signer,
					      .recipient_key = ask->signer_key, .subject_key = ask->subject_key, .want_crl = ask->type == SCEP_TYPE_GET_CRL,
					      .policy = &scep_policy_default };
	struct err e = { 0 };

	ret->opened = scep_reply_open(http->body.data, http->body.len, &want, f->now_sec, &ret->reply, &e);
	if (ret->opened < 0)
		(void) fprintf(stderr, "reply to %s: %s\n", ask->tid, e.text);
}

void fx_ask(struct fx *f, const struct fx_ask *ask, struct fx_answer *ret)
{
	static uint8_t nonce[SCEP_NONCE_BYTES];
	const struct scep_request_in in = { .type = ask->type, .transaction_id = ask->tid, .sender_nonce = nonce, .content = ask->content,
		.content_len = ask->content_len,
					    .signer = ask->signer, .signer_key = ask->signer_key, .recipient = ask->recipient,
					    .algs = { SCEP_CIPHER_AES128, SCEP_DIGEST_SHA256 } };
	struct http_request request = { .op = HTTP_OP_PKI_OPERATION, .message = "", .body = BUF_EMPTY, .address = "192.0.2.1" };
	struct http_reply reply = { .body = BUF_EMPTY };
	struct err e = { 0 };

	*ret = (struct fx_answer) { .http = -1 };
	nonce[0]++; /* each message its own */
	if (scep_request_build(&in, &request.body, &e) < 0) {
		(void) fprintf(stderr, "request %s: %s\n", ask->tid, e.text);
		return;
	}
	service_handle(f->service, &request, &reply);
	ret->http = reply.status;
	ret->bytes = reply.body.len;
	if (reply.status == 200)
		reply_read(f, ask, nonce, &reply, ret);
	buf_clear(&request.body);
	buf_clear(&reply.body);
}

void fx_answer_clear(struct fx_answer *a)
{
	scep_reply_clear(&a->reply);
}

int fx_router_make(struct fx_router *r, const char *subject, const char *dns)
{
	const char *const names[] = { dns, NULL };
	AUTO(name) X509_NAME *name = NULL;
	struct scep_csr_in in = { .dns = dns ? names : NULL, .digest = SCEP_DIGEST_SHA256 };

	if (!r->key)
		r->key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t) 2048);
	if (!r->key || x509_name_parse(subject, &name, NULL) < 0)
		return -1;
	in.subject = name;
	in.key = r->key;
	return scep_csr_build(&in, &r->csr, NULL) < 0 ? -1 : scep_self_signed(name, r->key, "t", FX_NOW, &r->self, NULL);
}

void fx_router_clear(struct fx_router *r)
{
	EVP_PKEY_free(r->key);
	buf_clear(&r->csr);
	X509_free(r->self);
	*r = (struct fx_router) { .csr = BUF_EMPTY };
}

struct fx_ask fx_enrol(const struct fx *f, const struct fx_router *r, const char *tid)
{
	return (struct fx_ask) { .type = SCEP_TYPE_PKCS_REQ, .tid = tid, .content = r->csr.data, .content_len = r->csr.len, .signer = r->self,
		.signer_key = r->key,
				 .recipient = f->ca, .subject_key = r->key };
}

struct fx_ask fx_renew(const struct fx *f, const struct fx_router *to, X509 *cert, EVP_PKEY *key, enum scep_type type, const char *tid)
{
	return (struct fx_ask) { .type = type, .tid = tid, .content = to->csr.data, .content_len = to->csr.len, .signer = cert, .signer_key = key,
		.recipient = f->ca,
				 .subject_key = to->key };
}

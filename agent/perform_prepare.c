/* PREPARE: key, CSR, transactionID and signer, all in the record before the request leaves. Fault points agent.k2 and agent.k3. */
#include <errno.h>
#include <openssl/rand.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/profile.h"
#include "agent/subject.h"
#include "common/auto_ssl.h"
#include "common/fault.h"
#include "common/fs.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/x509facts.h"

#define DOING "prepare the request"

static bool is_first(const struct trustpoint *tp)
{
	return tp->rec.state.op == TP_OP_ENROLL;
}

/* Signed by nothing that the CA knows: a first request, or one after the key of the active ID was lost. */
static bool is_anew(const struct trustpoint *tp)
{
	return is_first(tp) || tp->work.key_lost;
}

static int id_spki(const struct trustpoint *tp, const struct tp_cert *who, char ret[STATE_HEX], struct err *reterr)
{
	AUTO(x509) X509 *x = NULL;
	struct x509_facts f;
	int r = bag_cert(&tp->rec.bag, who, &x, reterr);

	if (r == 0)
		r = x509_facts_get(x, &f, reterr);
	if (r == 0)
		(void) snprintf(ret, STATE_HEX, "%s", f.spki_sha256);
	return r;
}

/* ---- the challenge ---- */

/* An operator's word comes before the file's. Renewals carry none, the active certificate speaks for them (RFC 8894 2.4), unless the CA is one
 * that wants it all the same (step-ca, micromdm). */
static int challenge_get(struct trustpoint *tp, struct buf *ret, struct err *reterr)
{
	AUTO(mem) char *path = NULL;
	int r;

	if (!is_anew(tp) && !tp->conf.challenge_on_renewal)
		return 0;
	if (tp->challenge.len > 0)
		return buf_set(ret, tp->challenge.data, tp->challenge.len);
	if (!tp->conf.challenge_file)
		return 0;
	path = fs_path("%s", tp->conf.challenge_file);
	if (!path)
		return -ENOMEM;
	r = fs_read(path, LIMIT_CHALLENGE_BYTES, ret, reterr);
	while (r == 0 && ret->len > 0 && (ret->data[ret->len - 1] == '\n' || ret->data[ret->len - 1] == '\r'))
		ret->data[--ret->len] = '\0';
	return r;
}

/* ---- the request, once the key is there ---- */

static int csr_make(struct trustpoint *tp, X509_NAME *subject, EVP_PKEY *key, struct request *q, struct err *reterr)
{
	AUTO(buf) struct buf challenge = BUF_SECRET;
	struct scep_csr_in in = { .subject = subject,
				  .key = key,
				  .dns = (const char *const *) tp->conf.dns,
				  .ip = (const char *const *) tp->conf.ip,
				  .digest = SCEP_DIGEST_SHA256 };
	int r = challenge_get(tp, &challenge, reterr);

	if (r < 0)
		return r;
	in.challenge = challenge.len > 0 ? (const char *) challenge.data : NULL;
	return scep_csr_build(&in, &q->csr, reterr);
}

static int transaction_draw(struct request *q, struct err *reterr)
{
	unsigned char raw[16];
	size_t i;

	if (RAND_bytes(raw, sizeof(raw)) != 1)
		return err_from_openssl(reterr, -EIO, "random transactionID");
	for (i = 0; i < sizeof(raw); i++)
		(void) snprintf(q->transaction_id + 2 * i, 3, "%02x", raw[i]);
	return 0;
}

/* The active ID signs a renewal; a first request is signed under a throw-away certificate over its own key. */
static int signer_make(struct trustpoint *tp, X509_NAME *subject, EVP_PKEY *key, struct request *q, struct err *reterr)
{
	const struct tp_now now = agent_now(tp->agent);
	const struct buf *id = bag_get0(&tp->rec.bag, &tp->rec.state.id);
	AUTO(x509) X509 *x = NULL;
	int r;

	q->self_signed = is_anew(tp);
	if (!q->self_signed)
		return id ? buf_set(&q->signer_pem, id->data, id->len) : err_set(reterr, -ENOENT, "no active certificate to sign a renewal with");
	r = scep_self_signed(subject, key, q->transaction_id, now.wall.ms / 1000, &x, reterr);
	return r < 0 ? r : x509_to_pem(x, &q->signer_pem, reterr);
}

static int request_make(struct trustpoint *tp, const char *spki, bool new_key, struct request *q, struct err *reterr)
{
	const struct tp_state *s = &tp->rec.state;
	AUTO(pkey) EVP_PKEY *key = NULL;
	AUTO(name) X509_NAME *subject = NULL;
	struct ks *ks = NULL;
	int r = agent_ks(tp->agent, &ks, reterr);

	if (r < 0)
		return r;
	(void) snprintf(q->spki, sizeof(q->spki), "%s", spki);
	q->new_key = new_key;
	q->recipient = s->op == TP_OP_SHADOW ? s->next_ca : s->ca;
	r = ks_load(ks, tp->conf.label, KS_SLOT_ACTIVE, spki, &key, NULL, reterr);
	if (r == 0)
		r = subject_build(&tp->conf, &subject, reterr);
	if (r == 0)
		r = transaction_draw(q, reterr);
	if (r == 0)
		r = csr_make(tp, subject, key, q, reterr);
	return r < 0 ? r : signer_make(tp, subject, key, q, reterr);
}

static void prepare_finish(struct trustpoint *tp, const char *spki, bool new_key)
{
	struct request q = { .csr = BUF_SECRET };
	struct log_fields fields = trustpoint_fields(tp);
	char sha256[X509F_SHA256_HEX];
	struct err e = { 0 };
	int r;

	FAULT("agent.k2-key-stored");
	r = request_make(tp, spki, new_key, &q, &e);
	if (r < 0) {
		request_clear(&q);
		work_fail(tp, TP_RESULT_LOCAL, r, &e, DOING, 0);
		return;
	}
	request_clear(&tp->rec.request);
	tp->rec.request = q; /* takes the buffers */
	buf_clear(&tp->challenge);
	sha256_hex(q.csr.data, q.csr.len, sha256);
	fields.transaction = q.transaction_id;
	log_event(LOG_EV_CSR_FINGERPRINT, &fields, "%s request over %s key %.16s, CSR sha256:%s", tp_op_name(tp->rec.state.op), new_key ? "new" : "present",
		  spki, sha256);
	work_done(tp, TP_RESULT_OK, NULL, 0);
}

/* ---- the key ---- */

static void generate(struct trustpoint *tp, enum ks_slot slot);

static int on_key(sd_event_source *src, int fd, uint32_t revents, void *userdata)
{
	struct trustpoint *tp = userdata;

	(void) src;
	(void) fd;
	(void) revents;
	generate(tp, tp->work.keygen_slot);
	return 0;
}

/* The key that serves now: of the active ID, else what lies in the active slot. -ENOKEY: none. */
static int key_in_use(struct trustpoint *tp, struct ks *ks, char ret[STATE_HEX], struct err *reterr)
{
	struct ks_key facts;
	int r;

	if (tp->rec.state.id.na_sec && !is_anew(tp))
		return id_spki(tp, &tp->rec.state.id, ret, reterr);
	r = ks_load(ks, tp->conf.label, KS_SLOT_ACTIVE, NULL, NULL, &facts, reterr);
	if (r == 0)
		(void) snprintf(ret, STATE_HEX, "%s", facts.spki);
	return r;
}

/* The shadow slot holds the key of the shadow certificate that waits for its CA: it must stay. A SHADOW asked for anew is asked for over that key, which
 * has not served yet; anything else does without a new key this time. */
static void shadow_key_spare(struct trustpoint *tp, struct ks *ks, const char *shadow_spki)
{
	char serving[STATE_HEX] = "";
	struct err e = { 0 };
	int r;

	if (tp->rec.state.op == TP_OP_SHADOW) {
		prepare_finish(tp, shadow_spki, false);
		return;
	}
	r = key_in_use(tp, ks, serving, &e);
	if (r < 0) {
		work_fail(tp, TP_RESULT_LOCAL, r, &e, DOING, 0);
		return;
	}
	log_line(LOG_NOTICE, "%s: the shadow slot is in use until the CA's switch: %s over the present key", tp->name, tp_op_name(tp->rec.state.op));
	prepare_finish(tp, serving, false);
}

/* Another key lies in the slot: one that nothing uses (a crash, a request that was abandoned, a rollover that was cancelled) is as good as a new one. */
static void slot_is_taken(struct trustpoint *tp, struct ks *ks, enum ks_slot slot)
{
	struct ks_key facts = { .bits = 0 };
	char used[STATE_HEX] = "";
	struct err e = { 0 };
	int r = ks_load(ks, tp->conf.label, slot, NULL, NULL, &facts, &e);

	if (r == -ENOKEY && slot == KS_SLOT_ACTIVE) { /* kept by the custodian in case it can be had again (its level, its seal): beside it */
		generate(tp, KS_SLOT_SHADOW);
		return;
	}
	if (r == 0 && tp->rec.state.shadow.na_sec)
		r = id_spki(tp, &tp->rec.state.shadow, used, &e);
	if (r == 0 && strcmp(used, facts.spki) == 0) {
		shadow_key_spare(tp, ks, used);
		return;
	}
	if (r == 0 && !ks_key_suits(&facts, tp->conf.bits, tp->conf.protection)) { /* Size= or Protection= may have changed since */
		r = ks_delete(ks, tp->conf.label, facts.spki, &e);
		if (r == 0) {
			generate(tp, slot);
			return;
		}
	}
	if (r < 0)
		work_fail(tp, TP_RESULT_LOCAL, r, &e, "make a key", 0);
	else
		prepare_finish(tp, facts.spki, true);
}

static void key_failed(struct trustpoint *tp, int r, const struct err *e)
{
	const struct log_fields fields = trustpoint_fields(tp);

	if (r == -EDQUOT || r == -ENOSPC)
		log_event(LOG_EV_KEY_QUOTA, &fields, "%s", err_text(e, r));
	work_fail(tp, TP_RESULT_LOCAL, r, e, "make a key", 0);
}

/* Begins, or goes on when the custodian has something to say. */
static void generate(struct trustpoint *tp, enum ks_slot slot)
{
	const struct ks_spec spec = { .label = tp->conf.label,
				      .slot = slot,
				      .bits = (int) tp->conf.bits,
				      .protection = (enum ks_protection) tp->conf.protection,
				      .token_uri = tp->conf.token_uri,
				      .users = (const char *const *) tp->conf.users,
				      .groups = (const char *const *) tp->conf.groups };
	bool begins = tp->work.keygen_fd < 0;
	char spki[KS_SPKI_HEX] = "";
	struct ks *ks = NULL;
	struct err e = { 0 };
	int r = agent_ks(tp->agent, &ks, &e);

	tp->work.keygen_slot = slot;
	if (r == 0)
		r = ks_generate(ks, &spec, &tp->work.keygen_fd, spki, &e);
	if (r == -EAGAIN && tp->work.keygen_fd >= 0)
		return; /* else it is the custodian's answer: too many keys are being made */
	if (r == 0 && begins) {
		r = sd_event_add_io(tp->agent->event, &tp->work.keygen, tp->work.keygen_fd, EPOLLIN, on_key, tp);
		if (r < 0)
			work_fail(tp, TP_RESULT_LOCAL, r, NULL, "make a key", 0);
		return;
	}
	tp->work.keygen = sd_event_source_disable_unref(tp->work.keygen);
	if (r == 0)
		prepare_finish(tp, spki, true);
	else if (r == -EEXIST)
		slot_is_taken(tp, ks, slot);
	else
		key_failed(tp, r, &e);
}

/* Regenerate=yes is for keys that have served: one that was made for a request which never got its certificate has not. */
static bool key_has_served(const struct trustpoint *tp, const char *spki)
{
	char id[STATE_HEX] = "";

	if (tp->rec.state.id.na_sec && id_spki(tp, &tp->rec.state.id, id, NULL) == 0 && strcmp(id, spki) == 0)
		return true;
	return strcmp(tp->rec.previous_spki, spki) == 0;
}

bool perform_key_lost(struct trustpoint *tp)
{
	char spki[STATE_HEX] = "";
	struct ks *ks = NULL;

	return tp->rec.state.id.na_sec && agent_ks(tp->agent, &ks, NULL) == 0 && id_spki(tp, &tp->rec.state.id, spki, NULL) == 0 &&
	       ks_load(ks, tp->conf.label, KS_SLOT_ACTIVE, spki, NULL, NULL, NULL) == -ENOKEY;
}

/* A request over a key of the wrong level would be a lesser level in force than the file names: there is none until the level is to be had. */
static bool level_is_refused(struct trustpoint *tp)
{
	level_forget(tp->agent);
	(void) level_look(tp); /* it goes on right here */
	level_watch(tp->agent);
	if (!tp->level.refused[0])
		return false;
	tp->last_error[0] = '\0'; /* the alarm is what stands in the way now */
	work_done(tp, TP_RESULT_LOCAL, NULL, 0); /* the alarm has been raised, a line for each try would be noise */
	return true;
}

/* The file has named another since: Regenerate=no keeps a key only while it is what the file says. */
static bool key_is_of_another_level(const struct trustpoint *tp, struct ks *ks, const char *spki)
{
	struct ks_key facts;

	return tp->conf.protection != KS_PROTECTION_AUTO && ks_load(ks, tp->conf.label, KS_SLOT_ACTIVE, spki, NULL, &facts, NULL) == 0 &&
	       facts.protection != (enum ks_protection) tp->conf.protection;
}

void perform_prepare(struct trustpoint *tp)
{
	char spki[STATE_HEX] = "";
	struct ks *ks = NULL;
	struct err e = { 0 };
	int r = agent_ks(tp->agent, &ks, &e);

	if (r < 0) {
		work_fail(tp, TP_RESULT_LOCAL, r, &e, DOING, 0);
		return;
	}
	if (level_is_refused(tp))
		return;
	tp->work.key_lost = !is_first(tp) && perform_key_lost(tp);
	if (tp->work.key_lost)
		log_line(LOG_WARNING, "%s: the key of the certificate in use is lost: it enrols anew, with a new key", tp->name);
	r = key_in_use(tp, ks, spki, &e);
	if (r == -ENOKEY)
		generate(tp, KS_SLOT_ACTIVE);
	else if (r < 0)
		work_fail(tp, TP_RESULT_LOCAL, r, &e, DOING, 0);
	else if ((tp->conf.regenerate && key_has_served(tp, spki)) || key_is_of_another_level(tp, ks, spki))
		generate(tp, KS_SLOT_SHADOW);
	else
		prepare_finish(tp, spki, is_anew(tp) && !key_has_served(tp, spki));
}

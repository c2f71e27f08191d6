/* The state file: see state.h. */
#include "agent/state.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "common/ctl.h" /* AUTO(json) */
#include "common/fault.h"
#include "common/fs.h"

typedef const char *(*name_fn)(int value);

static const char *op_name(int v)
{
	return tp_op_name((enum tp_op) v);
}
static const char *stage_name(int v)
{
	return tp_stage_name((enum tp_stage) v);
}
static const char *hold_name(int v)
{
	return tp_hold_name((enum tp_hold) v);
}

void request_clear(struct request *q)
{
	buf_clear(&q->signer_pem);
	buf_clear(&q->csr);
	*q = (struct request){ .csr = BUF_SECRET };
}

void record_clear(struct record *r)
{
	bag_clear(&r->bag);
	request_clear(&r->request);
	*r = (struct record){ .request = { .csr = BUF_SECRET } };
}

static bool cert_is_named(const struct tp_cert *who, const void *arg)
{
	const struct record *r = arg;
	const struct tp_state *s = &r->state;
	const struct tp_cert *roles[] = { &s->ca, &s->next_ca, &s->id, &s->shadow, &s->granted, &s->old_ca };
	size_t i;

	for (i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (roles[i]->na_sec && bag_same(who, roles[i]))
			return true;
	return r->request.transaction_id[0] && bag_same(who, &r->request.recipient);
}

void record_sweep(struct record *r)
{
	bag_sweep(&r->bag, cert_is_named, r);
}

/* ---- building ---- */

static json_t *cert_json(const struct tp_cert *c)
{
	char serial[24];

	if (c->na_sec == 0)
		return json_null();
	(void) snprintf(serial, sizeof(serial), "%016" PRIx64, c->serial_low); /* JSON integers are signed */
	return json_pack("{sI sI ss}", "nb", (json_int_t) c->nb_sec, "na", (json_int_t) c->na_sec, "serial_low", serial);
}

static json_t *machine_json(const struct tp_state *s)
{
	char draws[24];

	(void) snprintf(draws, sizeof(draws), "%016" PRIx64, s->draws);
	return json_pack("{so so so so so so ss ss ss sb sb sI sI sb sI sI sI sI ss sb sb sb sI sI}", "ca", cert_json(&s->ca), "next_ca",
			 cert_json(&s->next_ca), "id", cert_json(&s->id), "shadow", cert_json(&s->shadow), "granted",
			 cert_json(&s->granted), "old_ca", cert_json(&s->old_ca), "op", tp_op_name(s->op), "stage",
			 tp_stage_name(s->stage), "hold", tp_hold_name(s->hold), "under_next", s->under_next, "exhausted", s->exhausted,
			 "polls", (json_int_t) s->polls, "failures", (json_int_t) s->failures, "retry_armed", s->retry_armed, "retry_at",
			 (json_int_t) s->retry_at.ms, "retire_at", (json_int_t) s->retire_at.ms, "alert_at",
			 (json_int_t) s->alert_at.ms, "last_request", (json_int_t) s->last_request.ms, "draws", draws, "ca_only",
			 s->ca_only, "trimmed", s->trimmed, "refused", s->refused, "activate_failures", (json_int_t) s->activate_failures, "activate_at",
			 (json_int_t) s->activate_at.ms); /* busy is not stored: nothing is in flight after a load */
}

static json_t *base64_json(const struct buf *b)
{
	AUTO(mem) char *text = malloc(4 * ((b->len + 2) / 3) + 1);
	json_t *j;

	if (!text)
		return NULL;
	text[0] = '\0';
	if (b->len > 0)
		(void) EVP_EncodeBlock((unsigned char *) text, b->data, (int) b->len); /* cannot fail: the size is right */
	j = json_string(text);
	if (b->secret)
		OPENSSL_cleanse(text, strlen(text));
	return j;
}

static json_t *request_json(const struct request *q)
{
	if (!q->transaction_id[0])
		return json_null();
	return json_pack("{ss ss sb sb sb so ss so}", "transaction_id", q->transaction_id, "spki", q->spki, "new_key", q->new_key,
			 "self_signed", q->self_signed, "as_pkcs_req", q->as_pkcs_req, "recipient", cert_json(&q->recipient), "signer",
			 q->signer_pem.data ? (const char *) q->signer_pem.data : "", "csr", base64_json(&q->csr));
}

static json_t *bag_json(const struct record *in)
{
	AUTO(json) json_t *list = json_array();
	size_t i;

	for (i = 0; list && i < in->bag.n; i++)
		if (cert_is_named(&in->bag.list[i].who, in) &&
		    json_array_append_new(list, json_string((const char *) in->bag.list[i].pem.data)) < 0)
			return NULL;
	return TAKE(list);
}

int state_build(const struct record *in, struct buf *ret, struct err *reterr)
{
	AUTO(json) json_t *j = NULL;
	AUTO(mem) char *text = NULL;
	int r;

	j = json_pack("{si ss so so so sI sI ss ss ss ss s{sb sb ss} s{ss ss sI}}", "version", STATE_VERSION, "boot_id", in->boot_id,
		      "machine", machine_json(&in->state), "request", request_json(&in->request), "certificates", bag_json(in),
		      "generation", (json_int_t) in->generation, "staged", (json_int_t) in->staged, "generation_sha256",
		      in->generation_sha256, "staged_sha256", in->staged_sha256, "previous_spki", in->previous_spki, "operator_pin",
		      in->operator_pin, "notify", "units", in->notify.units, "hook", in->notify.hook, "reason", in->notify.reason,
		      "key", "protection", in->protection, "at_rest", in->at_rest, "bits", (json_int_t) in->bits);
	text = j ? json_dumps(j, JSON_INDENT(1)) : NULL;
	if (!text)
		return err_set(reterr, -ENOMEM, "state file: out of memory");
	r = buf_set(ret, text, strlen(text));
	OPENSSL_cleanse(text, strlen(text)); /* the CSR may hold a challenge */
	return r;
}

/* ---- parsing ---- */

static int word_copy(char *to, size_t size, const char *from, const char *what, struct err *reterr)
{
	if (strlen(from) >= size)
		return err_set(reterr, -EBADMSG, "state file: %s of %zu bytes, wanted at most %zu", what, strlen(from), size - 1);
	memcpy(to, from, strlen(from) + 1);
	return 0;
}

static int hex64_parse(const char *text, uint64_t *ret)
{
	char *end = NULL;

	errno = 0;
	*ret = strtoull(text, &end, 16);
	return errno || end == text || *end ? -EBADMSG : 0;
}

static int cert_parse(json_t *j, struct tp_cert *ret, const char *what, struct err *reterr)
{
	json_int_t nb = 0, na = 0;
	const char *serial = NULL;

	*ret = (struct tp_cert){ .na_sec = 0 };
	if (json_is_null(j))
		return 0;
	if (json_unpack(j, "{sI sI ss}", "nb", &nb, "na", &na, "serial_low", &serial) < 0 || hex64_parse(serial, &ret->serial_low) < 0)
		return err_set(reterr, -EBADMSG, "state file: %s is not a certificate's identity", what);
	ret->nb_sec = nb;
	ret->na_sec = na;
	return 0;
}

static int enum_parse(const char *text, name_fn name, int end, const char *what, int *ret, struct err *reterr)
{
	int i;

	for (i = 0; i < end; i++)
		if (strcmp(text, name(i)) == 0) {
			*ret = i;
			return 0;
		}
	return err_set(reterr, -EBADMSG, "state file: found %s '%.40s', wanted one that this version knows", what, text);
}

static int machine_words_parse(json_t *j, struct tp_state *s, struct err *reterr)
{
	const char *op, *stage, *hold, *draws;
	int v[3] = { 0, 0, 0 };
	int r;

	if (json_unpack(j, "{ss ss ss ss}", "op", &op, "stage", &stage, "hold", &hold, "draws", &draws) < 0 ||
	    hex64_parse(draws, &s->draws) < 0)
		return err_set(reterr, -EBADMSG, "state file: machine lacks a word");
	r = enum_parse(op, op_name, TP_OP_N_, "operation", &v[0], reterr);
	if (r == 0)
		r = enum_parse(stage, stage_name, TP_STAGE_N_, "stage", &v[1], reterr);
	if (r == 0)
		r = enum_parse(hold, hold_name, TP_HOLD_N_, "hold", &v[2], reterr);
	s->op = (enum tp_op) v[0];
	s->stage = (enum tp_stage) v[1];
	s->hold = (enum tp_hold) v[2];
	return r;
}

static int machine_numbers_parse(json_t *j, struct tp_state *s, struct err *reterr)
{
	int under_next = 0, exhausted = 0, retry_armed = 0, ca_only = 0, trimmed = 0, refused = 0;
	json_int_t polls, failures, retry_at, retire_at, alert_at, last, activate_failures, activate_at;

	if (json_unpack(j, "{sb sb sI sI sb sI sI sI sI sb sb sb sI sI}", "under_next", &under_next, "exhausted", &exhausted, "polls", &polls, "failures",
			&failures, "retry_armed", &retry_armed, "retry_at", &retry_at, "retire_at", &retire_at, "alert_at", &alert_at,
			"last_request", &last, "ca_only", &ca_only, "trimmed", &trimmed, "refused", &refused, "activate_failures", &activate_failures,
			"activate_at", &activate_at) < 0 ||
	    activate_failures < 0 || activate_failures > UINT32_MAX || polls < 0 || polls > UINT32_MAX || failures < 0 || failures > UINT32_MAX)
		return err_set(reterr, -EBADMSG, "state file: machine lacks a number, or one is out of range");
	s->under_next = under_next;
	s->exhausted = exhausted;
	s->retry_armed = retry_armed;
	s->polls = (uint32_t) polls;
	s->failures = (uint32_t) failures;
	s->retry_at.ms = retry_at;
	s->retire_at.ms = retire_at;
	s->alert_at.ms = alert_at;
	s->last_request.ms = last;
	s->ca_only = ca_only;
	s->trimmed = trimmed;
	s->refused = refused;
	s->activate_failures = (uint32_t) activate_failures;
	s->activate_at.ms = activate_at;
	return 0;
}

static int machine_parse(json_t *j, struct tp_state *s, struct err *reterr)
{
	const struct {
		const char *key;
		struct tp_cert *to;
	} certs[] = { { "ca", &s->ca },		{ "next_ca", &s->next_ca }, { "id", &s->id },
		      { "shadow", &s->shadow }, { "granted", &s->granted }, { "old_ca", &s->old_ca } };
	size_t i;
	int r = machine_words_parse(j, s, reterr);

	if (r == 0)
		r = machine_numbers_parse(j, s, reterr);
	for (i = 0; r == 0 && i < sizeof(certs) / sizeof(certs[0]); i++)
		r = cert_parse(json_object_get(j, certs[i].key), certs[i].to, certs[i].key, reterr);
	return r;
}

static int csr_parse(const char *text, struct buf *ret, struct err *reterr)
{
	AUTO(buf) struct buf raw = BUF_SECRET;
	size_t len = strlen(text), pad = 0;
	int n, r = buf_set(&raw, text, len); /* large enough for what comes out */

	if (r < 0)
		return r;
	while (pad < 2 && pad < len && text[len - 1 - pad] == '=')
		pad++;
	n = len > 0 ? EVP_DecodeBlock(raw.data, (const unsigned char *) text, (int) len) : -1;
	if (n < (int) pad + 1)
		return err_set(reterr, -EBADMSG, "state file: the request's CSR is not base64");
	return buf_set(ret, raw.data, (size_t) n - pad);
}

static int request_parse(json_t *j, struct request *q, struct err *reterr)
{
	const char *id, *spki, *signer, *csr;
	int new_key, self_signed, as_pkcs_req, r;
	json_t *recipient;

	if (json_is_null(j))
		return 0;
	if (json_unpack(j, "{ss ss sb sb sb so ss ss}", "transaction_id", &id, "spki", &spki, "new_key", &new_key, "self_signed",
			&self_signed, "as_pkcs_req", &as_pkcs_req, "recipient", &recipient, "signer", &signer, "csr", &csr) < 0)
		return err_set(reterr, -EBADMSG, "state file: the request lacks a part");
	r = word_copy(q->transaction_id, sizeof(q->transaction_id), id, "transaction_id", reterr);
	if (r == 0)
		r = word_copy(q->spki, sizeof(q->spki), spki, "spki", reterr);
	if (r == 0)
		r = cert_parse(recipient, &q->recipient, "recipient", reterr);
	if (r == 0)
		r = buf_set(&q->signer_pem, signer, strlen(signer));
	if (r == 0)
		r = csr_parse(csr, &q->csr, reterr);
	q->new_key = new_key;
	q->self_signed = self_signed;
	q->as_pkcs_req = as_pkcs_req;
	return r;
}

static int bag_parse(json_t *list, struct bag *bag, struct err *reterr)
{
	size_t i;
	int r = 0;

	if (!json_is_array(list))
		return err_set(reterr, -EBADMSG, "state file: certificates are not a list");
	for (i = 0; r == 0 && i < json_array_size(list); i++) {
		json_t *pem = json_array_get(list, i);

		if (!json_is_string(pem))
			return err_set(reterr, -EBADMSG, "state file: certificate %zu is not text", i);
		r = bag_add_pem(bag, json_string_value(pem), json_string_length(pem), reterr);
	}
	return r;
}

static int words_parse(json_t *j, struct record *ret, struct err *reterr)
{
	const char *boot, *gsha, *ssha, *prev, *pin, *reason, *prot, *rest;
	json_int_t gen, staged, bits;
	int units, hook;

	if (json_unpack(j, "{ss sI sI ss ss ss ss s{sb sb ss} s{ss ss sI}}", "boot_id", &boot, "generation", &gen, "staged", &staged,
			"generation_sha256", &gsha, "staged_sha256", &ssha, "previous_spki", &prev, "operator_pin", &pin, "notify", "units",
			&units, "hook", &hook, "reason", &reason, "key", "protection", &prot, "at_rest", &rest, "bits", &bits) < 0)
		return err_set(reterr, -EBADMSG, "state file: a key is missing");
	ret->generation = gen;
	ret->staged = staged;
	ret->bits = bits;
	ret->notify.units = units;
	ret->notify.hook = hook;
	if (word_copy(ret->boot_id, sizeof(ret->boot_id), boot, "boot_id", reterr) < 0 ||
	    word_copy(ret->generation_sha256, STATE_HEX, gsha, "generation_sha256", reterr) < 0 ||
	    word_copy(ret->staged_sha256, STATE_HEX, ssha, "staged_sha256", reterr) < 0 ||
	    word_copy(ret->previous_spki, STATE_HEX, prev, "previous_spki", reterr) < 0 ||
	    word_copy(ret->operator_pin, STATE_HEX, pin, "operator_pin", reterr) < 0 ||
	    word_copy(ret->notify.reason, STATE_WORD, reason, "reason", reterr) < 0 ||
	    word_copy(ret->protection, STATE_WORD, prot, "protection", reterr) < 0 ||
	    word_copy(ret->at_rest, STATE_WORD, rest, "at_rest", reterr) < 0)
		return -EBADMSG;
	return 0;
}

/* A state that names a certificate which is not there is no state to go on from. */
static int roles_check(const struct record *r, struct err *reterr)
{
	const struct tp_state *s = &r->state;
	const struct tp_cert *roles[] = { &s->ca, &s->next_ca, &s->id, &s->shadow, &s->granted };
	size_t i;

	for (i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (roles[i]->na_sec && !bag_get0(&r->bag, roles[i]))
			return err_set(reterr, -EBADMSG, "state file: the machine names a certificate that the file lacks");
	return 0;
}

int state_parse(const char *text, size_t len, struct record *ret, struct err *reterr)
{
	AUTO(json) json_t *j = NULL;
	json_error_t je;
	int version = 0;
	int r;

	*ret = (struct record){ .request = { .csr = BUF_SECRET } };
	j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
	if (!j)
		return err_set(reterr, -EBADMSG, "state file: line %d: %s", je.line, je.text);
	if (json_unpack(j, "{si}", "version", &version) < 0 || version < 1)
		return err_set(reterr, -EBADMSG, "state file: no version");
	if (version > STATE_VERSION)
		return err_set(reterr, -ENOTSUP, "state file: found version %d, wanted at most %d", version, STATE_VERSION);
	r = words_parse(j, ret, reterr);
	if (r == 0)
		r = machine_parse(json_object_get(j, "machine"), &ret->state, reterr);
	if (r == 0)
		r = bag_parse(json_object_get(j, "certificates"), &ret->bag, reterr);
	if (r == 0)
		r = request_parse(json_object_get(j, "request"), &ret->request, reterr);
	return r == 0 ? roles_check(ret, reterr) : r;
}

int state_store(const char *path, const struct record *in, struct err *reterr)
{
	AUTO(buf) struct buf text = BUF_SECRET;
	int r = state_build(in, &text, reterr);

	if (r < 0)
		return r;
	FAULT("agent.before-persist");
	r = fs_write(path, text.data, text.len, 0600, reterr);
	FAULT("agent.persisted");
	return r;
}

int state_load(const char *path, struct record *ret, struct err *reterr)
{
	AUTO(buf) struct buf text = BUF_SECRET;
	int r;

	*ret = (struct record){ .request = { .csr = BUF_SECRET } };
	r = fs_read(path, STATE_BYTES_MAX, &text, reterr);
	if (r < 0)
		return r;
	r = state_parse((const char *) text.data, text.len, ret, reterr);
	return r < 0 ? err_prefix(reterr, r, "%s", path) : 0;
}

/* Private operations: judged on the loop, done on a worker, answered on the loop. */
#include <errno.h>
#include <poll.h>
#include <time.h>

#include "keystore/custody_conn.h"
#include "keystore/custody_op.h"
#include "keystore/custody_server_internal.h"

enum { QUEUE_PER_USER = 64 }; /* half of the connections that one may have */

struct op_job {
	struct job job;
	struct client *client;
	struct vault_key *key;
	const struct backend *backend;
	struct backend_key material;
	struct custody_msg request, reply;
	struct err e;
	uint64_t asked; /* microseconds, as sd_event_now tells them */
	bool retried;
};

static void op_free(struct op_job *j)
{
	EVP_PKEY_free(j->material.parsed);
	vault_key_unref(j->key);
	custody_msg_clear(&j->request);
	custody_msg_clear(&j->reply);
	free(j);
}

/* Whoever asked has hung up or given up by now, so the answer is no use to anyone, and those behind it wait. The descriptor stays while the client is
 * busy. */
static bool op_is_late(const struct op_job *j)
{
	struct pollfd p = { .fd = j->client->fd };
	struct timespec now;

	(void) clock_gettime(CLOCK_MONOTONIC, &now); /* that clock is always there */
	return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000 > j->asked / 1000 + CUSTODY_TIMEOUT_MS || poll(&p, 1, 0) > 0;
}

static void op_run(struct job *job)
{
	struct op_job *j = (struct op_job *) job;

	if (op_is_late(j)) {
		j->reply.status = err_set(&j->e, -ETIMEDOUT, "the request has waited for more than %d ms", CUSTODY_TIMEOUT_MS);
		return;
	}
	j->reply.status = custody_op_run(j->key, j->backend, &j->material, &j->request, &j->reply.body, &j->e);
}

/* The worker gets copies of what the loop may change meanwhile. */
static void op_material(struct op_job *j)
{
	EVP_PKEY_free(j->material.parsed);
	j->backend = j->key->backend;
	j->material = j->key->material;
	if (j->material.parsed && !EVP_PKEY_up_ref(j->material.parsed))
		j->material.parsed = NULL;
}

/* A device does not tell its absence from that of the key that was asked for: it is the key's, if the record is not as it was. */
static bool op_is_astray(const struct op_job *j)
{
	const int status = j->reply.status;

	return status == -ENOKEY || status == -EIO || (status == -ENODEV && !j->job.dropped && vault_is_stale(j->client->server->vault, j->key));
}

/* Somebody has destroyed the key in its keyring, or put another in its place, whose results are withheld: once, it is looked for again. */
static bool op_again(struct op_job *j)
{
	struct server *s = j->client->server;
	struct jobs *jobs;

	if (j->retried || vault_find_spki(s->vault, j->key->label, j->key->spki) != j->key || !op_is_astray(j))
		return false;
	j->retried = true;
	if (keys_recover(s, j->key, &j->e) < 0)
		return false;
	op_material(j);
	j->reply.status = jobs_of(s, j->backend, &jobs, &j->e);
	if (j->reply.status < 0)
		return false;
	jobs_add(jobs, &j->job);
	return true;
}

static void op_done(struct job *job)
{
	struct op_job *j = (struct op_job *) job;
	struct client *c = j->client;

	if (job->dropped)
		j->reply.status = err_set(&j->e, -ENODEV, "the token does not answer");
	if (op_again(j))
		return;
	if (j->reply.status == 0)
		client_reply(c, &j->reply);
	else
		client_answer(c, &j->request, j->reply.status, &j->e);
	op_free(j);
	client_ready(c);
}

/* Judged by the floor before the key is touched. */
static int floor_check(const struct server *s, const struct client *c, const struct vault_key *k, const struct custody_msg *m, struct err *reterr)
{
	struct custody_ask ask = {
		.label = k->label, .spki = k->spki, .slot = k->slot, .digest = m->name, .padding = m->padding, .bytes = m->body.data,
		.len = m->body.len, .spki_der = k->spki_der.data, .spki_der_len = k->spki_der.len, .uid = c->peer.uid,
	};

	if (m->padding >= CUSTODY_PADDING_N_)
		return err_set(reterr, -EINVAL, "padding %u is not known", m->padding);
	if (m->op == CUSTODY_OP_DECRYPT && s->o->decrypt_pkcs1_only && m->padding != CUSTODY_PADDING_PKCS1)
		return err_set(reterr, -EPROTO, "only PKCS#1 v1.5 is decrypted here");
	if (m->op == CUSTODY_OP_DECRYPT)
		return s->o->allow_decrypt ? 0 : err_set(reterr, -EPROTO, "decryption is not allowed here");
	if (m->op == CUSTODY_OP_SIGN_DIGEST)
		return s->o->allow_sign_digest ? 0 : err_set(reterr, -EPROTO, "a digest alone is not signed here: it cannot be judged");
	return s->o->check_sign ? s->o->check_sign(s->o->userdata, &ask, reterr) : 0;
}

/* One request at a time for each connection: as many wait as connections are busy. */
static int crowd_check(const struct server *s, const struct client *c, const struct jobs *jobs, struct err *reterr)
{
	unsigned waiting = 0;

	for (const struct client *o = s->clients; o; o = o->next)
		waiting += o->waits_in == jobs && o->peer.uid == c->peer.uid;
	if (waiting < QUEUE_PER_USER)
		return 0;
	return err_set(reterr, -EBUSY, "user %u has %u requests waiting, at most %d: ask again later", (unsigned) c->peer.uid, waiting, QUEUE_PER_USER);
}

int op_start(struct server *s, struct client *c, struct custody_msg *m, struct err *reterr)
{
	struct vault_key *k = NULL;
	struct jobs *jobs;
	struct op_job *j;
	int r = keys_find(s, c, m, &k, reterr);

	if (r == 0)
		r = jobs_of(s, k->backend, &jobs, reterr);
	if (r == 0)
		r = crowd_check(s, c, jobs, reterr);
	if (r == 0)
		r = floor_check(s, c, k, m, reterr);
	if (r < 0)
		return r;
	j = calloc(1, sizeof(*j));
	if (!j)
		return -ENOMEM;
	j->job = (struct job){ .run = op_run, .done = op_done, .lane = c->peer.uid };
	j->client = c;
	j->key = vault_key_ref(k);
	op_material(j);
	j->request = *m;
	m->body = BUF_EMPTY; /* moved */
	j->reply = (struct custody_msg){ .op = m->op, .id = m->id, .body = BUF_SECRET };
	(void) sd_event_now(s->event, CLOCK_MONOTONIC, &j->asked); /* on the loop's own thread it cannot fail */
	client_busy(c);
	c->waits_in = jobs;
	jobs_add(jobs, &j->job);
	return 1;
}

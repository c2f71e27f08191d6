/* The custodian's loop: one request at a time for each connection, private operations on worker threads, everything else here. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "common/conf.h"
#include "common/fs.h"
#include "common/log.h"
#include "keystore/custody_jobs.h"
#include "keystore/custody_op.h"
#include "keystore/custody_peer.h"
#include "keystore/custody_proto.h"
#include "keystore/custody_server.h"
#include "keystore/keygen.h"
#include "keystore/vault.h"

enum { CLIENTS_MAX = 512, CLIENTS_PER_UID = 128, MAKING_MAX = 16, MAKING_SEC = 120 };

struct server;

struct client {
	struct server *server;
	struct client *next;
	int fd;
	sd_event_source *source;
	struct peer peer;
	bool busy; /* a job or a generation answers later */
	bool gone; /* its connection has ended while busy */
};

struct making { /* one key in the making */
	struct server *server;
	struct making *next;
	struct client *client;
	struct vault_key *key;
	struct custody_msg request;
	const struct backend *backend;
	pid_t pid;
	int fd;
	sd_event_source *source, *late;
	struct buf reply;
	struct keygen_result made;
};

struct server {
	const struct custody_options *o;
	sd_event *event;
	sd_event_source *listener;
	struct vault *vault;
	struct jobs *jobs;
	struct client *clients;
	struct making *makings;
	size_t n_clients, n_makings;
};

struct op_job {
	struct job job;
	struct client *client;
	struct vault_key *key;
	const struct backend *backend;
	struct backend_key material;
	struct custody_msg request, reply;
	struct err e;
	bool retried;
};

struct test_job { /* the first private operation of a new key */
	struct job job;
	struct making *making;
	struct err e;
	int result;
};

/* ---- clients */

static void client_free(struct client *c)
{
	struct server *s = c->server;

	for (struct client **p = &s->clients; *p; p = &(*p)->next)
		if (*p == c) {
			*p = c->next;
			s->n_clients--;
			break;
		}
	(void) sd_event_source_disable_unref(c->source);
	(void) shutdown(c->fd, SHUT_RDWR); /* a child that makes a key may hold a copy of the descriptor */
	(void) close(c->fd);
	free(c);
}

static void client_end(struct client *c)
{
	if (!c->busy) {
		client_free(c);
		return;
	}
	c->gone = true; /* whoever is at work for it frees it */
	c->source = sd_event_source_disable_unref(c->source);
}

static void client_reply(struct client *c, struct custody_msg *m)
{
	if (c->gone)
		return;
	if (custody_msg_send(c->fd, m, NULL) < 0)
		client_end(c); /* it does not read its replies, or has gone */
}

/* Answers what was asked by request: status and, of a failure, its text. */
static void client_answer(struct client *c, const struct custody_msg *request, int status, const struct err *e)
{
	struct custody_msg m = { .op = request->op, .id = request->id, .status = status, .body = BUF_EMPTY };
	const char *text = status < 0 ? err_text(e, status) : "";

	if (buf_set(&m.body, text, strlen(text)) < 0)
		m.status = -ENOMEM;
	client_reply(c, &m);
	custody_msg_clear(&m);
}

/* What was asked later is done: the next request may come. */
static void client_ready(struct client *c)
{
	c->busy = false;
	if (c->gone)
		client_free(c);
	else if (sd_event_source_set_enabled(c->source, SD_EVENT_ON) < 0)
		client_free(c);
}

static void client_busy(struct client *c)
{
	c->busy = true;
	(void) sd_event_source_set_enabled(c->source, SD_EVENT_OFF); /* cannot fail for a live source */
}

/* ---- private operations */

static void op_free(struct op_job *j)
{
	EVP_PKEY_free(j->material.parsed);
	vault_key_unref(j->key);
	custody_msg_clear(&j->request);
	custody_msg_clear(&j->reply);
	free(j);
}

static void op_run(struct job *job)
{
	struct op_job *j = (struct op_job *) job;

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

/* A key that is not where it should be is looked for, and restored from its sealed copy; one that is nowhere leaves its slot free. */
static int key_recover(struct server *s, struct vault_key *k, struct err *reterr)
{
	int r = vault_restore(s->vault, k, reterr);

	if (r == 0) {
		log_line(LOG_WARNING, "key %s was gone from its keyring and is restored", k->label);
		return 0;
	}
	log_event(LOG_EV_KEY_REFUSED, NULL, "key %s is lost: %s", k->label, err_text(reterr, r));
	if (r == -ENODATA && vault_delete(s->vault, k, NULL) < 0)
		log_line(LOG_WARNING, "key %s still has its slot", k->label);
	return -ENOKEY;
}

/* Somebody has destroyed the key in its keyring: once, it is looked for again. */
static bool op_again(struct op_job *j)
{
	struct server *s = j->client->server;

	if (j->reply.status != -ENOKEY || j->retried || vault_find_spki(s->vault, j->key->label, j->key->spki) != j->key)
		return false;
	j->retried = true;
	if (key_recover(s, j->key, &j->e) < 0)
		return false;
	op_material(j);
	jobs_add(s->jobs, &j->job);
	return true;
}

static void op_done(struct job *job)
{
	struct op_job *j = (struct op_job *) job;
	struct client *c = j->client;

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
		return err_set(reterr, -EINVAL, "padding %u: PKCS#1 v1.5 and PSS are known", m->padding);
	if (m->op == CUSTODY_OP_DECRYPT)
		return s->o->allow_decrypt ? 0 : err_set(reterr, -EPROTO, "decryption is not allowed here");
	if (m->op == CUSTODY_OP_SIGN_DIGEST)
		return s->o->allow_sign_digest ? 0 : err_set(reterr, -EPROTO, "a digest alone is not signed here: it cannot be judged");
	return s->o->check_sign ? s->o->check_sign(s->o->userdata, &ask, reterr) : 0;
}

static int key_find(const struct server *s, const struct client *c, const struct custody_msg *m, struct vault_key **ret, struct err *reterr)
{
	struct vault_key *k = NULL;

	if (m->spki[0] != '\0')
		k = vault_find_spki(s->vault, m->label, m->spki);
	else if (m->slot < KS_SLOT_N_)
		k = vault_find(s->vault, m->label, (enum ks_slot) m->slot);
	if (!k)
		return err_set(reterr, -ENOKEY, "there is no key %s%s", m->label, m->spki[0] != '\0' ? " with that public key" : " in that slot");
	if (!peer_may_use(&c->peer, k))
		return err_set(reterr, -EACCES, "user %u may not use key %s", (unsigned) c->peer.uid, m->label);
	*ret = k;
	return 0;
}

static int op_start(struct server *s, struct client *c, struct custody_msg *m, struct err *reterr)
{
	struct vault_key *k = NULL;
	struct op_job *j;
	int r = key_find(s, c, m, &k, reterr);

	if (r == 0)
		r = floor_check(s, c, k, m, reterr);
	if (r < 0)
		return r;
	j = calloc(1, sizeof(*j));
	if (!j)
		return -ENOMEM;
	j->job = (struct job){ .run = op_run, .done = op_done };
	j->client = c;
	j->key = vault_key_ref(k);
	op_material(j);
	j->request = *m;
	m->body = BUF_EMPTY; /* moved */
	j->reply = (struct custody_msg){ .op = m->op, .id = m->id, .body = BUF_SECRET };
	client_busy(c);
	jobs_add(s->jobs, &j->job);
	return 1;
}

/* ---- making keys */

static void making_free(struct making *g)
{
	struct server *s = g->server;

	for (struct making **p = &s->makings; *p; p = &(*p)->next)
		if (*p == g) {
			*p = g->next;
			s->n_makings--;
			break;
		}
	(void) sd_event_source_disable_unref(g->source);
	(void) sd_event_source_disable_unref(g->late);
	auto_fd(&g->fd);
	if (g->pid > 0) {
		(void) kill(g->pid, SIGKILL); /* ends already, or is not wanted any more */
		(void) waitpid(g->pid, NULL, 0);
	}
	vault_key_unref(g->key);
	custody_msg_clear(&g->request);
	buf_clear(&g->reply);
	keygen_result_clear(&g->made);
	free(g);
}

static void making_end(struct making *g, int status, const struct err *e)
{
	struct custody_msg m = { .op = CUSTODY_OP_GENERATE, .id = g->request.id, .body = BUF_EMPTY };
	struct client *c = g->client;

	if (status == 0) {
		strcpy(m.spki, g->key->spki);
		log_event(LOG_EV_KEY_GENERATED, NULL, "key %s%s, %d bits, protection %s, at rest %s", g->key->label,
			  g->key->slot == KS_SLOT_SHADOW ? "#" : "", g->key->material.bits, ks_protection_name(g->key->protection), vault_at_rest(g->server->vault));
		client_reply(c, &m);
	} else {
		log_event(status == -EDQUOT ? LOG_EV_KEY_QUOTA : LOG_EV_KEY_REFUSED, NULL, "key %s is not made: %s", g->key->label, err_text(e, status));
		if (g->made.serial != 0)
			(void) g->backend->remove(g->server->vault->rings.slot[g->key->slot], g->key->label); /* swept at the next start otherwise */
		client_answer(c, &g->request, status, e);
	}
	making_free(g);
	client_ready(c);
}

static void test_run(struct job *job)
{
	struct test_job *t = (struct test_job *) job;

	t->result = backend_test(t->making->backend, &t->making->key->material, &t->e);
}

static void test_done(struct job *job)
{
	struct test_job *t = (struct test_job *) job;
	struct making *g = t->making;
	struct err e = t->e;
	int r = t->result;

	free(t);
	if (r == 0)
		r = vault_add(g->server->vault, g->key, &g->made.sealed, &e);
	making_end(g, r, &e);
}

static int making_test(struct making *g, struct err *reterr)
{
	struct test_job *t;
	int r = keygen_finish(&g->reply, &g->made, reterr);

	if (r == 0)
		r = vault_key_set_public(g->key, g->made.spki_der.data, g->made.spki_der.len, reterr);
	if (r < 0)
		return r;
	g->key->material.serial = g->made.serial;
	memcpy(g->key->reject_random, g->made.reject_random, sizeof(g->key->reject_random));
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->job = (struct job){ .run = test_run, .done = test_done };
	t->making = g;
	jobs_add(g->server->jobs, &t->job);
	return 0;
}

static int on_made(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct making *g = userdata;
	struct err e = { .code = 0 };
	uint8_t chunk[4096];
	ssize_t n = read(fd, chunk, sizeof(chunk));
	int r;

	(void) source;
	(void) revents;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n > 0) {
		r = g->reply.len + (size_t) n > KEYGEN_REPLY_BYTES ? -EMSGSIZE : buf_add(&g->reply, chunk, (size_t) n);
		if (r < 0)
			making_end(g, r, NULL);
		return 0;
	}
	g->source = sd_event_source_disable_unref(g->source);
	g->late = sd_event_source_disable_unref(g->late);
	r = making_test(g, &e);
	if (r < 0)
		making_end(g, r, &e);
	return 0;
}

/* Even 4096 bits take no machine that long: the child is stuck, and its end is noticed as any. */
static int on_late(sd_event_source *source, uint64_t usec, void *userdata)
{
	const struct making *g = userdata;

	(void) source;
	(void) usec;
	(void) kill(g->pid, SIGKILL);
	return 0;
}

static int making_check(const struct server *s, const struct client *c, const struct custody_msg *m, struct err *reterr)
{
	const struct vault_key *mate = vault_find_label(s->vault, m->label);

	if (!conf_name_ok(m->label))
		return err_set(reterr, -EINVAL, "key label '%s': letters, digits, '.', '_' and '-', not starting with '.' or '-'", m->label);
	if (m->number != 2048 && m->number != 3072 && m->number != 4096)
		return err_set(reterr, -EINVAL, "a key of %u bits: 2048, 3072 or 4096", m->number);
	if (m->slot != KS_SLOT_ACTIVE && m->slot != KS_SLOT_SHADOW)
		return err_set(reterr, -EINVAL, "a key is made as active or shadow");
	if (m->protection >= KS_PROTECTION_N_)
		return err_set(reterr, -EINVAL, "protection %u is not known", m->protection);
	if (mate ? !peer_may_own(&c->peer, mate) : !peer_may_make(&c->peer, s->o->makers))
		return err_set(reterr, -EACCES, "user %u may not make key %s", (unsigned) c->peer.uid, m->label);
	if (vault_find(s->vault, m->label, (enum ks_slot) m->slot))
		return err_set(reterr, -EEXIST, "there is a key %s in slot %s", m->label, ks_slot_name((enum ks_slot) m->slot));
	for (const struct making *g = s->makings; g; g = g->next)
		if (strcmp(g->key->label, m->label) == 0)
			return err_set(reterr, -EEXIST, "a key %s is being made", m->label);
	return s->n_makings < MAKING_MAX ? 0 : err_set(reterr, -EAGAIN, "%d keys are being made", MAKING_MAX);
}

static int making_fill(struct making *g, const struct client *c, const struct custody_msg *m, struct err *reterr)
{
	size_t pos = 0;
	int r = vault_key_new(m->label, (enum ks_slot) m->slot, &g->key);

	if (r == 0)
		r = custody_names_parse(&m->body, &pos, &g->key->users, reterr);
	if (r == 0)
		r = custody_names_parse(&m->body, &pos, &g->key->groups, reterr);
	if (r == 0)
		r = m->protection == KS_PROTECTION_AUTO ? 0 : backend_choose(&g->server->vault->levels, (enum ks_protection) m->protection, &g->backend, reterr);
	if (r < 0)
		return r;
	if (m->protection == KS_PROTECTION_AUTO)
		g->backend = g->server->vault->backend;
	g->key->uid = c->peer.uid;
	g->key->backend = g->backend;
	g->key->protection = g->backend->protection;
	g->request = (struct custody_msg){ .op = m->op, .id = m->id, .body = BUF_EMPTY };
	return 0;
}

static int making_fork(struct making *g, const struct custody_msg *m, struct err *reterr)
{
	struct server *s = g->server;
	struct keygen_order order = {
		.label = m->label, .bits = (int) m->number, .backend = g->backend, .ring = s->vault->rings.slot[g->key->slot],
		.seal = s->vault->sealing ? &s->vault->seal : NULL,
	};
	int r;

	jobs_quiesce(s->jobs);
	r = keygen_start(&order, &g->pid, &g->fd, reterr);
	jobs_resume(s->jobs);
	if (r == 0)
		r = sd_event_add_io(s->event, &g->source, g->fd, EPOLLIN, on_made, g);
	if (r >= 0)
		r = sd_event_add_time_relative(s->event, &g->late, CLOCK_MONOTONIC, MAKING_SEC * UINT64_C(1000000), 1000000, on_late, g);
	return r;
}

static int making_start(struct server *s, struct client *c, struct custody_msg *m, struct err *reterr)
{
	struct making *g;
	int r = making_check(s, c, m, reterr);

	if (r < 0)
		return r;
	g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	g->server = s;
	g->client = c;
	g->fd = -1;
	r = making_fill(g, c, m, reterr);
	if (r == 0)
		r = making_fork(g, m, reterr);
	if (r < 0) { /* a child that runs already is ended */
		making_free(g);
		return r;
	}
	g->next = s->makings;
	s->makings = g;
	s->n_makings++;
	client_busy(c);
	return 1;
}

/* ---- the quick ones */

static int load_answer(struct server *s, struct client *c, const struct custody_msg *m, struct err *reterr)
{
	AUTO(custody_msg) struct custody_msg reply = { .op = m->op, .id = m->id, .body = BUF_EMPTY };
	struct vault_key *k = NULL;
	int r = key_find(s, c, m, &k, reterr);

	if (r == 0 && k->material.serial == 0)
		r = key_recover(s, k, reterr);
	if (r < 0)
		return r;
	reply.slot = (uint8_t) k->slot;
	reply.protection = (uint8_t) k->protection;
	reply.number = (uint32_t) k->material.bits;
	strcpy(reply.label, k->label);
	strcpy(reply.spki, k->spki);
	strcpy(reply.name, vault_at_rest(s->vault));
	r = buf_set(&reply.body, k->spki_der.data, k->spki_der.len);
	if (r < 0)
		return r;
	client_reply(c, &reply);
	return 1;
}

static int promote(struct server *s, const struct client *c, const struct custody_msg *m, struct err *reterr)
{
	struct vault_key *k = vault_find_spki(s->vault, m->label, m->spki);
	bool moves;
	int r;

	if (!k)
		return err_set(reterr, -ENOKEY, "there is no key %s with that public key", m->label);
	if (!peer_may_own(&c->peer, k))
		return err_set(reterr, -EACCES, "user %u may not promote key %s", (unsigned) c->peer.uid, m->label);
	moves = k->slot != KS_SLOT_ACTIVE;
	r = vault_promote(s->vault, k, reterr);
	if (r == 0 && moves)
		log_event(LOG_EV_KEY_PROMOTED, NULL, "key %s# is now %s", k->label, k->label);
	return r;
}

static int delete_one(struct server *s, const struct client *c, struct vault_key *k, struct err *reterr)
{
	AUTO(vault_key) struct vault_key *held = vault_key_ref(k); /* for the log, after the vault has let it go */
	enum ks_slot slot = k->slot;
	int r;

	if (!peer_may_own(&c->peer, k))
		return err_set(reterr, -EACCES, "user %u may not delete key %s", (unsigned) c->peer.uid, k->label);
	r = vault_delete(s->vault, k, reterr);
	if (r == 0)
		log_event(LOG_EV_KEY_DELETED, NULL, "key %s, slot %s", held->label, ks_slot_name(slot));
	return r;
}

static int delete_keys(struct server *s, const struct client *c, const struct custody_msg *m, struct err *reterr)
{
	struct vault_key *k;
	int r = 0;

	if (m->spki[0] != '\0') {
		k = vault_find_spki(s->vault, m->label, m->spki);
		return k ? delete_one(s, c, k, reterr) : 0;
	}
	while (r == 0 && (k = vault_find_label(s->vault, m->label)))
		r = delete_one(s, c, k, reterr);
	return r;
}

static int list_answer(struct server *s, struct client *c, const struct custody_msg *m)
{
	AUTO(custody_msg) struct custody_msg reply = { .op = m->op, .id = m->id, .body = BUF_EMPTY };

	for (size_t i = 0; i < s->vault->n_keys; i++) {
		const struct vault_key *k = s->vault->keys[i];
		char line[256];
		int n;

		if (!peer_may_use(&c->peer, k))
			continue;
		n = snprintf(line, sizeof(line), "%s %s %s %d %s %s\n", k->label, ks_slot_name(k->slot), k->spki, k->material.bits,
			     ks_protection_name(k->protection), k->material.serial == 0 ? "lost" : vault_at_rest(s->vault));
		if (n < 0 || (size_t) n >= sizeof(line) || buf_add(&reply.body, line, (size_t) n) < 0)
			return -ENOMEM;
	}
	client_reply(c, &reply);
	return 1;
}

/* 0: done, to be answered; 1: answered, or will be; negative: refused. */
static int dispatch(struct server *s, struct client *c, struct custody_msg *m, struct err *reterr)
{
	switch (m->op) {
	case CUSTODY_OP_GENERATE:
		return making_start(s, c, m, reterr);
	case CUSTODY_OP_LOAD:
		return load_answer(s, c, m, reterr);
	case CUSTODY_OP_SIGN:
	case CUSTODY_OP_SIGN_DIGEST:
	case CUSTODY_OP_DECRYPT:
		return op_start(s, c, m, reterr);
	case CUSTODY_OP_PROMOTE:
		return promote(s, c, m, reterr);
	case CUSTODY_OP_DELETE:
		return delete_keys(s, c, m, reterr);
	case CUSTODY_OP_LIST:
		return list_answer(s, c, m);
	case CUSTODY_OP_N_:
		break;
	}
	return err_set(reterr, -EBADMSG, "operation %d", (int) m->op);
}

/* ---- the loop */

static int on_request(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	AUTO(custody_msg) struct custody_msg m = CUSTODY_MSG_EMPTY;
	struct client *c = userdata;
	struct err e = { .code = 0 };
	int r = custody_msg_recv(fd, &m, &e);

	(void) source;
	(void) revents;
	if (r == -EAGAIN)
		return 0;
	if (r < 0) {
		if (r != -ECONNRESET)
			log_event(LOG_EV_KEY_REFUSED, NULL, "user %u: %s", (unsigned) c->peer.uid, e.text);
		client_end(c);
		return 0;
	}
	r = dispatch(c->server, c, &m, &e);
	if (r == -EACCES || r == -EPROTO || r == -EBADMSG)
		log_event(LOG_EV_KEY_REFUSED, NULL, "user %u, key %s: %s", (unsigned) c->peer.uid, m.label, err_text(&e, r));
	else if (r < 0)
		log_line(LOG_DEBUG, "user %u, key %s: %s", (unsigned) c->peer.uid, m.label, err_text(&e, r));
	if (r <= 0)
		client_answer(c, &m, r, &e);
	return 0;
}

static int client_new(struct server *s, int fd)
{
	struct client *c;
	size_t same = 0;
	int r;

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	r = peer_get(fd, &c->peer, NULL);
	for (const struct client *o = s->clients; o; o = o->next)
		same += o->peer.uid == c->peer.uid;
	if (r == 0 && (s->n_clients >= CLIENTS_MAX || (same >= CLIENTS_PER_UID && c->peer.uid != 0)))
		r = -EMFILE;
	if (r == 0)
		r = sd_event_add_io(s->event, &c->source, fd, EPOLLIN, on_request, c);
	if (r < 0) {
		free(c);
		return r;
	}
	c->server = s;
	c->fd = fd;
	c->next = s->clients;
	s->clients = c;
	s->n_clients++;
	return 0;
}

static int on_connection(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct server *s = userdata;
	int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int r;

	(void) source;
	(void) revents;
	if (conn < 0)
		return 0; /* gone again, or no descriptors left: it waits in the backlog */
	r = client_new(s, conn);
	if (r < 0) {
		log_line(LOG_WARNING, "a connection is refused: %s", strerror(-r));
		(void) close(conn);
	}
	return 0;
}

static int listen_make(const char *path, mode_t mode, struct err *reterr)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	AUTO(fd) int fd = -1;
	int probe = -1;

	if (strlen(path) >= sizeof(sa.sun_path))
		return err_set(reterr, -ENAMETOOLONG, "socket %s: longer than %zu bytes", path, sizeof(sa.sun_path) - 1);
	strcpy(sa.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || probe < 0) {
		auto_fd(&probe);
		return err_set(reterr, -errno, "socket: %s", strerror(errno));
	}
	if (connect(probe, (struct sockaddr *) &sa, sizeof(sa)) == 0) {
		(void) close(probe);
		return err_set(reterr, -EADDRINUSE, "another custodian serves %s", path);
	}
	(void) close(probe);
	(void) unlink(path); /* what a killed one left, or nothing */
	if (bind(fd, (struct sockaddr *) &sa, sizeof(sa)) < 0 || chmod(path, mode) < 0 || listen(fd, 128) < 0)
		return err_set(reterr, -errno, "socket %s: %s", path, strerror(errno));
	return TAKE_FD(fd);
}

static int listen_get(const struct custody_options *o, struct err *reterr)
{
	int n = sd_listen_fds(1);

	if (n > 1 || (n == 1 && sd_is_socket(SD_LISTEN_FDS_START, AF_UNIX, SOCK_SEQPACKET, 1) <= 0))
		return err_set(reterr, -EINVAL, "the service manager handed over %d descriptors: one listening SOCK_SEQPACKET socket is wanted", n);
	if (n == 1)
		return fcntl(SD_LISTEN_FDS_START, F_SETFL, O_NONBLOCK) < 0 ? -errno : SD_LISTEN_FDS_START;
	return listen_make(o->socket_path, o->socket_mode, reterr);
}

static void say(int level, const struct err *e, const char *label)
{
	log_line(level, "key %s: %s", label, e->text);
}

/* No core and no ptrace by others; nothing on swap where that is not limited (under a limit, later allocations would fail instead). */
static void close_up(void)
{
#ifndef __SANITIZE_ADDRESS__ /* whose leak checker looks in by ptrace */
	struct rlimit none = { 0, 0 }, lock;

	(void) prctl(PR_SET_DUMPABLE, 0); /* best effort all three */
	(void) setrlimit(RLIMIT_CORE, &none);
	if (getrlimit(RLIMIT_MEMLOCK, &lock) == 0 && lock.rlim_cur == RLIM_INFINITY)
		(void) mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
	(void) CRYPTO_secure_malloc_init(256 * 1024, 16); /* RSA's private numbers are secure-heap ones */
#endif
}

static void protection_say(const struct vault *v)
{
	const struct err *why = &v->levels.why_not[KS_PROTECTION_KERNEL];
	bool lower = v->backend->protection != KS_PROTECTION_KERNEL && why->code != 0;

	log_event(LOG_EV_KEY_PROTECTION, NULL, "protection %s, at rest %s%s%s%s", ks_protection_name(v->backend->protection), vault_at_rest(v),
		  lower ? " (not kernel: " : "", lower ? why->text : "", lower ? ")" : "");
}

static int loop_prepare(struct server *s, struct err *reterr)
{
	sigset_t ends;
	int r;

	(void) sigemptyset(&ends); /* these cannot fail */
	(void) sigaddset(&ends, SIGTERM);
	(void) sigaddset(&ends, SIGINT);
	(void) sigprocmask(SIG_BLOCK, &ends, NULL);
	(void) signal(SIGPIPE, SIG_IGN);
	r = sd_event_default(&s->event);
	if (r >= 0)
		r = sd_event_add_signal(s->event, NULL, SIGTERM, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_signal(s->event, NULL, SIGINT, NULL, NULL);
	if (r >= 0)
		r = sd_event_set_watchdog(s->event, 1);
	return r < 0 ? err_set(reterr, r, "event loop: %s", strerror(-r)) : 0;
}

static void server_clear(struct server *s)
{
	while (s->makings)
		making_free(s->makings);
	while (s->clients)
		client_free(s->clients);
	(void) sd_event_source_disable_unref(s->listener);
	if (s->vault)
		vault_free(s->vault);
	(void) sd_event_unref(s->event);
}

static int serve(struct server *s, int listen_fd, struct err *reterr)
{
	int r = jobs_new(s->event, s->o->workers, &s->jobs, reterr);

	if (r < 0)
		return r;
	r = sd_event_add_io(s->event, &s->listener, listen_fd, EPOLLIN, on_connection, s);
	if (r >= 0) {
		protection_say(s->vault);
		log_event(LOG_EV_STARTED, NULL, "%zu keys", s->vault->n_keys);
		(void) sd_notifyf(0, "READY=1\nSTATUS=%zu keys, protection %s", s->vault->n_keys, ks_protection_name(s->vault->backend->protection));
		r = sd_event_loop(s->event);
		(void) sd_notify(0, "STOPPING=1");
	}
	jobs_free(s->jobs);
	return r < 0 ? err_set(reterr, r, "event loop: %s", strerror(-r)) : 0;
}

int custody_server_run(const struct custody_options *o, struct err *reterr)
{
	struct server s = { .o = o };
	AUTO(fd) int listen_fd = -1;
	int r;

	close_up();
	r = loop_prepare(&s, reterr);
	if (r == 0)
		r = listen_fd = listen_get(o, reterr); /* first, so that clients wait instead of being refused */
	if (r >= 0)
		r = vault_open(o->state_dir, o->protection, o->seal, o->keep_parsed, say, &s.vault, reterr);
	if (r == 0)
		r = serve(&s, listen_fd, reterr);
	server_clear(&s);
	if (listen_fd >= 0 && listen_fd != SD_LISTEN_FDS_START && o->socket_path)
		(void) unlink(o->socket_path); /* ours; a socket unit's stays */
	return r < 0 ? r : 0;
}

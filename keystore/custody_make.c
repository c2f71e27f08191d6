/* Making keys: a child makes, a worker tests, the loop adds. */
#include <errno.h>
#include <openssl/rand.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "common/conf.h"
#include "common/log.h"
#include "keystore/custody_server_internal.h"
#include "keystore/keygen.h"
#include "keystore/level.h"

enum { MAKING_MAX = 16, MAKING_SEC = 120 };

struct making { /* one key in the making */
	struct server *server;
	struct making *next;
	struct client *client; /* NULL: abandoned */
	struct vault_key *key;
	struct custody_msg request;
	const struct backend *backend;
	int bits;
	pid_t pid;
	int fd;
	sd_event_source *source, *late;
	struct buf reply;
	struct keygen_result made;
};

struct making_job { /* making a key in a device, or the first private operation of a new one */
	struct job job;
	struct making *making;
	struct err e;
	int result;
	bool absent; /* the device */
};

void making_free(struct making *g)
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

static void making_refuse(struct making *g, int status, const struct err *e)
{
	log_event(status == -EDQUOT ? LOG_EV_KEY_QUOTA : LOG_EV_KEY_REFUSED, NULL, "key %s is not made: %s", g->key->label, err_text(e, status));
	if (g->made.serial != 0)
		(void) g->backend->remove(g->server->vault->rings.slot[g->key->slot], g->key->label); /* swept at the next start otherwise */
	client_answer(g->client, &g->request, status, e);
}

void makings_abandon(struct server *s)
{
	struct err e = { .code = 0 };

	(void) err_set(&e, -ENODEV, "the token does not answer"); /* the code again */
	for (struct making **p = &s->makings; *p;) {
		struct making *g = *p;
		struct client *c = g->client;

		if (!g->backend->device) {
			p = &g->next;
			continue;
		}
		*p = g->next;
		s->n_makings--;
		making_refuse(g, e.code, &e);
		g->client = NULL;
		client_ready(c);
	}
}

static void making_end(struct making *g, int status, const struct err *e)
{
	struct custody_msg m = { .op = CUSTODY_OP_GENERATE, .id = g->request.id, .body = BUF_EMPTY };
	struct client *c = g->client;

	if (status == 0) {
		strcpy(m.spki, g->key->spki);
		log_event(LOG_EV_KEY_GENERATED, NULL, "key %s%s, %d bits, protection %s, at rest %s", g->key->label,
			  g->key->slot == KS_SLOT_SHADOW ? "#" : "", g->key->material.bits, ks_protection_name(g->key->protection),
			  vault_at_rest(g->server->vault, g->key));
		client_reply(c, &m);
	} else {
		making_refuse(g, status, e);
	}
	making_free(g);
	client_ready(c);
}

static int job_start(struct making *g, void (*run)(struct job *job), void (*done)(struct job *job), struct err *reterr)
{
	struct making_job *t;
	struct jobs *jobs;
	int r = jobs_of(g->server, g->backend, &jobs, reterr);

	if (r < 0)
		return r;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->job = (struct job){ .run = run, .done = done, .lane = g->client->peer.uid };
	t->making = g;
	jobs_add(jobs, &t->job);
	return 0;
}

static void test_run(struct job *job)
{
	struct making_job *t = (struct making_job *) job;

	t->result = backend_test(t->making->backend, &t->making->key->material, &t->e);
}

static void test_done(struct job *job)
{
	struct making_job *t = (struct making_job *) job;
	struct making *g = t->making;
	struct err e = t->e;
	int r = t->result;

	free(t);
	if (!g->client) { /* abandoned */
		making_free(g);
		return;
	}
	if (r == 0)
		r = vault_add(g->server->vault, g->key, &g->made.copy, &e);
	making_end(g, r, &e);
}

/* The key lies in its slot's ring as g->made says: what is left is to try it. */
static int making_test(struct making *g, struct err *reterr)
{
	int r = vault_key_set_public(g->key, g->made.spki_der.data, g->made.spki_der.len, reterr);

	if (r == 0 && g->key->material.bits != g->bits)
		r = err_set(reterr, -EINVAL, "the key has %d bits, %d are wanted", g->key->material.bits, g->bits);
	if (r == 0 && vault_find_spki(g->server->vault, g->key->label, g->key->spki)) /* two slots cannot hold one */
		r = err_set(reterr, -EBUSY, "the key that TokenURI= names is one of %s already", g->key->label);
	if (r < 0)
		return r;
	g->key->material.serial = g->made.serial;
	memcpy(g->key->reject_random, g->made.reject_random, sizeof(g->key->reject_random));
	return job_start(g, test_run, test_done, reterr);
}

/* ---- in a device */

static void device_run(struct job *job)
{
	struct making_job *t = (struct making_job *) job;
	struct making *g = t->making;

	t->result = g->backend->device->ready(&t->e);
	t->absent = t->result < 0;
	if (t->result == 0)
		t->result = g->backend->device->make(g->bits, g->request.text[0] ? g->request.text : NULL, &g->made.copy, &g->made.spki_der, &t->e);
	if (t->result == 0 && RAND_priv_bytes(g->made.reject_random, sizeof(g->made.reject_random)) != 1)
		t->result = err_from_openssl(&t->e, -EIO, "making a key");
}

static void device_done(struct job *job)
{
	struct making_job *t = (struct making_job *) job;
	struct making *g = t->making;
	struct err e = t->e;
	int r = t->result;

	if (!g->client) { /* abandoned */
		making_free(g);
		free(t);
		return;
	}

	if (t->absent && level_find(g->server->vault->dir, g->backend->protection, &g->server->vault->levels, &g->backend, &e) < 0)
		r = -ENOTSUP; /* in its words, which say what to do */
	free(t);
	if (r == 0)
		r = vault_rings_renew(g->server->vault, &e);
	if (r == 0)
		r = g->backend->load(g->server->vault->rings.slot[g->key->slot], g->key->label, &g->made.copy, &g->made.serial, &e);
	if (r == 0)
		r = making_test(g, &e);
	if (r < 0)
		making_end(g, r, &e);
}

/* ---- in a child */

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
	r = keygen_finish(&g->reply, &g->made, &e);
	if (r == 0)
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

bool making_has(const struct server *s, const char *label)
{
	for (const struct making *g = s->makings; g; g = g->next)
		if (strcmp(g->key->label, label) == 0)
			return true;
	return false;
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
	if (making_has(s, m->label))
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
	g->backend = g->server->vault->backend; /* under AUTO */
	if (r == 0 && m->protection == KS_PROTECTION_TOKEN && g->server->device_jobs)
		g->backend = &backend_token; /* asked on its own thread whether it is there */
	else if (r == 0 && m->protection != KS_PROTECTION_AUTO)
		r = level_find(g->server->vault->dir, (enum ks_protection) m->protection, &g->server->vault->levels, &g->backend, reterr);
	if (r < 0)
		return r;
	if (m->text[0] && !g->backend->device)
		return err_set(reterr, -EINVAL, "TokenURI= is for Protection=token, not %s", ks_protection_name(g->backend->protection));
	g->bits = (int) m->number;
	g->key->uid = c->peer.uid;
	g->key->backend = g->backend;
	g->key->protection = g->backend->protection;
	g->key->named = m->protection != KS_PROTECTION_AUTO;
	g->request = (struct custody_msg){ .op = m->op, .id = m->id, .body = BUF_EMPTY };
	strcpy(g->request.text, m->text);
	return 0;
}

static int making_fork(struct making *g, const struct custody_msg *m, struct err *reterr)
{
	struct server *s = g->server;
	int r = vault_rings_renew(s->vault, reterr);
	struct keygen_order order = {
		.label = m->label, .bits = (int) m->number, .backend = g->backend, .ring = s->vault->rings.slot[g->key->slot],
		.seal = s->vault->sealing ? &s->vault->seal : NULL,
	};

	if (r < 0)
		return r;
	server_quiesce(s);
	r = keygen_start(&order, &g->pid, &g->fd, reterr);
	server_resume(s);
	if (r == 0)
		r = sd_event_add_io(s->event, &g->source, g->fd, EPOLLIN, on_made, g);
	if (r >= 0)
		r = sd_event_add_time_relative(s->event, &g->late, CLOCK_MONOTONIC, MAKING_SEC * UINT64_C(1000000), 1000000, on_late, g);
	return r;
}

int making_start(struct server *s, struct client *c, struct custody_msg *m, struct err *reterr)
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
		r = g->backend->device ? job_start(g, device_run, device_done, reterr) : making_fork(g, m, reterr);
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

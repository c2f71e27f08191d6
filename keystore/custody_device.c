/* The device that keeps keys for good, as the loop sees it: a thread of its own, since it does one thing at a time, may take a minute for it, and may hang. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "common/log.h"
#include "keystore/custody_server_internal.h"
#include "keystore/level.h"
#include "keystore/token.h"

/* Of the tests at start: nobody's, so that no user waits behind them. */
#define LANE_TESTS UINT_MAX

enum { DEVICE_START_MS = 20000, DEVICE_END_MS = 5000 };
#define WATCH_USEC UINT64_C(1000000)

static void first_run(struct job *job)
{
	(void) backend_token.device->ready(NULL); /* what came out is its state, for whoever asks */
	(void) job;
}

static void first_done(struct job *job)
{
	(void) job; /* the server's own */
}

int device_start(struct server *s, struct err *reterr)
{
	int r = jobs_new(s->event, 1, &s->device_jobs, reterr);

	if (r < 0)
		return r;
	jobs_at_end(s->device_jobs, token_close); /* it may take as long as anything that is asked of it */
	s->device_first = (struct job){ .run = first_run, .done = first_done };
	jobs_add(s->device_jobs, &s->device_first);
	if (jobs_wait(s->device_jobs, DEVICE_START_MS) < 0)
		log_line(LOG_WARNING, "the token has not answered for %d s, and is not waited for", DEVICE_START_MS / 1000);
	return 0; /* one that hangs holds up no other level */
}

/* Everyone who waits is answered, so that nobody else's room is taken up by them. What the device is at is answered when it returns. */
static int on_watch(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct server *s = userdata;
	int r = 0;

	(void) source;
	(void) usec;
	if (backend_token.device->hung(NULL) < 0) {
		jobs_drop(s->device_jobs);
		makings_abandon(s);
	} else if (jobs_wait(s->device_jobs, 0) < 0) { /* an idle one wakes no router */
		r = device_watch(s, NULL);
	}
	return r;
}

int device_watch(struct server *s, struct err *reterr)
{
	int on = SD_EVENT_OFF, r;

	if (s->device_watch) {
		r = sd_event_source_get_enabled(s->device_watch, &on);
		if (r >= 0 && on == SD_EVENT_OFF)
			r = sd_event_source_set_time_relative(s->device_watch, WATCH_USEC);
		if (r >= 0)
			r = sd_event_source_set_enabled(s->device_watch, SD_EVENT_ONESHOT);
	} else {
		r = sd_event_add_time_relative(s->event, &s->device_watch, CLOCK_MONOTONIC, WATCH_USEC, WATCH_USEC / 10, on_watch, s);
	}
	return r < 0 ? err_set(reterr, r, "event loop: %s", strerror(-r)) : 0;
}

int device_end(struct server *s)
{
	int r = jobs_end(s->device_jobs, DEVICE_END_MS);

	s->device_watch = sd_event_source_disable_unref(s->device_watch);

	if (r == 0)
		jobs_free(TAKE(s->device_jobs));
	return r;
}

/* ---- LEVEL */

struct level_job {
	struct job job;
	struct client *client;
	struct custody_msg request;
};

static void level_run(struct job *job)
{
	(void) backend_token.device->ready(NULL); /* as first_run */
	(void) job;
}

static void level_done(struct job *job)
{
	struct level_job *j = (struct level_job *) job;
	struct client *c = j->client;
	struct vault *v = c->server->vault;
	struct err e = { .code = 0 };
	const struct backend *b;
	int r = level_find(v->dir, (enum ks_protection) j->request.protection, &v->levels, &b, &e);

	client_answer(c, &j->request, r, &e);
	free(j);
	client_ready(c);
}

int device_level(struct server *s, struct client *c, const struct custody_msg *m, struct err *reterr)
{
	const struct backend *b;
	struct level_job *j;
	int r;

	if (backend_token.device->hung(NULL) < 0) /* which is what is found, so there is nothing to wait for */
		return level_find(s->vault->dir, (enum ks_protection) m->protection, &s->vault->levels, &b, reterr);
	r = device_watch(s, reterr);
	if (r < 0)
		return r;
	j = calloc(1, sizeof(*j));
	if (!j)
		return -ENOMEM;
	j->job = (struct job){ .run = level_run, .done = level_done, .lane = c->peer.uid };
	j->client = c;
	j->request = (struct custody_msg){ .op = m->op, .id = m->id, .protection = m->protection, .body = BUF_EMPTY };
	client_busy(c);
	jobs_add(s->device_jobs, &j->job);
	return 1;
}

/* ---- the keys that were found at start */

struct test_job {
	struct job job;
	struct vault_key *key;
	struct backend_key material;
	struct err e;
	int result;
};

static void test_run(struct job *job)
{
	struct test_job *j = (struct test_job *) job;

	j->result = backend_test(&backend_token, &j->material, &j->e);
}

static void test_done(struct job *job)
{
	struct test_job *j = (struct test_job *) job;

	if (job->dropped)
		log_line(LOG_ERR, "key %s is not tested: the token does not answer", j->key->label);
	else if (j->result < 0)
		log_line(LOG_ERR, "key %s: %s", j->key->label, err_text(&j->e, j->result));
	vault_key_unref(j->key);
	free(j);
}

int device_test_keys(struct server *s, struct err *reterr)
{
	int r = device_watch(s, reterr);

	if (r < 0)
		return r;
	for (size_t i = 0; i < s->vault->n_keys; i++) {
		struct vault_key *k = s->vault->keys[i];
		struct test_job *j;

		if (!k->backend->device || k->material.serial == 0)
			continue;
		j = calloc(1, sizeof(*j));
		if (!j)
			return -ENOMEM;
		j->job = (struct job){ .run = test_run, .done = test_done, .lane = LANE_TESTS };
		j->key = vault_key_ref(k);
		j->material = k->material;
		jobs_add(s->device_jobs, &j->job);
	}
	return 0;
}

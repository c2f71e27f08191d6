/* Worker threads: see custody_jobs.h. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "keystore/custody_jobs.h"

enum { WORKERS_MAX = 8 };

struct queue {
	struct job *first, **last;
};

struct jobs {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct queue waiting, finished;
	uint64_t turn; /* of the job that was taken last */
	void (*last)(void);
	int running, blocked, started, ended; /* blocked: of those that run, how many are between jobs_block and jobs_unblock */
	bool paused, ending;
	int event_fd;
	sd_event_source *source;
	pthread_t thread[WORKERS_MAX];
	int n_threads;
};

static _Thread_local struct jobs *mine; /* whose worker this thread is */

static void queue_add(struct queue *q, struct job *job)
{
	job->next = NULL;
	*q->last = job;
	q->last = &job->next;
}

static struct job *queue_take(struct queue *q)
{
	struct job *job = q->first;

	if (!job)
		return NULL;
	q->first = job->next;
	if (!q->first)
		q->last = &q->first;
	return job;
}

/* A lane's next job comes one turn after its last that waits, or after the one being served: so a lane with many waits for one with few, and none for ever. */
static void waiting_insert(struct jobs *j, struct job *job)
{
	struct job **at;

	job->turn = j->turn;
	for (const struct job *w = j->waiting.first; w; w = w->next)
		if (w->lane == job->lane && w->turn > job->turn)
			job->turn = w->turn;
	job->turn++;
	for (at = &j->waiting.first; *at && (*at)->turn <= job->turn; at = &(*at)->next)
		;
	job->next = *at;
	*at = job;
	if (!job->next)
		j->waiting.last = &job->next;
}

static struct job *waiting_take(struct jobs *j)
{
	struct job *job = queue_take(&j->waiting);

	if (job)
		j->turn = job->turn;
	return job;
}

/* pthread_mutex_lock and pthread_cond_* cannot fail on initialised, non-recursive objects: their results say nothing here. */
static void *worker(void *arg)
{
	static const uint64_t one = 1;
	struct jobs *j = arg;

	mine = j;
	(void) pthread_mutex_lock(&j->lock);
	j->started++;
	(void) pthread_cond_broadcast(&j->changed);
	while (!j->ending) {
		struct job *job = j->paused ? NULL : waiting_take(j);

		if (!job) {
			(void) pthread_cond_wait(&j->changed, &j->lock);
			continue;
		}
		j->running++;
		(void) pthread_mutex_unlock(&j->lock);
		job->run(job);
		(void) pthread_mutex_lock(&j->lock);
		j->running--;
		queue_add(&j->finished, job);
		(void) pthread_cond_broadcast(&j->changed);
		if (write(j->event_fd, &one, sizeof(one)) < 0)
			continue; /* full: the loop is told already */
	}
	(void) pthread_mutex_unlock(&j->lock);
	if (j->last)
		j->last();
	(void) pthread_mutex_lock(&j->lock);
	j->ended++;
	(void) pthread_cond_broadcast(&j->changed);
	(void) pthread_mutex_unlock(&j->lock);
	return NULL;
}

static int on_finished(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct jobs *j = userdata;
	uint64_t count;

	(void) source;
	(void) revents;
	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return -errno;
	for (;;) {
		struct job *job;

		(void) pthread_mutex_lock(&j->lock);
		job = queue_take(&j->finished);
		(void) pthread_mutex_unlock(&j->lock);
		if (!job)
			return 0;
		job->done(job);
	}
}

static int threads_start(struct jobs *j, int workers, struct err *reterr)
{
	sigset_t all, before;
	int r = 0;

	(void) sigfillset(&all); /* cannot fail; signals belong to the loop */
	(void) pthread_sigmask(SIG_SETMASK, &all, &before);
	for (; r == 0 && j->n_threads < workers; j->n_threads += r == 0)
		r = pthread_create(&j->thread[j->n_threads], NULL, worker, j);
	(void) pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r == 0 ? 0 : err_set(reterr, -r, "starting a worker thread: %s", strerror(r));
}

/* glibc's cannot fail, nor can it refuse that clock. */
static void locks_init(struct jobs *j)
{
	pthread_condattr_t attr;

	(void) pthread_mutex_init(&j->lock, NULL);
	(void) pthread_condattr_init(&attr);
	(void) pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void) pthread_cond_init(&j->changed, &attr);
	(void) pthread_condattr_destroy(&attr);
}

int jobs_new(sd_event *event, int workers, struct jobs **ret, struct err *reterr)
{
	AUTO(jobs) struct jobs *j = calloc(1, sizeof(*j));
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	int r;

	if (!j)
		return -ENOMEM;
	if (workers <= 0)
		workers = cores > 0 ? (int) cores : 1;
	j->waiting.last = &j->waiting.first;
	j->finished.last = &j->finished.first;
	locks_init(j);
	j->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (j->event_fd < 0)
		return err_set(reterr, -errno, "eventfd: %s", strerror(errno));
	r = sd_event_add_io(event, &j->source, j->event_fd, EPOLLIN, on_finished, j);
	if (r < 0)
		return err_set(reterr, r, "event loop: %s", strerror(-r));
	r = threads_start(j, workers > WORKERS_MAX ? WORKERS_MAX : workers, reterr);
	if (r == 0)
		*ret = TAKE(j);
	return r;
}

void jobs_free(struct jobs *j)
{
	(void) pthread_mutex_lock(&j->lock);
	j->ending = true;
	(void) pthread_cond_broadcast(&j->changed);
	(void) pthread_mutex_unlock(&j->lock);
	for (int i = 0; i < j->n_threads; i++)
		(void) pthread_join(j->thread[i], NULL); /* ours, joined once */
	(void) sd_event_source_disable_unref(j->source);
	if (j->event_fd >= 0)
		(void) close(j->event_fd); /* nothing to flush */
	(void) pthread_cond_destroy(&j->changed);
	(void) pthread_mutex_destroy(&j->lock);
	free(j);
}

void jobs_at_end(struct jobs *j, void (*last)(void))
{
	j->last = last;
}

void jobs_add(struct jobs *j, struct job *job)
{
	(void) pthread_mutex_lock(&j->lock);
	waiting_insert(j, job);
	(void) pthread_cond_signal(&j->changed);
	(void) pthread_mutex_unlock(&j->lock);
}

void jobs_quiesce(struct jobs *j)
{
	(void) pthread_mutex_lock(&j->lock);
	j->paused = true;
	while (j->running > j->blocked || j->started < j->n_threads) /* a thread that is still being born holds locks of the run-time's */
		(void) pthread_cond_wait(&j->changed, &j->lock);
	(void) pthread_mutex_unlock(&j->lock);
}

void jobs_resume(struct jobs *j)
{
	(void) pthread_mutex_lock(&j->lock);
	j->paused = false;
	(void) pthread_cond_broadcast(&j->changed);
	(void) pthread_mutex_unlock(&j->lock);
}

void jobs_block(void)
{
	if (!mine)
		return;
	(void) pthread_mutex_lock(&mine->lock);
	mine->blocked++;
	(void) pthread_cond_broadcast(&mine->changed);
	(void) pthread_mutex_unlock(&mine->lock);
}

void jobs_unblock(void)
{
	if (!mine)
		return;
	(void) pthread_mutex_lock(&mine->lock);
	while (mine->paused)
		(void) pthread_cond_wait(&mine->changed, &mine->lock);
	mine->blocked--;
	(void) pthread_mutex_unlock(&mine->lock);
}

static bool is_idle(const struct jobs *j)
{
	return j->running == 0 && !j->waiting.first;
}

static bool is_ended(const struct jobs *j)
{
	return j->ended == j->n_threads;
}

static int wait_for(struct jobs *j, bool (*what)(const struct jobs *j), unsigned ms)
{
	struct timespec until;
	int r = 0;

	(void) clock_gettime(CLOCK_MONOTONIC, &until); /* that clock is always there */
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	(void) pthread_mutex_lock(&j->lock);
	while (r == 0 && !what(j))
		r = -pthread_cond_timedwait(&j->changed, &j->lock, &until);
	if (what(j)) /* in the last moment */
		r = 0;
	(void) pthread_mutex_unlock(&j->lock);
	return r;
}

int jobs_wait(struct jobs *j, unsigned ms)
{
	return wait_for(j, is_idle, ms);
}

void jobs_drop(struct jobs *j)
{
	static const uint64_t one = 1;
	struct job *job;

	(void) pthread_mutex_lock(&j->lock);
	while ((job = waiting_take(j))) {
		job->dropped = true;
		queue_add(&j->finished, job);
	}
	(void) pthread_mutex_unlock(&j->lock);
	if (write(j->event_fd, &one, sizeof(one)) < 0)
		return; /* full: the loop is told already */
}

int jobs_end(struct jobs *j, unsigned ms)
{
	(void) pthread_mutex_lock(&j->lock);
	j->ending = true;
	(void) pthread_cond_broadcast(&j->changed);
	(void) pthread_mutex_unlock(&j->lock);
	return wait_for(j, is_ended, ms);
}

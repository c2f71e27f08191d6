/* soak_provider CYCLES [SHARE]: a key is loaded through the store, signs and is freed, CYCLES times (0: not at all); then eight threads sign at once with
 * one handle and with handles of their own; then eight processes share SHARE (1000) signatures for each: of one user and, as root, of four. First with
 * KeepParsed=yes, then, if there are cycles, with a tenth of them and KeepParsed=no. Fails when a signature does, when this process or the custodian has grown
 * by 1 MiB after the first thousand cycles, or when one of the eight got a fifth less than another. */
#include <grp.h>
#include <openssl/err.h>
#include <pthread.h>
#include <pwd.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/auto_ssl.h"
#include "common/limits.h"
#include "tests/keyd_fixture.h"

#define LABEL "soak"

enum { WARM_UP = 1000, THREADS = 8, GROWTH_KIB = 1024, FEWER = 10 /* where each takes longer */ };

static long share = 1000;

static long resident_kib(pid_t pid)
{
	AUTO(file) FILE *f = NULL;
	char path[64];
	long pages = 0;

	(void) snprintf(path, sizeof(path), "/proc/%d/statm", (int) pid); /* fits */
	f = fopen(path, "re");
	return f && fscanf(f, "%*s %ld", &pages) == 1 ? pages * (sysconf(_SC_PAGESIZE) / 1024) : -1;
}

static bool sign(EVP_PKEY *key)
{
	static const unsigned char text[] = "signed again and again";
	AUTO(md_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char sig[512];
	size_t len = sizeof(sig);

	return ctx && EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, key, NULL) == 1 && EVP_DigestSign(ctx, sig, &len, text, sizeof(text)) == 1;
}

static bool cycle(struct ks *ks)
{
	AUTO(pkey) EVP_PKEY *key = NULL;

	return ks_load(ks, LABEL, KS_SLOT_ACTIVE, NULL, &key, NULL, NULL) == 0 && sign(key);
}

static bool cycles(struct ks *ks, long n)
{
	for (long i = 0; i < n; i++)
		if (!cycle(ks)) {
			ERR_print_errors_fp(stderr);
			printf("cycle %ld of %ld failed\n", i, n);
			return false;
		}
	return true;
}

/* ---- threads */

struct shared {
	struct ks *ks;
	EVP_PKEY *key;
	atomic_uint failed;
};

static void *signer(void *arg)
{
	struct shared *s = arg;
	AUTO(pkey) EVP_PKEY *own = NULL;

	if (ks_load(s->ks, LABEL, KS_SLOT_ACTIVE, NULL, &own, NULL, NULL) < 0)
		(void) atomic_fetch_add(&s->failed, 1); /* the count before is of no interest */
	for (long i = 0; own && i < share / 2; i++)
		if (!sign(i % 2 ? own : s->key))
			(void) atomic_fetch_add(&s->failed, 1);
	return NULL;
}

static bool threads(struct ks *ks)
{
	AUTO(pkey) EVP_PKEY *key = NULL;
	struct shared s = { .ks = ks };
	pthread_t t[THREADS];
	int n = 0;

	if (ks_load(ks, LABEL, KS_SLOT_ACTIVE, NULL, &key, NULL, NULL) < 0)
		return false;
	s.key = key;
	while (n < THREADS && pthread_create(&t[n], NULL, signer, &s) == 0)
		n++;
	for (int i = 0; i < n; i++)
		(void) pthread_join(t[i], NULL); /* ours, joined once */
	printf("%d threads at once, %ld signatures each: %u failed\n", n, share / 2, atomic_load(&s.failed));
	return n == THREADS && atomic_load(&s.failed) == 0;
}

/* ---- processes */

enum { CLIENTS = 8, USERS = 4 };

struct tally {
	atomic_long all, done[CLIENTS];
};

static struct user {
	char name[LIMIT_LABEL_BYTES];
	uid_t uid;
} users[USERS];

/* The first four beside root that this machine has. */
static bool users_find(void)
{
	const struct passwd *pw;
	int n = 0;

	setpwent();
	while (n < USERS && (pw = getpwent())) {
		bool known = pw->pw_uid == 0 || strlen(pw->pw_name) >= sizeof(users[0].name);

		for (int i = 0; i < n; i++)
			known = known || users[i].uid == pw->pw_uid;
		if (known)
			continue;
		strcpy(users[n].name, pw->pw_name);
		users[n++].uid = pw->pw_uid;
	}
	endpwent();
	return n == USERS;
}

/* In a child: waits for the common start, then signs until all have made what there was to make. 0, or what failed. user: whom it becomes, or NULL. */
static int client_run(const struct keyd *keyd, const struct user *user, int start_fd, struct tally *t, int which)
{
	AUTO(ks) struct ks *ks = NULL;
	AUTO(pkey) EVP_PKEY *key = NULL;
	struct err e = { .code = 0 };
	char none;

	if (user && (setgroups(0, NULL) < 0 || setresuid(user->uid, user->uid, user->uid) < 0))
		return 4;
	if (ks_open(keyd->socket, &ks, &e) < 0 || ks_load(ks, LABEL, KS_SLOT_ACTIVE, NULL, &key, NULL, &e) < 0) {
		(void) fprintf(stderr, "client %d: %s\n", which, e.text); /* its status tells too */
		return 1;
	}
	if (read(start_fd, &none, 1) != 0) /* its end is the sign to start */
		return 2;
	while (atomic_fetch_add(&t->all, 1) < CLIENTS * share) {
		if (!sign(key)) {
			ERR_print_errors_fp(stderr);
			return 3;
		}
		(void) atomic_fetch_add(&t->done[which], 1); /* the count before is of no interest */
	}
	return 0;
}

static bool tally_fair(const struct tally *t, int n_users, const char *how)
{
	long least = t->done[0], most = t->done[0];

	printf("%d busy clients of %d user%s, %s:", CLIENTS, n_users, n_users > 1 ? "s" : "", how);
	for (int i = 0; i < CLIENTS; i++) {
		long n = atomic_load(&t->done[i]);

		printf(" %ld", n);
		least = n < least ? n : least;
		most = n > most ? n : most;
	}
	printf(" signatures, %.1f %% apart\n", 100.0 * (double) (most - least) / (double) (most > 0 ? most : 1));
	return most > 0 && (most - least) * 5 <= most;
}

static bool clients(const struct keyd *keyd, int n_users, const char *how)
{
	struct tally *t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid[CLIENTS];
	int start[2], n, status;
	bool ok = true;

	if (t == MAP_FAILED || pipe(start) < 0)
		return false;
	(void) fflush(stdout); /* so that no child prints it again */
	for (n = 0; n < CLIENTS && (pid[n] = fork()) >= 0; n++)
		if (pid[n] == 0) {
			(void) close(start[1]); /* else it would wait for itself */
			_exit(client_run(keyd, n_users > 1 ? &users[n % n_users] : NULL, start[0], t, n));
		}
	(void) close(start[0]); /* nothing is written to either */
	(void) close(start[1]);
	for (int i = 0; i < n; i++) {
		bool fine = waitpid(pid[i], &status, 0) == pid[i] && status == 0;

		if (!fine)
			printf("client %d: status %x\n", i, (unsigned) status);
		ok = fine && ok;
	}
	ok = tally_fair(t, n_users, how) && ok && n == CLIENTS;
	(void) munmap(t, sizeof(*t)); /* ours */
	return ok;
}

static bool grown(const char *who, long before, long after)
{
	printf("%s: resident %ld KiB after %d cycles, %ld KiB at the end: %+ld KiB\n", who, before, WARM_UP, after, after - before);
	return before <= 0 || after <= 0 || after - before >= GROWTH_KIB;
}

static bool soak(struct ks *ks, const struct keyd *keyd, long n)
{
	long own, custodian;

	if (n == 0)
		return true;
	if (!cycles(ks, WARM_UP))
		return false;
	own = resident_kib(getpid());
	custodian = resident_kib(keyd->pid);
	if (!cycles(ks, n - WARM_UP))
		return false;
	printf("%ld cycles of load, sign, free\n", n);
	return !(grown("this process", own, resident_kib(getpid())) | grown("the custodian", custodian, resident_kib(keyd->pid)));
}

static bool shares(const struct keyd *keyd, const char *how)
{
	bool root = geteuid() == 0;

	if (!root)
		printf("clients of several users: skipped, not root\n");
	return (root || !getenv("NOTHING_SKIPPED")) && clients(keyd, 1, how) && (!root || clients(keyd, USERS, how));
}

/* n: of cycles, or 0. */
static bool custodian(const char *how, long n)
{
	static const char *const labels[] = { LABEL, NULL };
	const char *const names[USERS + 1] = { users[0].name, users[1].name, users[2].name, users[3].name, NULL };
	const struct ks_spec spec = { .label = LABEL, .slot = KS_SLOT_ACTIVE, .bits = 2048, .users = names };
	char spki[KS_SPKI_HEX], conf[64];
	struct ks *ks = NULL;
	struct keyd keyd;
	bool ok;

	(void) snprintf(conf, sizeof(conf), "[Keyd]\n%s\n", how); /* fits */
	ok = keyd_setup(&keyd, conf) && ks_open(keyd.socket, &ks, NULL) == 0 && keyd_make(ks, &spec, spki, NULL) == 0 && soak(ks, &keyd, n) &&
	     threads(ks) && shares(&keyd, how);
	if (ks)
		ks_close(ks);
	return keyd_teardown(&keyd, labels) == 0 && ok;
}

int main(int argc, char **argv)
{
	long n = argc > 1 ? strtol(argv[1], NULL, 10) : -1, fewer = n / FEWER > WARM_UP ? n / FEWER : WARM_UP + 1;

	if (argc > 2)
		share = strtol(argv[2], NULL, 10);
	if (argc > 3 || n < 0 || (n > 0 && n <= WARM_UP) || share < 10) {
		(void) fprintf(stderr, "usage: soak_provider CYCLES [SHARE] (0, or more than %d; 10 or more)\n", WARM_UP); /* a terminal that is gone */
		return 2;
	}
	return !users_find() || !custodian("KeepParsed=yes", n) || (n > 0 && !custodian("KeepParsed=no", fewer));
}

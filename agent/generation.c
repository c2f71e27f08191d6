/* Generation folders: see deliver.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/deliver.h"
#include "common/fault.h"
#include "common/fs.h"
#include "common/log.h"
#include "common/x509facts.h"
#include "keystore/keyuri.h"

#define HALF_MADE ".new-gen"
#define URI_BYTES 256

void generation_clear(struct generation *g)
{
	buf_clear(&g->cert);
	buf_clear(&g->chain);
	buf_clear(&g->ca);
}

static void uri_say(const struct generation *g, char out[URI_BYTES])
{
	(void) snprintf(out, URI_BYTES, "keyroll://%s?spki=%s", g->label, g->spki); /* both are bounded */
}

void generation_sha256(const struct generation *g, char ret_hex[65])
{
	AUTO(buf) struct buf all = BUF_EMPTY;
	char uri[URI_BYTES];

	uri_say(g, uri);
	if (buf_add(&all, g->cert.data, g->cert.len) < 0 || buf_add(&all, "\n", 1) < 0 || buf_add(&all, g->chain.data, g->chain.len) < 0 ||
	    buf_add(&all, "\n", 1) < 0 || buf_add(&all, g->ca.data, g->ca.len) < 0 || buf_add(&all, uri, strlen(uri)) < 0)
		ret_hex[0] = '\0'; /* out of memory: like no other, so it is written anew */
	else
		sha256_hex(all.data, all.len, ret_hex);
}

static int file_write(const char *folder, const char *name, const void *data, size_t len, struct err *reterr)
{
	AUTO(mem) char *path = NULL;

	if (asprintf(&path, "%s/%s", folder, name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	return fs_write(path, data, len, 0644, reterr);
}

static int files_write(const char *folder, const struct generation *g, struct err *reterr)
{
	AUTO(buf) struct buf key = BUF_EMPTY;
	char uri[URI_BYTES];
	int r;

	uri_say(g, uri);
	r = keyuri_pem_build(uri, &key); /* for programs that insist on a key file */
	if (r == 0)
		r = file_write(folder, "cert.pem", g->cert.data, g->cert.len, reterr);
	if (r == 0)
		r = file_write(folder, "chain.pem", g->chain.data, g->chain.len, reterr);
	if (r == 0)
		r = file_write(folder, "ca.pem", g->ca.data, g->ca.len, reterr);
	if (r == 0)
		r = file_write(folder, "key.pem", key.data, key.len, reterr);
	if (r == 0)
		r = file_write(folder, "key.uri", uri, strlen(uri), reterr);
	return r;
}

static int64_t number_of(const char *name)
{
	char *end = NULL;
	long long n;

	if (strncmp(name, "gen-", 4) != 0)
		return 0;
	n = strtoll(name + 4, &end, 10);
	return *end == '\0' && n > 0 ? n : 0;
}

static int64_t number_highest(const char *folder)
{
	AUTO(dir) DIR *dir = opendir(folder);
	int64_t n, highest = 0;
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		n = number_of(e->d_name);
		if (n > highest)
			highest = n;
	}
	return highest;
}

/* A folder appears under its name only with everything in it. */
static int folder_fill(const char *half, const char *whole, const char *folder, const struct generation *g, struct err *reterr)
{
	int r = fs_remove_tree(half, reterr);

	if (r == 0)
		r = fs_mkdir(half, 0755, reterr);
	if (r == 0)
		r = files_write(half, g, reterr);
	if (r == 0)
		r = fs_sync_folder(half, reterr);
	FAULT("agent.k7-generation-filled");
	if (r == 0 && rename(half, whole) < 0)
		r = err_set(reterr, -errno, "rename %s: %s", half, strerror(errno));
	return r < 0 ? r : fs_sync_folder(folder, reterr);
}

int generation_write(const char *folder, const struct generation *g, int64_t *ret_number, struct err *reterr)
{
	AUTO(mem) char *half = NULL;
	AUTO(mem) char *whole = NULL;
	int64_t number;
	int r = fs_mkdir(folder, 0755, reterr);

	if (r < 0)
		return r;
	number = number_highest(folder) + 1;
	if (asprintf(&half, "%s/" HALF_MADE, folder) < 0) {
		half = NULL;
		return -ENOMEM;
	}
	if (asprintf(&whole, "%s/gen-%lld", folder, (long long) number) < 0) {
		whole = NULL;
		return -ENOMEM;
	}
	r = folder_fill(half, whole, folder, g, reterr);
	if (r == 0)
		*ret_number = number;
	return r;
}

int generation_switch(const char *folder, int64_t number, struct err *reterr)
{
	AUTO(mem) char *link = NULL;
	char target[32];
	int r;

	if (asprintf(&link, "%s/current", folder) < 0) {
		link = NULL;
		return -ENOMEM;
	}
	(void) snprintf(target, sizeof(target), "gen-%lld", (long long) number);
	FAULT("agent.k8-before-switch");
	r = fs_link_switch(link, target, reterr);
	FAULT("agent.k8-switched");
	return r;
}

void generation_prune(const char *folder, int64_t current, int64_t before, int64_t staged)
{
	AUTO(dir) DIR *dir = opendir(folder);
	struct err err = { 0 };
	struct dirent *e;
	int64_t n;

	fs_sweep(folder);
	while (dir && (e = readdir(dir))) {
		AUTO(mem) char *path = NULL;

		n = number_of(e->d_name);
		if (n == current || n == before || n == staged)
			continue;
		if (n == 0 && strcmp(e->d_name, HALF_MADE) != 0)
			continue;
		if (asprintf(&path, "%s/%s", folder, e->d_name) < 0)
			path = NULL;
		else if (fs_remove_tree(path, &err) < 0) /* costs only space: the next delivery tries again */
			(void) log_err(err.code, &err, "tidy up");
	}
}

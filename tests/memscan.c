/* Looks for private keys where they must not be. The keys' primes come from their sealed copies and the machine secret, which takes root; then the memory of
 * processes, and files such as core dumps, are searched for any 16 bytes in a row of a prime, in either byte order.
 *	memscan SECRET-FOLDER SEALED... -- PID|/FILE...		one line for each; status 0: nothing found, 1: found, 2: could not look
 *	memscan --hold SECRET-FOLDER SEALED...			holds the primes until its input ends: what a scan must find */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/auto_ssl.h"
#include "common/buf.h"
#include "common/fs.h"
#include "keystore/seal.h"

enum { PATTERNS = 512, PRIME_BYTES = 512, RUN_BYTES = 16, WORD = 8, BITMAP_BITS = 1 << 16, CHUNK = 1 << 20 };

struct pattern { /* a prime's bytes in one order */
	unsigned char bytes[PRIME_BYTES];
	size_t len;
};

static struct pattern patterns[PATTERNS];
static size_t n_patterns;
/* Which 16-bit hashes any eight bytes of a pattern have. Sixteen bytes anywhere hold eight that begin at a multiple of eight: only those are looked up. */
static unsigned char bitmap[BITMAP_BITS / 8];

static unsigned hash_of(const unsigned char *p)
{
	uint64_t w;

	memcpy(&w, p, WORD);
	return (unsigned) ((w * UINT64_C(0x9e3779b97f4a7c15)) >> 48);
}

static int pattern_add(const unsigned char *bytes, size_t len, bool reversed)
{
	struct pattern *p = &patterns[n_patterns];

	if (n_patterns == PATTERNS || len > PRIME_BYTES)
		return -ENOSPC;
	for (size_t i = 0; i < len; i++)
		p->bytes[i] = bytes[reversed ? len - 1 - i : i];
	p->len = len;
	for (size_t i = 0; i + WORD <= len; i++)
		bitmap[hash_of(p->bytes + i) / 8] |= (unsigned char) (1u << (hash_of(p->bytes + i) % 8));
	n_patterns++;
	return 0;
}

static int prime_add(const EVP_PKEY *key, const char *name)
{
	unsigned char bytes[PRIME_BYTES];
	BIGNUM *prime = NULL;
	int len = -1, r = -EBADMSG;

	if (EVP_PKEY_get_bn_param(key, name, &prime))
		len = BN_num_bytes(prime) <= PRIME_BYTES ? BN_bn2bin(prime, bytes) : -1;
	BN_clear_free(prime);
	if (len > RUN_BYTES) {
		r = pattern_add(bytes, (size_t) len, false);
		if (r == 0)
			r = pattern_add(bytes, (size_t) len, true);
	}
	OPENSSL_cleanse(bytes, sizeof(bytes));
	return r;
}

static int sealed_add(const struct seal *s, const char *path, struct err *reterr)
{
	AUTO(buf) struct buf blob = BUF_EMPTY;
	AUTO(buf) struct buf plain = BUF_SECRET;
	AUTO(pkey) EVP_PKEY *key = NULL;
	const unsigned char *p;
	int r = fs_read(path, SEAL_BLOB_BYTES, &blob, reterr);

	if (r == 0)
		r = seal_unwrap(s, &blob, &plain, reterr);
	if (r < 0)
		return r;
	p = plain.data;
	key = d2i_AutoPrivateKey(NULL, &p, (long) plain.len);
	if (!key)
		return err_from_openssl(reterr, -EBADMSG, "a sealed key");
	r = prime_add(key, OSSL_PKEY_PARAM_RSA_FACTOR1);
	return r < 0 ? r : prime_add(key, OSSL_PKEY_PARAM_RSA_FACTOR2);
}

/* ---- searching */

/* Whether a run of RUN_BYTES that covers data[at .. at + WORD) is in a pattern. */
static bool run_at(const struct pattern *p, const unsigned char *data, size_t len, size_t at)
{
	for (size_t i = 0; i + WORD <= p->len; i++) {
		size_t before = 0, after = WORD;

		if (memcmp(p->bytes + i, data + at, WORD) != 0)
			continue;
		while (before < i && before < at && p->bytes[i - before - 1] == data[at - before - 1])
			before++;
		while (i + after < p->len && at + after < len && p->bytes[i + after] == data[at + after])
			after++;
		if (before + after >= RUN_BYTES)
			return true;
	}
	return false;
}

static unsigned long search(const unsigned char *data, size_t len)
{
	unsigned long found = 0;

	for (size_t at = 0; at + WORD <= len; at += WORD) {
		unsigned h = hash_of(data + at);

		if (!(bitmap[h / 8] & (1u << (h % 8))))
			continue;
		for (size_t i = 0; i < n_patterns; i++)
			if (run_at(&patterns[i], data, len, at)) {
				found++;
				break;
			}
	}
	return found;
}

struct scan {
	unsigned long found;
	uint64_t bytes;
};

/* What lies between two offsets; stops where no more can be read, as in a device's mapping. Chunks overlap, so that none cuts a run. */
static void scan_range(int fd, uint64_t from, uint64_t to, struct scan *s)
{
	static unsigned char chunk[CHUNK];

	while (from < to) {
		size_t want = to - from < CHUNK ? (size_t) (to - from) : CHUNK;
		ssize_t got = pread(fd, chunk, want, (off_t) from); /* an address may have the top bit */

		if (got <= 0)
			return;
		s->found += search(chunk, (size_t) got);
		s->bytes += (uint64_t) got;
		if ((size_t) got < want || from + want == to)
			from += (uint64_t) got;
		else
			from += want - 4 * RUN_BYTES;
	}
	OPENSSL_cleanse(chunk, sizeof(chunk));
}

static int scan_process(const char *pid, struct scan *s)
{
	AUTO(mem) char *maps_path = NULL;
	AUTO(mem) char *mem_path = NULL;
	AUTO(file) FILE *maps = NULL;
	AUTO(fd) int fd = -1;
	char line[512];
	uint64_t from, to;

	if (asprintf(&maps_path, "/proc/%s/maps", pid) < 0 || asprintf(&mem_path, "/proc/%s/mem", pid) < 0)
		return -ENOMEM;
	maps = fopen(maps_path, "re");
	fd = open(mem_path, O_RDONLY | O_CLOEXEC);
	if (!maps || fd < 0)
		return -errno;
	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " r", &from, &to) == 2 && !strstr(line, "[vsyscall]"))
			scan_range(fd, from, to, s);
	return s->bytes > 0 ? 0 : -EIO;
}

static int scan_file(const char *path, struct scan *s)
{
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t end = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);

	if (end <= 0)
		return fd < 0 ? -errno : -ENODATA;
	scan_range(fd, 0, (uint64_t) end, s);
	return s->bytes >= (uint64_t) end ? 0 : -EIO;
}

static void name_of(const char *target, char *name, size_t room)
{
	AUTO(mem) char *path = NULL;
	AUTO(buf) struct buf text = BUF_EMPTY;

	(void) snprintf(name, room, "%s", target); /* only for people */
	if (target[0] == '/' || asprintf(&path, "/proc/%s/comm", target) < 0 || fs_read(path, 64, &text, NULL) < 0)
		return;
	(void) snprintf(name, room, "%.*s", (int) strcspn((const char *) text.data, "\n"), (const char *) text.data);
}

static int scan_target(const char *target)
{
	struct scan s = { .found = 0 };
	char name[128];
	int r;

	name_of(target, name, sizeof(name));
	r = target[0] == '/' ? scan_file(target, &s) : scan_process(target, &s);
	if (r < 0) {
		printf("%s (%s): cannot be read: %s\n", name, target, strerror(-r));
		return 2;
	}
	printf("%s (%s): %lu of the primes' bytes in %" PRIu64 " KiB\n", name, target, s.found, s.bytes / 1024);
	return s.found > 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: memscan [--hold] SECRET-FOLDER SEALED... [-- PID|/FILE...]\n");
	return 2;
}

/* argv: the folder of the secret, then sealed copies up to "--" or the end. How many arguments were taken, or -errno. */
static int primes_load(int argc, char **argv, struct err *reterr)
{
	struct seal seal;
	int i = 1, r = unsetenv("CREDENTIALS_DIRECTORY") < 0 ? -errno : seal_open(argv[0], &seal, reterr);

	for (; r == 0 && i < argc && strcmp(argv[i], "--") != 0; i++)
		r = sealed_add(&seal, argv[i], reterr);
	seal_clear(&seal);
	return r < 0 ? r : i;
}

int main(int argc, char **argv)
{
	bool hold = argc > 1 && strcmp(argv[1], "--hold") == 0;
	struct err e = { .code = 0 };
	int first = hold ? 2 : 1, taken, worst = 0;

	if (argc - first < 2)
		return usage();
	taken = primes_load(argc - first, argv + first, &e);
	if (taken < 0) {
		fprintf(stderr, "memscan: %s\n", err_text(&e, taken));
		return 2;
	}
	if (hold) {
		printf("holding %zu patterns\n", n_patterns);
		(void) fflush(stdout); /* who waits for the line fails without it */
		while (getchar() != EOF)
			;
		return 0;
	}
	if (first + taken + 1 >= argc || n_patterns == 0)
		return usage();
	for (int i = first + taken + 1; i < argc; i++) {
		int r = scan_target(argv[i]);

		if (r > worst)
			worst = r;
	}
	return worst;
}

/* The seeds as a plain regression test: each file, every prefix of it, and every single flipped bit of a small one. */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/fs.h"
#include "tests/fuzz/fuzz.h"

enum { FLIP_BYTES_MAX = 4096, STEPS = 64 };

static int file_run(const char *path)
{
	AUTO(buf) struct buf b = BUF_EMPTY;
	struct err e = { 0 };
	size_t i;
	int bad = 0;

	if (fs_read(path, 1 << 20, &b, &e) < 0) {
		(void) fprintf(stderr, "%s: %s\n", path, e.text); /* the exit tells too */
		return 1;
	}
	bad |= fuzz_one(b.data, b.len);
	for (i = 0; i < b.len; i += b.len / STEPS + 1)
		bad |= fuzz_one(b.data, i);
	for (i = 0; i < b.len && b.len <= FLIP_BYTES_MAX; i += b.len / (4 * STEPS) + 1) {
		b.data[i] ^= (uint8_t) (1u << (i % 8));
		bad |= fuzz_one(b.data, b.len);
		b.data[i] ^= (uint8_t) (1u << (i % 8));
	}
	return bad;
}

/* Without arguments, the program tests/fuzz/seeds_NAME runs the seeds of NAME. */
static int seeds_run(const char *program)
{
	const char *top = getenv("top_srcdir"), *name = strstr(program, "seeds_");
	char pattern[512];
	glob_t found;
	size_t i;
	int bad = 0;

	(void) snprintf(pattern, sizeof(pattern), "%s/tests/fuzz/seeds/%s/*", top ? top : ".", name ? name + strlen("seeds_") : ""); /* cut: nothing found */
	if (glob(pattern, 0, NULL, &found) != 0) {
		(void) fprintf(stderr, "no seeds: %s\n", pattern); /* the exit tells too */
		return 1;
	}
	for (i = 0; i < found.gl_pathc; i++)
		bad |= file_run(found.gl_pathv[i]);
	globfree(&found);
	return bad;
}

int main(int argc, char **argv)
{
	int i, bad = 0;

	if (argc < 2)
		return seeds_run(strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0]);
	for (i = 1; i < argc; i++)
		bad |= file_run(argv[i]);
	return bad;
}

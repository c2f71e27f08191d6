/* One fuzz target: with libFuzzer when configured with --enable-fuzzers, else (in make check) over the files given. */
#ifndef KEYROLL_TESTS_FUZZ_FUZZ_H
#define KEYROLL_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Aborts on a finding. Returns 0. */
int fuzz_one(const uint8_t *data, size_t len);

#endif

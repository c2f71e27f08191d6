#!/bin/bash
# The provider loads, signs and frees a hundred thousand times (SOAK_CYCLES), eight threads sign at once, eight clients of one user and of four share: nothing
# fails, nothing grows, nobody gets a fifth less than another.
set -eu
build=${top_builddir:-build}
make -s -C "$build" keyroll-keyd
make -s -C "$build" tests/soak_provider
top_builddir=$build "$build/tests/soak_provider" "${SOAK_CYCLES:-100000}"
echo "1 passed, 0 failed"

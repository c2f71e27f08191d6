#!/bin/bash
# inside-bench.sh [BITS...]: private operations a second by level, kernel too, beside `openssl speed` on the same machine. Emulated, so the ratios count.
set -u
here=${BASH_SOURCE[0]%/*}
# shellcheck source=tests/installed.sh
. "$here/installed.sh"

KEYROLL_KEYD=$(find /usr/lib* -name keyroll-keyd -type f | head -n 1)
export KEYROLL_KEYD BENCH_SIGN="$here/bench_sign" NEED_KERNEL=1
bash "$here/bench.sh" 1 "$@" || fail "the benchmark"

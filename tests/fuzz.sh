#!/bin/bash
# tests/fuzz.sh SECONDS [TARGET...]: runs each fuzzer of a build made with --enable-fuzzers CC=clang for that long. In the build folder.
# New inputs go to fuzz-corpus/TARGET beside the build; a finding is left in fuzz-findings/ and fails the run.
set -eu

seconds=${1:?usage: fuzz.sh SECONDS [TARGET...]}
shift
src=${top_srcdir:-$(cd "$(dirname "$0")/.." && pwd)}
top_srcdir=$src
export top_srcdir
[ $# -gt 0 ] || set -- tests/fuzz/fuzz_* tests/fuzz_*
ran=0 bad=0
mkdir -p fuzz-findings

for target in "$@"; do
	if [ ! -f "$target" ] || [ ! -x "$target" ]; then continue; fi
	name=${target##*/fuzz_}
	mkdir -p "fuzz-corpus/$name"
	seeds=()
	[ ! -d "$src/tests/fuzz/seeds/$name" ] || seeds=("$src/tests/fuzz/seeds/$name")
	ran=$((ran + 1))
	if "$target" -max_total_time="$seconds" -max_len=65536 -timeout=5 -rss_limit_mb=1024 -print_final_stats=0 -verbosity=0 \
		-artifact_prefix="fuzz-findings/$name-" "fuzz-corpus/$name" "${seeds[@]}" >"fuzz-findings/$name.log" 2>&1; then
		echo "fuzz: $name: $seconds s, no finding, $(find "fuzz-corpus/$name" -type f | wc -l) inputs"
		rm -f "fuzz-findings/$name.log"
	else
		echo "fuzz: $name: FINDING, see fuzz-findings/$name.log"
		tail -n 30 "fuzz-findings/$name.log"
		bad=1
	fi
done
[ "$ran" -gt 0 ] || { echo "fuzz: nothing ran: configure with --enable-fuzzers CC=clang, and make"; exit 1; }
exit "$bad"

#!/bin/bash
# tests/skipped.sh can say no, and each entry of tests/skips.txt names steps that there are.
set -eu
export LC_ALL=C
top=${top_srcdir:-.}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0

judged() { # WANTED WHY NAME TEXT [RESULT]
	local got=0

	printf '%b\n' "$4" >"$work/test.log"
	printf ':test-result: %s\n' "${5:-PASS}" >"$work/test.trs"
	bash "$top/tests/skipped.sh" "$3=$work/test.log" >"$work/out" || got=$?
	[ "$got" = "$1" ] || { echo "$2: status $got, wanted $1: $(cat "$work/out")"; bad=1; }
}
judged 0 "nothing is left out" test_a '  Test: one ...passed'
judged 0 "a part that the list has" test_guarantees '  skipped: Protection=kernel: the kernel has no PKCS#8 parser. Do\n  Test: one ...(skipped) passed'
grep -q '^left out: test_guarantees: .*instead: initramfs, vm)$' "$work/out" || { echo "it is not told: $(cat "$work/out")"; bad=1; }
judged 1 "another program's part" test_a '  skipped: Protection=kernel: the kernel has no PKCS#8 parser. Do'
judged 1 "another reason" test_guarantees '  level kernel: skipped: not root'
judged 1 "one test for a reason of its own" test_a '  Test: one ...(skipped: no mount) passed'
judged 1 "no reason at all" test_guarantees '  Test: one ...(skipped) passed'
begin=' CUnit - A unit testing framework for C\n'
judged 1 "the reason of the program before" vm "$begin  level keyring is not asked for\n$begin(skipped) passed"
judged 0 "a level that nobody asked for" vm '  level keyring is not asked for\n  Test: one ...(skipped) passed'
judged 0 "the same, as test_guarantees says it" vm '  level keyring: is not asked for\n  Test: one ...(skipped) passed'
judged 1 "a whole script" tests/man.sh 'no mandoc here' SKIP
judged 1 "a script in a step's log" distcheck 'PASS: tests/a.sh\nSKIP: tests/man.sh'

steps=$(bash "$top/run" steps)
while read -r step; do
	grep -qxF "$step" <<<"$steps" || { echo "skips.txt: there is no step '$step'"; bad=1; }
done < <(sed -n '/^#/!s/.*| //p' "$top/tests/skips.txt" | sed 's/, /\n/g')
exit "$bad"

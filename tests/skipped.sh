#!/bin/bash
# tests/skipped.sh NAME=LOG...: prints what those logs of finished tests say was left out; status 1 when tests/skips.txt does not have it.
# A part of a program says "skipped: REASON", the tests in it then "(skipped)"; a whole one has automake's .trs beside its log, or a line SKIP in a step's.
set -eu
list=${BASH_SOURCE[0]%/*}/skips.txt
bad=0
for pair; do
	log=${pair#*=}
	whole=''
	if grep -qs '^:test-result: SKIP' "${log%.log}.trs"; then whole=$(grep -v '^SKIP ' "$log" | tail -n 1); fi
	awk -F ' [|] ' -v name="${pair%%=*}" -v whole="$whole" '
		function judge(text, i) {
			for (i = 1; i <= n; i++)
				if (who[i] == name && index(text, words[i])) {
					print "left out: " name ": " text " (" why[i] "; instead: " instead[i] ")"
					return
				}
			print "LEFT OUT, and not in tests/skips.txt: " name ": " text
			bad = 1
		}
		FILENAME == ARGV[1] {
			if (!/^#/) { n++; who[n] = $1; words[n] = $2; why[n] = $3; instead[n] = $4 }
			next
		}
		/ CUnit - A unit testing framework / { told = 0 }
		/^  level [a-z]+:? is not asked for\r?$/ { told = 1 } # by who chose the levels
		/^SKIP: / { judge($0) }
		match($0, /(^|[ (])skipped: /) {
			reason = substr($0, RSTART + RLENGTH)
			if (substr($0, RSTART, 1) == "(")
				sub(/\).*/, "", reason)
			judge(reason)
			told = 1
		}
		/\(skipped\)/ && !told { judge("no reason is given"); told = 1 }
		END { if (whole != "") judge(whole); exit bad }
	' "$list" "$log" || bad=1
done
exit "$bad"

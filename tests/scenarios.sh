#!/bin/bash
# Plays every tests/sim/*.scn and compares its trace with the golden one. scenarios.sh --update writes the golden ones anew: read the diff.
set -eu
src=${top_srcdir:-.}/tests/sim
play=${top_builddir:-.}/tests/sim/scenario
out=$(mktemp -d)
trap 'rm -r "$out"' EXIT
bad=0
count=0

for scn in "$src"/*.scn; do
	name=$(basename "$scn" .scn)
	count=$((count + 1))
	"$play" "$scn" >"$out/$name" || { echo "$name: the player says $?"; bad=1; }
	if [ "${1:-}" = --update ]; then
		cp "$out/$name" "$src/$name.golden"
	elif ! diff -u "$src/$name.golden" "$out/$name"; then
		echo "$name: another trace. If it is meant: top_srcdir=$src/../.. top_builddir=... tests/scenarios.sh --update"
		bad=1
	fi
done
[ "$count" -gt 0 ] || { echo "no scenario was found"; exit 1; }

# the twin: a trace that differs must be noticed
if [ "${1:-}" != --update ]; then
	first=$(find "$src" -name '*.golden' | sort | head -1)
	sed 's/renew/RENEW/' "$first" | diff -q - "$out/$(basename "$first" .golden)" >/dev/null && { echo "a changed trace was not noticed"; bad=1; }
fi
echo "$count scenarios"
exit $bad

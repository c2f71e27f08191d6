#!/bin/bash
# Each daemon killed with SIGKILL at 20 points of the story: 5 in a story, 4 stories for each daemon, 4 at once. KILL_DAEMONS narrows it.
set -u
here=$(cd "${top_srcdir:-$(dirname "$0")/..}" && pwd)
export top_srcdir=$here top_builddir=${top_builddir:-$here/build}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
POINTS=20 STORY=46 # seconds that the points are spread over

jobs_list() {
	local d k
	echo none
	for d in ${KILL_DAEMONS:-keyrolld keyd cad-KILL signer}; do
		for k in 0 1 2 3; do
			# every fourth point: kills of one story are apart, those of the four stories interleave
			awk -v d="$d" -v k="$k" -v n="$POINTS" -v t="$STORY" \
				'BEGIN { printf "%s", d; for (i = k; i < n; i += 4) printf " %.1f", 2 + i * t / n; print "" }'
		done
	done
}

run_one() { # LINE
	local name=${1// /_}
	# shellcheck disable=SC2086  # the line is a list of words
	if "$here/tests/kill-story.sh" $1 >"$logs/$name" 2>&1; then tail -n 1 "$logs/$name"; else
		cat "$logs/$name"
		echo "FAILED: $1"
		return 1
	fi
}
export -f run_one
export here logs

jobs_list | tr '\n' '\0' | xargs -0 -P 4 -I{} bash -c 'run_one "$1"' _ {} >"$logs/all" 2>&1
cat "$logs/all"
ok=$(grep -c ': same end$' "$logs/all")
bad=$(grep -c '^FAILED' "$logs/all")
echo "$ok passed, $bad failed"
[ "$bad" = 0 ] && [ "$ok" = "$(jobs_list | wc -l)" ]

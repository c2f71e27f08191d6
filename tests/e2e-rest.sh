#!/bin/bash
# The agent at rest: between timers no thread of it wakes up (voluntary context switches over 60 s), and what it holds in memory, beside
# certmonger's in the same run.
set -u
# shellcheck source=tests/lib.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

switches() { # PID: of all threads
	awk '/^voluntary_ctxt_switches/ { n += $2 } END { print n + 0 }' /proc/"$1"/task/*/status
}
memory() { # PID FIELD-REGEX: kB
	awk -v f="$2" '$1 ~ f { n += $2 } END { print n + 0 }' "/proc/$1/smaps_rollup"
}
children_gone() { [ -z "$(cat /proc/"$1"/task/*/children)" ]; }

start_ca RESTCA "$(ca_text RestCA CACertificateLifetime=730d CertificateLifetime=365d)"
start_agent
trustpoint_file rest
kill -HUP "$(cat "$ROOT/pid/keyrolld")"
until_true 30 is_enrolled rest || fail "not enrolled"
agent=$(cat "$ROOT/pid/keyrolld")
until_true 45 children_gone "$agent" || fail "keyroll-fetch is still there"

command -v certmonger >/dev/null || { echo "certmonger, whose memory is printed beside ours, is not installed"; exit 77; }
mkdir -p "$ROOT/cm"
(exec unshare --mount sh -c 'mount -t tmpfs none /var/lib/certmonger && exec "$@"' sh certmonger -n -S -L -P "$ROOT/cm/sock" >"$ROOT/log/certmonger.log" 2>&1) &
certmonger=$!
SUPERVISED+=("$certmonger")
until_true 10 test -S "$ROOT/cm/sock" || fail "certmonger did not start"

before=$(switches "$agent")
read -rt 60 <> <(:) # the measured minute, not a wait for something
after=$(switches "$agent")
certmonger_kb=$(memory "$certmonger" '^Rss:')
echo "keyrolld at rest: $((after - before)) voluntary context switches in 60 s"
echo "resident $(memory "$agent" '^Rss:') kB, private dirty $(memory "$agent" '^Private_Dirty:') kB; certmonger resident $certmonger_kb kB"
[ "$before" -gt 0 ] || fail "no context switch was ever counted"
[ "$(cat "$ROOT/pid/keyrolld")" = "$agent" ] || fail "the agent was started anew meanwhile"
[ "$before" = "$after" ] || fail "the agent woke up between its timers"
pass "no wake-up in 60 s between timers"
echo "$PASSED passed, 0 failed"

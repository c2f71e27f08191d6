#!/bin/bash
# kill-story.sh DAEMON SECOND...: the demo's story with its times divided by 4 (enrol, grant, renew, roll over, renew under the new CA), DAEMON (keyrolld,
# keyd, cad-KILL, signer) killed with SIGKILL at those moments of it, "none" for nobody. It must end where it would have without.
set -u
# shellcheck source=tests/lib.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"
DAEMON=$1
shift

wait_until() { # EPOCH-SECONDS, with a fraction
	local left
	left=$(awk -v t="$1" -v n="$(date +%s.%N)" 'BEGIN { d = t - n; printf "%.3f", (d > 0 ? d : 0.001) }')
	read -rt "$left" <> <(:)
}

# The front starts its signer anew by itself, so that one is found by its command line.
victim() {
	if [ "$DAEMON" = signer ]; then pgrep -n -f "keyroll-signer --root=$ROOT"; else cat "$ROOT/pid/$DAEMON"; fi
}

killer() { # SECOND...
	local s
	for s in "$@"; do
		wait_until "$(awk -v a="$T0" -v b="$s" 'BEGIN { printf "%.3f", a + b }')"
		kill -KILL "$(victim)" && echo "killed $DAEMON at $s s" >>"$ROOT/log/killer.log"
	done
}

grant_pending() { ctl ca grant --all; is_enrolled kill; }

# Where the story ends: under the second CA, with a certificate that was renewed there, the pair whole, every serial once.
under_second_ca() {
	local state
	state=$(ctl show kill --json) || return 1
	jq -e --argjson t "$SWITCH" "$TP"' | .status == "enrolled"
		and (.ca.not_before | fromdateiso8601) >= $t
		and (.id.not_before | fromdateiso8601) > $t' <<<"$state" >/dev/null || return 1
	delivered_pair_ok kill
}

no_serial_twice() {
	ctl ca list --json | jq -e '[.certificates[].serial] | length > 3 and length == (unique | length)' >/dev/null
}

# Whatever the CA has issued has come to use here. A kill of the agent itself may swallow the line that tells of it.
nothing_lost() {
	local serial lost=0
	for serial in $(ctl ca list --json | jq -er '.certificates[].serial'); do
		grep -qi "certificate $serial of\|shadow.*$serial" "$ROOT/log/keyrolld.log" || lost=$((lost + 1))
	done
	[ "$lost" -le "$([ "$DAEMON" = keyrolld ] && echo $# || echo 0)" ]
}

T0=$(date +%s.%N)
init_ca KILL "$(ca_text KillCA Grant=manual CACertificateLifetime=38s CertificateLifetime=15s CRLLifetime=20s AutoRollover=15s)"
[ "$DAEMON" = signer ] || supervise signer "$BIN/keyroll-signer" --root="$ROOT" KILL
[ "$DAEMON" = signer ] || until_true 10 test -S "$ROOT/run/keyroll/signer/KILL.sock" || fail "the signer does not listen"
run_ca KILL
SWITCH=$(ctl ca status --json | jq -er '.ca.not_after | fromdateiso8601')
start_agent
[ "$DAEMON" = none ] || { killer "$@" & SUPERVISED+=($!); }
trustpoint_file kill '[AutoEnroll]' Percent=60
until_true 10 kill -HUP "$(cat "$ROOT/pid/keyrolld")"
until_true 20 grant_pending || fail "not enrolled: $(ctl show kill 2>&1)"
wait_until "$((SWITCH + 9))"
until_true 8 under_second_ca || fail "the story did not end under the second CA: $(ctl show kill --json 2>&1) $(cat "$ROOT/log/killer.log" 2>/dev/null)"
[ "$DAEMON" = none ] || [ "$(wc -l <"$ROOT/log/killer.log")" = $# ] || fail "not every one of [$*] killed a living $DAEMON"
nothing_lost "$@" || fail "a certificate was issued and never came to use: $(ctl ca list)"
no_serial_twice || fail "serials: $(ctl ca list --json)"
[ -s "$ROOT/log/keyrolld.log" ] || fail "the agent has logged nothing"
! grep -h 'CERT_EXPIRED' "$ROOT"/log/keyrolld.log || fail "a certificate expired"
echo "story with $DAEMON killed at [$*] s: same end"

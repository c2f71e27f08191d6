#!/bin/bash
# ./run demo: a real CA and a real agent on loopback, with lifetimes in minutes; what happens is told as their logs tell it, and a TLS peer
# verifies a server of the demo's own ten times a second throughout. The last lines are the verdict and the figures. All of it lies in one
# temporary root, every process is this script's own, and nothing is left behind.
set -u
export LC_ALL=C KEYROLL_LIBEXECDIR
BIN=$(realpath "${top_builddir:-build}")
KEYROLL_LIBEXECDIR=$BIN
# shellcheck source=tests/basics.sh
. "${BASH_SOURCE[0]%/*}/../basics.sh"
CA_SEC=150 CERT_SEC=60 ROLLOVER_SEC=60 # CA, certificate, and how long before its end the CA makes the next one
LIMIT_SEC=290			       # for the whole story
TP=branch CA=DEMO HOST=router.example
ROOT=$(mktemp -d "${TMPDIR:-/tmp}/keyroll-demo.XXXXXX")
ROOT=$(realpath "$ROOT")
TPDIR=$ROOT/var/lib/keyroll/delivered/$TP
BEGAN=${EPOCHREALTIME/./}
declare -A PIDS=() SEEN=()
SERIALS=()  # what the peer saw: "at_ms serial not_after spki issuer"
SWITCHES=() # of the delivered link: "at_ms serial issuer"
SUMMARY=''  # the peer's: "handshakes failed tolerated late longest_ms"
PIN='' URL='' CA_END_MS='' ROLLED='' SWITCHED_MS='' SERVED_MS=''

# ---------------------------------------------------------------- telling
BOLD='' DIM='' RED='' GREEN='' PLAIN=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then BOLD=$'\e[1m' DIM=$'\e[2m' RED=$'\e[31m' GREEN=$'\e[32m' PLAIN=$'\e[0m'; fi

# tell WHO TEXT: one line of the story, at its time
tell() {
	local t=$((${EPOCHREALTIME/./} - BEGAN))
	printf '%s%5d.%d s%s  %-8s  %s\n' "$DIM" $((t / 1000000)) $((t / 100000 % 10)) "$PLAIN" "$1" "$2"
}

# A daemon's log: kept, and its events ("notice keyrolld: CERT_PENDING: text (fields)") given to the story.
log_to_story() {
	local who=$1 line

	while IFS= read -r line; do
		printf '%s\n' "$line" >>"$ROOT/log/$who.log"
		[[ $line =~ ^[a-z]+\ [a-z-]+:\ ([A-Z_]+):\ (.*)$ ]] && printf 'event %s %s %s\n' "$who" "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" >&8
	done
}

# The peer's lines as words for the story.
peer_to_story() {
	jq -r --unbuffered '
		if .event == "serial" then "serial \(.at_ms) \(.serial) \(.not_after) \(.spki) \(.issuer)"
		elif .event == "switch" then "switch \(.at_ms) \(.serial) \(.issuer)"
		elif .event == "failed" then "failed \(.at_ms) \(.why)"
		else "summary \(.handshakes) \(.failed) \(.tolerated) \(.late) \(.longest_ms)" end' >&8
}

# What an event means, for somebody who sees it the first time; the daemon's own words follow.
meaning() {
	case $1 in
	CA_AUTHENTICATED) echo "AUTHENTICATE: the CA is the right one" ;;
	CSR_FINGERPRINT) echo "REQUEST: a key was made, and it asks for a certificate" ;;
	CERT_PENDING) echo "PENDING: the CA's operator must decide; POLL follows" ;;
	CERT_INSTALL)
		if [ "${SEEN[CERT_INSTALL]}" = 1 ]; then
			echo "GRANTED: the certificate is in use"
		else
			echo "RENEW: a new certificate with a new key is in use"
		fi
		;;
	CA_ROLLOVER_AVAILABLE) echo "NEXT CA: its certificate came, signed by the present one" ;;
	SHADOW_INSTALL) echo "SHADOW: a certificate under the next CA stands ready" ;;
	SHADOW_ACTIVATED) echo "ACTIVATE: the next CA and the shadow certificate took over" ;;
	CS_REQUEST_PENDING) echo "a request waits for the operator" ;;
	CS_CERT_ISSUED) echo "issued a certificate" ;;
	CS_SHADOW_CA_CREATED) echo "ROLLOVER: the next CA certificate is made" ;;
	CS_ROLLED_OVER) echo "ROLLED OVER: the next CA is the active one" ;;
	CONNECT_RETRY | REPLY_REFUSED | HOOK_FAILED | CERT_REJECTED | CERT_EXPIRED | RETRIES_EXHAUSTED | CS_MESSAGE_REFUSED | CS_SIGNER_LOST)
		echo "${RED}$1$PLAIN"
		;;
	*) return 1 ;;
	esac
}

take_event() {
	local who=$1 name=$2 text=$3 what

	SEEN[$name]=$((${SEEN[$name]:-0} + 1))
	what=$(meaning "$name") && tell "$who" "$BOLD$what$PLAIN  $DIM${text% (*}$PLAIN" # without the log's fields
}

# One line from the pipe that everything reports to.
take_line() {
	local kind rest who name

	read -r kind rest <<<"$1"
	case $kind in
	event)
		read -r who name rest <<<"$rest"
		take_event "$who" "$name" "$rest"
		;;
	serial)
		SERIALS+=("$rest")
		read -r _ name _ <<<"$rest"
		tell peer "sees serial $name"
		;;
	switch)
		read -r _ name _ <<<"$rest"
		if [ "${#SWITCHES[@]}" -gt 0 ] && [[ ${SWITCHES[-1]} == *" $name "* ]]; then
			tell router "delivered another ca.pem, beside the same certificate"
		else
			tell router "switched the delivered link to $name"
		fi
		SWITCHES+=("$rest")
		;;
	failed)
		tell peer "${RED}FAILED HANDSHAKE: ${rest#* }$PLAIN"
		;;
	summary) SUMMARY=$rest ;;
	esac
}

elapsed_sec() { echo $(((${EPOCHREALTIME/./} - BEGAN) / 1000000)); }

# wait_for EVENT COUNT: until it was seen that often, or the story took too long.
wait_for() {
	local line

	while [ "${SEEN[$1]:-0}" -lt "$2" ]; do
		[ "$(elapsed_sec)" -lt "$LIMIT_SEC" ] || stop_story "no $1 after $LIMIT_SEC s"
		IFS= read -r -t 5 line <&8 && take_line "$line"
		check_alive
	done
}

check_alive() {
	local name

	for name in "${!PIDS[@]}"; do
		kill -0 "${PIDS[$name]}" 2>/dev/null || stop_story "$name has ended"
	done
}

# ---------------------------------------------------------------- starting and ending
start() {
	local name=$1 who=$2
	shift 2
	"$@" 2> >(log_to_story "$who") >>"$ROOT/log/$name.out" </dev/null &
	PIDS[$name]=$!
}

stop() {
	local pid=${PIDS[$1]:-}

	[ -n "$pid" ] || return 0
	unset "PIDS[$1]"
	kill -TERM "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
}

cleanup() {
	trap '' INT TERM
	local name
	for name in peer server agent ca keyd; do
		stop "$name"
	done
	rings_purge "$ROOT/var/lib/keyroll/keyd" "$ROOT/var/lib/keyroll/signer/$CA"
	if [ -n "${KEEP:-}" ]; then echo "kept: $ROOT"; else rm -rf "$ROOT"; fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM

stop_story() {
	printf '\n%sNOT SHOWN: %s%s\n' "$RED" "$1" "$PLAIN"
	for log in "$ROOT"/log/*; do
		[ -s "$log" ] && { echo "--- ${log##*/}"; tail -n 15 "$log"; }
	done
	exit 1
}

ctl() { "$BIN/pkictl/pkictl" --root="$ROOT" "$@"; }

# With lifetimes in minutes everything is inside an alert window, which is what the exit status tells: what counts is that there is an answer.
ca_answers() { [[ $(ctl ca status --json=short 2>/dev/null) == *'"url"'* ]]; }
agent_answers() { [[ $(ctl show "$TP" --json=short 2>/dev/null) == *'"enrollment_url"'* ]]; }

# ---------------------------------------------------------------- the machines
prepare() {
	mkdir -p "$ROOT"/{log,etc/keyroll/ca,etc/keyroll/trustpoints} || exit 1
	mkfifo "$ROOT/story" || exit 1
	exec 8<>"$ROOT/story"
	printf '[Agent]\nClock=assume-valid\n' >"$ROOT/etc/keyroll/keyrolld.conf"
	cat >"$ROOT/etc/keyroll/ca/$CA.conf" <<-CONF
		[CA]
		IssuerName=CN=Demo CA,O=Example
		Listen=127.0.0.1:0
		Grant=manual
		GrantRenewals=yes
		CACertificateLifetime=${CA_SEC}s
		CertificateLifetime=${CERT_SEC}s
		AutoRollover=${ROLLOVER_SEC}s
		KeySize=2048
		Clock=assume-valid
	CONF
}

write_trustpoint() {
	cat >"$ROOT/etc/keyroll/trustpoints/$TP.conf" <<-CONF
		[Trustpoint]
		EnrollmentURL=$1
		SubjectName=CN=$HOST
		[Key]
		Label=branch
		Size=2048
		[AutoEnroll]
		Percent=60
		Regenerate=yes
		RetryPeriod=2s
		[Deliver]
		Hook=$ROOT/hook
	CONF
	cat >"$ROOT/hook" <<-HOOK
		#!/bin/sh
		# the server is told that there are new files; before there is a server, there is nothing to tell
		[ -e "$ROOT/server.pid" ] || exit 0
		kill -HUP "\$(cat "$ROOT/server.pid")"
	HOOK
	chmod +x "$ROOT/hook"
}

start_ca() {
	ctl ca init "$CA" >"$ROOT/log/init.out" 2>&1 || stop_story "the CA was not made"
	PIN=$(sed -n 's/^CAFingerprint=//p' "$ROOT/log/init.out")
	[ -n "$PIN" ] || stop_story "the CA has no fingerprint"
	start ca CA "$BIN/keyroll-cad" --root="$ROOT" "$CA"
	until_true 30 ca_answers || stop_story "the CA does not answer"
	ctl ca status --json=short >"$ROOT/status.json"
	URL=$(jq -er '.url' "$ROOT/status.json") || stop_story "the CA tells no URL"
	CA_END_MS=$(date -u -d "$(jq -er '.ca.not_after' "$ROOT/status.json")" +%s)000 || stop_story "the CA tells no end"
}

start_router() {
	write_trustpoint "$URL"
	start keyd keys "$BIN/keyroll-keyd" --root="$ROOT"
	until_true 30 test -S "$ROOT/run/keyroll/keyd.sock" || stop_story "the custodian does not listen"
	start agent router "$BIN/keyrolld" --root="$ROOT"
	until_true 30 agent_answers || stop_story "the agent does not answer"
}

start_server() {
	OPENSSL_CONF=$ROOT/openssl.cnf "$BIN/tests/demo/tlsserve" "$TPDIR/current" >"$ROOT/log/server.out" 2>"$ROOT/log/server.err" </dev/null &
	PIDS[server]=$!
	until_true 20 grep -q '^port ' "$ROOT/log/server.out" || stop_story "the TLS server did not start"
	echo "${PIDS[server]}" >"$ROOT/server.pid"
	tell server "serves TLS with the custodian's key: $(cat "$TPDIR/current/key.uri")"
}

start_peer() {
	"$BIN/tests/demo/tlswatch" "$TPDIR" "$HOST" "$(sed -n 's/^port //p' "$ROOT/log/server.out")" 100 \
		> >(peer_to_story) 2>"$ROOT/log/peer.err" </dev/null &
	PIDS[peer]=$!
	tell peer "verifies the server every 100 ms from now on"
}

# ---------------------------------------------------------------- the story
story() {
	tell "" "${BOLD}CA certificate $CA_SEC s, certificates $CERT_SEC s, renewal at 60 %, the next CA $ROLLOVER_SEC s before the end; all in $ROOT$PLAIN"
	start_ca
	tell CA "ready at $URL, sha256 ${PIN#sha256:}"
	start_router
	ctl authenticate "$TP" --fingerprint="$PIN" >"$ROOT/log/authenticate.out" 2>&1 ||
		stop_story "authenticate failed: $(tail -n 1 "$ROOT/log/authenticate.out")"
	wait_for CA_AUTHENTICATED 1
	ctl enroll "$TP" >"$ROOT/log/enroll.out" 2>&1
	wait_for CERT_PENDING 1
	ctl ca requests --no-legend --no-pager 2>/dev/null | sed 's/^/             operator sees: /'
	tell operator "grants it: pkictl ca grant --all"
	ctl ca grant --all >"$ROOT/log/grant.out" 2>&1 || stop_story "grant failed"
	wait_for CERT_INSTALL 1
	until_true 20 test -s "$TPDIR/current/key.uri" || stop_story "nothing was delivered"
	start_server
	start_peer
	wait_for CERT_INSTALL 2
	wait_for CS_SHADOW_CA_CREATED 1
	wait_for SHADOW_INSTALL 1
	wait_for SHADOW_ACTIVATED 1
	wait_for CS_ROLLED_OVER 1
	wait_for CERT_INSTALL $((SEEN[CERT_INSTALL] + 1))
}

# The peer shall see the last one too, before it sums up.
finish() {
	local line want

	want=$(openssl x509 -noout -serial -in "$TPDIR/current/cert.pem" | sed 's/serial=0*//')
	until [[ "${SERIALS[-1]:-}" == *" $want "* ]]; do
		[ "$(elapsed_sec)" -lt "$LIMIT_SEC" ] || stop_story "the last certificate is not served"
		IFS= read -r -t 5 line <&8 && take_line "$line"
		check_alive
	done
	stop peer
	while [ -z "$SUMMARY" ]; do
		IFS= read -r -t 10 line <&8 || stop_story "the peer has no summary"
		take_line "$line"
	done
}

# ---------------------------------------------------------------- the verdict
# The rollover is the first other serial that the link was switched to about the CA's end.
find_rollover() {
	local line at serial before=''

	for line in "${SWITCHES[@]}"; do
		read -r at serial _ <<<"$line"
		if [ -z "$ROLLED" ] && [ "$serial" != "$before" ] && [ "$at" -ge $((CA_END_MS - 1500)) ]; then
			ROLLED=$serial
			SWITCHED_MS=$((at - CA_END_MS))
		fi
		before=$serial
	done
	for line in "${SERIALS[@]}"; do
		read -r at serial _ <<<"$line"
		[ "$serial" != "$ROLLED" ] || SERVED_MS=$((at - CA_END_MS))
	done
}

# why_not HANDSHAKES FAILED LATE: what speaks against it, one line each
why_not() {
	local keys

	keys=$(printf '%s\n' "${SERIALS[@]}" | cut -d ' ' -f 4 | sort -u | wc -l)
	[ "$1" -gt "$3" ] || echo "the peer had time for $1 handshakes and none for $3: that proves nothing"
	[ "$2" = 0 ] || echo "handshakes failed: $2"
	[ "$keys" = ${#SERIALS[@]} ] || echo "a key served two certificates: $keys keys, ${#SERIALS[@]} certificates"
	[ -n "$SWITCHED_MS" ] || echo "the link was not switched at the CA's end"
	[ -n "$SERVED_MS" ] || echo "the peer did not see the rollover"
	openssl verify -CAfile "$TPDIR/current/ca.pem" "$TPDIR/current/cert.pem" >/dev/null 2>&1 || echo "the last certificate does not verify"
}

verdict() {
	local handshakes failed tolerated late longest why

	read -r handshakes failed tolerated late longest <<<"$SUMMARY"
	find_rollover
	why=$(why_not "$handshakes" "$failed" "$late")
	printf '\n%s' "${why:+$RED$why$PLAIN
}"
	echo "  handshakes          $handshakes, one every 100 ms, each verified against the delivered ca.pem"
	echo "  failed              $failed"
	echo "  needed tolerance    $tolerated (one second, at the CA's end)"
	echo "  link switched       ${SWITCHED_MS:-never} ms after the CA's notAfter (on a machine at rest: at most 50)"
	echo "  new serial served   ${SERVED_MS:-never} ms after it (at rest: at most 250)"
	echo "  longest handshake   $longest ms; left out for want of time: $late"
	echo "  certificates        ${#SERIALS[@]}, each with a key of its own"
	if [ -n "$why" ]; then
		echo "${RED}${BOLD}FAILED$PLAIN"
		return 1
	fi
	echo "${GREEN}${BOLD}NOTHING LAPSED$PLAIN"
}

main() {
	prepare
	openssl_conf # nothing in the server knows of Keyroll
	story
	finish
	verdict
}

main

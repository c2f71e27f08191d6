#!/bin/bash
# A named level of protection that is not to be had is an error at start: of the custodian, of a CA's signer, and of a trustpoint, which is held with an
# alarm while the others go on. What it has goes on working, and it goes on by itself once the level is to be had or its file names another.
# All of it with LEVEL token, which no machine has without a provider, then with kernel, unless this one has it.
set -u
here=${top_srcdir:-$(dirname "$0")/..}
[ -n "${LEVEL:-}" ] || LEVEL=token bash "$0" || exit 1
LEVEL=${LEVEL:-kernel}
# shellcheck source=tests/lib.sh
. "$here/tests/lib.sh"

mkdir -p "$ROOT/etc/keyroll/ca" "$ROOT/log" "$ROOT/run/keyroll/signer"

# run_to_end LOG COMMAND...: its exit status; 77: it has started
run_to_end() {
	local log=$ROOT/log/$1.log pid end=$((SECONDS + 20))
	shift
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	until grep -q 'STARTED\|CS_ENABLED' "$log"; do
		kill -0 "$pid" 2>/dev/null || { wait "$pid"; return; }
		[ "$SECONDS" -lt "$end" ] || fail "it neither starts nor ends: $*"
		read -rt 0.1 <> <(:)
	done
	kill "$pid"
	wait "$pid"
	return 77
}

# ---- daemons
printf '[Keyd]\nProtection=%s\n' "$LEVEL" >"$ROOT/etc/keyroll/keyd.conf"
run_to_end named-keyd "$BIN/keyroll-keyd" --root="$ROOT"
case $? in
77) [ "$LEVEL" = kernel ] || fail "there is a device without a provider"; echo "this machine has level kernel: token has stood for it"; exit 0 ;;
1) ;;
*) fail "keyroll-keyd ends otherwise" ;;
esac
WHY="Protection=$LEVEL is not to be had here: .*\\. Do: "
grep -q "KEY_LEVEL: $WHY" "$ROOT/log/named-keyd.log" || fail "the custodian does not say why, and what to do"
pass "keyd.conf: the custodian does not start, and says what it needs"

ca_text LevelCA "Protection=$LEVEL" >"$ROOT/etc/keyroll/ca/LEVELCA.conf"
run_to_end named-signer "$BIN/keyroll-signer" --root="$ROOT" LEVELCA
[ $? = 1 ] || fail "keyroll-signer ends otherwise"
grep -q "KEY_LEVEL: $WHY" "$ROOT/log/named-signer.log" || fail "the signer does not say why, and what to do"
begun=$SECONDS
! ctl ca init LEVELCA >"$ROOT/log/named-init.log" 2>&1 || fail "a CA was made below the named level"
[ $((SECONDS - begun)) -lt 15 ] || fail "ca init took $((SECONDS - begun)) s to say so"
grep -q "KEY_LEVEL: $WHY" "$ROOT/log/named-init.log" && grep -q 'keyroll-signer: it ended with status 1' "$ROOT/log/named-init.log" ||
	fail "ca init is not clear"
pass "the CA's file: neither signer nor pkictl ca init go on, both say what it needs"

init_ca LEVELCA "$(ca_text LevelCA)"
sed -i "\$aProtection=$LEVEL" "$ROOT/etc/keyroll/ca/LEVELCA.conf"
run_to_end named-cad "$BIN/keyroll-cad" --root="$ROOT" LEVELCA
[ $? = 1 ] || fail "keyroll-cad ends otherwise"
grep -q "KEY_LEVEL: $WHY" "$ROOT/log/named-cad.log" && grep -q 'keyroll-signer: it ended with status 1' "$ROOT/log/named-cad.log" ||
	fail "keyroll-cad is not clear"
sed -i '/^Protection=/d' "$ROOT/etc/keyroll/ca/LEVELCA.conf"
# a signer of the service manager: the one socket is listened on whatever becomes of the other end
python3 - "$ROOT/run/keyroll/signer/LEVELCA.sock" <<-'PYTHON' &
	import socket, sys
	s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
	s.bind(sys.argv[1])
	s.listen()
	both = s.accept(), s.accept()
PYTHON
until_true 20 test -S "$ROOT/run/keyroll/signer/LEVELCA.sock"
run_to_end lost-cad "$BIN/keyroll-cad" --root="$ROOT" LEVELCA
[ $? = 1 ] || fail "keyroll-cad ends otherwise"
grep -q 'keyroll-signer: it ended before it served. Do: journalctl -u keyroll-signer@LEVELCA' "$ROOT/log/lost-cad.log" ||
	fail "keyroll-cad is not clear about another's signer"
run_ca LEVELCA
pass "keyroll-cad does not start either; without the line its CA serves as before"

# ---- trustpoints. Their custodian comes after the agent, and a switch makes it look like one that has the level.
says() { fact "$1" "$TP.alarm" | grep -q "$WHY"; }
silent() { fact "$1" "$TP.alarm == null" >/dev/null; }
held() { fact "$1" "$TP.status == \"held\" and $TP.hold == \"protection\""; }
serial() { fact "$1" "$TP.id.serial"; }
uri() { cat "$ROOT/var/lib/keyroll/delivered/$1/current/key.uri"; }
renewed() { [ "$(serial "$1")" != "$first" ] && is_enrolled "$1" && delivered_pair_ok "$1"; }
custodian_is_there() { ctl list && [ -S "$ROOT/run/keyroll/keyd.sock" ]; }

rm "$ROOT/etc/keyroll/keyd.conf"
printf '[Agent]\nClock=assume-valid\n' >"$ROOT/etc/keyroll/keyrolld.conf"
trustpoint_file other
trustpoint_file named '[Key]' Protection=$LEVEL
supervise keyrolld "$BIN/keyrolld" --root="$ROOT"
until_true 20 ctl list || fail "the agent does not answer"
agent=$(cat "$ROOT/pid/keyrolld")
silent named || fail "an alarm without a custodian to ask"
supervise keyd "$BIN/keyroll-keyd" --root="$ROOT" --socket="$ROOT/run/real.sock"
supervise between python3 "$here/tests/custodian_between.py" "$ROOT/run/keyroll/keyd.sock" "$ROOT/run/real.sock" "$ROOT/has-level" "$LEVEL"
until_true 20 custodian_is_there || fail "the custodian does not listen"
until_true 30 says named || fail "no alarm: $(ctl show named --json)"
until_true 30 held named || fail "not held: $(ctl show named --json)"
until_true 30 is_enrolled other || fail "the other trustpoint does not go on: $(ctl show other)"
ctl show named | grep -q "Alarm: *$WHY" || fail "show has no alarm: $(ctl show named)"
ctl status named >"$ROOT/status.out"
[ $? = 4 ] || fail "pkictl status does not call it critical"
grep -q "named: alarm: $WHY" "$ROOT/status.out" || fail "status does not tell the alarm: $(cat "$ROOT/status.out")"
! ctl enroll named 2>"$ROOT/enroll.out" || fail "enroll is not refused"
grep -q "$WHY" "$ROOT/enroll.out" || fail "enroll does not say why: $(cat "$ROOT/enroll.out")"
pass "a trustpoint is held with an alarm, the other enrols"

first=$(serial other)
ctl renew other >/dev/null
until_true 30 renewed other || fail "the other does not renew"
asked() { ctl ca requests --all --json | grep -q "CN=$1.example.com"; }
has_key() { find "$ROOT/var/lib/keyroll/keyd" -name "*$1*" | grep -q .; }
asked other && ! asked named || fail "a request has left: $(ctl ca requests --all)"
has_key other && ! has_key named || fail "a key was made: $(ls "$ROOT/var/lib/keyroll/keyd")"
[ "$(grep -c "is not to be had.*trustpoint=named" "$ROOT/log/keyrolld.log")" = 1 ] || fail "more than one alarm for one fact"
pass "no key, no request, one alarm"

trustpoint_file named '[Key]' Protection=keyring
ctl reload >/dev/null || fail "reload: $(ctl reload)"
until_true 30 is_enrolled named || fail "not enrolled at the level that its file names now: $(ctl show named --json)"
silent named || fail "the alarm stays"
[ "$(fact named "$TP.protection")" = keyring ] || fail "not at level keyring"
pass "a file that names another level: it goes on"

# ---- with a certificate
first=$(serial other) key=$(uri other)
trustpoint_file other '[Key]' Protection=$LEVEL
ctl reload >"$ROOT/reload.out"
[ $? = 4 ] || fail "reload does not call it critical"
grep -q "Error: *other: $WHY" "$ROOT/reload.out" || fail "reload does not tell the alarm: $(cat "$ROOT/reload.out")"
until_true 20 says other || fail "no alarm for a trustpoint with a certificate"
is_enrolled other || fail "the certificate does not count any more: $(ctl show other)"
! ctl renew other 2>"$ROOT/renew.out" || fail "renewed below the named level"
grep -q "$WHY" "$ROOT/renew.out" || fail "renew does not say why: $(cat "$ROOT/renew.out")"
old=$agent
kill "$old"
restarted() { [ "$(cat "$ROOT/pid/keyrolld")" != "$old" ] && says other; }
until_true 20 restarted || fail "no alarm after the agent's start"
agent=$(cat "$ROOT/pid/keyrolld")
[ "$(serial other)" = "$first" ] && [ "$(uri other)" = "$key" ] && delivered_pair_ok other && key_signs other || fail "something was lost: $(ctl show other)"
pass "a certificate whose file names the level afterwards: an alarm, certificate and key go on working"

trustpoint_file late '[Key]' Protection=$LEVEL '[AutoEnroll]' RetryPeriod=10min # no retry of its own comes in time
ctl reload >/dev/null
until_true 30 held late || fail "not held: $(ctl show late --json)"
touch "$ROOT/has-level"
until_true 30 is_enrolled late || fail "does not go on although the level is to be had: $(ctl show late --json)"
until_true 30 silent other || fail "the alarm of who has a certificate stays"
[ "$(fact late "$TP.protection")" = "$LEVEL" ] && key_signs late || fail "not at level $LEVEL: $(ctl show late --json)"
[ "$(cat "$ROOT/pid/keyrolld")" = "$agent" ] || fail "the agent was started anew"
pass "the level is to be had: it goes on by itself"

first=$(serial late) key=$(uri late)
trustpoint_file late '[Key]' Protection=keyring '[AutoEnroll]' Regenerate=no
ctl reload >/dev/null || fail "reload: $(ctl reload)"
ctl renew late >/dev/null || fail "renew: $(ctl renew late 2>&1)"
until_true 30 renewed late || fail "not renewed: $(ctl show late)"
[ "$(uri late)" != "$key" ] || fail "a key of another level than the file names was kept"
pass "Regenerate=no keeps no key of another level"
# ---- a key whose named level is lost, as by another kernel: it is kept, and the file names another level
first=$(serial named)
trustpoint_file named '[Key]' Protection=auto
ctl reload >/dev/null || [ $? = 4 ] || fail "reload: $(ctl reload)"
sed -i "s/^active keyring!* /active $LEVEL! /" "$ROOT/var/lib/keyroll/keyd/named.keys"
[ "$LEVEL" = kernel ] || for copy in "$ROOT"/var/lib/keyroll/keyd/named.*.p8; do mv "$copy" "${copy%.p8}.token"; done
rings_purge "$ROOT/var/lib/keyroll/keyd"
kill -KILL "$(cat "$ROOT/pid/keyd")"
lost() { ctl renew named; grep -q 'named: the key of the certificate in use is lost' "$ROOT/log/keyrolld.log"; }
until_true 20 lost || fail "the lost key is not noticed"
until_true 40 renewed named || fail "not enrolled anew beside a key that cannot be had: $(ctl show named --json)"
grep -q "^previous $LEVEL! " "$ROOT/var/lib/keyroll/keyd/named.keys" ||
	fail "the key of the lost level was not kept: $(cut -c1-60 "$ROOT/var/lib/keyroll/keyd/named.keys")"
pass "a key whose named level is lost is kept, and the trustpoint enrols anew with another"
echo "level $LEVEL: $PASSED passed, 0 failed"

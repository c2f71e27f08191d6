#!/bin/bash
# The agent enrols and renews at micromdm's scepserver in the legacy profile (single DES, in a library context of its own).
# In a network namespace of its own, since that server listens on every address.
if [ -z "${IN_NETNS:-}" ]; then
	[ "$(id -u)" = 0 ] || { echo "a network namespace needs root"; exit 77; }
	exec unshare --net env IN_NETNS=1 "$0" "$@"
fi
set -u
ip link set lo up
# shellcheck source=tests/lib.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

scepserver_run() {
	cd "$ROOT/mm" && exec scepserver -depot "$ROOT/mm/depot" -port 8080 -challenge secret -allowrenew 0 -debug
}

mkdir -p "$ROOT/mm"
(cd "$ROOT/mm" && scepserver ca -init -keySize 2048 -organization Example) >/dev/null || fail "scepserver ca -init"
PIN=$(openssl x509 -in "$ROOT/mm/depot/ca.pem" -noout -fingerprint -sha256 | cut -d= -f2)
supervise scepserver scepserver_run
until_true 10 curl -sf 'http://127.0.0.1:8080/scep?operation=GetCACaps' || fail "scepserver does not answer"

start_agent
printf secret >"$ROOT/etc/keyroll/challenge"
CA_URL=http://127.0.0.1:8080/scep CA_PIN=sha256:$PIN
CHALLENGE=('[Trustpoint]' ChallengePasswordFile=/etc/keyroll/challenge ChallengeOnRenewal=yes)
trustpoint_file mm "${CHALLENGE[@]}" '[Scep]' Profile=legacy AllowDES=yes
kill -HUP "$(cat "$ROOT/pid/keyrolld")"
until_true 30 is_enrolled mm || fail "no certificate from scepserver: $(ctl show mm 2>&1)"
delivered_pair_ok mm || fail "the delivered pair does not match"
first=$(fact mm "$TP.id.serial")
pass "enrolled at micromdm's scepserver, serial $first"

ctl renew mm >/dev/null || fail "renew refused"
renewed() { [ "$(fact mm "$TP.id.serial")" != "$first" ] && is_enrolled mm; }
until_true 30 renewed || fail "not renewed: $(ctl show mm 2>&1)"
delivered_pair_ok mm || fail "the delivered pair does not match after the renewal"
pass "renewed with a new key, serial $(fact mm "$TP.id.serial")"

# The failing twin: without AllowDES the same server's replies are refused, and say why.
trustpoint_file strict "${CHALLENGE[@]}" '[Scep]' Profile=3des
kill -HUP "$(cat "$ROOT/pid/keyrolld")"
says_des() { fact strict "$TP.last_error" | grep -qi 'des'; }
until_true 30 says_des || fail "a DES reply was not refused by name: $(ctl show strict --json)"
pass "single DES is refused without AllowDES"
echo "$PASSED passed, 0 failed"

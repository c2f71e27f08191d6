#!/bin/bash
# A key that is lost for good: with Seal=none by a reboot, which the agent notices at its start; with a sealed copy when that is gone too, at the next
# RENEW. Both times the router enrols anew, and what is delivered is a pair again.
set -u
here=${top_srcdir:-$(dirname "$0")/..}
# shellcheck source=tests/lib.sh
. "$here/tests/lib.sh"

serial() { fact lost "$TP.id.serial"; }
enrolled_anew() { is_enrolled lost && [ "$(serial)" != "$first" ] && delivered_pair_ok lost; }
fresh() { # PROGRAM: is it another process than the one that was killed?
	[ "$(cat "$ROOT/pid/$1")" != "$old" ] && kill -0 "$(cat "$ROOT/pid/$1")"
}
killed() { # PROGRAM: the supervisor starts it anew
	old=$(cat "$ROOT/pid/$1")
	kill -KILL "$old"
	until_true 10 fresh "$1" || fail "$1 was not started anew"
}

mkdir -p "$ROOT/etc/keyroll"
printf '[Keyd]\nSeal=none\n' >"$ROOT/etc/keyroll/keyd.conf"
start_ca LOSTCA "$(ca_text LostCA)"
trustpoint_file lost
start_agent
until_true 30 is_enrolled lost || fail "not enrolled: $(ctl show lost)"
[ "$(fact lost "$TP.at_rest")" = none ] || fail "at rest is not none: $(ctl show lost --json)"
fact lost "$TP.kernel_release" | grep -qx "$(uname -r)" || fail "show does not name the kernel"
fact lost "$TP.better_protection" | grep -q 'Seal=auto' || fail "show does not say what would be better"
[ -z "$(find "$ROOT/var/lib/keyroll/keyd" -name '*.p8')" ] || fail "a sealed copy was written"
first=$(serial)

killed keyd
until_true 10 ctl renew lost --json || fail "no renewal after the custodian's restart"
until_true 30 enrolled_anew || fail "the key did not survive the custodian: $(ctl show lost)"
! grep -q 'enrols anew' "$ROOT/log/keyrolld.log" || fail "the key was taken for lost"
pass "Seal=none: the key survives the custodian's death, nothing lies on disk"

first=$(serial)
rings_purge "$ROOT/var/lib/keyroll/keyd"
killed keyd
killed keyrolld
until_true 30 enrolled_anew || fail "not enrolled anew after the keyrings were emptied: $(ctl show lost)"
grep -q 'enrols anew' "$ROOT/log/keyrolld.log" || fail "the agent did not say so"
pass "Seal=none: as after a reboot, the agent finds its key gone and enrols anew"

printf '[Keyd]\nSeal=auto\n' >"$ROOT/etc/keyroll/keyd.conf"
rings_purge "$ROOT/var/lib/keyroll/keyd"
rm -f "$ROOT"/var/lib/keyroll/keyd/*
killed keyd
first=$(serial)
ctl renew lost >/dev/null || [ $? = 5 ] || fail "renew: $(ctl renew lost 2>&1)"
until_true 30 enrolled_anew || fail "not enrolled anew after the custodian's state was lost: $(ctl show lost)"
pass "a key that is lost with its sealed copy: RENEW is a first enrolment"
ctl ca status --json | jq -e '.kernel_release and .at_rest' >/dev/null || fail "ca status does not say how its key is kept: $(ctl ca status --json)"
pass "the CA says how its key is kept"
echo "$PASSED passed, 0 failed"

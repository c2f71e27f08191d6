#!/bin/bash
# After a reboot: the same keys, restored into the kernel from their sealed copies, the same certificates and due times, and nothing was asked of the CA.
set -u
# shellcheck source=tests/vm/inside-lib.sh
. "${BASH_SOURCE[0]%/*}/inside-lib.sh"

until_true 120 ca_answers || fail "the CA does not answer after the reboot"
until_true 60 key_works Test-CA || { key_works Test-CA; fail "the key does not sign after the reboot"; }
facts >"$work/facts.after" || fail "the facts"
diff "$work/facts" "$work/facts.after" || fail "the reboot changed something"
[ "$AT_REST" != tpm2 ] || until_true 60 key_works Device || fail "the key in the TPM does not sign after the reboot"
[ "$(fact Test-CA .protection)" = kernel ] || fail "the router's key is not in the kernel any more"
at_rest_is "$AT_REST" || fail "the keys at rest are not sealed by: $AT_REST"
ok "keys, certificates, requests and timers are what they were"
for event in CSR_FINGERPRINT KEY_GENERATED CERT_INSTALL CS_REQUEST_PENDING CS_CERT_ISSUED; do
	[ "$(journalctl -b -q --no-pager -o cat PKI_EVENT=$event | wc -l)" = 0 ] || fail "the journal has $event since the reboot"
done
[ "$(journalctl -q --no-pager -o cat PKI_EVENT=CS_CERT_ISSUED | wc -l)" -gt 0 ] || fail "the journal of the boot before is lost, and proves nothing"
ok "no key was made, no certificate issued"
for unit in "${DAEMONS[@]}"; do
	[ "$(systemctl show -p ActiveState -p NRestarts --value "$unit.service" | sort | tr '\n' ' ')" = "0 active " ] || fail "$unit.service did not come up at its first start"
done
ok "each daemon came up at its first start, with a slow TPM"
secrets_open
# shellcheck disable=SC2119 # no targets beside the daemons
no_primes
secrets_close
ok "no prime in memory"
# whoever asks a CA opens a connection: the kernel counts them since its boot, those that were asked for and those that were taken
connections() { # the first line has the names
	awk '$1 == "Tcp:" && n++ { print at["ActiveOpens"] ? $at["ActiveOpens"] " " $at["PassiveOpens"] : "no count" }
		$1 == "Tcp:" { for (i = 2; i <= NF; i++) at[$i] = i }' /proc/net/snmp
}
[ "$(connections)" = "0 0" ] || fail "connections since the reboot, asked for and taken: $(connections)"
curl -s -o /dev/null 'http://127.0.0.1/?operation=GetCACaps' || fail "the CA does not answer over HTTP"
[ "$(connections)" = "1 1" ] || fail "a connection to the CA is not counted: $(connections)"
ok "no connection was made to the CA since the reboot"
# the next of them is RENEW or, after the phase rollover, SHADOW
due=$(pkictl timers --json=short | jq -er '[.timers[] | select(.timer == "SHADOW" or .timer == "RENEW").at | fromdateiso8601] | min // empty') || fail "no timer: $(pkictl timers)"
date -s "@$((due + 1))" >/dev/null || fail "the clock cannot be set"
asked() { [ "$(connections | cut -d ' ' -f 1)" -gt 1 ]; }
until_true 120 asked || fail "the next timer does not ring after the reboot, or what it asks is not counted: $(connections)"
ok "the timers ring: with the clock at the next the CA is asked, and that is counted"

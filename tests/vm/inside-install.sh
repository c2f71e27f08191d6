#!/bin/bash
# A CA and a trustpoint by the installed units, all keys in the kernel; TLS with such a key; and no prime of a key in any memory.
set -u
# shellcheck source=tests/vm/inside-lib.sh
. "${BASH_SOURCE[0]%/*}/inside-lib.sh"

mkdir -p /etc/keyroll/ca /etc/keyroll/trustpoints
printf '[Agent]\nClock=assume-valid\n' >/etc/keyroll/keyrolld.conf
cat >/etc/keyroll/ca/TESTCA.conf <<'CONF'
[CA]
IssuerName=CN=Test CA,O=Example
Grant=manual
GrantRenewals=yes
CACertificateLifetime=400d
CertificateLifetime=365d
AutoRollover=90d
KeySize=2048
Protection=kernel
Clock=assume-valid
CONF
printf '[Keyd]\nKeepParsed=yes\n' >/etc/keyroll/keyd.conf # for the keys at level keyring; at level kernel there is nothing to keep
journalctl --update-catalog || fail "the catalogue is refused"
systemctl enable --now keyroll-keyd.socket keyrolld.service || fail "custodian and agent do not start"
systemctl start keyroll-signer@TESTCA.socket || fail "the signer's socket"
pkictl ca init TESTCA >"$work/init.out" 2>&1 || { cat "$work/init.out"; fail "pkictl ca init"; }
pin=$(sed -n 's/^CAFingerprint=//p' "$work/init.out")
systemctl enable --now keyroll-ca@TESTCA.service || fail "the CA does not start"
until_true 60 ca_answers || fail "the CA does not answer"
[ "$(ca_fact .protection)" = kernel ] || fail "the CA's key is not in the kernel"
ok "a CA whose key is in the kernel"

trustpoint() { # NAME LABEL PROTECTION
	cat >"/etc/keyroll/trustpoints/$1.conf" <<-CONF
		[Trustpoint]
		EnrollmentURL=http://127.0.0.1:80
		CAFingerprint=$pin
		SubjectName=CN=$2.example
		[Key]
		Label=$2
		Size=2048
		Protection=$3
		Users=daemon
		[AutoEnroll]
		Percent=80
		Regenerate=yes
		RetryPeriod=1s
	CONF
	systemctl reload keyrolld.service || fail "reload of the agent"
	pending() { pkictl ca requests --json=short | jq -e '.requests | length > 0'; }
	until_true 120 pending || fail "no request of $1 is pending"
	pkictl ca grant --all >/dev/null || fail "grant"
	until_true 120 test -s "/var/lib/keyroll/delivered/$1/current/cert.pem" || fail "$1 has no certificate"
}
trustpoint Test-CA router kernel
until_true 30 key_works Test-CA || { key_works Test-CA; fail "the key does not sign"; }
[ "$(fact Test-CA .protection)" = kernel ] || fail "the router's key is not in the kernel"
at_rest_is "$AT_REST" || fail "the keys at rest are not sealed by: $AT_REST"
journalctl -x --no-pager PKI_EVENT=CERT_INSTALL | grep -q 'was verified, stored and delivered' || fail "the journal has no CERT_INSTALL with its explanation"
journalctl -x --no-pager PKI_EVENT=CS_CERT_ISSUED | grep -q 'issued a certificate' || fail "the journal has no CS_CERT_ISSUED with its explanation"
ok "a trustpoint is pending, granted, enrolled; its key is in the kernel, sealed by $AT_REST, and signs"

fetch=$(pgrep -x keyroll-fetch) || fail "keyroll-fetch is gone already"
tls_server_start
trap tls_server_stop EXIT
until_true 30 tls_handshake || { cat "$work"/s_*.out; fail "no TLS 1.3 handshake"; }
grep -q 'Protocol version: TLSv1.3' "$work/s_client.out" || fail "another TLS than 1.3"
ok "s_server and s_client speak TLS 1.3 with the key"

secrets_open
mkfifo "$work/hold"
"$here/memscan" --hold /run/scan/keyd /var/lib/keyroll/keyd/router.*.p8 <"$work/hold" >"$work/hold.out" &
control=$!
exec 7>"$work/hold"
until_true 30 grep -q holding "$work/hold.out" || fail "the planted control does not hold"
scan router "$control"
[ $? = 1 ] || fail "the scan does not find what was planted"
exec 7>&-
wait "$control"
no_primes "$tls_server" "$fetch"
ok "no prime in the memory of any program, nor in cores of custodian and signer; the planted one is found"
systemctl restart keyroll-keyd.service keyroll-signer@TESTCA.service || fail "restart of custodian and signer"
until_true 60 key_works Test-CA || fail "the key does not sign after the custodian's restart"
no_primes
ok "nor after their restart"

trustpoint Soft soft keyring
scan soft "$(main_pid keyroll-keyd.service)"
[ $? = 1 ] || fail "the scan does not find a key at level keyring, which the custodian keeps parsed"
secrets_close
ok "the same scan finds a key at level keyring"
# the next boots have a slow TPM: to open a seal takes longer than clients of custodian and signer wait
mkdir -p /etc/systemd/system/keyroll-seal@.service.d
printf '[Service]\nExecStartPost=/bin/sleep 3\n' >/etc/systemd/system/keyroll-seal@.service.d/slow.conf
facts >"$work/facts"
cat "$work/facts"

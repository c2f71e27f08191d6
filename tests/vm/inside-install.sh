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
cat >/etc/systemd/system/consumer.service <<'CONF'
[Service]
ExecStart=/bin/sleep infinity
ExecReload=/bin/touch /run/consumer-reloaded
[Install]
WantedBy=multi-user.target
CONF
systemctl enable --now consumer.service || fail "the unit that is to be reloaded"
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
		[Deliver]
		ReloadUnits=consumer.service
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
until_true 30 test -e /run/consumer-reloaded || fail "the agent has not had the consumer's unit reloaded, over the bus"
at_rest_is "$AT_REST" || fail "the keys at rest are not sealed by: $AT_REST"
journalctl -x --no-pager PKI_EVENT=CERT_INSTALL | grep -q 'was verified, stored and delivered' || fail "the journal has no CERT_INSTALL with its explanation"
journalctl -x --no-pager PKI_EVENT=CS_CERT_ISSUED | grep -q 'issued a certificate' || fail "the journal has no CS_CERT_ISSUED with its explanation"
[ "$(protection_said keyroll-keyd)" = "$(protection_shown Test-CA)" ] ||
	fail "the custodian said $(protection_said keyroll-keyd), shown is $(protection_shown Test-CA)"
protection_said keyroll-keyd | jq -e --arg kernel "$(uname -r)" --arg seal "$AT_REST" '
	. == ["kernel", $seal, $kernel, if $seal == "tpm2" then null else "sealed by the host key: a TPM 2.0 would bind it to this machine" end]' >/dev/null ||
	fail "the custodian's protection in the journal: $(protection_said keyroll-keyd)"
ok "a trustpoint is pending, granted, enrolled; its key is in the kernel, sealed by $AT_REST, and signs"

fetch=$(pgrep -x keyroll-fetch) || fail "keyroll-fetch is gone already"
core_of "$fetch" /run/core.fetch # it lives for half a minute, less than what follows may take
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
core_of "$control" /run/core.control
scan router /run/core.control
[ $? = 1 ] || fail "the scan does not find what was planted in a core"
rm /run/core.control
exec 7>&-
wait "$control"
# the sealing script, held while it opens the secret
mkdir /run/held
mkfifo /run/held/go
cat >/run/held/systemd-creds <<CREDS
#!/bin/sh
"$(command -v systemd-creds)" "\$@"
status=\$?
touch /run/held/there
read -r _ </run/held/go
exit \$status
CREDS
chmod 0755 /run/held/systemd-creds
PATH=/run/held:$PATH "$(find /usr/lib* -name keyroll-seal -type f | head -n 1)" keyd >"$work/seal.out" 2>&1 &
seal=$!
until_true 60 test -e /run/held/there || fail "keyroll-seal does not open the secret"
mapfile -t held < <(pgrep -x keyroll-seal) # and the shells that it started
[[ " ${held[*]} " == *" $seal "* ]] || fail "keyroll-seal is not among: ${held[*]}"
core_at_end /run/core.show pkictl show Test-CA
grep -q 'Protection: *kernel' "$work/gdb.out" || { cat "$work/gdb.out"; fail "pkictl was not told of the key"; }
core_at_end /run/core.status pkictl ca status
grep -q 'Key protection: *kernel' "$work/gdb.out" || { cat "$work/gdb.out"; fail "pkictl was not told of the CA's key"; }
no_primes "$tls_server" "${held[@]}" /run/core.fetch /run/core.show /run/core.status | tee "$work/scanned"
[ "${PIPESTATUS[0]}" = 0 ] || exit 1
for program in keyrolld keyroll-keyd keyroll-cad keyroll-signer keyroll-seal openssl core.fetch core.show core.status core.keyd core.signer; do
	[ "$(grep -c "^\(/run/\)\?$program (.*: 0 of the primes' bytes in [1-9]" "$work/scanned")" -ge 2 ] || fail "$program was not scanned for both keys"
done
exec 7<>/run/held/go # whoever asks it for more is let go too
yes go >&7 2>/dev/null &
letting=$!
wait "$seal" || { cat "$work/seal.out"; fail "keyroll-seal"; }
kill "$letting"
exec 7>&-
ok "no prime in the memory of any of Keyroll's programs, nor in cores of custodian, signer and pkictl; the planted ones are found"
both_keys() { echo "$(slot_keys "${KEYD[@]}" active) $(slot_keys "${SIGNER[@]}" active)"; }
serials=$(both_keys)
[[ $serials =~ ^[0-9]+\ [0-9]+$ ]] || fail "the kernel has not one active key of the router and one of the CA: $serials"
systemctl restart keyroll-keyd.service keyroll-signer@TESTCA.service || fail "restart of custodian and signer"
until_true 60 key_works Test-CA || fail "the key does not sign after the custodian's restart"
until_true 60 ca_answers || fail "the CA does not answer after the signer's restart"
[ "$(both_keys)" = "$serials" ] || fail "the kernel's keys were $serials before the restart, and are $(both_keys)"
ok "custodian and signer restarted find their keys in the kernel, serials $serials, and do not load them again"
no_primes
ok "nor after their restart"
for unit in keyroll-keyd keyroll-signer@TESTCA; do
	locked "$unit" || fail "the memory of $unit may go to swap"
done
ok "their memory is locked"

trustpoint Soft soft keyring
scan soft "$(main_pid keyroll-keyd.service)"
[ $? = 1 ] || fail "the scan does not find a key at level keyring, which the custodian keeps parsed"
secrets_close
ok "the same scan finds a key at level keyring"

if [ "$AT_REST" = tpm2 ]; then # a key in the same TPM, by the drop-in that the page shows
	mkdir -p /etc/systemd/system/keyroll-keyd.service.d
	sed -n '/service.d\/tpm.conf :$/,/^\.Ed/{/^\./!p}' /usr/share/man/man8/keyroll-keyd.8 >/etc/systemd/system/keyroll-keyd.service.d/tpm.conf
	grep -q '^DeviceAllow=/dev/tpm' /etc/systemd/system/keyroll-keyd.service.d/tpm.conf || fail "the page has no drop-in for a TPM"
	printf '[Token]\nProvider=tpm2\n' >>/etc/keyroll/keyd.conf
	echo 'z /dev/tpmrm0 0660 tss tss' >/etc/tmpfiles.d/tpm.conf # what tpm-udev's rule does: no udev runs here
	systemd-tmpfiles --create tpm.conf || fail "the TPM's mode"
	systemctl daemon-reload
	systemctl restart keyroll-keyd.service || fail "restart of the custodian with a TPM for keys"
	trustpoint Device device token
	until_true 60 key_works Device || fail "the key in the TPM does not sign"
	[ "$(fact Device .protection)" = token ] || fail "the key is not in the TPM"
	systemctl restart keyroll-keyd.service || fail "restart of the custodian with a key in the TPM"
	until_true 60 key_works Device || fail "the key in the TPM does not sign after the custodian's restart"
	ok "a key in the TPM by the page's drop-in; the custodian restarted uses it"
fi
# the next boots have a slow TPM: to open a seal takes longer than clients of custodian and signer wait
mkdir -p /etc/systemd/system/keyroll-seal@.service.d
printf '[Service]\nExecStartPost=/bin/sleep 3\n' >/etc/systemd/system/keyroll-seal@.service.d/slow.conf
facts >"$work/facts" || fail "the facts"
cat "$work/facts"

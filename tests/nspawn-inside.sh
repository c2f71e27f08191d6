#!/bin/bash
# Runs as root under a real systemd with Keyroll installed (tests/nspawn.sh starts it): a CA and a trustpoint by way of the units, and that
# restarts lose neither key nor certificate.
set -u
# shellcheck source=tests/installed.sh
. "${BASH_SOURCE[0]%/*}/installed.sh"
dir=$(delivered Test-CA)
ok() { echo "ok: $*"; }

is_active() { [ "$(systemctl is-active "$1")" = active ]; }
restarts() { systemctl show -p NRestarts --value "$1"; }
serial() { openssl x509 -noout -serial -in "$dir/cert.pem"; }

groupadd keyholders || fail "a group"
mkdir -p /etc/keyroll/ca /etc/keyroll/trustpoints
cat >/etc/keyroll/keyrolld.conf <<'CONF'
[Agent]
Clock=assume-valid
CONF
cat >/etc/keyroll/ca/TESTCA.conf <<'CONF'
[CA]
IssuerName=CN=Test CA,O=Example
Grant=manual
GrantRenewals=yes
CACertificateLifetime=365d
CertificateLifetime=90d
KeySize=2048
Clock=assume-valid
CONF

journalctl --update-catalog || fail "the catalogue is refused"
systemctl daemon-reload
systemctl start keyroll-keyd.service || fail "the custodian does not start"
is_active keyroll-keyd.service || fail "the custodian is not active"
until_true 20 protection_said keyroll-keyd || fail "the custodian does not tell the protection"
protection_said keyroll-keyd | jq -e --arg kernel "$(uname -r)" --arg seal "sealed by the host key: a TPM 2.0 would bind it to this machine" '
	.[1] == "host" and .[2] == $kernel and
	if .[0] == "kernel" then .[3] == $seal else .[0] == "keyring" and (.[3] | startswith("kernel: ") and endswith("; " + $seal)) end' >/dev/null ||
	fail "the custodian's protection in the journal: $(protection_said keyroll-keyd)"
ok "the journal has protection, kernel and what would be better in fields"
systemctl enable --now keyroll-keyd.socket keyrolld.service || fail "custodian and agent do not start"
is_active keyrolld.service || fail "keyrolld is not active"
ok "custodian's socket and agent are up"

systemctl start keyroll-signer@TESTCA.socket || fail "the signer's socket"
pkictl ca init TESTCA >/tmp/init.out 2>&1 || { cat /tmp/init.out; fail "pkictl ca init"; }
pin=$(sed -n 's/^CAFingerprint=//p' /tmp/init.out)
[ -n "$pin" ] || { cat /tmp/init.out; fail "init printed no fingerprint"; }
systemctl enable --now keyroll-ca@TESTCA.service || fail "the CA does not start"
until_true 20 pkictl ca status || fail "the CA does not answer"
[ "$(curl -s -o /dev/null -w '%{http_code}' 'http://127.0.0.1/?operation=GetCACaps')" = 200 ] || fail "the CA does not answer over HTTP"
ok "the CA answers on its control socket and on the socket that systemd holds"

cat >/etc/keyroll/trustpoints/Test-CA.conf <<CONF
[Trustpoint]
EnrollmentURL=http://127.0.0.1:80
SubjectName=CN=router.example
[Key]
Label=router
Size=2048
Users=daemon
Groups=keyholders
[AutoEnroll]
Percent=80
Regenerate=yes
RetryPeriod=1s
[Deliver]
ReloadUnits=consumer.service
CONF
cat >/etc/systemd/system/consumer.service <<'CONF'
[Service]
ExecStart=/bin/sleep infinity
ExecReload=/bin/touch /run/consumer-reloaded
CONF
systemctl daemon-reload
systemctl start consumer.service
systemctl reload keyrolld.service || fail "reload of the agent"
until_true 20 pkictl show Test-CA || fail "the agent does not know the trustpoint"
pkictl authenticate Test-CA --fingerprint="$pin" || fail "authenticate"
pkictl enroll Test-CA
pending() { pkictl ca requests --no-legend | grep -q router.example; }
until_true 30 pending || fail "no request is pending"
pkictl ca grant --all || fail "grant"
until_true 60 test -s "$dir/cert.pem" || fail "no certificate was delivered"
until_true 20 key_works Test-CA || { key_works Test-CA; fail "the key does not sign"; }
ok "a trustpoint is enrolled, its key signs by keyroll:// for the user that is named"
key_works Test-CA nobody 2>/dev/null && fail "the key signs for somebody who is not named"
key_works Test-CA nobody keyholders || fail "the key does not sign for a member of the group that is named"
key_works Test-CA nobody games 2>/dev/null && fail "the key signs for a member of another group"
ok "and for the group that is named; for nobody else"
until_true 20 test -e /run/consumer-reloaded || fail "the consumer was not reloaded"
ok "the agent has the consumer's unit reloaded"

first=$(serial)
for unit in keyroll-keyd keyrolld keyroll-signer@TESTCA keyroll-ca@TESTCA; do
	systemctl restart "$unit.service" || fail "restart of $unit"
	is_active "$unit.service" || fail "$unit is not active after its restart"
	[ "$(restarts "$unit.service")" = 0 ] || fail "$unit crashed: $(restarts "$unit.service") restarts"
	until_true 20 key_works Test-CA || fail "the key is gone after the restart of $unit"
	[ "$(serial)" = "$first" ] || fail "the certificate changed by the restart of $unit"
	until_true 20 pkictl ca status || fail "the CA does not answer after the restart of $unit"
done
ok "every service was restarted; key and certificate are still there"

{ useradd -M -G keyroll reader && useradd -M -G keyroll-admin changer; } || fail "users"
as() { setpriv --reuid="$1" --regid="$(id -g "$1")" --init-groups "${@:2}"; }
as nobody pkictl list >/tmp/refused 2>&1 && fail "a stranger may ask"
grep -q 'may not ask' /tmp/refused || { cat /tmp/refused; fail "a stranger is refused for another reason"; }
as reader pkictl show Test-CA >/dev/null || fail "group keyroll may not ask"
as reader pkictl renew Test-CA >/tmp/refused 2>&1 && fail "group keyroll may change"
grep -q 'may not change' /tmp/refused || { cat /tmp/refused; fail "group keyroll is refused for another reason"; }
[ "$(serial)" = "$first" ] || fail "the refused renewal was made"
as reader pkictl ca list >/tmp/refused 2>&1 || { cat /tmp/refused; fail "group keyroll may not ask the CA"; }
as reader pkictl ca rollover >/tmp/refused 2>&1 && fail "group keyroll may roll the CA over"
grep -q 'may not change' /tmp/refused || { cat /tmp/refused; fail "the CA refuses group keyroll for another reason"; }
ok "strangers may ask nothing, group keyroll may ask and change nothing"

as changer pkictl renew Test-CA || fail "renew by group keyroll-admin"
renewed() { [ "$(serial)" != "$first" ]; }
until_true 60 renewed || fail "no renewed certificate"
until_true 20 key_works Test-CA || fail "the renewed key does not sign"
ok "a renewal with a new key, after all restarts"

! grep -rlE -- '-----BEGIN (RSA |ENCRYPTED )?PRIVATE KEY' /var/lib/keyroll/delivered || fail "a private key was delivered as a file"
sealed=$(find /var/lib/keyroll/keyd /var/lib/keyroll/signer -type f -exec openssl pkey -noout -in {} \; 2>/dev/null | wc -l)
[ "$sealed" = 0 ] || fail "a key lies on disk unsealed"
[ "$(stat -c '%U %a' /var/lib/keyroll/keyd)" = "keyroll-keyd 700" ] || fail "the custodian's folder is open"
[ "$(stat -c '%U %a' /var/lib/keyroll/signer/TESTCA)" = "keyroll-signer 700" ] || fail "the signer's folder is open"
[ -s /etc/credstore.encrypted/keyroll-keyd ] || fail "no sealed secret"
[ "$(pkictl show Test-CA --json=short | jq -r '(.trustpoints[0] // .).at_rest')" = host ] || fail "without a TPM, the keys are not sealed by the host's key"
ok "keys lie sealed, each with its own user"

protection_shown Test-CA >/tmp/shown || fail "pkictl shows no protection"
protection_said keyroll-keyd | diff /tmp/shown - || fail "pkictl shows another protection than the custodian said"
[ "$(protection_said keyroll-signer@TESTCA)" = "$(pkictl ca status --json=short | jq -c '[.protection, .at_rest, .kernel_release, .better_protection]')" ] ||
	fail "the CA's signer said $(protection_said keyroll-signer@TESTCA)"
pkictl show Test-CA | grep -qx " *Better protection: *$(jq -r '.[3]' /tmp/shown)" || fail "show for people does not tell what would be better"
ok "pkictl shows of a key what the journal has"

journalctl -x --no-pager PKI_EVENT=CERT_INSTALL | grep -q 'was verified, stored and delivered' || fail "the journal has no CERT_INSTALL with its explanation"
journalctl -x --no-pager PKI_EVENT=CS_CERT_ISSUED | grep -q 'issued a certificate' || fail "the journal has no CS_CERT_ISSUED with its explanation"
ok "the journal has the events and explains them"

# ---- keyrings emptied, as by a reboot: the keys come back from under the host's key, and only from there
# shellcheck disable=SC2016 # its own shell takes them apart
rings_empty() { # USER
	setpriv --reuid="$1" --regid="$1" --clear-groups keyctl session - \
		sh -c 'keyctl link @u @s && keyctl clear @u && [ -z "$(keyctl rlist @u)" ]' >/dev/null 2>&1
}
key_facts() {
	setpriv --reuid=daemon --regid=nogroup --clear-groups openssl pkey -provider keyroll -provider default \
		-in keyroll://router -pubout -outform DER >/tmp/pub.der || return
	sha256sum </tmp/pub.der
	pkictl show Test-CA --json=short | jq -ec '(.trustpoints[0] // .) | .id.serial, .id.spki, .generation, .at_rest'
	pkictl ca status --json=short | jq -ec '.ca.spki, .at_rest'
}
stop_all() { systemctl stop keyroll{-ca,-ca-http,-signer}@TESTCA.socket keyroll{-ca,-signer}@TESTCA keyrolld.{socket,service} keyroll-keyd.{socket,service}; }
key_facts >/tmp/facts || fail "the facts"
grep -qx '"host"' /tmp/facts || { cat /tmp/facts; fail "not at rest by the host's key"; }
stop_all || fail "stop"
{ rings_empty keyroll-keyd && rings_empty keyroll-signer; } || fail "the keyrings cannot be emptied"
mv /var/lib/systemd/credential.secret /root/ || fail "the host has no key"
systemctl start keyroll-keyd.service && fail "the secret opens without the host's key"
journalctl -q --no-pager -u keyroll-seal@keyd.service | grep -q 'Do: bring back that file, TPM or host key' || fail "nobody says that the host's key is missing"
mv /root/credential.secret /var/lib/systemd/
systemctl reset-failed
systemctl start keyroll-ca-http@TESTCA.socket keyroll-ca@TESTCA.service keyroll-keyd.socket keyrolld.service || fail "start with empty keyrings"
until_true 20 pkictl ca status || fail "the CA does not answer with empty keyrings"
until_true 20 key_works Test-CA || { key_works Test-CA; fail "the key is not restored"; }
key_facts | diff /tmp/facts - || fail "the restored key is another one"
second=$(serial)
pkictl renew Test-CA || fail "renew with restored keys"
renewed_again() { [ "$(serial)" != "$second" ]; }
until_true 60 renewed_again || fail "the CA's restored key issues nothing"
ok "keys of custodian and CA are restored from under the host's key, and not without it"

# ---- the key calls denied: no start, and a word that says what to do
drop_in=/etc/systemd/system/keyroll-keyd.service.d
mkdir -p "$drop_in"
denied() { # PROTECTION CALLS WORDS EVENT: what it then says, of which event ("": of none)
	local run

	systemctl start keyroll-keyd.service || fail "the custodian does not start with its calls"
	systemctl stop keyroll-keyd.{socket,service}
	printf '[Keyd]\nProtection=%s\n' "$1" >/etc/keyroll/keyd.conf
	printf '[Service]\nRestart=no\nSystemCallFilter=~%s\n' "$2" >"$drop_in/denied.conf"
	systemctl daemon-reload
	systemctl start keyroll-keyd.service 2>/dev/null && fail "Protection=$1 starts without $2"
	run=$(systemctl show -p InvocationID --value keyroll-keyd.service)
	said() {
		journalctl -q -o json --no-pager -u keyroll-keyd.service _SYSTEMD_INVOCATION_ID="$run" |
			jq -r '"\(.PKI_EVENT // ""): \(.MESSAGE)"' | grep -x -- "$1"
	}
	until_true 20 said "$4: $3" || { said '.*'; fail "Protection=$1 without $2: no such word"; }
	rm "$drop_in/denied.conf" /etc/keyroll/keyd.conf
	systemctl daemon-reload
	systemctl reset-failed keyroll-keyd.service
}
key_facts >/tmp/facts || fail "the facts"
systemctl stop keyrolld.{socket,service} keyroll-keyd.{socket,service}
for level in auto kernel; do
	denied "$level" "add_key keyctl request_key" 'stopped: .*: Operation not permitted\. Do: allow add_key, keyctl, request_key' ""
done
# the keyrings of the start before are found by keyctl: then it is the probe that fails
denied auto add_key 'stopped: .*: Operation not permitted\. Do: allow add_key, keyctl, request_key' ""
denied kernel add_key 'Protection=kernel is not to be had here: .*: Operation not permitted\. Do: allow add_key, keyctl, request_key' KEY_LEVEL
systemctl start keyroll-keyd.socket keyrolld.service || fail "start with the calls allowed again"
until_true 20 key_works Test-CA || { key_works Test-CA; fail "the key is lost by a start that failed"; }
key_facts | diff /tmp/facts - || fail "a start that failed has changed something"
ok "a custodian that may not call the kernel's keys does not start and says what to allow; nothing is lost"

failed=$(systemctl --no-legend --plain --failed list-units 'keyroll*')
[ -z "$failed" ] || fail "failed units: $failed"
systemctl stop keyroll-ca@TESTCA keyroll-signer@TESTCA keyrolld keyroll-keyd || fail "stop"
ok "everything stops"

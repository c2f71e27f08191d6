#!/bin/bash
# keyroll-cad and keyroll-signer as they run, spoken to by curl, strongSwan's pki and micromdm's scepclient: enrolment with an operator's grant, renewal,
# lost replies, a killed signer, a killed front, the rollover CA made and cancelled. Parts whose client is not installed are skipped by name.
# shellcheck disable=SC2015 # fail() exits
set -u
# shellcheck source=tests/lib.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"
export PATH=$PATH:/usr/sbin
SKIPPED=0
skip() {
	[ -z "${NOTHING_SKIPPED:-}" ] || fail "not installed: $*"
	echo "skipped: $*"
	SKIPPED=$((SKIPPED + 1))
}

conf() { # EXTRA-LINES
	printf '%s\n' '[CA]' 'IssuerName=CN=RootCA,OU=TAC,O=Example' 'Listen=127.0.0.1:0' 'Clock=assume-valid' 'KeySize=2048' \
		'CACertificateLifetime=730d' 'CertificateLifetime=365d' "$@"
}
reload() {
	conf "$@" >"$ROOT/etc/keyroll/ca/E2E.conf"
	ctl ca reload >/dev/null 2>&1 || kill -HUP "$(cat "$ROOT/pid/cad-E2E")"
}
url() { echo "http://127.0.0.1:$(cat "$ROOT/run/keyroll/ca/E2E.port")/cgi-bin/pkiclient.exe"; }
get() { curl -sf -o "$2" "$(url)?operation=$1"; }
caps_have() { curl -sf "$(url)?operation=GetCACaps" | grep -qx "$1"; }
certificate_ok() { openssl verify -CAfile "$ROOT/ca.pem" "$1" >/dev/null 2>&1; }

# ---- a key that an attempt left, and a file that wants another since
init_says() { conf "KeySize=$1" | grep -v '^KeySize=2048' >"$ROOT/etc/keyroll/ca/CUT.conf" && ctl ca init CUT >"$ROOT/cut.out" 2>&1 && grep -q "^Key: RSA $1," "$ROOT/cut.out"; }
mkdir -p "$ROOT/etc/keyroll/ca"
init_says 3072 || fail "pkictl ca init: $(cat "$ROOT/cut.out")"
rm "$ROOT/var/lib/keyroll/ca/CUT/ca.pem" # as if it had been cut off before
init_says 4096 || fail "the key of an attempt that was cut off is not as the file wants it: $(cat "$ROOT/cut.out")"
rm "$ROOT/etc/keyroll/ca/CUT.conf"
pass "a key that an attempt left is made anew where the file wants another"

start_ca E2E "$(conf Grant=manual GrantRenewals=yes)"
cd "$ROOT" || fail "no $ROOT"

# ---- static replies
caps_have SCEPStandard && caps_have SHA-384 || fail "capabilities"
caps_have GetNextCACert && fail "GetNextCACert is advertised without a rollover CA"
get GetCACert ca.der || fail "GetCACert"
openssl x509 -inform der -in ca.der -out ca.pem || fail "GetCACert is no certificate"
[ "sha256:$(sha256sum <ca.der | cut -d' ' -f1)" = "$CA_PIN" ] || fail "the fingerprint is not the one that init printed"
[ "$(curl -s -o /dev/null -w '%{http_code}' "$(url)?operation=GetNextCACert")" = 404 ] || fail "GetNextCACert is not 404"
[ "$(curl -s -o /dev/null -w '%{http_code}' --data-binary rubbish "$(url)?operation=PKIOperation")" = 400 ] || fail "rubbish is not 400"
crl=$(basename "$ROOT"/var/lib/keyroll/ca/E2E/*.crl)
curl -sf "http://127.0.0.1:$(cat "$ROOT/run/keyroll/ca/E2E.port")/crl/$crl" | openssl crl -inform der -CAfile ca.pem -noout 2>/dev/null || fail "CRL"
pass "capabilities, CA certificate, CRL, refusals"

# ---- strongSwan
swan() { # OUT KEY MORE...
	local out=$1 key=$2
	shift 2
	pki --scep --url "$(url)" --in "$key" --dn 'CN=spoke-1, OU=CVO' --san spoke-1.example.com --cacert-enc ca.der --cacert-sig ca.der \
		--interval 1 --maxpolltime 30 --outform pem "$@" >"$out" 2>>"$ROOT/log/pki.log" && openssl x509 -in "$out" -noout 2>/dev/null
}
swan_works() { pki --scep --help 2>&1 | grep -q cacert-enc && find /usr/lib/ipsec/plugins -name 'libstrongswan-curl.so' 2>/dev/null | grep -q .; }
pending() { ctl ca requests --json=short 2>/dev/null | grep -q '"pending"'; }
if command -v pki >/dev/null && swan_works; then
	openssl genrsa -traditional -out k1.pem 2048 2>/dev/null
	openssl genrsa -traditional -out k2.pem 2048 2>/dev/null
	swan c1.pem k1.pem &
	client=$!
	until_true 20 pending || fail "no pending request"
	ctl ca grant --all >/dev/null || fail "pkictl ca grant"
	wait "$client" || fail "strongSwan was granted and got nothing: $(tail -3 "$ROOT/log/pki.log")"
	certificate_ok c1.pem || fail "the certificate does not verify"
	openssl x509 -in c1.pem -noout -ext subjectAltName | grep -q spoke-1.example.com || fail "no alternative name"
	pass "strongSwan waits, is granted, collects"
	swan c1b.pem k1.pem || fail "the same request again"
	cmp -s c1.pem c1b.pem || fail "the same request got another certificate"
	pass "the same request gets the same certificate"
	swan c2.pem k2.pem --cert c1.pem --key k1.pem || fail "renewal by strongSwan"
	certificate_ok c2.pem && ! cmp -s c1.pem c2.pem || fail "the renewed certificate"
	pass "strongSwan renews without an operator"

	kill -9 "$(cat "$ROOT/pid/cad-E2E")"
	until_true 20 caps_have SCEPStandard || fail "the front does not come back"
	swan c2b.pem k2.pem --cert c1.pem --key k1.pem || fail "the same renewal after a kill"
	cmp -s c2.pem c2b.pem || fail "after a kill the same request got another certificate"
	pass "a killed front knows what it issued"
else
	skip "strongSwan's pki with its curl plugin (strongswan-pki, libstrongswan-extra-plugins)"
fi

# ---- micromdm: single DES, so only in the legacy profile
if command -v scepclient >/dev/null; then
	mkdir mm
	mdm() {
		(cd mm && timeout 30 scepclient -private-key k.pem -certificate "$1" -cn "$2" -server-url "$(url)") >>"$ROOT/log/mm.log" 2>&1 && [ -s "mm/$1" ]
	}
	reload Grant=auto
	mdm strict.pem mdm-0 && fail "single DES was taken without AllowDES"
	reload Grant=auto Profile=legacy AllowDES=yes
	until_true 10 caps_have DES3 || fail "the reload did not happen"
	mdm c.pem mdm-1 && certificate_ok mm/c.pem || fail "scepclient: $(tail -3 "$ROOT/log/mm.log")"
	cp mm/c.pem mm/old.pem
	mdm c.pem mdm-1 && certificate_ok mm/c.pem && ! cmp -s mm/c.pem mm/old.pem || fail "scepclient's renewal"
	pass "micromdm enrols and renews with AllowDES, not without"
else
	skip "micromdm's scepclient (scep)"
fi

# ---- the signer killed: started again, and nobody is told a wrong reason
signer_pid() { pgrep -P "$(cat "$ROOT/pid/cad-E2E")" keyroll-signer; }
other_signer() { new=$(signer_pid) && [ "$new" != "$old" ]; }
old=$(signer_pid) || fail "no signer below the front"
kill -9 "$old"
until_true 20 other_signer || fail "the signer was not started again"
rolls() { ctl ca rollover >/dev/null 2>&1; }
until_true 20 rolls || fail "pkictl ca rollover after the signer was killed: $(ctl ca rollover 2>&1)"
pass "a killed signer is started again"

# ---- the rollover CA
caps_have GetNextCACert || fail "GetNextCACert is not advertised"
get GetNextCACert next.p7 || fail "GetNextCACert"
openssl cms -verify -inform der -in next.p7 -CAfile ca.pem -purpose any -binary -out next.inner 2>/dev/null ||
	fail "GetNextCACert is not signed by the active CA"
openssl pkcs7 -inform der -in next.inner -print_certs 2>/dev/null | openssl x509 -out next.pem || fail "no next CA certificate inside"
[ "$(openssl x509 -in next.pem -noout -startdate | cut -d= -f2)" = "$(openssl x509 -in ca.pem -noout -enddate | cut -d= -f2)" ] ||
	fail "the next CA does not begin when the active one ends"
pass "the rollover CA is made, and served signed"
kill -9 "$(cat "$ROOT/pid/cad-E2E")"
until_true 20 caps_have GetNextCACert || fail "the rollover CA is lost after a kill"
get GetNextCACert again.p7 && cmp -s next.p7 again.p7 || fail "another rollover CA after a kill"
pass "a killed front keeps its rollover CA"
# its key cannot be had any more: restored from a damaged copy at a restart of the CA
next_key_away() {
	copy=$ROOT/var/lib/keyroll/signer/E2E/E2E.$(openssl x509 -in "$ROOT/var/lib/keyroll/ca/E2E/next.pem" -noout -pubkey | openssl pkey -pubin -outform DER |
		sha256sum | cut -d' ' -f1).p8
	cp -p "$copy" copy.p8 && printf x >"$copy" || fail "no sealed copy of the rollover CA's key"
	rings_purge "$ROOT/var/lib/keyroll/signer/E2E"
	kill -9 "$(signer_pid)" "$(cat "$ROOT/pid/cad-E2E")"
	until_true 20 caps_have SCEPStandard || fail "the CA does not start without its rollover key"
	caps_have GetNextCACert && fail "GetNextCACert is advertised without the rollover key"
}
next_key_away
cat copy.p8 >"$copy"
until_true 150 caps_have GetNextCACert || fail "the rollover CA does not come back with its key"
get GetNextCACert again.p7 && openssl cms -verify -inform der -in again.p7 -CAfile ca.pem -purpose any -binary -out again.inner 2>/dev/null &&
	cmp -s next.inner again.inner || fail "another rollover CA after its key was back"
pass "a rollover key that cannot be had for a time costs no rollover CA"
ctl ca rollover --cancel --yes=E2E >/dev/null || fail "pkictl ca rollover --cancel"
caps_have GetNextCACert && fail "GetNextCACert is advertised after the cancel"
[ "$(cd "$ROOT/var/lib/keyroll/ca/E2E" && echo *.crl)" = "$crl" ] || fail "the cancelled CA's CRL is still there"
pass "the rollover CA is cancelled"
rolls || fail "pkictl ca rollover after a cancel: $(ctl ca rollover 2>&1)"
next_key_away
until_true 20 ctl ca rollover --cancel --yes=E2E || fail "pkictl ca rollover --cancel without the rollover key: $(ctl ca rollover --cancel --yes=E2E 2>&1)"
[ ! -e "$ROOT/var/lib/keyroll/ca/E2E/next.pem" ] && [ ! -e "$copy" ] || fail "the cancelled CA's certificate or key is still there"
rolls || fail "pkictl ca rollover after that: $(ctl ca rollover 2>&1)"
pass "so is one whose key cannot be had"
echo "$PASSED passed, $SKIPPED skipped, 0 failed"

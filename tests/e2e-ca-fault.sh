#!/bin/bash
# keyroll-cad killed at each of its numbered places, as by a power cut; started again, it must end where no kill would have: one certificate for one
# request, the same one for its repetition, one rollover CA, one active CA. Needs a build with --enable-fault-points and strongSwan's pki.
# shellcheck disable=SC2015 # fail() exits
set -u
build=$(cd "${top_builddir:-.}" && pwd)
grep -q 'ca\.c3' "$build/keyroll-cad" || { echo "skipped: not configured with --enable-fault-points"; exit 77; }
find /usr/lib/ipsec/plugins -name 'libstrongswan-curl.so' 2>/dev/null | grep -q . || { echo "skipped: no strongSwan pki with its curl plugin"; exit 77; }
# shellcheck source=tests/lib.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"
CA=

conf() { # NAME EXTRA-LINES
	local name=$1
	shift
	mkdir -p "$ROOT/etc/keyroll/ca" "$ROOT/log"
	printf '%s\n' '[CA]' 'IssuerName=CN=RootCA' 'Listen=127.0.0.1:0' 'Clock=assume-valid' 'KeySize=2048' 'Grant=auto' "$@" \
		>"$ROOT/etc/keyroll/ca/$name.conf"
	CA=$name
}
init() { ctl ca init "$CA" >>"$ROOT/log/init.log" 2>&1 || fail "pkictl ca init $CA"; }
cad_start() { # [FAULT]
	rm -f "$ROOT/run/keyroll/ca/$CA.port"
	KEYROLL_FAULT=${1:-} "$BIN/keyroll-cad" --root="$ROOT" "$CA" >>"$ROOT/log/$CA.log" 2>&1 &
	cad=$!
	until_true 20 test -e "$ROOT/run/keyroll/ca/$CA.port"
}
cad_died() { wait "$cad"; [ $? = 137 ]; }
cad_stop() { kill "$cad" && wait "$cad"; }
trap 'kill "$cad" 2>/dev/null; wait; cleanup' EXIT
url() { echo "http://127.0.0.1:$(cat "$ROOT/run/keyroll/ca/$CA.port")/x"; }
get() { curl -sf -o "$2" "$(url)?operation=$1"; }
enrol() { # OUT
	timeout 20 pki --scep --url "$(url)" --in "$ROOT/k.pem" --dn "CN=$CA" --cacert-enc "$ROOT/$CA.der" --cacert-sig "$ROOT/$CA.der" --outform pem \
		>"$1" 2>>"$ROOT/log/pki.log" && openssl x509 -in "$1" -noout 2>/dev/null
}
issued() { ctl ca list --ca="$CA" --json=short | grep -o '"serial"' | wc -l; }

openssl genrsa -traditional -out "$ROOT/k.pem" 2048 2>/dev/null

# ---- issuance: c3 intent written, c4 signed, c5 stored, c6 reply built, c7 about to be sent
for point in ca.c3 ca.c4 ca.c5 ca.c6 ca.c7; do
	conf "${point#ca.}" 'CACertificateLifetime=730d'
	init
	cad_start "$point:1" || fail "$point: start"
	get GetCACert "$ROOT/$CA.der" || fail "$point: GetCACert"
	enrol "$ROOT/$CA.1" && fail "$point: was not killed"
	cad_died || fail "$point: ended otherwise"
	cad_start || fail "$point: start again"
	[ "$(issued)" = 1 ] || fail "$point: $(issued) certificates after the start"
	enrol "$ROOT/$CA.2" && enrol "$ROOT/$CA.3" && cmp -s "$ROOT/$CA.2" "$ROOT/$CA.3" || fail "$point: not the same certificate"
	[ "$(issued)" = 1 ] || fail "$point: $(issued) certificates for one request"
	cad_stop || fail "$point: stop"
	pass "killed at $point: one certificate"
done

# ---- rollover: key made, certificate stored
for point in ca.next.key ca.next.stored; do
	conf "${point//./-}" 'CACertificateLifetime=730d'
	init
	cad_start "$point:1" || fail "$point: start"
	get GetCACert "$ROOT/$CA.der" || fail "$point: GetCACert"
	ctl ca rollover --ca="$CA" >/dev/null 2>&1 && fail "$point: was not killed"
	cad_died || fail "$point: ended otherwise"
	cad_start || fail "$point: start again"
	get GetNextCACert "$ROOT/next" || ctl ca rollover --ca="$CA" >/dev/null || fail "$point: no rollover afterwards"
	get GetNextCACert "$ROOT/next" || fail "$point: GetNextCACert"
	openssl x509 -inform der -in "$ROOT/$CA.der" -out "$ROOT/$CA.pem"
	openssl cms -verify -inform der -in "$ROOT/next" -CAfile "$ROOT/$CA.pem" -purpose any -binary -out /dev/null 2>/dev/null || fail "$point: signature"
	cad_stop || fail "$point: stop"
	pass "killed at $point: one rollover CA"
done

# ---- cancel
conf cancel 'CACertificateLifetime=730d'
init
cad_start ca.cancel.removed:1 || fail "cancel: start"
ctl ca rollover --ca=cancel >/dev/null || fail "cancel: rollover"
ctl ca rollover --cancel --ca=cancel --yes=cancel >/dev/null 2>&1 && fail "cancel: was not killed"
cad_died || fail "cancel: ended otherwise"
cad_start || fail "cancel: start again"
get GetNextCACert "$ROOT/next" && fail "cancel: the rollover CA is still there"
ctl ca rollover --ca=cancel >/dev/null || fail "cancel: no new rollover CA can be made"
cad_stop || fail "cancel: stop"
pass "killed within a cancel: another rollover CA can be made"

# ---- the switch: the files are renamed, the key is not promoted
conf switch 'CACertificateLifetime=8s' 'CertificateLifetime=4s' 'CRLLifetime=60s' 'AutoRollover=5s'
init
cad_start ca.switch.renamed:1 || fail "switch: start"
get GetCACert "$ROOT/old.der" || fail "switch: GetCACert"
cad_died || fail "switch: ended otherwise"
cad_start || fail "switch: start again"
get GetCACert "$ROOT/switch.der" || fail "switch: GetCACert after"
cmp -s "$ROOT/old.der" "$ROOT/switch.der" && fail "switch: the old CA is still active"
enrol "$ROOT/switch.1" || fail "switch: the new CA does not issue"
openssl x509 -inform der -in "$ROOT/switch.der" -out "$ROOT/switch.pem"
openssl verify -CAfile "$ROOT/switch.pem" "$ROOT/switch.1" >/dev/null || fail "switch: the certificate is not the new CA's"
pass "killed within the switch: the new CA is active"
echo "$PASSED passed, 0 failed"

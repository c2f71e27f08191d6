#!/bin/bash
# Keys in a device: a TPM in software by the OpenSSL provider tpm2, one for the router and one for the CA, as two machines have. The contract of the
# key store, and what a record gives to whom; enrolment, RENEW and a CA rollover with every key in a TPM; the device gone and back; a key that was there before,
# with a password; what is no device.
set -u
here=${top_srcdir:-$(dirname "$0")/..}
# shellcheck source=tests/lib.sh
. "$here/tests/lib.sh"
# shellcheck source=tests/swtpm.sh
. "$here/tests/swtpm.sh"
for tool in swtpm swtpm_ioctl tpm2_flushcontext tpm2_evictcontrol; do
	command -v "$tool" >/dev/null || { echo "no $tool here"; exit 77; }
done
openssl list -providers -provider tpm2 -provider default >/dev/null 2>&1 || [ -e "$(openssl version -m | cut -d'"' -f2)/tpm2.so" ] ||
	{ echo "no provider tpm2 here"; exit 77; }
OTHER_TPM_PID='' # of the one that was started first, where there are two
others_stop() { SWTPM_PID=$OTHER_TPM_PID OTHER_TPM_PID=''; swtpm_stop; }
# shellcheck disable=SC2317 # the trap calls it
end() { stop_all; swtpm_stop; others_stop; cleanup; }
trap end EXIT
export TSS2_LOG=all+NONE # what a TPM refuses is said by who asked
CA_LIFE=70
D=$ROOT/var/lib/keyroll/delivered/token/current

tpm_use() { export TPM2OPENSSL_TCTI=swtpm:port=$1 TPM2TOOLS_TCTI=swtpm:port=$1; }
# The kernel's resource manager frees what a client leaves in the TPM; in front of swtpm there is none.
tpm_tidy() { tpm2_flushcontext --transient-object && tpm2_flushcontext --loaded-session; }

# at_level_token PROGRAM: all of it but the other levels, which have a run of their own.
at_level_token() {
	make -s -C "$BIN" "tests/$1" >"$ROOT/log/$1.log" 2>&1 || return 1
	KEYROLL_TOKEN_PROVIDER=tpm2 KEYROLL_BACKENDS=token KEYROLL_TOKEN_TIDY="tpm2_flushcontext -t && tpm2_flushcontext -l" top_builddir=$BIN \
		"$BIN/tests/$1" >"$ROOT/log/$1.log" 2>&1 || return 1
	grep -E '^ +(tests|asserts) ' "$ROOT/log/$1.log"
	bash "$here/tests/skipped.sh" "$1=$ROOT/log/$1.log"
}

test_contract() {
	swtpm_start "$ROOT/tpm-contract"; tpm_use "$TPM_PORT"
	at_level_token test_ks_contract || fail "the contract at level token"
	swtpm_stop
	pass "the key store's contract holds at level token"
}

test_guarantees() {
	local elsewhere
	[ "$(id -u)" = 0 ] || { echo "skipped: what a record gives to whom takes root"; return; }
	swtpm_start "$ROOT/tpm-elsewhere"
	OTHER_TPM_PID=$SWTPM_PID elsewhere=$TPM_PORT
	swtpm_start "$ROOT/tpm-guarantees"; tpm_use "$TPM_PORT"
	KEYROLL_TOKEN_ELSEWHERE=TPM2OPENSSL_TCTI=swtpm:port=$elsewhere at_level_token test_guarantees || fail "the guarantees at level token"
	swtpm_stop
	others_stop
	pass "a record in the keyring gives what the page says, and without its TPM nothing"
}

# What is asked for and not to be had stops the start, or the request, with its reason.
test_refused() { # WHAT KEYD.CONF WORDS
	printf '%s\n' "$2" >"$ROOT/etc/keyroll/keyd.conf"
	timeout 20 "$BIN/keyroll-keyd" --root="$ROOT" >"$ROOT/log/keyd.log" 2>&1 && fail "$1: the custodian starts"
	grep -q -- "$3" "$ROOT/log/keyd.log" || fail "$1: '$3' is not said"
}
test_no_device() {
	mkdir -p "$ROOT/etc/keyroll"
	test_refused "no provider" $'[Keyd]\nProtection=token' 'Protection=token is not to be had here: \[Token\] Provider= is not set'
	test_refused "an unknown provider" $'[Keyd]\nProtection=token\n[Token]\nProvider=nonesuch' 'the token of provider nonesuch does not open'
	tpm_use 1 # nobody listens
	(umask 022 && echo 1234 >"$ROOT/etc/keyroll/token.pin")
	test_refused "a PIN for everybody" $'[Keyd]\nProtection=token\n[Token]\nProvider=tpm2\nPINFile=/etc/keyroll/token.pin' \
		'token.pin may be read by others (mode 0644)'
	rm "$ROOT/etc/keyroll/token.pin"
	test_refused "a TPM that does not answer" $'[Keyd]\nProtection=token\n[Token]\nProvider=tpm2' 'the token of provider tpm2 does not open'
	pass "a level token that is not to be had stops the start, with the reason"
}

trustpoint() { # NAME LINES-OF-[Key]...
	local name=$1
	shift
	printf '[Trustpoint]\nEnrollmentURL=%s\nCAFingerprint=%s\nSubjectName=CN=%s\nRevocationCheck=none\n[Key]\nSize=2048\n' "$CA_URL" "$CA_PIN" "$name"
	printf '%s\n' "$@"
	printf '[AutoEnroll]\nPercent=60\nRetryPeriod=1s\n'
}

start_story() {
	swtpm_start "$ROOT/tpm-ca"; tpm_use "$TPM_PORT"
	OTHER_TPM_PID=$SWTPM_PID CA_PORT=$TPM_PORT
	init_ca TPMCA "$(ca_text TPMCA Protection=token "CACertificateLifetime=${CA_LIFE}s" CertificateLifetime=24s CRLLifetime=20s AutoRollover=30s \
		'[Token]' Provider=tpm2)"
	grep -q 'protection token, at rest token' "$ROOT/init.out" || fail "the CA's key: $(cat "$ROOT/init.out")"
	tpm_tidy # init's signer has ended
	run_ca TPMCA
	CA_ENDS=$(ctl ca status --json | jq -er '.ca.not_after | fromdateiso8601') || fail "ca status: $(ctl ca status --json)"
	swtpm_start "$ROOT/tpm-router"; tpm_use "$TPM_PORT"
	ROUTER_PORT=$TPM_PORT
	printf '[Token]\nProvider=tpm2\n' >"$ROOT/etc/keyroll/keyd.conf"
	mkdir -p "$ROOT/etc/keyroll/trustpoints"
	trustpoint token Protection=token >"$ROOT/etc/keyroll/trustpoints/token.conf"
	echo Regenerate=yes >>"$ROOT/etc/keyroll/trustpoints/token.conf"
	start_agent
	until_true 30 is_enrolled token || fail "not enrolled: $(ctl show token)"
	[ "$(fact token "$TP.protection + \" \" + $TP.at_rest")" = "token token" ] || fail "show: $(ctl show token --json)"
	delivered_pair_ok token || fail "what is delivered is no pair"
	key_signs || fail "the delivered key does not sign"
	[ -z "$(find "$ROOT/var/lib/keyroll" -name '*.p8')" ] || fail "a sealed private key was written"
	pass "router and CA have their keys in TPMs, the router is enrolled"
}

# The delivered key signs by its URI, in a program that knows nothing of TPMs.
key_signs() {
	openssl x509 -in "$D/cert.pem" -noout -pubkey >"$ROOT/pub.pem" &&
		OPENSSL_MODULES=$BIN/.libs openssl dgst -provider default -provider keyroll -sha256 "$@" \
			-sign "$(cat "$D/key.uri")&socket=$ROOT/run/keyroll/keyd.sock" -out "$ROOT/sig" "$ROOT/pub.pem" 2>"$ROOT/log/openssl.log" &&
		openssl dgst -sha256 -verify "$ROOT/pub.pem" "$@" -signature "$ROOT/sig" "$ROOT/pub.pem" >/dev/null
}

serial() { fact token "$TP.id.serial"; }
renewed() { [ "$(serial)" != "$first" ] && delivered_pair_ok token; }

test_gone() {
	key_signs -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest || fail "no PSS signature"
	if key_signs -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:20; then fail "a salt that the TPM does not make"; fi
	swtpm_stop
	if key_signs; then fail "a TPM that is gone signs"; fi
	grep -q 'the token .*does not open' "$ROOT/log/openssl.log" || fail "no clear word: $(cat "$ROOT/log/openssl.log")"
	swtpm_start "$ROOT/tpm-router" "$ROUTER_PORT"
	until_true 10 key_signs || fail "the TPM is back, the key is not: $(cat "$ROOT/log/openssl.log")"
	[ "$(grep -c STARTED "$ROOT/log/keyd.log")" = 1 ] || fail "the custodian was started anew"
	pass "a TPM that goes gives a clear error, one that comes back is used again at once"
}

test_rollover() {
	first=$(serial)
	until_true 40 renewed || fail "not renewed: $(ctl show token)"
	pass "RENEW with a new key in the TPM"
	until_true $((CA_ENDS - $(date +%s) + 30)) under_second_ca || fail "not under the second CA: $(ctl show token)"
	[ "$(fact token "$TP.protection")" = token ] && delivered_pair_ok token && key_signs || fail "the rolled-over key"
	ctl ca status --json | jq -e '.protection == "token" and .at_rest == "token"' >/dev/null || fail "ca status: $(ctl ca status --json)"
	pass "CA rollover: both next keys were made in TPMs and took over"
}
under_second_ca() {
	ctl show token --json | jq -e --argjson t "$CA_ENDS" "$TP"' | .status == "enrolled" and (.ca.not_before | fromdateiso8601) >= $t - 1' >/dev/null
}

ca_sha256() { openssl x509 -in "$D/ca.pem" -outform DER | sha256sum | cut -d' ' -f1; } # it rolled over
wrong_pins() { echo $(($(tpm2_getcap properties-variable | awk '$1 == "TPM2_PT_LOCKOUT_COUNTER:" { print $2 }'))); }
refused_often() { [ "$(grep -c 'make a key: the token refuses the key with the PIN' "$ROOT/log/keyrolld.log")" -ge 3 ]; }
machines_start() {
	tpm_use "$CA_PORT"; tpm_tidy
	run_ca TPMCA
	tpm_use "$ROUTER_PORT"
	start_agent
}

OWN=0x81000001
# own_make NAME [USES]: a key as a person makes it, with a password; own_put NAME: it lies at the handle, for good; own_away: nothing does.
own_make() {
	tpm2_create -C "$ROOT/primary" -G rsa2048 -u "$ROOT/$1.pub" -r "$ROOT/$1.priv" -p secret-word \
		-a "${2:-sign|decrypt}|fixedtpm|fixedparent|sensitivedataorigin|userwithauth" >/dev/null 2>&1 && tpm_tidy || fail "tpm2-tools make no key $1"
}
own_put() {
	tpm2_load -C "$ROOT/primary" -u "$ROOT/$1.pub" -r "$ROOT/$1.priv" -c "$ROOT/$1.ctx" >/dev/null 2>&1 &&
		tpm2_evictcontrol -C o -c "$ROOT/$1.ctx" $OWN >/dev/null 2>&1 && tpm_tidy || fail "tpm2-tools put no key $1 at $OWN"
}
own_away() { tpm2_evictcontrol -C o -c $OWN >/dev/null 2>&1 && tpm_tidy || fail "tpm2-tools do not take the key at $OWN away"; }

# A key that a person put there, with a password; the custodian is restarted to leave the TPM to the tools for a moment.
test_own_key() {
	local before
	stop_all
	tpm_tidy
	tpm2_createprimary -C o -g sha256 -G rsa2048 -c "$ROOT/primary" >/dev/null 2>&1 || fail "tpm2-tools make no primary key"
	own_make own
	own_put own
	CA_PIN=sha256:$(ca_sha256)
	before=$(wrong_pins)
	(umask 077 && echo wrong-word >"$ROOT/etc/keyroll/token.pin")
	printf '[Token]\nProvider=tpm2\nPINFile=/etc/keyroll/token.pin\n' >"$ROOT/etc/keyroll/keyd.conf"
	trustpoint own Protection=token 'TokenURI=handle:0x81000001?pass' >"$ROOT/etc/keyroll/trustpoints/own.conf"
	machines_start
	until_true 30 refused_often || fail "a wrong PIN is not told"
	stop_all
	tpm_tidy
	[ "$(wrong_pins)" = $((before + 1)) ] || fail "the TPM was given a wrong PIN more than once: $before, then $(wrong_pins)"
	pass "a wrong PIN is tried once, however often it is asked for"
	(umask 077 && echo secret-word >"$ROOT/etc/keyroll/token.pin")
	machines_start
	until_true 30 is_enrolled own || fail "not enrolled with the key of TokenURI=: $(ctl show own)"
	D=$ROOT/var/lib/keyroll/delivered/own/current
	delivered_pair_ok own && key_signs || fail "the key of TokenURI= does not sign"
	pass "a key that was in the TPM before is used by its URI and password"
}

# The custodian alone, with the router's TPM as it is now, and a log of this start. Its session has no user keyring, as a unit's with KeyringMode=private:
# what it does not link itself, it does not have.
keyd_start() {
	tpm_use "$ROUTER_PORT"
	rm -f "$ROOT/run/keyroll/keyd.sock" "$ROOT/log/keyd.log"
	supervise keyd keyctl session - "$BIN/keyroll-keyd" --root="$ROOT"
	until_true 20 test -S "$ROOT/run/keyroll/keyd.sock" || fail "the custodian does not listen"
}
keyd_stop() { stop_all; tpm_tidy; }
said_of_own() { grep -q -- "key own: $1" "$ROOT/log/keyd.log"; }

# At the start each key in the TPM is tried, and what is wrong with one is told before anybody asks for it.
test_start_tries() {
	keyd_stop
	own_away
	keyd_start
	until_true 20 said_of_own 'the token does not find the key' || fail "a key that is gone is not told of at the start"
	keyd_stop
	own_make another
	own_put another
	keyd_start
	until_true 20 said_of_own 'the signature is wrong, and withheld' || fail "another key in its place is not told of at the start"
	keyd_stop
	own_away
	own_put own
	keyd_start
	key_signs || fail "the key is back, and does not sign: $(cat "$ROOT/log/openssl.log")"
	if said_of_own ''; then fail "something is said of a key that is in order"; fi # its test came before what was asked
	pass "at the start each key in the TPM is tried, and one that is gone or another's is told of"
}

key_refused() { grep -q "KEY_REFUSED: key $1" "$ROOT/log/keyd.log"; }

# A key that signs and does not decrypt would enrol, and fail at the CA's answer: it is told of at the start, and not taken for a new trustpoint.
SIGNS_ONLY='the token does not decrypt what was encrypted to its key'
test_signs_only() {
	keyd_stop
	own_away
	own_make signer sign
	own_put signer
	trustpoint signer Protection=token "TokenURI=handle:$OWN?pass" >"$ROOT/etc/keyroll/trustpoints/signer.conf"
	machines_start
	until_true 30 key_refused "signer is not made: $SIGNS_ONLY" || fail "a key that does not decrypt is taken: $(ctl show signer)"
	[ -z "$(find "$ROOT/var/lib/keyroll/keyd" -name 'signer.*')" ] || fail "something was kept of the key that does not decrypt"
	rm "$ROOT/etc/keyroll/trustpoints/signer.conf"
	pass "a key that signs and does not decrypt is not taken"
}

# A provider that would hand the key out, and a file, are no device: the trustpoint is told, nothing is made.
test_no_token() {
	printf '[Token]\nProvider=default\n' >"$ROOT/etc/keyroll/keyd.conf"
	trustpoint soft Protection=token >"$ROOT/etc/keyroll/trustpoints/soft.conf"
	trustpoint file Protection=token TokenURI=file:/etc/keyroll/key.pem >"$ROOT/etc/keyroll/trustpoints/file.conf"
	stop_all
	machines_start
	until_true 20 key_refused 'soft is not made: provider default gives the private key out' || fail "a software provider is taken for a token"
	until_true 20 key_refused 'file is not made: TokenURI=file:/etc/keyroll/key.pem: the URI of a key in a device is wanted' ||
		fail "a file is taken for a token"
	[ -z "$(find "$ROOT/var/lib/keyroll/keyd" -name 'soft.*' -o -name 'file.*')" ] || fail "something was kept"
	pass "a provider that gives keys out, and a file, are no token"
}

# A TPM that takes requests and never answers. What does not need it goes on, from the start on; it is told of, and used again when it answers.
hang_is_told() {
	ctl reload
	until_true 4 grep -q 'KEY_LEVEL: .*the token of provider tpm2 has not answered for [0-9]* s.*trustpoint=hung' "$ROOT/log/keyrolld.log"
}
comes_back() { ctl reload; until_true 4 is_enrolled hung; }
not_running() { ! kill -0 "$1"; }
test_hangs() {
	local pid
	stop_all
	tpm_tidy
	rm "$ROOT"/etc/keyroll/trustpoints/*.conf
	printf '[Token]\nProvider=tpm2\n' >"$ROOT/etc/keyroll/keyd.conf"
	trustpoint plain >"$ROOT/etc/keyroll/trustpoints/plain.conf"
	trustpoint hung Protection=token >"$ROOT/etc/keyroll/trustpoints/hung.conf"
	tpm_use "$CA_PORT"; tpm_tidy
	run_ca TPMCA
	tpm_use "$ROUTER_PORT"
	kill -STOP "$SWTPM_PID"
	start_agent
	until_true 60 is_enrolled plain || fail "a token that hangs holds up another level: $(ctl show plain)"
	D=$ROOT/var/lib/keyroll/delivered/plain/current
	key_signs || fail "a token that hangs holds up another level's key: $(cat "$ROOT/log/openssl.log")"
	until_true 40 hang_is_told || fail "a token that hangs is not told of: $(grep KEY_LEVEL "$ROOT/log/keyrolld.log" | tail -n 1)"
	is_enrolled hung && fail "enrolled with a token that hangs"
	pass "a token that hangs holds up no other level, and is told of"
	kill -CONT "$SWTPM_PID"
	until_true 40 comes_back || fail "the token answers again, but is not used: $(ctl show hung)"
	D=$ROOT/var/lib/keyroll/delivered/hung/current
	key_signs || fail "the token's key: $(cat "$ROOT/log/openssl.log")"
	pid=$(cat "$ROOT/pid/keyd")
	kill -STOP "$SWTPM_PID"
	kill "$pid" # the key is loaded, and the token is told to forget it
	until_true 10 not_running "$pid" || fail "the custodian waits for an idle token for ever"
	kill -CONT "$SWTPM_PID"
	until_true 40 comes_back && until_true 10 key_signs || fail "the token's key after that: $(cat "$ROOT/log/openssl.log")"
	kill -STOP "$SWTPM_PID"
	if key_signs; then fail "a token that hangs signs"; fi
	grep -q 'did not answer within 2000 ms' "$ROOT/log/openssl.log" || fail "no clear word: $(cat "$ROOT/log/openssl.log")"
	pid=$(cat "$ROOT/pid/keyd")
	kill "$pid"
	until_true 10 not_running "$pid" || fail "the custodian waits for the token for ever"
	grep -q 'the token does not answer, and its end is not waited for' "$ROOT/log/keyd.log" || fail "it does not say what held it up"
	kill -CONT "$SWTPM_PID"
	pass "one that answers again is used again; the custodian's end does not wait for one that hangs"
}

test_contract
test_guarantees
test_no_device
start_story
test_gone
test_rollover
test_own_key
test_start_tries
test_signs_only
test_no_token
test_hangs
echo "$PASSED passed, 0 failed"

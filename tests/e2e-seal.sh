#!/bin/bash
# Keys at rest: the machine's secret sealed by a TPM (in software) and by the host's key, foreign, damaged, replaced under kill.
set -u
here=${top_srcdir:-$(dirname "$0")/..}
# shellcheck source=tests/lib.sh
. "$here/tests/lib.sh"
# shellcheck source=tests/swtpm.sh
. "$here/tests/swtpm.sh"
[ "$(id -u)" = 0 ] || { echo "systemd-creds wants root"; exit 77; }
for tool in systemd-creds swtpm swtpm_ioctl tpm2_flushcontext; do
	command -v "$tool" >/dev/null || { echo "no $tool here"; exit 77; }
done
KEYD_PID=''
trap '[ -z "$KEYD_PID" ] || keyd_stop; swtpm_stop; cleanup' EXIT
STORE=$ROOT/etc/credstore.encrypted/keyroll-keyd
KEYD_STATE=$ROOT/var/lib/keyroll/keyd
export SYSTEMD_CREDENTIAL_SECRET=$ROOT/credential.secret # the host's key of this test
tpm_on() { export SYSTEMD_TPM2_DEVICE=swtpm:port=$TPM_PORT; }
tpm_off() { export SYSTEMD_TPM2_DEVICE=device:$ROOT/no-tpm; }

# The kernel's resource manager frees what a client leaves in the TPM; systemd 252 leaves its sessions there, and swtpm has no manager.
manager_put() {
	local real
	real=$(command -v systemd-creds)
	mkdir -p "$ROOT/manager"
	cat >"$ROOT/manager/systemd-creds" <<-MANAGER
		#!/bin/sh
		"$real" "\$@"
		status=\$?
		case \$SYSTEMD_TPM2_DEVICE in swtpm:*)
			for what in --transient-object --loaded-session; do tpm2_flushcontext -T "\$SYSTEMD_TPM2_DEVICE" "\$what" >/dev/null 2>&1; done ;;
		esac
		exit \$status
	MANAGER
	chmod +x "$ROOT/manager/systemd-creds"
	export PATH=$ROOT/manager:$PATH
}

seal() { sh "$here/systemd/keyroll-seal" --root="$ROOT" "$@" keyd >"$ROOT/seal.out" 2>&1; }
unsealed() { systemd-creds decrypt --name=machine-secret "$STORE" - 2>/dev/null; }
secret() { unsealed | head -c 32 | sha256sum; }
word() { unsealed | tail -c 4 | tr -d '\0'; }

# What the service manager does: the unsealed credential in a folder that the custodian is told of.
credentials_give() {
	mkdir -p "$ROOT/credentials"
	rm -f "$ROOT/credentials/machine-secret"
	(umask 077 && unsealed >"$ROOT/credentials/machine-secret")
}
keyd_start() {
	CREDENTIALS_DIRECTORY=$ROOT/credentials "$BIN/keyroll-keyd" --root="$ROOT" >>"$ROOT/log/keyd.log" 2>&1 </dev/null &
	KEYD_PID=$!
	until_true 20 grep -q "at rest" "$ROOT/log/keyd.log" || fail "the custodian does not start"
}
keyd_stop() {
	kill "$KEYD_PID" && wait "$KEYD_PID"
	KEYD_PID=''
	mv "$ROOT/log/keyd.log" "$ROOT/keyd.last"
}
keyd_says() { grep -q -- "$1" "$ROOT/log/keyd.log" || fail "the custodian does not say: $1"; }
# A reboot empties the keyrings.
reboot() { rings_purge "$KEYD_STATE"; }
sealed_keys() { find "$KEYD_STATE" -name '*.p8' | wc -l; }

test_tpm() {
	swtpm_start "$ROOT/tpm-a"; tpm_on
	seal || fail "sealing: $(cat "$ROOT/seal.out")"
	[ "$(word)" = tpm2 ] || fail "sealed by: $(word)"
	[ -z "$(find "$ROOT/etc" -name '*.new')" ] || fail "a temporary file stays behind"
	before=$(secret)
	seal && [ "$(secret)" = "$before" ] || fail "a second start makes another secret"
	[ ! -e "$SYSTEMD_CREDENTIAL_SECRET" ] || fail "the host's key was used"
	pass "a secret is sealed by the TPM, once"
}

test_story_by_tpm() {
	credentials_give
	start_ca SEALCA "[CA]
IssuerName=CN=SealCA,O=Example
Listen=127.0.0.1:0
Grant=auto
GrantRenewals=yes
KeySize=2048
Clock=assume-valid"
	trustpoint_file seal
	printf '[Agent]\nClock=assume-valid\n' >"$ROOT/etc/keyroll/keyrolld.conf"
	keyd_start; keyd_says "at rest tpm2"
	supervise keyrolld "$BIN/keyrolld" --root="$ROOT"
	until_true 30 is_enrolled seal || fail "not enrolled"
	[ "$(fact seal "$TP.at_rest")" = tpm2 ] || fail "pkictl says at rest $(fact seal "$TP.at_rest")"
	pass "the custodian and pkictl say tpm2"
	keyd_stop; reboot; keyd_start
	key_signs seal || fail "the key does not come back after a reboot"
	pass "the key is restored from under the TPM's seal after a reboot"
}

# Another state is another machine's TPM: the file cannot be opened, nothing is lost, and the first machine opens it again.
test_foreign_tpm() {
	local keys file_before
	keys=$(sealed_keys)
	file_before=$(sha256sum "$STORE")
	swtpm_stop; swtpm_start "$ROOT/tpm-b"; tpm_on
	if seal; then fail "another machine's TPM opens the secret"; fi
	grep -q "cannot be opened" "$ROOT/seal.out" && grep -q "Do: bring back" "$ROOT/seal.out" || fail "no clear word: $(cat "$ROOT/seal.out")"
	[ "$(sha256sum "$STORE")" = "$file_before" ] && [ "$(sealed_keys)" = "$keys" ] && [ "$keys" -gt 0 ] || fail "something was lost"
	if seal --again; then fail "what cannot be opened is replaced"; fi
	[ "$(sha256sum "$STORE")" = "$file_before" ] || fail "the file was replaced"
	swtpm_stop; swtpm_start "$ROOT/tpm-a"; tpm_on
	seal && [ "$(secret)" = "$before" ] || fail "the first TPM does not open it any more"
	pass "another TPM cannot open it, the message says what to do, nothing is lost"
}

# Under another secret the custodian serves on, keeps the keys and says so; with the right one they are there again.
test_foreign_secret() {
	local keys
	keys=$(sealed_keys)
	keyd_stop; reboot
	mkdir -p "$ROOT/other/etc"
	sh "$here/systemd/keyroll-seal" --root="$ROOT/other" keyd 2>/dev/null || fail "sealing another secret"
	rm "$ROOT/credentials/machine-secret"
	(umask 077 && systemd-creds decrypt --name=machine-secret "$ROOT/other/etc/credstore.encrypted/keyroll-keyd" - 2>/dev/null \
		>"$ROOT/credentials/machine-secret")
	keyd_start; keyd_says "bring that secret back"
	if key_signs seal; then fail "a key under a foreign secret signs"; fi
	[ "$(sealed_keys)" = "$keys" ] || fail "sealed keys were lost"
	keyd_stop; credentials_give; keyd_start
	key_signs seal || fail "the key is not back with its secret"
	pass "a foreign secret loses no key"
}

test_damaged() {
	cp "$STORE" "$ROOT/kept"
	head -c 100 "$ROOT/kept" >"$STORE"
	if seal; then fail "half a file is accepted"; fi
	grep -q "cannot be opened" "$ROOT/seal.out" || fail "no clear word: $(cat "$ROOT/seal.out")"
	cp "$ROOT/kept" "$STORE"
	seal || fail "the whole file is refused"
	keyd_stop
	rm "$ROOT/credentials/machine-secret"
	(umask 077 && printf 'too short' >"$ROOT/credentials/machine-secret")
	if CREDENTIALS_DIRECTORY=$ROOT/credentials timeout 20 "$BIN/keyroll-keyd" --root="$ROOT" >"$ROOT/log/keyd.log" 2>&1; then
		fail "a damaged secret is taken"
	fi
	keyd_says "no machine secret"
	credentials_give; keyd_start
	key_signs seal || fail "the key is not back"
	pass "a damaged file and a damaged secret are refused with a word, nothing is lost"
}

# Programs that the script calls kill it at the n-th call, before or after their work: whatever n, the store opens to the same secret.
test_kill() {
	local n=0 tool real when status
	mkdir -p "$ROOT/shim"
	for tool in systemd-creds head tail wc cat sync mv sha256sum flock rm; do
		real=$(command -v "$tool")
		cat >"$ROOT/shim/$tool" <<-SHIM
			#!/bin/bash
			exec 8>>"$ROOT/calls" && flock 8 && echo >&8 && n=\$(wc -l <"$ROOT/calls") && exec 8>&-
			[ "\$n" = "\$KILL_AT" ] && [ "\$KILL_WHEN" = before ] && kill -KILL "\$(cat "$ROOT/victim")"
			"$real" "\$@"
			status=\$?
			[ "\$n" = "\$KILL_AT" ] && [ "\$KILL_WHEN" = after ] && kill -KILL "\$(cat "$ROOT/victim")"
			exit \$status
		SHIM
		sed -i "s,flock 8,$(command -v flock) 8,; s,wc -l,$(command -v wc) -l,
			s,cat \"$ROOT/victim,$(command -v cat) \"$ROOT/victim,g" "$ROOT/shim/$tool"
		chmod +x "$ROOT/shim/$tool"
	done
	for when in before after; do
		n=0
		while :; do
			n=$((n + 1))
			rm -f "$ROOT/calls"
			# shellcheck disable=SC2016 # for the shell that becomes the victim
			KILL_AT=$n KILL_WHEN=$when sh -c 'echo $$ >"$1/victim"; PATH=$1/shim:$PATH exec sh "$2" --root="$1" --again keyd' _ "$ROOT" \
				"$here/systemd/keyroll-seal" >"$ROOT/seal.out" 2>&1
			status=$?
			flock "$ROOT/etc/credstore.encrypted" true # what it had started has the lock too, and ends of itself
			[ "$(secret)" = "$before" ] && [ "$(word)" = tpm2 ] || fail "killed $when call $n: the secret is gone"
			[ $status = 0 ] && [ "$(wc -l <"$ROOT/calls")" -lt $n ] && break
			[ $n -lt 200 ] || fail "the script never ends"
		done
		[ $n -gt 10 ] || fail "only $n points"
		echo "killed $when each of $((n - 1)) calls"
	done
	seal --again && [ -z "$(find "$ROOT/etc" -name '*.new')" ] || fail "a temporary file stays behind"
	pass "killed anywhere in a replacement, the file is old or new"
}

test_host_key() {
	tpm_off
	mv "$STORE" "$ROOT/kept"
	seal || fail "no TPM: $(cat "$ROOT/seal.out")"
	[ "$(word)" = host ] && [ -e "$SYSTEMD_CREDENTIAL_SECRET" ] || fail "sealed by: $(word)"
	grep -q 'sealed: host' "$ROOT/seal.out" || fail "not said: $(cat "$ROOT/seal.out")"
	before=$(secret)
	tpm_on
	seal --again && [ "$(word)" = tpm2 ] && [ "$(secret)" = "$before" ] || fail "a TPM that came later is not used"
	tpm_off
	mv "$STORE" "$ROOT/by-tpm"
	seal || fail "no TPM, the second time"
	keyd_stop; reboot; rm -rf "$KEYD_STATE"; credentials_give; keyd_start; keyd_says "at rest host"
	pass "without a TPM it is the host's key, and the custodian says so"
}

# creds_bad HOW KEYS: from now on systemd-creds encrypts badly with those keys and says that it is done. HOW: damaged, or other: another secret.
creds_bad() {
	local real
	real=$(command -v systemd-creds)
	mkdir -p "$ROOT/bad"
	cat >"$ROOT/bad/systemd-creds" <<-BAD
		#!/bin/bash
		for last; do case " $2 " in *" \${last#--with-key=} "*) bad=\$1 word=\${last#--with-key=} ;; esac; done
		[ "\$bad" = encrypt ] || exec "$real" "\$@"
		cat >/dev/null
		case $1 in
		damaged) echo nothing that opens >"\$last" ;;
		other) { head -c 32 /dev/zero; printf %s "\$word"; } | "$real" "\$@" ;;
		esac
	BAD
	chmod +x "$ROOT/bad/systemd-creds"
}
seal_badly() { PATH=$ROOT/bad:$PATH seal "$@"; }

# What was sealed is opened before it takes the old one's place, and must be the secret that it was.
test_bad_seal() {
	local file_before
	file_before=$(sha256sum "$STORE")
	before=$(secret)
	creds_bad other "tpm2 host"
	if seal_badly --again; then fail "another secret takes the place of the present one"; fi
	grep -q 'is not the present secret' "$ROOT/seal.out" || fail "another secret: $(cat "$ROOT/seal.out")"
	[ "$(sha256sum "$STORE")" = "$file_before" ] || fail "another secret: the file was replaced"
	creds_bad damaged "tpm2 host"
	if seal_badly --again; then fail "what does not open takes the place of the secret"; fi
	grep -q 'cannot seal: what was sealed does not open again' "$ROOT/seal.out" || fail "damaged: $(cat "$ROOT/seal.out")"
	[ "$(sha256sum "$STORE")" = "$file_before" ] && [ -z "$(find "$ROOT/etc" -name '*.new')" ] || fail "damaged: the file was replaced"
	creds_bad damaged tpm2
	seal_badly --again && [ "$(word)" = host ] && [ "$(secret)" = "$before" ] || fail "a TPM that seals badly: $(cat "$ROOT/seal.out")"
	grep -q 'not by a TPM: what was sealed does not open again' "$ROOT/seal.out" || fail "a TPM that seals badly: $(cat "$ROOT/seal.out")"
	seal --again && [ "$(word)" = tpm2 ] && [ "$(secret)" = "$before" ] || fail "the TPM, when it is well again: $(cat "$ROOT/seal.out")"
	pass "what does not open again, or is another secret, replaces nothing"
}

mkdir -p "$ROOT/etc" "$ROOT/log"
manager_put
test_tpm
test_story_by_tpm
test_foreign_tpm
test_foreign_secret
test_damaged
test_kill
test_bad_seal
test_host_key
keyd_stop
echo "$PASSED passed, 0 failed"

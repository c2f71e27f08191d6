#!/bin/bash
# What custodian, agent and keyroll-seal put on disk is old or new after a power cut, never half: by their system calls.
set -u
here=${top_srcdir:-$(dirname "$0")/..}
# shellcheck source=tests/lib.sh
. "$here/tests/lib.sh"
[ "$(id -u)" = 0 ] || { echo "systemd-creds wants root, and so does the trace of a custodian"; exit 77; }
for tool in strace systemd-creds python3; do
	command -v "$tool" >/dev/null || { echo "no $tool here"; exit 77; }
done
STRACE=(strace -f -y -s 0 -e "trace=openat,write,pwrite64,writev,ftruncate,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,sendto,sendmsg")

# traced NAME COMMAND...: becomes the command, which keeps its process; the trace is $ROOT/trace/NAME
traced() { exec "${STRACE[@]}" -D -o "$ROOT/trace/$1" "${@:2}"; }
# whole NAME PID: that trace has its last line
whole() { grep -q "^$2 *+++ exited" "$ROOT/trace/$1"; }
# durable NAME FOLDER PATTERN...: as durable.py, below $ROOT
durable() { python3 "$here/tests/durable.py" "$ROOT/trace/$1" "$ROOT/$2" "${@:3}" >"$ROOT/durable.out"; }

# The checker says no to each way that is not the whole one.
test_twins() {
	local n=0 wanted commands status
	mkdir -p "$ROOT/twin"
	export TELLING=$ROOT/telling.py
	cat >"$TELLING" <<-'PYTHON'
		import os, socket
		ours, theirs = socket.socketpair()
		os.rename(os.path.abspath("temp"), os.path.abspath("file"))
		ours.send(b"done")
	PYTHON
	while IFS='|' read -r wanted commands; do
		echo old >"$ROOT/twin/file"
		echo new >"$ROOT/new"
		n=$((n + 1))
		(cd "$ROOT/twin" && "${STRACE[@]}" -o "$ROOT/trace/twin$n" sh -ec "$commands") || fail "cannot trace: $commands"
		durable "twin$n" twin file
		status=$?
		[ "$status" = "$([ -z "$wanted" ]; echo $?)" ] && grep -q "$wanted" "$ROOT/durable.out" || fail "$commands: $status, $(cat "$ROOT/durable.out")"
	done <<-'TWINS'
		|cp ../new temp; sync temp; mv temp file; sync .
		renamed before it was synced|cp ../new temp; mv temp file
		renamed before it was synced|cp ../new temp; mv temp file; sync file .
		renamed before it was synced|cp ../new temp; sync temp; echo more >>temp; mv temp file; sync .
		its folder is not synced$|cp ../new temp; sync temp; mv temp file
		its folder is not synced$|cp ../new temp; sync temp .; mv temp file
		its folder is not synced before the next rename|cp ../new ../one; cp ../new ../two; sync ../one ../two; mv ../one ../two .; sync .
		its folder is not synced before somebody is told|cp ../new temp; sync temp; python3 "$TELLING"; sync .
		written under its own name|cp ../new file; sync file .
		no such file has come|cp ../new temp; sync temp; mv temp other; sync .
	TWINS
	pass "a plain cp and mv is refused, and each other way that leaves half"
}

serial() { fact durable "$TP.id.serial"; }
renewed() { is_enrolled durable && [ "$(serial)" != "$first" ] && grep -q KEY_PROMOTED "$ROOT/log/keyd.log"; }

# Enrolment and renewal: a second key is stored, promoted and delivered over the first.
test_daemons() {
	local keyd agent
	start_ca DURABLECA "$(ca_text DurableCA)"
	trustpoint_file durable
	printf '[Agent]\nClock=assume-valid\n' >"$ROOT/etc/keyroll/keyrolld.conf"
	supervise keyd traced keyd "$BIN/keyroll-keyd" --root="$ROOT"
	until_true 20 test -S "$ROOT/run/keyroll/keyd.sock" || fail "the custodian does not listen"
	supervise keyrolld traced keyrolld "$BIN/keyrolld" --root="$ROOT"
	until_true 30 is_enrolled durable || fail "not enrolled"
	first=$(serial)
	ctl renew durable >/dev/null || [ $? = 5 ] || fail "renew"
	until_true 30 renewed || fail "not renewed"
	keyd=$(cat "$ROOT/pid/keyd") agent=$(cat "$ROOT/pid/keyrolld")
	stop_all
	until_true 10 whole keyd "$keyd" || fail "the custodian's trace has no end"
	until_true 10 whole keyrolld "$agent" || fail "the agent's trace has no end"
	durable keyd var/lib/keyroll keyd/durable.keys 'keyd/durable.*.p8' keyd/machine-secret || fail "the custodian: $(cat "$ROOT/durable.out")"
	durable keyrolld var/lib/keyroll agent/durable/state delivered/durable/gen-2 delivered/durable/current || fail "the agent: $(cat "$ROOT/durable.out")"
	pass "sealed keys and their table, state and what is delivered"
}

test_seal() {
	local again
	export SYSTEMD_CREDENTIAL_SECRET=$ROOT/credential.secret SYSTEMD_TPM2_DEVICE=device:$ROOT/no-tpm
	for again in '' --again; do
		"${STRACE[@]}" -o "$ROOT/trace/seal$again" sh "$here/systemd/keyroll-seal" --root="$ROOT" $again keyd >"$ROOT/seal.out" 2>&1 ||
			fail "sealing: $(cat "$ROOT/seal.out")"
		durable "seal$again" etc/credstore.encrypted keyroll-keyd || fail "keyroll-seal $again: $(cat "$ROOT/durable.out")"
	done
	pass "the sealed credential, new and again"
}

mkdir -p "$ROOT/trace" "$ROOT/log" "$ROOT/etc"
test_twins
test_daemons
test_seal
echo "$PASSED passed, 0 failed"

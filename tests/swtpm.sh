# shellcheck shell=bash
# A TPM 2.0 in software on loopback. Sourced, after tests/lib.sh.
SWTPM_PID=''

swtpm_answers() { kill -0 "$SWTPM_PID" && swtpm_ioctl --tcp "127.0.0.1:$((TPM_PORT + 1))" -g; }

# swtpm_start STATE-FOLDER [PORT]: the TPM whose state lies there. Sets TPM_PORT; the control channel is the next port, which libtss2 takes for granted.
swtpm_start() {
	local try
	mkdir -p "$1" "$ROOT/log"
	for try in 1 2 3 4 5 6 7 8; do
		TPM_PORT=${2:-$((20000 + (RANDOM % 5000) * 2))}
		swtpm socket --tpm2 --tpmstate "dir=$1" --server "type=tcp,port=$TPM_PORT,bindaddr=127.0.0.1" \
			--ctrl "type=tcp,port=$((TPM_PORT + 1)),bindaddr=127.0.0.1" --flags not-need-init,startup-clear >>"$ROOT/log/swtpm.log" 2>&1 &
		SWTPM_PID=$!
		until_true 3 swtpm_answers && return 0
		swtpm_stop # the port was somebody else's
	done
	fail "swtpm does not start ($try tries)"
}

swtpm_stop() {
	[ -n "$SWTPM_PID" ] || return 0
	kill "$SWTPM_PID" 2>/dev/null
	kill -CONT "$SWTPM_PID" 2>/dev/null # a test may have stopped it
	wait "$SWTPM_PID" 2>/dev/null
	SWTPM_PID=''
}

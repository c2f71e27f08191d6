#!/bin/bash
# tests/bench.sh [SECONDS [BITS...]]: private operations a second through the whole path (provider, socket, custodian), by level and key size, beside
# `openssl speed` of the same sizes in the same run. Each figure is measured for SECONDS (default 3); fails when one is missing or zero.
# Level token is a TPM in software, where swtpm and its provider are there: what a real one does in its own time, the same way.
# BENCH_SIGN names a built tests/bench_sign where nothing can be built; NEED_KERNEL=1: level kernel must be there; NOTHING_SKIPPED=1: level token.
set -eu
export LC_ALL=C top_builddir=${top_builddir:-build}
seconds=${1:-3}
shift || true
[ $# -gt 0 ] || set -- 2048 3072 4096
sizes=("$@")
whole=$(awk -v s="$seconds" 'BEGIN { print s < 1 ? 1 : int(s) }') # openssl knows whole seconds only
cores=$(nproc)
work=$(mktemp -d)
here=${BASH_SOURCE[0]%/*}
# shellcheck disable=SC2317 # the trap calls it
end() {
	set +e
	[ -z "${SWTPM_PID:-}" ] || swtpm_stop
	[ -z "${ROOT:-}" ] || cleanup
	rm -rf "$work"
}
trap end EXIT

token_start() {
	[ -z "${BENCH_SIGN:-}" ] || return 0
	if ! command -v swtpm >/dev/null || ! command -v swtpm_ioctl >/dev/null || [ ! -e "$(openssl version -m | cut -d '"' -f 2)/tpm2.so" ]; then
		[ -z "${NOTHING_SKIPPED:-}" ] || { echo "no TPM in software here, with its provider"; exit 77; }
		return 0
	fi
	set +e
	# shellcheck source=tests/lib.sh
	. "$here/lib.sh"
	# shellcheck source=tests/swtpm.sh
	. "$here/swtpm.sh"
	trap end EXIT
	swtpm_start "$ROOT/tpm"
	set -e
	export KEYROLL_TOKEN_PROVIDER=tpm2 TPM2OPENSSL_TCTI=swtpm:port=$TPM_PORT TSS2_LOG=all+NONE
}

# speed CLIENTS: lines "BITS CLIENTS SIGNATURES-A-SECOND"
speed() {
	local multi=()

	[ "$1" = 1 ] || multi=(-multi "$1")
	openssl speed -seconds "$whole" "${multi[@]}" "${sizes[@]/#/rsa}" 2>/dev/null | awk -v n="$1" '/^rsa/ { print $2, n, $6 }'
}
[ -n "${BENCH_SIGN:-}" ] || make -s -C "$top_builddir" keyroll-keyd tests/bench_sign
speed 1 >"$work/openssl"
[ "$cores" = 1 ] || speed "$cores" >>"$work/openssl"
token_start
"${BENCH_SIGN:-$top_builddir/tests/bench_sign}" "$seconds" "${sizes[@]}" >"$work/keyroll" 2>"$work/log" || { cat "$work/keyroll" "$work/log"; exit 1; }

sed -n '/^# /{s//not to be had: /p;s/.*had: kernel 2048: .*/Do: .\/run vm bench, which measures it in an emulated machine/p}' "$work/keyroll"
echo "$(uname -sr), $(openssl version | cut -d ' ' -f 1,2), $cores cores, $seconds s for each figure; a ratio of 1 is openssl speed's own"
awk -v cores="$cores" -v sizes="${#sizes[@]}" -v need="${NEED_KERNEL:-0}" -v token="${KEYROLL_TOKEN_PROVIDER:-${NOTHING_SKIPPED:-}}" '
	BEGIN { printf "%-8s %-11s %5s %-9s %7s %10s %10s %6s\n", "LEVEL", "KEEPPARSED", "BITS", "OPERATION", "CLIENTS", "OPS/S", "OPENSSL/S", "RATIO" }
	FNR == NR { raw[$1, $2] = $3; next }
	/^# token [0-9]+: the token makes no key of / { unmade++ } # few devices make them all
	/^#/ { next }
	{
		base = raw[$3, $5]
		if (!($6 > 0) || !(base > 0)) { print "no figure for: " $0; bad = 1; next }
		printf "%-8s %-11s %5d %-9s %7d %10.1f %10.1f %6.2f\n", $1, $2, $3, $4, $5, $6, base, $6 / base
		n[$1 " " $2]++
	}
	END {
		runs = cores > 1 ? 2 : 1
		want = (sizes + 2) * runs # each size signed, PSS and decryption of the first
		if (n["keyring no"] != want || n["keyring yes"] != want || ((need || ("kernel no" in n)) && n["kernel no"] != want) ||
		    (token != "" && n["token no"] != want - unmade * runs)) {
			print "figures are missing"
			bad = 1
		}
		exit bad
	}' "$work/openssl" "$work/keyroll"

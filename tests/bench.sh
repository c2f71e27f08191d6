#!/bin/bash
# tests/bench.sh [SECONDS]: private operations a second through the whole path (provider, socket, custodian), by level and key size, beside
# `openssl speed` of the same sizes in the same run. Each figure is measured for SECONDS (default 3); fails when one is missing or zero.
set -eu
export LC_ALL=C top_builddir=${top_builddir:-build}
seconds=${1:-3}
whole=$(awk -v s="$seconds" 'BEGIN { print s < 1 ? 1 : int(s) }') # openssl knows whole seconds only
cores=$(nproc)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# speed CLIENTS: lines "BITS CLIENTS SIGNATURES-A-SECOND"
speed() {
	local multi=()

	[ "$1" = 1 ] || multi=(-multi "$1")
	openssl speed -seconds "$whole" "${multi[@]}" rsa2048 rsa3072 rsa4096 2>/dev/null | awk -v n="$1" '/^rsa/ { print $2, n, $6 }'
}
make -s -C "$top_builddir" keyroll-keyd tests/bench_sign
speed 1 >"$work/openssl"
[ "$cores" = 1 ] || speed "$cores" >>"$work/openssl"
"$top_builddir/tests/bench_sign" "$seconds" >"$work/keyroll" || { cat "$work/keyroll"; exit 1; }

sed -n 's/^# /not to be had: /p' "$work/keyroll"
echo "$(uname -sr), $(openssl version | cut -d ' ' -f 1,2), $cores cores, $seconds s for each figure; a ratio of 1 is openssl speed's own"
awk -v cores="$cores" '
	BEGIN { printf "%-8s %-11s %5s %-9s %7s %10s %10s %6s\n", "LEVEL", "KEEPPARSED", "BITS", "OPERATION", "CLIENTS", "OPS/S", "OPENSSL/S", "RATIO" }
	FNR == NR { raw[$1, $2] = $3; next }
	/^#/ { next }
	{
		base = raw[$3, $5]
		if (!($6 > 0) || !(base > 0)) { print "no figure for: " $0; bad = 1; next }
		printf "%-8s %-11s %5d %-9s %7d %10.1f %10.1f %6.2f\n", $1, $2, $3, $4, $5, $6, base, $6 / base
		n[$1 " " $2]++
	}
	END {
		want = (3 + 2) * (cores > 1 ? 2 : 1) # three sizes signed, PSS and decryption of the smallest
		if (n["keyring no"] != want || n["keyring yes"] != want || (("kernel no" in n) && n["kernel no"] != want)) { print "figures are missing"; bad = 1 }
		exit bad
	}' "$work/openssl" "$work/keyroll"

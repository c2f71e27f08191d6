# shellcheck shell=bash
# What the end-to-end scripts share: a root of their own, daemons under a small supervisor (as systemd would restart
# them), and waiting for a state with a deadline. Sourced; needs top_builddir.
# shellcheck disable=SC2034  # used by the scripts that source this

set -u
# shellcheck source=tests/basics.sh
. "${BASH_SOURCE[0]%/*}/basics.sh"
export LC_ALL=C KEYROLL_LIBEXECDIR
KEYROLL_LIBEXECDIR=$(realpath "${top_builddir:-build}")
BIN=$KEYROLL_LIBEXECDIR
ROOT=$(mktemp -d "${TMPDIR:-/tmp}/keyroll-test.XXXXXX")
SUPERVISED=() # pids of the supervising subshells
PASSED=0

fail() {
	echo "FAIL: $*" >&2
	for f in "$ROOT"/log/*.log; do
		[ -s "$f" ] && { echo "--- ${f##*/}" >&2; tail -n 25 "$f" >&2; }
	done
	exit 1
}

pass() {
	echo "ok: $*"
	PASSED=$((PASSED + 1))
}

# supervise NAME COMMAND...: starts it, and again whenever it ends, until stopped; the pid of the living one is in $ROOT/pid/NAME.
supervise() {
	local name=$1
	shift
	mkdir -p "$ROOT/pid" "$ROOT/log"
	(
		child=
		trap 'trap - TERM; [ -n "$child" ] && kill "$child" 2>/dev/null; wait; exit 0' TERM
		while :; do
			"$@" >>"$ROOT/log/$name.log" 2>&1 </dev/null &
			child=$!
			echo "$child" >"$ROOT/pid/$name.new" && mv "$ROOT/pid/$name.new" "$ROOT/pid/$name"
			wait "$child"
			echo "supervisor: $name ended with $?" >>"$ROOT/log/$name.log"
			# a daemon that cannot start must not spin
			read -rt 0.1 <> <(:)
		done
	) &
	SUPERVISED+=($!)
}

stop_all() {
	local p
	for p in "${SUPERVISED[@]}"; do
		kill "$p" 2>/dev/null
	done
	for p in "${SUPERVISED[@]}"; do
		wait "$p" 2>/dev/null
	done
	SUPERVISED=()
}

ctl() { "$BIN/pkictl/pkictl" --root="$ROOT" "$@"; }

cleanup() {
	stop_all
	rings_purge "$ROOT"/var/lib/keyroll/keyd "$ROOT"/var/lib/keyroll/signer/*
	[ -n "${KEEP:-}" ] || rm -rf "$ROOT"
}
trap cleanup EXIT

# ca_text NAME [LINE...]: the file of a CA that grants at once; the lines follow its own, and win.
ca_text() {
	local name=$1
	shift
	printf '%s\n' '[CA]' "IssuerName=CN=$name,O=Example" Listen=127.0.0.1:0 Grant=auto GrantRenewals=yes KeySize=2048 CACertificateLifetime=30d \
		CertificateLifetime=5d Clock=assume-valid "$@"
}

# init_ca NAME CONF-TEXT: creates the CA, on a loopback port of the system's choice. Sets CA_PIN.
init_ca() {
	local name=$1
	mkdir -p "$ROOT/etc/keyroll/ca"
	printf '%s\n' "$2" >"$ROOT/etc/keyroll/ca/$name.conf"
	ctl ca init "$name" >"$ROOT/init.out" 2>&1 || { cat "$ROOT/init.out" >&2; fail "pkictl ca init $name"; }
	CA_PIN=$(sed -n 's/^CAFingerprint=//p' "$ROOT/init.out")
	[ -n "$CA_PIN" ] || fail "ca init printed no CAFingerprint"
}

# run_ca NAME: runs it. Sets CA_URL.
run_ca() {
	supervise "cad-$1" "$BIN/keyroll-cad" --root="$ROOT" "$1"
	until_true 20 ctl ca status || fail "the CA does not answer"
	CA_URL=http://127.0.0.1:$(cat "$ROOT/run/keyroll/ca/$1.port")
	# the port that it got is its own from now on, over a restart too
	sed -i "s|^Listen=127.0.0.1:0$|Listen=${CA_URL#http://}|" "$ROOT/etc/keyroll/ca/$1.conf"
}

start_ca() { init_ca "$1" "$2" && run_ca "$1"; }

# trustpoint_file NAME [LINE...]: a trustpoint of the CA that runs, NAME.example.com; the lines follow its own, and win.
trustpoint_file() {
	local name=$1
	shift
	mkdir -p "$ROOT/etc/keyroll/trustpoints"
	printf '%s\n' '[Trustpoint]' "EnrollmentURL=$CA_URL" "CAFingerprint=$CA_PIN" "SubjectName=CN=$name.example.com" RevocationCheck=none \
		'[Key]' Size=2048 '[AutoEnroll]' Percent=80 Regenerate=yes RetryPeriod=1s "$@" >"$ROOT/etc/keyroll/trustpoints/$name.conf"
}

# key_signs TRUSTPOINT: the delivered key signs, asked by its URI, and the delivered certificate verifies.
key_signs() {
	local dir=$ROOT/var/lib/keyroll/delivered/$1/current
	openssl_conf
	openssl x509 -in "$dir/cert.pem" -noout -pubkey >"$ROOT/pub.pem" &&
		OPENSSL_CONF=$ROOT/openssl.cnf openssl dgst -sha256 -sign "$(cat "$dir/key.uri")" -out "$ROOT/sig" "$ROOT/pub.pem" 2>>"$ROOT/log/openssl.log" &&
		openssl dgst -sha256 -verify "$ROOT/pub.pem" -signature "$ROOT/sig" "$ROOT/pub.pem" >/dev/null
}

# start_agent: the custodian and the agent, with the clock taken as valid.
start_agent() {
	mkdir -p "$ROOT/etc/keyroll/trustpoints"
	printf '[Agent]\nClock=assume-valid\n' >"$ROOT/etc/keyroll/keyrolld.conf"
	supervise keyd "$BIN/keyroll-keyd" --root="$ROOT"
	until_true 20 test -S "$ROOT/run/keyroll/keyd.sock" || fail "the custodian does not listen"
	supervise keyrolld "$BIN/keyrolld" --root="$ROOT"
	until_true 20 ctl list || fail "the agent does not answer"
}

# fact TRUSTPOINT JQ-FILTER: one fact of a trustpoint as pkictl tells it.
fact() { ctl show "$1" --json | jq -er "$2"; }

# One trustpoint's object wherever pkictl puts it.
TP='(.trustpoints[0] // .)'

is_enrolled() { [ "$(fact "$1" "$TP.status")" = enrolled ]; }

# delivered_pair_ok TRUSTPOINT: the delivered certificate chains to the delivered CA now, and its key is the one that the URI names.
delivered_pair_ok() {
	local dir=$ROOT/var/lib/keyroll/delivered/$1/current spki
	openssl verify -CAfile "$dir/ca.pem" -partial_chain "$dir/cert.pem" >/dev/null || return 1
	spki=$(openssl x509 -in "$dir/cert.pem" -pubkey -noout | openssl pkey -pubin -outform DER | sha256sum | cut -d' ' -f1)
	grep -q "spki=$spki" "$dir/key.uri"
}

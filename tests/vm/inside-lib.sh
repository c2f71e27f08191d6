# shellcheck shell=bash
# What the phases that use the installed units share. Sourced.
# shellcheck disable=SC2034 # used by the scripts that source this
here=${BASH_SOURCE[0]%/*}
work=/var/lib/keyroll-vm/work
INSTALLED_WORK=$work
# shellcheck source=tests/installed.sh
. "$here/installed.sh"
dir=$(delivered Test-CA)
DAEMONS=(keyrolld keyroll-keyd keyroll-ca@TESTCA keyroll-signer@TESTCA)
# whose keys, and where they lie at rest
KEYD=(keyroll-keyd /var/lib/keyroll/keyd)
SIGNER=(keyroll-signer /var/lib/keyroll/signer/TESTCA)

ok() { echo "ok: $* ($(cut -d ' ' -f 1 /proc/uptime) s)"; }
main_pid() { systemctl show -p MainPID --value "$1"; }
spki_of() { openssl x509 -in "$1" -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum | cut -d ' ' -f 1; }

# fact TRUSTPOINT JQ-FILTER, ca_fact JQ-FILTER: what pkictl says; its own status tells how near an end is, and does not matter here.
fact() { pkictl show "$1" --json=short | jq -er "(.trustpoints[0] // .) | $2"; }
ca_fact() { pkictl ca status --json=short | jq -er "$1"; }
ca_answers() { ca_fact '.status == "enabled"'; }

# What seals the keys on disk, as this machine began it: custodian and signer said it at their start in this boot, and it is shown.
at_rest_is() { # WORD
	local unit

	for unit in keyroll-keyd keyroll-signer@TESTCA; do
		journalctl -b -q -o cat --no-pager -u "$unit.service" PKI_AT_REST="$1" | grep -q . || return 1
	done
	[ "$(fact Test-CA .at_rest) $(ca_fact .at_rest)" = "$1 $1" ]
}

# A server of TLS whose key is asked by its URI, and one handshake with it, verified by the delivered CA. The server is $tls_server.
tls_server_start() {
	setpriv --reuid=daemon --regid=nogroup --clear-groups openssl s_server -provider keyroll -provider default -tls1_3 -accept 127.0.0.1:4433 -quiet \
		-cert "$dir/cert.pem" -key "$(cat "$dir/key.uri")" </dev/null >"$work/s_server.out" 2>&1 &
	tls_server=$!
}
tls_server_stop() {
	kill "$tls_server" 2>/dev/null
	wait "$tls_server" 2>/dev/null
}
tls_handshake() { openssl s_client -connect 127.0.0.1:4433 -tls1_3 -CAfile "$dir/ca.pem" -verify_return_error -brief </dev/null >"$work/s_client.out" 2>&1; }

# slot_keys USER STATE-FOLDER SLOT: serials of the RSA keys that lie in the slot's keyring
slot_keys() {
	local name

	name=keyroll:$(printf %s "$2" | sha256sum | cut -c 1-24)
	# shellcheck disable=SC2016 # its own shell takes them apart
	setpriv --reuid="$1" --regid="$1" --clear-groups keyctl session - sh -c 'keyctl link @u @s
		for id in $(keyctl rlist "$(keyctl search "$(keyctl search @u keyring "$1")" keyring "$1.$2")"); do
			case $(keyctl rdescribe "$id") in asymmetric\;*) echo "$id" ;; esac
		done' sh "$name" "$3" 2>/dev/null
}

# facts: what a reboot must not change
facts() {
	local tp

	for tp in /var/lib/keyroll/delivered/*; do
		tp=${tp##*/}
		openssl x509 -in "$(delivered "$tp")/cert.pem" -noout -serial -enddate
		spki_of "$(delivered "$tp")/cert.pem"
		fact "$tp" '[.name, .ca.serial, .ca.spki, .protection, .at_rest, .generation]|tostring' || return 1
	done
	ca_fact '[.ca.serial, .ca.spki, .previous.spki, .protection, .at_rest]|tostring' || return 1
	# what is due every so often is counted from the second, the rest from certificates
	ca_fact '[.timers[] | [.timer, if .timer | test("^(REQUEST EXPIRE|CRL UPDATE)$") then "armed" else .at end]] | sort | tostring' || return 1
	pkictl ca requests --all --json=short | jq -c '[.requests[] | [.id, .status, .serial]]'
	pkictl timers --json=short | jq -c '[.timers[] | [.timer, .trustpoint, .at]] | sort'
}

# secrets_open: the machine secrets, for the scan. In memory, and gone after secrets_close.
secrets_open() {
	local who

	for who in keyd signer; do
		(umask 077 && mkdir -p "/run/scan/$who")
		systemd-creds decrypt --name=machine-secret "/etc/credstore.encrypted/keyroll-$who" "/run/scan/$who/machine-secret" || fail "the secret of $who"
		chmod 0600 "/run/scan/$who/machine-secret"
	done
}
secrets_close() { rm -rf /run/scan; }

# scan WHICH TARGET...: for the router's keys or the CA's. memscan's status.
scan() {
	local which=$1
	shift
	case $which in
	router) "$here/memscan" /run/scan/keyd /var/lib/keyroll/keyd/router.*.p8 -- "$@" ;;
	soft) "$here/memscan" /run/scan/keyd /var/lib/keyroll/keyd/soft.*.p8 -- "$@" ;;
	ca) "$here/memscan" /run/scan/signer /var/lib/keyroll/signer/TESTCA/*.p8 -- "$@" ;;
	esac
}

# locked UNIT: nothing of its memory goes to swap. Prints how many KiB of how many.
locked() {
	awk '/^Vm(Size|Lck):/ { kb[$1] = $2 } END { print kb["VmLck:"] " of " kb["VmSize:"]; exit !(kb["VmLck:"] * 10 > kb["VmSize:"] * 9) }' \
		"/proc/$(main_pid "$1.service")/status"
}

core_of() { # PID FILE: everything that is mapped, whatever the process asked to leave out
	gdb -p "$1" -batch -ex 'set use-coredump-filter off' -ex 'set dump-excluded-mappings on' -ex "generate-core-file $2" >"$work/gdb.out" 2>&1
	[ -s "$2" ] || { cat "$work/gdb.out"; fail "no core of $1"; }
}

# core_at_end FILE COMMAND...: when it exits, all that it was told lies in its memory. As core_of.
core_at_end() {
	gdb -batch -ex 'set breakpoint pending on' -ex 'break _exit' -ex run -ex 'set use-coredump-filter off' -ex 'set dump-excluded-mappings on' \
		-ex "generate-core-file $1" --args "${@:2}" >"$work/gdb.out" 2>&1 </dev/null
	[ -s "$1" ] || { cat "$work/gdb.out"; fail "no core of ${*:2}"; }
}

# no_primes TARGET...: neither in the given ones nor in the daemons and their cores
no_primes() {
	local pids=() unit which

	for unit in "${DAEMONS[@]}"; do
		pids+=("$(main_pid "$unit.service")")
	done
	core_of "${pids[1]}" /run/core.keyd
	core_of "${pids[3]}" /run/core.signer
	for which in router ca; do
		scan "$which" "$@" "${pids[@]}" /run/core.keyd /run/core.signer || fail "a prime of the $which's key is in memory"
	done
	rm -f /run/core.*
}

# shellcheck shell=bash
# What the phases that use the installed units share. Sourced.
export LC_ALL=C
here=${BASH_SOURCE[0]%/*}
work=/var/lib/keyroll-vm/work
dir=/var/lib/keyroll/delivered/Test-CA/current

fail() {
	echo "FAIL: $*"
	systemctl --no-pager --no-legend list-units 'keyroll*'
	exit 1
}
ok() { echo "ok: $* ($(cut -d ' ' -f 1 /proc/uptime) s)"; }

# until_true SECONDS COMMAND...
until_true() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || return 1
		read -rt 0.2 <> <(:)
	done
	return 0 # not the status of the last pause
}

main_pid() { systemctl show -p MainPID --value "$1"; }
spki_of() { openssl x509 -in "$1" -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum | cut -d ' ' -f 1; }

# The delivered certificate's key signs, asked by its URI, and the certificate verifies what it signed.
key_works() {
	openssl x509 -in "$dir/cert.pem" -noout -pubkey >"$work/pub.pem" &&
		setpriv --reuid=daemon --regid=nogroup --clear-groups openssl dgst -provider keyroll -provider default -sha256 \
			-sign "$(cat "$dir/key.uri")" /etc/os-release >"$work/signature" &&
		openssl dgst -sha256 -verify "$work/pub.pem" -signature "$work/signature" /etc/os-release
}

# facts: what a reboot must not change
facts() {
	openssl x509 -in "$dir/cert.pem" -noout -serial -enddate
	spki_of "$dir/cert.pem"
	pkictl ca status --json=short | jq -c '[.ca.serial, .ca.spki, .protection]'
	pkictl ca requests --all --json=short | jq -c '[.requests[] | [.id, .status, .serial]]'
	pkictl timers --json=short | jq -c '[.timers[] | [.timer, .trustpoint, .at]] | sort'
}

# secrets_open: the machine secrets, for the scan. In memory, and gone after secrets_close.
secrets_open() {
	local who

	for who in keyd signer; do
		mkdir -p -m 0700 "/run/scan/$who"
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

core_of() { # PID FILE: everything that is mapped, whatever the process asked to leave out
	gdb -p "$1" -batch -ex 'set use-coredump-filter off' -ex 'set dump-excluded-mappings on' -ex "generate-core-file $2" >"$work/gdb.out" 2>&1 && [ -s "$2" ] ||
		{ cat "$work/gdb.out"; fail "no core of $1"; }
}

# no_primes TARGET...: neither in the given ones nor in the daemons and their cores
no_primes() {
	local pids=() unit which

	for unit in keyrolld keyroll-keyd keyroll-ca@TESTCA keyroll-signer@TESTCA; do
		pids+=("$(main_pid "$unit.service")")
	done
	core_of "${pids[1]}" /run/core.keyd
	core_of "${pids[3]}" /run/core.signer
	for which in router ca; do
		scan "$which" "$@" "${pids[@]}" /run/core.keyd /run/core.signer || fail "a prime of the $which's key is in memory"
	done
	rm -f /run/core.*
}

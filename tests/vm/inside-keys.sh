#!/bin/bash
# The key store under a real systemd on a kernel that has the parser: as a service, what the contract, access and provider tests ask, of level kernel.
set -u
here=${BASH_SOURCE[0]%/*}
# shellcheck source=tests/installed.sh
. "$here/installed.sh"

# the drop-ins that are installed have had their effect
grep -q '^pkcs8_key_parser ' /proc/modules || fail "modules-load.d did not load the parser"

# where test_provider has the openssl command look
mkdir -p .libs # inside.sh has begun this in a folder of its own
ln -sf "$(find /usr/lib* -name keyroll.so -type f | head -n 1)" .libs/keyroll.so || fail "no provider"

# in a unit, as the custodian is: a session keyring of its own, the user keyring not in it
run_test() { # "PROGRAM ARGUMENTS" OPTIONS-OF-SYSTEMD-RUN...
	local command
	read -ra command <<<"$1"
	systemd-run --quiet --pipe --wait --collect -p KeyringMode=private -p WorkingDirectory="$PWD" \
		--setenv=KEYROLL_KEYD="$(find /usr/lib* -name keyroll-keyd -type f | head -n 1)" --setenv=top_builddir="$PWD" "${@:2}" "$here/${command[0]}" "${command[@]:1}" ||
		fail "$1"
	echo "$1: passed, at $(cut -d ' ' -f 1 /proc/uptime) s"
}

# Most of their time is one key after another that is made: two lanes, for the two processors. What counts signatures has the machine to itself.
beside() {
	run_test test_custody_access --setenv=KEYROLL_PROTECTION=kernel
	run_test test_guarantees --setenv=KEYROLL_BACKENDS=kernel
	run_test test_level_lost
}
(beside) >beside.log 2>&1 &
lane=$!
run_test test_ks_contract --setenv=KEYROLL_BACKENDS=kernel
status=0
wait "$lane" || status=$?
cat beside.log
[ "$status" = 0 ] || exit 1
run_test test_provider --setenv=KEYROLL_PROTECTION=kernel
run_test "soak_provider 0 60" --setenv=KEYROLL_PROTECTION=kernel
echo "ok: contract, access and provider tests at level kernel; eight threads, and eight clients that get alike"

#!/bin/bash
# What bash offers after pkictl: verbs, names of configured trustpoints and CAs, options of the verb.
set -eu
top_srcdir=${top_srcdir:-.}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/etc/keyroll/trustpoints" "$root/etc/keyroll/ca"
touch "$root/etc/keyroll/trustpoints/aa.conf" "$root/etc/keyroll/trustpoints/ab.conf" "$root/etc/keyroll/ca/R.conf"

# shellcheck source=/dev/null
. "$top_srcdir/pkictl/completion/pkictl.bash"
# only readline has it
# shellcheck disable=SC2317
compopt() { :; }

bad=0
offers() { # WANTED WORD...: the last word is the one being typed
	local wanted=$1
	shift
	COMP_WORDS=(pkictl "$@")
	COMP_CWORD=$#
	COMPREPLY=()
	_pkictl || true # its status means nothing to bash
	if [[ ${COMPREPLY[*]-} != "$wanted" ]]; then
		echo "pkictl $*: offered '${COMPREPLY[*]-}', wanted '$wanted'" >&2
		bad=1
	fi
}

offers 'status list show timers authenticate enroll renew reload ca' ''
offers 'status show' s
offers 'requests reject rollover' ca r
offers '' nonsense-
offers 'aa ab' "--root=$root" show a
offers 'aa ab' --root = "$root" show a
offers '' --root=/nonexistent show a
offers 'R' "--root=$root" ca init ''
offers 'R' "--root=$root" ca rollover --yes = ''
offers '--ca= --cancel' ca rollover --c
offers '--all' ca grant --a
offers '' status --a
offers 'short pretty' --json =
offers 'status show' --json = short s
exit $bad

#!/bin/bash
# The man pages are clean, and they know the same keys and verbs as the code, both ways.
set -eu
export LC_ALL=C
top=${top_srcdir:-.}
bad=0

# known_by_both WHAT PAGE CODE-WORDS PAGE-WORDS
known_by_both() {
	[ -n "$3" ] || { echo "no $1 found in the code"; exit 1; }
	if ! diff -u --label "code: $1" --label "$2" <(printf '%s\n' "$3" | sort -u) <(printf '%s\n' "$4" | sort -u); then
		bad=1
	fi
}

# keys_in FILE...: what tables of struct conf_key name, but for those that are refused as not built yet ({ .section = ... })
keys_in() { grep -hoE '(\{|KEY\() ?"[A-Z][A-Za-z]*", "[A-Z][A-Za-z]*"' "$@" | sed 's/.*, "\(.*\)"/\1/'; }
# documented_in PAGE: "Cm Key" on lines that begin an item with a value
documented_in() { grep -E '^\.It Cm [A-Z][A-Za-z]* Ns = ' "$top/man/$1" | grep -oE 'Cm [A-Z][A-Za-z]* Ns =' | cut -d ' ' -f 2; }

known_by_both "trustpoint keys" keyroll-trustpoint.conf.5 \
	"$(keys_in "$top/agent/tpconf.c" | grep -vxE 'Clock|KeydSocket')" "$(documented_in keyroll-trustpoint.conf.5)"
known_by_both "agent keys" keyrolld.8 "$(keys_in "$top/agent/tpconf.c" | grep -xE 'Clock|KeydSocket')" "$(documented_in keyrolld.8)"
known_by_both "CA keys" keyroll-ca.conf.5 "$(keys_in "$top/ca/ca_conf.c")" "$(documented_in keyroll-ca.conf.5)"
if [ -e "$top/keystore/keyd.c" ]; then
	known_by_both "custodian keys" keyroll-keyd.8 "$(keys_in "$top/keystore/keyd.c")" "$(documented_in keyroll-keyd.8)"
fi
known_by_both "verbs" pkictl.1 \
	"$(sed -n 's/^\t{ "\(ca\)\?", "\([a-z]*\)", [0-9].*/\1 \2/p' "$top/pkictl/cli.c" | sed 's/^ //')" \
	"$(sed -n 's/^\.It Cm \(ca [a-z]*\|[a-z]*\)\( .*\)\?$/\1/p' "$top/man/pkictl.1")"

command -v mandoc >/dev/null || { echo "no mandoc here"; exit $((bad ? 1 : 77)); }
for page in "$top"/man/*.[1-8]; do
	mandoc -T lint -W warning "$page" || bad=1
done
exit $bad

#!/bin/bash
# The units parse, and each is sandboxed to its figure (systemd-analyze security, times ten).
set -eu
export LC_ALL=C
build=${top_builddir:-build}
src=${top_srcdir:-.}
command -v systemd-analyze >/dev/null || { echo "no systemd-analyze here"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/etc/systemd/system" "$work/usr/sbin" "$work/usr/libexec"
bad=0

cp "$src"/systemd/*.socket "$src"/systemd/*.timer "$src"/systemd/*.service "$build"/systemd/*.service "$work/" 2>/dev/null || true
for unit in keyrolld keyroll-keyd keyroll-ca@ keyroll-signer@ keyroll-seal@; do
	[ -e "$work/$unit.service" ] || { echo "no $unit.service"; exit 1; }
done
if grep -n '@[a-z]*dir@' "$work"/*.service; then
	echo "a place was not filled in"
	exit 1
fi

# exposure UNIT LIMIT
exposure() {
	if systemd-analyze security --offline=true --no-pager --threshold="$2" "$work/$1.service" >"$work/report" 2>&1; then
		echo "ok: $1: $(tail -n 1 "$work/report")"
	else
		grep -a '✗' "$work/report" || true
		echo "FAIL: $1 wants at most $2 tenths: $(tail -n 1 "$work/report")"
		bad=1
	fi
}
exposure keyroll-keyd 5
exposure keyroll-signer@ 5
exposure keyroll-ca@ 5
exposure keyrolld 12

# verify wants the programs: where a unit says /usr/sbin/keyrolld it gets /bin/true, so that what remains is the units' own mistakes
sed -i 's,^ExecStart=/[^ ]*\(keyroll[a-z-]*\),ExecStart=/bin/true,' "$work"/*.service
for unit in "$work"/*@.*; do
	cp "$unit" "${unit/@/@test}"
done
for unit in "$work"/keyroll*; do
	case $unit in *@.*) continue ;; esac
	if SYSTEMD_UNIT_PATH="$work:" SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no "$unit" 2>&1 | grep -a "$work" >"$work/verify"; then
		cat "$work/verify"
		bad=1
	fi
done
exit $bad

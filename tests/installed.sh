# shellcheck shell=bash
# What scripts share that run as root on a machine on which Keyroll is installed and systemd runs. Sourced.
export LC_ALL=C
INSTALLED_WORK=${INSTALLED_WORK:-/tmp}

fail() {
	echo "FAIL: $*"
	systemctl --no-pager --no-legend list-units 'keyroll*'
	exit 1
}

# until_true SECONDS COMMAND...: 0 as soon as it succeeds. Nobody may set the clock meanwhile.
until_true() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || return 1
		read -rt 0.2 <> <(:)
	done
	return 0 # not the status of the last pause
}

delivered() { echo "/var/lib/keyroll/delivered/$1/current"; }

# key_works TRUSTPOINT [USER [GROUP]]: the delivered certificate's key signs for the user, a member of that group alone, asked by its URI, and the
# certificate verifies what it signed.
key_works() {
	local place groups=--clear-groups
	[ -z "${3:-}" ] || groups=--groups=$(getent group "$3" | cut -d : -f 3)

	place=$(delivered "$1")
	openssl x509 -in "$place/cert.pem" -noout -pubkey >"$INSTALLED_WORK/pub.pem" &&
		setpriv --reuid="${2:-daemon}" --regid=nogroup "$groups" openssl dgst -provider keyroll -provider default -sha256 \
			-sign "$(cat "$place/key.uri")" /etc/os-release >"$INSTALLED_WORK/signature" &&
		openssl dgst -sha256 -verify "$INSTALLED_WORK/pub.pem" -signature "$INSTALLED_WORK/signature" /etc/os-release
}

# protection_said UNIT, protection_shown TRUSTPOINT: protection, at rest, kernel and what better protection would need, as the journal has it of the unit's
# last start, and as pkictl shows it of a trustpoint's key. One line each.
protection_said() {
	journalctl -b -q -o json --no-pager -u "$1.service" PKI_EVENT=KEY_PROTECTION | tail -n 1 |
		jq -ec '[.PKI_PROTECTION, .PKI_AT_REST, .PKI_KERNEL, .PKI_BETTER]'
}
protection_shown() {
	pkictl show "$1" --json=short | jq -ec '(.trustpoints[0] // .) | [.protection, .at_rest, .kernel_release, .better_protection]'
}

# shellcheck shell=bash
# What every script may need that runs the built programs. Sourced.

# Keys outlive their custodian on purpose; a test's shall not outlive the test.
# rings_purge STATE-FOLDER...: empties and unlinks the keyring that anchors each one's custodian, which has ended.
rings_purge() {
	local dir id
	for dir in "$@"; do
		id=$(keyctl search @u keyring "keyroll:$(printf '%s' "$dir" | sha256sum | cut -c 1-24)" 2>/dev/null) || continue
		keyctl clear "$id" 2>/dev/null
		keyctl unlink "$id" @u 2>/dev/null
	done
}

# until_true SECONDS COMMAND...: 0 as soon as it succeeds, 1 when the time is over.
until_true() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || return 1
		read -rt 0.1 <> <(:) || true # under set -e too
	done
	return 0 # a loop's status is its last wait's
}

# openssl_conf: $ROOT/openssl.cnf, by which programs find the built provider and this root's custodian. For them alone: the daemons bring their own.
openssl_conf() {
	cat >"$ROOT/openssl.cnf" <<-CONF
		openssl_conf = init
		[init]
		providers = providers
		[providers]
		default = default_provider
		keyroll = keyroll_provider
		[default_provider]
		activate = 1
		[keyroll_provider]
		module = $BIN/.libs/keyroll.so
		socket = $ROOT/run/keyroll/keyd.sock
		activate = 1
		[req]
		distinguished_name = name
		[name]
	CONF
}

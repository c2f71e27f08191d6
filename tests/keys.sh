# shellcheck shell=bash
# Keys outlive their custodian on purpose; a test's shall not outlive the test. Sourced.

# rings_purge STATE-FOLDER...: empties and unlinks the keyring that anchors each one's custodian, which has ended.
rings_purge() {
	local dir id
	for dir in "$@"; do
		id=$(keyctl search @u keyring "keyroll:$(printf '%s' "$dir" | sha256sum | cut -c 1-24)" 2>/dev/null) || continue
		keyctl clear "$id" 2>/dev/null
		keyctl unlink "$id" @u 2>/dev/null
	done
}

#!/bin/bash
# Two years in minutes: the guest's clock is set forward from timer to timer, and the daemons do by themselves what is due: RENEW with a new key, the CA's
# next certificate, SHADOW, ACTIVATE at the switch, RENEW under the new CA. The keys of trustpoint and CA stay in the kernel throughout: at each step it is
# the kernel's own key, asked past all of Keyroll, that signs what the delivered certificate verifies.
set -u
# shellcheck source=tests/vm/inside-lib.sh
. "${BASH_SOURCE[0]%/*}/inside-lib.sh"
TPS=(Test-CA Soft) # levels kernel and keyring
[ "$AT_REST" != tpm2 ] || TPS+=(Device)
LIMIT_SEC=180 # for what takes two seconds here

# ---- the journal ----

event_id() { sed -n "/^# $1\$/{n;s/^-- //p}" /usr/lib/systemd/catalog/keyroll.catalog; }

# happened EVENT TEXT [FIELD=VALUE...]: an entry with that event's MESSAGE_ID since the clock was set last, with TEXT in it or in the catalogue's
# explanation. By time, not by cursor: systemd 252 skips the first match after a cursor.
happened() { journalctl -q -x --no-pager --since="@$since" MESSAGE_ID="$(event_id "$1")" "${@:3}" | grep -q -- "$2"; }
await_each() { # EVENT TEXT: of each trustpoint
	local tp

	for tp in "${TPS[@]}"; do
		until_true "$LIMIT_SEC" happened "$1" "$2" "PKI_TRUSTPOINT=$tp" || fail "$tp: no $1"
	done
}
await_ca() { until_true "$LIMIT_SEC" happened "$1" "$2" PKI_CA=TESTCA || fail "the CA: no $1"; }
nothing_bad() {
	local event ids=()

	for event in CONNECT_RETRY RETRIES_EXHAUSTED REPLY_REFUSED CERT_EXPIRED CERT_REJECTED HOOK_FAILED KEY_QUOTA KEY_REFUSED CS_MESSAGE_REFUSED CS_SIGNER_LOST; do
		ids+=("MESSAGE_ID=$(event_id "$event")")
	done
	journalctl -q --no-pager --since="@$since" "${ids[@]}" >"$work/bad"
	[ ! -s "$work/bad" ] || { cat "$work/bad"; fail "the journal has what does not belong there"; }
}

# ---- the clock ----

# timer_at NAME: when the last of the trustpoints has it due, in seconds; fails unless each has it.
timer_at() {
	pkictl timers --json=short | jq -er --arg timer "$1" --argjson n "${#TPS[@]}" \
		'[.timers[] | select(.timer == $timer).at | fromdateiso8601] | if length == $n then max else empty end'
}
ca_timer_at() { ca_fact ".timers[] | select(.timer == \"$1\").at | fromdateiso8601"; }
armed() { until_true "$LIMIT_SEC" timer_at "$1" || { pkictl timers; fail "$1 is not armed for every trustpoint"; }; }

# clock_set SECOND: forward only
clock_set() {
	[ "$1" -ge "$(date +%s)" ] || fail "the timer of $(date -u -d "@$1" +%FT%TZ) is past, it is $(date -u +%FT%TZ)"
	since=$1
	date -s "@$1" >/dev/null || fail "the clock cannot be set"
}

# ---- the kernel's keys ----

# slot_signs USER STATE-FOLDER SLOT FILE: its only key signs, in the kernel, into FILE
slot_signs() {
	local id

	id=$(slot_keys "$1" "$2" "$3")
	[[ $id =~ ^[0-9]+$ ]] || { echo "slot $3 of $1 holds: $id"; return 1; }
	# shellcheck disable=SC2016 # its own shell takes it
	setpriv --reuid="$1" --regid="$1" --clear-groups keyctl session - sh -c 'keyctl link @u @s; openssl dgst -sha256 -binary /etc/os-release >/tmp/digest."$1"
		keyctl pkey_sign "$1" 0 /tmp/digest."$1" enc=pkcs1 hash=sha256; rm -f /tmp/digest."$1"' sh "$id" >"$4" 2>/dev/null
	[ -s "$4" ]
}

# verified_by CERTIFICATE SIGNATURE
verified_by() {
	openssl x509 -in "$1" -noout -pubkey >"$work/slot.pem"
	openssl dgst -sha256 -verify "$work/slot.pem" -signature "$2" /etc/os-release >/dev/null
}

# ca_certificate SPKI FILE: that one of the delivered CA certificates
ca_certificate() {
	local one

	rm -f "$work"/ca.*.pem
	awk -v out="$work/ca" '/BEGIN CERT/ { n++ } { print >(out "." n ".pem") }' "$dir/ca.pem"
	for one in "$work"/ca.*.pem; do
		[ "$(spki_of "$one")" != "$1" ] || { cp "$one" "$2"; return 0; }
	done
	return 1
}

# ---- what holds after each step ----

# The delivered pair and the CA's, by every way there is to look at them.
all_well() {
	local tp place

	for tp in "${TPS[@]}"; do
		place=$(delivered "$tp")
		openssl verify -x509_strict -CAfile "$place/ca.pem" "$place/cert.pem" >/dev/null || fail "$tp: the delivered certificate does not verify now"
		[ "$(spki_of "$place/cert.pem")" = "$(fact "$tp" .id.spki)" ] || fail "$tp: another certificate is delivered than pkictl shows"
		grep -q "spki=$(fact "$tp" .id.spki)" "$place/key.uri" || fail "$tp: the URI names another key"
		until_true 60 key_works "$tp" || fail "$tp: the key does not sign"
	done
	[ "$(fact Test-CA .protection) $(fact Soft .protection) $(ca_fact .protection)" = "kernel keyring kernel" ] || fail "the levels have changed"
	[ "$AT_REST" != tpm2 ] || [ "$(fact Device .protection)" = token ] || fail "the key in the TPM has changed its level"
	slot_signs "${KEYD[@]}" active "$work/active.sig" || fail "the kernel has not one active key of the router"
	verified_by "$dir/cert.pem" "$work/active.sig" || fail "the kernel's active key is not the delivered certificate's"
	slot_signs "${SIGNER[@]}" active "$work/ca.sig" || fail "the kernel has not one active key of the CA"
	ca_certificate "$(ca_fact .ca.spki)" "$work/ca-active.pem" || fail "the CA's certificate is not delivered"
	verified_by "$work/ca-active.pem" "$work/ca.sig" || fail "the kernel's active key is not the CA's"
	tls_server_start
	until_true 60 tls_handshake || { cat "$work"/s_*.out; fail "no TLS handshake"; }
	tls_server_stop
	nothing_bad
}

story=$(date +%s) since=$story
until_true 120 ca_answers || fail "the CA does not answer"
armed RENEW
all_well
ok "enrolled, keys in the kernel"

# renewed TEXT: past RENEW; each trustpoint gets another key and certificate
renewed() {
	local tp
	local -A spki

	armed RENEW
	for tp in "${TPS[@]}"; do spki[$tp]=$(fact "$tp" .id.spki); done
	clock_set $(($(timer_at RENEW) + 1))
	await_each CERT_INSTALL 'was verified, stored and delivered'
	await_ca CS_CERT_ISSUED 'issued a certificate'
	for tp in "${TPS[@]}"; do
		[ "$(fact "$tp" .id.spki)" != "${spki[$tp]}" ] || fail "$tp: the renewed certificate has the old key, despite Regenerate=yes"
	done
	all_well
	ok "$(date -u +%F): $1"
}
renewed "RENEW, with a new key"
[ "$(fact Test-CA .id.not_after)" = "$(fact Test-CA .ca.not_after)" ] || fail "the renewed certificate does not end with its CA"

clock_set $(($(ca_timer_at "SHADOW CERT GENERATION") + 1))
await_ca CS_SHADOW_CA_CREATED 'made its next certificate'
until_true "$LIMIT_SEC" ca_fact '.rollover_status == "available"' || fail "the CA's next certificate is not available"
[ "$(ca_fact .rollover.not_before)" = "$(ca_fact .ca.not_after)" ] || fail "the next CA does not begin where the present one ends"
ca_next=$(ca_fact .rollover.spki) ca_key=$(slot_keys "${SIGNER[@]}" shadow)
slot_signs "${SIGNER[@]}" shadow "$work/ca-next.sig" || fail "the CA's next key is not in the kernel"
all_well
ok "$(date -u +%F): the CA made its next certificate"

armed SHADOW
clock_set $(($(timer_at SHADOW) + 1))
await_each CA_ROLLOVER_AVAILABLE 'was verified'
await_each SHADOW_INSTALL 'is stored beside the active one'
for tp in "${TPS[@]}"; do
	[ "$(fact "$tp" .next_ca.spki)" = "$ca_next" ] || fail "$tp: another next CA than the CA's"
	[ "$(fact "$tp" .shadow.not_before)" = "$(fact "$tp" .ca.not_after)" ] || fail "$tp: the shadow certificate does not begin where the CA ends"
done
ca_certificate "$ca_next" "$work/ca-next.pem" || fail "the next CA is not in the delivered ca.pem"
verified_by "$work/ca-next.pem" "$work/ca-next.sig" || fail "the kernel's shadow key is not the next CA's"
router_next=$(fact Test-CA .shadow.spki) router_key=$(slot_keys "${KEYD[@]}" shadow)
slot_signs "${KEYD[@]}" shadow "$work/next.sig" || fail "the router's shadow key is not in the kernel"
all_well
ok "$(date -u +%F): SHADOW, next CA and shadow certificate are there"

# short of it, so that it is the timer that rings, and not the clock's being set
armed ACTIVATE
ca_old=$(slot_keys "${SIGNER[@]}" active) router_old=$(slot_keys "${KEYD[@]}" active)
switch=$(timer_at ACTIVATE)
clock_set $((switch - 4))
await_ca CS_ROLLED_OVER 'the rollover CA is the active one'
await_each SHADOW_ACTIVATED 'the shadow certificate is now the active one'
early=$(journalctl -q -o json --since="@$since" MESSAGE_ID="$(event_id SHADOW_ACTIVATED)" | jq -s "map(.__REALTIME_TIMESTAMP | tonumber / 1000000 - $switch) | min")
jq -en "$early >= -1 and $early < 60" >/dev/null || fail "ACTIVATE was $early s after the switch"
[ "$(ca_fact .ca.spki)" = "$ca_next" ] || fail "the next CA is not the active one"
[ "$(fact Test-CA .id.spki)" = "$router_next" ] || fail "the shadow certificate is not the active one"
until_true "$LIMIT_SEC" happened KEY_PROMOTED 'The active key became the previous one' || fail "the custodian does not tell KEY_PROMOTED"
# slots ACTIVE PREVIOUS USER STATE-FOLDER: these serials and no other lie there
slots() { [ "$(slot_keys "${@:3}" active) $(slot_keys "${@:3}" previous)" = "$1 $2" ]; }
until_true "$LIMIT_SEC" slots "$ca_key" "$ca_old" "${SIGNER[@]}" || fail "the CA's keys in the kernel were not moved from shadow to active to previous"
until_true "$LIMIT_SEC" slots "$router_key" "$router_old" "${KEYD[@]}" || fail "the router's keys in the kernel were not moved from shadow to active to previous"
[ -z "$(slot_keys "${KEYD[@]}" shadow)$(slot_keys "${SIGNER[@]}" shadow)" ] || fail "a slot shadow is not empty"
verified_by "$dir/cert.pem" "$work/next.sig" || fail "what the shadow key signed is not verified by the certificate that is active now"
all_well
ok "$(date -u +%F): ACTIVATE, $early s after the CA's end; the kernel's keys were moved, not made again"

renewed "RENEW under the new CA"
[ "$(fact Test-CA .ca.spki)" = "$ca_next" ] || fail "the router's CA is another one"
until_true "$LIMIT_SEC" slots "$ca_key" "" "${SIGNER[@]}" || fail "the CA's former key is in the kernel still"
passed=$((($(date +%s) - story) / 86400))
[ "$passed" -gt 365 ] || fail "only $passed days have passed"
hwclock -w || fail "the machine's clock cannot be set"
facts >"$work/facts" || fail "the facts"
ok "$passed days have passed"

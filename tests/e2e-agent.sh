#!/bin/bash
# Bad input gets a clear error, and nothing is lost: each way in which a CA or a file can be wrong, through the real keyrolld, keyroll-fetch and
# keyroll-keyd, with the words that the operator reads; afterwards, with a good CA, the same trustpoint enrols. The cases run side by side, each on a
# machine (root folder) and with a CA of its own.
# shellcheck disable=SC2317,SC2015 # cases are called by name; fail() never fails
set -u
# shellcheck source=tests/basics.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/basics.sh"
build=$(cd "${top_builddir:-.}" && pwd)
all=$(mktemp -d /tmp/keyroll-e2e-agent.XXXXXX)
export KEYROLL_LIBEXECDIR=$build KEYROLL_MODULESDIR=$build/.libs
AT_ONCE=5

# ---- tools of a case, which is a subshell ----

case_begin() {
	work=$all/$1 root=$all/$1/root failed=0 n_agent=0 pids=() as_keyd=()
	mkdir -p "$root/etc/keyroll/trustpoints" "$root/run/keyroll" "$root/var/lib/keyroll" "$work/ca"
	trap case_end EXIT
	printf '[Agent]\nClock=assume-valid\n' >"$root/etc/keyroll/keyrolld.conf"
}
# shellcheck disable=SC2317 # the trap calls it
case_end() {
	local p
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null; done
	for p in "${pids[@]}"; do wait "$p" 2>/dev/null; done
	rings_purge "$root/var/lib/keyroll/keyd"
	[ ${#as_keyd[@]} = 0 ] || "${as_keyd[@]}" keyctl invalidate @u
	exit "$failed"
}
fail() { echo "FAIL: $*"; failed=1; }

# await FILE PATTERN [SECONDS [COUNT]]: follows a log until COUNT lines match
await() {
	local n # counted, not thrown away: into /dev/null, grep ends at the first match whatever -m says
	n=$(timeout "${3:-40}" grep -c -m"${4:-1}" -E -- "$2" <(tail -n +1 -F "$1" 2>/dev/null))
	[ "${n:-0}" -ge "${4:-1}" ] && return 0
	fail "no '$2' in ${1##*/}, which ends:"
	tail -5 "$1"
	return 1
}
# await_file PATH: made by a rename or a bind, so its presence is enough
await_file() {
	local n=0
	until [ -e "$1" ]; do
		n=$((n + 1))
		[ "$n" -gt 300 ] && { fail "no $1"; return 1; }
		read -r -t 0.1 <> <(:)
	done
	return 0 # and not what read says of its time-out
}
call() {
	local none='{}'
	"$build/tests/agentctl" "$root/run/keyroll/agent.sock" "org.keyroll.agent.$1" "${2:-$none}"
}

mode() { echo "$1" >"$work/ca/mode.new"; mv "$work/ca/mode.new" "$work/ca/mode"; }
ca_start() { # mode [life-of-ca life-of-cert]
	mode "$1"; shift
	"$build/tests/fakeca" "$work/ca" "$@" 2>"$work/ca.log" & pids+=("$!")
	await_file "$work/ca/url"
	url=$(<"$work/ca/url") pin=$(<"$work/ca/fingerprint")
}
keyd_start() { # its socket is there before it answers: its first start makes a key for its probe
	local before
	before=$(grep -c STARTED "$work/keyd.log" 2>/dev/null)
	"$build/keyroll-keyd" --root="$root" >>"$work/keyd.log" 2>&1 & keyd=$!
	pids+=("$keyd")
	await "$work/keyd.log" STARTED 40 $((${before:-0} + 1))
}
trustpoint() { # url pin [more lines of the file]
	{
		printf '[Trustpoint]\nEnrollmentURL=%s\nCAFingerprint=%s\nSubjectName=CN=spoke-1,O=Example\n' "$1" "$2"
		printf '[Key]\nProtection=keyring\n[AutoEnroll]\nPercent=80\nRetryPeriod=1s\nRegenerate=yes\n%s' "${3:-}"
	} >"$root/etc/keyroll/trustpoints/tp.conf"
}
agent_start() {
	n_agent=$((n_agent + 1)) log=$work/agent$n_agent.log
	"$build/keyrolld" --root="$root" --verbose >"$log" 2>&1 & agent=$!
	pids+=("$agent")
	await "$log" STARTED
}
machine() { ca_start "$@"; keyd_start; trustpoint "$url" "$pin"; }

delivered() { echo "$root/var/lib/keyroll/delivered/tp/current"; }
serial() { openssl x509 -in "$(delivered)/cert.pem" -noout -serial; }
# enrolled [COUNT]: the trustpoint has, for the COUNT-th time, a certificate that its CA signed, over the key that the URI names
enrolled() {
	local spki pair
	await "$log" CERT_INSTALL 40 "${1:-1}" || return
	pair=$(readlink -f "$(delivered)") # resolved once: a switch may come between two reads
	openssl verify -partial_chain -CAfile "$pair/ca.pem" "$pair/cert.pem" >/dev/null 2>&1 || fail "the delivered certificate does not verify"
	spki=$(openssl x509 -in "$pair/cert.pem" -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum | cut -d' ' -f1)
	grep -q "spki=$spki\$" "$pair/key.uri" || fail "${pair##*/}: found $(<"$pair/key.uri"), wanted spki=$spki, the certificate's"
	call Status | grep -q '"status": "enrolled"' || fail "status: $(call Status | grep '"status"')"
}
# transactions_unique COUNT: that many requests came to the CA, none with another's transactionID
transactions_unique() {
	local ids
	ids=$(sed -En 's/^fakeca: (PKCSReq|RenewalReq) ([^ ]+) -> .*/\2/p' "$work/ca.log")
	[ "$(wc -l <<<"$ids")" = "$1" ] && [ "$(sort -u <<<"$ids" | wc -l)" = "$1" ] || fail "wanted $1 requests, each with a transactionID of its own, found:" $ids
}
# then_good WORDS: the operator reads WORDS, and nothing is delivered; then the CA is good and the trustpoint enrols
then_good() {
	await "$log" "$1"
	[ -e "$(delivered)" ] && fail "something was delivered"
	call Status | grep -q '"last_error"' || fail "Status shows no error"
	mode good
	enrolled
}

# ---- the cases ----

bad() { machine "$1"; agent_start; then_good "$2"; }
bad_after_pending() { machine pending; agent_start; await "$log" CERT_PENDING; mode "$1"; then_good "$2"; }

case_html() { bad html "found text/html '<html><body>Please log in</body></html>', wanted application/x-x509-ca-cert \(RFC 8894 4\.2\)"; }
case_garbage() { bad garbage 'CONNECT_RETRY: authenticate: GetCACert: not ASN.1'; }
case_oversized() { bad oversized 'GetCACert: found a body of more than 1048576 bytes'; }
case_other_ca() { bad other-ca FINGERPRINT_MISMATCH; }
case_busy() { bad busy 'GetCACert: found HTTP status 503'; }
case_silence() { # the overall limit of an exchange is 60 s: what is tested here is that the agent answers meanwhile, and ends at once
	machine silence; agent_start
	await "$work/ca.log" 'GetCACaps \(silence\)'
	call Status | grep -q '"operation": "auth"' || fail "the agent does not answer while the CA is silent"
	kill "$agent"; wait "$agent" || fail "the agent did not end well"
	mode good; agent_start; enrolled
}
case_wrong_nonce() { bad wrong-nonce 'REPLY_REFUSED: .*[Nn]once'; }
case_foreign_key() { bad foreign-key "REPLY_REFUSED: .*certificate for the request's key"; }
case_extra_name() { bad extra-name 'REPLY_REFUSED: .*found subjectAltName DNS:www.example.org, wanted only names that were asked for'; }
case_oversized_reply() { bad_after_pending oversized 'poll: PKIOperation: found a body of more than 65536 bytes'; }
case_html_reply() { bad_after_pending html 'found text/html .*wanted application/x-pki-message \(RFC 8894 4\.3\)'; }
case_garbage_reply() { bad_after_pending garbage 'REPLY_REFUSED: '; }

case_wrong_fingerprint() {
	machine good
	trustpoint "$url" "sha256:$(printf '%064d' 7)"; agent_start
	await "$log" FINGERPRINT_MISMATCH
	call Status | grep -q '"status": "unauthenticated"' || fail "a CA of another fingerprint was trusted"
	trustpoint "$url" "$pin"; call Reload >/dev/null
	enrolled
}

case_unknown_key() { # that trustpoint rests, the others go on
	machine good
	printf '[Trustpoint]\nEnrolmentURL=%s\n' "$url" >"$root/etc/keyroll/trustpoints/wrong.conf"
	agent_start
	await "$log" 'CONFIG_REFUSED.*wrong.conf:2'
	call Status '{"name":"wrong"}' | grep -q 'wrong.conf:2' || fail "Status does not show the file's error"
	enrolled_one
	echo nonsense >>"$root/etc/keyroll/trustpoints/tp.conf"
	kill -HUP "$agent"; await "$log" 'CONFIG_REFUSED.*tp.conf.*goes on'
	call Status '{"name":"tp"}' | grep -q '"status": "enrolled"' || fail "a wrong file took the running trustpoint down"
	printf '[Trustpoint]\nEnrollmentURL=%s\nSubjectName=CN=x\nRevocationCheck=crl\n' "$url" >"$root/etc/keyroll/trustpoints/wrong.conf"
	call Reload | grep -q 'not built yet' || fail "RevocationCheck=crl is not refused"
}
enrolled_one() { await "$log" CERT_INSTALL; [ -e "$(delivered)/cert.pem" ] || fail "nothing delivered"; }

case_unreachable() {
	machine good; trustpoint "http://127.0.0.1:1/x" "$pin"; agent_start
	await "$log" 'CONNECT_RETRY.*GetCACaps: .*[Cc]onnect'
	trustpoint "$url" "$pin"; call Reload >/dev/null; enrolled
}

case_no_custodian() {
	machine good; kill "$keyd"; wait "$keyd" 2>/dev/null
	rm -f "$root/run/keyroll/keyd.sock"; agent_start
	await "$log" 'prepare the request: '
	keyd_start; enrolled
}

case_by_hand() { # trust is never on first use: FetchCA shows, Authenticate trusts; then a renewal by command
	local before after
	machine good; sed -i /CAFingerprint/d "$root/etc/keyroll/trustpoints/tp.conf"; agent_start
	call Enroll '{"name":"tp"}' | grep -q NotAuthenticated || fail "Enroll without a trusted CA"
	call Enroll '{"name":"nobody"}' | grep -q NoSuchTrustpoint || fail "Enroll of nobody"
	call FetchCA '{"name":"tp"}' | grep -q "${pin#sha256:}" || fail "FetchCA does not show the fingerprint"
	call Status | grep -q '"status": "unauthenticated"' || fail "FetchCA trusts"
	call Authenticate "{\"name\":\"tp\",\"fingerprint\":\"$(printf '%064d' 5)\"}" | grep -q FingerprintMismatch || fail "a wrong fingerprint was accepted"
	call Authenticate "{\"name\":\"tp\",\"fingerprint\":\"${pin#sha256:}\"}" | grep -q "${pin#sha256:}" || fail "Authenticate"
	enrolled
	before=$(serial)
	mode no-renewal; call Renew '{"name":"tp"}' >/dev/null
	await "$log" 'refused RenewalReq \(badRequest\)'
	enrolled 2; after=$(serial)
	[ "$before" != "$after" ] || fail "the renewal delivered the old certificate"
	transactions_unique 3 # enrolment, renewal, the renewal as PKCSReq
	call Timers | grep -q '"timer": "RENEW"' || fail "no RENEW timer: $(call Timers)"
}

case_old_again() { # a CA that answers a renewal with the certificate that is there already
	machine good; sed -i /Regenerate/d "$root/etc/keyroll/trustpoints/tp.conf"; agent_start; enrolled
	mode same; call Renew '{"name":"tp"}' >/dev/null
	await "$log" 'REPLY_REFUSED: granted certificate: it is the old one'
	[ "$(readlink "$(delivered)")" = gen-1 ] || fail "something was delivered"
}

case_rejected() {
	machine reject; agent_start
	await "$log" 'CERT_REJECTED.*badRequest, fakeca was told to'
	call Status | grep -q '"hold": "rejected"' || fail "not held after a rejection"
	mode good; call Enroll '{"name":"tp"}' >/dev/null; enrolled
}

case_key_of_rejected() { # a key that was made for a request in vain goes with it, and the next renewal makes its own
	machine good; agent_start; enrolled
	mode reject; call Renew '{"name":"tp"}' >/dev/null
	await "$log" 'CERT_REJECTED.*badRequest, fakeca was told to'
	await "$log" 'KEY_DELETED.*of an abandoned request'
	mode good; call Renew '{"name":"tp"}' >/dev/null; enrolled 2
	[ "$(grep -c 'renew request over new key' "$log")" = 2 ] || fail "a renewal went without a new key"
}

case_shadow_anew() { # by command, and after a cancelled rollover: the shadow's key stays while it is wanted, and is in nobody's way afterwards
	ca_start next 3600 7200; keyd_start; trustpoint "$url" "$pin"; agent_start; enrolled
	call Renew '{"name":"tp"}' >/dev/null; await "$log" 'shadow request over new key'; await "$log" SHADOW_INSTALL
	call Renew '{"name":"tp"}' >/dev/null; await "$log" SHADOW_INSTALL 40 2
	grep -q 'shadow request over present key' "$log" || fail "the second shadow request is not over the shadow's key"
	mode next-other; call Renew '{"name":"tp"}' >/dev/null; await "$log" SHADOW_INSTALL 40 3
	[ "$(grep -c CA_ROLLOVER_AVAILABLE "$log")" = 2 ] || fail "the second next CA was not taken"
	[ "$(grep -c 'shadow request over new key' "$log")" = 2 ] || fail "the third shadow request is not over an unused key"
	grep -q CONNECT_RETRY "$log" && fail "something went wrong on the way"
	true
}

quota_left() { awk -v uid="$keyd_uid:" '$1 == uid { split($5, bytes, "/"); print bytes[2] - bytes[1] }' /proc/key-users; }
quota_fill() { # with payloads of 32767 bytes at most, until no other key fits
	local left n=0 size
	while left=$(quota_left) && [ "$left" -gt 64 ]; do
		size=$((left - 32 < 32767 ? left - 32 : 32767)) n=$((n + 1))
		head -c "$size" /dev/zero | "${as_keyd[@]}" keyctl padd user "filler-$n" @u >/dev/null || { fail "the quota is not filled"; return; }
	done
}
quota_free() {
	local id n=0
	while n=$((n + 1)) && id=$("${as_keyd[@]}" keyctl search @u user "filler-$n" 2>/dev/null); do "${as_keyd[@]}" keyctl unlink "$id" @u; done
	[ "$n" -gt 1 ] || fail "nothing was there to be freed"
}
key_signs() { # with the delivered key, by the delivered certificate; a sanitized provider wants its library first
	local first
	first=$(ldd "$build/.libs/keyroll.so" | awk '$1 ~ /^libasan/ { print $3 }')
	echo text >"$work/text"
	LD_PRELOAD=$first ASAN_OPTIONS=detect_leaks=0 OPENSSL_MODULES=$build/.libs openssl dgst -provider default -provider keyroll -sha256 \
		-sign "$(<"$(delivered)/key.uri")&socket=$root/run/keyroll/keyd.sock" -out "$work/sig" "$work/text" &&
		openssl dgst -sha256 -verify <(openssl x509 -in "$(delivered)/cert.pem" -noout -pubkey) -signature "$work/sig" "$work/text" >/dev/null
}
case_key_quota() { # a renewal whose key cannot be made leaves what serves as it is, says what to do, and is tried again until there is room
	local before keyd_uid
	[ "$(id -u)" = 0 ] || { echo "not root: the custodian cannot have a user, and a quota, of its own"; return; }
	ca_start good
	keyd_uid=$((1887436800 + BASHPID)); as_keyd=(setpriv --reuid="$keyd_uid" --regid="$keyd_uid" --clear-groups)
	chmod 755 "$all" "$work" "$root"; install -m 755 "$build/keyroll-keyd" "$work/"
	install -d -o "$keyd_uid" "$root/var/lib/keyroll/keyd" "$root/run/keyroll"
	"${as_keyd[@]}" "$work/keyroll-keyd" --root="$root" >>"$work/keyd.log" 2>&1 & pids+=("$!")
	await "$work/keyd.log" STARTED
	trustpoint "$url" "$pin"; agent_start; enrolled
	before=$(serial)
	quota_fill; call Renew '{"name":"tp"}' >/dev/null
	await "$log" 'KEY_QUOTA: .*\(keys [0-9]+/[0-9]+, bytes [0-9]+/[0-9]+ used\)\. Do: raise kernel\.keys'
	await "$log" 'CONNECT_RETRY: make a key: ' 40 2 # and again
	"$build/pkictl/pkictl" --root="$root" show tp | grep -q 'Last error: .*make a key: .*Do: raise kernel.keys.maxkeys and kernel.keys.maxbytes' ||
		fail "pkictl show does not say what to do: $("$build/pkictl/pkictl" --root="$root" show tp)"
	call Status | grep -q '"status": "enrolled"' || fail "status: $(call Status | grep '"status"')"
	[ "$(serial)" = "$before" ] && key_signs || fail "the old pair does not serve"
	quota_free; enrolled 2
	[ "$(serial)" != "$before" ] && key_signs || fail "no new pair once there was room"
}

case_no_trusted_clock() { # nothing is armed and nothing is asked, which is said once; what the operator asks is refused with the reason
	machine good
	printf '[Agent]\nClock=auto\n' >"$root/etc/keyroll/keyrolld.conf"; agent_start
	call Status | grep -q '"clock": "untrusted"' || { echo "this machine's clock is synchronised: nothing to see"; return; }
	call Timers | grep -q '"timer"' && fail "a timer is armed: $(call Timers)"
	call Enroll '{"name":"tp"}' | grep -q ClockNotTrusted || fail "Enroll by an untrusted clock"
	kill -HUP "$agent"; await "$log" CONFIG_LOADED 40 2
	[ "$(grep -c NON_AUTHORITATIVE_CLOCK "$log")" = 1 ] || fail "NON_AUTHORITATIVE_CLOCK is not said once"
	[ -s "$work/ca.log" ] && fail "the CA was asked: $(<"$work/ca.log")"
	kill "$agent"; wait "$agent"
	printf '[Agent]\nClock=assume-valid\n' >"$root/etc/keyroll/keyrolld.conf"; agent_start; enrolled
}

case_killed() { # in the midst of a pending request: the same transaction goes on
	local t1 t2
	machine pending; agent_start
	await "$log" CERT_PENDING
	t1=$(call Status | grep '"transaction"')
	kill -9 "$agent"; wait "$agent" 2>/dev/null
	agent_start
	t2=$(call Status | grep '"transaction"')
	[ -n "$t1" ] && [ "$t1" = "$t2" ] || fail "transaction changed over a crash: $t1, $t2"
	"$build/keyrolld" --root="$root" 2>&1 | grep -q 'another keyrolld' || fail "a second agent started on the same state"
	mode good; enrolled
}

case_rollover() { # forged GetNextCACert, then the true one, then the switch at the second
	local na late
	ca_start forged-next 40 40; keyd_start # long enough for a loaded machine to get there
	trustpoint "$url" "$pin" "Jitter=no
[Deliver]
Hook=$work/hook
"
	sed -i s/Percent=80/Percent=20/ "$root/etc/keyroll/trustpoints/tp.conf"
	cat >"$work/hook" <<-HOOK
		#!/bin/sh
		[ -e "$work/failed-once" ] || { touch "$work/failed-once"; exit 3; }
		echo "\$KEYROLL_REASON \$KEYROLL_TRUSTPOINT \$KEYROLL_SERIAL \$(cat "\$KEYROLL_DIR/key.uri")" >>"$work/hook.log"
	HOOK
	chmod +x "$work/hook"
	agent_start; enrolled
	await "$log" 'HOOK_FAILED.*exit status 3'
	await "$log" 'REPLY_REFUSED.*GetNextCACert'
	[ "$(grep -c BEGIN "$(delivered)/ca.pem")" = 1 ] || fail "a forged next CA is in the bundle"
	mode next
	await "$log" SHADOW_INSTALL
	na=$(date -d "$(openssl x509 -in "$(delivered)/ca.pem" -noout -enddate | cut -d= -f2)" +%s)
	[ "$(grep -c BEGIN "$(delivered)/ca.pem")" = 2 ] || fail "the next CA is not in the bundle"
	await "$log" SHADOW_ACTIVATED 60
	late=$(awk -v t="$(stat -c %.9Z "$(delivered)")" -v na="$na" 'BEGIN { printf "%d", (t - na) * 1000 }')
	echo "link switched $late ms after notAfter (the file system's clock lags by up to 10 ms)"
	[ "$late" -ge -10 ] && [ "$late" -le 500 ] || fail "the switch was $late ms after notAfter"
	await "$work/hook.log" '^rollover tp [0-9A-F]+ keyroll://tp\?spki='
	openssl verify -partial_chain -CAfile "$(delivered)/ca.pem" "$(delivered)/cert.pem" || fail "the shadow pair does not verify"
}

# ---- all of them ----

failed=0
for name in rollover $(declare -F | sed -n 's/^declare -f case_//p' | grep -vE '^(begin|end|rollover)$'); do
	[ "${1:-$name}" = "$name" ] || continue
	while [ "$(jobs -rp | wc -l)" -ge $AT_ONCE ]; do wait -n; done
	( case_begin "$name"; "case_$name" ) >"$all/$name.out" 2>&1 && echo ok >"$all/$name.ok" &
done
wait
for out in "$all"/*.out; do
	name=${out##*/} name=${name%.out}
	if [ -e "$all/$name.ok" ]; then echo "ok: $name"; else echo "FAILED: $name"; failed=1; fi
	sed 's/^/    /' "$out"
done
if [ $failed = 0 ]; then rm -rf "$all"; else echo "kept: $all"; fi
exit $failed

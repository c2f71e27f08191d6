#!/bin/bash
# The demo's server and peer, with plain key files: what the demo counts must be able to fail. No daemon of ours is needed.
set -eu
export LC_ALL=C
build=$(realpath "${top_builddir:-build}")
# shellcheck source=tests/basics.sh
. "${BASH_SOURCE[0]%/*}/basics.sh"
work=$(mktemp -d)
pids=()
cleanup() {
	[ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
	wait
	rm -rf "$work"
}
trap cleanup EXIT
fail() {
	echo "FAIL: $*"
	tail -n 20 "$work"/*.out "$work"/*.err 2>/dev/null
	exit 1
}

at() { date -u -d "@$1" +%Y%m%d%H%M%SZ; }

make_ca() {
	mkdir "$work/ca" "$work/tp"
	: >"$work/ca/index.txt"
	cat >"$work/ca.cnf" <<-CNF
		[ca]
		default_ca = it
		[it]
		database = $work/ca/index.txt
		new_certs_dir = $work/ca
		rand_serial = yes
		default_md = sha256
		policy = any
		unique_subject = no
		[any]
		commonName = supplied
		[req]
		distinguished_name = dn
		[dn]
		[v3]
		basicConstraints = critical,CA:TRUE
	CNF
	openssl req -config "$work/ca.cnf" -x509 -extensions v3 -newkey rsa:2048 -nodes -subj /CN=CA -days 2 \
		-keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
}

# generation N FROM TO: a delivered folder with a key of its own
generation() {
	local g=$work/tp/gen-$1

	mkdir "$g"
	openssl req -config "$work/ca.cnf" -newkey rsa:2048 -nodes -subj /CN=router -keyout "$g/key.pem" -out "$work/csr" 2>/dev/null
	openssl ca -batch -notext -config "$work/ca.cnf" -cert "$work/ca.pem" -keyfile "$work/ca.key" -in "$work/csr" -out "$g/cert.pem" \
		-startdate "$(at "$2")" -enddate "$(at "$3")" 2>"$work/ca.err" || fail "openssl ca"
	: >"$g/chain.pem"
	cp "$work/ca.pem" "$g/ca.pem"
}

switch_to() {
	ln -sfn "gen-$1" "$work/tp/next"
	mv -T "$work/tp/next" "$work/tp/current"
}

serial_of() { openssl x509 -noout -serial -in "$work/tp/gen-$1/cert.pem" | sed 's/serial=0*//'; }
events() { jq -r "select(.event == \"$1\") | .$2" "$work/watch.out"; }
saw() { [ "$(events "$1" "$2" | grep -cx "$3")" -ge 1 ]; }
summary() { events summary "$1"; }

start_server() {
	"$build/tests/demo/tlsserve" "$work/tp/current" >"$work/serve.out" 2>"$work/serve.err" &
	server=$!
	pids+=("$server")
	until_true 20 grep -q '^port ' "$work/serve.out" || fail "the server did not start"
	port=$(sed -n 's/^port //p' "$work/serve.out")
}

start_watch() {
	: >"$work/watch.out"
	"$build/tests/demo/tlswatch" "$work/tp" "${1:-router}" "$port" 50 >"$work/watch.out" 2>"$work/watch.err" &
	watch=$!
	pids+=("$watch")
}

# ends the peer; its status is in $verdict
stop_watch() {
	verdict=0
	kill -TERM "$watch"
	wait "$watch" || verdict=$?
	pids=("$server")
}

now=$(date +%s)
make_ca
generation 1 $((now - 60)) $((now + 3600))
generation 2 $((now - 60)) $((now + 3600))
switch_to 1
start_server

start_watch
until_true 20 saw serial serial "$(serial_of 1)" || fail "no handshake with the first serial"
switch_to 2
until_true 20 saw switch serial "$(serial_of 2)" || fail "the switch was not seen"
saw serial serial "$(serial_of 2)" && fail "the server changed without being told"
kill -HUP "$server"
until_true 20 saw serial serial "$(serial_of 2)" || fail "no handshake with the second serial"
stop_watch
[ "$verdict $(summary failed) $(summary tolerated)" = "0 0 0" ] || fail "a clean switch was not clean"
echo "ok: a switch and a reload lose no handshake"

generation 3 $((now - 60)) $((now + 3600))
cp "$work/tp/gen-2/key.pem" "$work/tp/gen-3/key.pem"
switch_to 3
start_watch
kill -HUP "$server"
until_true 20 grep -q '^kept the old pair: .*do not match' "$work/serve.out" || fail "a key of another certificate was taken"
until_true 20 saw serial serial "$(serial_of 2)" || fail "the old pair is not served any more"
stop_watch
[ "$verdict" = 0 ] || fail "keeping the old pair cost a handshake"
echo "ok: a pair that does not match is not taken"

start_watch another-name
until_true 20 saw failed event failed || fail "another host's certificate was accepted"
stop_watch
[ "$verdict" = 1 ] || fail "failures did not make the verdict"
[ "$(summary failed)" -gt 0 ] || fail "failures are not in the summary"
echo "ok: the name is checked"

generation 4 $((now - 60)) $((now - 10))
switch_to 4
kill -HUP "$server"
until_true 20 grep -q "^serving $(serial_of 4)" "$work/serve.out" || fail "the ended certificate was not loaded"
start_watch
until_true 20 saw failed event failed || fail "an ended certificate was accepted"
stop_watch
[ "$verdict" = 1 ] || fail "an ended certificate did not make the verdict"
saw failed why ".*expired.*" || fail "the reason is missing"
echo "ok: an ended certificate is a failure"

# ends while it is watched: first fine, then within the second of tolerance, then failed
end=$(($(date +%s) + 15)) # a key on a busy machine may take seconds
generation 5 $((end - 60)) "$end"
switch_to 5
kill -HUP "$server"
until_true 20 grep -q "^serving $(serial_of 5)" "$work/serve.out" || fail "the short certificate was not loaded"
start_watch
until_true 20 saw serial serial "$(serial_of 5)" || fail "it was not accepted while it was valid"
until_true 30 saw failed why ".*expired.*" || fail "the end was not seen"
stop_watch
[ "$(summary tolerated)" -gt 0 ] || fail "nothing was within the tolerance"
first=$(events failed at_ms | head -n 1)
[ $((first - (end - 1) * 1000)) -ge 0 ] || fail "it failed before the tolerance was over"
echo "ok: one second of tolerance, and no more"

kill -TERM "$server"
wait "$server" || fail "the server's end"
pids=()

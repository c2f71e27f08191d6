#!/bin/bash
# Unmodified programs use a key that they never see, by the PEM file that holds only its URI and by the URI itself: openssl's commands, curl, Debian's nginx
# and HAProxy (whose workers are another user) and stunnel. A renewed key: who holds the old one goes on until its grace ends, then fails cleanly; a reload
# gets the new one. What keyroll-provider(7) shows for each program is taken from the page, with the trustpoint's name put in, and used as it stands. In
# namespaces of its own for network and mounts. nginx and HAProxy are unpacked, never installed: installing would start them.
set -u
here=$(cd "${top_srcdir:-$(dirname "$0")/..}" && pwd)
export top_srcdir=$here top_builddir=${top_builddir:-$here/build}
cache=$top_builddir/e2e-programs
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
if [ -z "${IN_NAMESPACE:-}" ]; then
	if [ ! -e "$cache/complete" ]; then
		rm -rf "$cache"
		mkdir -p "$cache/tree"
		(cd "$cache" && apt-get -qq download nginx haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1 &&
			for deb in *.deb; do dpkg-deb -x "$deb" tree || exit; done) || { echo "nginx and HAProxy cannot be fetched"; exit 1; }
		touch "$cache/complete"
	fi
	# shellcheck disable=SC2016  # expanded inside
	IN_NAMESPACE=1 exec unshare --net --mount bash -c 'ip link set lo up && exec bash "$1"' _ "$here/tests/e2e-programs.sh"
fi
# shellcheck source=tests/lib.sh
. "$here/tests/lib.sh"
chmod 0711 "$ROOT" # nginx's workers have to reach the custodian's socket
D=/var/lib/keyroll/delivered/web/current W=$ROOT/web JAIL=/var/lib/haproxy
NAME=web.example.com NGINX_PORT=4433 STUNNEL_PORT=4434 SSERVER_PORT=4435 HAPROXY_PORT=443 PLAIN_PORT=8080
KEYS="$D/key.pem"
mkdir -p "$W/tmp"
chmod 0755 "$W"

# The paths of an installed machine, and HAProxy's user, for this script alone.
machine_make() {
	local dir
	for dir in etc run var/lib; do
		mkdir -p "$ROOT/machine/$dir" "$ROOT/$dir/keyroll"
		[ "$dir" != etc ] || cp -a /etc/. "$ROOT/machine/etc"
		mount --bind "$ROOT/machine/$dir" "/$dir" || fail "mount"
		ln -sfn "$ROOT/$dir/keyroll" "/$dir/keyroll"
	done
	mkdir -p /etc/haproxy "$JAIL"
	getent passwd haproxy >/dev/null || { echo haproxy:x:64999:64999::$JAIL:/bin/false >>/etc/passwd; echo haproxy:x:64999: >>/etc/group; }
}
JAILED=
trap 'stop_all; [ -z "$JAILED" ] || umount "$JAILED"; cleanup' EXIT

# page WHERE N: the N-th literal text of that item or section of the page
page() {
	local text
	text=$(awk -v where="$1" -v want="$2" '/^\.(It|Ss|Sh) / { here = $0 == where; n = 0 }
		here && /^\.Bd -literal/ { on = ++n == want; next }
		/^\.Ed/ { on = 0 }
		here && on' "$here/man/keyroll-provider.7" | sed 's,/TP/,/web/,')
	if [ -z "$text" ] || grep -qE '^[.]|[\]' <<<"$text"; then fail "the page has no such text, or one that roff would change: $1, $2"; fi
	printf '%s\n' "$text"
}
page_user() {
	awk -v item=".It Nm $1" '/^\.It / { here = $0 == item } here && sub(/^\.Cm Users Ns = Ns Em /, "") { sub(/ \.$/, ""); print }' \
		"$here/man/keyroll-provider.7"
}
# unit_says KEY ITEM N: what the drop-in that the page shows there gives KEY
unit_says() { page "$2" "$3" | sed -n "s/^$1=//p"; }

# What the service manager has to say of the page's drop-ins: nothing; and of a misspelt one, something.
drop_in_words() { # UNIT TEXT
	mkdir -p "$W/units/$1.d"
	printf '[Service]\nExecStart=/bin/true\n' >"$W/units/$1"
	printf '%s\n' "$2" >"$W/units/$1.d/keyroll.conf"
	SYSTEMD_UNIT_PATH=$W/units: systemd-analyze verify "$1" 2>&1 | grep -F keyroll.conf
}
drop_ins_read() {
	local words
	words=$(drop_in_words nginx.service "$(page ".It Nm nginx" 1)"
		drop_in_words haproxy.service "$(page ".It Nm HAProxy" 3)"
		drop_in_words stunnel@web.service "$(page ".It Nm stunnel" 2)")
	[ -z "$words" ] || fail "a drop-in of the page: $words"
	words=$(drop_in_words nginx.service "$(page ".It Nm nginx" 1 | sed s/Environment/Enviroment/)")
	[ -n "$words" ] || fail "a misspelt drop-in is not told of"
	pass "the page's drop-ins are such"
}

prepare() {
	machine_make
	start_ca WEBCA "[CA]
IssuerName=CN=WebCA,O=Example
Listen=127.0.0.1:0
Grant=auto
GrantRenewals=yes
KeySize=2048
CACertificateLifetime=30d
CertificateLifetime=5d
Clock=assume-valid"
	trustpoint_file web '[Trustpoint]' DNSName=$NAME '[Key]' Label=spoke-1-RSA "Users=$(page_user nginx) $(page_user HAProxy)" '[Deliver]' Grace=10s
	start_agent
	until_true 30 is_enrolled web || fail "not enrolled: $(ctl show web)"
	export OPENSSL_MODULES=$BIN/.libs # where the installed library looks by itself
	page ".Ss Configuration" 1 >/etc/keyroll/openssl.cnf
	{ cat /etc/keyroll/openssl.cnf; printf '[req]\ndistinguished_name = name\n[name]\n'; } >"$ROOT/commands.cnf" # openssl req wants these
	export OPENSSL_CONF=$ROOT/commands.cnf
	openssl x509 -in "$D/cert.pem" -pubkey -noout >"$W/pub.pem"
	head -c 1000 /dev/urandom >"$W/text"
	KEYS="$D/key.pem $(cat "$D/key.uri")"
}

quiet() { "$@" >"$W/out" 2>&1 || { cat "$W/out"; fail "$*"; }; }

# ---- openssl's commands, with KEY
commands_sign() { # KEY
	local pss=(-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest)
	local pkey_pss=(-pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:32)
	quiet openssl dgst -sha256 -sign "$1" -out "$W/s" "$W/text"
	quiet openssl dgst -sha256 -verify "$W/pub.pem" -signature "$W/s" "$W/text"
	quiet openssl dgst -sha384 "${pss[@]}" -sign "$1" -out "$W/s" "$W/text"
	quiet openssl dgst -sha384 "${pss[@]}" -verify "$W/pub.pem" -signature "$W/s" "$W/text"
	openssl dgst -sha256 -binary "$W/text" >"$W/digest"
	quiet openssl pkeyutl -sign -inkey "$1" -in "$W/digest" -out "$W/s" -pkeyopt digest:sha256
	quiet openssl pkeyutl -verify -pubin -inkey "$W/pub.pem" -in "$W/digest" -sigfile "$W/s" -pkeyopt digest:sha256
	quiet openssl pkeyutl -sign -inkey "$1" -in "$W/digest" -out "$W/s" -pkeyopt digest:sha256 "${pkey_pss[@]}"
	quiet openssl pkeyutl -verify -pubin -inkey "$W/pub.pem" -in "$W/digest" -sigfile "$W/s" -pkeyopt digest:sha256 "${pkey_pss[@]}"
	quiet openssl pkeyutl -sign -inkey "$1" -rawin -digest sha512 -in "$W/text" -out "$W/s"
	quiet openssl pkeyutl -verify -pubin -inkey "$W/pub.pem" -rawin -digest sha512 -in "$W/text" -sigfile "$W/s"
}
commands_decrypt() { # KEY
	local opt
	head -c 50 "$W/text" >"$W/short"
	for opt in rsa_padding_mode:pkcs1 rsa_padding_mode:oaep "rsa_padding_mode:oaep rsa_oaep_md:sha256" \
		"rsa_padding_mode:oaep rsa_oaep_md:sha256 rsa_mgf1_md:sha1"; do
		# shellcheck disable=SC2046,SC2086  # a list of options
		quiet openssl pkeyutl -encrypt -pubin -inkey "$W/pub.pem" -in "$W/short" -out "$W/c" $(printf -- '-pkeyopt %s ' $opt)
		# shellcheck disable=SC2046,SC2086  # likewise
		quiet openssl pkeyutl -decrypt -inkey "$1" -in "$W/c" -out "$W/plain" $(printf -- '-pkeyopt %s ' $opt)
		cmp -s "$W/short" "$W/plain" || fail "pkeyutl -decrypt $opt"
	done
}
commands_certify() { # KEY
	quiet openssl req -new -key "$1" -subj "/CN=$NAME" -out "$W/csr.pem"
	quiet openssl req -verify -noout -in "$W/csr.pem"
	quiet openssl req -x509 -new -key "$1" -sigopt rsa_padding_mode:pss -subj /CN=self -days 1 -out "$W/self.pem"
	quiet openssl verify -CAfile "$W/self.pem" "$W/self.pem"
	quiet openssl x509 -req -in "$W/csr.pem" -CA "$W/self.pem" -CAkey "$1" -set_serial 7 -days 1 -out "$W/issued.pem"
	quiet openssl verify -CAfile "$W/self.pem" -partial_chain "$W/issued.pem"
}
commands_cms() { # KEY
	local opt
	for opt in "" "-keyopt rsa_padding_mode:pss"; do
		# shellcheck disable=SC2086  # a list of options
		quiet openssl cms -sign -binary -in "$W/text" -signer "$D/cert.pem" -inkey "$1" -outform DER -out "$W/signed" $opt
		quiet openssl cms -verify -binary -inform DER -in "$W/signed" -content "$W/text" -CAfile "$D/ca.pem" -purpose any -out "$W/plain"
	done
	for opt in "" "-keyopt rsa_padding_mode:oaep"; do
		# shellcheck disable=SC2086  # a list of options
		quiet openssl cms -encrypt -binary -aes256 -in "$W/text" -outform DER -out "$W/sealed" -recip "$D/cert.pem" $opt
		quiet openssl cms -decrypt -binary -inform DER -in "$W/sealed" -recip "$D/cert.pem" -inkey "$1" -out "$W/plain"
		cmp -s "$W/text" "$W/plain" || fail "cms -decrypt $opt"
	done
}

# ---- TLS
# handshake PORT OPTIONS...: a verifying client with a certificate of its own; what it saw is in $W/seen
handshake() {
	local port=$1
	shift
	timeout 10 openssl s_client -connect "127.0.0.1:$port" -servername "$NAME" -CAfile "$D/ca.pem" -verify_return_error -verify_hostname "$NAME" \
		-cert "$D/cert.pem" -key "$D/key.pem" "$@" </dev/null >"$W/seen" 2>&1
}
all_handshakes() { # PORT WHO
	handshake "$1" -tls1_3 || { cat "$W/seen"; fail "$2 in TLS 1.3"; }
	handshake "$1" -tls1_2 -cipher ECDHE-RSA-AES256-GCM-SHA384 || { cat "$W/seen"; fail "$2 in TLS 1.2, ECDHE"; }
	handshake "$1" -tls1_2 -cipher AES256-GCM-SHA384 || { cat "$W/seen"; fail "$2 in TLS 1.2, RSA key exchange"; }
}
served() { handshake "$1" && openssl x509 -noout -serial <"$W/seen"; }

chroot_shuts() { ! handshake "$HAPROXY_PORT" && grep -q 'alert internal error' "$W/seen"; }
jail_open() { # FROM:TO, as the service manager does it
	mkdir -p "${1#*:}"
	mount --bind "${1%:*}" "${1#*:}" || fail "mount"
	JAILED=${1#*:}
}

start_servers() {
	cat >"$W/nginx.conf" <<-CONF
		user www-data;
		worker_processes 2;
		daemon off;
		pid $W/nginx.pid;
		error_log $W/nginx.log info;
		events { }
		http {
			access_log off;
			client_body_temp_path $W/tmp/b; proxy_temp_path $W/tmp/p; fastcgi_temp_path $W/tmp/f; uwsgi_temp_path $W/tmp/u; scgi_temp_path $W/tmp/s;
			server {
				listen 127.0.0.1:$NGINX_PORT ssl;
				$(page ".It Nm nginx" 2)
				ssl_protocols TLSv1.2 TLSv1.3;
				ssl_ciphers HIGH;
				ssl_session_tickets off;
				ssl_client_certificate $D/ca.pem;
				ssl_verify_client on;
				location / { return 200 "hello \$ssl_client_s_dn\n"; }
			}
			server { listen 127.0.0.1:$PLAIN_PORT; location / { return 200 "plain\n"; } }
		}
	CONF
	cat >"$W/stunnel.conf" <<-CONF
		$(page ".It Nm stunnel" 1 | grep foreground)
		pid =
		[web]
		accept = 127.0.0.1:$STUNNEL_PORT
		connect = 127.0.0.1:$PLAIN_PORT
		$(page ".It Nm stunnel" 1 | grep -v foreground)
		ciphers = HIGH
	CONF
	eval "$(page ".It Nm HAProxy" 1)"
	cat >"$W/haproxy.cfg" <<-CONF
		global
			user haproxy
			group haproxy
			chroot $JAIL
			ssl-default-bind-ciphers ALL
		defaults
			mode http
			timeout client 10s
			timeout connect 10s
			timeout server 10s
		frontend web
			$(page ".It Nm HAProxy" 2)
			http-request return status 200 content-type text/plain string hello
	CONF
	supervise haproxy env "$(unit_says Environment ".It Nm HAProxy" 3)" \
		LD_LIBRARY_PATH="$(dirname "$(find "$cache/tree/usr/lib" -name 'liblua5.3.so.0' | head -n 1)")" \
		"$cache/tree/usr/sbin/haproxy" -W -db -f "$W/haproxy.cfg"
	supervise nginx env "$(unit_says Environment ".It Nm nginx" 1)" "$cache/tree/usr/sbin/nginx" -e "$W/nginx.log" -c "$W/nginx.conf"
	supervise stunnel env "$(unit_says Environment ".It Nm stunnel" 2)" stunnel4 "$W/stunnel.conf"
	supervise s_server openssl s_server -accept "127.0.0.1:$SSERVER_PORT" -cert "$D/cert.pem" -key "$(cat "$D/key.uri")" -CAfile "$D/ca.pem" \
		-Verify 1 -verify_return_error -quiet -cipher ALL
	until_true 15 handshake "$NGINX_PORT" || { cat "$W/nginx.log" "$W/seen"; fail "nginx does not serve"; }
	until_true 15 chroot_shuts || { cat "$W/seen"; fail "HAProxy in its chroot, without the socket, does otherwise than the page says"; }
	jail_open "$(unit_says BindPaths ".It Nm HAProxy" 3)"
	until_true 15 handshake "$HAPROXY_PORT" || { cat "$W/seen"; fail "HAProxy does not serve"; }
	until_true 15 handshake "$STUNNEL_PORT" || { cat "$W/seen"; fail "stunnel does not serve"; }
	until_true 15 handshake "$SSERVER_PORT" || { cat "$W/seen"; fail "s_server does not serve"; }
}

prepare
for key in $KEYS; do
	commands_sign "$key"
	commands_decrypt "$key"
	commands_certify "$key"
	commands_cms "$key"
	pass "openssl's commands with ${key%%\?*}"
done

cp "$W/text" "$W/file"
(cd "$W" && unset OPENSSL_CONF && eval "$(page ".Sh EXAMPLES" 1)") || fail "the page's example"
quiet openssl dgst -sha256 -verify "$W/pub.pem" -signature "$W/sig" "$W/file"
pass "the page's example"

drop_ins_read
start_servers
first=$(served "$NGINX_PORT")
all_handshakes "$SSERVER_PORT" "openssl s_server by URI"
pass "openssl s_server and s_client, TLS 1.2 and 1.3, both with such a key"
all_handshakes "$NGINX_PORT" nginx
[ "$(ps -o user= --ppid "$(cat "$ROOT/pid/nginx")" | sort -u)" = www-data ] || fail "nginx's workers are not www-data"
pass "nginx by the PEM file, its workers being another user"
all_handshakes "$HAPROXY_PORT" HAProxy
[ "$(ps -o user= --ppid "$(cat "$ROOT/pid/haproxy")" | sort -u)" = haproxy ] || fail "HAProxy's worker is not haproxy"
pass "HAProxy by two links to the PEM files, its worker being another user in a chroot, which the socket has to be brought into"
all_handshakes "$STUNNEL_PORT" stunnel
pass "stunnel by the PEM file"
echo "127.0.0.1 $NAME" >>/etc/hosts
(eval "$(page ".It Nm curl" 1 | sed "s,https://\.\.\.,-sS --max-time 10 https://$NAME:$NGINX_PORT/,")") >"$W/answer" || fail "curl with a client certificate"
grep -q "hello CN=$NAME" "$W/answer" || fail "nginx does not know curl's certificate: $(cat "$W/answer")"
pass "curl with a client certificate"

# ---- a new key
declare -A PORT=([nginx]=$NGINX_PORT [HAProxy]=$HAPROXY_PORT [stunnel]=$STUNNEL_PORT) served_old=() failed_ms=()
GRACE_MS=$(sed -n 's/^Grace=\([0-9]*\)s$/\1/p' "$ROOT/etc/keyroll/trustpoints/web.conf")000
EARLY_MS=1000 # of the clock's second in which the agent counts
LATE_MS=6000  # until the agent has had the key deleted, and the next handshake has noticed
renewed() { [ "$(openssl x509 -noout -serial -in "$D/cert.pem")" != "$first" ]; }
now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }
processes() { # of all three, the workers too
	local master
	for master in "$(cat "$ROOT/pid/nginx")" "$(cat "$ROOT/pid/haproxy")" "$(cat "$ROOT/pid/stunnel")"; do ps -o pid= -p "$master" --ppid "$master"; done | sort | tr '\n' ' '
}
# old_key_tried: one handshake with each that has not failed yet. What the first failure looked like is in $W/seen.WHO, when it was in failed_ms.
old_key_tried() {
	local who serial
	for who in "${!PORT[@]}"; do
		[ -z "${failed_ms[$who]:-}" ] || continue
		if serial=$(served "${PORT[$who]}"); then
			[ "$serial" = "$first" ] || fail "$who has taken another certificate by itself: $serial"
			served_old[$who]=$((${served_old[$who]:-0} + 1))
		else
			failed_ms[$who]=$(($(now_ms) - renewed_ms))
			cp "$W/seen" "$W/seen.$who"
		fi
	done
}
haproxy_pid=$(cat "$ROOT/pid/haproxy") nginx_pid=$(cat "$ROOT/pid/nginx") stunnel_pid=$(cat "$ROOT/pid/stunnel")
living=$(processes)
[ "$(wc -w <<<"$living")" -ge 6 ] || fail "of nginx, HAProxy and stunnel only these processes: $living"
ctl renew web >/dev/null
! grep -i 'stale global SSL error' "$W/nginx.log" || fail "handshakes that went well left something in OpenSSL's error queue"
until_true 20 renewed || fail "not renewed: $(ctl show web)"
renewed_ms=$(now_ms)
while [ "${#failed_ms[@]}" -lt "${#PORT[@]}" ] && [ $(($(now_ms) - renewed_ms)) -lt $((GRACE_MS + LATE_MS)) ]; do
	old_key_tried
	read -rt 1 <> <(:) # how often they are asked
done
for who in "${!PORT[@]}"; do
	at=${failed_ms[$who]:-}
	[ -n "$at" ] || fail "$who: the old key works $LATE_MS ms after its grace of $GRACE_MS ms still"
	[ "$at" -ge $((GRACE_MS - EARLY_MS)) ] || { cat "$W/seen.$who"; fail "$who: the old key fails after $at ms already, its grace is $GRACE_MS ms"; }
	[ "${served_old[$who]}" -ge 3 ] || fail "$who: only ${served_old[$who]} handshakes within the grace"
	pass "$who goes on with the old key, ${served_old[$who]} handshakes; the first failed $at ms after the renewal, with a grace of $GRACE_MS ms"
done
for who in "${!PORT[@]}"; do
	grep -q 'SSL routines:.*alert internal error' "$W/seen.$who" || { cat "$W/seen.$who"; fail "$who: no alert, but another end"; }
done
[ "$(processes)" = "$living" ] || fail "of nginx, HAProxy and stunnel other processes live than before: $(processes), were $living"
grep -E 'exited on signal|exited with code|supervisor: ' "$W/nginx.log" "$ROOT/log/nginx.log" "$ROOT/log/haproxy.log" "$ROOT/log/stunnel.log" &&
	fail "a process of nginx, HAProxy or stunnel has died"
grep -qi 'keyroll\|SSL_do_handshake() failed' "$W/nginx.log" || fail "nginx's log says nothing: $(tail -n 5 "$W/nginx.log")"
pass "when its grace has ended the old key fails cleanly: an alert of each, the same processes, and a line in the log"
kill -HUP "$nginx_pid"
kill -USR2 "$haproxy_pid"
MAINPID=$stunnel_pid eval "$(unit_says ExecReload ".It Nm stunnel" 2)"
new_served() { [ "$(served "$1")" = "$(openssl x509 -noout -serial -in "$D/cert.pem")" ]; }
until_true 20 new_served "$NGINX_PORT" || { cat "$W/seen"; tail "$W/nginx.log"; fail "a reload does not get the new key"; }
until_true 20 new_served "$HAPROXY_PORT" || { cat "$W/seen"; fail "a reload of HAProxy does not get the new key"; }
until_true 20 new_served "$STUNNEL_PORT" || { cat "$W/seen"; fail "a reload of stunnel does not get the new key"; }
[ "$(cat "$ROOT/pid/nginx") $(cat "$ROOT/pid/haproxy") $(cat "$ROOT/pid/stunnel")" = "$nginx_pid $haproxy_pid $stunnel_pid" ] ||
	fail "nginx, HAProxy or stunnel was started anew"
pass "a reload gets the new one"
echo "$PASSED passed, 0 failed"

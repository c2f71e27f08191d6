#!/bin/bash
# The agent dies by SIGKILL at each numbered point of an enrolment, a renewal and a rollover (KEYROLL_FAULT, built with --enable-fault-points), and is
# started again: it ends where it would have ended without, the CA was asked for no more than it granted, and the pair that is delivered fits.
set -u
# shellcheck source=tests/basics.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/basics.sh"
build=$(cd "${top_builddir:-.}" && pwd)
grep -q agent.k4-sent "$build/keyrolld" || { echo "keyrolld is built without --enable-fault-points"; exit 77; }
export KEYROLL_LIBEXECDIR=$build KEYROLL_MODULESDIR=$build/.libs
all=$(mktemp -d /tmp/keyroll-kill-agent.XXXXXX)
AT_ONCE=${AT_ONCE:-6}
LIFE_SEC=24 # of the CA's certificate and of the agent's: a loaded machine must enrol and take its shadow within
POINTS="agent.k0-decided agent.before-persist agent.persisted agent.k2-key-stored agent.k3-before-send agent.k4-sent agent.k5-verified agent.k6-granted-stored
	agent.k7-generation-filled agent.k8-before-switch agent.k8-switched agent.k9-before-promote agent.k10-retired fs.temp fs.synced fs.renamed fs.link-made
	fs.link-switched"
HITS=${HITS:-"1 2 3"}

await() { # counted, not thrown away: into /dev/null, grep ends at the first match whatever -m says
	local n
	n=$(timeout "${3:-40}" grep -c -m"${4:-1}" -E -- "$2" <(tail -n +1 -F "$1" 2>/dev/null))
	[ "${n:-0}" -ge "${4:-1}" ]
}
await_file() {
	local n=0
	until [ -e "$1" ]; do
		n=$((n + 1))
		[ "$n" -gt 300 ] && return 1
		read -r -t 0.1 <> <(:)
	done
	return 0 # and not what read says of its time-out
}
# shellcheck disable=SC2317 # the trap calls it
gone() {
	local p
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null; done
	for p in "${pids[@]}"; do wait "$p" 2>/dev/null; done
	rings_purge "$root/var/lib/keyroll/keyd"
}

machine() {
	root=$work/root pids=()
	trap gone EXIT
	mkdir -p "$root/etc/keyroll/trustpoints" "$root/run/keyroll" "$root/var/lib/keyroll" "$work/ca"
	printf '[Agent]\nClock=assume-valid\n' >"$root/etc/keyroll/keyrolld.conf"
	echo next >"$work/ca/mode"
	"$build/tests/fakeca" "$work/ca" "$LIFE_SEC" "$LIFE_SEC" 2>"$work/ca.log" & pids+=("$!")
	"$build/keyroll-keyd" --root="$root" >"$work/keyd.log" 2>&1 & pids+=("$!")
	await_file "$work/ca/url" && await_file "$root/run/keyroll/keyd.sock" || return 1
	cat >"$root/etc/keyroll/trustpoints/tp.conf" <<-CONF
		[Trustpoint]
		EnrollmentURL=$(<"$work/ca/url")
		CAFingerprint=$(<"$work/ca/fingerprint")
		SubjectName=CN=spoke-1
		[Key]
		Protection=keyring
		[AutoEnroll]
		Percent=20
		Regenerate=yes
		RetryPeriod=1s
		Jitter=no
		[Deliver]
		Grace=1s
	CONF
}

# one POINT:HIT: dies there, is started again, and rolls over all the same
one() {
	local d granted distinct spki
	machine || { echo "the machine did not start"; return 1; }
	d=$root/var/lib/keyroll/delivered/tp/current
	KEYROLL_FAULT=$1 "$build/keyrolld" --root="$root" --verbose >"$work/agent.log" 2>&1 & local first=$!
	pids+=("$first")
	# the first agent ends by its fault or, if that hit never comes, rolls over by itself
	(await "$work/agent.log" SHADOW_ACTIVATED 60; kill "$first" 2>/dev/null) & pids+=("$!")
	wait "$first" 2>/dev/null
	if ! grep -q SHADOW_ACTIVATED "$work/agent.log"; then
		echo "died at $1" >>"$work/died"
		"$build/keyrolld" --root="$root" --verbose >>"$work/agent.log" 2>&1 & pids+=("$!")
	fi
	await "$work/agent.log" SHADOW_ACTIVATED 60 || { echo "no rollover after $1"; tail -5 "$work/agent.log"; return 1; }
	openssl verify -partial_chain -CAfile "$d/ca.pem" "$d/cert.pem" >/dev/null 2>&1 || { echo "$1: what is delivered does not verify"; return 1; }
	spki=$(openssl x509 -in "$d/cert.pem" -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum | cut -d' ' -f1)
	grep -q "spki=$spki\$" "$d/key.uri" || { echo "$1: certificate and key URI are not a pair"; return 1; }
	granted=$(grep -c 'status 0' "$work/ca.log")
	distinct=$(grep 'status 0' "$work/ca.log" | awk '{ print $3 }' | sort -u | wc -l)
	# an enrolment and a shadow: a third transaction would mean that one was lost
	[ "$distinct" -le 2 ] || { echo "$1: $distinct transactions were granted ($granted answers), wanted 2"; return 1; }
}

failed=0 n=0
for point in $POINTS; do
	for hit in $HITS; do
		while [ "$(jobs -rp | wc -l)" -ge "$AT_ONCE" ]; do wait -n; done
		n=$((n + 1))
		(work=$all/$point:$hit; mkdir "$work"; one "$point:$hit") >"$all/$point:$hit.out" 2>&1 || echo failed >"$all/$point:$hit.failed" &
	done
done
wait
for f in "$all"/*.failed; do
	[ -e "$f" ] || continue
	failed=1
	cat "${f%.failed}.out"
done
echo "$n runs, $(cat "$all"/*/died 2>/dev/null | wc -l) deaths"
[ -n "$(cat "$all"/*/died 2>/dev/null)" ] || { echo "nothing died: the points are not where this test thinks"; failed=1; }
if [ $failed = 0 ]; then rm -rf "$all"; else echo "kept: $all"; fi
exit $failed

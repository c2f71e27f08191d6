#!/bin/bash
# The installed units under a real systemd: a bookworm root (made once, kept in the build folder), `make install` into a copy, and tests/nspawn-inside.sh
# as a service of a container that has its own systemd, journal, users and network. Needs root. Status: the script's; 77 without root or the tools.
set -eu
export LC_ALL=C
src=$(realpath "${top_srcdir:-.}")
build=$(realpath "${top_builddir:-build}")
LIMIT_SEC=300
PACKAGES=systemd,systemd-sysv,dbus,polkitd,kmod,keyutils,openssl,jq,curl,libssl3,libcurl4,libmicrohttpd12,libsqlite3-0,libjansson4,libkeyutils1,libsystemd0

[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
for tool in systemd-nspawn mmdebstrap; do
	command -v "$tool" >/dev/null || { echo "no $tool here"; exit 77; }
done

base=$build/nspawn-root
work=$(mktemp -d /var/tmp/keyroll-nspawn.XXXXXX)
trap 'rm -rf "$work"' EXIT

# Debian's own sources of this machine: others have keys that the new root does not know.
sources() { grep -lsE '(^|[ /])bookworm( |$)' /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list || true; }

make_base() {
	local list

	mapfile -t list < <(sources)
	[ "${#list[@]}" -gt 0 ] || { echo "no apt source for bookworm"; exit 1; }
	rm -rf "$base" "$base.new"
	mmdebstrap --quiet --mode=root --variant=minbase --include="$PACKAGES" bookworm "$base.new" "${list[@]}" || { rm -rf "$base.new"; echo "mmdebstrap failed"; exit 1; }
	rm -rf "$base.new"/var/cache/apt/* "$base.new"/var/lib/apt/lists/* "$base.new"/usr/share/{doc,man,locale}
	echo "$PACKAGES" >"$base.new/.packages"
	mv "$base.new" "$base"
}

# Units, catalogue and polkit's rule are only found where the system looks: the build must be for /usr, as README says.
if ! grep -qx "prefix = /usr" "$build/Makefile"; then
	mkdir -p "$build/nspawn-build"
	cd "$build/nspawn-build"
	[ -e Makefile ] || "$src/configure" -q --prefix=/usr --sysconfdir=/etc || { echo "configure failed"; exit 1; }
	make -s -j"$(nproc)" all >"$work/build.log" 2>&1 || { tail -n 20 "$work/build.log"; exit 1; }
	build=$build/nspawn-build
fi

[ "$(cat "$base/.packages" 2>/dev/null)" = "$PACKAGES" ] || make_base
mkdir "$work/share"
cp -a "$base" "$work/root"
make -s -C "$build" install DESTDIR="$work/root" >"$work/install.log" 2>&1 || { tail -n 20 "$work/install.log"; exit 1; }
cp "$src"/tests/{installed,nspawn-inside}.sh "$work/share/"
systemd-sysusers --root="$work/root"

mkdir -p "$work/root/etc/systemd/system"
cat >"$work/root/etc/systemd/system/keyroll-test.target" <<'UNIT'
[Unit]
Requires=multi-user.target
Wants=keyroll-test.service
After=multi-user.target
UNIT
cat >"$work/root/etc/systemd/system/keyroll-test.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
TimeoutStartSec=infinity
Environment=HOME=/root TERM=dumb
StandardOutput=file:/share/out
StandardError=inherit
ExecStart=-/bin/sh -c '/bin/bash /share/nspawn-inside.sh; echo $? >/share/rc'
ExecStopPost=/bin/sh -c 'journalctl -o short-precise --no-pager >/share/journal 2>&1; systemctl exit $(cat /share/rc || echo 125)'
UNIT

# nspawn's own filter forbids the key system calls; a user namespace gives the container keyrings and a quota of its own
status=0
timeout -k 10 "$LIMIT_SEC" systemd-nspawn -q -M "keyroll$$" -D "$work/root" --register=no --keep-unit --private-users=identity --private-network \
	--system-call-filter=@keyring --bind="$work/share:/share" --boot --console=pipe systemd.unit=keyroll-test.target systemd.show_status=0 \
	</dev/null >"$work/console" 2>&1 || status=$?
[ -e "$work/share/rc" ] || { echo "the container did not come up:"; tail -n 30 "$work/console"; exit 1; }
cat "$work/share/out"
[ "$status" = 0 ] || { echo "--- journal"; tail -n 60 "$work/share/journal"; }
exit "$status"

#!/bin/bash
# root.sh CACHE: Debian 12's root as an ext4 image with what the guest needs, but nothing of Keyroll. Made once: the list of its packages is
# its stamp. Prints the image's path. Nothing is mounted for it.
set -eu
export LC_ALL=C
cache=$1
PACKAGES=systemd,systemd-sysv,dbus,polkitd,kmod,keyutils,openssl,jq,curl,procps,gdb-minimal,util-linux-extra,sqlite3
PACKAGES=$PACKAGES,libssl3,libcurl4,libmicrohttpd12,libsqlite3-0,libjansson4,libkeyutils1,libsystemd0,libcunit1
PACKAGES=$PACKAGES,libtss2-esys-3.0.2-0,libtss2-mu0,libtss2-rc0,libtss2-tcti-device0,tpm2-openssl
image=$cache/root.img

if [ "$(cat "$cache/root.packages" 2>/dev/null)" != "$PACKAGES" ]; then
	# Debian's own sources of this machine: others have keys that the new root does not know
	mapfile -t sources < <(grep -lsE '(^|[ /])bookworm( |$)' /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list || true)
	[ "${#sources[@]}" -gt 0 ] || { echo "no apt source for bookworm" >&2; exit 1; }
	mkdir -p "$cache"
	tree=$(mktemp -d /var/tmp/keyroll-vm-root.XXXXXX)
	trap 'rm -rf "$tree"' EXIT
	mmdebstrap --quiet --mode=root --variant=minbase --include="$PACKAGES" bookworm "$tree" "${sources[@]}" >&2
	rm -rf "$tree"/var/cache/apt/* "$tree"/var/lib/apt/lists/* "$tree"/usr/share/{doc,man,locale}
	rm -f "$image" "$cache/root.packages"
	mke2fs -q -F -t ext4 -O ^has_journal -E root_owner=0:0 -d "$tree" "$image" "$(($(du -sm "$tree" | cut -f 1) * 5 / 4 + 64))M" >&2 # it may tell of the file that it makes
	echo "$PACKAGES" >"$cache/root.packages"
fi
echo "$image"

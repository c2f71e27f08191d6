#!/bin/bash
# The key store's contract and guarantees on level `kernel`, which needs a kernel with the PKCS#8 parser: Debian's cloud kernel is started under emulation
# with an initramfs of busybox, the tests, the custodian and the parser's module; no disk, no network. Their status comes back by the console. Before the
# module is loaded it is the machine without level kernel: what then becomes of keys whose level is lost.
# The guest's clock counts instructions: on a loaded host its time-outs wait too.
# KERNEL=PACKAGE takes another linux-image package. Status 77: no emulator to be had.
set -eu
export LC_ALL=C
src=$(realpath "${top_srcdir:-.}")
build=$(realpath "${top_builddir:-build}")
LIMIT_SEC=${LIMIT_SEC:-800}
cache=$build/initramfs-kernel

need() { # COMMAND PACKAGE: installs it where that is possible
	command -v "$1" >/dev/null && return 0
	[ "$(id -u)" = 0 ] && apt-get -qq update && apt-get -qq install -y --no-install-recommends "$2" </dev/null >/dev/null
	command -v "$1" >/dev/null
}
need qemu-system-x86_64 qemu-system-x86 || { echo "no emulator: qemu-system-x86 cannot be installed here"; exit 77; }
for pair in busybox:busybox-static cpio:cpio xz:xz-utils; do
	need "${pair%:*}" "${pair#*:}" || { echo "${pair#*:} is wanted"; exit 1; }
done

# The kernel is unpacked, never installed; its package is fetched once.
package=${KERNEL:-$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)}
[ -n "$package" ] || { echo "apt knows no linux-image-cloud-amd64"; exit 1; }
if [ ! -e "$cache/$package/unpacked" ]; then
	rm -rf "${cache:?}/$package"
	mkdir -p "$cache/$package/tree"
	(cd "$cache/$package" && apt-get -qq download "$package" 2>/dev/null && dpkg-deb -x ./*.deb tree && rm -f ./*.deb && touch unpacked)
fi
kernel=$(find "$cache/$package/tree" -name 'vmlinuz*' -type f | head -n 1)
parser=$(find "$cache/$package/tree" -name 'pkcs8_key_parser.ko*' | head -n 1)
[ -n "$kernel" ] || { echo "$package has no kernel"; exit 1; }
[ -n "$parser" ] || { echo "$package has no pkcs8_key_parser"; exit 1; }

# each must run level kernel there: it is red without
tests=(test_ks_contract test_guarantees test_backend test_backend_kernel test_level_lost)
make -s -C "$build" keyroll-keyd "${tests[@]/#/tests/}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root"/{bin,proc,sys,dev,tmp,etc}

put() { # PROGRAM PLACE: with the libraries that it asks for, where it looks for them
	local lib

	install -D "$1" "$root$2"
	ldd "$1" 2>/dev/null | grep -oE '/[^ ]+' | while read -r lib; do
		[ -e "$root$lib" ] || install -D "$lib" "$root$lib"
	done
}
put "$(command -v busybox)" /bin/busybox
ln -s busybox "$root/bin/sh"
put "$build/keyroll-keyd" /bin/keyroll-keyd
for test in "${tests[@]}"; do
	put "$build/tests/$test" "/bin/$test"
done
case $parser in
*.xz) xz -dc "$parser" >"$root/parser.ko" ;;
*) cp "$parser" "$root/parser.ko" ;;
esac
echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"
cat >"$root/init" <<'INIT'
#!/bin/sh
export PATH=/bin KEYROLL_KEYD=/bin/keyroll-keyd KEYROLL_BACKENDS=kernel
for step in "mount -t proc proc /proc" "mount -t sysfs sys /sys" "mount -t devtmpfs dev /dev"; do
	busybox $step || echo "failed: $step"
done
echo "up at $(busybox cut -d' ' -f1 /proc/uptime) s, Linux $(busybox uname -r)"
status=0
test_level_lost || { echo "test_level_lost without the parser: $?"; status=1; }
busybox insmod /parser.ko || echo "failed: insmod"
for test in $(busybox cat /tests); do
	$test || { echo "$test: $?"; status=1; }
done
echo "initramfs-status=$status"
busybox poweroff -f
INIT
chmod +x "$root/init"
echo "${tests[*]}" >"$root/tests"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initrd"

status=0
timeout "$LIMIT_SEC" qemu-system-x86_64 -accel tcg,thread=single -icount shift=1,sleep=off -cpu max -smp 1 -m 512 -nodefaults -no-user-config \
	-display none -no-reboot -serial stdio -kernel "$kernel" -initrd "$work/initrd" \
	-append "console=ttyS0 quiet panic=-1" </dev/null >"$work/console" || status=$?
tr -d '\r' <"$work/console" | grep -v '^initramfs-status='
answer=$(tr -d '\r' <"$work/console" | sed -n 's/^initramfs-status=//p')
[ -n "$answer" ] || echo "the guest gave no answer (emulator's status $status; 124: over $LIMIT_SEC s); sources: $src"
exit "${answer:-1}"

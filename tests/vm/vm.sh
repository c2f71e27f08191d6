#!/bin/bash
# ./run vm: Keyroll as it is installed, on a real Debian kernel with a real systemd, journal and bus, keys in the kernel. The guest is emulated; kernel and
# root image are kept in the build folder, nothing of them is installed on this machine.
#   vm.sh [PHASE...]   default: all. A phase is tests/vm/inside-PHASE.sh; between two the guest is rebooted.
# KERNEL=PACKAGE takes that kernel, KEEP=1 keeps the state disk. Needs root, for the image. Status 77: no emulator to be had.
set -eu
export LC_ALL=C top_srcdir top_builddir
top_srcdir=$(realpath "${top_srcdir:-.}")
top_builddir=$(realpath "${top_builddir:-build}")
here=$top_srcdir/tests/vm
cache=$top_builddir/vm
PHASES=(install reboot)

[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
for tool in qemu-system-x86_64 mmdebstrap mke2fs busybox cpio depmod xz; do
	command -v "$tool" >/dev/null || { echo "no $tool here"; exit 77; }
done
grep -qx "prefix = /usr" "$top_builddir/Makefile" || { echo "the build must be for /usr: ./run step build"; exit 1; }
make -s -C "$top_builddir" -j"$(nproc)" all
make -s -C "$top_builddir" tests/test_ks_contract tests/test_custody_access tests/test_provider

mkdir -p "$cache"
kernel=$(bash "$here/kernel.sh" "$cache")
root=$(bash "$here/root.sh" "$cache")
state=$(mktemp /var/tmp/keyroll-vm.XXXXXX)
trap '[ -n "${KEEP:-}" ] && echo "kept: $state" || rm -f "$state"' EXIT
[ $# -gt 0 ] || set -- "${PHASES[@]}"
bash "$here/disk.sh" "$kernel" "$state" "$@"
status=0
bash "$here/boot.sh" "$kernel" "$root" "$state" || status=$?
exit "$status"

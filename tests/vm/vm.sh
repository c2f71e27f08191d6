#!/bin/bash
# ./run vm: Keyroll as it is installed, on a real Debian kernel with a real systemd, journal and bus, keys in the kernel. The guest is emulated; kernel and
# root image are kept in the build folder, nothing of them is installed on this machine.
#   vm.sh [PHASE...]   default: all. A phase is tests/vm/inside-PHASE.sh, with arguments where PHASE has more words; between two the guest is rebooted.
# With a TPM in software, where swtpm is there; NO_TPM=1 goes without. KERNEL=PACKAGE takes that kernel, KEEP=1 keeps the state disk. Needs root, for the
# image. Status 77: no emulator to be had, or in the check no TPM.
set -eu
export LC_ALL=C top_srcdir top_builddir
top_srcdir=$(realpath "${top_srcdir:-.}")
top_builddir=$(realpath "${top_builddir:-build}")
here=$top_srcdir/tests/vm
cache=$top_builddir/vm
PHASES=(install rollover reboot keys "bench 2048")

[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
for tool in qemu-system-x86_64 mmdebstrap mke2fs busybox cpio depmod xz; do
	command -v "$tool" >/dev/null || { echo "no $tool here"; exit 77; }
done
[ -z "${NOTHING_SKIPPED:-}" ] || [ -n "${NO_TPM:-}" ] || command -v swtpm >/dev/null || { echo "no swtpm here, and no NO_TPM=1"; exit 77; }
grep -qx "prefix = /usr" "$top_builddir/Makefile" || { echo "the build must be for /usr: ./run step build"; exit 1; }
make -s -C "$top_builddir" -j"$(nproc)" all
make -s -C "$top_builddir" tests/test_ks_contract tests/test_custody_access tests/test_guarantees tests/test_level_lost tests/test_provider tests/soak_provider tests/bench_sign

mkdir -p "$cache"
kernel=$(bash "$here/kernel.sh" "$cache")
root=$(bash "$here/root.sh" "$cache")
work=$(mktemp -d /var/tmp/keyroll-vm.XXXXXX)
trap 'if [ -n "${KEEP:-}" ]; then echo "kept: $work"; else rm -rf "$work"; fi' EXIT
tpm=()
if [ -n "${NO_TPM:-}" ] || ! command -v swtpm >/dev/null; then echo "without a TPM"; else tpm=("$work/tpm"); fi

# A phase that fails must fail here too, or one that ends well proves nothing.
failing_fails() {
	local status=0

	bash "$here/disk.sh" "$kernel" "$work/state" "status 7" >"$work/out" 2>&1 || { cat "$work/out"; return 1; }
	bash "$here/boot.sh" "$kernel" "$root" "$work/state" >"$work/out" 2>&1 || status=$?
	if [ "$status" != 7 ] || ! grep -qx 'phase status ended with status 7' "$work/out"; then
		cat "$work/out"
		echo "FAIL: a phase that ends with status 7 ended here with $status"
		return 1
	fi
	echo "ok: a phase that ends with status 7 ends so here"
}
[ $# -gt 0 ] || { failing_fails; set -- "${PHASES[@]}"; }
bash "$here/disk.sh" "$kernel" "$work/state" "$@"
status=0
bash "$here/boot.sh" "$kernel" "$root" "$work/state" "${tpm[@]}" || status=$?
exit "$status"

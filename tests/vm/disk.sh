#!/bin/bash
# disk.sh KERNEL-TREE OUT.img PHASE...: the guest's state disk. It holds what lies over the root image: Keyroll as `make install` puts it, the
# parser's module where modprobe looks, the test programs and scripts in /usr/lib/keyroll-vm, and the unit that runs one phase for each boot.
set -eu
export LC_ALL=C
src=$(realpath "${top_srcdir:-.}")
build=$(realpath "${top_builddir:-build}")
kernel=$1 out=$2
shift 2

tree=$(mktemp -d /var/tmp/keyroll-vm-disk.XXXXXX)
trap 'rm -rf "$tree"' EXIT
upper=$tree/upper
inside=$upper/usr/lib/keyroll-vm
mkdir -p "$tree/work" "$inside" "$upper"/etc/systemd/system "$upper"/var/lib/keyroll-vm "$upper"/var/log/journal

make -s -C "$build" install DESTDIR="$upper" >"$tree/install.log" 2>&1 || { tail -n 20 "$tree/install.log" >&2; exit 1; }
rm -f "$tree/install.log"
install -m 0755 "$src"/tests/vm/inside*.sh "$src"/tests/{installed,bench}.sh "$inside"
for program in memscan test_ks_contract test_custody_access test_provider test_guarantees test_level_lost soak_provider bench_sign; do
	[ ! -x "$build/tests/$program" ] || install -m 0755 "$build/tests/$program" "$inside"
done

modules=$(find "$kernel" -type d -path '*/modules/*' -name kernel | head -n 1)
modules=${modules%/kernel}
version=${modules##*/}
place=$upper/usr/lib/modules/$version
mkdir -p "$place"
cp "$modules"/modules.{order,builtin,builtin.modinfo} "$place"
(cd "$modules" && find kernel -name 'pkcs8_key_parser.ko*' -exec cp --parents {} "$place" \;)
mkdir "$tree/link" # depmod looks for /lib/modules, which the merged root has as a link
ln -s "$upper/usr/lib" "$tree/link/lib"
depmod -b "$tree/link" "$version"
rm -rf "$tree/link"

echo 0123456789abcdef0123456789abcdef >"$upper/etc/machine-id" # an empty one means a first boot, which presets every unit
echo keyroll-vm >"$upper/etc/hostname"
: >"$upper/etc/fstab"
printf '%s\n' "$@" >"$upper/var/lib/keyroll-vm/phases"
# what no test looks at, and costs up to a second each under emulation
for unit in systemd-{udev-trigger,udevd,firstboot,update-utmp,machine-id-commit,network-generator,remount-fs,binfmt,random-seed,pstore,hwdb-update,update-done}.service \
	systemd-udevd-{control,kernel}.socket modprobe@{configfs,dm_mod,drm,efi_pstore,fuse,loop}.service kmod-static-nodes.service e2scrub_reap.service ldconfig.service \
	dev-{hugepages,mqueue}.mount sys-kernel-{debug,tracing,config}.mount sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount \
	getty.target timers.target swap.target cryptsetup.target integritysetup.target veritysetup.target systemd-ask-password-{console,wall}.path; do
	ln -sf /dev/null "$upper/etc/systemd/system/$unit"
done

cat >"$upper/etc/systemd/system/keyroll-vm.target" <<'UNIT'
[Unit]
Requires=multi-user.target
Wants=keyroll-vm.service
After=multi-user.target
UNIT
cat >"$upper/etc/systemd/system/keyroll-vm.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
TimeoutStartSec=infinity
Environment=HOME=/root TERM=dumb
StandardOutput=file:/dev/ttyS1
StandardError=inherit
ExecStart=-/bin/bash /usr/lib/keyroll-vm/inside.sh
UNIT
mke2fs -q -F -t ext4 -E root_owner=0:0 -d "$tree" "$out" 512M

#!/bin/bash
# boot.sh KERNEL-TREE ROOT.img STATE.img [TPM-FOLDER]: boots the guest under emulation and lets it run the phases that its state disk lists, through as
# many reboots as they ask for. Status: that of the first phase that failed, 0 when all of them ended well, 124 over LIMIT_SEC, 125 when the guest died.
# At each reboot the emulator is started anew: in one that has run for minutes a kernel takes ten times as long to come up.
# A guest that dies before its phase began is started once more; a phase that began never runs twice.
# TPM-FOLDER: the state of a software TPM 2.0, which outlives the guest. What seals the keys then, tpm2 or host, the phases find in AT_REST.
set -u
export LC_ALL=C
src=$(realpath "${top_srcdir:-.}")
LIMIT_SEC=${LIMIT_SEC:-800}
kernel=$1 root=$2 state=$3 tpm=${4:-}
work=$(mktemp -d)
tpm_pid=

cleanup() {
	[ -z "$tpm_pid" ] || kill "$tpm_pid" 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT

plain() { case $1 in *.xz) xz -dc "$1" ;; *) cat "$1" ;; esac; }

make_initrd() {
	local modules name file n=10

	mkdir -p "$work/i"/{bin,mod,proc,sys,dev,low,state,new}
	cp "$(command -v busybox)" "$work/i/bin/busybox"
	ln -s busybox "$work/i/bin/sh"
	install -m 0755 "$src/tests/vm/init" "$work/i/init"
	modules=$(find "$kernel" -type d -path '*/modules/*' -name kernel | head -n 1)
	for name in virtio virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk virtio-rng \
		mbcache crc16 crc32c_generic libcrc32c jbd2 ext4 overlay; do
		file=$(find "$modules" -name "$name.ko*" | head -n 1)
		[ -z "$file" ] || plain "$file" >"$work/i/mod/$n-$name.ko" # others are built in
		n=$((n + 1))
	done
	(cd "$work/i" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initrd"
}

start_tpm() {
	mkdir -p "$tpm"
	rm -f "$work/tpm.sock"
	swtpm socket --tpm2 --tpmstate dir="$tpm" --ctrl type=unixio,path="$work/tpm.sock" --flags startup-clear >"$work/tpm.log" 2>&1 &
	tpm_pid=$!
	for _ in {1..100}; do
		[ ! -S "$work/tpm.sock" ] || return 0
		kill -0 "$tpm_pid" || break
		read -rt 0.05 <> <(:)
	done
	cat "$work/tpm.log" >&2
	return 1
}

# Once, from power on to the next reboot or power off.
run_guest() {
	local devices=() at_rest=host clock status

	tpm_pid=
	if [ -n "$tpm" ]; then
		start_tpm || return 125
		at_rest=tpm2
		devices=(-chardev "socket,id=tpm,path=$work/tpm.sock" -tpmdev "emulator,id=tpm0,chardev=tpm" -device "tpm-tis,tpmdev=tpm0")
	fi
	: >"$work/marks"
	clock=$(date -u -d "@$((EPOCHSECONDS + ahead_sec))" +%FT%T)
	timeout -k 10 $((LIMIT_SEC > SECONDS ? LIMIT_SEC - SECONDS : 1)) qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1024 -nodefaults \
		-no-user-config -no-reboot -display none -rtc base="$clock" -device virtio-rng-pci \
		-serial file:"$work/console" -serial stdio -serial file:"$work/marks" \
		-drive file="$root",if=virtio,format=raw,readonly=on -drive file="$state",if=virtio,format=raw,cache=unsafe "${devices[@]}" \
		-kernel "$(find "$kernel" -name 'vmlinuz*' -type f | head -n 1)" -initrd "$work/initrd" \
		-append "console=ttyS0 quiet panic=1 net.ifnames=0 systemd.unit=keyroll-vm.target systemd.show_status=0 systemd.setenv=AT_REST=$at_rest" \
		</dev/null | stdbuf -oL tr -d '\r'
	status=${PIPESTATUS[0]}
	[ -z "$tpm_pid" ] || { kill "$tpm_pid" && wait "$tpm_pid"; } 2>/dev/null # it has its state on disk then
	return "$status"
}

mark() { tr -d '\r' <"$work/marks" | sed -n "s/^$1 //p"; }

make_initrd
phases=0 retried=
ahead_sec=0 # how far the machine's clock is set forward; its battery keeps it
while :; do
	emulator=0
	run_guest || emulator=$?
	if [ -z "$(mark begin)" ] && [ -z "$retried" ] && [ "$emulator" != 124 ]; then
		retried=1
		echo "the guest died before its phase began (emulator's status $emulator):"
		tail -n 40 "$work/console"
		continue
	fi
	read -r phase status < <(mark end) || break
	[ "$emulator" = 0 ] || break
	[ "$status" = 0 ] || { echo "phase $phase ended with status $status"; exit "$status"; }
	phases=$((phases + 1))
	clock=$(mark reboot)
	[ -n "$clock" ] || { echo "$phases phases ended well"; exit 0; }
	ahead_sec=$((clock - $(stat -c %Y "$work/marks")))
done
echo "no answer from the guest (emulator's status $emulator; 124: over $LIMIT_SEC s); its console:"
tail -n 60 "$work/console"
[ "$emulator" = 124 ] && exit 124
exit 125

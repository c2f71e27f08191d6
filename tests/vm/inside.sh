#!/bin/bash
# Runs in the guest after each boot: takes the next phase off the list and runs inside-PHASE.sh. What it prints goes out by the second serial line;
# "begin PHASE", "end PHASE STATUS" and "reboot CLOCK" by the third, CLOCK being the machine's own, in seconds since 1970. After a good phase it reboots
# for the next one; else, or after the last, it turns the machine off.
set -u
export LC_ALL=C
state=/var/lib/keyroll-vm
here=${BASH_SOURCE[0]%/*}
status=0

read -r phase arguments <"$state/phases"
sed -i 1d "$state/phases"
sync "$state/phases" "$state" # before it begins: a phase that crashes the machine is not begun again
echo "begin $phase" >/dev/ttyS2
echo "--- $phase: up at $(cut -d ' ' -f 1 /proc/uptime) s, Linux $(uname -r), $(date -u +%F)"
mkdir -p "$state/work"
# shellcheck disable=SC2086 # as many words as there are
(cd "$state/work" && bash "$here/inside-$phase.sh" $arguments) || status=$?
[ "$status" = 0 ] || journalctl -b -o short-precise --no-pager -n 120 -u 'keyroll*'
echo "--- $phase: status $status at $(cut -d ' ' -f 1 /proc/uptime) s"
sync
echo "end $phase $status" >/dev/ttyS2
if [ "$status" = 0 ] && [ -s "$state/phases" ]; then
	echo "reboot $(cat /sys/class/rtc/rtc0/since_epoch)" >/dev/ttyS2
	systemctl --no-block reboot
else
	systemctl --no-block poweroff
fi

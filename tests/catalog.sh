#!/bin/bash
# Every id of common/log_events.def has its entry in the journal catalogue, and every entry an id; journalctl can compile it.
set -eu
export LC_ALL=C
top=${top_srcdir:-.}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sed -n 's/^LOG_EVENT([A-Z0-9_]*, "\([0-9a-f]\{32\}\)", LOG_[A-Z]*)$/\1/p' "$top/common/log_events.def" | sort >"$work/events"
sed -n 's/^-- \([0-9a-f]\{32\}\)$/\1/p' "$top/systemd/keyroll.catalog" | sort >"$work/entries"
[ "$(grep -c '^LOG_EVENT' "$top/common/log_events.def")" = "$(wc -l <"$work/events")" ] || { echo "a line of log_events.def has another form"; exit 1; }
[ -s "$work/events" ] || { echo "no events found"; exit 1; }
[ -z "$(uniq -d "$work/events")$(uniq -d "$work/entries")" ] || { echo "an id stands twice"; exit 1; }
diff -u "$work/events" "$work/entries" || { echo "events (-) and entries (+) differ"; exit 1; }

# an entry tells what happened and what to do
awk -v RS='\n-- ' 'NR > 1 && (!/\nSubject: ./ || !/\nDocumentation: man:/ || !/\n\n.*(Do: |Nothing to do)/) {
		print "incomplete entry: " substr($0, 1, 32)
		bad = 1
	}
	END { exit bad }' \
	"$top/systemd/keyroll.catalog"

command -v journalctl >/dev/null || { echo "no journalctl here"; exit 77; }
mkdir -p "$work/root/usr/lib/systemd/catalog" "$work/root/var/lib/systemd/catalog"
cp "$top/systemd/keyroll.catalog" "$work/root/usr/lib/systemd/catalog/"
journalctl --root="$work/root" --update-catalog
[ "$(journalctl --root="$work/root" --list-catalog 2>/dev/null | wc -l)" = "$(wc -l <"$work/events")" ] ||
	{ echo "journalctl compiled another number of entries"; exit 1; }

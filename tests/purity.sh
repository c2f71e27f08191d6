#!/bin/bash
# The heart is pure: its objects need nothing but each other and a handful of functions that neither allocate, read a clock nor do I/O, and
# they hold no state of their own. A planted violation must be found.
set -eu
export LC_ALL=C

allowed='mem(cpy|move|set|cmp)|(__)?snprintf(_chk)?|__mem(cpy|move|set)_chk|__stack_chk_fail(_local)?|_GLOBAL_OFFSET_TABLE_|__(asan|ubsan|lsan)_.*|__gcov_.*'

# foreign OBJECT...: the undefined symbols that no object defines and that are not allowed.
foreign()
{
	comm -23 <(nm -u "$@" | awk 'NF == 2 && $1 == "U" { print $2 }' | sort -u) <(nm --defined-only "$@" | awk 'NF == 3 { print $3 }' | sort -u) |
		grep -vxE "$allowed" || true
}

# state OBJECT...: the objects with something writable that is not only relocated.
state()
{
	local object
	for object in "$@"; do
		nm "$object" | grep -qE ' __(asan|ubsan|gcov)_' && continue # instrumentation keeps its own
		readelf -SW "$object" | sed 's/^ *\[ *[0-9]*\] //' | awk -v o="$object" '$1 ~ /^\.(data|bss|tdata|tbss)(\.[^r].*)?$/ && $5 !~ /^0+$/ { print o ": " $1 }'
	done
}

plant()
{
	local dir
	dir=$(mktemp -d)
	printf '%s\n' "$1" >"$dir/planted.c"
	"${CC:-cc}" -O2 -c -o "$dir/planted.o" "$dir/planted.c"
	if [ -z "$(foreign "$dir/planted.o")$(state "$dir/planted.o")" ]; then
		echo "a planted violation was not found: $1"
		rm -r "$dir"
		exit 1
	fi
	rm -r "$dir"
}

plant '#include <time.h>
long planted(void) { return time(0); }'
plant '#include <stdlib.h>
void *planted(int n) { return malloc(n); }'
plant 'int planted(void) { static int n; return ++n; }'
plant 'int planted = 3;'

mapfile -t objects < <(find "${top_builddir:-.}/lifecycle" -name '*.o' -path '*/.libs/*' | sort)
[ "${#objects[@]}" -ge 8 ] || { echo "purity: only ${#objects[@]} objects of lifecycle/ were found"; exit 1; }
found=$(foreign "${objects[@]}"; state "${objects[@]}")
[ -z "$found" ] || { printf 'lifecycle/ is not pure:\n%s\n' "$found"; exit 1; }
echo "purity: ${#objects[@]} objects need nothing from outside"

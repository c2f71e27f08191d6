#!/bin/bash
# The folders are the drawing in HACKING.md: who may include whom. Every #include "..." is checked; then a planted violation must be found.
set -eu
export LC_ALL=C

declare -A may=(
	[lifecycle]="lifecycle"
	[common]="common"
	[scep]="scep common"
	[keystore]="keystore common"
	[agent]="agent keystore scep common lifecycle"
	[ca]="ca keystore scep common lifecycle"
	[pkictl]="pkictl scep common lifecycle"
)

# check_tree DIR: prints each violation, returns 1 when there is one.
check_tree()
{
	local bad=0 layer file line name
	for layer in "${!may[@]}"; do
		[ -d "$1/$layer" ] || continue
		while IFS=: read -r file line name; do
			name=${name#*\"}
			name=${name%%\"*}
			[ "$name" = config.h ] && continue
			case " ${may[$layer]} " in
			*" ${name%%/*} "*) [ "${name#*/}" != "$name" ] && continue ;;
			esac
			echo "${file#"$1"/}:$line: $layer/ may include ${may[$layer]// /, }, not \"$name\""
			bad=1
		done < <(grep -rnE --include='*.[ch]' --include='*.def' '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$1/$layer" || true)
	done
	return $bad
}

# plant FILE LINE: a tree that holds one file with one line; its check must fail.
plant()
{
	local dir
	dir=$(mktemp -d)
	mkdir -p "$dir/${1%/*}"
	printf '%s\n' "$2" >"$dir/$1"
	if check_tree "$dir" >/dev/null; then
		echo "a planted violation was not found: $1: $2"
		rm -r "$dir"
		exit 1
	fi
	rm -r "$dir"
}

plant lifecycle/planted.c '#include "common/err.h"'
plant common/planted.c '#include "scep/scep.h"'
plant scep/planted.h '  #  include  "keystore/ks.h"'
plant keystore/planted.c '#include "lifecycle/tp.h"'
plant agent/planted.c '#include "ca/db.h"'
plant ca/planted.c '#include "agent/agent.h"'
plant pkictl/planted.c '#include "keystore/ks.h"'
plant agent/planted.c '#include "planted.h"'

check_tree "${top_srcdir:-.}" && echo "layers: every include is allowed"

#!/bin/bash
# Every line of musts.txt names a test that exists.
set -eu

[ -n "${top_srcdir:-}" ] || { echo "top_srcdir is not set"; exit 99; }
tests=$top_srcdir/tests
checked=0 bad=0

while IFS='|' read -r section who what file name; do
	case $section in '#'* | '') continue ;; esac
	file=${file# } file=${file% } name=${name# }
	checked=$((checked + 1))
	case $file in # in C it must be registered, not only mentioned
	*.c) found=$(sed 's/{ "/{"/' "$tests/$file" 2>/dev/null | grep -cF -- "{\"$name\",") || true ;;
	*) found=$(grep -cF -- "$name" "$tests/$file" 2>/dev/null) || true ;;
	esac
	if [ -z "$name" ] || [ "${found:-0}" = 0 ]; then
		echo "FAIL: section $section($who) $what: no test '$name' in $file"
		bad=1
	fi
done <"$tests/musts.txt"
[ "$checked" -gt 50 ] || { echo "FAIL: only $checked lines were checked"; bad=1; }
echo "$checked demands of RFC 8894 have their test"
exit "$bad"

#!/bin/bash
# What PKCS#1 v1.5 unpadding does depends on nothing secret: no branch, no index. keystore/pad.c is built with clang's MemorySanitizer, and the secrets are
# declared undefined (secrets.c). Careless changes must be found.
set -eu
export LC_ALL=C MSAN_OPTIONS=poison_in_malloc=0:poison_in_free=0 # else the library's own memory counts as undefined
src=${top_srcdir:-.}
build=${top_builddir:-.}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# check FILE OPTIMISATION: builds it in pad.c's place, and runs it. The sanitizer follows no borrow of a subtraction, so each mask is declared
# undefined again.
check()
{
	sed 's/^	return (size_t) 0 - (\(.*\));$/	return secret_mask((size_t) 0 - (\1));/' "$1" >"$work/pad.c"
	[ "$(grep -c secret_mask "$work/pad.c")" = 2 ] || { echo "$1 has other masks than two"; return 1; }
	clang -D_GNU_SOURCE -I"$src" -I"$build" "$2" -g -fsanitize=memory -Wl,--wrap=EVP_Q_mac -o "$work/secrets" \
		-include "$src/tests/secrets.h" "$src/tests/secrets.c" "$work/pad.c" "$src/common/err.c" -lcrypto &&
		"$work/secrets"
}

echo 'int main(void) { return 0; }' >"$work/nothing.c"
if ! clang -fsanitize=memory -o "$work/nothing" "$work/nothing.c" 2>/dev/null || ! "$work/nothing" 2>/dev/null; then
	echo "no clang with MemorySanitizer here"
	exit 77
fi

# plant SED: such a change must be reported, not only fail
plant()
{
	sed "$1" "$src/keystore/pad.c" >"$work/planted.c"
	if cmp -s "$work/planted.c" "$src/keystore/pad.c"; then
		echo "nothing to change: $1"
		exit 1
	fi
	if check "$work/planted.c" -O2 >"$work/out" 2>&1 || ! grep -q 'use-of-uninitialized-value' "$work/out"; then
		echo "a planted violation was not found: $1"
		tail "$work/out"
		exit 1
	fi
}

plant 's/^	for (size_t i = 2; i < k; i++) {/	for (size_t i = 2; i < k \&\& !found; i++) {/'
plant 's/^	OPENSSL_cleanse(&reject, sizeof(reject));/	out[0] = out[*ret_len];/'
plant 's/^		chosen = (c & fits) | (chosen & ~fits);/		if (c <= max) EVP_md5(), chosen = c;/'
plant 's/^	for (size_t i = 2; i < from - 1; i++)/	for (size_t i = 2; good \&\& i < from - 1; i++)/'

check "$src/keystore/pad.c" -O0
check "$src/keystore/pad.c" -O2

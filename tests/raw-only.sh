#!/bin/bash
# A private key of the kernel's is used for the bare operation alone: the kernel's own unpadding tells by time and error what was wrong with a ciphertext
# (Bleichenbacher), and it neither blinds nor checks. So "enc=raw" is the only encoding in all programs, one function decrypts by it, and none goes round
# the library. A planted violation must be found.
set -eu
export LC_ALL=C

# code FILE: its code on one line, without comments and with strings that stand side by side joined
code()
{
	"${CC:-cc}" -fpreprocessed -dD -E -P -w - <"$1" | tr '\n\t' '  ' | sed -E 's/" *"//g'
}

# check_file FILE: prints what is wrong with it
check_file()
{
	local text
	text=$(code "$1")
	grep -oE 'enc=[^" ]*|"enc=?"' <<<"$text" | grep -vx 'enc=raw' | sed 's/$/: an encoding that is not raw/'
	grep -oE 'keyctl_pkey_(decrypt|query) *\([^,]*,[^,]*' <<<"$text" | grep -v '"enc=raw"$' | sed 's/$/: the encoding must stand there as "enc=raw"/'
	grep -oE 'keyctl_pkey_[a-z]+' <<<"$text" | grep -vxE 'keyctl_pkey_(decrypt|query)' | sed 's/$/: not the bare operation/'
	grep -oE 'KEYCTL_PKEY_[A-Z]+|\bkeyctl *\(|__NR_keyctl|SYS_keyctl' <<<"$text" | sed 's/$/: round the library/'
	[ "${1##*/}" = backend_kernel.c ] || grep -oE 'keyctl_pkey_[a-z]+ *\(' <<<"$text" | sed 's/$/: not in backend_kernel.c/'
} 2>/dev/null

# check_tree DIR: prints each violation, returns 1 when there is one.
check_tree()
{
	local bad=0 file found
	while IFS= read -r file; do
		while IFS= read -r found; do
			echo "${file#"$1"/}: $found"
			bad=1
		done < <(check_file "$file")
	done < <(find "$1"/{lifecycle,common,scep,keystore,agent,ca,pkictl} -name '*.[ch]' -exec grep -lE 'keyctl|KEYCTL|enc=' {} + 2>/dev/null)
	return $bad
}

plant()
{
	local dir
	dir=$(mktemp -d)
	mkdir -p "$dir/keystore"
	printf '%s\n' "$2" >"$dir/keystore/$1"
	if check_tree "$dir" >/dev/null; then
		echo "a planted violation was not found: $1: $2"
		rm -r "$dir"
		exit 1
	fi
	rm -r "$dir"
}

plant backend_kernel.c 'r = keyctl_pkey_decrypt(id, "enc=pkcs1", in, k, out, k);'
plant backend_kernel.c 'r = keyctl_pkey_decrypt(id, "enc=" "pkcs1", in, k, out, k);'
plant backend_kernel.c 'r = keyctl_pkey_decrypt(id, "enc=raw hash=sha256", in, k, out, k);'
plant backend_kernel.c 'r = keyctl_pkey_decrypt(id, info, in, k, out, k);'
plant backend_kernel.c 'r = keyctl_pkey_decrypt(id,
	info, in, k, out, k);'
plant backend_kernel.c '#define INFO "enc=oaep"'
plant backend_kernel.c 'r = keyctl_pkey_sign(id, "enc=raw", in, k, out, k);'
plant backend_kernel.c 'r = keyctl(KEYCTL_PKEY_DECRYPT, &params, "enc=raw", in, out);'
plant backend_kernel.c 'r = syscall(__NR_keyctl, 28, &params, "enc=raw", in, out);'
plant pad.c 'r = keyctl_pkey_decrypt(id, "enc=raw", in, k, out, k);'

src=${top_srcdir:-.}
if [ "$(code "$src/keystore/backend_kernel.c" | grep -o 'keyctl_pkey_decrypt *(' | wc -l)" != 1 ]; then
	echo "backend_kernel.c does not decrypt in one place"
	exit 1
fi
check_tree "$src" && echo "raw-only: the kernel's private operation is bare everywhere"

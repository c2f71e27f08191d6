#!/bin/bash
# kernel.sh CACHE: a Debian kernel with the PKCS#8 parser, unpacked below CACHE and never installed. Prints the tree's path.
# The newest that this machine's apt sources know for Debian 12's cloud, so that it is another one than tests/initramfs.sh boots;
# KERNEL=PACKAGE takes that one.
set -eu
export LC_ALL=C
cache=$1

# The packages that name the newest build of a version: linux-image-cloud-amd64, linux-image-6.12-cloud-amd64.
newest_meta() {
	apt-cache search --names-only '^linux-image-([0-9.]+-)?cloud-amd64$' | cut -d ' ' -f 1 | while read -r meta; do
		depends=$(apt-cache depends "$meta" | sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1)
		[ -z "$depends" ] || echo "$depends"
	done | sort -V | tail -n 1
}

package=${KERNEL:-$(newest_meta)}
[ -n "$package" ] || { echo "apt knows no cloud kernel" >&2; exit 1; }
if [ ! -e "$cache/$package/unpacked" ]; then
	rm -rf "${cache:?}/$package"
	mkdir -p "$cache/$package/tree"
	(cd "$cache/$package" && apt-get -qq download "$package" 2>/dev/null && dpkg-deb -x ./*.deb tree && rm -f ./*.deb && touch unpacked)
fi
[ -n "$(find "$cache/$package/tree" -name 'pkcs8_key_parser.ko*')" ] || { echo "$package has no pkcs8_key_parser" >&2; exit 1; }
echo "$cache/$package/tree"

#!/bin/sh
# clang-format 14 decides the layout: prints each place where a file differs from it. Other versions differ from
# each other, so they are not asked.
cd "$(dirname "$0")/.." || exit 1
for clang_format in clang-format-14 clang-format; do
	command -v $clang_format >/dev/null && $clang_format --version | grep -q 'version 14\.' && break
	clang_format=
done
if [ -z "$clang_format" ]; then
	echo "skipped: there is no clang-format 14"
	exit 77
fi
find engine ring store bench tests -name '*.[ch]' -print0 |
	xargs -0 $clang_format --dry-run -Werror

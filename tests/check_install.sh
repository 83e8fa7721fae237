#!/bin/sh
# What `cmake --install` puts where: the unit names programs and a configuration that are there, and the hub
# takes that configuration.
set -eu
build=$1
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

DESTDIR=$root cmake --install "$build" --prefix /usr >"$root/log" 2>&1 || { cat "$root/log"; exit 1; }
unit=$root/usr/lib/systemd/system/millraced.service
for line in ExecStart ExecStartPre; do
	command=$(sed -n "s/^$line=//p" "$unit")
	for word in $command; do
		case $word in
		/*) [ -e "$root$word" ] || { echo "$line names $word, which is not installed"; exit 1; } ;;
		esac
	done
done
conf=$(sed -n 's/^ExecStart=[^ ]* //p' "$unit")
"$root/usr/bin/millraced" "$root$conf" --check-config >"$root/settings"
grep -qx 'unixsocket /run/millrace/redis.sock' "$root/settings"
grep -qx 'dir /var/lib/millrace' "$root/settings"
[ -s "$root/usr/share/man/man8/millraced.8" ] && [ -s "$root/usr/share/man/man5/millrace.conf.5" ]

# groff and systemd say what they think where they are there.
if command -v man >/dev/null && command -v groff >/dev/null; then
	for page in "$root"/usr/share/man/man*/*; do
		said=$(LC_ALL=C man --warnings -E UTF-8 -l "$page" 2>&1 >/dev/null)
		[ -z "$said" ] || { echo "$said"; exit 1; }
	done
fi
if command -v systemd-analyze >/dev/null; then
	sed "s|=/usr/bin/|=$root/usr/bin/|" "$unit" >"$root/millraced.service"
	said=$(systemd-analyze verify --man=no "$root/millraced.service" 2>&1 | grep millraced.service || true)
	[ -z "$said" ] || { echo "$said"; exit 1; }
fi
echo "installed and read"

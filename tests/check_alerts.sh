#!/bin/sh
# The alert rules: every metric in them is one that the hub has, and promtool agrees with them.
cd "$(dirname "$0")/.." || exit 1
alerts=deploy/prometheus-alerts.yml
status=0
for metric in $(grep -o 'millrace_[a-z_]*' $alerts | sort -u); do
	if ! grep -rq "\"$metric\"" engine/hub; then
		echo "$alerts: the hub has no metric $metric"
		status=1
	fi
done
[ $status -eq 0 ] || exit $status
if ! command -v promtool >/dev/null; then
	echo "skipped: there is no promtool"
	exit 77
fi
promtool check rules $alerts || exit 1
test_file=$(mktemp --suffix .yml) || exit 1
trap 'rm -f "$test_file"' EXIT
sed "s|ALERTS|$PWD/$alerts|" tests/alerts_test.yml >"$test_file"
promtool test rules "$test_file"

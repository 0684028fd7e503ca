#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Every program of tests/kernel, each a fact that the gateway builds on. One that ends with 77 found
# the feature missing and counts as skipped; its results are numbered on behind the others'.

count=0
done=0
failed=0

# ktls_autoload needs a kernel without tls; whoever comes later may find it loaded.
echo /bin/modprobe >/proc/sys/kernel/modprobe

if [ ! -x /vm/kernel/ktls_autoload ]; then
	echo "Bail out! no kernel tests in this machine: build them first"
	exit 1
fi
for program in /vm/kernel/ktls_autoload /vm/kernel/*; do
	name=${program##*/}
	[ "$name" = ktls_autoload ] && [ $done = 1 ] && continue
	[ "$name" = ktls_autoload ] && done=1
	timeout 60 "$program" >/tmp/tap 2>&1
	status=$?
	while read -r line; do
		case $line in
		"ok "* | "not ok "*)
			count=$((count + 1))
			word=${line%%ok *}ok
			rest=${line#"$word" }
			echo "$word $count - $name: ${rest#* - }"
			case $word in not*) failed=1 ;; esac
			;;
		1..*) ;;
		*) echo "# $name: ${line#\# }" ;;
		esac
	done </tmp/tap
	count=$((count + 1))
	case $status in
	0) echo "ok $count - $name" ;;
	77) echo "ok $count - $name # SKIP this kernel lacks the feature" ;;
	*)
		echo "not ok $count - $name ended with $status"
		failed=1
		;;
	esac
done
echo "1..$count"
exit $failed

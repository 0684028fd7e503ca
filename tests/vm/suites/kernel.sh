#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Every program of tests/kernel, each a fact that the gateway builds on.

. /vm/suites/lib.sh

# ktls_autoload needs a kernel without tls; whoever comes later may find it loaded.
echo /bin/modprobe >/proc/sys/kernel/modprobe

if [ ! -x /vm/kernel/ktls_autoload ]; then
	echo "Bail out! no kernel tests in this machine: build them first"
	exit 1
fi
program /vm/kernel/ktls_autoload
for path in /vm/kernel/*; do
	[ "$path" = /vm/kernel/ktls_autoload ] || program "$path"
done
finish

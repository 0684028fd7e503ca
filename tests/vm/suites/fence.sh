#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The fence on this kernel: its programs pass the verifier and the tests of tests/bpf, which print
# how many instructions the verifier walked; then the gateway with kernel TLS: a session's class in the
# map at each of its stages.

. /vm/suites/lib.sh

in_kernel()
{
	posternctl -s "$SOCKET" fence status --json >"$DIR/status" || return 1
	grep -qE '"running": *"kernel"' "$DIR/status" || { cat "$DIR/status"; return 1; }
}

# The same out of the gateway's mouth: kernel's counts of passed segments, by class.
classes_counted()
{
	local class
	posternctl -s "$SOCKET" fence status >"$DIR/status" || return 1
	for class in new plain handshake upgraded; do
		grep -qE "kernel +$class +pass +pass " "$DIR/status" || { cat "$DIR/status"; return 1; }
	done
}

echo /bin/modprobe >/proc/sys/kernel/modprobe
modprobe tls
modprobe tun
for path in /vm/bpf/*; do
	[ ! -x "$path" ] || program "$path"
done
program fence verify
FENCE='mode = "kernel" allow = { }'
gateway_start always
check "the fence runs in the kernel" in_kernel
program fence classes none
for version in 1.2 1.3; do
	program fence classes starttls $version
	program fence classes implicit $version
done
check "posternctl fence status has passed ones of every class" classes_counted
gateway_stop
program fence left
rm -rf "$DIR/always"
gateway_start always
check "again: the fence runs in the kernel" in_kernel
kill -KILL "$gateway"
wait "$gateway"
gateway=
program fence left
finish

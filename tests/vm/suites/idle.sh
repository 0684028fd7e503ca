#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What a session that does nothing costs the gateway in memory: in clear, under TLS in user space, and
# with both directions of TLS in the kernel, when the gateway keeps no OpenSSL object of it.
#
# The cost is what the gateway's processes grow by (Pss) between FEW sessions and COUNT more, so that
# what all sessions share is not in it. vm_idle=N on the kernel's command line: so many in clear, and half
# as many under TLS.

. /vm/suites/lib.sh

FEW=200
COUNT=600
CLEAR=4000
FENCE='mode = "off"'
TIMES='command_seconds = 3600 session_seconds = 7200'

# grown NAME BYTES_MAX LOAD_OPTION...
grown()
{
	local name=$1 most=$2 before slabs each
	shift 2
	hold "$FEW" "$@"
	before=$(memory)
	slabs=$(slab)
	hold "$count" "$@"
	check "all of them still are" test "$(metric postern_sessions_active)" = $((FEW + count))
	each=$((($(memory) - before) / count))
	echo "# $name: $each octets a session, $count sessions"
	echo "# $name: slab, both ends: $((($(slab) - slabs) / count)) octets a connection"
	check "$name: at most $most octets a session" test "$each" -le "$most"
}

# hold COUNT LOAD_OPTION...: opens so many sessions, which stay; $loads are their processes.
hold()
{
	local count=$1
	shift
	postern-load --quiet --idle "$count" --hold 3600 --concurrency 32 --sources 127.0.1.0+2000 \
		--timeout 120 "$@" >"$DIR/load" 2>"$DIR/held" &
	loads="$loads $!"
	check "$count sessions are open" peer await "$DIR/held" 'all sessions are open' 1 900
	sleep 1
}

# Octets of all processes of the gateway.
memory()
{
	local pid
	for pid in $(pidof postern); do
		cat "/proc/$pid/smaps_rollup"
	done | awk '$1 == "Pss:" { sum += $2 } END { print sum * 1024 }'
}

# Octets of the kernel's slabs, which have much besides sessions.
slab()
{
	awk '$1 == "Slab:" { print $2 * 1024 }' /proc/meminfo
}

let_go()
{
	kill -INT $loads
	wait $loads
	loads=
}

# under KTLS: starts a gateway for $count sessions and some.
under()
{
	POLICY="sessions_max = $((count + FEW + 100))"
	gateway_start "$1"
}

echo /bin/modprobe >/proc/sys/kernel/modprobe
modprobe tls
ulimit -n 250000

count=$(sed -n 's/.*vm_idle=\([0-9]*\).*/\1/p' /proc/cmdline)
[ -z "$count" ] || COUNT=$((count / 2)) CLEAR=$count
count=$CLEAR
under off
grown "in clear" 3072 "127.0.0.1:$PORT"
let_go
gateway_stop

count=$COUNT
under off
grown "TLS in user space" 24576 --tls starttls "127.0.0.1:$PORT"
let_go
gateway_stop

under always
grown "TLS in the kernel" 8192 --tls starttls "127.0.0.1:$PORT"
check "sending and receiving are the kernel's" test "$(tls_stat TlsCurrRxSw)" = $((count + FEW))
let_go
gateway_stop
finish

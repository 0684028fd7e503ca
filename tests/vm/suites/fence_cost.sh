#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The guest's part of bench/fence/instructions: the same sessions without the fence and with it in the
# kernel, in turn, and what CPU time they took: the gateway's control group, and the client's. A packet
# is received by whoever sends it here, as there is one CPU and no wire: so both count.

. /vm/suites/lib.sh

ROUNDS=3
MESSAGES=100
ROOM='"1000000/1000000"'
WIDE="connections = $ROOM connections_all = $ROOM handshakes = $ROOM handshakes_all = $ROOM allow = { }"

# into GROUP: this shell, and what it starts, belongs to that control group.
into()
{
	echo $$ >"/sys/fs/cgroup/$1/cgroup.procs"
}

used()
{
	awk '$1 == "usage_usec" { print $2 }' "/sys/fs/cgroup/$1/cpu.stat"
}

# load MESSAGES: new connections with five messages each, all of them delivered.
load()
{
	into client
	postern-load -q -c 1 -t starttls -n "$1" -m 5 127.0.0.1:$PORT >"$DIR/load" 2>&1 || cat "$DIR/load"
	into .
	messages=$((messages + $1))
	peer await "$LOG" "event=delivery " $messages 1000
	sleep 1
}

# cost WORD FENCE...: prints the two groups' microseconds for MESSAGES.
cost()
{
	local word=$1 gateway_us client_us
	shift
	FENCE=$*
	messages=0
	rm -rf "$DIR/off"
	into gateway
	gateway_start off
	into .
	posternctl -s "$SOCKET" fence status --json | grep -o '"running": "[a-z]*"' | sed 's/^/# /'
	load 20
	gateway_us=$(used gateway)
	client_us=$(used client)
	load $MESSAGES
	echo "@cost $word $MESSAGES $(($(used gateway) - gateway_us)) $(($(used client) - client_us))"
	gateway_stop
}

mkdir /sys/fs/cgroup/gateway /sys/fs/cgroup/client
for round in $(seq $ROUNDS); do
	cost off 'mode = "off"'
	cost kernel 'mode = "kernel"' "$WIDE"
	cost user 'mode = "user"' "$WIDE"
done
finish

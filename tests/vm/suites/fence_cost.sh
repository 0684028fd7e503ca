#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The guest's part of bench/fence/instructions: the same sessions without the fence and with it, in turn,
# over a veth pair from a network namespace, and what CPU time they took: the gateway's control group,
# and the client's. With one CPU a packet is received in the time of whoever sends it: so both count.

. /vm/suites/lib.sh

ROUNDS=3
MESSAGES=100
ADDRESS=10.9.0.1
PEER=10.9.0.2
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
	nsenter -t $namespace -n postern-load -q -c 1 -t starttls -n "$1" -m 5 $ADDRESS:$PORT \
		>"$DIR/load" 2>&1 || cat "$DIR/load"
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
	posternctl -s "$SOCKET" fence status --json | grep -oE '"(running|hooks)": "[^"]*"' |
		sed "s/^/# $word: /"
	load 20
	gateway_us=$(used gateway)
	client_us=$(used client)
	load $MESSAGES
	echo "@cost $word $MESSAGES $(($(used gateway) - gateway_us)) $(($(used client) - client_us))"
	gateway_stop
}

# empty_xdp COMMAND...: with a program at the wire that lets everything pass.
empty_xdp()
{
	local floor
	floor pass wire >"$DIR/floor" &
	floor=$!
	peer await "$DIR/floor" ready 1 60
	"$@"
	kill $floor
	wait $floor
}

# From here to the other end of the wire.
unshare -n sleep 1000000 &
namespace=$!
echo /bin/modprobe >/proc/sys/kernel/modprobe
modprobe veth
ip link add wire type veth
ip link set veth0 netns $namespace
ip addr add $ADDRESS/24 dev wire
ip link set wire up
nsenter -t $namespace -n ip addr add $PEER/24 dev veth0
nsenter -t $namespace -n ip link set veth0 up

mkdir /sys/fs/cgroup/gateway /sys/fs/cgroup/client
for round in $(seq $ROUNDS); do
	cost off 'mode = "off"'
	cost cgroup 'mode = "kernel"' "$WIDE"
	cost user 'mode = "user"' "$WIDE"
	empty_xdp cost empty 'mode = "off"'
	cost xdp 'mode = "kernel" interfaces = { "wire" }' "$WIDE"
done
kill $namespace
finish

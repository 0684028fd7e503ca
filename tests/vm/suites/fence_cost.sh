#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The guest's part of bench/fence/instructions: the same sessions without the fence and with it, in turn,
# over a veth pair from a network namespace, and what CPU time they took: the gateway's control group,
# and the client's. With one CPU a packet is received in the time of whoever sends it: so both count.
#
# Then connections that are refused: the time of the gateway's control group, and of the thread that
# receives its packets. Both ends of the wire have such threads then, so that neither does the other's work.

. /vm/suites/lib.sh

ROUNDS=3
MESSAGES=100
ADDRESS=10.9.0.1
PEER=10.9.0.2
ROOM='"1000000/1000000"'
ATTEMPTS=2000
TIGHT='connections = "1/1" allow = { }'
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

# xdp pass|drop COMMAND...: with a program at the wire that does that to everything.
xdp()
{
	local floor verdict=$1
	shift
	floor $verdict wire >"$DIR/floor" &
	floor=$!
	peer await "$DIR/floor" ready 1 60
	"$@"
	kill $floor
	wait $floor
}

# in_thread DEVICE COMMAND...: its packets are received in a thread from now on, for which it needs GRO,
# and whoever sends to it must not have TSO. COMMAND runs this where the device is.
in_thread()
{
	local device=$1
	shift
	"$@" perl -e 'socket(S, 2, 2, 0);
		for $switch (pack("II", 0x1f, 0), pack("II", 0x2c, 1)) {
			ioctl(S, 0x8946, pack("a16P", $ARGV[0], $switch) . "\0" x 16) or die "$!\n"
		}' "$device" &&
		"$@" unshare -m sh -c "mount -t sysfs sysfs /root && echo 1 >/root/class/net/$device/threaded"
}

# received: what the thread at the gateway's end has taken, in ns.
received()
{
	cut -d' ' -f1 "/proc/$(grep -ls '^napi/wire-' /proc/[0-9]*/comm | head -n 1 | cut -d/ -f3)/schedstat"
}

# number NAME: of what flood printed.
number()
{
	sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" "$DIR/flood"
}

# attack CONNECTIONS: so many, one after the other.
attack()
{
	into client
	nsenter -t $namespace -n flood --kind connect --rate 1000 --seconds 100 --count "$1" \
		--open 1000 --answer-ms 900 --sources $PEER+1 $ADDRESS:$PORT >"$DIR/flood"
	into .
}

# refused WORD FENCE...: prints how many of the connections were refused, and what they took.
refused()
{
	local word=$1 gateway_us thread_ns
	shift
	FENCE=$*
	rm -rf "$DIR/off"
	into gateway
	gateway_start off
	into .
	attack 20
	gateway_us=$(used gateway)
	thread_ns=$(received)
	attack $ATTEMPTS
	echo "@refused $word $(($(number attempts) - $(number banners)))" \
		"$(($(used gateway) - gateway_us)) $(($(received) - thread_ns))"
	gateway_stop
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
	xdp pass cost empty 'mode = "off"'
	cost xdp 'mode = "kernel" interfaces = { "wire" }' "$WIDE"
done

check "packets are received in a thread" in_thread wire
check "at the other end, too" in_thread veth0 nsenter -t $namespace -n
for round in $(seq $ROUNDS); do
	refused cgroup 'mode = "kernel"' "$TIGHT"
	refused xdp 'mode = "kernel" interfaces = { "wire" }' "$TIGHT"
	xdp drop refused floor 'mode = "off"'
	refused user 'mode = "user"' "$TIGHT"
done
kill $namespace
finish

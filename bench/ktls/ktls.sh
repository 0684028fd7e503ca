#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The guest's part of bench/ktls/run: does what /vm/plan says, line by line, and prints what it cost.
#
#   gateway DIRECTION VERB MODE       start one: `receive` takes mail by TLS and keeps it, as its next hop is not
#                                     there; `send` takes it in clear and relays it by TLS
#   cell BYTES CONNECTIONS MESSAGES RATE
#                                     CONNECTIONS connections with a message each, one after the other, then MESSAGES
#                                     messages over one; `send`: CONNECTIONS messages. So many a second, which leaves
#                                     the gateway at rest in between; where nothing happens the machine's clock jumps
#
# What counts is the CPU time of the gateway's process, user and kernel, for each connection or message by
# itself: the client's and the next hop's share stays out. Each gateway takes WARM_MAILS small mails first, as the first
# ten or so cost a per cent more. Addresses are not random here: with them, some gateways took 14,000 instructions
# more for each message than others that were started the same way.

. /vm/suites/lib.sh

SINK_PORT=2626
WARM_MAILS=20
sink=

# load OPTIONS...: so much mail, or no result at all.
load()
{
	postern-load -q -c 1 --arrivals constant $tls $chunks "$@" 127.0.0.1:$PORT >"$DIR/load" 2>&1 && return 0
	echo "# postern-load $*: $(tail -n 3 "$DIR/load" | tr '\n' ' ')"
	return 1
}

# each WORD COUNT OPTIONS...: mail for which the gateway logs COUNT lines with WORD; $each is what each of them cost.
each()
{
	local word=$1 count=$2 counter
	shift 2
	: >"$DIR/counted"
	cputime "$child" "$LOG" "$word" "$count" >"$DIR/counted" 2>"$DIR/counted.why" &
	counter=$!
	peer await "$DIR/counted" '^ready' 1 60 && load "$@" && wait $counter && {
		each=$(sed 1d "$DIR/counted" | tr '\n' ' ')
		return 0
	}
	kill $counter 2>/dev/null
	wait $counter
	echo "# not measured: $direction $verb $mode $*: $(cat "$DIR/counted.why")"
	return 1
}

# cell BYTES CONNECTIONS MESSAGES RATE. Of the messages over one connection the first comes with the handshake and the
# last with QUIT: neither counts. The very first mail of this size is not counted either.
cell()
{
	if [ $direction = send ]; then
		each "event=delivery " 1 -r "$4" -s "$1" -n 1 || return
		each "event=delivery " "$2" -r "$4" -s "$1" -n "$2" || return
		echo "@cell $direction $verb $mode $1 each $each"
	else
		each "event=session " 1 -r "$4" -s "$1" -n 1 || return
		each "event=session " "$2" -r "$4" -s "$1" -n "$2" || return
		echo "@cell $direction $verb $mode $1 one $each"
		each "event=message " $(($3 + 2)) -r "$4" -s "$1" -n $(($3 + 2)) -m $(($3 + 2)) || return
		echo "@cell $direction $verb $mode $1 next $(echo $each | cut -d' ' -f2-$(($3 + 1)))"
	fi
}

sink_stop()
{
	[ -z "$sink" ] || kill -TERM "$sink"
	[ -z "$sink" ] || wait "$sink"
	sink=
}

sink_start()
{
	postern-sink -t starttls $1 127.0.0.1:$SINK_PORT >"$DIR/sink" 2>&1 &
	sink=$!
	peer await "$DIR/sink" '^ready' 1 20
}

# gateway DIRECTION VERB MODE
gateway()
{
	local kept='connections_max = 1 connection_messages_max = 1000000 idle_seconds = 3600'
	local without= route='next_hops = { "smtp:127.0.0.1:9" }'
	[ -z "$gateway" ] || gateway_stop
	sink_stop
	rm -rf "$DIR/always" "$DIR/auto" "$DIR/off"
	direction=$1 verb=$2 mode=$3 chunks= tls='-t starttls'
	[ "$verb" != bdat ] || chunks=-b
	if [ "$direction" = send ]; then
		[ "$verb" = bdat ] || without='--without CHUNKING'
		sink_start "$without"
		tls= chunks=-b
		route="next_hops = { \"smtp:127.0.0.1:$SINK_PORT\" } tls = \"require\" $kept"
	fi
	gateway_start "$mode" "$route"
	child=$(sed -n 's/.*event=ready .*child=\([0-9]*\).*/\1/p' "$LOG")
	load -r 20 -s 1024 -n $WARM_MAILS
}

echo /bin/modprobe >/proc/sys/kernel/modprobe
modprobe tls
# Where there is udev, it does this by the CPU's name. Not every kernel does it by itself when a key for AES
# comes (kernel-notes/ktls-ciphers.md).
modprobe aesni_intel
echo 0 >/proc/sys/kernel/randomize_va_space
while read -r word rest; do
	case $word in
	gateway) gateway $rest ;;
	cell) cell $rest ;;
	esac
done </vm/plan
[ -z "$gateway" ] || gateway_stop
sink_stop
finish

#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The guest's part of bench/ktls/run: does what /vm/plan says, line by line, and prints what it cost.
#
#   gateway DIRECTION VERB MODE   start one: `receive` takes mail by TLS and keeps it, as its next hop is not
#                                 there; `send` takes it in clear and relays it by TLS
#   cell BYTES COUNT              COUNT connections with a message each, as many with two, then COUNT + 1
#                                 messages over one; `send`: COUNT messages, one after the other
#
# What counts is the CPU time of the gateway's process, user and kernel: the client's and the next hop's
# share stays out. It is read when the log says that all is done.

. /vm/suites/lib.sh

SINK_PORT=2626
sink=

# load OPTIONS...: so much mail, or no result at all.
load()
{
	postern-load -q -c 1 $tls $chunks "$@" 127.0.0.1:$PORT >"$DIR/load" 2>&1 && return 0
	echo "# postern-load $*: $(tail -n 3 "$DIR/load" | tr '\n' ' ')"
	return 1
}

# done_with SESSIONS MESSAGES: so many more have ended, and have gone on where anything does.
done_with()
{
	sessions=$((sessions + $1))
	messages=$((messages + $2))
	peer await "$LOG" "event=session " $sessions 1000 || return
	[ $direction = receive ] || peer await "$LOG" "event=delivery " $messages 1000
}

spent()
{
	cputime "$child"
}

# cost CONNECTIONS MESSAGES BYTES: what so many connections with so many messages each cost is in $cost.
cost()
{
	local before=$(spent)
	load -s "$3" -n $(($1 * $2)) -m "$2" && done_with "$1" $(($1 * $2)) || return
	cost=$(($(spent) - before))
}

# each BYTES COUNT: one message after the other, each on its way to the next hop alone.
each()
{
	local i=0 before
	before=$(spent)
	while [ $i -lt "$2" ]; do
		load -s "$1" -n 1 -m 1 && done_with 1 1 || return
		i=$((i + 1))
	done
	cost=$(($(spent) - before))
}

# cell BYTES COUNT
cell()
{
	local one two=0 many=0
	load -s "$1" -n 1 -m 1 && done_with 1 1 || return
	if [ $direction = send ]; then
		each "$1" "$2" && one=$cost || return
	else
		cost "$2" 1 "$1" && one=$cost || return
		cost "$2" 2 "$1" && two=$cost || return
		cost 1 $(($2 + 1)) "$1" && many=$cost || return
	fi
	echo "@cell $direction $verb $mode $1 $2 $one $two $many"
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
	local ktls=$3 without= route='next_hops = { "smtp:127.0.0.1:9" }'
	[ -z "$gateway" ] || gateway_stop
	sink_stop
	rm -rf "$DIR/always" "$DIR/auto" "$DIR/off"
	direction=$1 verb=$2 mode=$3 sessions=0 messages=0 chunks= tls='-t starttls'
	[ "$mode" != plain ] || { tls= ktls=off; }
	[ "$verb" != bdat ] || chunks=-b
	if [ "$direction" = send ]; then
		[ "$verb" = bdat ] || without='--without CHUNKING'
		sink_start "$without"
		tls= chunks=-b
		route="next_hops = { \"smtp:127.0.0.1:$SINK_PORT\" } tls = \"require\" $kept"
		[ "$mode" != plain ] || route="next_hops = { \"smtp:127.0.0.1:$SINK_PORT\" } tls = \"none\" $kept"
	fi
	gateway_start "$ktls" "$route"
	child=$(sed -n 's/.*event=ready .*child=\([0-9]*\).*/\1/p' "$LOG")
}

echo /bin/modprobe >/proc/sys/kernel/modprobe
modprobe tls
while read -r word rest; do
	case $word in
	gateway) gateway $rest ;;
	cell) cell $rest ;;
	esac
done </vm/plan
[ -z "$gateway" ] || gateway_stop
sink_stop
finish

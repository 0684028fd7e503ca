#!/bin/sh
# SPDX-License-Identifier: MIT
#
# On to a next hop under TLS whose records the kernel makes: from the log and from files of their
# own, by BDAT, which goes by splice from file to socket, or from memory, and by DATA, which is
# stuffed on the way. What the next hop keeps is compared byte for byte. Mail comes in without TLS, so
# that the kernel's counters are the relay's.

. /vm/suites/lib.sh

BYTES=8000000
SINK_PORT=2626
sink=

# sink_start NAME OPTIONS...: a next hop that offers STARTTLS and keeps messages below $STORE.
sink_start()
{
	STORE=$DIR/$1
	shift
	mkdir -p "$STORE"
	: >"$STORE.out"
	postern-sink -t starttls -d "$STORE" "$@" 127.0.0.1:$SINK_PORT >"$STORE.out" 2>&1 &
	sink=$!
	kept=0
	check "$mode: next hop is ready" peer await "$STORE.out" '^ready' 1 20
}

sink_stop()
{
	kill -TERM "$sink"
	wait "$sink"
}

# relayed LOCALPART FILE OPTIONS...: sent in, gone on with the wanted record layer, the same there.
relayed()
{
	local recipient=$1 file=$2 what
	shift 2
	what="ktls=$mode, $recipient"
	kept=$((kept + 1))
	check "$what: taken" peer mail -s none -t "$recipient@example.org" -m "$file" "$@"
	check "$what: gone on" delivered "$recipient"
	check "$what: under TLS, ktls=$expected" has "$LOG" \
		"event=delivery .*to=$recipient@example.org .*tls=TLSv1.3 ktls=$expected" 1
	check "$what: byte for byte" peer relayed "$STORE/$(printf %08d $kept).eml" "$file"
}

every_size()
{
	case $mode in always) expected=tx ;; *) expected=none ;; esac
	relayed small "$DIR/small" "$@"
	relayed middle "$DIR/middle" "$@"
	relayed large "$DIR/text" "$@"
}

echo /bin/modprobe >/proc/sys/kernel/modprobe
modprobe tls
errors=$(tls_stat TlsDecryptError)
peer make 300 6 text "$DIR/small"
peer make 100000 7 text "$DIR/middle"
peer make $BYTES 8 text "$DIR/text"
peer make $BYTES 9 binary "$DIR/binary"
# chunks NAME: all sizes by BDAT.
chunks()
{
	sink_start "$1-$mode"
	gateway_start $mode "next_hops = { \"smtp:127.0.0.1:$SINK_PORT\" } tls = \"require\""
	planted=$(tls_stat TlsTxSw) # behind the gateway's own trial of the kernel
	every_size
	relayed binary "$DIR/binary" -b -k 1000003
	spliced=$(metric postern_relay_splice_bytes_total)
	direct=$(metric postern_spool_large_direct_bytes_total)
	if [ $mode = always ]; then
		check "the kernel had the keys" test "$(tls_stat TlsTxSw)" -gt "$planted"
	else
		check "ktls=$mode: the kernel had no keys" test "$(tls_stat TlsTxSw)" = "$planted"
	fi
	gateway_stop
	sink_stop
	rm -rf "$DIR/$mode" "$STORE"
}

mode=always
SPOOL='durability = "none"'
chunks spliced
check "ktls=$mode: splice moved most of it" test "$spliced" -gt $((BYTES * 3 / 2))
# What went past the page cache, where the file system can, is sent from memory.
SPOOL=
chunks durable
check "ktls=$mode: spliced, or written past the page cache" test $((spliced + direct)) -gt $BYTES
mode=auto
chunks user
check "ktls=$mode: not spliced" test "$spliced" = 0
mode=always
sink_start stuffed --without CHUNKING
gateway_start $mode "next_hops = { \"smtp:127.0.0.1:$SINK_PORT\" } tls = \"require\""
every_size
check "DATA is not spliced" test "$(metric postern_relay_splice_bytes_total)" = 0
gateway_stop
sink_stop
rm -rf "$DIR/$mode" "$STORE"
mode=off
sink_start user
gateway_start $mode "next_hops = { \"smtp:127.0.0.1:$SINK_PORT\" } tls = \"require\""
every_size
gateway_stop
sink_stop
check "no record was refused" test "$(tls_stat TlsDecryptError)" = "$errors"
finish

#!/bin/sh
# SPDX-License-Identifier: MIT
#
# 20 MB, byte for byte: by DATA, by BDAT in one chunk, in chunks of a size that is no record's, in
# pipelined chunks, and in binary. A large announced chunk on a socket whose records the kernel opens
# goes by splice under ktls = always; under auto nothing does, for reading takes less: the gateway's
# counter says so. There the kernel gets its keys in the middle of the message. New keys in the middle of what comes by large receives; more of these at
# once than there are buffers for.

. /vm/suites/lib.sh

BYTES=20000000
SHORT_BYTES=900000
CROWD=12
CROWD_BYTES=1000000

# bulk LOCALPART FILE OPTIONS...
bulk()
{
	local recipient=$1 file=$2 what
	shift 2
	what="ktls=$mode, ${file##*/} $*"
	check "$what: is taken" peer mail -t "$recipient@example.org" -m "$file" "$@"
	check "$what: and stored byte for byte" arrived "$recipient" "$file"
	rm -rf "$MAIL/example.org/$recipient"
}

crowd()
{
	postern-load -q -t starttls -c $CROWD -n $CROWD -s $CROWD_BYTES "$@" $ADDRESS:$PORT
}

echo /bin/modprobe >/proc/sys/kernel/modprobe
modprobe tls
errors=$(tls_stat TlsDecryptError)
peer make $BYTES 4 text "$DIR/text"
peer make $BYTES 5 binary "$DIR/binary"
peer make $SHORT_BYTES 6 text "$DIR/short"
mode=always
gateway_start $mode
bulk data "$DIR/text" -v 1.3
splice=$(metric postern_splice_bytes_total)
check "DATA is not spliced" test "${splice:-none}" = 0
bulk one "$DIR/text" -v 1.3 -b
check "one chunk of 20 MB: splice moved most of it" metric_over postern_splice_bytes_total $((BYTES / 2))
bulk binary "$DIR/binary" -v 1.3 -b -B -k 5000003
bulk pipelined "$DIR/binary" -v 1.3 -b -B -P -k 1000003
bulk old "$DIR/binary" -v 1.2 -b -B
check "every way together: splice moved most of the chunks" metric_over postern_splice_bytes_total $((BYTES * 2))
! can_rekey || bulk update "$DIR/text" -v 1.3 -b -u
check "no record was refused" test "$(tls_stat TlsDecryptError)" = "$errors"
gateway_stop
mode=auto
gateway_start $mode
bulk data "$DIR/text" -v 1.3 -n data
bulk one "$DIR/text" -v 1.3 -b -n one
bulk binary "$DIR/binary" -v 1.3 -b -B -k 5000003 -n binary
bulk old "$DIR/binary" -v 1.2 -b -B -n old
updates=
if [ "$(expect_ktls $mode long)" = none ] || can_rekey; then
	updates="update chunkupdate"
	bulk update "$DIR/text" -v 1.3 -u -n update
	bulk chunkupdate "$DIR/text" -v 1.3 -b -u -n chunkupdate
fi
bulk short "$DIR/short" -v 1.3 -b -n short
bulk pipelined "$DIR/binary" -v 1.3 -b -B -P -k 1000003 -n pipelined
splice=$(metric postern_splice_bytes_total)
check "ktls=$mode: nothing is spliced" test "${splice:-none}" = 0
# More at once than there are wide buffers: who gets none reads on by small ones.
before=$(grep -c 'event=delivery .*result=delivered' "$LOG")
check "ktls=$mode: $CROWD at once, by DATA" crowd
check "ktls=$mode: $CROWD at once, by BDAT" crowd -b
check "ktls=$mode: all of them are stored" peer await "$LOG" \
	'event=delivery .*result=delivered' $((before + 2 * CROWD)) 60
for name in data one binary old $updates short pipelined; do
	check "ktls=$mode, $name: the log says ktls=$(expect_ktls $mode long)" \
		session_has helo=$name "ktls=$(expect_ktls $mode long)" 'messages=1'
done
check "ktls=$mode: no record was refused" test "$(tls_stat TlsDecryptError)" = "$errors"
gateway_stop
mode=off
gateway_start $mode
bulk user "$DIR/binary" -v 1.3 -b -B -P -k 1000003
bulk plain "$DIR/text" -s none
finish

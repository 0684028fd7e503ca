#!/bin/sh
# SPDX-License-Identifier: MIT
#
# 200 sessions, all in TLS at the same time before any of them sends its message.

. /vm/suites/lib.sh

COUNT=200

echo /bin/modprobe >/proc/sys/kernel/modprobe
modprobe tls
gateway_start always
peer many -v 1.3 $COUNT >"$DIR/many" 2>&1
status=$?
sed 's/^/# /' "$DIR/many"
check "$COUNT sessions at once" test $status = 0
check "all in the kernel at the same time: TlsCurrTxSw" has "$DIR/many" "TlsCurrTxSw=$COUNT "
check "all in the kernel at the same time: TlsCurrRxSw" has "$DIR/many" "TlsCurrRxSw=$COUNT\$"
check "$COUNT sessions are in the log" peer await "$LOG" 'event=session .*ktls=[rxt+]*tx .*messages=1 .*end=quit' \
	$COUNT 60
check "$COUNT messages are in the log" has "$LOG" 'event=message .*result=queued' $COUNT
check "$COUNT messages are delivered" peer await "$LOG" 'event=delivery .*result=delivered' $COUNT 60
check "$COUNT messages are stored" test "$(find "$MAIL" -path '*/new/*' -type f | wc -l)" = $COUNT
check "TlsCurrTxSw comes back to 0" peer settle TlsCurrTxSw 0 10
check "TlsCurrRxSw comes back to 0" peer settle TlsCurrRxSw 0 10
check "postern_messages_accepted_total" test "$(metric postern_messages_accepted_total)" = $COUNT
finish

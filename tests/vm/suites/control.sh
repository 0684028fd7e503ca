#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Control records and endings: KeyUpdate by openssl s_client and by our own client, close_notify both
# ways, and connections cut off in the middle of DATA and of BDAT, which never yield a message.

. /vm/suites/lib.sh
trap : PIPE

# s_client LOCALPART KEY: an interactive session with openssl s_client that updates keys by its
# command KEY before MAIL and inside DATA. Commands are in lower case: R, Q and K at the start of what
# it reads at once belong to s_client, so KEY is given when all before it has been taken.
# Its output is in $DIR/client; 0 when the message was answered 250.
s_client()
{
	local status=0
	rm -f "$DIR/fifo"
	mkfifo "$DIR/fifo"
	: >"$DIR/client"
	openssl s_client -connect 127.0.0.1:$PORT -starttls smtp -crlf -tls1_3 \
		<"$DIR/fifo" >"$DIR/client" 2>&1 &
	client=$!
	exec 3>"$DIR/fifo"
	s_client_steps "$@" || status=$?
	exec 3>&-
	wait $client
	return $status
}

# step LINE REGEX: sends the line, waits for one more line of output that matches.
step()
{
	local pattern="($2|^closed|:error:)" before
	before=$(grep -cE "$pattern" "$DIR/client")
	printf '%s\n' "$1" >&3
	peer await "$DIR/client" "$pattern" $((before + 1)) 30 || { tail -n 5 "$DIR/client"; return 1; }
	! grep -qE '^closed|:error:' "$DIR/client"
}

s_client_steps()
{
	step "ehlo $1.example.net" '^250 ' || return 1
	step "$2" '^KEYUPDATE' || return 1
	step 'mail from:<client@example.net>' '^250 ' || return 1
	step "rcpt to:<$1@example.org>" '^250 ' || return 1
	step 'data' '^354 ' || return 1
	step "$2" '^KEYUPDATE' || return 1
	printf 'subject: key update\n\nfirst half\nsecond half\n' >&3
	step '.' '^250 ' || return 1
	step 'quit' '^221 ' || true
}

# Where the kernel cannot re-key, the gateway closes: no 250, and close_notify rather than a cut.
s_client_closed()
{
	! s_client "$1" "$2" && has "$DIR/client" '^closed' && has_not "$DIR/client" ':error:'
}

message_has()
{
	local file
	file=$(stored "$1") || { echo "$file"; return 1; }
	grep -q 'first half' "$file" && grep -q 'second half' "$file"
}

# A KeyUpdate that asks for one of ours: both directions need new keys.
asked_works()
{
	check "ktls=$mode: KeyUpdate both ways (s_client K): mail is taken" s_client both K
	check "ktls=$mode: and stored" message_has both
	check "ktls=$mode: KeyUpdate both ways in the middle of DATA" peer mail -v 1.3 -u \
		-t mid@example.org -m "$DIR/message"
	check "ktls=$mode: and stored byte for byte" arrived mid "$DIR/message"
	check "ktls=$mode: KeyUpdate in the middle of BDAT chunks" peer mail -v 1.3 -u -b -k 30000 \
		-t chunks@example.org -m "$DIR/message"
	check "ktls=$mode: and stored byte for byte" arrived chunks "$DIR/message"
	check "ktls=$mode: KeyUpdate both ways behind the final dot: 250" behind_dot dot -u
	check "ktls=$mode: the metric counts KeyUpdates" metric_over postern_tls_keyupdate_total 5
}

asked_closes()
{
	check "ktls=$mode: KeyUpdate both ways (s_client K): a clean close" s_client_closed both K
	check "ktls=$mode: the session is over, no message in it" session_has helo=both.example.net 'messages=0'
	check "ktls=$mode: nothing was stored" nothing_for both
	check "ktls=$mode: KeyUpdate both ways in the middle of DATA: no 250" no_250 -u
	check "ktls=$mode: nothing was stored of it" nothing_for mid
	check "ktls=$mode: KeyUpdate both ways behind the final dot: 250 or a close" \
		behind_dot_closes dot -u
	check "ktls=$mode: the metric counts refusals" metric_over postern_tls_keyupdate_refused_total 1
}

unasked_works()
{
	check "ktls=$mode: KeyUpdate one way (s_client k): mail is taken" s_client one k
	check "ktls=$mode: and stored" message_has one
	check "ktls=$mode: KeyUpdate one way in the middle of DATA" peer mail -v 1.3 -U \
		-t unasked@example.org -m "$DIR/message"
	check "ktls=$mode: and stored byte for byte" arrived unasked "$DIR/message"
	check "ktls=$mode: KeyUpdate one way behind the final dot: 250" behind_dot last -U
}

unasked_closes()
{
	check "ktls=$mode: KeyUpdate one way (s_client k): a clean close" s_client_closed one k
	check "ktls=$mode: nothing was stored" nothing_for one
	check "ktls=$mode: KeyUpdate one way in the middle of DATA: no 250" no_250 -U
	check "ktls=$mode: nothing was stored of it" nothing_for mid
	check "ktls=$mode: KeyUpdate one way behind the final dot: 250 or a close" \
		behind_dot_closes last -U
}

# The server closes with our bytes unread, so its close_notify may be lost to the reset: 3 or 4.
no_250()
{
	local status=0
	peer mail -v 1.3 -t mid@example.org -m "$DIR/message" "$@" || status=$?
	[ $status -ge 3 ] || { echo "ended with $status"; return 1; }
}

# behind_dot NAME OPTION: a KeyUpdate and a NOOP under the new key right behind the final dot, so that
# they come while the message is being stored; some times over, for it is a matter of moments.
behind_dot()
{
	local i who
	for i in 1 2 3 4 5; do
		who=$1$i
		peer mail -v 1.3 "$2" -e -n $who -t $who@example.org -m "$DIR/message" || return 1
		arrived $who "$DIR/message" || return 1
	done
}

# The same where the kernel cannot re-key: all is answered or the session is closed, but it never
# hangs (peer then ends with 1) and no half of a message is stored.
behind_dot_closes()
{
	local i who status
	for i in 1 2 3 4 5; do
		who=$1$i status=0
		peer mail -v 1.3 "$2" -e -n $who -t $who@example.org -m "$DIR/message" || status=$?
		case $status in 0 | 3 | 4) ;; *) echo "ended with $status"; return 1 ;; esac
		session_has helo=$who || return 1
		nothing_for $who || arrived $who "$DIR/message" || return 1
		[ $status != 0 ] || arrived $who "$DIR/message" || return 1
	done
}

# Without re-key, what lies in the kernel cannot follow, neither way. User space always can.
key_updates()
{
	if [ "$(expect_ktls $mode)" = none ] || can_rekey; then
		asked_works
		unasked_works
	else
		asked_closes
		unasked_closes
	fi
	# What the kernel got in the middle of a message it cannot follow either.
	[ "$(expect_ktls $mode long)" != rx ] || can_rekey || long_closes
}

long_closes()
{
	check "ktls=$mode: KeyUpdate in a long message: no 250" no_250 -n long -u -m "$DIR/large" -t long@example.org
	check "ktls=$mode: nothing was stored of it" nothing_for long
	check "ktls=$mode: the log says why" session_has helo=long 'ktls=rx' 'messages=0' 'end=keyupdate_refused'
}

# cut WHO NAME OPTIONS...: the session ends without a 250, without a message, and the log has it.
cut()
{
	local who=$1 name="ktls=$mode, $2" status=0
	shift 2
	peer mail -n "$who" -t "$who@example.org" -m "$DIR/message" "$@" >"$DIR/cut" 2>&1 || status=$?
	check "$name: no 250" test $status -ge 3
	check "$name: the session is over, no message in it" session_has "helo=$who" 'messages=0'
	check "$name: nothing was stored" nothing_for "$who"
}

endings()
{
	for version in 1.2 1.3; do
		cut a$version "TLS $version cut off in DATA between records" -v $version -x between
		cut b$version "TLS $version cut off in DATA inside a record" -v $version -x record
		cut c$version "TLS $version cut off in BDAT between records" -v $version -b -x between
		cut d$version "TLS $version cut off in the last of many chunks, inside a record" -v $version \
			-b -k 30000 -x record
		cut e$version "TLS $version cut off in a large chunk" -v $version -b -x record -m "$DIR/large"
		cut g$version "TLS $version cut off in a long message" -v $version -x between -m "$DIR/large"
		check "ktls=$mode, TLS $version: close_notify is answered after QUIT" peer mail -n f$version \
			-v $version -t f@example.org -m "$DIR/message"
		check "ktls=$mode, TLS $version: end=quit" session_has helo=f$version 'end=quit' 'messages=1'
		printf 'quit\n' | openssl s_client -connect 127.0.0.1:$TLS_PORT -crlf -quiet -no_ign_eof \
			"-tls$(echo $version | tr . _)" >"$DIR/client" 2>&1
		check "ktls=$mode, TLS $version: a client that leaves at once is let go" \
			session_has "listener=smtps .*tls=TLSv$version" 'messages=0'
	done
	check "ktls=$mode: the metric counts truncations" metric_over postern_tls_truncated_total 9
}

echo /bin/modprobe >/proc/sys/kernel/modprobe
modprobe tls
peer make 50000 3 text "$DIR/message"
peer make 1000000 3 text "$DIR/large"
for mode in auto always; do
	gateway_start $mode
	key_updates
	gateway_stop
	rm -rf "$DIR/$mode"
	gateway_start $mode
	endings
	check "ktls=$mode: TlsCurrTxSw comes back to 0" peer settle TlsCurrTxSw 0 10
	check "ktls=$mode: TlsCurrRxSw comes back to 0" peer settle TlsCurrRxSw 0 10
	gateway_stop
done
finish

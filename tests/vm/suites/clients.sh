#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Everyday clients against the gateway on this kernel: swaks by STARTTLS and by implicit TLS, and in
# clear; openssl s_client by its own script in control.sh.

. /vm/suites/lib.sh

swaks_sends()
{
	local recipient=$1
	shift
	swaks --server 127.0.0.1 --helo "$recipient.example.net" --from client@example.net \
		--to "$recipient@example.org" --h-Subject "by swaks" --body "a body of two lines\n..and dots\n" \
		--timeout 60 "$@"
}

has_body()
{
	local file
	file=$(stored "$1") || { echo "$file"; return 1; }
	has "$file" '^Subject: by swaks' 1 && has "$file" '^\.\.and dots' 1 && has "$file" "with $2" 1
}

echo /bin/modprobe >/proc/sys/kernel/modprobe
modprobe tls
if [ ! -x /usr/bin/swaks ]; then
	echo "Bail out! no swaks in this machine: install it first"
	exit 1
fi
for mode in auto always; do
	expected=$(expect_ktls $mode)
	gateway_start $mode
	check "ktls=$mode: swaks, STARTTLS, TLS 1.3" swaks_sends a --port $PORT --tls --tls-protocol tlsv1_3
	check "ktls=$mode: stored" has_body a ESMTPS
	check "ktls=$mode: in the log" session_has helo=a.example.net "ktls=$expected" 'tls=TLSv1.3' 'messages=1'
	check "ktls=$mode: swaks, STARTTLS, TLS 1.2" swaks_sends b --port $PORT --tls --tls-protocol tlsv1_2
	check "ktls=$mode: stored" has_body b ESMTPS
	check "ktls=$mode: in the log" session_has helo=b.example.net "ktls=$expected" 'tls=TLSv1.2' 'messages=1'
	check "ktls=$mode: swaks, implicit TLS" swaks_sends c --port $TLS_PORT --tls-on-connect
	check "ktls=$mode: stored" has_body c ESMTPS
	check "ktls=$mode: in the log" session_has helo=c.example.net "ktls=$expected" 'messages=1'
	gateway_stop
done
gateway_start off
check "swaks in clear" swaks_sends d --port $PORT
check "stored" has_body d ESMTP
check "in the log" session_has helo=d.example.net 'tls=none' 'ktls=none' 'messages=1'
finish

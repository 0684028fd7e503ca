#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A kernel without the tls module: mail arrives all the same, the record layer stays in user space and
# the log says so. Runs before anything may load the module.

. /vm/suites/lib.sh

no_tls_here()
{
	! grep -q tls /proc/sys/net/ipv4/tcp_available_ulp
}

check "the kernel offers no tls" no_tls_here
peer make 40000 1 text "$DIR/message"
gateway_start auto
check "TLS 1.3: mail is taken" peer mail -n one -v 1.3 -t one@example.org -m "$DIR/message"
check "TLS 1.3: and stored" arrived one "$DIR/message"
check "TLS 1.3: the log says ktls=none" session_has helo=one 'tls=TLSv1.3' 'ktls=none' 'messages=1' 'end=quit'
check "TLS 1.2: mail is taken by BDAT" peer mail -n two -v 1.2 -b -s implicit -p $TLS_PORT -t two@example.org \
	-m "$DIR/message"
check "TLS 1.2: and stored" arrived two "$DIR/message"
check "TLS 1.2: the log says ktls=none" session_has helo=two 'tls=TLSv1.2' 'ktls=none' 'messages=1' 'end=quit'
gateway_stop
gateway_start always
check "ktls=always: mail is taken" peer mail -n three -v 1.3 -u -t three@example.org -m "$DIR/message"
check "ktls=always: and stored, across a KeyUpdate" arrived three "$DIR/message"
check "ktls=always: the log says ktls=none" session_has helo=three 'tls=TLSv1.3' 'ktls=none' 'messages=1'
check "the kernel still offers no tls" no_tls_here
finish

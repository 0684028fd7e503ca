#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Two versions, three ciphers, by STARTTLS, with `ktls = auto` and `ktls = always`: a message each; the
# log line says where the record layer ran, and the kernel's own counters agree.

. /vm/suites/lib.sh

# Version, what OpenSSL calls the suite, what the log calls it (the registered name).
CASES='1.2 ECDHE-ECDSA-AES128-GCM-SHA256 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
1.2 ECDHE-ECDSA-AES256-GCM-SHA384 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
1.2 ECDHE-ECDSA-CHACHA20-POLY1305 TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
1.3 TLS_AES_128_GCM_SHA256 TLS_AES_128_GCM_SHA256
1.3 TLS_AES_256_GCM_SHA384 TLS_AES_256_GCM_SHA384
1.3 TLS_CHACHA20_POLY1305_SHA256 TLS_CHACHA20_POLY1305_SHA256'

counts()
{
	local name=$1 before=$2 want=$3 now
	now=$(tls_stat "$name")
	[ $((now - before)) = "$want" ] || { echo "$name: $before, then $now, wanted $want more"; return 1; }
}

echo /bin/modprobe >/proc/sys/kernel/modprobe
modprobe tls
peer make 100000 2 text "$DIR/message"
for mode in auto always; do
	expected=$(expect_ktls $mode long)
	gateway_start $mode
	# After the start: the gateway tries the kernel out before it is ready.
	errors=$(tls_stat TlsDecryptError)
	tx=$(tls_stat TlsTxSw)
	rx=$(tls_stat TlsRxSw)
	number=0
	echo "$CASES" >"$DIR/cases"
	while read -r version cipher logged; do
		number=$((number + 1))
		what="ktls=$mode TLS $version $cipher"
		check "$what: mail is taken" peer mail -n "c$number" -v "$version" -c "$cipher" \
			-t "user$number@example.org" -m "$DIR/message"
		check "$what: and stored byte for byte" arrived "user$number" "$DIR/message"
		check "$what: the log says ktls=$expected" session_has "helo=c$number" "tls=TLSv$version" \
			"cipher=$logged" "ktls=$expected" 'messages=1' 'end=quit'
	done <"$DIR/cases"
	[ $expected != none ] || number=0
	check "ktls=$mode: TlsRxSw counts $number" counts TlsRxSw "$rx" $number
	[ $mode = always ] || number=0
	check "ktls=$mode: TlsTxSw counts $number" counts TlsTxSw "$tx" $number
	check "ktls=$mode: TlsCurrTxSw comes back to 0" peer settle TlsCurrTxSw 0 10
	check "ktls=$mode: TlsCurrRxSw comes back to 0" peer settle TlsCurrRxSw 0 10
	check "ktls=$mode: TlsDecryptError stays" counts TlsDecryptError "$errors" 0
	gateway_stop
done
gateway_start off
tx=$(tls_stat TlsTxSw)
check "ktls=off: mail is taken" peer mail -n off -v 1.3 -t off@example.org -m "$DIR/message"
check "ktls=off: and stored byte for byte" arrived off "$DIR/message"
check "ktls=off: the log says ktls=none" session_has helo=off 'ktls=none'
check "ktls=off: TlsTxSw stays" counts TlsTxSw "$tx" 0
finish

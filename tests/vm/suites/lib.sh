# SPDX-License-Identifier: MIT
#
# What the suites share: TAP, programs that print it, a gateway with a generated configuration, waiting for lines.
# Sourced first. Everything lies below $DIR, a folder of this suite alone.

DIR=$(mktemp -d "/tmp/$(basename "$0" .sh).XXXXXX")
ADDRESS=127.0.0.1
PORT=2525
TLS_PORT=2465
tests=0
failures=0
gateway=

# check NAME COMMAND...: one result; what the command printed is shown when it failed.
check()
{
	local name=$1 status=0
	shift
	"$@" >"$DIR/said" 2>&1 || status=$?
	tests=$((tests + 1))
	if [ $status = 0 ]; then
		echo "ok $tests - $name"
		return 0
	fi
	failures=$((failures + 1))
	echo "not ok $tests - $name"
	echo "# $* -> $status"
	head -c 2000 "$DIR/said" | sed 's/^/# /'
	echo
	return 0
}

# program PATH [WORD...]: runs a test program that prints TAP; its results are numbered on behind the others'. One
# that ends with 77 found a feature missing and counts as skipped.
program()
{
	local name status=0 line word
	name=${*##*/}
	timeout 60 "$@" >"$DIR/tap" 2>&1 || status=$?
	while read -r line; do
		case $line in
		"ok "* | "not ok "*)
			tests=$((tests + 1))
			word=${line%%ok *}ok
			line=${line#"$word" }
			echo "$word $tests - $name: ${line#* - }"
			case $word in not*) failures=$((failures + 1)) ;; esac
			;;
		1..*) ;;
		*) echo "# $name: ${line#\# }" ;;
		esac
	done <"$DIR/tap"
	tests=$((tests + 1))
	case $status in
	0) echo "ok $tests - $name" ;;
	77) echo "ok $tests - $name # SKIP this kernel lacks the feature" ;;
	*)
		failures=$((failures + 1))
		echo "not ok $tests - $name ended with $status"
		;;
	esac
}

# ends_with STATUS COMMAND...: the command ends with exactly this status.
ends_with()
{
	local want=$1 status=0
	shift
	"$@" || status=$?
	[ $status = "$want" ] || { echo "ended with $status, not $want"; return 1; }
}

# has FILE REGEX [COUNT]: so many lines match; without a count at least one.
has()
{
	local lines
	lines=$(grep -cE "$2" "$1")
	[ "$lines" = "${3:-$lines}" ] && [ "$lines" -gt 0 ] && return 0
	echo "$lines lines of $1 match $2; its end:"
	tail -n 8 "$1"
	return 1
}

has_not()
{
	! grep -E "$2" "$1"
}

finish()
{
	[ -z "$gateway" ] || gateway_stop
	echo "1..$tests"
	exit $((failures > 0))
}

can_rekey()
{
	grep -q TlsRxRekeyOk /proc/net/tls_stat
}

# expect_ktls MODE [long]: what `ktls = MODE` comes to on this kernel, for a session with short messages or
# with a long one.
expect_ktls()
{
	case $1,$2 in
	always,*) echo rx+tx ;;
	auto,long) if postern -V | grep -q 'only with ktls = always'; then echo none; else echo rx; fi ;;
	*) echo none ;;
	esac
}

tls_stat()
{
	awk -v name="$1" '$1 == name { print $2 }' /proc/net/tls_stat
}

# gateway_start KTLS [ROUTE]: keys, configuration, start, wait for event=ready. $LOG is its log. Mail
# goes to Maildirs, or where the keys of ROUTE say, and then under KTLS too. FENCE: the keys of that section,
# without which 127.0.0.1 is allowed everything. POLICY: more keys of that one. TIMES: keys of
# section smtp.
gateway_start()
{
	local folder=$DIR/$1
	local route=$2
	[ -n "$route" ] || route='next_hops = { "maildir:mail" }'
	if [ ! -x /vm/bin/postern ]; then
		echo "Bail out! no postern in this machine: build it first"
		exit 1
	fi
	mkdir -p "$folder/mail"
	[ -s /tmp/key.pem ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
		-keyout /tmp/key.pem -out /tmp/cert.pem -days 30 -subj /CN=mx.example.org 2>/dev/null
	cp /tmp/key.pem /tmp/cert.pem "$folder"
	cat >"$folder/postern.conf" <<-END
		hostname = "mx.example.org"
		user = "postern"
		control_socket = "postern.sock"
		listener "smtp" { address = "$ADDRESS" port = $PORT tls = "starttls" }
		listener "smtps" { address = "$ADDRESS" port = $TLS_PORT tls = "implicit" }
		certificate "default" { chain = "cert.pem" key = "key.pem" }
		tls { ktls = "$1" ticket_keys = "" }
		policy { relay_domains = { "example.org" } sessions_per_address_max = 1000 $POLICY }
		smtp { $TIMES }
		spool { directory = "spool" segment_bytes = 4194304 free_bytes_min = 4194304 $SPOOL }
		route "all" { domains = { "*" } $route }
		relay { ktls = "$1" }
		fence { $FENCE }
		log { to = "stderr" }
	END
	chown -R postern:postern "$folder"
	chmod 755 "$DIR" "$folder"
	LOG=$folder/log
	MAIL=$folder/mail
	SOCKET=$folder/postern.sock
	: >"$LOG"
	postern -c "$folder/postern.conf" 2>"$LOG" &
	gateway=$!
	check "ktls=$1: gateway is ready" peer await "$LOG" 'event=ready' 1 60
}

gateway_stop()
{
	kill -TERM "$gateway"
	check "gateway stops with 0 when asked to" wait "$gateway"
	check "and nothing of it died before" has_not "$LOG" 'event=(assert|child_died)'
	gateway=
}

# session_has WHICH WORD...: the first session whose line has the word WHICH (helo=...), waited for,
# has every WORD (key=value) too.
session_has()
{
	local which=$1 word line
	shift
	peer await "$LOG" "event=session .*$which( |\$)" 1 20 || return 1
	line=$(grep -E "event=session .*$which( |\$)" "$LOG" | head -n 1)
	for word in "$@"; do
		case " $line " in *" $word "*) ;; *) echo "no $word in: $line"; return 1 ;; esac
	done
}

# delivered LOCALPART: waits until the message for that address has gone on.
delivered()
{
	peer await "$LOG" "event=delivery .*to=$1@example.org .*result=delivered" 1 60
}

# stored LOCALPART: the only message in that mailbox, once it is delivered.
stored()
{
	local folder=$MAIL/example.org/$1/new
	delivered "$1" || return 1
	[ "$(ls "$folder" 2>/dev/null | wc -l)" = 1 ] || { echo "$folder: not one message"; return 1; }
	echo "$folder/$(ls "$folder")"
}

# arrived LOCALPART FILE: that message is FILE byte for byte.
arrived()
{
	local file
	file=$(stored "$1") || { echo "$file"; return 1; }
	peer same "$file" "$2"
}

# nothing_for LOCALPART: no message, whole or begun, in that mailbox, nor in the queue.
nothing_for()
{
	has_not "$LOG" "event=message .*<$1@example.org>.*result=queued" &&
		[ "$(find "$MAIL/example.org/$1" -type f 2>/dev/null | wc -l)" = 0 ]
}

# metric NAME: its value, labels summed.
metric()
{
	posternctl -s "$SOCKET" metrics | awk -v name="$1" '
		$0 !~ /^#/ && ($1 == name || index($1, name "{") == 1) { sum += $2; seen = 1 }
		END { if (!seen) { exit 1 } printf "%d\n", sum }'
}

metric_over()
{
	local value
	value=$(metric "$1") || { echo "no metric $1"; return 1; }
	[ "$value" -gt "$2" ] || { echo "$1 is $value"; return 1; }
}

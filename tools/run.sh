#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh BUILD DIR PORT: a gateway to try out, in the foreground (make run).
#
# Makes what is missing in DIR: a key and a self-signed certificate (ECDSA P-256), a commented
# postern.conf for 127.0.0.1, STARTTLS on PORT and implicit TLS on PORT-60, and DIR/mail. What is
# there is never changed, so that DIR can be edited and run again. Then says how to send a first
# mail and becomes the gateway; Ctrl-C stops it. Started as root the gateway drops to `postern`
# where that user exists, else to `nobody`; DIR/mail and DIR/spool belong to that user, nothing else
# does.
set -eu
umask 022

if [ $# -ne 3 ]; then
	echo "usage: run.sh BUILD DIR PORT" >&2
	exit 2
fi
build=$1 dir=$2 port=$3

case $port in
'' | *[!0-9]*) port=0 ;;
esac
if [ "$port" -le 60 ] || [ "$port" -gt 65535 ]; then
	echo "run.sh: PORT must be a number from 61 to 65535, for implicit TLS listens on PORT-60" >&2
	exit 2
fi
if ! [ -x "$build/postern" ]; then
	echo "run.sh: $build/postern is not built: run make first" >&2
	exit 1
fi

mkdir -p "$dir/mail"

user=
if [ "$(id -u)" -eq 0 ]; then
	user=nobody
	if id postern >/dev/null 2>&1; then
		user=postern
	fi
	chown "$user:$(id -gn "$user")" "$dir/mail"
fi

if ! [ -e "$dir/key.pem" ] || ! [ -e "$dir/cert.pem" ]; then
	(
		umask 077
		openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$dir/key.pem"
	)
	openssl req -x509 -new -key "$dir/key.pem" -out "$dir/cert.pem" -days 365 \
		-subj /CN=mx.example.org \
		-addext 'subjectAltName=DNS:mx.example.org,DNS:localhost,IP:127.0.0.1'
fi

write_config() {
	cat <<EOF
# postern.conf -- made by "make run"; see postern.conf(5). Edit it and run again: it is kept.
# Paths are relative to this file's folder.

hostname = "mx.example.org"	# our name: greeting, EHLO, Received lines
workers = 0			# threads that serve; 0: one for each CPU
control_socket = "postern.sock"	# for posternctl
drain_seconds = 30		# SIGTERM, Ctrl-C: how long sessions in progress may go on
EOF
	if [ -n "$user" ]; then
		printf 'user = "%s"\t\t# started as root: serve as this user\n' "$user"
	else
		printf '# user = "postern"\t\t# needed when started as root: serve as this user\n'
	fi
	cat <<EOF

# Where we listen. tls: "starttls" (port 25's way), "implicit" (TLS from the first octet, port
# 465's way) or "none".
listener "smtp" {
	address = "127.0.0.1"
	port = $port
	tls = "starttls"
}
listener "smtps" {
	address = "127.0.0.1"
	port = $((port - 60))
	tls = "implicit"
}

# The certificate for clients that ask for no other name. Others may stand beside it, with
# names = { "mx2.example.org" } for clients that ask for those (SNI).
certificate "default" {
	chain = "cert.pem"	# certificate and intermediate ones, PEM
	key = "key.pem"		# read by the parent process only
}

tls {
	ktls = "auto"		# record layer in the kernel: always | auto | off
	version_min = "TLSv1.2"
	ticket_keys = "tickets.key"	# keeps session tickets valid over restarts; made when missing
}

smtp {
	message_bytes_max = 52428800	# 50 MiB
	recipients_max = 100		# of one message
	bare_newline = "reject"		# a CR or LF alone: reject | normalize
}

# Whose mail we take.
policy {
	relay_domains = { "example.org" }
	# recipients = "recipients"	# a file, one address a line, "@domain" for all of a domain;
	#				# without it every address at relay_domains is taken
	sessions_max = 10000
	sessions_per_address_max = 100
}

# Where it stands until it is delivered. One gateway at a time may use the folder.
spool {
	directory = "spool"
	durability = "full"	# full: on disk before we answer 250 | none: leave it to the kernel
}

# Where it goes: mail/DOMAIN/LOCALPART/new/. Others may stand beside it, for other domains. "*" also
# covers the senders that reports (bounces) go to: in earnest, name your domains and give "*" to "mx".
route "default" {
	domains = { "*" }
	next_hops = { "maildir:mail" }	# or "lmtp:127.0.0.1:24", "smtp:store.example.org:25", "mx"
}

log {
	to = "stderr"		# stderr | syslog
}
EOF
}

if [ -e "$dir/postern.conf" ]; then
	echo "Using $dir/postern.conf as it is."
else
	write_config >"$dir/postern.conf.new"
	mv "$dir/postern.conf.new" "$dir/postern.conf"
	echo "Wrote $dir/postern.conf."
fi

# The ports that the configuration names, in case it is not the one we would write.
port_of() {
	sed -n '/^[[:space:]]*listener[[:space:]]*"'"$1"'"/,/}/s/.*port[[:space:]]*=[[:space:]]*\([0-9]*\).*/\1/p' \
		"$dir/postern.conf" | head -n 1
}
smtp=$(port_of smtp)
smtps=$(port_of smtps)
if [ "${smtp:-none}" != "$port" ]; then
	echo "Note: its STARTTLS port is ${smtp:-not in a listener \"smtp\"}, not $port;" \
		"remove the file to have it made anew." >&2
fi

cat <<EOF

STARTTLS on 127.0.0.1:${smtp:-?}, implicit TLS on 127.0.0.1:${smtps:-?}, Maildirs below $dir/mail.
Send a first mail from another terminal, in this folder:

  swaks --server 127.0.0.1 --port ${smtp:-?} --tls --from me@example.net --to you@example.org --header 'Subject: first mail'

  printf '%s\r\n' 'EHLO client.example.net' 'MAIL FROM:<me@example.net>' 'RCPT TO:<you@example.org>' DATA 'Subject: first mail' '' 'Hello over TLS.' . QUIT | openssl s_client -quiet -starttls smtp -connect 127.0.0.1:${smtp:-?} -servername mx.example.org -CAfile $dir/cert.pem -verify_return_error

Read it:          cat $dir/mail/example.org/you/new/*
See the counters: $build/posternctl -s $dir/postern.sock status
Ctrl-C stops.

EOF

exec "$build/postern" -c "$dir/postern.conf"

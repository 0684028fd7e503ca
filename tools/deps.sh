#!/bin/sh
# SPDX-License-Identifier: MIT
#
# deps.sh [build|test|all]: installs the Debian packages that are missing.
#
# `build` is what building, running and a first mail need, `test` what the tests and lints need besides, `all`
# (the default) both. Asks no questions. When nothing is missing it does nothing, quickly, and needs
# no rights; else it needs root or sudo. The package lists are refreshed only when something is
# missing. Never removes a package: Postfix, which only a test wants, is left out (and the test
# skipped) where another mail server would have to go for it; it is installed without a
# configuration, so that no mail server starts; nor do the others, for services are not started here.
set -eu

build='build-essential pkg-config liburing-dev libssl-dev libconfuse-dev libseccomp-dev
	libjansson-dev libunbound-dev libcurl4-openssl-dev libhttp-parser-dev zlib1g-dev
	dns-root-data liblmdb-dev libbpf-dev libelf-dev clang llvm bpftool
	openssl swaks libio-socket-ssl-perl libnet-ssleay-perl'
tests='libcriterion-dev libclang-rt-14-dev clang-format clang-tidy python3
	gnutls-bin curl msmtp mandoc qemu-system-x86 busybox-static cpio kmod xz-utils
	lmdb-utils iproute2 valgrind'
optional='postfix dovecot-lmtpd dovecot-imapd unbound nsd ldnsutils nginx postfix-mta-sts-resolver
	testssl.sh sslscan python3-dkim'

case "${1:-all}" in
build) wanted=$build maybe= ;;
test) wanted=$tests maybe=$optional ;;
all) wanted="$build $tests" maybe=$optional ;;
*)
	echo "usage: $0 [build|test|all]" >&2
	exit 2
	;;
esac

# The packages of the list that are not installed, on one line.
missing_of() {
	missing=
	for package in "$@"; do
		state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
		[ "$state" = installed ] || missing="$missing $package"
	done
	echo "$missing"
}

if ! command -v dpkg-query >/dev/null; then
	echo "deps.sh: this is not a Debian system; please install:" $wanted $maybe >&2
	exit 1
fi
missing=$(missing_of $wanted)
missing_maybe=$(missing_of $maybe)
[ -n "$missing$missing_maybe" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null && ! [ -t 0 ]; then
		as_root=none
	else
		as_root=sudo
	fi
fi
if [ "$as_root" = none ]; then
	[ -n "$missing" ] || exit 0 # only what a test can do without
	echo "deps.sh: neither root nor sudo; as root, run: apt-get install$missing" >&2
	exit 1
fi

apt() {
	$as_root env DEBIAN_FRONTEND=noninteractive SYSTEMD_OFFLINE=1 RUNLEVEL=1 apt-get -q -y -o Dpkg::Use-Pty=0 "$@"
}

echo "deps.sh: installing$missing$missing_maybe"
apt update
if [ -n "$missing" ]; then
	apt install --no-install-recommends --no-remove $missing
fi
for package in $missing_maybe; do
	if [ "$package" = postfix ]; then
		echo 'postfix postfix/main_mailer_type select No configuration' |
			$as_root debconf-set-selections
	fi
	apt install --no-install-recommends --no-remove "$package" ||
		echo "deps.sh: $package cannot be installed beside what is here; its test is skipped" >&2
done

# SPDX-License-Identifier: MIT
"""A small Internet: names, resolvers, certificates, policy hosts and MXes, for one test program.

Job: `enter()` puts the program into a network and a mount namespace of its own, where every
loopback address and port is free (25, 53 and 443 too) and /etc/resolv.conf names the small
Internet's Unbound, so that gateway, Postfix, curl and others see no other world. `Internet` holds
the parts: signed zones (zones.py), an authority (authority.py), addresses, policy hosts
(policyhost.py); `Domain` puts together what one mail domain publishes. Its mail hosts are in
mxes.py, a machine in the middle in middle.py.
Invariants: nothing leaves the namespace; it is gone with its last process. `enter()` comes before
the first thread, in the suite's main program; without root, namespaces or the packages it skips the
whole program, loudly.
Rejected: loopback addresses of the machine with high ports: RFC 8461 3.3 knows port 443 only and
MX hosts port 25 only, and Postfix takes its resolver from /etc/resolv.conf.
"""

import ctypes
import fcntl
import os
import socket
import struct
import sys

from . import authority, policyhost, proc, zones

RESOLVER, NAME_SERVER, POLICY_HOST = "127.4.0.2", "127.4.0.3", "127.4.0.4"
MX_NETWORK = "127.4.{}.{}"
MAX_AGE = 604800
ID = "20260101T000000"

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_libc = ctypes.CDLL(None, use_errno=True)
_EXIT_SKIP = 77


def _call(name, *arguments):
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = fcntl.ioctl(sock, _SIOCGIFFLAGS, struct.pack("16sH14x", b"lo", 0))
        flags = struct.unpack_from("H", request, 16)[0] | _IFF_UP
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags))


def _over(folder, path, text):
    """Puts a file of ours over one of the system's, in our namespace."""
    source = os.path.join(folder, os.path.basename(path))
    with open(source, "w", encoding="ascii") as file:
        file.write(text)
    target = os.path.realpath(path)
    if not os.path.exists(target):
        raise OSError(f"{path} does not exist")
    _call("mount", source.encode(), target.encode(), None, _MS_BIND, None)


def _skip(why):
    print(f"1..0 # SKIP {why}: nothing about MTA-STS and DANE between hosts is proved", flush=True)
    sys.exit(_EXIT_SKIP)


def enter():
    """To be called once, by the main program, before anything else is started."""
    if os.geteuid() != 0:
        _skip("not root: no ports 25, 53 and 443")
    if missing := zones.missing():
        _skip(f"{missing} is not installed")
    folder = proc.temp_dir("postern-etc-")
    try:
        _call("unshare", _CLONE_NEWNS | _CLONE_NEWNET)
        _call("mount", None, b"/", None, _MS_REC | _MS_PRIVATE, None)
        _loopback_up()
        _over(folder, "/etc/resolv.conf", f"nameserver {RESOLVER}\noptions edns0 trust-ad\n")
        _over(folder, "/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"
                                            "services: files\nprotocols: files\n")
    except OSError as error:
        proc.remove_tree(folder)
        _skip(f"no namespaces here ({error})")


class Internet:
    """The parts, and addresses for more. Declare zones and hosts, then `publish`."""

    def __init__(self):
        self.zones = zones.Zones(NAME_SERVER)
        self.authority = authority.Authority()
        self.resolver = None
        self.policies = None
        self.last_address = 256

    def address(self):
        """A loopback address that nobody has yet."""
        self.last_address += 1
        return MX_NETWORK.format(self.last_address >> 8, self.last_address & 255)

    def publish(self):
        """Serves the zones as they are declared now."""
        self.zones.publish()
        if not self.resolver:
            self.resolver = zones.Resolver(self.zones, RESOLVER)

    def policy_host(self):
        """The scripted HTTPS server of all domains' policies, started at its first use."""
        if not self.policies:
            self.policies = policyhost.PolicyHost(POLICY_HOST)
        return self.policies

    def settings(self):
        """The gateway's settings with which it lives here."""
        return {"relay.resolvers": [self.resolver.text], "relay.trust_anchor": self.zones.anchor}

    def environment(self):
        """So that OpenSSL, curl and Python trust our authority and no other."""
        return {"SSL_CERT_FILE": self.authority.path, "CURL_CA_BUNDLE": self.authority.path,
                "SSL_CERT_DIR": "/nonexistent"}

    def run(self, arguments, seconds=30, **options):
        """A program that trusts our authority only."""
        return proc.run(arguments, seconds, env=dict(os.environ, **self.environment()), **options)


class Domain:
    """What a mail domain publishes: MX records, TLSA records, the _mta-sts and _smtp._tls records,
    a policy. Its zone has to be there; changes count after `net.publish()`. A host of its own name
    is its only one and needs no MX record (RFC 5321 5.1)."""

    def __init__(self, net, name, *hosts):
        self.net, self.name, self.hosts = net, name, list(hosts)
        names = [getattr(host, "name", host) for host in hosts]
        if names != [name]:
            net.zones.set(name, *[("MX", f"{10 * number} {host}")
                                  for number, host in enumerate(names, 1)])

    def tlsa(self, *records, host=None, port=25):
        """TLSA records of a host, else of the first."""
        name = host or self.hosts[0].name
        self.net.zones.set(f"_{port}._tcp.{name}", *[("TLSA", one) for one in records])
        return self

    def record(self, number=ID, texts=None):
        """The _mta-sts record, or several with these texts; a tuple is a record of several
        strings."""
        texts = [f"v=STSv1; id={number};"] if texts is None else texts
        strings = [(one,) if isinstance(one, str) else one for one in texts]
        self.net.zones.set(f"_mta-sts.{self.name}",
                           *[("TXT", " ".join(f'"{part}"' for part in one)) for one in strings])
        return self

    def reports(self, *places):
        """The _smtp._tls record with these URIs."""
        self.net.zones.set(f"_smtp._tls.{self.name}",
                           ("TXT", '"v=TLSRPTv1; rua={}"'.format(",".join(places))))
        return self

    def policy(self, mode="enforce", patterns=None, max_age=MAX_AGE, number=ID,
               kind=authority.GOOD, certificate=None, address=POLICY_HOST, **answer):
        """The record, the policy host's address and certificate (of that kind, or the given one),
        and what it answers: a policy of that mode for our hosts, unless `answer` (policyhost.py)
        says otherwise."""
        host = f"mta-sts.{self.name}"
        if patterns is None:
            patterns = [getattr(one, "name", one) for one in self.hosts]
        answer.setdefault("body", policyhost.policy(mode, patterns, max_age))
        certificate = certificate or self.net.authority.issue(host, kind=kind)
        self.net.policy_host().serve(host, certificate, **answer)
        self.net.zones.set(host, ("A", address))
        return self.record(number)

# SPDX-License-Identifier: MIT
"""Postfix as a sender that obeys DANE, or MTA-STS by postfix-mta-sts-resolver, in the small
Internet.

Job: a Postfix that verifies by our authority only, mail submitted to it, what its log says of each
recipient; the policy map's daemon. Both read /etc/resolv.conf: internet.enter() comes first.
"""

import os
import re
import socket
import time

from . import daemon, postfix, proc, smtp, tap

STS_DAEMON = "/usr/bin/mta-sts-daemon"

MAIN = """myhostname = sender.example
smtp_host_lookup = dns
smtp_dns_support_level = dnssec
smtp_tls_security_level = {level}
smtp_tls_CAfile = {authority}
smtp_tls_loglevel = 1
smtp_tls_policy_maps = {maps}
smtpd_relay_restrictions = permit_mynetworks, reject
minimal_backoff_time = 3600
maximal_backoff_time = 3600
smtp_connect_timeout = 5
smtp_helo_timeout = 10
"""

STS_CONF = """host: 127.0.0.1
port: {port}
reuse_port: true
shutdown_timeout: 2
cache:
  type: internal
  options:
    cache_size: 1000
default_zone:
  strict_testing: false
  timeout: 5
cache_grace: 0
"""

_SENT = re.compile(r"to=<([^>]*)>, relay=([^,\[]*).*\bdsn=([0-9.]+), status=(\w+) \((.*)\)$")
_TLS = re.compile(r"(Verified|Trusted|Untrusted|Anonymous) TLS connection established to (\S+)\[")


class StsMap(daemon.Daemon):
    """postfix-mta-sts-resolver, a map for smtp_tls_policy_maps."""

    def __init__(self, net):
        if not os.access(STS_DAEMON, os.X_OK):
            raise tap.Skip("postfix-mta-sts-resolver is not installed: it is no judge here")
        super().__init__("mta-sts-daemon", None, "Server started", environment=net.environment())
        self.port = proc.free_port()
        path = self.write("conf.yml", STS_CONF.format(port=self.port))
        self.arguments = [STS_DAEMON, "-c", path]
        self.start()

    @property
    def text(self):
        return f"socketmap:inet:127.0.0.1:{self.port}:postfix"

    def ask(self, domain):
        """What Postfix would be told, "" for nothing: socketmap_table(5)."""
        question = f"postfix {domain}".encode()
        with socket.create_connection(("127.0.0.1", self.port), 20) as sock:
            sock.sendall(b"%d:%s," % (len(question), question))
            data = b""
            while not data.endswith(b","):
                more = sock.recv(4096)
                tap.check(more, f"the map said only {data!r}")
                data += more
        word, _, text = data.partition(b":")[2][:-1].decode().partition(" ")
        tap.check(word in ("OK", "NOTFOUND"), f"the map said {data!r}")
        return text


class Outcome:
    """`status` is sent, deferred or bounced; `tls` Verified, Trusted, Untrusted, Anonymous or
    None."""

    def __init__(self, address, dsn, status, text, tls):
        self.address, self.dsn, self.status, self.text, self.tls = address, dsn, status, text, tls

    def __repr__(self):
        return f"{self.address}: {self.status} {self.dsn}, TLS {self.tls}: {self.text}"


class Sender(postfix.Postfix):
    """`level` is smtp_tls_security_level: dane, may, ...; `maps` smtp_tls_policy_maps."""

    def __init__(self, net, level="dane", maps="", more=""):
        postfix.require("a sender that obeys policies")
        super().__init__(MAIN.format(level=level, authority=net.authority.path, maps=maps) + more)
        self.count = 0
        self.start()

    def submit(self, addresses, text=b"Subject: x\r\n\r\nhello\r\n"):
        """One message to each."""
        with smtp.Client(self.port) as client:
            client.ehlo()
            for address in addresses:
                client.expect("MAIL FROM:<sender@sender.example>", "250 ")
                client.expect(f"RCPT TO:<{address}>", "250 ")
                client.expect("DATA", "354 ")
                client.send(smtp.stuff(text))
                tap.equal(client.reply().code, 250, "Postfix's reply to the message")
            client.quit()

    def send(self, domain, seconds=20):
        """One message to a new mailbox of the domain; what came of it."""
        self.count += 1
        address = f"user{self.count}@{domain}"
        self.submit([address])
        return self.outcome(address, seconds)

    def outcome(self, address, seconds=20):
        end = time.monotonic() + seconds * tap.SLOW
        while True:
            tls = {}        # by host: how its newest connection was
            for line in self.log():
                if found := _TLS.search(line):
                    tls[found.group(2)] = found.group(1)
                if (found := _SENT.search(line)) and found.group(1) == address:
                    return Outcome(address, *found.groups()[2:], tls.get(found.group(2)))
            tap.check(time.monotonic() < end, f"nothing came of the mail to {address}")
            time.sleep(0.05)    # the log is a file: nothing tells of a new line

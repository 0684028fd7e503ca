# SPDX-License-Identifier: MIT
"""DNS zones, signed or not, served by NSD, and a validating Unbound that starts at their root.

Job: zones are dicts of names and records; they are written, signed with keys made on the spot
(ldns-keygen, ldns-signzone), delegated from the nearest zone above, and served; after a change
`publish` serves the new ones. The root's DS record is the trust anchor, a file that Unbound and
libunbound read.
A zone may be: signed with a DS record above it (secure), unsigned without one (insecure), signed
with a DS record for another key, unsigned with a DS record, or signed long ago (all three bogus).
In a secure zone the signatures of single record sets can be forged (`forged`).
Invariants: data lives a second (TTL), so a change is seen after two; what proves a zone lives
longer.
Rejected: Knot, which signs by itself: it cannot be made to sign wrongly. ".test" as the top: every
Unbound answers that one by itself (RFC 6761).
"""

import base64
import os
import re
import signal
import time

from . import daemon, dns, proc, tap

NSD, UNBOUND = "/usr/sbin/nsd", "/usr/sbin/unbound"
KEYGEN, SIGN = "/usr/bin/ldns-keygen", "/usr/bin/ldns-signzone"
SERVER = "ns.example"
DATA_TTL, ZONE_TTL = 1, 300
PUBLISH_SECONDS = 20
DAY = 86400
SECURE, INSECURE, WRONG_DS, STRIPPED, EXPIRED = "secure insecure wrong-ds stripped expired".split()

_SIGNATURE = re.compile(r"^(\S+)\s+\d+\s+IN\s+RRSIG\s+(\S+)\s.*\s(\S+)$")

NSD_CONF = """server:
	ip-address: {address}
	port: {port}
	server-count: 1
	username: nobody
	chroot: ""
	zonesdir: "{base}"
	database: ""
	pidfile: ""
	xfrdfile: "{base}/xfrd"
	zonelistfile: "{base}/zonelist"
	rrl-ratelimit: 0
	verbosity: 2
remote-control:
	control-enable: no
"""

UNBOUND_CONF = """server:
	interface: {address}@{port}
	username: ""
	chroot: ""
	directory: "{base}"
	pidfile: ""
	use-syslog: no
	logfile: ""
	num-threads: 1
	do-ip6: no
	do-not-query-localhost: no
	access-control: 127.0.0.0/8 allow
	module-config: "validator iterator"
	root-hints: "{base}/hints"
	trust-anchor-file: "{anchor}"
	val-log-level: 2
	val-bogus-ttl: 1
	aggressive-nsec: no
	infra-host-ttl: 1
	ip-ratelimit: 0
remote-control:
	control-enable: no
"""


def missing():
    """The first program that is not there, or None."""
    return next((path for path in (NSD, UNBOUND, KEYGEN, SIGN) if not os.access(path, os.X_OK)),
                None)


class Zone:
    """`records` is {name: [(type, data), ...]} in presentation format, all names absolute without
    the final dot. `forged` are (name, type) whose signatures are broken; {type "*"} is any type."""

    def __init__(self, name, state=SECURE, records=None, forged=()):
        self.name, self.state = name, state
        self.records = {one: list(found) for one, found in (records or {}).items()}
        self.forged = set(forged)
        self.key = self.ds = None

    @property
    def signed(self):
        return self.state in (SECURE, WRONG_DS, EXPIRED)

    @property
    def file(self):
        return (self.name or "root") + ".zone"

    def holds(self, name):
        return not self.name or name == self.name or name.endswith("." + self.name)

    def make_key(self, folder):
        """One key signs all; returns its DS record's data."""
        done = proc.run([KEYGEN, "-a", "ECDSAP256SHA256", "-k", self.name or "."], cwd=folder)
        tap.equal(done.returncode, 0, done.stderr.decode())
        name = done.stdout.decode().strip()
        with open(os.path.join(folder, name + ".ds"), encoding="ascii") as file:
            return name, file.read().split("DS", 1)[1].split(";")[0].strip()

    def text(self, serial, below):
        """The zone unsigned; `below` are the zones delegated from it."""
        own = self.name or "."
        lines = ["$ORIGIN .", f"$TTL {DATA_TTL}",
                 f"{own} {ZONE_TTL} IN SOA {SERVER} hostmaster.example {serial} 3600 600 86400 1",
                 f"{own} {ZONE_TTL} IN NS {SERVER}"]
        for zone in below:
            lines.append(f"{zone.name} {ZONE_TTL} IN NS {SERVER}")
            if zone.state != INSECURE:
                lines.append(f"{zone.name} {ZONE_TTL} IN DS {zone.ds}")
        for name, records in self.records.items():
            lines += [f"{name or '.'} IN {kind} {data}" for kind, data in records]
        return "\n".join(lines) + "\n"

    def sign(self, folder):
        """Signs the file in place."""
        now = int(time.time())
        begin, end = now - 3600, now + 10 * DAY
        if self.state == EXPIRED:   # long ago: resolvers forgive a day
            begin, end = now - 60 * DAY, now - 30 * DAY
        path = os.path.join(folder, self.file)
        done = proc.run([SIGN, "-o", self.name or ".", "-i", str(begin), "-e", str(end), "-f",
                         path + ".signed", path, self.key], cwd=folder)
        tap.equal(done.returncode, 0, f"signing {self.name}: {done.stderr.decode()}")
        with open(path + ".signed", encoding="utf-8") as file:
            text = self.forge(file.read())
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def forge(self, text):
        """The signed zone with the signatures of `forged` made worthless."""
        lines, left = text.splitlines(), set(self.forged)
        for number, line in enumerate(lines):
            match = _SIGNATURE.match(line)
            if not match:
                continue
            name, kind, signature = match.groups()
            hit = {(name.rstrip("."), kind), (name.rstrip("."), "*")} & self.forged
            if hit:
                left -= hit
                size = len(base64.b64decode(signature))
                lines[number] = line[:-len(signature)] + base64.b64encode(b"\x2a" * size).decode()
        tap.check(not left, f"nothing to forge: {left}")
        return "\n".join(lines) + "\n"


class Zones:
    """The root, "example", and whatever is added; NSD serves them at (address, port)."""

    def __init__(self, address, port=53):
        self.address, self.port = address, port
        self.serial = 0
        glue = {SERVER: [("A", address)]}
        self.zones = {"": Zone("", records=glue), "example": Zone("example", records=glue)}
        self.nsd = None
        self.base = proc.temp_dir("postern-zones-")

    @property
    def anchor(self):
        """The file with the root's DS record."""
        return os.path.join(self.base, "anchor.ds")

    def add(self, name, state=SECURE, records=None, forged=()):
        self.zones[name] = Zone(name, state, records, forged)
        return self.zones[name]

    def of(self, name, above=False):
        """The zone that a name is in; the zone above the one of that name."""
        found = [zone for zone in self.zones.values()
                 if zone.holds(name) and not (above and zone.name == name)]
        return max(found, key=lambda zone: len(zone.name))

    def set(self, name, *records):
        """All records of a name, instead of those that it had; none: the name goes."""
        held = self.of(name).records
        held.pop(name, None)
        if records:
            held[name] = list(records)

    def put(self, records):
        """Many names at once: {name: [(type, data), ...]}."""
        for name, found in records.items():
            self.set(name, *found)

    # -- files ----------------------------------------------------------------------------------

    def write(self):
        for zone in self.zones.values():
            if not zone.ds:
                zone.key, zone.ds = zone.make_key(self.base)
                if zone.state == WRONG_DS:
                    zone.ds = zone.make_key(self.base)[1]
        with open(self.anchor, "w", encoding="ascii") as file:
            file.write(f". IN DS {self.zones[''].ds}\n")
        for zone in self.zones.values():
            below = [one for one in self.zones.values()
                     if one.name and self.of(one.name, above=True) is zone]
            with open(os.path.join(self.base, zone.file), "w", encoding="utf-8") as file:
                file.write(zone.text(self.serial, below))
            if zone.signed:
                zone.sign(self.base)

    def conf(self):
        text = NSD_CONF.format(address=self.address, port=self.port, base=self.base)
        for zone in self.zones.values():
            text += f'zone:\n\tname: "{zone.name or "."}"\n\tzonefile: "{zone.file}"\n'
        return text

    # -- serving --------------------------------------------------------------------------------

    def publish(self):
        """Serves what was declared; returns when nothing older is served. Zones are all added
        before the first time."""
        self.serial, before = self.serial + 1, None
        self.write()
        if not self.nsd:
            path = os.path.join(self.base, "nsd.conf")
            with open(path, "w", encoding="ascii") as file:
                file.write(self.conf())
            self.nsd = daemon.Daemon("nsd", [NSD, "-d", "-c", path], "nsd started", self.base)
            self.nsd.start()
        else:
            before = self.serving()     # it may answer still when its successor does already
            self.nsd.signal(signal.SIGHUP)
        end = time.monotonic() + PUBLISH_SECONDS * tap.SLOW
        while (not all(self.served(zone) for zone in self.zones.values())
               or before in proc.family(self.nsd.process.pid)):
            tap.check(time.monotonic() < end and not self.nsd.ended,
                      f"the zones of serial {self.serial} are not served")

    def serving(self):
        """The process that answers: the last one of the family."""
        return proc.family(self.nsd.process.pid)[-1]

    def served(self, zone):
        """Does the server have the zone as it was written last?"""
        answer = dns.ask(self.address, self.port, zone.name, "SOA", seconds=1)
        return bool(answer and answer.records
                    and int.from_bytes(answer.records[0][-20:-16], "big") == self.serial)


class Resolver:
    """A validating Unbound at (address, port) that knows the zones' root and its trust anchor."""

    def __init__(self, zones, address, port=53):
        self.address, self.port = address, port
        base = proc.temp_dir("postern-unbound-")
        self.unbound = daemon.Daemon("unbound", [UNBOUND, "-d", "-c", f"{base}/unbound.conf"],
                                     "start of service", base)
        self.unbound.write("hints", f". 3600 IN NS {SERVER}.\n{SERVER}. 3600 IN A "
                                    f"{zones.address}\n")
        self.unbound.write("unbound.conf", UNBOUND_CONF.format(
            address=address, port=port, base=base, anchor=zones.anchor))
        self.unbound.start()

    @property
    def text(self):
        """As one of the gateway's resolvers."""
        return f"{self.address}@{self.port}"

    def ask(self, name, kind, **options):
        return dns.ask(self.address, self.port, name, kind, **options)

# SPDX-License-Identifier: MIT
"""A small DNS server on loopback, for what a test wants to be true, and a question to any server.

Job: answer MX, A and AAAA questions over UDP out of a table; a name can be set to fail (SERVFAIL)
or to be silent. A name without records is NXDOMAIN, one without records of that type has no data.
`ask` sends one question and says what came, with the bits that tell of DNSSEC.
Not its job: delegation, TCP; signed zones (zones.py).
"""

import ipaddress
import socket
import struct
import threading

from . import tap

A, NS, CNAME, SOA, MX, AAAA = 1, 2, 5, 6, 15, 28
TYPES = {"A": A, "NS": NS, "CNAME": CNAME, "SOA": SOA, "MX": MX, "TXT": 16, "AAAA": AAAA, "DS": 43,
         "RRSIG": 46, "DNSKEY": 48, "TLSA": 52}
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3
_OPT, _EDNS_BYTES = 41, 4096
_TRUNCATED, _RECURSE, _AUTHENTIC, _UNCHECKED, _DO = 0x0200, 0x0100, 0x0020, 0x0010, 0x8000


def encode_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split(".")
                    if label) + b"\0"


def decode_name(data, at):
    labels = []
    while data[at]:
        labels.append(data[at + 1:at + 1 + data[at]].decode("ascii", "replace"))
        at += data[at] + 1
    return ".".join(labels).lower(), at + 1


def record(kind, value):
    """(type, rdata) of "10 mx.example" or an address."""
    if kind == "MX":
        preference, _, host = value.partition(" ")
        return MX, struct.pack("!H", int(preference)) + encode_name(host)
    if kind == "CNAME":
        return CNAME, encode_name(value)
    address = ipaddress.ip_address(value)
    return (A if address.version == 4 else AAAA), address.packed


class Dns:
    """`zone` is {name: [("MX", "10 a.example"), ("A", "127.0.0.5"), ...]}."""

    def __init__(self, zone):
        self.zone = {name.lower(): records for name, records in zone.items()}
        self.failing, self.silent = set(), set()
        self.asked = []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()
        tap.at_exit(self.sock.close)

    @property
    def text(self):
        """As one of the gateway's resolvers."""
        return f"127.0.0.1@{self.port}"

    def _serve(self):
        while True:
            try:
                data, peer = self.sock.recvfrom(4096)
                answer = self.answer(data)
                if answer:
                    self.sock.sendto(answer, peer)
            except OSError:
                return

    def answer(self, data):
        number, _, questions = struct.unpack_from("!HHH", data)
        name, end = decode_name(data, 12)
        kind = struct.unpack_from("!H", data, end)[0]
        question = data[12:end + 4]
        self.asked.append((name, kind))
        if questions != 1 or name in self.silent:
            return None
        code, answers, authority = 0, [], []
        if name in self.failing:
            code = SERVFAIL
        elif name not in self.zone:
            code = NXDOMAIN
        else:
            found = [record(*one) for one in self.zone[name]]
            answers = [one for one in found if one[0] in (kind, CNAME)]
        if code != SERVFAIL and not answers:
            soa = encode_name("ns.invalid") * 2 + struct.pack("!IIIII", 1, 60, 60, 60, 1)
            authority = [(SOA, soa)]
        out = struct.pack("!HHHHHH", number, 0x8180 | code, 1, len(answers), len(authority), 0)
        out += question
        for kind, rdata in answers + authority:
            out += b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 1, len(rdata)) + rdata
        return out


class Answer:
    """`secure` is the AD bit; `records` the data of those of the type that was asked for, `signed`
    whether signatures came with them, `seen` all (name, type) of the answer."""

    def __init__(self, data, kind):
        _, flags, questions, answers = struct.unpack_from("!HHHH", data)
        self.code, self.secure = flags & 15, bool(flags & _AUTHENTIC)
        self.truncated = bool(flags & _TRUNCATED)
        self.records, self.seen = [], []
        at = 12
        for _ in range(questions):
            at = _skip_name(data, at)[1] + 4
        for _ in range(answers):
            name, at = _skip_name(data, at)
            found, _, _, size = struct.unpack_from("!HHIH", data, at)
            at += 10
            self.seen.append((name, found))
            if found == kind:
                self.records.append(data[at:at + size])
            at += size
        self.signed = any(found == TYPES["RRSIG"] for _, found in self.seen)

    @property
    def addresses(self):
        return sorted(str(ipaddress.ip_address(one)) for one in self.records)

    @property
    def texts(self):
        return [b"".join(_strings(one)).decode() for one in self.records]


def _strings(data):
    at = 0
    while at < len(data):
        yield data[at + 1:at + 1 + data[at]]
        at += 1 + data[at]


def _skip_name(data, at):
    """A name that may be compressed, and where it ends."""
    labels, end = [], None
    while data[at]:
        if data[at] >= 0xc0:
            end = end or at + 2
            at = struct.unpack_from("!H", data, at)[0] & 0x3fff
            continue
        labels.append(data[at + 1:at + 1 + data[at]].decode("ascii", "replace"))
        at += data[at] + 1
    return ".".join(labels).lower(), end or at + 1


def ask(address, port, name, kind, unchecked=False, seconds=10):
    """One question with DO set; None when no answer came. `unchecked` asks for bogus data, too."""
    number = TYPES[kind]
    flags = _RECURSE | _AUTHENTIC | (_UNCHECKED if unchecked else 0)
    packet = struct.pack("!HHHHHH", 4711, flags, 1, 0, 0, 1) + encode_name(name)
    packet += struct.pack("!HH", number, 1)
    packet += b"\0" + struct.pack("!HHIH", _OPT, _EDNS_BYTES, _DO, 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(seconds * tap.SLOW)
        sock.connect((address, port))
        try:
            sock.send(packet)
            return Answer(sock.recv(65536), number)
        except (socket.timeout, ConnectionRefusedError):
            return None

# SPDX-License-Identifier: MIT
"""A small DNS server on loopback, for what a test wants to be true.

Job: answer MX, A and AAAA questions over UDP out of a table; a name can be set to fail (SERVFAIL)
or to be silent. A name without records is NXDOMAIN, one without records of that type has no data.
Not its job: delegation, TCP, DNSSEC.
"""

import ipaddress
import socket
import struct
import threading

from . import tap

A, NS, CNAME, SOA, MX, AAAA = 1, 2, 5, 6, 15, 28
SERVFAIL, NXDOMAIN = 2, 3


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

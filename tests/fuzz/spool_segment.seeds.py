#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""spool_segment.seeds.py DIR: writes the seeds of the fuzz target spool_segment into DIR.

Segments as gateway/spool/format.h describes them, made from that description alone. The first octet
of a seed is the target's: which mode. Also importable: the records for other uses.
"""
import pathlib
import struct
import sys

SALT = 0x5A17A5E1
TABLE = []
for i in range(256):
    for _ in range(8):
        i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
    TABLE.append(i)


def crc32c(octets, crc=0):
    crc ^= 0xFFFFFFFF
    for octet in octets:
        crc = crc >> 8 ^ TABLE[(crc ^ octet) & 0xFF]
    return crc ^ 0xFFFFFFFF


PAGE = 4096


def segment(shard=0, seq=1, version=2, page=0):
    head = struct.pack("<8sIIQQII20x", b"PSTNSEG1", version, shard, seq, 1700000000, SALT, page)
    return (head + struct.pack("<I", crc32c(head))).ljust(page, b"\0")


def paged(*records):
    """A commit of them: whole pages."""
    octets = b"".join(records)
    return octets + bytes(-len(octets) % PAGE)


def record(kind, batch, number, meta=b"", body=b"", flags=0, attempts=0, due=0, large_n=None):
    head = struct.pack("<4sBB2xQQQQIIQI", b"PSTR", kind, flags, batch, number, 1700000001,
                       len(body) if large_n is None else large_n, len(meta), attempts, due,
                       crc32c(meta + body))
    whole = head + struct.pack("<I", crc32c(head, SALT)) + meta + body
    return whole + bytes(-len(whole) % 8)


def string(text):
    return struct.pack("<H", len(text)) + text


def envelope(sender, recipients, body=0, ret=0, utf8=0, size=0, envid=b""):
    meta = struct.pack("<BBBxIQ", body, ret, utf8, len(recipients), size) + string(sender)
    meta += string(envid)
    for address, fate, notify, orcpt in recipients:
        meta += struct.pack("<BBBx", fate, notify, 0) + string(address) + string(orcpt)
    return meta


def message(batch, number, sender, recipients, body, **more):
    return record(1, batch, number, envelope(sender, recipients), body, **more)


def attempt(batch, number, changes, hop, text, flags=2, **more):
    meta = struct.pack("<BxxxI", flags, len(changes))
    for recipient, fate, warned in changes:
        meta += struct.pack("<IBBxx", recipient, fate, warned)
    return record(2, batch, number, meta + string(hop) + string(text), **more)


def finished(batch, number):
    return record(3, batch, number)


BODY = b"Subject: seed\r\n\r\nHello\r\n"
A = (b"a@example.org", 0, 0, b"")
B = (b"b@example.org", 0, 12, b"rfc822;b@example.org")


def seeds():
    one = message(1, 1, b"s@example.net", [A], BODY)
    two = message(1, 2, b"", [A, B], BODY)
    tried = attempt(2, 2, [(0, 1, 0), (1, 0, 1)], b"smtp:mx.example.org:25", b"450 later",
                    attempts=1, due=1700000300)
    copy = message(3, 2, b"", [A, B], BODY, flags=8)
    large = record(1, 4, 3, envelope(b'"q@q"@x', [A], 2, 2, 1, 99, b"E"), flags=1, large_n=1 << 20)
    yield "empty", segment()
    yield "newer", segment(version=5)
    yield "older", segment(version=1)
    yield "one", segment() + one
    yield "all", segment() + one + two + tried + copy + large + finished(5, 1)
    yield "zeros", segment() + one + bytes(256)
    yield "torn", segment() + one + two[:-30]
    yield "hole", segment() + one + bytes(len(two)) + tried + finished(5, 1)
    yield "no-recipients", segment() + message(1, 1, b"s@x", [], b"")
    old = bytes(octet ^ 0xFF for octet in one) * 40
    pages = segment(version=4, page=PAGE)
    yield "pages", pages + paged(one) + paged(two, tried) + bytes(PAGE) + old
    yield "pages-torn", pages + paged(one) + paged(two)[:100] + old
    yield "pages-hole", pages + paged(one) + bytes(PAGE) + paged(two, tried) + bytes(PAGE)
    yield "inside", segment() + message(1, 1, b"s@x", [A], bytes(7) + one)


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, octets in seeds():
        (folder / name).write_bytes(b"\0" + octets)
        (folder / f"{name}-mutated").write_bytes(b"\1" + bytes([2, 69, 0, 1, 200, 0, 7]) + octets)


if __name__ == "__main__":
    main()

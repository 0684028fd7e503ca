# SPDX-License-Identifier: MIT
"""Reads the spool's segments by the table in gateway/spool/format.h, with nothing of the gateway's.

Job: the records of a segment, each with its checksums judged; who still waits for what, as a start
would find it. A second opinion: what the gateway writes must be what its header says.
"""

import glob
import os
import struct

HEADER_BYTES = RECORD_BYTES = 64
TYPES = {1: "message", 2: "attempt", 3: "finished"}
PENDING = 0                 # a fate; all others are final

_TABLE = []
for _byte in range(256):
    _crc = _byte
    for _ in range(8):
        _crc = _crc >> 1 ^ (0x82F63B78 if _crc & 1 else 0)
    _TABLE.append(_crc)


def crc32c(data, before=0):
    crc = before ^ 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


class Record:
    """`bodies` false: what is in front of a body is judged, and the body is not (it takes time)."""

    def __init__(self, raw, offset, salt, bodies=True):
        (magic, kind, self.flags, zero, self.batch, self.id, self.real_s, self.body_n, self.meta_n,
         self.attempts, self.due_s, crc, own) = struct.unpack_from("<4sBBHQQQQIIQII", raw, offset)
        self.offset = offset
        self.large = bool(self.flags & 1)
        payload = self.meta_n + (0 if self.large else self.body_n)
        start = offset + RECORD_BYTES
        self.meta = raw[start:start + self.meta_n]
        self.body = raw[start + self.meta_n:start + payload]
        self.end = start + (payload + 7) // 8 * 8
        self.type = TYPES.get(kind)
        self.good = (magic == b"PSTR" and zero == 0 and self.type is not None
                     and own == crc32c(raw[offset:offset + 60], salt)
                     and (not bodies and self.type == "message"
                          or crc == crc32c(raw[start:start + payload])))

    @property
    def queue_id(self):
        return f"{self.id:016X}"

    @property
    def holds(self):
        """Is it an attempt that leaves the message held?"""
        return self.type == "attempt" and bool(self.meta[0] & 1)

    def recipients(self):
        """Of a message: [address, fate] of each, in order."""
        count, at, found = struct.unpack_from("<I", self.meta, 4)[0], 16, []
        for _ in range(2):      # reverse-path, ENVID
            at = self._string(at)[1]
        for _ in range(count):
            fate = self.meta[at]
            address, at = self._string(at + 4)
            found.append([address.decode("utf-8", "replace"), fate])
            at = self._string(at)[1]
        return found

    def changes(self):
        """Of an attempt: (number of the recipient, its new fate) of each."""
        count = struct.unpack_from("<I", self.meta, 4)[0]
        return [struct.unpack_from("<IB", self.meta, 8 + 8 * one) for one in range(count)]

    def _string(self, at):
        """The string there, and where it ends."""
        end = at + 2 + struct.unpack_from("<H", self.meta, at)[0]
        return self.meta[at + 2:end], end


class Segment:
    def __init__(self, path, bodies=True):
        self.path = path
        with open(path, "rb") as file:
            raw = file.read().ljust(HEADER_BYTES, b"\0")    # a death may come before its header
        (magic, self.version, self.shard, self.seq, self.created_s, salt,
         page) = struct.unpack_from("<8sIIQQII", raw)
        self.good = (magic == b"PSTNSEG1"
                     and struct.unpack_from("<I", raw, 60)[0] == crc32c(raw[:60]))
        self.records = []
        at = page or HEADER_BYTES
        while at + RECORD_BYTES <= len(raw):
            if page and not any(raw[at:at + 4]):
                at += -at % page    # the next commit, if there is one
            if not any(raw[at:at + 4]):
                break
            record = Record(raw, at, salt, bodies)
            self.records.append(record)
            if not record.good:
                break
            at = record.end
        rest = raw[at:at + page] if page else raw[at:]
        self.clean = not rest.strip(b"\0") or bool(self.records and not self.records[-1].good)


def segments(spool, bodies=True):
    """All segments below a spool's directory, by shard and age."""
    return [Segment(path, bodies)
            for path in sorted(glob.glob(os.path.join(spool, "[0-9]*", "*.seg")))]


def records(spool, kind=None):
    return [(segment, record) for segment in segments(spool) for record in segment.records
            if kind in (None, record.type)]


def pending(spool):
    """{queue id: addresses that wait} of all that is there, of a gateway that does not run."""
    known = {}
    for one in segments(spool, bodies=False):
        for record in one.records:
            recipients = known.get(record.queue_id)
            if not record.good:
                break
            if record.type == "finished":
                known[record.queue_id] = []
            elif record.type == "message":
                found = record.recipients()
                for old, new in zip(recipients or (), found):
                    new[1] = new[1] or old[1]       # a final fate stays, whatever a copy says
                known[record.queue_id] = found
            elif recipients:
                for number, fate in record.changes():
                    recipients[number][1] = recipients[number][1] or fate
    return {number: {address for address, fate in recipients if fate == PENDING}
            for number, recipients in known.items()}


def large(spool):
    folder = os.path.join(spool, "large")
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []

# SPDX-License-Identifier: MIT
"""Reads the spool's segments by the table in gateway/spool/format.h, with nothing of the gateway's.

Job: the records of a segment, each with its checksums judged. A second opinion: what the gateway
writes must be what its header says.
"""

import glob
import os
import struct

HEADER_BYTES = RECORD_BYTES = 64
TYPES = {1: "message", 2: "attempt", 3: "finished"}

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
    def __init__(self, raw, offset, salt):
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
                     and crc == crc32c(raw[start:start + payload]))

    @property
    def queue_id(self):
        return f"{self.id:016X}"


class Segment:
    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            raw = file.read()
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
            record = Record(raw, at, salt)
            self.records.append(record)
            if not record.good:
                break
            at = record.end
        rest = raw[at:at + page] if page else raw[at:]
        self.clean = not any(rest) or bool(self.records and not self.records[-1].good)


def segments(spool):
    """All segments below a spool's directory, by shard and age."""
    return [Segment(path) for path in sorted(glob.glob(os.path.join(spool, "[0-9]*", "*.seg")))]


def records(spool, kind=None):
    return [(segment, record) for segment in segments(spool) for record in segment.records
            if kind in (None, record.type)]


def large(spool):
    folder = os.path.join(spool, "large")
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []

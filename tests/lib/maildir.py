# SPDX-License-Identifier: MIT
"""Reads the Maildirs that the gateway writes: MAILDIR/domain/localpart/{tmp,new,cur}.

Job: find messages, and take the trace lines (Return-Path, Received) off the front so that the rest
can be compared with what was sent. Invariant: the trace must have exactly the documented form, else
`split` raises; nothing is normalised.
"""

import os
import re

# To the end of its date: a message may itself begin with a blank.
_RECEIVED = re.compile(rb"Received: (from (?:[^\r\n]|\r\n[ \t])*?; "
                       rb"[A-Z][a-z]{2}, \d\d? [A-Z][a-z]{2} \d{4} "
                       rb"\d\d:\d\d:\d\d [+-]\d{4}(?: \([A-Z]+\))?)\r\n")
_PLAIN = re.compile(rb"[A-Za-z0-9._+=-]")


def encode_local(local):
    """A local part as the folder's name: odd bytes and a leading dot as %XX, in lower case."""
    raw = local.encode() if isinstance(local, str) else local
    raw = raw.lower()
    out = b""
    for index, byte in enumerate(raw):
        one = bytes([byte])
        plain = _PLAIN.match(one) and not (index == 0 and one == b".")
        out += one if plain else b"%%%02X" % byte
    return out.decode()


def box(root, address):
    local, _, domain = address.rpartition("@")
    return os.path.join(root, domain.lower(), encode_local(local))


def names(root, address, sub="new"):
    try:
        return sorted(os.listdir(os.path.join(box(root, address), sub)))
    except FileNotFoundError:
        return []


def read(root, address):
    """All messages of new/, as bytes."""
    folder = os.path.join(box(root, address), "new")
    found = []
    for name in names(root, address):
        with open(os.path.join(folder, name), "rb") as file:
            found.append(file.read())
    return found


def walk(root, sub="new"):
    """Paths of all files in any box's new/ (or tmp/, cur/)."""
    for folder, _, files in os.walk(root):
        if os.path.basename(folder) == sub:
            for name in sorted(files):
                yield os.path.join(folder, name)


def clear(root):
    for sub in ("new", "tmp", "cur"):
        for path in walk(root, sub):
            os.unlink(path)


def split(stored):
    """(return path, unfolded Received line, message) of a stored file."""
    if not stored.startswith(b"Return-Path: <"):
        raise ValueError(f"no Return-Path line first: {stored[:80]!r}")
    first, _, rest = stored.partition(b"\r\n")
    if not first.endswith(b">"):
        raise ValueError(f"Return-Path line: {first!r}")
    return (first[len(b"Return-Path: <"):-1],) + received(rest)


def received(relayed):
    """(unfolded Received line, message) of a message as a next hop gets it."""
    match = _RECEIVED.match(relayed)
    if not match:
        raise ValueError(f"Received line of another form: {relayed[:300]!r}")
    return re.sub(rb"\r\n[ \t]+", b" ", match.group(1)), relayed[match.end():]


def message(stored):
    return split(stored)[2]

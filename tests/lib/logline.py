# SPDX-License-Identifier: MIT
"""Parser of the gateway's log lines: `key=value` pairs, odd values in quotes with \\xHH escapes.

Job: turn one line into a dict. A leading syslog or time prefix without `=` is skipped.
Invariant: a line that is not well formed raises, so that a peer's bytes that break out of their
quotes fail a test.
"""

import re

_PAIR = re.compile(r'([a-z][a-z0-9_]*)=("(?:[^"\\]|\\.)*"|[^\s"]*)(?:\s+|$)')
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.)")


def _unescape(match):
    escape = match.group(1)
    if escape[0] == "x" and len(escape) == 3:
        return chr(int(escape[1:], 16))
    return {"n": "\n", "r": "\r", "t": "\t"}.get(escape, escape)


def parse(line):
    """The line's pairs, or None where it is no event line at all."""
    start = line.find("event=")
    if start < 0:
        return None
    rest, pairs = line[start:].rstrip("\n"), {}
    position = 0
    while position < len(rest):
        match = _PAIR.match(rest, position)
        if not match:
            raise ValueError(f"malformed log line at {rest[position:position + 40]!r}: {line!r}")
        key, value = match.groups()
        if value.startswith('"'):
            value = _ESCAPE.sub(_unescape, value[1:-1])
        if key in pairs:
            raise ValueError(f"key {key} twice: {line!r}")
        pairs[key] = value
        position = match.end()
    return pairs

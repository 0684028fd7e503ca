# SPDX-License-Identifier: MIT
"""Runs postern-probe and reads what it found: exit code, JSON, findings.

Job: one run an object; `expect` compares the exit code with all objections and refusals.
"""

import json
import time

from . import gateway, proc, tap

GOOD, OBJECTION, REFUSAL, UNKNOWN = range(4)


class Run:
    """One run of the program: exit code, JSON, and the text where JSON was not asked for."""

    def __init__(self, *arguments, form="--json", seconds=60):
        command = [gateway.program("postern-probe"), *([form] if form else []), *arguments]
        begun = time.monotonic()
        done = proc.run(command, seconds)
        self.seconds = time.monotonic() - begun
        self.code, self.text = done.returncode, done.stdout.decode("ascii")
        self.error = done.stderr.decode("ascii", "backslashreplace")
        tap.check("Sanitizer" not in self.error and "runtime error" not in self.error, self.error)
        self.json = json.loads(self.text) if form == "--json" and self.code != UNKNOWN else None
        self.hosts = self.json["hosts"] if self.json else []

    @property
    def host(self):
        tap.equal(len(self.hosts), 1, "hosts")
        return self.hosts[0]

    def found(self, code, host=None):
        return [one for one in self.json["findings"] if one["code"] == code
                and (host is None or one["host"] == host)]

    def codes(self, *severities):
        return sorted({one["code"] for one in self.json["findings"]
                       if one["severity"] in severities})

    def expect(self, code, *wanted):
        """The exit code, and exactly these objections and refusals."""
        got = self.codes("objection", "refusal")
        tap.equal((self.code, got), (code, sorted(wanted)), f"code and findings; {self.error}")
        return self

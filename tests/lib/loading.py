# SPDX-License-Identifier: MIT
"""Runs postern-load and postern-sink and hands over what they report.

Job: start a sink on a free port, end it, parse its summary; run a load to its end, parse its JSON.
Invariants: both run under a time limit, and a sink that a test leaves behind dies with the suite.
"""

import contextlib
import json
import re
import signal
import subprocess

from . import gateway, proc, tap

SECONDS = 30


class Sink:
    """A running postern-sink. `report` and `status` are there after `end`."""

    def __init__(self, *options, addresses=(), prefix=()):
        self.process = proc.start([*prefix, gateway.program("postern-sink"), "--json", *options,
                                   *addresses], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.report, self.status = None, None
        line = self.process.stdout.readline()
        ready = re.match(rb"ready (.*)\n", line)
        if not ready:
            self.process.kill()
            raise tap.Failed(f"sink: {line!r} {self.process.communicate()[1]!r}")
        self.addresses = ready.group(1).decode().split()
        self.address = self.addresses[0]

    def end(self, number=signal.SIGTERM):
        """Its summary; without a signal it is waited for until it ends by itself."""
        if self.report is None:
            if number:
                self.process.send_signal(number)
            out, err = self.process.communicate(timeout=SECONDS * tap.SLOW)
            self.status = self.process.returncode
            self.report = json.loads(out or b"{}")
            tap.equal(err, b"", "the sink's stderr")
        return self.report


@contextlib.contextmanager
def sink(*options, **more):
    """A sink for the length of a `with`."""
    one = Sink(*options, **more)
    try:
        yield one
    finally:
        if one.report is None:
            one.process.kill()
            one.process.communicate()


def run(address, *options, status=0, prefix=(), seconds=SECONDS):
    """A whole run of postern-load; its process, ended."""
    done = proc.run([*prefix, gateway.program("postern-load"), *options, address], seconds=seconds)
    tap.equal(done.returncode, status,
              f"exit status; {done.stderr.decode()} {done.stdout.decode()[:2000]}")
    return done


def load(address, *options, **more):
    """What postern-load reports, as JSON."""
    return json.loads(run(address, "--json", *options, **more).stdout)

# SPDX-License-Identifier: MIT
"""How fast the machine itself is, looked at again and again while something else is measured.

A long run that becomes slower says nothing of the server while nobody knows whether the machine
became slower too: shared CPUs and disks do. So some small fixed work stands beside each figure:
digests of the same octets, by the CPU time they take, and writes that are synced to the same file
system, by the time they take. Both are of a machine that is busy with the measurement.

Invariant: it takes about 1 % of one CPU at most, so that it can be left in.
"""

import hashlib
import os
import statistics
import time

SYNCS = 4
SYNC_OCTETS = 4096
WORK = bytes(1 << 20)
TICK = os.sysconf("SC_CLK_TCK")


def busy_seconds():
    """CPU seconds that all processes of the machine took, since some time."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = [int(field) for field in file.readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4] - ticks[7]) / TICK     # idle, disk, stolen


class Control:
    """`look` now and then; `take` gives the medians since the last one, in ms."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "control")
        self.fd = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.posix_fallocate(self.fd, 0, SYNC_OCTETS)
        os.fsync(self.fd)
        self.syncs, self.work = [], []

    def look(self):
        for _ in range(SYNCS):
            began = time.monotonic()
            os.pwrite(self.fd, WORK[:SYNC_OCTETS], 0)
            os.fdatasync(self.fd)
            self.syncs.append(time.monotonic() - began)
        began = time.thread_time()
        hashlib.sha256(WORK).digest()
        self.work.append(time.thread_time() - began)

    def take(self):
        found = {"sync_ms": statistics.median(self.syncs) * 1000,
                 "work_ms": statistics.median(self.work) * 1000}
        self.syncs, self.work = [], []
        return found

    def close(self):
        os.close(self.fd)
        os.unlink(self.path)

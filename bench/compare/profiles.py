# SPDX-License-Identifier: MIT
"""Where Postern's CPU time goes: samples by perf during a short run of a shape, of its own.

By the clock, since virtual machines often have no counters. Without perf there is no profile.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

import rig as rig_
import shapes
from rig import proc

SHAPES = ("A", "C", "D", "E-data")
FREQUENCY = 1999
SYMBOLS_MAX = 20
ATTACH_SECONDS = 1.5
PARTS_MAX = 10
ROW = re.compile(r"^\s*([\d.]+)%\s+(\S+)\s+\[.\]\s+(.+?)(\s\s.*)?$")
PART = re.compile(r"^\s*([\d.]+)%\s+([A-Za-z-]+?)-?[\d-]*\s+(\S+)\s*$")


def rows(path, sort):
    done = subprocess.run(["perf", "report", "--stdio", "--no-children", "-g", "none", "-i", path,
                           "--sort", sort], capture_output=True, timeout=60, check=False)
    return [line for line in done.stdout.decode("utf-8", "replace").splitlines()
            if line.strip() and not line.startswith("#")]


def read(path):
    """{"parts": [[per cent, threads, program or library]], "symbols": [[per cent, where, symbol]]}"""
    parts, symbols = {}, []
    for line in rows(path, "comm,dso"):
        found = PART.match(line)
        if found:
            key = (found[2], found[3])
            parts[key] = parts.get(key, 0.0) + float(found[1])
    for line in rows(path, "dso,symbol"):
        found = ROW.match(line)
        if found:
            symbols.append([float(found[1]), found[2], found[3]])
    greatest = sorted(([value, *key] for key, value in parts.items()), reverse=True)
    return {"parts": greatest[:PARTS_MAX], "symbols": symbols[:SYMBOLS_MAX]}


def take(peer, shape, seconds):
    """None where perf cannot."""
    if not shutil.which("perf"):
        return None
    with tempfile.TemporaryDirectory(dir=peer.rig.folder) as folder:
        path = os.path.join(folder, "perf.data")
        tracer = proc.start(["perf", "record", "-q", "-e", "cpu-clock", "-F", str(FREQUENCY), "-p",
                             ",".join(map(str, peer.account.pids())), "-o", path],
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)
        try:
            time.sleep(ATTACH_SECONDS)  # until it is attached; it does not tell
            cell = shapes.measure(peer.rig, peer, shape.arguments(peer), seconds)
        finally:
            with contextlib.suppress(ProcessLookupError):
                tracer.send_signal(signal.SIGINT)
            tracer.wait(rig_.STOP_SECONDS)
        if not os.path.exists(path):
            return None
        found = read(path)
    return {**found, "messages": cell["load"]["accepted"]} if found["symbols"] else None

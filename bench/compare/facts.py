# SPDX-License-Identifier: MIT
"""What a report must say of the machine, the programs and the settings, so that it can be judged."""

import os
import platform
import shlex
import sys
import time

import extras
import rig as rig_
import shapes


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def memory_gib():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def disk(folder):
    """The file system that queues lie on."""
    return rig_.output(["findmnt", "-n", "-o", "FSTYPE,SOURCE,OPTIONS", "-T", folder])


def collect(options, peers, left_out, rig):
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "command": shlex.join(["bench/compare/run", *sys.argv[1:]]),
        "commit": rig_.output([rig_.program("postern"), "-V"]).splitlines()[0],
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": cpu_model(), "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_gib(), 1), "disk": disk(rig.folder),
        "openssl": rig_.output(["openssl", "version"]),
        "ktls": extras.ktls_offered(),
        "accounting": "cgroup v2" if peers and peers[0].account.folder else
        "/proc (no control group could be made: children that nobody waited for are missing)",
        "full": options.full,
        "seconds": {name: shapes.SHAPES[name].seconds(options) for name in options.only
                    if name in shapes.SHAPES},
        "million": options.million if "H" in options.only else None,
        "shapes": {shape.name: shape.text for shape in shapes.SHAPES.values()},
        "left_out": left_out,
        "peers": {peer.name: {"title": peer.title, "version": peer.version(),
                              "tuning": list(peer.tuning), "durable": peer.durable, "note": peer.note,
                              "concurrency_max": peer.concurrency_max,
                              "messages_max": peer.messages_max} for peer in peers},
    }

# SPDX-License-Identifier: MIT
"""What is sent: the shapes, and one measured run of one shape at one server.

A run is: the load; wait until the sink has every accepted message and the server's queue is empty;
then the server's CPU time since before the load. Messages a second are counted to
the arrival of the last one at the sink: what was only taken into a queue does not count as done.
"""

import os
import threading
import time

import rig as rig_

DRAIN_SECONDS = 120
LOAD_MORE_SECONDS = 60
SOURCES = "127.0.1.1"
SOURCE_SESSIONS = 20_000        # of one address: its ports are fewer than 28,000

TLS = ("--tls", "starttls", "--tls-version", "1.3")


class Shape:
    """`concurrency` are connections at a time; `slower` makes a run that much longer; `steps` is a
    sender that waits for each reply, as few do that are offered PIPELINING."""

    def __init__(self, name, text, *options, concurrency=20, slower=1.0, bdat=False, mix=False,
                 steps=False):
        self.name, self.text, self.options, self.steps = name, text, options, steps
        self.concurrency, self.slower, self.bdat, self.mix = concurrency, slower, bdat, mix

    def fits(self, peer):
        return (peer.chunking or not self.bdat) and (peer.tls or "starttls" not in self.options)

    def seconds(self, options):
        """Of load in each run."""
        return options.seconds_of.get(self.name, options.seconds * self.slower)

    def arguments(self, peer):
        concurrency = min(self.concurrency, peer.concurrency_max)
        count = ("--count", str(peer.messages_max)) if peer.messages_max else ()
        pipeline = ("--pipeline",) if peer.pipelining and not self.steps else ()
        return ("--threads", "2", "--concurrency", str(concurrency), *count, *pipeline,
                *self.options)


MIX = ("--size", "mix", "--size-max", "10M", "--messages", "10", *TLS)
SHAPES = {shape.name: shape for shape in (
    Shape("A", "4 KB, one message a connection, STARTTLS with a full handshake", *TLS),
    Shape("B", "4 KB, one message a connection, STARTTLS, sessions resumed", *TLS, "--resume"),
    Shape("C", "4 KB, 100 messages a connection, STARTTLS", *TLS, "--messages", "100"),
    Shape("C-steps", "the same, by a sender that waits for each reply", *TLS, "--messages", "100",
          steps=True),
    Shape("D", "4 KB, one message a connection, plaintext"),
    Shape("E-data", "10 MB by DATA, STARTTLS", *TLS, "--size", "10M", concurrency=4, slower=1.5),
    Shape("E-bdat", "10 MB by BDAT, STARTTLS", *TLS, "--size", "10M", "--bdat", concurrency=4,
          slower=1.5, bdat=True),
    Shape("F-max", "sizes like mail, 10 messages a connection, STARTTLS: as fast as it goes", *MIX,
          slower=1.5, mix=True),
    Shape("F", "the same, open loop (Poisson) at half of the server's own F-max", *MIX, "--buckets",
          concurrency=200, slower=1.5, mix=True),
)}


def settle(peer, goal):
    """Waits until the sink has so many messages in all and the queue is empty; returns when the last
    one had come."""
    def done(found):
        if not found and peer.account.process.poll() is not None:
            raise rig_.Wrong(f"{peer.title} ended by itself\n{peer.tail()}")
        return found

    rig_.until(lambda: done(peer.rig.sink.summary()["messages"] >= goal), DRAIN_SECONDS,
               f"{peer.title}: the last messages at the sink")
    arrived = time.monotonic()
    rig_.until(lambda: done(peer.queued() == 0), DRAIN_SECONDS, f"{peer.title}: an empty queue")
    return arrived


def numbering(before):
    """Options of the load: numbers that go on where the last run ended."""
    return "--verify", "--number-from", str(max(0, before["numbers"]["highest"] + 1)
                                            if before["messages"] else 0)


def measure(rig, peer, arguments, seconds, amid=False):
    """One run; a cell of the result without its names. Memory is looked at when the load has ended,
    with `amid` also during it, which disturbs: many processes take long to read."""
    seen = rig.sink.summary()
    clock = rig.foreign_clock()
    clock, before, began = rig.foreign_clock(), peer.account.cpu(), time.monotonic()
    memory = []
    look = threading.Timer(seconds * 0.6, lambda: memory.append(peer.account.memory()))
    if amid:
        look.start()
    report = rig.load(peer.port, "--duration", f"{seconds:g}", *numbering(seen), *arguments,
                      seconds=seconds + LOAD_MORE_SECONDS)
    for unused in ("service_us", "setup_us"):
        report[unused].pop("buckets", None)
    look.cancel()
    memory.append(peer.account.memory())
    arrived = settle(peer, seen["messages"] + report["accepted"])
    after = peer.account.cpu()
    cpu, clock_after = difference(after, before), rig.foreign_clock()
    summary = since(rig.sink.summary(), seen)
    return {"load": report, "sink": summary, "wall_s": arrived - began, "memory": largest(memory),
            "cpu": cpu, "foreign": foreign(clock, clock_after, cpu), "wrong": wrong(report, summary)}


def foreign(before, after, cpu):
    """The part of the machine's CPUs that processes took which are not of this benchmark."""
    wall, busy, mine = (late - early for late, early in zip(after, before))
    server = (cpu["group"] or [cpu["processes"]])[0]
    return max(0.0, (busy - mine - server) / wall / os.cpu_count())


def largest(memory):
    return max(memory, key=lambda one: one["octets"])


def since(now, before):
    """What the sink counted meanwhile."""
    found = {key: now[key] - before[key] for key in ("connections", "messages", "octets")}
    return found | {key: now["numbers"][key] - before["numbers"][key]
                    for key in ("corrupt", "unnumbered", "duplicates", "missing")}


def difference(after, before):
    group = None
    if after["group"]:
        group = [late - early for late, early in zip(after["group"], before["group"])]
    return {"group": group, "processes": after["processes"] - before["processes"]}


def wrong(report, summary):
    """What of the run was not as it should be, in words; "" if all was."""
    found = []
    if not report["accepted"]:
        found.append("nothing was accepted")
    if report["failed"]:
        kinds = {kind: n for kind, n in report["failures"].items() if n}
        found.append(f"{report['failed']} failed {kinds}")
    for key in ("corrupt", "unnumbered", "duplicates", "missing"):
        if summary[key]:
            found.append(f"{summary[key]} {key}")
    if summary["messages"] != report["accepted"]:
        found.append(f"{report['accepted']} accepted, {summary['messages']} arrived")
    return ", ".join(found)

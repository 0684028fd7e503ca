# SPDX-License-Identifier: MIT
"""What is measured once a run, beside the rounds of shapes.py.

Job: the bare handshake's CPU time; how often Postern enters io_uring for a message; G, what an idle
session takes of memory; H, a million messages. G and H are of servers started for them alone, so that
memory that was used before does not hide what they take.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import rig as rig_
import shapes
from rig import proc

ENTER = "syscalls:sys_enter_io_uring_enter"
IDLE_OPEN_SECONDS = 120
IDLE_HOLD_SECONDS = 600
IDLE_PLAIN_FACTOR = 5           # plaintext sessions for each TLS session
IDLE_SPARE_FILES = 1000         # open files that a server needs besides
MILLION = 1_000_000
MILLION_SECONDS = 3600
MEMORY_EVERY_SECONDS = 2.0
KTLS = "/proc/sys/net/ipv4/tcp_available_ulp"


@contextlib.contextmanager
def alone(peer, label):
    """Another server of this kind, in a folder of its own."""
    other = type(peer)(peer.rig, label)
    try:
        other.start()
        yield other
    finally:
        other.stop()
        shutil.rmtree(other.folder, ignore_errors=True)


# -- the bare handshake -------------------------------------------------------------------------


def handshake(rig, count):
    """CPU us of the server's side on an idle machine: {"memory_us", "socket_us"}."""
    done = subprocess.run([rig_.program("bench/handshake"), "-n", str(count), rig.chain, rig.key],
                          capture_output=True, timeout=300, check=False)
    if done.returncode != 0:
        raise rig_.Wrong(f"handshake: {done.stderr.decode().strip()}")
    return json.loads(done.stdout)


class Bare:
    """A server that does nothing but handshakes, driven as the others are: the same load tool and as
    many connections at a time as in shape A, as many processes as Postern has workers, CPU time by the
    same account. Only so are the two comparable: what waiting and sharing CPUs with the clients costs is
    in both."""

    def __init__(self, rig):
        self.rig, self.port = rig, rig.port()
        self.account = rig_.Account("handshake")
        process = self.account.start([rig_.program("bench/handshake"), "-l", str(self.port), rig.chain,
                                      rig.key], stdout=subprocess.PIPE)
        if process.stdout.readline() != b"ready\n":
            self.stop()
            raise rig_.Missing("bench/handshake did not start")

    def measure(self, seconds):
        """{"load_us", "load_count", "load_rate"}"""
        before = self.account.cpu()
        report = self.rig.load(
            self.port, "--handshakes", "--tls", "implicit", "--tls-version", "1.3", "--threads", "2",
            "--concurrency", str(shapes.SHAPES["A"].concurrency), "--duration", f"{seconds:g}",
            seconds=seconds + shapes.LOAD_MORE_SECONDS)
        cpu = shapes.difference(self.account.cpu(), before)
        if report["failed"] or not report["accepted"]:
            raise rig_.Wrong(f"the bare handshake's server: {report['failures']}")
        return {"load_us": (cpu["group"] or [cpu["processes"]])[0] * 1e6 / report["accepted"],
                "load_count": report["accepted"], "load_rate": report["messages_per_second"]}

    def stop(self):
        self.account.close()


# -- io_uring_enter -----------------------------------------------------------------------------


def counted_by_perf(path):
    with open(path, encoding="utf-8") as file:
        for line in file:
            if ENTER in line and line.partition(",")[0].isdigit():
                return int(line.partition(",")[0])
    return None


def counted_by_strace(path):
    with open(path, encoding="utf-8") as file:
        for line in file:
            fields = line.split()
            if fields and fields[-1] == "io_uring_enter":
                return int(fields[3])
    return None


def tracers(path, pids):
    """Tools that count the call, best first: (name, command, reader)."""
    text = ",".join(map(str, pids))
    if shutil.which("perf"):
        yield "perf", ["perf", "stat", "-x,", "-e", ENTER, "-p", text, "-o", path], counted_by_perf
    if shutil.which("strace"):
        yield "strace", ["strace", "-f", "-c", "-e", "trace=io_uring_enter", "-o", path,
                         *[word for pid in pids for word in ("-p", str(pid))]], counted_by_strace


def enters(peer, shape, seconds):
    """io_uring_enter calls a message of Postern under load, {"calls", "messages", "by"}; None where
    nothing can count them."""
    with tempfile.TemporaryDirectory(dir=peer.rig.folder) as folder:
        path = os.path.join(folder, "count")
        for name, command, reader in tracers(path, peer.account.pids()):
            tracer = proc.start(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
            try:
                time.sleep(0.5)     # until it is attached; neither tells
                cell = shapes.measure(peer.rig, peer, shape.arguments(peer), seconds)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    tracer.send_signal(signal.SIGINT)
                tracer.wait(rig_.STOP_SECONDS)
            calls = reader(path) if os.path.exists(path) else None
            if calls:
                return {"calls": calls, "messages": cell["load"]["accepted"], "by": name,
                        "shape": shape.name}
    return None


# -- G: idle sessions ---------------------------------------------------------------------------


def idle(peer, tls, wanted):
    """Opens sessions at a fresh server and holds them; octets of memory a session."""
    spare = rig_.FILES_MAX - IDLE_SPARE_FILES
    count = min(wanted, spare)
    options = ["--idle", str(count), "--hold", str(IDLE_HOLD_SECONDS), "--tls",
               "starttls" if tls else "none", "--concurrency", str(min(50, peer.concurrency_max)),
               "--sources", f"{shapes.SOURCES}+{count // shapes.SOURCE_SESSIONS + 1}"]
    before = peer.account.memory()
    load = peer.rig.load_start(peer.port, *options)
    ready = threading.Event()
    lines = []

    def read():
        for line in load.stderr:
            lines.append(line.decode("utf-8", "replace"))
            if "holding" in lines[-1]:
                ready.set()
        ready.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        opened = ready.wait(IDLE_OPEN_SECONDS) and load.poll() is None
        after = peer.account.memory()
    finally:
        load.send_signal(signal.SIGTERM)
        try:
            load.wait(rig_.STOP_SECONDS)
        except subprocess.TimeoutExpired:
            load.kill()
            load.wait()
        reader.join(5)
        told = load.stdout.read()
        load.stdout.close()
        peer.rig.loads.remove(load)
    report = json.loads(told or "{}")
    lost = report.get("failed", 0) + report.get("lost", 0)
    if not opened or report.get("sessions") != count or lost:
        raise rig_.Wrong(f"{peer.title}: of {count} sessions {report.get('sessions', 0)} were opened "
                         f"and {lost} lost {report.get('failures')} {''.join(lines)[-300:]}")
    return {"peer": peer.name, "tls": tls, "sessions": count, "wanted": wanted,
            "before": before, "after": after,
            "octets_each": (after["octets"] - before["octets"]) / count}


def ktls_offered():
    with contextlib.suppress(OSError):
        with open(KTLS, encoding="ascii") as file:
            return "tls" in file.read().split()
    return False


def idle_kinds(peers, smaller):
    """(server, TLS?, sessions) of all that can hold sessions, under TLS and in clear."""
    for peer in peers:
        for tls in (True, False):
            wanted = peer.idle_max if tls or peer.name != "postern" \
                else peer.idle_max * IDLE_PLAIN_FACTOR
            if wanted and (peer.tls or not tls):
                yield peer, tls, max(10, wanted // smaller)


def shape_g(peers, smaller, say, fail):
    found = []
    for peer, tls, wanted in idle_kinds(peers, smaller):
        try:
            with alone(peer, f"{peer.name}-{'tls' if tls else 'plain'}") as other:
                found.append(idle(other, tls, wanted))
        except rig_.TROUBLE as error:
            fail(f"G, {peer.title}: {error}")
            continue
        say(f"G  {peer.title:<10}{'TLS' if tls else 'plaintext':<10}{found[-1]['sessions']:>7} "
            f"sessions {found[-1]['octets_each'] / 1024:9.1f} KiB each")
    return found


# -- H: a million messages ----------------------------------------------------------------------


def shape_h(peer, count, say):
    """Throughput and CPU time in tenths, and memory over time, of a fresh Postern."""
    sink = peer.rig.sink
    with alone(peer, "postern-h") as other:
        seen, memory, began = sink.summary(), [], time.monotonic()
        before = other.account.cpu()
        options = [*shapes.numbering(seen), "--threads", "2", "--concurrency", "20", "--messages",
                   "100", *shapes.TLS, "--count", str(count)]
        result = {}

        def send():
            try:
                result["report"] = other.rig.load(other.port, *options, seconds=MILLION_SECONDS)
            except rig_.TROUBLE as error:
                result["error"] = error

        worker = threading.Thread(target=send)
        worker.start()      # the load dies with this thread, which waits for it
        while worker.is_alive():
            worker.join(MEMORY_EVERY_SECONDS)
            memory.append((time.monotonic() - began, other.account.memory()["octets"],
                           sink.summary()["messages"] - seen["messages"],
                           cpu_seconds(other.account.cpu())))
        if "report" not in result:
            raise rig_.Wrong(f"the load failed: {result['error']}")
        report = result["report"]
        arrived = shapes.settle(other, seen["messages"] + report["accepted"])
        summary, cpu = shapes.since(sink.summary(), seen), other.account.cpu()
    say(f"H  {count} messages in {arrived - began:.1f} s")
    return {"count": count, "load": report, "sink": summary, "wall_s": arrived - began,
            "memory": memory, "cpu_before": cpu_seconds(before), "cpu": cpu,
            "wrong": shapes.wrong(report, summary)}


def cpu_seconds(cpu):
    return cpu["group"][0] if cpu["group"] else cpu["processes"]


def at_tenths(marks, count):
    """Where a value stood when so many tenths of the messages had come; marks are (value, messages)."""
    found = [marks[0][0]]
    for part in range(1, 11):
        goal = count * part / 10
        for (before, low), (after, high) in zip(marks, marks[1:]):
            if low < goal <= high:
                found.append(before + (after - before) * (goal - low) / (high - low))
                break
    return found


def tenths(cell):
    """Messages a second at the sink, and Postern's CPU us a message, in tenths of the count."""
    looks, end, count = cell["memory"], cell["sink"]["messages"], cell["count"]
    clock = at_tenths([(0.0, 0), *((at, seen) for at, _, seen, _ in looks), (cell["wall_s"], end)],
                      count)
    spent = at_tenths([(cell["cpu_before"], 0), *((cpu, seen) for _, _, seen, cpu in looks),
                       (cpu_seconds(cell["cpu"]), end)], count)
    return {"rate": [count / 10 / (late - early) for early, late in zip(clock, clock[1:])],
            "cpu_us": [(late - early) * 1e7 / count for early, late in zip(spent, spent[1:])]}

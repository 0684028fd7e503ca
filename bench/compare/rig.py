# SPDX-License-Identifier: MIT
"""What every run stands on: a folder, a certificate, processes with an account of their CPU time and
memory, a private root for servers whose paths are compiled in, the sink and the load.

Job: start a server so that all it ever starts is counted, drive it, and take it away again.
Not its job: which servers there are (peer_*.py), what is sent (shapes.py), figures (figures.py).

Invariants: processes are ended by pid, or by the control group that holds nothing else; mounts are
made in a mount namespace that dies with its processes; the folder goes on every way out.

CPU time is that of a control group (v2) of the server's own: exact, with children that ended. The
sum over /proc of its processes and their ended children is taken beside it; where no control group
can be made it is all there is. In neither is what the kernel's own threads do (the file system's
journal), nor what TCP on loopback does on the sender's time.
"""

import contextlib
import glob
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests"))
from lib import certs, proc  # noqa: E402

BUILD = os.path.join(TOP, os.environ.get("BUILD", "build"))
PEERS = os.path.join(TOP, "build", "bench", "peers")     # what bench/compare/install puts there
CGROUP_ROOTS = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")
FILES_WANTED = 250_000
START_SECONDS = 30
STOP_SECONDS = 20
POLL_SECONDS = 0.02
HOSTNAME = "mx.example.org"
DOMAIN = "example.org"


_hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
try:
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_WANTED, FILES_WANTED))
    FILES_MAX = FILES_WANTED
except (ValueError, OSError):
    FILES_MAX = _hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_MAX, FILES_MAX))


class Missing(Exception):
    """Something that is needed is not there; the text says what."""


class Wrong(Exception):
    """A run did not do what it should; its figures are not to be used."""


# Whatever a server or tool that fails may lead to: one run is lost then, not all.
TROUBLE = (Wrong, OSError, subprocess.SubprocessError, ValueError)


def until(condition, seconds, what):
    """Looks again and again; returns what it found."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise Wrong(f"{what}: not within {seconds:g} s")
        time.sleep(POLL_SECONDS)
    return found


def program(name):
    path = os.path.join(BUILD, name)
    if not os.access(path, os.X_OK):
        raise Missing(f"{path} is not built")
    return path


def output(arguments, **options):
    """What a program prints, without its last newline; "" if it cannot be run."""
    try:
        done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=30, check=False, **options)
    except OSError:
        return ""
    return done.stdout.decode("utf-8", "replace").strip()


class Account:
    """A control group and what runs in it."""

    def __init__(self, name):
        self.folder = None
        self.process = None
        for root in CGROUP_ROOTS:
            if os.path.exists(os.path.join(root, "cgroup.procs")):
                folder = os.path.join(root, f"postern-bench-{os.getpid()}-{name}")
                with contextlib.suppress(OSError):
                    os.mkdir(folder)
                    self.folder = folder
                break

    def start(self, arguments, **options):
        """Starts a server's first process in here."""
        script = 'ulimit -n "$1"; [ -z "$2" ] || echo $$ > "$2/cgroup.procs"; shift 2; exec "$@"'
        command = ["sh", "-c", script, "sh", str(FILES_MAX), self.folder or "", *arguments]
        self.process = proc.start(command, start_new_session=True, stdin=subprocess.DEVNULL,
                                  **options)
        return self.process

    def pids(self):
        if not self.folder:
            return proc.family(self.process.pid)
        with open(os.path.join(self.folder, "cgroup.procs"), encoding="ascii") as file:
            return [int(line) for line in file]

    def cpu_group(self):
        """Seconds by the control group, as (all, user, system), or None."""
        if not self.folder:
            return None
        with open(os.path.join(self.folder, "cpu.stat"), encoding="ascii") as file:
            found = dict(line.split() for line in file)
        return tuple(int(found[key]) / 1e6 for key in ("usage_usec", "user_usec", "system_usec"))

    def cpu_processes(self):
        """Seconds by /proc: processes that live, and their children that were waited for."""
        ticks = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                    fields = file.read().rpartition(")")[2].split()
                ticks += sum(int(field) for field in fields[11:15])
        return ticks / os.sysconf("SC_CLK_TCK")

    def cpu(self):
        return {"group": self.cpu_group(), "processes": self.cpu_processes()}

    def memory(self):
        """Octets: proportional set size of all its processes, and their number."""
        total = count = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                    total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
                count += 1
        return {"octets": total * 1024, "processes": count}

    def close(self):
        """Ends politely, then for good."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        if self.folder:
            end_group(self.folder)
        elif self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        if self.process:
            self.process.wait(STOP_SECONDS)


def sweep(folder):
    """What runs left that were killed outright: their servers, control groups and folders."""
    for pattern in [os.path.join(root, "postern-bench-*") for root in CGROUP_ROOTS] + [
            os.path.join(folder, "run-*")]:
        for path in glob.glob(pattern):
            pid = re.search(r"(?:postern-bench|run)-(\d+)", os.path.basename(path))
            if not pid or os.path.exists(f"/proc/{pid[1]}"):
                continue
            if os.path.exists(os.path.join(path, "cgroup.kill")):
                end_group(path)
            else:
                shutil.rmtree(path, ignore_errors=True)


def end_group(folder):
    """Ends all processes of a control group that we made, and removes it."""
    def remove():
        try:
            os.rmdir(folder)
        except OSError:
            return False
        return True
    with contextlib.suppress(OSError):
        with open(os.path.join(folder, "cgroup.kill"), "w", encoding="ascii") as file:
            file.write("1")
    until(remove, STOP_SECONDS, "the control group's end")


class Sink:
    """postern-sink, on the port that all servers relay to, from the first run to the last: none of
    them sees its next hop go away. It checks what it gets, by numbers that go on from run to run."""

    def __init__(self, folder, port):
        self.state = os.path.join(folder, "sink.json")
        self.process = proc.start(
            [program("postern-sink"), "--json", "--lmtp", "--tls", "none", "--verify", "--state",
             self.state, f"127.0.0.1:{port}"], files_max=FILES_MAX, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE)
        if not self.process.stdout.readline().startswith(b"ready"):
            raise Missing("postern-sink did not start")

    def summary(self):
        """Its counts at this moment. The file is replaced whole, so a new one is the answer."""
        def which():
            try:
                return os.stat(self.state).st_ino, os.stat(self.state).st_mtime_ns
            except FileNotFoundError:
                return None
        before = which()
        self.process.send_signal(signal.SIGUSR1)
        until(lambda: which() not in (before, None), STOP_SECONDS, "the sink's counts")
        with open(self.state, encoding="utf-8") as file:
            return json.load(file)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.communicate(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.communicate()


def home():
    """build/bench; or, where servers that gave up root could not get there, /var/tmp."""
    folder = os.path.join(TOP, "build", "bench")
    os.makedirs(folder, exist_ok=True)
    part = folder
    while os.stat(part).st_mode & 0o001:
        if part == "/":
            return folder
        part = os.path.dirname(part)
    return "/var/tmp"


class Rig:
    """One run's folder and ports."""

    def __init__(self):
        if os.geteuid() != 0:
            raise Missing("root is needed: Postfix, Exim and OpenSMTPD start as root")
        sweep(home())
        self.folder = os.path.join(home(), f"run-{os.getpid()}")
        os.makedirs(self.folder)
        os.chmod(self.folder, 0o755)
        self.chain, self.key = certs.make(self.folder, "cert", hosts=(HOSTNAME, "localhost"))
        self.sink_port = self.port()
        self.loads = []
        self.sink = Sink(self.folder, self.sink_port)

    def foreign_clock(self):
        """(seconds since some time, CPU seconds that all processes of the machine took, CPU seconds
        that this process, loads that ended and the sink took)."""
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(field) for field in file.readline().split()[1:9]]
        busy = sum(ticks) - ticks[3] - ticks[4] - ticks[7]      # idle, waiting for a disk, stolen
        with open(f"/proc/{self.sink.process.pid}/stat", encoding="ascii") as file:
            sink = file.read().rpartition(")")[2].split()
        mine = sum(getattr(resource.getrusage(who), part) for part in ("ru_utime", "ru_stime")
                   for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        tick = os.sysconf("SC_CLK_TCK")
        return (time.monotonic(), busy / tick, mine + (int(sink[11]) + int(sink[12])) / tick)

    @staticmethod
    def port():
        return proc.free_port()

    def make(self, *names, owner=None, mode=0o755):
        path = os.path.join(self.folder, *names)
        os.makedirs(path)
        os.chmod(path, mode)
        if owner:
            os.chown(path, *owner)
        return path

    def write(self, text, *names, mode=0o644):
        path = os.path.join(self.folder, *names)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def load(self, port, *arguments, seconds):
        """postern-load's report. Failures of messages are in it; only a broken run raises."""
        process = self.load_start(port, *arguments)
        try:
            out, error = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Wrong(f"postern-load was not done after {seconds:g} s") from None
        finally:
            self.loads.remove(process)
        if process.returncode not in (0, 1):
            raise Wrong(f"postern-load: {error.decode().strip()}")
        return json.loads(out)

    def load_start(self, port, *arguments):
        process = proc.start([program("postern-load"), "--json", "--quiet", *arguments,
                              f"127.0.0.1:{port}"], files_max=FILES_MAX, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.loads.append(process)
        return process

    def close(self):
        for process in self.loads:
            if process.poll() is None:
                process.kill()
                process.wait(STOP_SECONDS)
        self.sink.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

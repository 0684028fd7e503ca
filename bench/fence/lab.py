# SPDX-License-Identifier: MIT
"""A little network of namespaces: an attacker, a good host, gateways, and a switch between them.

Job: make the namespaces and the wires, start programs and gateways inside, read what CPU they took.
Not its job: what is measured and how it is told (run, report.py).

Each host has one veth to a bridge in the switch's namespace. The attacker's frames to the host
`dead` go to a port of the bridge whose cable is pulled: such a flood costs its sender and the
switch what it always costs, and nobody else anything.

One CPU is the gateways' and all others the world's: programs are bound, and so are the threads in
which their interfaces receive (threaded NAPI), which go before all processes, as interrupts would.
Frames come as a network card delivers them, by the kernel's own means for cards without a timer: the
first wakes the thread, what comes within MODERATION_NS after waits and is handled together. It is so
on both ends of a gateway's wire. Without it each frame of a flood wakes the thread, and in a virtual
machine a wake-up is as dear as ten frames.
So what an attack takes of the gateways' CPU is what it costs the gateway: the attack tool, the good
host, the store and the switch work elsewhere. Without those threads a packet would be received on
the CPU of its sender. What is left is not little, though no fence could avoid it: a frame's way over
the veth, and the thread's waking up. The host `mx-n` shows it: nobody is there, and two instructions
at its interface throw everything away (floor.c).

Invariants: nothing is made in the host's own network namespace. Namespaces are held by descriptors
of this process and by its children, who die with it: they go when it goes, however it ends. Its
cgroups and its folder have its pid in their names and are removed at the end; after a kill -9, by
the next run.

Rejected: `ip netns` (leaves names behind after a kill, hides /sys/fs/cgroup); separate wires
without a switch (good and bad traffic would not meet on one interface).
"""

import contextlib
import ctypes
import fcntl
import glob
import json
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests"))
from lib import gateway, proc, tap  # noqa: E402

CLONE_NEWNET = 0x40000000
PREFIX_V4, PREFIX_V6 = 16, 64
LAN_V4, LAN_V6 = "10.9.0.{}", "fd09::{:x}"
SINK_PORT = 2626
MODERATION_NS = 100_000         # what arrives meanwhile is handled together, as network cards do
COMMAND_SECONDS = 30        # longer than any attack
IDLE_SECONDS = 90           # longer than that, and than handshake_seconds
READY_SECONDS = 20
NAME = "postern-fence-"         # of folders and cgroups; the pid follows
FOLDER_ROOTS = ("/dev/shm", "/tmp")
CGROUP_ROOTS = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")
SIOCETHTOOL = 0x8946
ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO = 0x1f, 0x24, 0x2c
SYS_BPF, BPF_ENABLE_STATS = 321, 32
CPUCLOCK_SCHED = 2

_libc = ctypes.CDLL(None, use_errno=True)


class Missing(Exception):
    """The machine cannot do this; the text says what it lacks."""


def sweep():
    """Removes what runs left behind that were killed."""
    for path in (path for root in (*CGROUP_ROOTS, *FOLDER_ROOTS)
                 for path in glob.glob(os.path.join(root, NAME + "*"))):
        pid = re.fullmatch(r"(\d+)-.*", os.path.basename(path)[len(NAME):])
        if pid and not os.path.exists(f"/proc/{pid.group(1)}"):
            if path.startswith(FOLDER_ROOTS):
                proc.remove_tree(path)
            else:
                with contextlib.suppress(OSError):
                    os.rmdir(path)


def folder():
    """A new folder, in memory where that can be."""
    root = next(root for root in FOLDER_ROOTS if os.access(root, os.W_OK))
    path = tempfile.mkdtemp(prefix=f"{NAME}{os.getpid()}-", dir=root)
    os.chmod(path, 0o755)
    tap.at_exit(lambda: proc.remove_tree(path))
    return path


# -- namespaces ---------------------------------------------------------------------------------


def _ns_open():
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _setns(fd):
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def inside(fd):
    """This thread, and what it starts, is in that namespace meanwhile."""
    before = _ns_open()
    try:
        _setns(fd)
        yield
    finally:
        _setns(before)
        os.close(before)


def ns_new():
    before = _ns_open()
    try:
        if _libc.unshare(CLONE_NEWNET) != 0:
            raise Missing(f"network namespaces: {os.strerror(ctypes.get_errno())}")
        return _ns_open()
    finally:
        _setns(before)
        os.close(before)


def ip(text):
    """Commands of ip, one a line, in the namespace we are in."""
    done = proc.run(["ip", "-batch", "-"], seconds=20, input=text.encode())
    if done.returncode != 0:
        raise Missing(f"ip: {done.stderr.decode()}")


def sysctl(name, value):
    with open("/proc/sys/net/" + name, "w", encoding="ascii") as file:
        file.write(str(value))


def device_set(device, command, value):
    """An ethtool switch, in the namespace we are in."""
    import socket
    order = ctypes.create_string_buffer(struct.pack("II", command, value))
    with socket.socket() as probe:
        fcntl.ioctl(probe, SIOCETHTOOL,
                    struct.pack("16sP8x", device.encode(), ctypes.addressof(order)))


@contextlib.contextmanager
def bound(cpus):
    """What is started meanwhile runs on these CPUs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def receivers(device):
    """The pids of the threads that handle a device's packets."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                with open(f"/proc/{entry}/comm", encoding="utf-8") as file:
                    if file.read().startswith(f"napi/{device}-"):
                        found.append(int(entry))
    return found


class Host:
    """A namespace with one interface, or none (the switch)."""

    def __init__(self, lab, name, number):
        self.lab, self.name, self.number = lab, name, number
        self.fd = ns_new()
        self.device = f"{name[:4]}-{os.getpid()}"      # the threads' names are the whole machine's
        self.mac = f"02:00:09:00:00:{number:02x}"
        self.v4, self.v6 = LAN_V4.format(number), LAN_V6.format(number)
        with inside(self.fd):
            sysctl("ipv6/conf/default/accept_dad", 0)
            sysctl("ipv6/conf/default/accept_ra", 0)
            ip("link set lo up\n")

    def inside(self):
        return inside(self.fd)

    def ip(self, text):
        with self.inside():
            ip(text)

    def cookies(self):
        """How many SYNs the kernel answered with a cookie, having no room to remember them."""
        with self.inside(), open("/proc/thread-self/net/netstat", encoding="ascii") as file:
            names, values = (line.split() for line in file if line.startswith("TcpExt:"))
        return int(values[names.index("SyncookiesSent")])

    @property
    def cpus(self):
        return self.lab.gateway_cpus if self.name.startswith("mx") else self.lab.world_cpus

    def start(self, arguments, **options):
        with self.inside(), bound(self.cpus):
            return proc.start(arguments, **options)

    def receive_in_thread(self, device):
        """From now on its packets are handled in a thread of their own, on this host's CPUs, those
        that come soon after each other together."""
        script = (f"mount -t sysfs sysfs /sys && cd /sys/class/net/{device} && "
                  f"echo 1 > threaded && echo 1 > napi_defer_hard_irqs && "
                  f"echo {MODERATION_NS} > gro_flush_timeout")
        with self.inside():
            device_set(device, ETHTOOL_SGRO, 1)     # there is no NAPI without
            done = proc.run(["unshare", "-m", "sh", "-c", script], seconds=20)
        pids = receivers(device)
        if done.returncode != 0 or not pids:
            raise Missing(f"threaded NAPI: {done.stderr.decode()}")
        for pid in pids:
            os.sched_setaffinity(pid, self.cpus)
            os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))


class Lab:
    """The switch and the hosts on it."""

    def __init__(self):
        if os.geteuid() != 0:
            raise Missing("root is needed for network namespaces")
        cpus = sorted(os.sched_getaffinity(0))
        if len(cpus) < 2:
            raise Missing("two CPUs are needed, one for the gateways and one for the world")
        self.gateway_cpus, self.world_cpus = {cpus[-1]}, set(cpus[:-1])
        os.sched_setaffinity(0, self.world_cpus)
        self.hosts = {}
        self.cgroups = []
        self.pid = os.getpid()
        tap.at_exit(self.close)
        tap.at_exit(gateway._kill_all)
        self.switch = Host(self, "switch", 1)
        self.switch.ip("link add br0 type bridge stp_state 0 mcast_snooping 0\n"
                       "link set br0 up\n")

    def host(self, name):
        number = 10 + len(self.hosts)
        host = self.hosts[name] = Host(self, name, number)
        port = f"p{number}-{self.pid}"
        self.switch.ip(
            f"link add {port} address 02:00:09:00:01:{number:02x} numrxqueues 1 numtxqueues 1 "
            f"type veth peer name {host.device} address {host.mac} numrxqueues 1 numtxqueues 1 "
            f"netns /proc/{self.pid}/fd/{host.fd}\n"
            f"link set {port} master br0 up\n")
        host.ip(f"addr add {host.v4}/{PREFIX_V4} dev {host.device}\n"
                f"addr add {host.v6}/{PREFIX_V6} dev {host.device} nodad\n"
                f"link set {host.device} up\n")
        with self.switch.inside():      # frames as long as on a real wire, received by the thread
            device_set(port, ETHTOOL_STSO, 0)
            device_set(port, ETHTOOL_SGSO, 0)
        if host.cpus is self.gateway_cpus:      # both ends of the wire between the two CPUs
            host.receive_in_thread(host.device)
            self.switch.receive_in_thread(port)
            with host.inside():     # else what it sends goes past the switch's thread
                device_set(host.device, ETHTOOL_STSO, 0)
        return host

    def dead(self):
        """A host whose cable is pulled."""
        host = self.host("dead")
        host.ip(f"link set {host.device} down\n")
        fdb = ["bridge", "fdb", "add", host.mac, "dev", f"p{host.number}-{self.pid}", "master",
               "static"]
        with self.switch.inside():
            done = proc.run(fdb, seconds=20)
        if done.returncode != 0:
            raise Missing(f"bridge: {done.stderr.decode()}")
        return host

    def floor(self):
        """A host where all frames are thrown away as they come."""
        return Floor(self.host("mx-n"))

    def introduce(self):
        """Everybody knows everybody's Ethernet address: nobody need ask during a flood."""
        for one in self.hosts.values():
            if one.name == "dead":
                continue
            one.ip("".join(
                f"neigh replace {other.v4} lladdr {other.mac} dev {one.device} nud permanent\n"
                f"neigh replace {other.v6} lladdr {other.mac} dev {one.device} nud permanent\n"
                for other in self.hosts.values() if other is not one))

    def behind(self, host, networks, own):
        """Networks that are reached through `host`; whose own they are if `own`, or nobody's."""
        for network in networks:
            via = host.v6 if ":" in network else host.v4
            for other in self.hosts.values():
                if other.name.startswith("mx"):
                    other.ip(f"route add {network} via {via} dev {other.device}\n")
            if own:
                host.ip(f"route add local {network} dev lo\n")

    # -- cgroups

    def cgroup(self, name):
        """A new cgroup v2, or None where there is none to write to: then the programs go where
        this process is."""
        for root in CGROUP_ROOTS:
            if os.path.exists(os.path.join(root, "cgroup.procs")):
                folder = os.path.join(root, f"{NAME}{self.pid}-{name}")
                try:
                    os.mkdir(folder)
                except OSError:
                    return None
                self.cgroups.append(folder)
                return folder
        return None

    @contextlib.contextmanager
    def in_cgroup(self, folder):
        if not folder:
            yield
            return
        root = os.path.dirname(folder)
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            own = next(line[3:].strip() for line in file if line.startswith("0::"))
        self._enter(folder)
        try:
            yield
        finally:
            self._enter(root + own)

    @staticmethod
    def _enter(folder):
        with open(os.path.join(folder, "cgroup.procs"), "w", encoding="ascii") as file:
            file.write("0")

    def close(self):
        end = time.monotonic() + 5
        while self.cgroups and time.monotonic() < end:
            for folder in list(self.cgroups):
                try:
                    os.rmdir(folder)
                    self.cgroups.remove(folder)
                except OSError:
                    time.sleep(0.05)    # the last process is on its way out


# -- CPU ----------------------------------------------------------------------------------------


def cpu_ns(pid):
    """CPU time of a process and of all its threads, also of those that ended."""
    try:
        return time.clock_gettime_ns((~pid << 3) | CPUCLOCK_SCHED)
    except OSError:
        return 0


def busy_ns(cpus):
    """How long these CPUs were not idle. Where the hypervisor took time away, they were idle."""
    tick, found = 10**9 // os.sysconf("SC_CLK_TCK"), 0
    now = time.monotonic_ns()
    with open("/proc/stat", encoding="ascii") as file:
        for line in file:
            name, *fields = line.split()
            if name[:3] == "cpu" and name[3:] and int(name[3:]) in cpus:
                fields = [int(field) for field in fields]
                found += now - (fields[3] + fields[4] + fields[7]) * tick
    return found


class BpfStats:
    """The kernel counts and times every run of a BPF program while this is open."""

    def __enter__(self):
        attr = ctypes.create_string_buffer(128)
        self.fd = _libc.syscall(SYS_BPF, BPF_ENABLE_STATS, attr, 128)
        if self.fd < 0:
            raise Missing(f"BPF_ENABLE_STATS: {os.strerror(ctypes.get_errno())}")
        return self

    def __exit__(self, *_):
        os.close(self.fd)

    @staticmethod
    def read():
        """{id: (name, type, runs, ns)} of all programs."""
        tool = next((path for path in ("/usr/sbin/bpftool", "/usr/bin/bpftool", "/sbin/bpftool")
                     if os.path.exists(path)), None)
        if not tool:
            raise Missing("bpftool")
        done = proc.run([tool, "--json", "prog", "show"], seconds=20)
        return {one["id"]: (one.get("name", "?"), one["type"], one.get("run_cnt", 0),
                            one.get("run_time_ns", 0)) for one in json.loads(done.stdout or "[]")}


class Floor:
    """What a frame costs that is dropped by a program of two instructions: the wire, no fence."""

    def __init__(self, host):
        self.host = host
        self.process = host.start([os.path.join(proc.build(), "bench", "floor"), "drop",
                                   host.device], stdout=subprocess.PIPE)
        said = self.process.stdout.readline().decode().split()
        if said[:1] != ["ready"]:
            raise Missing("floor did not start")
        self.how = said[1]

    def processes(self):
        return []                       # only frames happen here

    def counts(self):
        with self.host.inside(), open("/proc/thread-self/net/dev", encoding="ascii") as file:
            frames = next(line.split(":")[1].split()[1] for line in file
                          if line.strip().startswith(self.host.device))
        return {("kernel", "new", "refuse", "floor"): int(frames)}


# -- the gateway --------------------------------------------------------------------------------


class Sink:
    """postern-sink on a host of its own: where all gateways deliver."""

    def __init__(self, host):
        self.process = host.start([gateway.program("postern-sink"), "--json", "--lmtp",
                                   "--tls", "none", f"{host.v4}:{SINK_PORT}"],
                                  stdout=subprocess.PIPE)
        if not self.process.stdout.readline().startswith(b"ready"):
            raise Missing("postern-sink did not start")
        self.route = f"lmtp:{host.v4}:{SINK_PORT}"

    def stop(self):
        proc.kill(self.process.pid, signal.SIGTERM)
        out, _ = self.process.communicate(timeout=20)
        return json.loads(out)


class Mx(gateway.Gateway):
    """A gateway on a host of the lab. Its log goes to a file that nobody reads meanwhile."""

    def __init__(self, lab, host, settings, folder, next_hop):
        self.lab, self.host = lab, host
        self.cgroup = lab.cgroup(host.name)
        self.log_path = os.path.join(folder, f"{host.name}.log")
        own = {"policy.relay_domains": ["example.org"], "workers": len(host.cpus),
               "policy.sessions_per_address_max": None, "drain_seconds": 2,
               "smtp.command_seconds": COMMAND_SECONDS}
        routes = {"sink": {"domains": ["*"], "next_hops": [next_hop]}}
        home = os.path.join(folder, host.name)
        os.mkdir(home, 0o755)
        os.chown(home, *proc.unprivileged())
        super().__init__({**own, **settings}, folder=home, routes=routes,
                         ports={"smtp": 25, "smtps": 465, "plain": 26})
        self.accepted = 0               # what good hosts were answered 250

    def config_text(self):
        text = super().config_text().replace('address = "127.0.0.1"',
                                             f'address = "{self.host.v4}"')
        return text + f'listener "smtp6" {{ address = "{self.host.v6}" port = 25 ' \
                      'tls = "starttls" }\n'

    def start(self, ready=True):
        with open(self.log_path, "wb") as log, self.lab.in_cgroup(self.cgroup):
            self.process = self.host.start(
                [gateway.program("postern"), "-c", self.config_path], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=log)
        self.status = None
        end = time.monotonic() + READY_SECONDS * tap.SLOW
        while self.control("status").returncode != 0:
            if self.process.poll() is not None or time.monotonic() > end:
                raise tap.Failed("the gateway did not start:\n" + self.log_tail())
            time.sleep(0.05)

    def join(self, seconds=gateway.STOP_SECONDS):
        self.status = self.process.wait(seconds * tap.SLOW)
        return self.status

    def kill(self):
        for pid in self.processes():
            proc.kill(pid)
        self.process.wait(20)

    def reload(self, settings):
        """Other budgets, with all attached."""
        self.settings.update(settings)
        self.write("postern.conf", self.config_text())
        done = self.control("reload")
        tap.check(done.returncode == 0, f"reload: {done.stdout!r} {done.stderr!r}")

    def log_tail(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-10:])

    def complaint(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            for line in file:
                if gateway._BAD.search(line):
                    return f"log line: {line.rstrip()}"
        return f"exit status {self.status}" if self.status not in (0, None) else None

    def delivered(self, seconds=gateway.EVENT_SECONDS):
        end = time.monotonic() + seconds * tap.SLOW
        while self.queued():
            tap.check(time.monotonic() < end, "the queue is not empty")
            time.sleep(0.05)

    def idle(self, seconds=IDLE_SECONDS):
        """Waits until it has nothing left to do. Where thousands of connections are reset at once some
        of the resets are lost on the way: those sessions end by their time limit."""
        end = time.monotonic() + seconds * tap.SLOW
        while self.sessions():
            tap.check(time.monotonic() < end, f"{self.sessions()} sessions do not end")
            time.sleep(0.05)
        self.delivered()

    def sessions(self):
        """How many are open."""
        done = self.control("--json", "status")
        tap.check(done.returncode == 0, f"status: {done.stderr!r}")
        return json.loads(done.stdout)["counters"]["sessions"]["active"]

    def target(self, v6=False):
        return f"[{self.host.v6}]:25" if v6 else f"{self.host.v4}:25"

    def processes(self):
        return proc.family(self.process.pid)

    def fence(self):
        """What the fence says of itself; None without one."""
        done = self.control("--json", "fence", "status")
        if done.returncode != 0:
            return None
        return json.loads(done.stdout)

    def counts(self):
        """{(where, class, verdict, reason): packets}"""
        status = self.fence()
        return {(one["where"], one["class"], one["verdict"], one["reason"]): one["packets"]
                for one in (status or {}).get("counts", [])}

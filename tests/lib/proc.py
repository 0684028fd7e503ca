# SPDX-License-Identifier: MIT
"""Processes and temporary folders that are gone on every way out of a suite.

Job: start a child that dies with us, find a process's children, read its CPU time, make temporary
folders that an unprivileged gateway may enter. Invariants: only processes that we started are ever
signalled, by pid; a folder is removed after everything mounted below it is unmounted.
"""

import contextlib
import ctypes
import ctypes.util
import errno
import os
import random
import resource
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

from . import tap

_PR_SET_PDEATHSIG = 1
_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2
_libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
_kept_ports = []


def root():
    """The top folder of the sources."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def build():
    """The folder of the programs under test: $BUILD, or build/."""
    folder = os.environ.get("BUILD", "build")
    return os.path.join(root(), folder)


def unprivileged():
    """uid and gid of the account to which a gateway started as root drops."""
    import pwd
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def temp_dir(prefix="postern-test-"):
    folder = tempfile.mkdtemp(prefix=prefix)
    if os.geteuid() == 0:
        os.chown(folder, *unprivileged())
    os.chmod(folder, 0o755)
    tap.at_exit(lambda: remove_tree(folder))
    return folder


def remove_tree(folder):
    with open("/proc/mounts", encoding="utf-8", errors="replace") as file:
        mounts = [line.split()[1] for line in file]
    for mount in sorted((m for m in mounts if m.startswith(folder + "/")), reverse=True):
        subprocess.run(["umount", "-l", mount], check=False, timeout=20)
    shutil.rmtree(folder, ignore_errors=True)


def _forbid_call(number):
    """A seccomp filter: that system call answers EPERM, in this process and below."""
    code = struct.pack("HBBI" * 4,
                       0x20, 0, 0, 0,                       # load the call's number
                       0x15, 0, 1, number,                  # is it that one?
                       0x06, 0, 0, 0x00050000 | errno.EPERM,
                       0x06, 0, 0, 0x7fff0000)              # allow
    program = ctypes.create_string_buffer(code)
    filter_ = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(program)))
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, filter_, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_SECCOMP")


def _before_exec(files_max, as_user, forbidden=None):
    def prepare():
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if forbidden:
            _forbid_call(forbidden)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        if files_max:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_max))
        if as_user:
            os.setgroups([])
            os.setgid(as_user[1])
            os.setuid(as_user[0])
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return prepare


def start(arguments, files_max=0, as_user=None, **options):
    """A Popen whose process is killed when the thread that calls this (the main one) ends."""
    return subprocess.Popen(arguments, preexec_fn=_before_exec(files_max, as_user), **options)


def run(arguments, seconds=60, forbidden=None, **options):
    """Runs to the end within a limit; output captured. A process over its time is killed.
    `forbidden` is the number of a system call that shall answer EPERM."""
    options.setdefault("stdin", subprocess.DEVNULL if "input" not in options else None)
    if options["stdin"] is None:
        del options["stdin"]
    return subprocess.run(arguments, capture_output=True, timeout=seconds * tap.SLOW, check=False,
                          preexec_fn=_before_exec(0, None, forbidden), **options)


def children(pid):
    """Direct children, oldest first; zombies are not counted."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(entry))
    return sorted(found)


def family(pid):
    """The process and all below it."""
    found, queue = [], [pid]
    while queue:
        one = queue.pop()
        found.append(one)
        queue += children(one)
    return found


def cpu_seconds(pid):
    """User and system time of the process and all below it."""
    ticks = 0
    for one in family(pid):
        try:
            with open(f"/proc/{one}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def kill(pid, number=signal.SIGKILL):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


@contextlib.contextmanager
def stopped(pid):
    """That process stands still, all its threads, for the length of a `with`."""
    os.kill(pid, signal.SIGSTOP)
    try:
        while any(state != b"T" for state in _thread_states(pid)):
            time.sleep(0.001)   # nothing tells of it but to a parent
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _thread_states(pid):
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/stat", "rb") as file:
                yield file.read().rpartition(b")")[2].split()[0]
        except OSError:
            continue


def free_port():
    """A port nobody listens on, below the range of outgoing connections. It is ours until the
    program ends: a socket that never listens stays bound, which keeps off whoever binds without
    SO_REUSEADDR, as this function does; servers set that."""
    for _ in range(200):
        port = random.SystemRandom().randrange(20000, 32000)
        keeper = socket.socket()
        try:
            keeper.bind(("127.0.0.1", port))
        except OSError:
            keeper.close()
            continue
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _kept_ports.append(keeper)
        return port
    raise RuntimeError("no free port found")

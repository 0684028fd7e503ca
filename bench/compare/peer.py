# SPDX-License-Identifier: MIT
"""A server that is measured: what all peers have in common.

A peer is one file peer_NAME.py with a class Peer below this one. It writes its configuration into a
folder of its own, starts in the foreground in its own account, tells how much waits in its queue,
and says in plain words how it was tuned and what it does before it answers 250 to a message.
"""

import contextlib
import os
import socket

import rig as rig_


class Base:
    name = title = durable = note = ""
    tuning = ()
    tls = True                  # can it do TLS?
    chunking = False            # does it know BDAT?
    pipelining = True           # does it offer PIPELINING?
    warm_factor = 1             # how much longer it is driven before the first round counts
    concurrency_max = 10_000    # connections at a time that it can be offered
    messages_max = 0            # of one run, 0: as many as its time allows
    idle_max = 0                # sessions that can be held open in shape G, 0: it is left out

    def __init__(self, rig, label=None):
        self.rig = rig
        self.label = label or self.name
        self.require()
        self.folder = rig.make(self.label)
        self.port = rig.port()
        self.account = None
        self.log_path = os.path.join(self.folder, "log")

    def require(self):
        """Raises Missing where the server is not there."""

    def version(self):
        raise NotImplementedError

    def configure(self):
        """Writes what start needs."""
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    def queued(self):
        """How many messages wait."""
        raise NotImplementedError

    def write(self, text, *names, mode=0o644):
        return self.rig.write(text, self.label, *names, mode=mode)

    def start(self):
        self.configure()
        self.account = rig_.Account(self.label)
        with open(self.log_path, "ab") as log:
            self.account.start(self.command(), stdout=log, stderr=log)
        rig_.until(self.answers, rig_.START_SECONDS, f"{self.title} takes connections\n{self.tail()}")

    def answers(self):
        """Does it greet?"""
        if self.account.process.poll() is not None:
            raise rig_.Wrong(f"{self.title} ended at its start\n{self.tail()}")
        with contextlib.suppress(OSError):
            with socket.create_connection(("127.0.0.1", self.port), 5) as probe:
                if probe.recv(512).startswith(b"220"):
                    probe.sendall(b"QUIT\r\n")
                    probe.recv(512)
                    return True
        return False

    def tail(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as file:
                return "".join(file.readlines()[-15:])
        except OSError:
            return ""

    def stop(self):
        if self.account:
            self.account.close()
            self.account = None


def files_below(*folders):
    return sum(len(files) for folder in folders for _, _, files in os.walk(folder))

# SPDX-License-Identifier: MIT
"""A daemon of the system in the foreground, its log read from stderr.

Job: start it, wait for a line of its log, make it read its files again, stop it by its pid; its
newest lines are shown when a test fails. Invariants: the system's own one is not touched; a wait
ends when the process does, with what it said.
"""

import os
import signal
import subprocess
import threading
import time

from . import proc, tap

START_SECONDS = 20
LINES_SHOWN = 15


class Daemon:
    """`ready` is what its log says once it serves. Files it needs are below `base`."""

    def __init__(self, title, arguments, ready, base=None, environment=None):
        self.title, self.arguments, self.ready = title, arguments, ready
        self.base = base or proc.temp_dir(f"postern-{title}-")
        self.environment = environment or {}
        self.process = self.reader = None
        self.lines, self.ended = [], False
        self.news = threading.Condition()
        tap.on_failure(self.newest)

    def start(self):
        # In a session of its own: some daemons signal their process group.
        self.process = proc.start(
            self.arguments, start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env=dict(os.environ, **self.environment))
        tap.at_exit(self.stop)
        self.reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self.reader.start()
        self.wait(self.ready)
        return self

    def _read(self, stream):
        for raw in stream:
            with self.news:
                self.lines.append(raw.decode("utf-8", "backslashreplace").rstrip("\n"))
                self.news.notify_all()
        stream.close()
        with self.news:
            self.ended = True
            self.news.notify_all()

    def mark(self):
        """A place in the log, for `since=`."""
        return len(self.lines)

    def find(self, text, since=0):
        return [line for line in self.lines[since:] if text in line]

    def wait(self, text, since=0, seconds=START_SECONDS):
        """The first line with that text."""
        end = time.monotonic() + seconds * tap.SLOW
        with self.news:
            while not (found := self.find(text, since)):
                left = end - time.monotonic()
                if self.ended or left <= 0:
                    why = "ended" if self.ended else f"took over {seconds * tap.SLOW:g} s"
                    raise tap.Failed(f"{self.title} {why} before {text!r}: {self.lines[-6:]}")
                self.news.wait(left)
        return found[0]

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        if not self.process:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)     # its helpers, if any is left
        except ProcessLookupError:
            pass
        self.process.wait(5)
        self.reader.join(5)

    def write(self, name, text):
        path = os.path.join(self.base, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def newest(self):
        return [f"{self.title}, newest lines:"] + ["    " + line[:300]
                                                   for line in self.lines[-LINES_SHOWN:]]

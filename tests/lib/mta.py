# SPDX-License-Identifier: MIT
"""A mail program of the system with a private configuration: what Dovecot and Postfix share.

Job: its folder, files in it, start and stop of its master process, its log. Invariants: the
system's own one is not touched; only the master process started here is stopped, by its pid.
"""

import os
import signal
import subprocess

from . import proc, tap


class Mta:
    """Base class. `title` is for messages, `started` what the log says once it takes
    connections."""
    title = ""
    started = b""

    def __init__(self):
        self.base = proc.temp_dir(f"postern-{self.title.lower()}-")
        self.process = None
        os.chown(self.base, 0, 0)
        tap.on_failure(lambda: [f"{self.title}'s log, newest:"] + self.log()[-15:])

    def command(self):
        """What starts the master process in the foreground."""
        raise NotImplementedError

    def write(self, name, text):
        with open(os.path.join(self.base, name), "w", encoding="ascii") as file:
            file.write(text)

    def start(self):
        # In a process group of its own: master signals its group when it stops.
        self.process = proc.start(self.command(), start_new_session=True,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        tap.at_exit(self.stop)
        pause = proc.start(["tail", "-F", "-n", "+1", f"{self.base}/log"], stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL)
        try:
            for line in pause.stdout:
                if self.started in line:
                    return
        finally:
            pause.kill()
            pause.wait()
            pause.stdout.close()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(5)

    def log(self):
        try:
            with open(f"{self.base}/log", encoding="utf-8", errors="replace") as file:
                return file.read().splitlines()
        except OSError:
            return []

# SPDX-License-Identifier: MIT
"""A machine in the middle that strips STARTTLS.

Job: listen where a client believes its server to be, pass everything on, but take STARTTLS out of
EHLO's answer and answer 502 to the command itself (the attack that RFC 3207 6 tells of, and RFC
8461 10.2). What it took away is counted. Message bodies pass unread: DATA as lines to the single
dot, BDAT by its length.
Invariants: octets keep their order; a connection ends when either side's does.
"""

import socket
import threading

from . import tap


class _Lines:
    """Lines and exact counts out of a socket."""

    def __init__(self, sock):
        self.sock, self.buffer = sock, b""

    def _more(self):
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError("closed")
        self.buffer += data

    def line(self):
        while b"\n" not in self.buffer:
            self._more()
        end = self.buffer.index(b"\n") + 1
        line, self.buffer = self.buffer[:end], self.buffer[end:]
        return line

    def exactly(self, count):
        while len(self.buffer) < count:
            self._more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data


class _Connection:
    def __init__(self, middle, client, server):
        self.middle, self.client, self.server = middle, client, server
        self.in_body = False    # 354 was passed; set before the client can have seen it

    def start(self):
        for one in (self._from_client, self._from_server):
            threading.Thread(target=self._end, args=(one,), daemon=True).start()

    def _end(self, function):
        try:
            function()
        except (OSError, ValueError):
            pass
        for sock in (self.client, self.server):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _from_client(self):
        lines = _Lines(self.client)
        while True:
            line = lines.line()
            words = line.split()
            verb = words[0].upper() if words else b""
            if self.in_body:
                self.in_body = line != b".\r\n"
            elif verb == b"STARTTLS":
                self.middle.count("refused")
                self.client.sendall(b"502 5.5.1 Error: command not implemented\r\n")
                continue
            self.server.sendall(line)
            if verb == b"BDAT" and not self.in_body:
                self.server.sendall(lines.exactly(int(words[1])))

    def _from_server(self):
        lines, held = _Lines(self.server), b""
        while True:
            line = lines.line()
            if line[:3] == b"354":
                self.in_body = True
            if line[:3] == b"250" and line[4:].strip().upper() == b"STARTTLS":
                self.middle.count("stripped")
                if line[3:4] == b" ":       # the last line: the one before it becomes that
                    self.client.sendall(held[:3] + b" " + held[4:])
                    held = b""
                continue
            if held:
                self.client.sendall(held)
            held = line if line[3:4] == b"-" else b""
            if not held:
                self.client.sendall(line)


class Stripper:
    """Listens at (host, port), passes on to `target`, (host, port). `stripped` counts lines taken
    out of EHLO's answer, `refused` the commands answered 502."""

    def __init__(self, host, target, port=25):
        self.host, self.port, self.target = host, port, target
        self.stripped = self.refused = 0
        self.lock = threading.Lock()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((host, port))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        tap.at_exit(self.listener.close)

    def count(self, what):
        with self.lock:
            setattr(self, what, getattr(self, what) + 1)

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.target, 10 * tap.SLOW)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            _Connection(self, client, server).start()

# SPDX-License-Identifier: MIT
"""A next hop that does what a test tells it: SMTP or LMTP, by TCP or a unix socket.

Job: take mail as a well-behaved server and keep it with its envelope; at any point do wrong
instead. `on(POINT, RULE)` says what: the points are BANNER, EHLO (LHLO too), STARTTLS, MAIL, RCPT,
DATA, BDAT, BODY (the first octets of a DATA body have come), CHUNK (those of a BDAT chunk are
next), END (the reply to a message; with LMTP one for each recipient), RSET, NOOP and QUIT. A rule
is a reply, one of CLOSE, RESET, HANG, or a function of (session, argument) that returns one of
these, or None for the usual answer. `gate(reply)` answers when the test opens it.

Invariants: nothing sleeps: the test waits (`wait_for`) for what has come, and a connection waits
for its peer or for a gate. Everything that was said to it is kept in `sessions`.
"""

import os
import re
import socket
import ssl
import struct
import threading
import time

from . import tap

CLOSE, RESET, HANG = object(), object(), object()
EXTENSIONS = ("PIPELINING", "SIZE 104857600", "8BITMIME", "CHUNKING", "BINARYMIME", "SMTPUTF8",
              "DSN", "ENHANCEDSTATUSCODES")
WAIT_SECONDS = 20
_PATH = re.compile(r"(?:FROM|TO):<([^>]*)>\s*(.*)", re.IGNORECASE)

_all = []


class Gone(Exception):
    """The peer closed, or we did."""


class Gate:
    """An answer that waits until the test opens it."""

    def __init__(self, reply):
        self.reply = reply
        self.opened = threading.Event()
        self.reached = threading.Event()

    def open(self):
        self.opened.set()

    def wait(self, seconds=WAIT_SECONDS):
        """Until a connection stands before it."""
        tap.check(self.reached.wait(seconds * tap.SLOW), "nobody came to the gate")


def gate(reply=None):
    return Gate(reply)


class Message:
    """A message with its envelope as it came. `replies` are ours to its end."""

    def __init__(self, session, sender, parameters):
        self.session, self.sender, self.parameters = session, sender, parameters
        self.recipients = []        # (address, parameters)
        self.data, self.chunks = b"", 0
        self.replies = []

    @property
    def addresses(self):
        return [address for address, _ in self.recipients]

    @property
    def taken(self):
        return any(reply[:1] == "2" for reply in self.replies)


class Session:
    """One connection, on a thread of its own."""

    def __init__(self, hop, sock):
        self.hop, self.sock = hop, sock
        self.commands = []
        self.buffer = b""
        self.tls = None
        self.message = self.last = None
        self.ended = False

    def run(self):
        try:
            self.answer("BANNER", "", "220 nexthop.example ready")
            while True:
                self.command(self.line())
        except (Gone, OSError, ValueError):
            pass
        finally:
            self.sock.close()
            with self.hop.news:
                self.ended = True
                self.hop.news.notify_all()

    # -- octets ---------------------------------------------------------------------------------

    def more(self):
        data = self.sock.recv(65536)
        if not data:
            raise Gone()
        self.buffer += data

    def line(self):
        while b"\n" not in self.buffer:
            self.more()
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.rstrip(b"\r").decode("utf-8", "surrogateescape")

    def exactly(self, count):
        while len(self.buffer) < count:
            self.more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def say(self, reply):
        raw = reply if isinstance(reply, bytes) else reply.encode() + b"\r\n"
        self.sock.sendall(raw)

    def drain(self):
        """Reads on until the peer has gone."""
        while True:
            self.more()
            self.buffer = b""

    # -- rules ----------------------------------------------------------------------------------

    def decide(self, point, argument, usual):
        """What the rule, or else the usual answer, comes to; no return from CLOSE and such."""
        rule = self.hop.rules.get(point)
        found = rule(self, argument) if callable(rule) else rule
        if isinstance(found, Gate):
            found.reached.set()
            found.opened.wait(WAIT_SECONDS * 3 * tap.SLOW)
            found = found.reply
        if found is None:
            return usual
        if found is HANG:
            self.drain()
        if found is RESET:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if found in (CLOSE, RESET):
            raise Gone()
        return found

    def answer(self, point, argument, usual):
        reply = self.decide(point, argument, usual)
        if reply is not None:
            self.say(reply)
        return reply if isinstance(reply, str) else ""

    # -- commands -------------------------------------------------------------------------------

    def command(self, line):
        with self.hop.news:
            self.commands.append(line)
            self.hop.news.notify_all()
        verb, _, argument = line.partition(" ")
        verb = verb.upper()
        handler = getattr(self, "do_" + verb.lower(), None)
        if handler is None or verb == ("EHLO" if self.hop.lmtp else "LHLO"):
            self.say("500 5.5.1 what?")
        else:
            handler(argument)

    def do_ehlo(self, argument):
        words = ["nexthop.example"] + list(self.hop.extensions)
        if self.hop.tls and not self.tls:
            words.append("STARTTLS")
        lines = [f"250{' ' if number == len(words) - 1 else '-'}{word}"
                 for number, word in enumerate(words)]
        self.answer("EHLO", argument, "\r\n".join(lines))

    do_lhlo = do_ehlo

    def do_helo(self, _):
        self.say("250 nexthop.example")

    def do_starttls(self, argument):
        if self.answer("STARTTLS", argument, "220 2.0.0 go ahead").startswith("220"):
            self.sock = self.hop.tls.wrap_socket(self.sock, server_side=True)
            self.tls, self.buffer = self.sock, b""

    def do_mail(self, argument):
        sender, parameters = _PATH.match(argument).groups()
        if self.answer("MAIL", argument, "250 2.1.0 ok").startswith("2"):
            self.message = Message(self, sender, parameters)

    def do_rcpt(self, argument):
        address, parameters = _PATH.match(argument).groups()
        if self.answer("RCPT", address, "250 2.1.5 ok").startswith("2") and self.message:
            self.message.recipients.append((address, parameters))

    def do_data(self, argument):
        if not self.message or not self.message.recipients:
            self.answer("DATA", argument, "554 5.5.1 no valid recipients")
            return
        if not self.answer("DATA", argument, "354 go on").startswith("354"):
            return
        if "BODY" in self.hop.rules:
            self.more()
            self.decide("BODY", self.message, None)
        lines = []
        while (line := self.raw_line()) != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
        self.message.data = b"".join(lines)
        self.end()

    def raw_line(self):
        while (end := self.buffer.find(b"\n")) < 0:
            self.more()
        line, self.buffer = self.buffer[:end + 1], self.buffer[end + 1:]
        return line

    def do_bdat(self, argument):
        words = argument.split()
        self.decide("CHUNK", argument, None)
        data = self.exactly(int(words[0]))
        message = self.message
        if not message or not message.recipients:
            self.answer("BDAT", argument, "503 5.5.1 no valid recipients")
            return
        message.data += data
        message.chunks += 1
        if len(words) > 1:
            self.end()
        else:
            self.answer("BDAT", argument, f"250 2.0.0 {len(data)} octets")

    def end(self):
        message, self.message = self.message, None
        self.last = message
        self.hop.keep(message)
        for recipient in message.addresses if self.hop.lmtp else [message.addresses]:
            reply = self.decide("END", recipient, "250 2.0.0 taken")
            message.replies.append(reply if isinstance(reply, str) else "")
            with self.hop.news:
                self.hop.news.notify_all()
            self.say(reply)

    def do_rset(self, argument):
        self.message = None
        self.answer("RSET", argument, "250 2.0.0 ok")

    def do_noop(self, argument):
        self.answer("NOOP", argument, "250 2.0.0 ok")

    def do_quit(self, argument):
        self.answer("QUIT", argument, "221 2.0.0 bye")
        raise Gone()


class NextHop:
    """A listening next hop; more than one address may be had by `host` (all of 127/8 is ours)."""

    def __init__(self, lmtp=False, host="127.0.0.1", port=0, unix=None, extensions=EXTENSIONS,
                 tls=None, opened=True):
        self.lmtp, self.host, self.port, self.unix = lmtp, host, port, unix
        self.extensions, self.tls = extensions, tls
        self.rules, self.sessions, self.messages = {}, [], []
        self.news = threading.Condition()
        self.listener = None
        _all.append(self)
        if opened:
            self.open()
        elif not self.port and not unix:
            from . import proc
            self.port = proc.free_port()

    @property
    def text(self):
        """As a route's next hop."""
        kind = "lmtp" if self.lmtp else "smtp"
        return f"{kind}:unix:{self.unix}" if self.unix else f"{kind}:{self.host}:{self.port}"

    def on(self, point, rule):
        self.rules[point] = rule
        return self

    def off(self, *points):
        for point in points or list(self.rules):
            self.rules.pop(point, None)
        return self

    def open(self):
        """Listens (again, at the same port)."""
        if self.unix:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(self.unix)
            os.chmod(self.unix, 0o666)
        else:
            self.listener = socket.socket()
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind((self.host, self.port))
            self.port = self.listener.getsockname()[1]
        self.listener.listen(512)
        self.start_accepting()

    def start_accepting(self):
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def close(self):
        """Listens no more; connections are cut."""
        if self.listener:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None
        if self.unix and os.path.exists(self.unix):
            os.unlink(self.unix)
        self.cut()

    def cut(self):
        """Ends every connection."""
        for session in self.sessions:
            try:
                session.sock.shutdown(socket.SHUT_RDWR)
            except (OSError, ssl.SSLError):
                pass

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            if not self.unix:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session = Session(self, sock)
            with self.news:
                self.sessions.append(session)
                self.news.notify_all()
            threading.Thread(target=session.run, daemon=True).start()

    def keep(self, message):
        with self.news:
            self.messages.append(message)
            self.news.notify_all()

    # -- looking at it --------------------------------------------------------------------------

    def wait_for(self, condition, what="what was to come", seconds=WAIT_SECONDS):
        end = time.monotonic() + seconds * tap.SLOW
        with self.news:
            while not (found := condition()):
                left = end - time.monotonic()
                if left <= 0:
                    raise tap.Failed(f"the next hop did not see {what} in {seconds * tap.SLOW:g} s")
                self.news.wait(left)
            return found

    def taken(self, recipient=None):
        """The messages that were answered 2xx (for somebody), of one recipient or of all."""
        return [message for message in self.messages if message.taken
                and (recipient is None or recipient in message.addresses)]

    def wait_taken(self, count=1, recipient=None, seconds=WAIT_SECONDS):
        return self.wait_for(lambda: len(found := self.taken(recipient)) >= count and found,
                             f"{count} messages", seconds)

    def alive(self):
        """Connections that stand."""
        return [session for session in self.sessions if not session.ended]

    def said(self, verb):
        """Every command of that verb, in any session."""
        return [line for session in self.sessions for line in list(session.commands)
                if line.upper().startswith(verb)]


class Deaf:
    """A port that takes connections and never says a word; with `full` not even that: its queue is
    full, so that SYNs go unanswered."""

    def __init__(self, full=False):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0 if full else 64)
        self.port = self.listener.getsockname()[1]
        self.text = f"smtp:127.0.0.1:{self.port}"
        self.fillers = []
        for _ in range(4 if full else 0):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self.fillers.append(filler)
        tap.at_exit(self.close)

    def close(self):
        for one in [self.listener] + self.fillers:
            one.close()


def context(chain, key):
    """A server's TLS context."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(chain, key)
    return made


def dialogues():
    """For a failure's report: what the newest next hops heard."""
    for hop in _all[-2:]:
        yield f"next hop {hop.text} heard:"
        for number, session in enumerate(hop.sessions[-4:]):
            for line in session.commands[-12:]:
                yield f"    [{number}] {line[:160]}"


def watch():
    tap.on_failure(dialogues)

# SPDX-License-Identifier: MIT
"""An SMTP client that sends exactly the bytes it is told and looks hard at what comes back.

Job: raw dialogue over plaintext, STARTTLS or implicit TLS; replies are parsed strictly (CRLF, one
code in all lines, 512 octets a line, enhanced status code where RFC 2034 asks for one).
Not its job: building commands. A test that wants wrong bytes sends wrong bytes.

Invariants: nothing blocks longer than `timeout`; everything sent and received is kept, and
`transcripts()` prints the newest of it when a test fails.
"""

import re
import select
import socket
import ssl
import time

from . import tap

TIMEOUT_SECONDS = 10
REPLY_LINE_MAX = 512
KEPT_CLIENTS_MAX = 2
KEPT_LINES_MAX = 24
KEPT_LINE_CHARS = 160
SPLIT_BYTES_MAX = 4096

_LINE = re.compile(rb"([2345][0-9][0-9])([ -])([^\r\n]*)\r\n")
_ENHANCED = re.compile(r"([245])\.[0-9]{1,3}\.[0-9]{1,3}( |$)")

_QUEUED = re.compile(r"^250 2\.\d+\.\d+ .*queued as ([0-9A-F]+)", re.MULTILINE)

_clients = []
_queued = []    # (port, when, queue id) of every message that was taken


class Closed(Exception):
    """The server closed the connection where a reply was due."""


class Reply:
    def __init__(self, code, lines):
        self.code = code
        self.lines = lines

    @property
    def text(self):
        return f"{self.code} " + "\n".join(self.lines)

    def __repr__(self):
        return f"<{self.text!r}>"


def parse_reply_line(raw):
    match = _LINE.fullmatch(raw)
    if not match:
        raise tap.Failed(f"malformed reply line {raw[:200]!r}")
    if len(raw) > REPLY_LINE_MAX:
        raise tap.Failed(f"reply line of {len(raw)} octets")
    return int(match.group(1)), match.group(2) == b"-", match.group(3).decode("ascii")


def check_enhanced(reply):
    """RFC 2034: 2xx, 4xx and 5xx replies start with a status code of the same class."""
    for line in reply.lines:
        match = _ENHANCED.match(line)
        if not match or int(match.group(1)) != reply.code // 100:
            raise tap.Failed(f"reply without fitting enhanced status code: {reply}")


def client_context(minimum=None, maximum=None, ciphers=None, group=None, cafile=None, cert=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if cafile:
        context.load_verify_locations(cafile)
        context.check_hostname = True
        context.verify_mode = ssl.CERT_REQUIRED
    if minimum:
        context.minimum_version = minimum
    if maximum:
        context.maximum_version = maximum
    if ciphers:
        context.set_ciphers(ciphers)
    if group:
        context.set_ecdh_curve(group)
    if cert:
        context.load_cert_chain(*cert)
    return context


class Client:
    """One connection. With `banner` (the default) the greeting is read and must be 220. `first` is
    sent before all else, a handshake included; `peer_name` is who the log will call us."""

    def __init__(self, port, host="127.0.0.1", implicit=None, banner=True, source=None,
                 timeout=TIMEOUT_SECONDS, server_name=None, session=None, split=False,
                 first=b"", peer_name=None):
        self.timeout = timeout * tap.SLOW
        self.split = split
        self.created = time.monotonic()
        self.log = []
        self.buffer = b""
        self.tls = None
        self.queue_id = None        # of the last message that was taken
        _clients.append(self)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect((host, port))
        self.port = port
        address = self.sock.getsockname()
        self.local_port = address[1]
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        self.peer_name = peer_name or f"{shown}:{address[1]}"
        if first:
            self.send(first)
        if implicit:
            self._handshake(implicit, server_name, session)
        if banner:
            self.banner = self.reply()
            if self.banner.code != 220:
                raise tap.Failed(f"greeting {self.banner}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _note(self, side, data):
        self.log.append(f"{side} {tap.shorten(data, KEPT_LINE_CHARS)}")
        del self.log[:-KEPT_LINES_MAX]

    def _handshake(self, context, server_name, session):
        if self.buffer:
            raise tap.Failed(f"bytes in clear after the 220 to STARTTLS: {self.buffer!r}")
        self._note("--", "TLS handshake")
        self.sock = self.tls = context.wrap_socket(self.sock, server_hostname=server_name,
                                                   session=session)
        self._note("--", f"{self.tls.version()} {self.tls.cipher()[0]}")

    def send(self, data):
        """Exact bytes; with `split`, each octet in a segment of its own. A server that closes
        meanwhile is no error here: the next read tells."""
        self._note("C", data)
        step = 1 if self.split and len(data) <= SPLIT_BYTES_MAX else max(len(data), 1)
        try:
            for index in range(0, len(data), step):
                self.sock.sendall(data[index:index + step])
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            self._note("--", "closed while we sent")

    def _receive(self):
        data = self.sock.recv(65536)
        if not data:
            self._note("--", "closed by the server")
        return data

    def read_line(self):
        while b"\n" not in self.buffer:
            data = self._receive()
            if not data:
                raise Closed(f"connection closed, {self.buffer!r} unfinished")
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        self._note("S", line + b"\n")
        return line + b"\n"

    def reply(self):
        lines, more = [], True
        while more:
            code, more, text = parse_reply_line(self.read_line())
            if lines and code != first:
                raise tap.Failed(f"codes {first} and {code} in one reply")
            first = code
            lines.append(text)
        reply = Reply(first, lines)
        self._note_queued(reply.text)
        return reply

    def _note_queued(self, text):
        for number in _QUEUED.findall(text):
            self.queue_id = number
            _queued.append((self.port, time.monotonic(), number))

    def command(self, line, enhanced=True):
        """Sends the line with CRLF and returns the reply."""
        self.send((line.encode() if isinstance(line, str) else line) + b"\r\n")
        reply = self.reply()
        if enhanced and reply.code // 100 != 3:
            check_enhanced(reply)
        return reply

    def expect(self, line, pattern, enhanced=True):
        """The reply to `line` (None: nothing is sent) must match the pattern from its start."""
        reply = self.command(line, enhanced) if line is not None else self.reply()
        if not re.match(pattern, reply.text):
            raise tap.Failed(f"{line!r}: expected {pattern!r}, got {reply.text!r}")
        return reply

    def ehlo(self, name="client.example.net"):
        reply = self.expect(f"EHLO {name}", "250 ", enhanced=False)
        return reply.lines[1:]

    def starttls(self, context=None, server_name=None, session=None):
        self.expect("STARTTLS", r"220 2\.0\.0 ")
        self._handshake(context or client_context(), server_name, session)

    def deliver(self, sender, recipients, message, parameters=""):
        """One transaction by DATA; the message is stuffed here. Returns the last reply."""
        self.expect(f"MAIL FROM:<{sender}>{parameters}", "250 ")
        for recipient in recipients:
            self.expect(f"RCPT TO:<{recipient}>", "250 ")
        self.expect("DATA", "354 ")
        self.send(stuff(message))
        reply = self.reply()
        check_enhanced(reply)
        return reply

    def bdat(self, chunk, last=False):
        self.send(b"BDAT %d%s\r\n" % (len(chunk), b" LAST" if last else b"") + chunk)
        reply = self.reply()
        check_enhanced(reply)
        return reply

    def quit(self):
        self.expect("QUIT", r"221 2\.0\.0 ")
        self.expect_close()

    def expect_close(self, silent=True):
        """Reads to the end of the connection; with `silent` nothing more may come before it."""
        rest = self.buffer
        self.buffer = b""
        try:
            while data := self._receive():
                rest += data
        except (ConnectionResetError, BrokenPipeError):
            self._note("--", "reset by the server")
        except ssl.SSLError as error:
            self._note("--", repr(error))
            if "timed out" in str(error):
                raise
        self._note_queued(rest.decode("ascii", "replace"))
        if silent and rest:
            raise tap.Failed(f"expected the connection to close, got {rest!r}")
        return rest

    def quiet(self, seconds):
        """True where the server sends nothing for so long (and does not close)."""
        if self.buffer or (self.tls and self.tls.pending()):
            return False
        return not select.select([self.sock], [], [], seconds)[0]

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes by RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()


def stuff(message):
    """The bytes that carry a message of CRLF lines in DATA, with the end mark."""
    stuffed = re.sub(rb"(^|\r\n)\.", rb"\1..", message)
    if stuffed and not stuffed.endswith(b"\r\n"):
        raise ValueError("DATA carries whole lines only")
    return stuffed + b".\r\n"


def queued(ports, since):
    """Queue ids that a gateway with these ports gave to our clients since it was started."""
    numbers = set(ports.values())
    return [number for port, at, number in _queued if port in numbers and at >= since]


def forget_queued(queue_id):
    """That message is lost, and known to be."""
    _queued[:] = [one for one in _queued if one[2] != queue_id]


def connect_until(port, seconds, pause, host="127.0.0.1"):
    """Connects again and again until a greeting is read; `pause()` waits for the next event."""
    end = time.monotonic() + seconds * tap.SLOW
    while True:
        try:
            return Client(port, host)
        except (OSError, Closed):
            if time.monotonic() > end:
                raise
            pause()


def forget():
    """The last test's connections: closed where it did not, and out of the next one's report."""
    for client in _clients:
        client.close()
    _clients.clear()


def transcripts():
    for client in _clients[-KEPT_CLIENTS_MAX:]:
        yield f"dialogue of {client.peer_name}:"
        for line in client.log:
            yield "    " + line


tap.on_start(forget)
tap.on_failure(transcripts)

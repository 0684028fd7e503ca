# SPDX-License-Identifier: MIT
"""Small servers that upgrade to TLS in seven protocols, well or with one fault.

Job: SMTP, IMAP, POP3, XMPP, LDAP, NNTP and FTP up to their upgrade, a list of what they can do, one
harmless command, and good-bye; under TLS the same. `faults` are any of:

    strip       the upgrade is not listed, and refused when it is asked for
    hide        not listed, but done
    disguise    SMTP: a keyword of Xes stands in the list, and the command is not known
    refuse      listed, but refused
    leak        octets in clear behind the upgrade are taken for the session's first ones
    early       octets in clear come behind the go-ahead
    eager       commands in clear behind the upgrade are answered before the handshake
    busy        no greeting but "too busy"
    mute        no octet at all
    chatter     a line without an end in place of the greeting
    hostile     escape sequences in the greeting and in the list
    garbage     the go-ahead, and then something that is no TLS
    hang        the go-ahead, and then nothing

Not its job: mail. Invariants: a thread a connection, each dies with the suite.
"""

import socket
import ssl
import threading

from . import tap

FAULTS = ("strip", "hide", "disguise", "refuse", "leak", "early", "eager", "busy", "mute", "chatter",
          "hostile", "garbage", "hang")
HOSTILE = b"\x1b]0;owned\x07\x1b[2J\xff\xfe\x9b31m"
_STREAM = (b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' id='1' version='1.0' "
           b"xmlns:stream='http://etherx.jabber.org/streams' from='example.org'>")
_TLS = b"xmlns='urn:ietf:params:xml:ns:xmpp-tls'"
_STARTTLS_OID = b"1.3.6.1.4.1.1466.20037"


class _Gone(Exception):
    """The peer closed."""


class _Session:
    """One connection; `buffer` is what came and was not taken."""

    def __init__(self, server, sock):
        self.server, self.sock, self.buffer = server, sock, b""
        self.tls = False
        self.faults = server.faults

    def more(self):
        data = self.sock.recv(65536)
        if not data:
            raise _Gone()
        self.buffer += data

    def line(self):
        while b"\n" not in self.buffer:
            self.more()
        line, _, self.buffer = self.buffer.partition(b"\n")
        self.server.said.append((self.tls, line.rstrip(b"\r")))
        return line.rstrip(b"\r")

    def until(self, mark):
        while mark not in self.buffer:
            self.more()
        end = self.buffer.index(mark) + len(mark)
        text, self.buffer = self.buffer[:end], self.buffer[end:]
        self.server.said.append((self.tls, text))
        return text

    def element(self):
        """A whole BER element with a short length."""
        while len(self.buffer) < 2 or len(self.buffer) < 2 + self.buffer[1]:
            self.more()
        end = 2 + self.buffer[1]
        text, self.buffer = self.buffer[:end], self.buffer[end:]
        self.server.said.append((self.tls, text))
        return text

    def send(self, data):
        self.sock.sendall(data)

    @property
    def listed(self):
        return not self.tls and not {"strip", "hide", "disguise"} & self.faults

    @property
    def refused(self):
        return bool({"strip", "disguise", "refuse"} & self.faults)

    def upgrade(self, go):
        """Says `go` and shakes hands."""
        if "early" in self.faults:
            go += b"250 psst\r\n"
        self.send(go)
        if "garbage" in self.faults:
            self.send(b"no TLS at all\r\n" * 20)
            raise _Gone()
        if "hang" in self.faults:
            self.until(b"never")
        kept = self.buffer
        if "eager" in self.faults and kept:
            self.send(b"250 and that, too\r\n")
        self.handshake()
        self.buffer = kept if "leak" in self.faults else b""

    def handshake(self):
        self.sock = self.server.context.wrap_socket(self.sock, server_side=True)
        self.tls = True
        self.server.versions.append((self.sock.version(), self.sock.session_reused))

    # -- protocols ------------------------------------------------------------------------------

    def smtp(self):
        hello = HOSTILE if "hostile" in self.faults else b"mx.example.org"
        if not self.tls or self.server.implicit:
            self.send(b"220 " + hello + b" ESMTP\r\n")
        while True:
            verb = self.line().split(b" ")[0].upper()
            if verb == b"EHLO":
                words = [b"mx.example.org", b"SIZE 1000"]
                words += [b"STARTTLS"] if self.listed else []
                words += [b"XXXXXXXA"] if "disguise" in self.faults else []
                words += [b"X-" + HOSTILE] if "hostile" in self.faults else []
                self.send(b"".join(b"250-" + word + b"\r\n" for word in words) + b"250 HELP\r\n")
            elif verb == b"STARTTLS" and not self.tls:
                if self.refused:
                    self.send(b"454 4.7.0 TLS not available\r\n")
                else:
                    self.upgrade(b"220 2.0.0 go ahead\r\n")
            elif verb == b"QUIT":
                self.send(b"221 2.0.0 bye\r\n")
                return
            else:
                self.send(b"250 2.0.0 ok\r\n" if verb == b"NOOP" else b"502 5.5.1 what?\r\n")

    def imap(self):
        if not self.tls or self.server.implicit:
            self.send(b"* OK ready\r\n")
        while True:
            tag, _, rest = self.line().partition(b" ")
            verb = rest.upper()
            if verb == b"CAPABILITY":
                more = b" STARTTLS LOGINDISABLED" if self.listed else b""
                self.send(b"* CAPABILITY IMAP4rev1" + more + b"\r\n" + tag + b" OK done\r\n")
            elif verb == b"STARTTLS" and not self.tls:
                if self.refused:
                    self.send(tag + b" BAD not here\r\n")
                else:
                    self.upgrade(tag + b" OK begin\r\n")
            elif verb == b"LOGOUT":
                self.send(b"* BYE\r\n" + tag + b" OK bye\r\n")
                return
            else:
                self.send(tag + b" OK\r\n" if verb == b"NOOP" else tag + b" BAD what?\r\n")

    def pop3(self):
        if not self.tls or self.server.implicit:
            self.send(b"+OK ready\r\n")
        while True:
            verb = self.line().upper()
            if verb == b"CAPA":
                more = b"STLS\r\n" if self.listed else b""
                self.send(b"+OK list\r\nUSER\r\n" + more + b".\r\n")
            elif verb == b"STLS" and not self.tls:
                if self.refused:
                    self.send(b"-ERR not here\r\n")
                else:
                    self.upgrade(b"+OK begin\r\n")
            elif verb == b"QUIT":
                self.send(b"+OK bye\r\n")
                return
            else:
                self.send(b"-ERR what?\r\n")

    def xmpp(self):
        while True:
            self.until(b"version='1.0'>")
            more = b"<starttls " + _TLS + b"><required/></starttls>" if self.listed else b""
            self.send(_STREAM + b"<stream:features>" + more + b"</stream:features>")
            if self.tls:
                self.until(b"</stream:stream>")
                return
            self.until(b"/>")
            if self.refused:
                self.send(b"<failure " + _TLS + b"/></stream:stream>")
                return
            self.upgrade(b"<proceed " + _TLS + b"/>")

    def ldap(self):
        while True:
            message = self.element()
            number, operation = message[2:5], message[5]
            if operation == 0x77 and _STARTTLS_OID in message and not self.tls:
                code = 52 if self.refused else 0
                answer = b"\x30\x0c" + number + b"\x78\x07\x0a\x01" + bytes([code]) + b"\x04\0\x04\0"
                if code:
                    self.send(answer)
                else:
                    self.upgrade(answer)
            elif operation == 0x63:
                self.send(b"\x30\x0c" + number + b"\x65\x07\x0a\x01\0\x04\0\x04\0")
            else:
                return

    def nntp(self):
        if not self.tls or self.server.implicit:
            self.send(b"200 ready\r\n")
        while True:
            verb = self.line().upper()
            if verb == b"CAPABILITIES":
                more = b"STARTTLS\r\n" if self.listed else b""
                self.send(b"101 list\r\nVERSION 2\r\n" + more + b".\r\n")
            elif verb == b"STARTTLS" and not self.tls:
                if self.refused:
                    self.send(b"580 cannot\r\n")
                else:
                    self.upgrade(b"382 begin\r\n")
            elif verb == b"QUIT":
                self.send(b"205 bye\r\n")
                return
            else:
                self.send(b"111 20260101000000\r\n" if verb == b"DATE" else b"500 what?\r\n")

    def ftp(self):
        if not self.tls or self.server.implicit:
            self.send(b"220-hello\r\n220-there\r\n220 ready\r\n")
        while True:
            verb = self.line().upper()
            if verb == b"FEAT":
                more = b" AUTH TLS\r\n" if self.listed else b""
                self.send(b"211-Features:\r\n UTF8\r\n" + more + b"211 End\r\n")
            elif verb == b"AUTH TLS" and not self.tls:
                if self.refused:
                    self.send(b"502 not here\r\n")
                else:
                    self.upgrade(b"234 begin\r\n")
            elif verb == b"QUIT":
                self.send(b"221 bye\r\n")
                return
            else:
                self.send(b"200 ok\r\n" if verb == b"NOOP" else b"500 what?\r\n")


class Upgrading:
    """Listens on (host, port). `said` is what clients said, as (under TLS?, octets); `versions` each
    handshake's (version, resumed?)."""

    def __init__(self, protocol, context, faults=(), host="127.0.0.1", port=0, implicit=False):
        unknown = set(faults) - set(FAULTS)
        if unknown:
            raise ValueError(f"no such fault: {unknown}")
        self.protocol, self.context, self.faults = protocol, context, set(faults)
        self.implicit = implicit
        self.said, self.versions, self.connections = [], [], 0
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((host, port))
        self.listener.listen(64)
        self.host, self.port = self.listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()
        tap.at_exit(self.listener.close)

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        sock.settimeout(60 * tap.SLOW)
        session = _Session(self, sock)
        try:
            if "mute" in self.faults:
                session.until(b"never")
            elif "busy" in self.faults:
                session.send(b"421 4.3.2 too busy\r\n")
            elif "chatter" in self.faults:
                while True:
                    session.send(b"x" * 65536)
            else:
                if self.implicit:
                    session.handshake()
                getattr(session, self.protocol)()
        except (OSError, ssl.SSLError, _Gone):
            pass
        finally:
            session.sock.close()

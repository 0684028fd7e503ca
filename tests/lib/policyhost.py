# SPDX-License-Identifier: MIT
"""Hosts of MTA-STS policies: one that does what a test tells it, and a real nginx.

Job: HTTPS by server name (SNI), each name with its certificate and its answer, which may be set
anew at any time. The scripted one also answers wrongly: other status and media types, redirects,
bodies that come slowly or never end, no answer; it keeps what it was asked, and takes POSTs (RFC
8460 reports).
Invariants: an endless or slow answer ends when the client goes. Port 443 needs an address of its
own (internet.py). Rejected: http.server: what must be broken here, it does right.
"""

import os
import signal
import socket
import ssl
import threading
import time

from . import daemon, tap

PATH = "/.well-known/mta-sts.txt"
NGINX = "/usr/sbin/nginx"
WAIT_SECONDS = 20
HEADER_MAX, BODY_MAX = 16384, 1 << 22
PAUSE_SECONDS = 0.2
HANG, CLOSE, ENDLESS = "hang", "close", "endless"


def policy(mode, patterns, max_age, end="\r\n"):
    """A policy's text (RFC 8461 3.2)."""
    lines = ["version: STSv1", f"mode: {mode}"] + [f"mx: {one}" for one in patterns]
    return end.join(lines + [f"max_age: {max_age}"]) + end


class Request:
    def __init__(self, name, method, path, headers, body):
        self.name, self.method, self.path, self.headers, self.body = (name, method, path, headers,
                                                                      body)


class Answer:
    """What a name answers. `how`: HANG (nothing after the request), CLOSE (the same, at once),
    ENDLESS (a body that goes on for ever); `slow`: an octet of the body each fifth of a second."""

    def __init__(self, certificate, body="", status=200, media="text/plain", headers=(), how=None,
                 slow=False, path=PATH):
        self.context = certificate.context()
        self.body = body if isinstance(body, bytes) else body.encode()
        self.status, self.media, self.headers = status, media, list(headers)
        self.how, self.slow, self.path = how, slow, path

    def head(self, found):
        status, length = (self.status, len(self.body)) if found else (404, 0)
        lines = [f"HTTP/1.1 {status} Status"]
        if self.media and found:
            lines.append(f"Content-Type: {self.media}")
        if self.how != ENDLESS:
            lines.append(f"Content-Length: {length}")
        lines += [f"{name}: {value}" for name, value in self.headers] + ["Connection: close"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


class PolicyHost:
    """Listens at once. `requests` are those that came whole; `hellos` the names of all TLS
    clients."""

    def __init__(self, host, port=443):
        self.host, self.port = host, port
        self.answers, self.requests, self.hellos = {}, [], []
        self.news = threading.Condition()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((host, port))
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()
        tap.at_exit(self.listener.close)
        tap.on_failure(self.newest)

    def serve(self, name, certificate, **answer):
        """Sets what a name answers from now on; keeps the certificate where that is None."""
        if certificate is None:
            made = Answer.__new__(Answer)
            made.__dict__.update(self.answers[name].__dict__)
            made.__dict__.update(answer)
            if isinstance(made.body, str):
                made.body = made.body.encode()
        else:
            made = Answer(certificate, **answer)
        self.answers[name] = made

    def asked(self, name):
        """How often the policy of that host was asked for."""
        return sum(1 for one in self.requests if one.name == name and one.method == "GET")

    def posts(self, path=None):
        return [one for one in self.requests if one.method == "POST" and path in (None, one.path)]

    def wait_for(self, condition, what="a request", seconds=WAIT_SECONDS):
        end = time.monotonic() + seconds * tap.SLOW
        with self.news:
            while not (found := condition()):
                left = end - time.monotonic()
                tap.check(left > 0, f"the policy host did not see {what}")
                self.news.wait(left)
        return found

    def newest(self):
        return ["the policy host was asked:"] + [
            f"    {one.method} https://{one.name}{one.path}" for one in self.requests[-8:]]

    # -- one connection -------------------------------------------------------------------------

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._run, args=(sock,), daemon=True).start()

    def _context(self, chosen):
        """A context that takes its certificate from the name that is asked for."""
        def choose(sock, name, _):
            with self.news:
                self.hellos.append(name)
                self.news.notify_all()
            if name not in self.answers:
                return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
            chosen.append(name)
            sock.context = self.answers[name].context
            return None
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.sni_callback = choose
        return made

    def _run(self, sock):
        chosen = []
        sock.settimeout(60 * tap.SLOW)
        try:
            with self._context(chosen).wrap_socket(sock, server_side=True) as tls:
                self._answer(tls, chosen[0], self._read(tls, chosen[0]))
        except (OSError, ValueError, IndexError):
            pass
        finally:
            sock.close()

    def _read(self, tls, name):
        data = b""
        while b"\r\n\r\n" not in data:
            more = tls.recv(4096)
            if not more or len(data) > HEADER_MAX:
                raise ValueError("no request")
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {key.strip().lower(): value.strip()
                   for key, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if headers.get("expect", "").lower() == "100-continue":
            tls.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(body) < min(length, BODY_MAX):
            more = tls.recv(65536)
            if not more:
                raise ValueError("a short body")
            body += more
        request = Request(name, method, path, headers, body)
        with self.news:
            self.requests.append(request)
            self.news.notify_all()
        return request

    def _answer(self, tls, name, request):
        answer = self.answers[name]
        if answer.how == CLOSE:
            return
        if answer.how == HANG:
            self._until_gone(tls)
            return
        found = request.path == answer.path or request.method == "POST"
        tls.sendall(answer.head(found))
        if not found:
            return
        if answer.slow:
            for octet in answer.body:
                tls.sendall(bytes([octet]))
                if self._gone(tls, PAUSE_SECONDS):
                    return
        else:
            tls.sendall(answer.body)
        while answer.how == ENDLESS:
            tls.sendall(b"x: " + b"y" * 8189 + b"\r\n")

    @staticmethod
    def _gone(tls, seconds):
        """Has the client closed within that time? (The pause of a slow host, not a wait.)"""
        tls.settimeout(seconds)
        try:
            return not tls.recv(1)
        except TimeoutError:
            return False
        finally:
            tls.settimeout(60 * tap.SLOW)

    def _until_gone(self, tls):
        while tls.recv(4096):
            pass


NGINX_CONF = """daemon off;
user nobody nogroup;
worker_processes 1;
pid {base}/pid;
error_log stderr notice;
events {{ worker_connections 64; }}
http {{
	access_log {base}/access;
	client_body_temp_path {base}/t1;
	proxy_temp_path {base}/t2;
	fastcgi_temp_path {base}/t3;
	uwsgi_temp_path {base}/t4;
	scgi_temp_path {base}/t5;
	server {{ listen {host}:443 ssl default_server; ssl_reject_handshake on; }}
{servers}}}
"""

NGINX_SERVER = """	server {{
		listen {host}:443 ssl;
		server_name {name};
		ssl_certificate {chain};
		ssl_certificate_key {key};
		location = /.well-known/mta-sts.txt {{ default_type text/plain; alias {body}; }}
		location / {{ return 404; }}
	}}
"""


class Nginx(daemon.Daemon):
    """A real web server as policy host: `policies` is {name: (certificate, text)}."""

    def __init__(self, host, policies):
        super().__init__("nginx", None, "start worker process ")
        if not os.access(NGINX, os.X_OK):
            raise tap.Skip("nginx is not installed: nginx as a policy host is not proved")
        self.host = host
        self.arguments = [NGINX, "-c", f"{self.base}/nginx.conf", "-p", self.base, "-e", "stderr"]
        self.configure(policies)
        self.start()

    def configure(self, policies):
        servers = ""
        for name, (certificate, text) in policies.items():
            body = self.write(name + ".txt", text)
            servers += NGINX_SERVER.format(host=self.host, name=name, body=body,
                                           chain=certificate.chain, key=certificate.key)
        self.write("nginx.conf", NGINX_CONF.format(base=self.base, host=self.host, servers=servers))

    def change(self, policies):
        """Other policies from now on."""
        mark = self.mark()
        self.configure(policies)
        self.signal(signal.SIGHUP)
        self.wait("exited with code", mark)

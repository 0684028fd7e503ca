# SPDX-License-Identifier: MIT
"""Starts the real gateway on free ports in a folder of its own and watches its log.

Job: write the configuration, certificates and recipients; start; wait for `event=ready`; wait for
any later event; read Maildirs, queue and metrics; stop and look at how it ended.
Not its job: speaking SMTP (smtp.py).

Invariants: no sleeping: every wait is for a line of the log, with a limit. A gateway that dies
unasked, prints a sanitiser's report or a failed assertion makes the suite fail at its end
(`check_all`), whatever the single tests said. Mail is read after it is delivered: `read`, `files`
and `clear` wait until every message that was answered "queued as" is (`delivered`).

Settings are given as {"smtp.errors_max": 3}: dotted names of the configuration file; `None` leaves
a default out; "listener.X" is every listener's. Gateways with equal settings are shared by the tests of one process (`shared`).
"""

import json
import os
import re
import signal
import subprocess
import threading
import time

from . import certs, logline, maildir, proc, smtp, tap

READY_SECONDS = 20
EVENT_SECONDS = 20
STOP_SECONDS = 40
SHARED_MAX = 6
LOG_LINES_SHOWN = 15
HOSTNAME = "mx.example.org"
RECIPIENTS = ("a@example.org", "b@example.org", "c@example.org", "Some.Body@example.org",
              "\"quoted local\"@example.org", "@any.example")
TO_MAILDIR = {"default": {"domains": ["*"], "next_hops": ["maildir:mail"]}}

_BAD = re.compile(r"event=(assert|child_died|restart_failed|fatal)|runtime error:"
                  r"|(Address|Leak|UndefinedBehavior|Thread)Sanitizer")
_BROKEN = re.compile(r"event=assert|runtime error:"
                     r"|(Address|Leak|UndefinedBehavior|Thread)Sanitizer")
_MANY = (b"event=message ", b"event=delivery ", b"event=session ", b"event=relay_connection ")
_shared = {}
_all = []


class Gateway:
    """A gateway process. `fault_expected` switches the final check of its log and status off."""

    def __init__(self, settings=None, folder=None, recipients=RECIPIENTS, certificates=None,
                 ready=True, files_max=0, as_user=None, ports=None, environment=None, routes=None,
                 binary=None):
        self.settings = settings or {}
        self.folder = folder or proc.temp_dir()
        self.recipients = recipients
        self.certificates = certificates
        self.routes = routes or TO_MAILDIR
        self.binary = binary
        self.files_max = files_max
        self.as_user = as_user
        self.environment = environment or {}
        self.fault_expected = False
        self.forgetful = False      # lines of single messages are not kept: there will be many
        self.lines, self.events, self.times = [], [], []
        self.undelivered = {}       # queue id: recipients that have not been delivered to
        self.born = time.monotonic()
        self.news = threading.Condition()
        self.process = self.reader = None
        self.started = 0
        self.status = None
        self.ports = ports
        self._write_folder()
        _all.append(self)
        self.start(ready)

    # -- configuration --------------------------------------------------------------------------

    @property
    def config_path(self):
        return os.path.join(self.folder, "postern.conf")

    @property
    def mail(self):
        return os.path.join(self.folder, "mail")

    @property
    def spool(self):
        return os.path.join(self.folder, self.values().get("spool.directory", "spool"))

    @property
    def port(self):
        return self.ports["smtp"]

    @property
    def tls_port(self):
        return self.ports["smtps"]

    def _write_folder(self):
        if not self.certificates:
            if not os.path.exists(os.path.join(self.folder, "cert.pem")):
                certs.make(self.folder, "cert")
            self.certificates = {"default": {"chain": "cert.pem", "key": "cert.key"}}
        if self.recipients is not None:
            self.write("recipients", "".join(f"{one}\n" for one in self.recipients))
        os.makedirs(self.mail, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(self.mail, *proc.unprivileged())
        if not self.ports:
            self._choose_ports()
        self.write("postern.conf", self.config_text())

    def _choose_ports(self):
        self.ports = {name: proc.free_port() for name in ("smtp", "smtps", "plain")}

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def values(self):
        """All settings, dotted name to value, with the tests' defaults."""
        values = {
            "hostname": HOSTNAME, "workers": 2, "control_socket": "postern.sock",
            "drain_seconds": 10,
            "smtp.banner_delay_ms": None,
            "policy.relay_domains": ["example.org", "any.example"],
            "policy.recipients": "recipients" if self.recipients is not None else None,
            "policy.sessions_per_address_max": 1000,
            "spool.directory": "spool", "spool.durability": "none",
            "tls.ticket_keys": "tickets.key",
            "log.to": "stderr",
        }
        if os.geteuid() == 0 and not self.as_user:
            values["user"] = "nobody"
        values.update(self.settings)
        return {name: value for name, value in values.items() if value is not None}

    def config_text(self):
        values, sections, out = self.values(), {}, []
        for name, value in values.items():
            section, _, key = name.rpartition(".")
            sections.setdefault(section, []).append(f"{key} = {render(value)}")
        out += sections.pop("", [])
        more = " ".join(sections.pop("listener", []))
        for title, mode in (("smtp", "starttls"), ("smtps", "implicit"), ("plain", "none")):
            out.append(f'listener "{title}" {{ address = "127.0.0.1" port = {self.ports[title]} '
                       f'tls = "{mode}" {more} }}')
        for section, titles in (("certificate", self.certificates), ("route", self.routes)):
            for title, keys in titles.items():
                inner = " ".join(f"{key} = {render(value)}" for key, value in keys.items())
                out.append(f'{section} "{title}" {{ {inner} }}')
        for section, lines in sections.items():
            out.append(section + " {\n\t" + "\n\t".join(lines) + "\n}")
        return "\n".join(out) + "\n"

    # -- life -----------------------------------------------------------------------------------

    def start(self, ready=True):
        """Starts (again) with the folder as it is."""
        environment = dict(os.environ, **self.environment)
        self.process = proc.start(
            [self.binary or program("postern"), "-c", self.config_path], files_max=self.files_max,
            as_user=self.as_user, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, env=environment)
        self.status = None
        self.started = len(self.events)
        self.reader = threading.Thread(target=self._read_log, args=(self.process,), daemon=True)
        self.reader.start()
        if ready:
            self.wait("ready", since=self.started, seconds=READY_SECONDS)

    def _read_log(self, process):
        for raw in process.stderr:
            if self.forgetful and raw.startswith(_MANY):
                continue
            line = raw.decode("utf-8", "backslashreplace").rstrip("\n")
            try:
                event = logline.parse(line)
            except ValueError as error:
                event = {"event": "malformed", "why": str(error)}
            with self.news:
                self.lines.append(line)
                self.times.append(time.monotonic())
                self.events.append(event)
                self._follow(event or {})
                self.news.notify_all()
        process.stderr.close()
        with self.news:
            self.lines.append("(end of log)")
            self.times.append(time.monotonic())
            self.events.append({"event": "end-of-log"})
            self.news.notify_all()

    def _follow(self, event):
        """Keeps count of who waits for which message."""
        if event.get("event") == "message" and event.get("result") == "queued":
            left = self.undelivered.get(event["queue_id"], 0) + int(event["nrcpt"])
        elif event.get("event") in ("dsn", "dsn_refused"):      # logged before what it is about
            left = self.undelivered.get(event["id"], 0) + (1 if event["event"] == "dsn" else -1)
        elif event.get("event") == "delivery" and event.get("result") != "deferred":
            left = self.undelivered.get(event["id"], 0) - int(event["recipients"])
        else:
            return
        self.undelivered[event.get("queue_id") or event["id"]] = left

    def mark(self):
        """A place in the log, for `since=`."""
        return len(self.events)

    def wait_for(self, condition, seconds=EVENT_SECONDS, what="condition"):
        """Waits until `condition()`, looked at after every new log line, is true; returns it."""
        end = time.monotonic() + seconds * tap.SLOW
        with self.news:
            while True:
                found = condition()
                if found:
                    return found
                left = end - time.monotonic()
                if left <= 0:
                    raise tap.Failed(f"no {what} in the log within {seconds * tap.SLOW:g} s")
                if self.ended():
                    raise tap.Failed(f"the gateway ended before {what}")
                self.news.wait(left)

    def ended(self):
        """Has the log of the process ended?"""
        return bool(self.find("end-of-log", self.started))

    def until(self, condition, what, seconds=EVENT_SECONDS):
        """Waits for something that no line of the log tells: looks again and again; returns it."""
        end = time.monotonic() + seconds * tap.SLOW
        while not (found := condition()):
            tap.check(time.monotonic() < end, f"no {what} within {seconds * tap.SLOW:g} s")
            self.wait_line(0.1)
        return found

    def wait_line(self, seconds):
        """Waits for one more line of the log, or so long."""
        with self.news:
            self.news.wait(seconds)

    def find(self, name, since=0, **pairs):
        return [event for event in self.events[since:] if event and event["event"] == name
                and all(event.get(key) == value for key, value in pairs.items())]

    def wait(self, name, since=0, seconds=EVENT_SECONDS, **pairs):
        """The first event of that name with these pairs."""
        return self.wait_for(lambda: self.find(name, since, **pairs), seconds,
                             f"event={name} {pairs}")[0]

    def session(self, client, seconds=EVENT_SECONDS):
        """The line that a connection's end left. Ports come again: older lines do not count."""
        def ended():
            return [event for event, at in zip(self.events, self.times) if at >= client.created
                    and event and event["event"] == "session"
                    and event["peer"] == client.peer_name]
        return self.wait_for(ended, seconds, f"event=session of {client.peer_name}")[0]

    def delivered(self, seconds=EVENT_SECONDS):
        """Waits until whatever was queued, by the log or by our own clients, is delivered."""
        def done():
            known = self.undelivered
            return (all(number in known for number in smtp.queued(self.ports, self.born))
                    and all(left <= 0 for left in known.values()))
        self.wait_for(done, seconds, "delivery of everything queued")

    def deliveries(self, number, since=0, **pairs):
        """The log lines of a message's tries."""
        return self.find("delivery", since, id=number, **pairs)

    def messages(self, session):
        return self.find("message", session=session["id"])

    def signal(self, number):
        self.process.send_signal(number)

    def join(self, seconds=STOP_SECONDS):
        """Waits for the process to end; its exit status."""
        self.status = self.process.wait(seconds * tap.SLOW)
        self.wait_for(self.ended, 5, "end of the log")
        return self.status

    def running(self):
        return bool(self.process) and self.process.poll() is None

    def stop(self):
        if self.running():
            self.signal(signal.SIGTERM)
        return self.join()

    def kill(self):
        """kill -9 for all its processes at once."""
        for pid in proc.family(self.process.pid):
            proc.kill(pid, signal.SIGKILL)
        self.fault_expected = True
        self.process.wait(20)
        self.reader.join(20)

    def worker(self):
        """The pid of the process that serves: the parent's newest child."""
        found = proc.children(self.process.pid)
        if not found:
            raise tap.Failed("the gateway has no child process")
        return found[-1]

    # -- looking at it --------------------------------------------------------------------------

    def client(self, **options):
        return smtp.Client(self.port, **options)

    def control(self, *arguments):
        socket_path = os.path.join(self.folder, self.values()["control_socket"])
        return proc.run([program("posternctl"), "-s", socket_path, *arguments], seconds=20)

    def metrics(self):
        """Prometheus text as {"name{labels}": number}."""
        done = self.control("metrics")
        if done.returncode != 0:
            raise tap.Failed(f"posternctl metrics: {done.returncode} {done.stderr.decode()}")
        values = {}
        for line in done.stdout.decode().splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                values[name] = float(value)
        return values

    def control_json(self, *arguments):
        done = self.control("--json", *arguments)
        if done.returncode != 0:
            raise tap.Failed(f"posternctl --json: {done.returncode} {done.stderr.decode()}")
        return json.loads(done.stdout)

    def read(self, address):
        self.delivered()
        return maildir.read(self.mail, address)

    def files(self, sub="new"):
        """Paths of all files in any Maildir."""
        self.delivered()
        return list(maildir.walk(self.mail, sub))

    def clear(self):
        """Empties the Maildirs; nothing that was sent before comes later."""
        self.delivered()
        maildir.clear(self.mail)

    def queue(self, *arguments):
        """The answer of `posternctl queue`, as JSON; also where nothing matches."""
        done = self.control("--json", "queue", *arguments)
        if done.returncode not in (0, 4):
            raise tap.Failed(f"posternctl queue {arguments}: {done.returncode} {done.stderr!r}")
        return json.loads(done.stdout)

    def queued(self):
        """How many messages are in the queue."""
        return self.queue("count")["matched"]

    def broken(self):
        """What no fault from outside excuses: a failed assertion, a sanitiser's report."""
        found = [line for line in self.lines if _BROKEN.search(line)]
        return f"log line: {found[0]}" if found else None

    def complaint(self):
        """What is wrong with how this gateway ran, or None."""
        if self.fault_expected:
            return self.broken()
        for line, event in zip(self.lines, self.events):
            if _BAD.search(line) or (event or {}).get("event") == "malformed":
                return f"log line: {line}"
        if self.status not in (0, None):
            return f"exit status {self.status}; last lines: {self.lines[-6:]}"
        return None


def render(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "{ " + ", ".join(render(one) for one in value) + " }"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


def program(name):
    path = os.path.join(proc.build(), name)
    if not os.access(path, os.X_OK):
        raise tap.Failed(f"{path} is not built")
    return path


def shared(settings=None, **options):
    """The gateway with these settings, started at its first use. Rings count as locked memory of
    one user, so only the last ones used go on running."""
    key = json.dumps([settings or {}, options], sort_keys=True)
    gateway = _shared.pop(key, None)
    if gateway is None or not gateway.running():
        running = [one for one in _shared.values() if one.running()]
        for one in running[:-SHARED_MAX + 1]:
            one.stop()
        gateway = Gateway(settings, **options)
    _shared[key] = gateway
    return gateway


def check_config(text, folder, *flags):
    """`postern -t -c` on a configuration of that text, or with other flags."""
    path = os.path.join(folder, "checked.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return proc.run([program("postern"), *(flags or ("-t", "-c")), path], seconds=20)


def end_running():
    """Ends what still runs; how it ended is looked at by `check_all`. One that does not end within
    its time is left to that, too."""
    running = [gateway for gateway in _all if gateway.running()]
    for gateway in running:
        gateway.signal(signal.SIGTERM)
    for gateway in running:
        try:
            gateway.join()
        except (subprocess.TimeoutExpired, tap.Failed):
            pass


def check_all():
    """Stops what still runs; any complaint fails."""
    for gateway in _all:
        if gateway.running():
            gateway.stop()
    complaints = [c for c in (gateway.complaint() for gateway in _all) if c]
    if complaints:
        raise tap.Failed("; ".join(complaints))


def _kill_all():
    for gateway in _all:
        if gateway.running():
            gateway.kill()


def newest_log():
    """Lines for a reader who asks why."""
    for gateway in _all[-1:] + [g for g in _shared.values() if g is not _all[-1]][-2:]:
        yield f"log of the gateway in {gateway.folder} ({gateway.values()['hostname']}), newest:"
        for line in gateway.lines[-LOG_LINES_SHOWN:]:
            yield "    " + line[:600]


def watch():
    """To be called once by every suite that starts gateways."""
    tap.at_exit(_kill_all)
    tap.on_failure(lambda: newest_log() if _all else ())
    tap.final_check("every gateway ended with status 0, no sanitiser report, no failed assertion, "
                    "no malformed log line", check_all, 120)

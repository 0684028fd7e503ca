# SPDX-License-Identifier: MIT
"""What the crash suites share: senders that keep a ledger, a next hop that counts, and the
reckoning.

Job: several connections send messages of odd sizes, each to some mailboxes that are delivered to a
Maildir and to some at a next hop, a few to a next hop that is down until the end, while the gateway
dies. At the end every message that was answered 250 must be in every place at least once, byte for
byte, and nothing may be anywhere that was not sent whole. A copy too many is allowed only from the
documented window: the next hop had answered, and the attempt was not on disk when the gateway died.
That is read from the segments after each death: how long the window is depends on the machine.

Invariants: a message is sent once and never again, so that every copy too many is the gateway's; a
life ends once all its processes and all its connections have, so that each copy is of one life.
"""

import hashlib
import os
import random
import re
import signal
import threading
import time

from . import gateway, maildir, nexthop, proc, segment, smtp, tap

SIZES = (0, 10, 500, 3000, 9000, 15000, 20000, 70000, 300000)
# Segments and streams as small as may be, so that there are many of them.
SMALL = {"spool.durability": "full", "spool.segment_bytes": 65536, "spool.stream_bytes": 16384,
         "spool.free_bytes_min": 0, "relay.retry_seconds_min": 1, "relay.retry_seconds_max": 1,
         "smtp.messages_max": 100000, "smtp.errors_max": 10000}
BOXES = [f"box{n}@any.example" for n in range(3)]
USERS = [f"user{n}@hop.example" for n in range(3)]
LATE = "late@late.example"
LATE_SHARE = 0.04       # what waits long has to be moved on from old segments
MARK = re.compile(rb"X-Id: (\S+)\r\n")
QUEUE_ID = re.compile(rb"\bid ([0-9A-F]{16})\b")


def digest(data):
    return hashlib.sha256(data).digest()


class Ledger:
    """What was sent, and how each was answered."""

    def __init__(self):
        self.lock = threading.Lock()
        self.sent = {}          # mark: (digest, recipients)
        self.acknowledged, self.refused = set(), set()


class Life:
    """From a start to a death. `left` is who then waited for what by the segments; `alone`: how
    often the worker process died by itself meanwhile and was started again."""

    def __init__(self):
        self.left, self.alone = None, 0


class Store(nexthop.NextHop):
    """A next hop by LMTP that keeps marks, digests, queue ids and lives only."""

    def __init__(self, opened=True):
        self.copies = {}        # (mark, recipient): [(life, digest)]
        self.numbers = {}       # mark: queue id
        self.life = Life()
        super().__init__(lmtp=True, opened=opened)
        self.on("END", self.taken_for)

    def keep(self, message):
        trace, text = maildir.received(message.data)
        message.seen = digest(text)
        message.mark = MARK.match(text).group(1).decode()
        with self.news:
            self.numbers[message.mark] = QUEUE_ID.search(trace).group(1).decode()
        message.data = b""

    def taken_for(self, session, recipient):
        with self.news:
            message = session.last
            self.copies.setdefault((message.mark, recipient), []).append((self.life, message.seen))


class Sender(threading.Thread):
    """Sends until the connection breaks or `enough` is set."""

    def __init__(self, server, ledger, name, seed, enough):
        super().__init__(daemon=True)
        self.server, self.ledger, self.name_, self.enough = server, ledger, name, enough
        self.rng = random.Random(seed)
        self.wrong = None

    def message(self, number):
        """The message, which starts with its own name."""
        size = self.rng.choice(SIZES)
        mark = f"{self.name_}-{number}"
        head = f"X-Id: {mark}\r\n".encode()
        line = b"%06d %s\r\n" % (self.rng.randrange(10 ** 6), b"k" * self.rng.randrange(70))
        return mark, head + line * (size // len(line))

    def run(self):
        try:
            self.deliver()
        except (OSError, smtp.Closed):
            pass
        except Exception as error:
            self.wrong = error

    def deliver(self):
        over_tls = self.rng.random() < 0.3
        client = smtp.Client(self.server.tls_port if over_tls else self.server.port, timeout=30,
                             implicit=smtp.client_context() if over_tls else None)
        client.ehlo()
        number = 0
        while not self.enough.is_set():
            number += 1
            mark, data = self.message(number)
            everybody = self.rng.sample(BOXES + USERS, self.rng.choice((1, 1, 2, 4)))
            everybody += [LATE] if self.rng.random() < LATE_SHARE else []
            with self.ledger.lock:
                self.ledger.sent[mark] = (digest(data), everybody)
            code = self.transaction(client, data, everybody)
            with self.ledger.lock:
                if code == 250:
                    self.ledger.acknowledged.add(mark)
                elif code in (451, 452):
                    self.ledger.refused.add(mark)
                else:
                    raise tap.Failed(f"{mark}: answered {code}")
        client.close()

    def transaction(self, client, data, everybody):
        reply = client.command(f"MAIL FROM:<{self.name_}@example.net>")
        if reply.code != 250:
            self.server.wait_line(0.05)
            return reply.code
        for one in everybody:
            client.expect(f"RCPT TO:<{one}>", "250 ")
        if self.rng.random() < 0.5:
            reply = client.command("DATA")
            if reply.code == 354:
                client.send(smtp.stuff(data))
                reply = client.reply()
        else:
            half = self.rng.randrange(len(data) + 1)
            client.send(b"BDAT %d\r\n" % half + data[:half])
            reply = client.reply()
            if reply.code == 250:
                reply = client.bdat(data[half:], True)
        if reply.code != 250:
            client.expect("RSET", "250 ")
        return reply.code


class Crash:
    """A gateway that dies, its senders and its next hop."""

    def __init__(self, seed, settings=None, binary=None):
        self.rng = random.Random(seed)
        self.ledger, self.store, self.late = Ledger(), Store(), Store(opened=False)
        self.rounds = self.deaths = 0
        self.server = gateway.Gateway(
            dict(SMALL, **{"policy.relay_domains": ["any.example", "hop.example", "late.example"]},
                 **(settings or {})), binary=binary,
            routes={"box": {"domains": ["any.example"], "next_hops": ["maildir:mail"]},
                    "hop": {"domains": ["hop.example"], "next_hops": [self.store.text],
                            "tls": "none"},
                    "late": {"domains": ["late.example"], "next_hops": [self.late.text],
                             "tls": "none"}},
            recipients=["@any.example", "@hop.example", "@late.example"])
        self.server.fault_expected = True

    def again(self, fault=None, ready=True):
        """Starts it on the same folder, with another number of workers."""
        self.server.settings["workers"] = self.rng.choice((1, 2, 3))
        self.server.settings["workers_all"] = self.rng.choice((True, True, False))
        self.server.write("postern.conf", self.server.config_text())
        self.server.environment = {"POSTERN_FAULT": fault} if fault else {}
        self.server.start(ready)

    def load(self, connections=6):
        """Senders at work; `finish` ends them."""
        self.rounds += 1
        self.enough = threading.Event()
        self.senders = [Sender(self.server, self.ledger, f"r{self.rounds}c{n}", self.rng.random(),
                               self.enough) for n in range(connections)]
        for sender in self.senders:
            sender.start()

    def working(self):
        return any(sender.is_alive() for sender in self.senders)

    def until(self, acknowledged, done=lambda: False, seconds=30):
        """Waits for so many more to be answered 250, for `done()`, or for the senders' end. There
        must be one more within each `seconds`."""
        before = len(self.ledger.acknowledged)
        target, end = before + acknowledged, time.monotonic() + seconds * tap.SLOW
        while len(self.ledger.acknowledged) < target and self.working() and not done():
            if len(self.ledger.acknowledged) > before:
                before, end = len(self.ledger.acknowledged), time.monotonic() + seconds * tap.SLOW
            tap.check(time.monotonic() < end, "the load makes no progress")
            self.broken()
            self.senders[0].join(0.002)
            self.server.wait_line(0.002)

    def broken(self):
        wrong = [sender.wrong for sender in self.senders if sender.wrong]
        tap.check(not wrong, f"{wrong}")

    def finish(self):
        self.enough.set()
        for sender in self.senders:
            sender.join(40)
            tap.check(not sender.is_alive(), "a connection outlived the gateway")
        self.broken()

    def kill(self):
        """All its processes at once."""
        self.server.kill()
        self.finish()
        self.over()

    def kill_worker(self):
        """The worker process only. Its parent is stopped meanwhile, so that the next one starts
        when this life is over."""
        old = self.server.worker()
        self.server.signal(signal.SIGSTOP)
        try:
            proc.kill(old)
            self.server.until(lambda: old not in proc.children(self.server.process.pid),
                              "end of the worker process")
            self.finish()
            self.over()
        finally:
            self.server.signal(signal.SIGCONT)

    def over(self):
        """The end of a life."""
        for store in (self.store, self.late):   # what is on its way is taken, too
            store.wait_for(lambda one=store: not one.alive(), "the end of the connections")
        self.store.life.left = segment.pending(self.server.spool)
        self.deaths += 1 + self.store.life.alone
        self.store.life = Life()

    def settle(self, seconds=60):
        """Waits until the queue is empty."""
        self.server.until(lambda: not self.server.queued(), "empty queue", seconds)

    # -- the reckoning --------------------------------------------------------------------------

    def boxes(self):
        """{(mark, box): [digest, ...]} of the Maildirs."""
        found = {}
        for path in maildir.walk(self.server.mail):
            with open(path, "rb") as file:
                content = maildir.message(file.read())
            mark = MARK.match(content)
            tap.check(mark, f"{path}: not a message of ours: {content[:60]!r}")
            local = os.path.relpath(path, self.server.mail).split(os.sep)[1]
            found.setdefault((mark.group(1).decode(), f"{local}@any.example"), []).append(
                digest(content))
        return found

    def reckon(self):
        """Raises at the first thing that is wrong; the numbers of copies and of doubles."""
        places = {key: [seen for _, seen in copies] for store in (self.store, self.late)
                  for key, copies in store.copies.items()}
        boxes = self.boxes()
        places.update(boxes)
        sent = self.ledger.sent
        for (mark, recipient), seen in places.items():
            tap.check(mark in sent and recipient in sent[mark][1], f"{mark} was never sent there")
            tap.check(set(seen) == {sent[mark][0]}, f"{mark} is damaged at {recipient}")
        for mark in sorted(self.ledger.acknowledged):
            for recipient in sent[mark][1]:
                tap.check((mark, recipient) in places,
                          f"{mark} was answered 250 and is not at {recipient}")
        for (mark, box), seen in boxes.items():
            tap.equal(len(seen), 1, f"copies of {mark} in {box}")
        return sum(map(len, places.values())), self.doubles()

    def doubles(self):
        """Copies too many at the next hop: each must have been under way at a death."""
        count = 0
        for (mark, recipient), copies in self.store.copies.items():
            count += len(copies) - 1
            lives = [life for life, _ in copies]
            for life in lives[:-1]:
                tap.check(lives.count(life) <= 1 + life.alone,
                          f"{mark} came to {recipient} again though nothing died")
                tap.check(life is lives[-1] or self.waited(life, mark, recipient),
                          f"{mark} came to {recipient}, that was on disk, and it came again")
        return count

    def waited(self, life, mark, recipient):
        """Was it, by the segments, still to be delivered when that life ended?"""
        return recipient in life.left.get(self.store.numbers[mark], ())

    def recorded(self, life):
        """How many copies of that life are on disk as delivered, and how many are not; those whose
        segment has gone are neither."""
        waited = [self.waited(life, mark, recipient)
                  for (mark, recipient), copies in self.store.copies.items()
                  if self.store.numbers[mark] in life.left
                  and any(one is life for one, _ in copies)]
        return waited.count(False), waited.count(True)

    def clean(self):
        """Nothing was set aside, nothing is left in the spool."""
        tap.equal(self.server.find("spool_damage"), [], "damage found at a start")
        aside = os.path.join(self.server.spool, "aside")
        tap.equal(os.listdir(aside) if os.path.isdir(aside) else [], [], "files set aside")
        large = os.path.join(self.server.spool, "large")
        tap.equal(os.listdir(large) if os.path.isdir(large) else [], [], "large files left")

    def end(self):
        """The last start: everything arrives, the books are right, the spool is clean."""
        self.late.open()
        self.again()
        self.settle()
        copies, doubles = self.reckon()
        with self.server.client() as client:
            client.ehlo()
            data = b"X-Id: after\r\n"
            self.ledger.sent["after"] = (digest(data), [BOXES[0]])
            tap.equal(client.deliver("s@example.net", [BOXES[0]], data).code, 250)
            client.quit()
        self.settle()
        tap.equal(self.server.stop(), 0, "exit status")
        self.clean()
        known = self.ledger
        print(f"# {self.deaths} ends of a process, {len(known.sent)} sent, "
              f"{len(known.acknowledged)} answered 250, {len(known.refused)} refused, "
              f"{copies} copies, {doubles} doubles",
              flush=True)


def faults_build():
    """The gateway with fault points compiled in."""
    path = os.path.join(proc.root(), os.environ.get("FAULTS_BUILD", "build/faults"), "postern")
    if not os.access(path, os.X_OK):
        raise tap.Failed(f"{path} is not built: make SAN=faults")
    return path

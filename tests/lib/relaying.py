# SPDX-License-Identifier: MIT
"""What the relay's suites share: a gateway with next hops behind it, and mail for them.

Job: routes for next hops, times short enough for tests, one transaction with its parameters, what
came of a message. Mail to example.net goes to `back`, a next hop of its own, so that bounces are
seen apart.
"""

from . import gateway, maildir, nexthop, smtp, tap

# Short times: what waits is waited for. A next hop on a slow machine has as much more time to answer.
FAST = {"workers": 1, "relay.retry_seconds_min": 1, "relay.retry_seconds_max": 2,
        **{f"relay.{what}_seconds": round(seconds * tap.SLOW)
           for what, seconds in (("connect", 2), ("reply", 3), ("final", 4))}}
SENDER = "sender@example.net"
TEXT = b"Subject: x\r\nFrom: sender@example.net\r\n\r\nhello\r\n.dots\r\n..\r\n"


class Relaying(gateway.Gateway):
    """`routes` is {domain: next hops (NextHop or text)} or {domain: (next hops, {key: value})}."""

    def __init__(self, routes, settings=None, **options):
        self.back = nexthop.NextHop()
        made = {"back": {"domains": ["example.net"], "next_hops": [self.back.text], "tls": "none"}}
        for domain, given in routes.items():
            hops, keys = given if isinstance(given, tuple) else (given, {})
            texts = [getattr(hop, "text", hop) for hop in hops]
            made[domain] = dict({"domains": [domain], "next_hops": texts}, **keys)
        domains = [domain for domain in routes if domain != "*"] + ["example.net"]
        options.setdefault("recipients", None)
        super().__init__({**FAST, "policy.relay_domains": domains, **(settings or {})},
                         routes=made, **options)

    def submit(self, recipients, message=TEXT, sender=SENDER, mail="", rcpt=""):
        return submit(self, recipients, message, sender, mail, rcpt)

    def outcome(self, number, result="delivered", since=0, seconds=30, **pairs):
        """The first line of a try of that message with this result."""
        return self.wait("delivery", since, seconds, id=number, result=result, **pairs)

    def gone(self, number, seconds=30):
        """Waits until nobody waits for that message any more."""
        self.wait_for(lambda: self.undelivered.get(number, 1) <= 0, seconds,
                      f"end of message {number}")

    def reports(self, count=1, seconds=30):
        """The messages that came to example.net, at least so many."""
        return self.back.wait_taken(count, seconds=seconds)


def submit(server, recipients, message=TEXT, sender=SENDER, mail="", rcpt=""):
    """One message; its queue id. `rcpt`: parameters of every recipient, or one of each."""
    with server.client() as client:
        client.ehlo()
        number = send(client, recipients, message, sender, mail, rcpt)
        client.quit()
    return number


def envelope(client, recipients, sender=SENDER, mail="", rcpt=""):
    client.expect(f"MAIL FROM:<{sender}>{' ' + mail if mail else ''}", "250 ")
    for number, recipient in enumerate(recipients):
        words = rcpt if isinstance(rcpt, str) else rcpt[number]
        client.expect(f"RCPT TO:<{recipient}>{' ' + words if words else ''}", "250 ")


def send(client, recipients, message=TEXT, sender=SENDER, mail="", rcpt=""):
    envelope(client, recipients, sender, mail, rcpt)
    client.expect("DATA", "354 ")
    client.send(smtp.stuff(message))
    reply = client.reply()
    tap.check(reply.text.startswith("250 2.0.0 ") and "queued as" in reply.text, f"{reply}")
    return client.queue_id


def body(message):
    """What the sender sent, of a message that a next hop has."""
    return maildir.received(message.data)[1]


def watch(keep=False):
    """Unless a suite keeps them, a test's gateways end with it: the rings of all that run count as
    locked memory of one user (kernel-notes/ring-memory.md)."""
    nexthop.watch()
    gateway.watch()
    if not keep:
        tap.on_end(gateway.end_running)

# SPDX-License-Identifier: MIT
"""What the suites of the disk share: one transaction, and a gateway that keeps what it takes."""

from . import gateway, maildir, nexthop, smtp

SOON = {"relay.retry_seconds_min": 1, "relay.retry_seconds_max": 1}


def transaction(client, message, address="a@example.org", chunk=0):
    """The last reply of one message by DATA, or by BDAT in chunks."""
    reply = client.command("MAIL FROM:<s@example.net>")
    if reply.code != 250:
        return reply
    client.expect(f"RCPT TO:<{address}>", "250 ")
    if not chunk:
        client.expect("DATA", "354 ")
        client.send(smtp.stuff(message))
        return client.reply()
    for start in range(0, len(message), chunk):
        last = start + chunk >= len(message)
        reply = client.bdat(message[start:start + chunk], last)
        if reply.code != 250 or last:
            return reply


class Stalled(gateway.Gateway):
    """A gateway whose next hop is down, so that what it takes stays in the spool."""

    def __init__(self, settings=None, **options):
        self.hop = nexthop.NextHop(opened=False)
        super().__init__(dict(SOON, **(settings or {})), routes={
            "hop": {"domains": ["*"], "next_hops": [self.hop.text], "tls": "none"}}, **options)

    def arrived(self):
        """Lets everything go; what the next hop has got, without our trace lines."""
        self.hop.open()
        self.delivered(60)
        return [maildir.received(message.data)[1] for message in self.hop.taken()]

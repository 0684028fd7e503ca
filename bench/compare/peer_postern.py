# SPDX-License-Identifier: MIT
"""Postern as a peer. Its defaults, but for what a single source may do; the fence is on, and counts."""

import os
import subprocess

import peer
import rig as rig_
from rig import proc

WIDE = "1000000000/1000000000"
CONFIG = """hostname = "{hostname}"
user = "nobody"
control_socket = "s"
listener "smtp" {{ address = "127.0.0.1" port = {port} }}
certificate "default" {{ chain = "{chain}" key = "{key}" }}
tls {{ ticket_keys = "tickets.key" }}
smtp {{ messages_max = 1000000 message_bytes_max = 67108864 }}
policy {{ relay_domains = {{ "{domain}" }} sessions_max = 200000 sessions_per_address_max = 200000 }}
spool {{ directory = "spool" }}
route "store" {{ domains = {{ "*" }} next_hops = {{ "lmtp:127.0.0.1:{sink}" }} }}
fence {{ allow = {{}} connections_open = 0 connections_open_all = 0
	handshakes_open = 0 handshakes_open_all = 0
{budgets} }}
"""
BUDGETS = ("connections", "handshakes", "plain_bytes", "plain_packets", "upgraded_bytes")


class Peer(peer.Base):
    name, title = "postern", "Postern"
    chunking = True
    idle_max = 20_000
    durable = ("250 after fdatasync of the spool's log; messages that come in together share one "
               "(durability = full, the default)")
    tuning = (
        "defaults (one worker a CPU, fence and log on), except:",
        "fence: loopback is not exempt, and all budgets are wide, so that everything is counted and "
        "nothing is refused",
        "sessions_max and sessions_per_address_max raised: all load comes from one address",
        "message_bytes_max 64 MiB, messages_max raised")

    def require(self):
        rig_.program("postern")

    def version(self):
        return rig_.output([rig_.program("postern"), "-V"]).splitlines()[0]

    def configure(self):
        os.chown(self.folder, *proc.unprivileged())
        budgets = "".join(f'\t{name} = "{WIDE}"\n\t{name}_all = "{WIDE}"\n' for name in BUDGETS)
        self.write(CONFIG.format(hostname=rig_.HOSTNAME, domain=rig_.DOMAIN, port=self.port,
                                 chain=self.rig.chain, key=self.rig.key, sink=self.rig.sink_port,
                                 budgets=budgets), "postern.conf")

    def command(self):
        return [rig_.program("postern"), "-c", os.path.join(self.folder, "postern.conf")]

    def control(self, *arguments):
        return subprocess.run([rig_.program("posternctl"), "-s", os.path.join(self.folder, "s"),
                               *arguments], capture_output=True, timeout=60, check=False)

    def queued(self):
        done = self.control("metrics")
        for line in done.stdout.decode().splitlines():
            if line.startswith("postern_spool_messages "):
                return int(float(line.split()[1]))
        raise rig_.Wrong(f"posternctl metrics: {done.stderr.decode().strip()}")

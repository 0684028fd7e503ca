# SPDX-License-Identifier: MIT
"""Exim as a peer: Debian's exim4-daemon-light, in a root folder of its own."""

import os

import peer
import private
import rig as rig_

CONFIG = """primary_hostname = {hostname}
domainlist relay_to_domains = {domain}
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
tls_advertise_hosts = *
tls_certificate = /etc/cert.pem
tls_privatekey = /etc/cert.key
tls_resumption_hosts = *
host_lookup =
dns_dnssec_ok = 0
rfc1413_query_timeout = 0s
message_size_limit = 64M
smtp_accept_max = 500
smtp_accept_max_per_connection = 1000000
smtp_accept_queue = 0
smtp_accept_queue_per_connection = 0
smtp_accept_reserve = 0
smtp_connect_backlog = 1024
queue_run_max = 8
split_spool_directory = true
keep_environment =
log_selector = -all_parents
acl_smtp_rcpt = rcpt

begin acl
rcpt:
  accept domains = +relay_to_domains
  deny message = relay not permitted

begin routers
store:
  driver = manualroute
  domains = +relay_to_domains
  transport = lmtp
  route_list = * 127.0.0.1
  self = send

begin transports
lmtp:
  driver = smtp
  protocol = lmtp
  port = {sink}
  allow_localhost
  hosts_avoid_tls = *

begin retry
* * F,1h,5s
"""


class Peer(private.Private):
    name, title = "exim", "Exim"
    program = "/usr/sbin/exim4"
    accounts = {"Debian-exim": "/var/spool/exim4"}
    chunking = True
    idle_max = 200
    durable = "250 after fsync of the message's data file and header file; 4 syncs a message in all"
    tuning = (
        "smtp_accept_max 500 (20); no limit of messages a connection that are delivered at once "
        "(smtp_accept_queue_per_connection 0; else those after the 10th would wait for a queue run)",
        "split_spool_directory, a queue runner every 5 s for what is deferred, 8 of them at a time",
        "no lookup of clients' names, no ident; session tickets (tls_resumption_hosts)",
        "delivery in a process of its own for each message, at once (the default)")

    def version(self):
        text = rig_.output(["dpkg-deb", "-f", self.package(), "Version"])
        return f"Exim {text} (Debian's exim4-daemon-light, GnuTLS)"

    def package(self):
        folder = os.path.join(rig_.PEERS, self.name, "packages")
        return next(os.path.join(folder, name) for name in os.listdir(folder)
                    if name.startswith("exim4-daemon"))

    def configure(self):
        self.make_root()
        self.folder_for("Debian-exim", "var", "spool", "exim4", mode=0o750)
        self.folder_for("Debian-exim", "var", "log", "exim4", mode=0o750)
        self.folder_for("Debian-exim", "run", "exim4")
        self.put(CONFIG.format(hostname=rig_.HOSTNAME, domain=rig_.DOMAIN, port=self.port,
                               sink=self.rig.sink_port), "etc", "exim4", "exim4.conf")
        os.chown(os.path.join(self.root, "etc", "cert.key"), 0, self.identity("Debian-exim")[1])
        os.chmod(os.path.join(self.root, "etc", "cert.key"), 0o640)

    def command(self):
        return self.inside("/usr/sbin/exim4", "-bdf", "-q5s")

    def queued(self):
        return peer.files_below(os.path.join(self.root, "var", "spool", "exim4", "input"))

    def tail(self):
        text = super().tail()
        for name in ("paniclog", "mainlog"):
            path = os.path.join(self.root, "var", "log", "exim4", name)
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    text += f"{name}:\n" + "".join(file.readlines()[-8:])
        return text

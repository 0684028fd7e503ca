# SPDX-License-Identifier: MIT
"""Postfix as a peer: the system's programs with a configuration, queue and data of their own."""

import grp
import os
import pwd

import peer
import rig as rig_
from lib import postfix as private

MAIN = """compatibility_level = 3.6
queue_directory = {base}/queue
data_directory = {base}/data
command_directory = /usr/sbin
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
maillog_file_prefixes = {base}
maillog_file = {base}/log
myhostname = {hostname}
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
relay_domains = {domain}
relay_recipient_maps =
relay_transport = lmtp:inet:127.0.0.1:{sink}
message_size_limit = 67108864
smtpd_peername_lookup = no
smtpd_tls_security_level = may
smtpd_tls_chain_files = {key}, {chain}
smtpd_tls_protocols = >=TLSv1.2
smtpd_tls_session_cache_database = btree:{base}/data/tls
default_process_limit = 200
default_destination_concurrency_limit = 50
initial_destination_concurrency = 20
lmtp_destination_concurrency_limit = 50
qmgr_message_active_limit = 50000
in_flow_delay = 0
smtpd_error_sleep_time = 0
minimal_backoff_time = 5s
queue_run_delay = 5s
"""


class Peer(peer.Base):
    name, title = "postfix", "Postfix"
    chunking = True
    idle_max = 200
    durable = "250 after fsync of the message's own queue file (cleanup)"
    tuning = (
        "default_process_limit 200 (100), so that no client waits for a process",
        "in_flow_delay 0 (1 s): no pauses for the sake of the queue manager",
        "50 deliveries at a time (20), starting with 20 (5); connections to the next hop are cached "
        "on demand (the default)",
        "no lookup of clients' names; session tickets and a session cache",
        "log to a file through postlogd")

    def require(self):
        if not os.access(f"{private.DAEMONS}/master", os.X_OK):
            raise rig_.Missing("Postfix is not installed: apt-get install postfix (tools/deps.sh)")

    def version(self):
        return "Postfix " + rig_.output(["postconf", "-d", "-h", "mail_version"])

    def configure(self):
        for name in ("etc", "queue", "data"):
            os.makedirs(os.path.join(self.folder, name))
        self.write(MAIN.format(base=self.folder, daemons=private.DAEMONS, domain=rig_.DOMAIN,
                               hostname=rig_.HOSTNAME, sink=self.rig.sink_port,
                               chain=self.rig.chain, key=self.rig.key), "etc", "main.cf")
        self.write(private.MASTER.format(port=self.port) + "lmtp unix - - n - - lmtp\n",
                   "etc", "master.cf")
        owner, drop = pwd.getpwnam("postfix"), grp.getgrnam("postdrop").gr_gid
        os.chown(os.path.join(self.folder, "data"), owner.pw_uid, owner.pw_gid)
        for name in private.QUEUES:
            path = os.path.join(self.folder, "queue", name)
            os.mkdir(path)
            os.chown(path, 0 if name == "pid" else owner.pw_uid, drop if name == "public" else 0)
            os.chmod(path, 0o710 if name == "public" else 0o755 if name == "pid" else 0o700)

    def command(self):
        return [f"{private.DAEMONS}/master", "-c", f"{self.folder}/etc", "-d"]

    def queued(self):
        return peer.files_below(*(os.path.join(self.folder, "queue", name) for name in
                                  ("incoming", "active", "deferred", "corrupt")))

# SPDX-License-Identifier: MIT
"""OpenSMTPD as a peer: Debian's package, in a root folder of its own.

In plaintext only: Debian 12's version keeps the key in a process of its own by an interface that
OpenSSL 3 no longer has, so that every handshake fails with "missing private key", whatever the key.
"""

import os

import peer
import private
import rig as rig_

CONFIG = """pki bench cert "/etc/cert.pem"
pki bench key "/etc/cert.key"
smtp max-message-size "64M"
smtp limit max-mails 1000000
smtp limit max-rcpt 1000000
mta max-deferred 100000
mta limit max-conn-per-host 50
mta limit max-conn-per-route 50
mta limit max-conn-per-source 500
mta limit max-conn-per-connector 500
mta limit max-conn-per-relay 500
mta limit max-conn-per-domain 500
mta limit conn-delay-host 0
mta limit conn-delay-source 0
mta limit conn-delay-connector 0
mta limit conn-delay-relay 0
mta limit conn-delay-domain 0
mta limit session-mail-max 1000
mta limit session-transaction-delay 0
mta limit task-hiwat 5000
mta limit task-lowat 3000
mta limit task-release 1000
scheduler limit max-inflight 50000
scheduler limit max-schedule 1000
scheduler limit max-evp-batch-size 1024
scheduler limit max-msg-batch-size 1024
queue ttl 1d
listen on 127.0.0.1 port {port} tls pki bench hostname "{hostname}"
action "store" relay host "lmtp://127.0.0.1:{sink}"
match from any for domain "{domain}" action "store"
"""


class Peer(private.Private):
    name, title = "opensmtpd", "OpenSMTPD"
    program = "/usr/sbin/smtpd"
    accounts = {"opensmtpd": "/var/lib/opensmtpd/empty", "opensmtpq": "/var/lib/opensmtpd/empty"}
    tls = False
    idle_max = 1000
    messages_max = 300          # it relays some 50 a second: more would only wait
    pipelining = False
    concurrency_max = 5         # its listen backlog, compiled in: beyond it SYNs wait for seconds
    durable = ("250 after the message's files are written and renamed; none is synced (strace): a "
               "power failure can lose what was answered 250")
    note = ("left out wherever there is TLS: this version's handshakes all fail with OpenSSL 3 "
            "(\"missing private key\", whatever the kind of key)")
    tuning = (
        "max-mails and max-rcpt a session raised; 50 connections to the next hop, no pauses between "
        "connections or messages, larger batches of the scheduler",
        "no DNS to ask, no filters; log to a file")

    def version(self):
        return rig_.output([self.files + self.program, "-h"]).splitlines()[0].partition(": ")[2]

    def configure(self):
        self.make_root()
        self.folder_for(None, "var", "lib", "opensmtpd", "empty")
        self.folder_for(None, "var", "spool", "smtpd", mode=0o711)
        for name in ("corrupt", "incoming", "purge", "queue", "temporary"):
            path = self.folder_for(None, "var", "spool", "smtpd", name, mode=0o700)
            os.chown(path, self.identity("opensmtpq")[0], 0)
        self.folder_for(None, "var", "spool", "smtpd", "offline", mode=0o770)
        os.chown(os.path.join(self.root, "var/spool/smtpd/offline"), 0, self.identity("opensmtpq")[1])
        self.put(f"{rig_.HOSTNAME}\n", "etc", "mailname")
        self.put("", "etc", "aliases")
        os.chmod(os.path.join(self.root, "etc", "cert.key"), 0o600)
        self.put(CONFIG.format(hostname=rig_.HOSTNAME, domain=rig_.DOMAIN, port=self.port,
                               sink=self.rig.sink_port), "etc", "smtpd.conf")

    def command(self):
        return self.inside(self.program, "-d", "-f", "/etc/smtpd.conf")

    def queued(self):
        spool = os.path.join(self.root, "var", "spool", "smtpd")
        return peer.files_below(os.path.join(spool, "incoming"), os.path.join(spool, "queue"))

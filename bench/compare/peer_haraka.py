# SPDX-License-Identifier: MIT
"""Haraka as a peer: from npm, in a folder below build/bench/peers."""

import json
import os
import shutil

import peer
import rig as rig_
from rig import proc

FILES = {
    "smtp.ini": "listen=127.0.0.1:{port}\nnodes=cpus\nuser=nobody\ngroup=nogroup\n",
    "outbound.ini": "concurrency_max=100\nenable_tls=false\nlocal_mx_ok=true\n",
    "tls.ini": "key=tls_key.pem\ncert=tls_cert.pem\n[outbound]\n",
    "log.ini": "[main]\nlevel=notice\n",
    "plugins": "tls\nstore\n",
    "me": "{hostname}\n",
    "databytes": "67108864\n",
    "host_list": "{domain}\n",
}
# Mail for our domain goes through Haraka's own queue on disk to the store.
PLUGIN = """exports.register = function () {{ this.register_hook('rcpt', 'ours') }}
exports.ours = function (next, connection, params) {{
	if (params[0].host.toLowerCase() !== '{domain}') return next(DENY)
	connection.relaying = true
	next(OK)
}}
exports.hook_get_mx = (next) => next(OK, {{
	exchange: '127.0.0.1', priority: 0, port: {sink}, using_lmtp: true }})
"""


class Peer(peer.Base):
    name, title = "haraka", "Haraka"
    idle_max = 2000
    warm_factor = 3             # its engine compiles what runs often
    durable = ("250 after the message's queue file is written and renamed; its source means to sync "
               "the file, but with this node no fsync is called (strace)")
    tuning = (
        "nodes=cpus: one process a CPU, and a master",
        "mail goes through its own (outbound) queue, 100 deliveries at a time; the plugins are tls "
        "and one of 10 lines that takes mail for the domain and names the next hop: none checks "
        "anything else",
        "log level notice: at info, its default, it prints several lines a message")

    def require(self):
        self.package = os.path.join(rig_.PEERS, "haraka", "node_modules", "Haraka")
        if not os.access(os.path.join(self.package, "haraka.js"), os.R_OK):
            raise rig_.Missing("Haraka is not there: bench/compare/install haraka")
        if not shutil.which("node"):
            raise rig_.Missing("Haraka needs node")

    def version(self):
        with open(os.path.join(self.package, "package.json"), encoding="utf-8") as file:
            return f"Haraka {json.load(file)['version']} (node {rig_.output(['node', '--version'])})"

    def configure(self):
        words = {"port": self.port, "sink": self.rig.sink_port, "hostname": rig_.HOSTNAME,
                 "domain": rig_.DOMAIN}
        shutil.copytree(os.path.join(self.package, "config"), os.path.join(self.folder, "config"))
        for name, text in FILES.items():
            self.write(text.format(**words), "config", name)
        self.write(PLUGIN.format(**words), "plugins", "store.js")
        for path, name in ((self.rig.chain, "tls_cert.pem"), (self.rig.key, "tls_key.pem")):
            copy = shutil.copyfile(path, os.path.join(self.folder, "config", name))
            os.chown(copy, *proc.unprivileged())
            os.chmod(copy, 0o600)
        os.mkdir(os.path.join(self.folder, "queue"))
        os.chown(os.path.join(self.folder, "queue"), *proc.unprivileged())

    def command(self):
        return ["node", os.path.join(self.package, "bin", "haraka"), "-c", self.folder]

    def queued(self):
        return peer.files_below(os.path.join(self.folder, "queue"))

# SPDX-License-Identifier: MIT
"""A peer in a root folder of its own: Exim and OpenSMTPD, whose paths and accounts are compiled in.

What is in the folder: etc with the accounts that the server wants, var and run, and the system's /usr
with the unpacked packages over it (private_root). Queue and logs lie on the same disk as the others'.
"""

import os

import peer
import rig as rig_

FIRST_ID = 64200        # of the accounts; nobody else has them, and nothing of them stays


class Private(peer.Base):
    """`program` is where the package has the server; `accounts` are names to home folders."""

    program = ""
    accounts = {}

    def require(self):
        self.files = os.path.join(rig_.PEERS, self.name, "root")
        if not os.access(self.files + self.program, os.X_OK):
            raise rig_.Missing(f"{self.title} is not there: bench/compare/install {self.name}")

    @property
    def root(self):
        return os.path.join(self.folder, "root")

    def identity(self, account):
        number = FIRST_ID + list(self.accounts).index(account)
        return number, number

    def make_root(self):
        """etc, with what name lookups and certificates need."""
        os.makedirs(os.path.join(self.root, "etc"))
        passwd, group = "root:x:0:0::/:/bin/sh\n", "root:x:0:\nmail:x:8:\n"
        for name, home in self.accounts.items():
            number, _ = self.identity(name)
            passwd += f"{name}:x:{number}:{number}::{home}:/usr/sbin/nologin\n"
            group += f"{name}:x:{number}:\n"
        self.put(passwd, "etc", "passwd")
        self.put(group, "etc", "group")
        self.put("passwd: files\ngroup: files\nhosts: files\nservices: files\n",
                 "etc", "nsswitch.conf")
        self.put(f"127.0.0.1 {rig_.HOSTNAME} localhost\n", "etc", "hosts")
        self.put("", "etc", "resolv.conf")
        self.put("smtp 25/tcp\nlmtp 24/tcp\n", "etc", "services")
        for path, name in ((self.rig.chain, "cert.pem"), (self.rig.key, "cert.key")):
            with open(path, encoding="ascii") as file:
                self.put(file.read(), "etc", name)

    def put(self, text, *names, mode=0o644, owner=None):
        path = self.write(text, "root", *names, mode=mode)
        if owner:
            os.chown(path, *owner)

    def folder_for(self, account, *names, mode=0o755):
        path = os.path.join(self.root, *names)
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode)
        if account:
            os.chown(path, *self.identity(account))
        return path

    def inside(self, *arguments):
        """The command that runs a program of the root folder."""
        return [os.path.join(rig_.HERE, "private_root"), self.files, self.root, *arguments]

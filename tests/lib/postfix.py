# SPDX-License-Identifier: MIT
"""A private Postfix: in front of the gateway or behind it.

Job: configuration, queue and data in a temporary folder, free ports; the rest is mta.py's. Needs root
(Postfix does) and the package; else the test is skipped, loudly.
"""

import grp
import os
import pwd

from . import mta, proc, tap

DAEMONS = "/usr/lib/postfix/sbin"
QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming",
          "maildrop", "pid", "private", "public", "saved", "trace")

MAIN = """compatibility_level = 3.6
queue_directory = {base}/queue
data_directory = {base}/data
command_directory = /usr/sbin
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
maillog_file_prefixes = {base}
maillog_file = {base}/log
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
"""

MASTER = """127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
virtual unix - n n - - virtual
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
scache unix - - n - 1 scache
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


def require(role):
    """Skips the test where there can be no Postfix."""
    if os.geteuid() != 0:
        raise tap.Skip(f"not root: Postfix as {role} is not proved")
    if not os.access(f"{DAEMONS}/master", os.X_OK):
        raise tap.Skip(f"postfix is not installed: Postfix as {role} is not proved")


class Postfix(mta.Mta):
    """A Postfix of our own, in a folder of its own. `main` and `master` are lines to add; {base} in
    them is its folder."""

    title = "Postfix"
    started = b"daemon started"

    def __init__(self, main, master=""):
        super().__init__()
        self.port = proc.free_port()
        for name in ("etc", "queue", "data"):
            os.mkdir(os.path.join(self.base, name))
        self.write("etc/main.cf", MAIN.format(base=self.base, daemons=DAEMONS)
                   + main.replace("{base}", self.base))
        self.write("etc/master.cf", MASTER.format(port=self.port) + master)
        self.make_queue()

    def command(self):
        return [f"{DAEMONS}/master", "-c", f"{self.base}/etc", "-d"]

    def make_queue(self):
        """What `postfix check` would make; it insists on a system-wide main.cf."""
        owner, drop = pwd.getpwnam("postfix"), grp.getgrnam("postdrop").gr_gid
        os.chown(os.path.join(self.base, "data"), owner.pw_uid, owner.pw_gid)
        for name in QUEUES:
            path = os.path.join(self.base, "queue", name)
            os.mkdir(path)
            os.chown(path, 0 if name == "pid" else owner.pw_uid, drop if name == "public" else 0)
            os.chmod(path, 0o710 if name == "public" else 0o755 if name == "pid" else 0o700)

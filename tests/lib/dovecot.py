# SPDX-License-Identifier: MIT
"""A private Dovecot: LMTP in, IMAP out.

Job: configuration, users and mail in a temporary folder, free ports (the rest is mta.py's); the
messages of a mailbox read back by IMAP. Needs root (Dovecot does) and the packages; else the test is
skipped, loudly.
"""

import imaplib
import os
import pwd
import re

from . import certs, mta, proc, tap

PASSWORD = "secret"

CONFIG = """protocols = lmtp imap
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log
mail_location = maildir:{base}/mail/%d/%n
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 1
first_valid_gid = 1
disable_plaintext_auth = no
auth_mechanisms = plain
lmtp_save_to_detail_mailbox = no
ssl = yes
ssl_cert = <{base}/dovecot.pem
ssl_key = <{base}/dovecot.key
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {base}/users
}}
userdb {{
  driver = passwd-file
  args = {base}/users
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
  unix_listener {base}/lmtp {{
    mode = 0666
  }}
}}
service imap-login {{
  inet_listener imap {{
    address = 127.0.0.1
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
protocol lmtp {{
  postmaster_address = postmaster@store.example.org
}}
"""


def require():
    """Skips the test where there can be no Dovecot."""
    if os.geteuid() != 0:
        raise tap.Skip("not root: Dovecot as a next hop is not proved")
    for path in ("/usr/sbin/dovecot", "/usr/lib/dovecot/lmtp", "/usr/lib/dovecot/imap"):
        if not os.access(path, os.X_OK):
            raise tap.Skip(f"{path} is not installed: Dovecot as a next hop is not proved")


class Dovecot(mta.Mta):
    title = "Dovecot"
    started = b"starting up"

    def __init__(self, users):
        super().__init__()
        self.port = proc.free_port()
        self.imap_port = proc.free_port()
        account = pwd.getpwnam("nobody")
        for name in ("run", "state", "mail"):
            os.mkdir(os.path.join(self.base, name))
        os.chown(os.path.join(self.base, "mail"), account.pw_uid, account.pw_gid)
        certs.make(self.base, "dovecot", hosts=("store.example.org", "localhost"))
        self.write("users", "".join(f"{user}:{PASSWORD}:::::\n" for user in users))
        self.write("dovecot.conf", CONFIG.format(
            base=self.base, uid=account.pw_uid, gid=account.pw_gid, port=self.port,
            imap=self.imap_port))

    def command(self):
        return ["/usr/sbin/dovecot", "-F", "-c", f"{self.base}/dovecot.conf"]

    def read(self, user):
        """All messages of the user's INBOX, by IMAP."""
        with imaplib.IMAP4("127.0.0.1", self.imap_port, timeout=20 * tap.SLOW) as imap:
            imap.login(user, PASSWORD)
            imap.select("INBOX", readonly=True)
            numbers = imap.search(None, "ALL")[1][0].split()
            return [imap.fetch(number.decode(), "(BODY.PEEK[])")[1][0][1] for number in numbers]


def relayed(stored):
    """(the gateway's trace header, the message) of a stored message, without Dovecot's own."""
    match = re.search(rb"^Received: from [^\r\n]*(?:\r\n[ \t][^\r\n]*)*\bby mx\.example\.org\b"
                      rb"[^\r\n]*(?:\r\n[ \t][^\r\n]*)*\r\n", stored, re.MULTILINE)
    if not match:
        raise tap.Failed(f"no Received line of the gateway: {stored[:400]!r}")
    return match.group(0), stored[match.end():]

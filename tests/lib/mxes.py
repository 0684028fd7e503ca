# SPDX-License-Identifier: MIT
"""Mail hosts of the small Internet, each at port 25 of an address of its own, with an A record.

Job: `Mx` says what a test tells it (nexthop.py); `PostfixMx` is a real Postfix that keeps mail in
Maildirs; `PosternMx` is the gateway. Each has a certificate of a chosen kind for its name
(authority.py), `tlsa()` makes the records for it.
"""

import os
import pwd
import re
import time

from . import authority, gateway, nexthop, postfix, proc, tap

POSTFIX_MAIN = """myhostname = NAME
smtpd_tls_security_level = may
smtpd_tls_chain_files = {base}/etc/mx.key, {base}/etc/mx.pem
smtpd_tls_received_header = yes
smtpd_relay_restrictions = reject_unauth_destination
virtual_mailbox_domains = DOMAINS
virtual_mailbox_base = {base}/mail
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:UID
virtual_gid_maps = static:GID
"""


class _Certified:
    """What all have in common."""

    def certify(self, net, name, host, kind, names=None, certificate=None):
        self.name, self.host, self.certificate = name, host, certificate
        if kind and not certificate:
            self.certificate = net.authority.issue(*(names or [name]), kind=kind)
        net.zones.set(name, ("A", host))

    def tlsa(self, *numbers, **options):
        """The data of a TLSA record for our certificate."""
        return self.certificate.tlsa(*numbers, **options)


class Mx(nexthop.NextHop, _Certified):
    """`kind` None: no STARTTLS. `names`: those in the certificate, else our own; `certificate`:
    one that is there already."""

    def __init__(self, net, name, kind=authority.GOOD, names=None, certificate=None):
        self.certify(net, name, net.address(), kind, names, certificate)
        super().__init__(host=self.host, port=25,
                         tls=self.certificate.context() if self.certificate else None)

    @property
    def asked_names(self):
        """The server names (SNI) that clients asked for, in order; None where they did not."""
        return list(self.tls.names) if self.tls else []

    def took_by_tls(self):
        """Did every message that was taken come by TLS?"""
        return all(message.session.tls for message in self.taken())


class PostfixMx(postfix.Postfix, _Certified):
    """Takes mail for any mailbox of the domains."""

    def __init__(self, net, name, domains, kind=authority.GOOD):
        postfix.require("an MX")
        self.certify(net, name, net.address(), kind)
        account = pwd.getpwnam("nobody")
        main = POSTFIX_MAIN.replace("NAME", name).replace("DOMAINS", " ".join(domains))
        main = main.replace("UID", str(account.pw_uid)).replace("GID", str(account.pw_gid))
        super().__init__(main, f"{self.host}:25 inet n - n - - smtpd\n")
        for end, path in (("pem", self.certificate.chain), ("key", self.certificate.key)):
            with open(path, encoding="ascii") as file:
                self.write(f"etc/mx.{end}", file.read())
        os.mkdir(os.path.join(self.base, "mail"))
        os.chown(os.path.join(self.base, "mail"), account.pw_uid, account.pw_gid)
        self.start()

    def messages(self, count=1, seconds=20):
        """What is in the Maildir that all mailboxes share, once it is so much."""
        folder = os.path.join(self.base, "mail", "all", "new")
        end = time.monotonic() + seconds * tap.SLOW
        while len(names := os.listdir(folder) if os.path.isdir(folder) else []) < count:
            tap.check(time.monotonic() < end, f"{count} messages did not come to {self.name}")
            time.sleep(0.05)    # Postfix tells us nothing
        found = []
        for name in sorted(names):
            with open(os.path.join(folder, name), "rb") as file:
                found.append(file.read())
        return found


class PosternMx(gateway.Gateway, _Certified):
    """The gateway as an MX: it takes mail for the domains into Maildirs. `sts` is {domain: {key:
    value}}, the policies that it publishes itself, at port 443 with a certificate of that kind."""

    def __init__(self, net, name, domains, kind=authority.GOOD, settings=None, sts=None, **options):
        self.certify(net, name, net.address(), kind)
        self.sts = sts or {}
        folder = proc.temp_dir()
        certificates = {"default": install(folder, "mx", self.certificate)}
        if self.sts:
            names = [f"mta-sts.{domain}" for domain in self.sts]
            for one in names:
                net.zones.set(one, ("A", self.host))
            certificates["web"] = dict(
                install(folder, "web", net.authority.issue(*names, kind=kind)), names=names)
        super().__init__(
            dict({"hostname": name, "policy.relay_domains": list(domains)}, **(settings or {})),
            folder=folder, certificates=certificates, recipients=None,
            ports={"smtp": 25, "smtps": 465, "plain": 2525}, **options)

    def config_text(self):
        text = re.sub(r'address = "127\.0\.0\.1"', f'address = "{self.host}"',
                      super().config_text())
        if self.sts:
            text += (f'listener "web" {{ address = "{self.host}" port = 443 protocol = "https" '
                     'tls = "implicit" }\n')
        for domain, keys in self.sts.items():
            inner = " ".join(f"{key} = {gateway.render(value)}" for key, value in keys.items())
            text += f'sts "{domain}" {{ {inner} }}\n'
        return text


def install(folder, name, certificate):
    """Copies a certificate to where the gateway may read it; a section's keys."""
    for end, path in (("pem", certificate.chain), ("key", certificate.key)):
        with open(path, encoding="ascii") as source, open(
                os.path.join(folder, f"{name}.{end}"), "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(source.read())
    return {"chain": f"{name}.pem", "key": f"{name}.key"}

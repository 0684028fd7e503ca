# SPDX-License-Identifier: MIT
"""The rows of rows.py set up in a small Internet: hosts, records and policies of each.

Job: `Setting` builds and publishes them; each row has a mail domain of its own, one MX or two. Who
sends mail to them, and what is looked at, is up to the programs (table, judge). Certificates of
one kind are shared by all MXes that have that kind, policy hosts' too: it takes a second instead
of a minute.
"""

import re

import rows
from lib import authority, internet, middle, mxes, zones

STATES = {"secure": zones.SECURE, "insecure": zones.INSECURE, "wrong-ds": zones.WRONG_DS}
LETTERS = {"T": rows.DELIVERED, "C": rows.CLEAR, "-": rows.DEFERRED}
KIND_NAMES = {None: "no STARTTLS", authority.GOOD: "good certificate"}
BY_CERTIFICATE = "gnesp"        # in names of matrix rows, in the order of rows.CERTIFICATES


class Row:
    """One row: its hosts and domain in the Internet, its messages, and what is expected."""

    def __init__(self, name, title, case):
        self.title, self.case = title, case
        dns = dict(rows.DNS[case.dns], **case.more)
        zone = rows.zone_of(case.dns)
        self.domain_name = f"{name}.{zone}.example"
        self.host_names = [self.domain_name if dns.get("implicit") else
                           f"mx.{name}.{dns.get('host_zone', zone)}.example"]
        kinds = case.certificate
        self.kinds = list(kinds) if isinstance(kinds, tuple) else [kinds]
        if len(self.kinds) > 1:
            self.host_names.append(f"mx2.{name}.{zone}.example")
        self.dns = dns
        self.hosts, self.domain, self.stripper = [], None, None

    # -- its part of the Internet ---------------------------------------------------------------

    def build(self, setting):
        net = setting.net
        for name, kind in zip(self.host_names, self.kinds):
            names = [self.fill(one) for one in self.dns.get("names", [])] or None
            shared = None if names or len(self.kinds) > 1 else setting.certificate(kind)
            self.hosts.append(mxes.Mx(net, name, kind, names, shared))
        self.domain = internet.Domain(net, self.domain_name, *self.hosts)
        first, name = self.hosts[0], self.host_names[0]
        if self.dns.get("stripped"):
            self.stripper = middle.Stripper(net.address(), (first.host, 25))
            net.zones.set(name, ("A", self.stripper.host))
        if self.dns.get("alias"):
            net.zones.set(name, ("CNAME", f"real.{self.domain_name}"))
            net.zones.set(f"real.{self.domain_name}", ("A", first.host))
        self.build_tlsa(setting)
        self.build_forged(net)
        if self.case.policy is not None:
            self.set_policy(setting, self.case.policy)

    def build_tlsa(self, setting):
        base = f"real.{self.domain_name}" if self.dns.get("alias") else self.host_names[0]
        for key, host, number in (("tlsa", base, 0), ("alias_tlsa", self.host_names[0], 0),
                                  ("second_tlsa", self.host_names[-1], -1)):
            records = [self.tlsa(setting, number, one) for one in self.dns.get(key, [])]
            if records:
                self.domain.tlsa(*records, host=host)

    def tlsa(self, setting, number, one):
        if isinstance(one, str):
            return one
        usage, selector, matching, right = one
        certificate = self.hosts[number].certificate
        if usage == 2 or certificate is None:
            certificate = setting.certificate(authority.GOOD)
        return certificate.tlsa(usage, selector, matching, wrong=not right)

    def build_forged(self, net):
        kind, name = self.dns.get("forged"), self.host_names[0]
        forged = net.zones.of(name).forged
        if kind == "TLSA":
            forged.add((f"_25._tcp.{name}", kind))
        elif kind == "A":
            forged.add((name, kind))
        elif kind == "NSEC":    # the one that says that there is no _tcp below the MX's name
            net.zones.set(f"0.{name}", ("TXT", '"before _tcp"'))
            forged.add((f"0.{name}", kind))

    def set_policy(self, setting, given):
        answer = dict(given)
        record, refused = answer.pop("record", None), answer.pop("refused", False)
        delegated = answer.pop("delegated", False)
        for key in ("patterns", "body"):
            if key in answer:
                value = answer[key]
                answer[key] = (self.fill(value) if isinstance(value, str)
                               else [self.fill(one) for one in value])
        answer["certificate"] = setting.policy_certificate(answer.pop("kind", authority.GOOD))
        if refused:
            answer["address"] = setting.nobody
        self.domain.policy(**answer)
        if record is not None:
            self.domain.record(texts=record)
        if delegated:
            self.delegate(setting.net)

    def delegate(self, net):
        """Puts the record and the policy host's address at somebody else's names."""
        for own, other in (("_mta-sts", "policy"), ("mta-sts", "host")):
            records = net.zones.of(self.domain_name).records
            net.zones.set(f"{other}.{self.domain_name}", *records[f"{own}.{self.domain_name}"])
            net.zones.set(f"{own}.{self.domain_name}", ("CNAME", f"{other}.{self.domain_name}"))

    def fill(self, text):
        """The row's names in a policy's text, a pattern or a certificate."""
        name = self.host_names[0]
        for word, value in (("GRANDPARENT", self.domain_name.partition(".")[2]),
                            ("PARENT", self.domain_name), ("UPPER", name.upper()),
                            ("SECOND", self.host_names[-1]), ("DOMAIN", self.domain_name)):
            text = re.sub(rf"\b{word}\b", value, text)
        return re.sub(r"^mx: MX\b", f"mx: {name}", text, flags=re.MULTILINE)


def line_name(number, certificate):
    """The name of the matrix row of that line and certificate."""
    return f"m{number:02}{BY_CERTIFICATE[rows.CERTIFICATES.index(certificate)]}"


def _line(make, number, policy, dns, letters, report, rfc):
    kind, results = rows.REPORTS[report] or (None, None)
    for index, (certificate, letter) in enumerate(zip(rows.CERTIFICATES, letters)):
        wanted = (kind, results[index]) if kind else None
        to = LETTERS[letter]
        case = rows.Case("", rfc, to, certificate, rows.POLICIES[policy], dns, wanted)
        shown = KIND_NAMES.get(certificate, f"{certificate} certificate")
        yield make(line_name(number, certificate),
                   f"{policy}; {shown}; {dns}: {to} (RFC {rfc})", case)


def everything(make=Row):
    """All rows, the matrix first, each by `make`(name, title, case)."""
    found = []
    for number, line in enumerate(rows.MATRIX):
        found += _line(make, number, *line)
    for number, case in enumerate(rows.CASES):
        found.append(make(f"c{number:02}", f"{case.title}: {case.to} (RFC {case.rfc})", case))
    return found


class Setting:
    """The Internet with these rows in it, published."""

    def __init__(self, table):
        self.table = table
        net = self.net = internet.Internet()
        for name, state in STATES.items():
            net.zones.add(f"{name}.example", state)
        self.nobody = net.address()
        self._by_kind, self._policy_by_kind = {}, {}
        for row in table:
            row.build(self)
        net.publish()

    def certificate(self, kind):
        """One for all MXes with a certificate of that kind."""
        if kind and kind not in self._by_kind:
            names = [name for row in self.table for name in row.host_names]
            self._by_kind[kind] = self.net.authority.issue(*names, kind=kind)
        return self._by_kind.get(kind)

    def policy_certificate(self, kind):
        """One for all policy hosts with a certificate of that kind."""
        if kind not in self._policy_by_kind:
            names = [f"mta-sts.{row.domain_name}" for row in self.table]
            self._policy_by_kind[kind] = self.net.authority.issue(*names, kind=kind)
        return self._policy_by_kind[kind]

# SPDX-License-Identifier: MIT
"""The table: what a sender owes a domain, by its policy, its MX's certificate and its DNS.

MATRIX has one line for a policy in a DNS state, five letters for the certificates of its MX, in
the order of CERTIFICATES: T taken by TLS, C taken in clear, - not delivered (deferred). CASES are
single rows: odd policies, several MXes, aliases, and policies that change between two messages.
Each line names the section that says so: 8461 is MTA-STS, 7672 DANE for SMTP, 7671 DANE, 8460
TLSRPT, 7435 opportunistic security. REPORTS says what a TLS report must hold: (policy type, result
types that fit); None there is a success. Where a section leaves room, each result type that fits
is named.
Not here: how it is set up and looked at (table).
"""

from lib import authority, policyhost

GOOD, NAME, OLD, SELF = (authority.GOOD, authority.WRONG_NAME, authority.EXPIRED,
                         authority.SELF_SIGNED)
CERTIFICATES = (GOOD, NAME, OLD, SELF, None)        # None: no STARTTLS

# -- policies -----------------------------------------------------------------------------------

NO, NONE, TESTING, ENFORCE, TESTING_OTHER, ENFORCE_OTHER = (
    "no policy", "none", "testing", "enforce", "testing, other MXes", "enforce, other MXes")
OTHER = ["mx.elsewhere.example"]
POLICIES = {
    NO: None,
    NONE: {"mode": "none"},
    TESTING: {"mode": "testing"},
    ENFORCE: {"mode": "enforce"},
    TESTING_OTHER: {"mode": "testing", "patterns": OTHER},
    ENFORCE_OTHER: {"mode": "enforce", "patterns": OTHER},
}

# -- names --------------------------------------------------------------------------------------
# A TLSA record is (usage, selector, matching type, of the right certificate); of usage 2 it is our
# authority's, whatever the MX shows.

INSECURE, SECURE, BOGUS = "insecure", "secure", "bogus"
DNS = {
    INSECURE: {},
    SECURE: {},
    BOGUS: {},
    "insecure, TLSA 3 1 1 wrong": {"tlsa": [(3, 1, 1, False)]},
    "TLSA 3 1 1": {"tlsa": [(3, 1, 1, True)]},
    "TLSA 3 1 1 wrong": {"tlsa": [(3, 1, 1, False)]},
    "TLSA 2 1 1": {"tlsa": [(2, 1, 1, True)]},
    "TLSA 2 1 1 wrong": {"tlsa": [(2, 1, 1, False)]},
    "TLSA unusable": {"tlsa": [(1, 1, 1, False), "3 1 9 00ff", "3 1 1 0011"]},
    "TLSA bogus": {"tlsa": [(3, 1, 1, True)], "forged": "TLSA"},
    "no TLSA, bogus": {"forged": "NSEC"},
    "address bogus": {"tlsa": [(3, 1, 1, True)], "forged": "A"},
    "alias, TLSA 3 1 1": {"tlsa": [(3, 1, 1, True)], "alias": True},
    "alias, TLSA 3 1 1 wrong": {"tlsa": [(3, 1, 1, False)], "alias": True},
    "alias": {"alias": True},
}


def zone_of(dns):
    return {INSECURE: "insecure", BOGUS: "wrong-ds"}.get(dns.split(",")[0], "secure")


# -- what is reported ---------------------------------------------------------------------------

NOT_MATCHED = ("validation-failure", "certificate-host-mismatch")
TLSA_FAILED = ("tlsa-invalid", "validation-failure", "certificate-not-trusted",
               "certificate-host-mismatch")
DNS_FAILED = ("dnssec-invalid", "tlsa-invalid")
NO_TLS = ("starttls-not-supported",)
STS = [None, ("certificate-host-mismatch",), ("certificate-expired",),
       ("certificate-not-trusted",), NO_TLS]

REPORTS = {     # by name: policy type, and by certificate what it tells
    "-": None,
    "no policy": ("no-policy-found", [None, None, None, None, "any"]),
    "sts": ("sts", STS),
    "sts, other MXes": ("sts", [NOT_MATCHED] * 5),
    "tlsa": ("tlsa", [None, None, None, None, NO_TLS]),
    "tlsa, wrong": ("tlsa", [TLSA_FAILED] * 4 + [NO_TLS]),
    "tlsa, by name": ("tlsa", [None, ("certificate-host-mismatch", "validation-failure"),
                               ("certificate-expired",), TLSA_FAILED, NO_TLS]),
    "dns": ("any", [DNS_FAILED] * 5),
}

# policy, DNS, what becomes of it by certificate, report, section
MATRIX = (
    (NO, INSECURE, "TTTTC", "no policy", "7435 3: any TLS is better than none"),
    (NO, SECURE, "TTTTC", "no policy", "7672 2.2: no TLSA records, no DANE"),
    (NO, "insecure, TLSA 3 1 1 wrong", "TTTTC", "no policy", "7672 2.2: such records are none"),
    (NONE, INSECURE, "TTTTC", "-", "8461 3.2, 5: as if there were no policy"),
    (TESTING, INSECURE, "TTTTC", "sts", "8461 5: testing is reported, delivered as without"),
    (TESTING_OTHER, INSECURE, "TTTTC", "sts, other MXes", "8461 4.1, 5: the same for MXes"),
    (ENFORCE, INSECURE, "T----", "sts", "8461 4.2, 5: verified or not delivered"),
    (ENFORCE_OTHER, INSECURE, "-----", "sts, other MXes", "8461 4.1, 5: no other MXes"),
    (TESTING, SECURE, "TTTTC", "sts", "8461 5: DNSSEC alone changes nothing"),
    (ENFORCE, SECURE, "T----", "sts", "8461 4.2: DNSSEC alone changes nothing"),
    (ENFORCE, "insecure, TLSA 3 1 1 wrong", "T----", "sts", "7672 2.2, 8461 4.2"),
    (NO, "TLSA 3 1 1", "TTTT-", "tlsa", "7672 3.1.1: names, dates and issuers do not count"),
    (NONE, "TLSA 3 1 1", "TTTT-", "tlsa", "7672 2.2: TLSA records make TLS a must"),
    (TESTING, "TLSA 3 1 1", "TTTT-", "tlsa", "8461 2: DANE goes first"),
    (ENFORCE, "TLSA 3 1 1", "TTTT-", "tlsa", "8461 2: DANE goes first"),
    (NO, "TLSA 3 1 1 wrong", "-----", "tlsa, wrong", "7672 2.2: authenticated or not delivered"),
    (TESTING, "TLSA 3 1 1 wrong", "-----", "tlsa, wrong", "8461 2: does not override DANE"),
    (ENFORCE, "TLSA 3 1 1 wrong", "-----", "tlsa, wrong", "8461 2: does not override DANE"),
    (NO, "TLSA 2 1 1", "T----", "tlsa, by name", "7672 3.1.2, 3.2.2: chain, name and dates"),
    (ENFORCE, "TLSA 2 1 1", "T----", "tlsa, by name", "7672 3.1.2"),
    (NO, "TLSA 2 1 1 wrong", "-----", "tlsa, wrong", "7672 3.1.2: another authority"),
    (NO, "TLSA unusable", "TTTT-", "-", "7672 2.2: TLS a must, authentication not"),
    (NO, "TLSA bogus", "-----", "dns", "7672 2.1.1: no delivery by a bogus answer"),
    (ENFORCE, "TLSA bogus", "-----", "dns", "8461 2: does not override DANE"),
    (NO, "no TLSA, bogus", "-----", "dns", "7672 2.1.1: a bogus denial is no denial"),
    (NO, "address bogus", "-----", "-", "7672 2.1.1: an MX without address"),
    (NO, BOGUS, "-----", "-", "7672 2.1.1: no MX records from a bogus zone"),
    (ENFORCE, BOGUS, "-----", "-", "7672 2.1.1"),
    (NO, "alias, TLSA 3 1 1", "TTTT-", "tlsa", "7672 2.2.3: TLSA records at the alias's end"),
    (NO, "alias, TLSA 3 1 1 wrong", "-----", "tlsa, wrong", "7672 2.2.3"),
    (ENFORCE, "alias", "T----", "sts", "8461 4.1: names are those in the MX records"),
)

# -- single rows --------------------------------------------------------------------------------

DELIVERED, CLEAR, DEFERRED, BOUNCED = "delivered", "delivered in clear", "deferred", "bounced"
FETCH, INVALID, WEBPKI = (("sts", (name,)) for name in (
    "sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid"))
TOO_LARGE = ("sts", ("sts-policy-fetch-error", "sts-policy-invalid"))
MISMATCH = ("sts", ("certificate-host-mismatch",))


class Case:
    """A row of its own. `to`: what becomes of the message. `policy`: keywords of Domain.policy,
    and `record` (texts of TXT records), `delegated` (they and the host are aliases), `refused`
    (its host takes no connections). `certificate`: a kind, or one for each MX in order. `then`:
    the second message's policy, which alone is looked at; the first one's end is `first`.
    `fetches`: how often the policy was asked for, at the end."""

    def __init__(self, title, rfc, to, certificate=GOOD, policy=None, dns=INSECURE, report=None,
                 then=None, first=None, fetches=None, **more):
        self.title, self.rfc, self.to, self.certificate = title, rfc, to, certificate
        self.policy, self.dns, self.report = policy, dns, report
        self.then, self.first, self.fetches, self.more = then, first, fetches, more


def text(*lines, end="\r\n"):
    return end.join(lines) + end


def enforce(title, rfc, to, report=None, **answer):
    """The MX has a certificate for another name: deferred where the policy holds, else delivered.
    """
    return Case(f"policy host: {title}", rfc, to, NAME, dict({"mode": "enforce"}, **answer),
                report=report)


def body(title, rfc, to, *lines, end="\r\n", report=None, **answer):
    """The same with that text as policy; MX stands for the MX's name."""
    return enforce(title, rfc, to, report or (MISMATCH if to == DEFERRED else INVALID),
                   body=text(*lines, end=end), **answer)


def changed(title, rfc, to, then, report=None, **more):
    """First a policy that is fetched and obeyed (so that nothing is delivered), then another."""
    policy = dict({"mode": "enforce"}, **more.pop("policy", {}))
    return Case(f"later: {title}", rfc, to, NAME, policy, then=then, first=DEFERRED, report=report,
                **more)


VERSION, MODE, MX, AGE = "version: STSv1", "mode: enforce", "mx: MX", "max_age: 604800"

CASES = (
    # What policies may look like.
    body("line feeds only", "8461 3.2: LF or CRLF", DEFERRED, VERSION, MODE, MX, AGE, end="\n"),
    body("unknown keys", "8461 3.2: skipped", DEFERRED, VERSION, "x-new: 1", MODE, MX, AGE),
    body("a key twice", "8461 3.2: the first one counts", DEFERRED, VERSION, MODE, "mode: none", MX,
         AGE),
    body("no version", "8461 3.2", DELIVERED, MODE, MX, AGE),
    body("another version", "8461 3.2", DELIVERED, "version: STSv2", MODE, MX, AGE),
    body("no MX patterns", "8461 3.2: at least one unless none", DELIVERED, VERSION, MODE, AGE),
    body("no max_age", "8461 3.2", DELIVERED, VERSION, MODE, MX),
    body("max_age above a year", "8461 3.2", DELIVERED, VERSION, MODE, MX, "max_age: 31557601"),
    body("an unknown mode", "8461 3.2", DELIVERED, VERSION, "mode: strict", MX, AGE),
    body("a web page", "8461 3.2", DELIVERED, "<html><body>hello</body></html>"),
    enforce("an empty body", "8461 3.2", DELIVERED, INVALID, body=""),
    # How they may come.
    enforce("media type with parameters", "8461 3.2", DEFERRED, MISMATCH,
            media="text/plain; charset=utf-8"),
    enforce("another media type", "8461 3.2", DELIVERED, FETCH, media="text/html"),
    enforce("a redirect", "8461 3.3: not followed", DELIVERED, FETCH, status=301,
            headers=[("Location", "https://mta-sts.elsewhere.example/.well-known/mta-sts.txt")]),
    enforce("not found", "8461 3.3: 200 only", DELIVERED, FETCH, status=404),
    enforce("an error", "8461 3.3: 200 only", DELIVERED, FETCH, status=503),
    body("many unknown lines, below 64 KiB", "8461 3.2, 3.3", DEFERRED, VERSION, MODE, MX,
         *["x-line: " + "y" * 90] * 600, AGE),
    enforce("above 64 KiB", "8461 3.3: a limit of size", DELIVERED, TOO_LARGE,
            body=text(VERSION, MODE, MX, *["x-line: " + "y" * 90] * 700, AGE)),
    enforce("endless", "8461 3.3: a limit of size", DELIVERED, TOO_LARGE, how=policyhost.ENDLESS),
    enforce("closes", "8461 3.3", DELIVERED, FETCH, how=policyhost.CLOSE),
    enforce("refuses connections", "8461 3.3, 5.1: nothing kept, no policy", DELIVERED, FETCH,
            refused=True),
    enforce("certificate for another name", "8461 3.3", DELIVERED, WEBPKI, kind=NAME),
    enforce("expired certificate", "8461 3.3", DELIVERED, WEBPKI, kind=OLD),
    enforce("self-signed certificate", "8461 3.3", DELIVERED, WEBPKI, kind=SELF),
    enforce("certificate of a stranger", "8461 3.3", DELIVERED, WEBPKI, kind=authority.UNTRUSTED),
    # The TXT record.
    enforce("no record", "8461 3.1: no policy is looked for", DELIVERED, record=[]),
    enforce("another version's record", "8461 3.1", DELIVERED, record=["v=STSv2; id=1;"]),
    enforce("a record without id", "8461 3.1", DELIVERED, record=["v=STSv1;"]),
    enforce("two records", "8461 3.1: as if there were none", DELIVERED,
            record=["v=STSv1; id=1;", "v=STSv1; id=2;"]),
    enforce("another record beside it", "8461 3.1: other records are skipped", DEFERRED, MISMATCH,
            record=["v=spf1 -all", "v=STSv1; id=1;"]),
    enforce("a record of two strings", "8461 3.1: joined without blanks", DEFERRED, MISMATCH,
            record=[("v=STSv1; i", "d=1;")]),
    enforce("a record with more fields", "8461 3.1: extensions are skipped", DEFERRED, MISMATCH,
            record=["v=STSv1; id=1; x=y;"]),
    enforce("record and host are aliases", "8461 8.2", DEFERRED, MISMATCH, delegated=True),
    # MXes.
    Case("wildcard of one label", "8461 4.1", DELIVERED, GOOD,
         {"mode": "enforce", "patterns": ["*.PARENT"]}, report=("sts", None)),
    Case("wildcard does not cover two labels", "8461 4.1", DEFERRED, GOOD,
         {"mode": "enforce", "patterns": ["*.GRANDPARENT"]}, report=("sts", NOT_MATCHED)),
    Case("patterns in capitals", "8461 4.1", DELIVERED, GOOD,
         {"mode": "enforce", "patterns": ["UPPER"]}, report=("sts", None)),
    Case("the second MX is good", "8461 5: the next MX is tried", DELIVERED, (NAME, GOOD),
         {"mode": "enforce"}),
    Case("only the second MX is in the policy", "8461 4.1", DELIVERED, (GOOD, GOOD),
         {"mode": "enforce", "patterns": ["SECOND"]}, taken_by=1),
    Case("no MX of two is good", "8461 5", DEFERRED, (NAME, OLD), {"mode": "enforce"}),
    Case("STARTTLS is stripped on the way, enforce", "8461 10.2", DEFERRED, GOOD,
         {"mode": "enforce"}, report=("sts", NO_TLS), stripped=True),
    Case("STARTTLS is stripped on the way, TLSA 3 1 1", "7672 2.2", DEFERRED, GOOD, None,
         "TLSA 3 1 1", report=("tlsa", NO_TLS), stripped=True),
    Case("STARTTLS is stripped on the way, no policy", "7435 3", CLEAR, GOOD, stripped=True),
    Case("not yet valid, enforce", "8461 4.2", DEFERRED, authority.NOT_YET, {"mode": "enforce"}),
    Case("a stranger's certificate, enforce", "8461 4.2", DEFERRED, authority.UNTRUSTED,
         {"mode": "enforce"}, report=("sts", ("certificate-not-trusted",))),
    # DANE.
    Case("one of two TLSA records is right", "7672 3: any match will do", DELIVERED, SELF, None,
         SECURE, report=("tlsa", None), tlsa=[(3, 1, 1, False), (3, 1, 1, True)]),
    Case("TLSA 3 0 1", "7672 3.1.1", DELIVERED, SELF, None, SECURE, report=("tlsa", None),
         tlsa=[(3, 0, 1, True)]),
    Case("TLSA 3 1 2", "7671 5", DELIVERED, SELF, None, SECURE, report=("tlsa", None),
         tlsa=[(3, 1, 2, True)]),
    Case("TLSA 3 0 0", "7671 5", DELIVERED, SELF, None, SECURE, report=("tlsa", None),
         tlsa=[(3, 0, 0, True)]),
    Case("TLSA 2 0 1", "7672 3.1.2", DELIVERED, GOOD, None, SECURE, report=("tlsa", None),
         tlsa=[(2, 0, 1, True)]),
    Case("an unusable TLSA record beside a wrong one", "7672 2.2: the usable one counts", DEFERRED,
         GOOD, None, SECURE, report=("tlsa", TLSA_FAILED),
         tlsa=[(1, 1, 1, True), (3, 1, 1, False)]),
    Case("TLSA 2 1 1, a certificate for the mail domain", "7672 3.2.2: that name will do, too",
         DELIVERED, GOOD, None, "TLSA 2 1 1", report=("tlsa", None), names=["DOMAIN"]),
    Case("TLSA of the alias itself, none at its end", "7672 2.2.3: both are asked for", DELIVERED,
         SELF, None, "alias", report=("tlsa", None), alias_tlsa=[(3, 1, 1, True)]),
    Case("TLSA of the alias itself is wrong, none at its end", "7672 2.2.3", DEFERRED, SELF, None,
         "alias", report=("tlsa", TLSA_FAILED), alias_tlsa=[(3, 1, 1, False)]),
    Case("MX in an insecure zone, TLSA wrong there", "7672 2.2: insecure addresses, no DANE",
         DELIVERED, SELF, None, SECURE, host_zone="insecure", tlsa=[(3, 1, 1, False)]),
    Case("the second MX passes DANE", "7672 2.2: the next MX is tried", DELIVERED, (GOOD, GOOD),
         None, SECURE, tlsa=[(3, 1, 1, False)], second_tlsa=[(3, 1, 1, True)], taken_by=1),
    Case("no MX record, TLSA 3 1 1 at the domain", "7672 2.2.2", DELIVERED, SELF, None,
         "TLSA 3 1 1", report=("tlsa", None), implicit=True),
    Case("no MX record, TLSA 3 1 1 wrong at the domain", "7672 2.2.2", DEFERRED, GOOD, None,
         "TLSA 3 1 1 wrong", report=("tlsa", TLSA_FAILED), implicit=True),
    Case("no MX record, enforce, the domain is in the policy", "8461 4.1", DELIVERED, GOOD,
         {"mode": "enforce"}, report=("sts", None), implicit=True),
    Case("no MX record, enforce, another host is in the policy", "8461 4.1", DEFERRED, GOOD,
         {"mode": "enforce", "patterns": OTHER}, report=("sts", NOT_MATCHED), implicit=True),
    # What is kept (certificates are for other names: delivered means that the policy is gone).
    changed("the policy host refuses, the id is the same", "8461 3.3: kept until max_age", DEFERRED,
            {"refused": True}, MISMATCH, fetches=1),
    changed("the policy host refuses, the id is new", "8461 5.1: the kept one counts", DEFERRED,
            {"refused": True, "number": "2"}, MISMATCH, fetches=1),
    changed("the record is gone", "8461 3.1, 10.2: the kept one counts", DEFERRED, {"record": []},
            MISMATCH, fetches=1),
    changed("a new policy under the old id", "8461 3.1: not looked at", DEFERRED, {"mode": "none"},
            MISMATCH, fetches=1),
    changed("mode none under a new id", "8461 8.3: ends it", DELIVERED,
            {"mode": "none", "number": "2"}, fetches=2),
    changed("testing under a new id", "8461 8.1", DELIVERED, {"mode": "testing", "number": "2"},
            MISMATCH, fetches=2),
    changed("an invalid policy under a new id", "8461 5.1: the kept one counts", DEFERRED,
            {"body": "nonsense\r\n", "number": "2"}, MISMATCH, fetches=2),
    changed("max_age is over, the host refuses", "8461 3.2: forgotten", DELIVERED,
            {"refused": True}, policy={"max_age": 2}),
    changed("max_age is over, the host answers", "8461 3.2: fetched again", DEFERRED,
            {"mode": "enforce"}, MISMATCH, policy={"max_age": 2}),
    # Last, for they take long.
    body("slow, 20 seconds", "8461 3.3: in time", DEFERRED, VERSION, MODE, MX, AGE, slow=True),
    body("slow, above a minute", "8461 3.3: a limit of time", DELIVERED, VERSION, MODE, MX,
         "x-line: " + "y" * 400, AGE, slow=True, report=FETCH),
)

# SPDX-License-Identifier: MIT
"""Reads TLS reports (RFC 8460) as a receiver gets them: by mail or by POST, gzip or plain JSON.

Job: the report out of a mail or a request, with what the RFC says of its wrapping checked: media
types (5.3, 6.4, 6.5), file name (5.1), header fields and subject (5.3), the report's members
(4.4). Sums by policy type. Not its job: DKIM signatures.
"""

import email
import email.policy
import gzip
import json
import re

from . import tap

TYPES = ("sts", "tlsa", "no-policy-found")
RESULTS = ("starttls-not-supported", "certificate-host-mismatch", "certificate-expired",
           "certificate-not-trusted", "validation-failure",
           "tlsa-invalid", "dnssec-invalid", "dane-required",
           "sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid")
_MEDIA = {"application/tlsrpt+gzip": True, "application/tlsrpt+json": False}
_NAME = re.compile(r"^([^!]+)!([^!]+)!(\d+)!(\d+)(?:![A-Za-z0-9]+)?\.json(\.gz)?$")
_DATE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")


class Report:
    """`data` is the JSON; `message` the mail that it came in, or None."""

    def __init__(self, data, message=None):
        self.data, self.message = data, message
        self.policies = data.get("policies", [])

    def of(self, kind, domain=None):
        """The one policy of that type (and domain)."""
        found = [one for one in self.policies if one["policy"]["policy-type"] == kind
                 and domain in (None, one["policy"]["policy-domain"])]
        tap.equal(len(found), 1, f"policies of type {kind} in {self.policies}")
        return found[0]

    def sums(self, kind, domain=None):
        """(successful sessions, failed sessions) of a policy."""
        summary = self.of(kind, domain)["summary"]
        return (summary["total-successful-session-count"], summary["total-failure-session-count"])

    def failures(self, kind, domain=None):
        """{result type: sessions} of a policy."""
        found = {}
        for one in self.of(kind, domain).get("failure-details", []):
            found[one["result-type"]] = found.get(one["result-type"], 0) + one[
                "failed-session-count"]
        return found

    def check(self):
        """What RFC 8460 4.4 asks of every report."""
        for name in ("organization-name", "date-range", "contact-info", "report-id", "policies"):
            tap.check(name in self.data, f"no {name} in {self.data}")
        for name in ("start-datetime", "end-datetime"):
            tap.check(_DATE.match(self.data["date-range"][name]), f"{self.data['date-range']}")
        for one in self.policies:
            tap.check(one["policy"]["policy-type"] in TYPES, f"{one['policy']}")
            tap.check(one["policy"]["policy-domain"], f"{one['policy']}")
            failed = 0
            for detail in one.get("failure-details", []):
                tap.check(detail["result-type"] in RESULTS, f"{detail}")
                failed += detail["failed-session-count"]
            tap.equal(failed, one["summary"]["total-failure-session-count"], "sum of failures")
        return self


def decode(media, body):
    """A body of one of the two media types."""
    tap.check(media in _MEDIA, f"media type {media}")
    return json.loads(gzip.decompress(body) if _MEDIA[media] else body)


def from_post(request):
    """Of a policyhost.Request."""
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    return Report(decode(media, request.body)).check()


def from_mail(octets, domain=None):
    """Of a message; `domain` is whom it has to be about."""
    message = email.message_from_bytes(octets, policy=email.policy.default)
    tap.equal(message.get_content_type(), "multipart/report", "media type of the mail")
    tap.equal(message.get_param("report-type"), "tlsrpt", "report-type")
    parts = [one for one in message.walk() if one.get_content_type() in _MEDIA]
    tap.equal(len(parts), 1, "reports in the mail")
    media = parts[0].get_content_type()
    report = Report(decode(media, parts[0].get_payload(decode=True)), message).check()
    name = _NAME.match(parts[0].get_filename() or "")
    tap.check(name, f"file name {parts[0].get_filename()!r}")
    tap.equal(bool(name.group(5)), _MEDIA[media], "gzip by the file's name")
    about = message["TLS-Report-Domain"]
    tap.check(about and message["TLS-Report-Submitter"], f"{message.items()}")
    tap.equal(name.group(2), about, "the file name's domain")
    tap.check(f"Report Domain: {about}" in message["Subject"]
              and "Submitter: " in message["Subject"]
              and f"Report-ID: <{report.data['report-id'].strip('<>')}>" in message["Subject"],
              f"subject {message['Subject']!r}")
    if domain:
        tap.equal(about, domain, "TLS-Report-Domain")
    return report

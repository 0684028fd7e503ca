# SPDX-License-Identifier: MIT
"""What the gateway's black-box suites share: tap, gateway, smtp, maildir, certs, logline, proc."""

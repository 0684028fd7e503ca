# SPDX-License-Identifier: MIT
"""What the TLS suites share: an upgraded client, and a gateway with several certificates."""

import os
import ssl

from . import certs, gateway, proc

_two_key_types = {}


def two_key_types():
    """A gateway whose default certificates are ECDSA and RSA, and a third for other names."""
    if not _two_key_types:
        folder = proc.temp_dir()
        certs.make(folder, "cert")
        certs.make(folder, "rsa", kind="rsa")
        certs.make(folder, "other", hosts=("mx2.example.org", "mx3.example.org"))
        _two_key_types["gateway"] = gateway.Gateway(folder=folder, certificates={
            "default": {"chain": "cert.pem", "key": "cert.key"},
            "default-rsa": {"chain": "rsa.pem", "key": "rsa.key"},
            "other": {"chain": "other.pem", "key": "other.key",
                      "names": ["mx2.example.org", "*.wild.example"]},
        })
    server = _two_key_types["gateway"]
    server.clear()
    return server


def upgraded(server, **options):
    client = server.client()
    client.ehlo()
    client.starttls(**options)
    return client


def certificate(client):
    """The server's certificate, DER."""
    return client.tls.getpeercert(binary_form=True)


def der(folder, name):
    with open(os.path.join(folder, name + ".pem"), encoding="ascii") as file:
        return ssl.PEM_cert_to_DER_cert(file.read())

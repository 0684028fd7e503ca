# SPDX-License-Identifier: MIT
"""Self-signed certificates by the openssl program: ECDSA P-256 and RSA, keys of mode 0600.

Job: one call a pair. RSA keys are made once a process and reused, for they are slow.
"""

import os
import shutil
import subprocess

_rsa_key = None


def _run(*arguments):
    done = subprocess.run(arguments, capture_output=True, timeout=60, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr.decode()}")


def make(folder, name, hosts=("mx.example.org", "localhost"), kind="ec", days=30):
    """Writes NAME.pem and NAME.key into the folder; returns both paths."""
    global _rsa_key
    chain, key = os.path.join(folder, name + ".pem"), os.path.join(folder, name + ".key")
    if kind == "ec":
        _run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-out", key)
    elif _rsa_key:
        shutil.copyfile(_rsa_key, key)
    else:
        _run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048",
             "-out", key)
    os.chmod(key, 0o600)
    names = ",".join(f"DNS:{host}" for host in hosts) + ",IP:127.0.0.1"
    _run("openssl", "req", "-x509", "-new", "-key", key, "-out", chain, "-days", str(days),
         "-subj", f"/CN={hosts[0]}", "-addext", f"subjectAltName={names}")
    return chain, key

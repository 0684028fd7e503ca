# SPDX-License-Identifier: MIT
"""A small certificate authority by the openssl program, and TLSA records of its certificates.

Job: issue a chain and a key for some names: good, for another name, expired, not yet valid, by an
authority that nobody trusts, or self-signed. Chains end with the authority's own certificate, for
DANE-TA wants it there (RFC 7672 3.1.2). Dates need `openssl ca`: `openssl x509` cannot set them.
"""

import hashlib
import os
import ssl
import time

from . import certs, proc, tap

GOOD, WRONG_NAME, EXPIRED, NOT_YET, UNTRUSTED, SELF_SIGNED = (
    "good", "wrong-name", "expired", "not-yet", "untrusted", "self-signed")
KINDS = (GOOD, WRONG_NAME, EXPIRED, NOT_YET, UNTRUSTED, SELF_SIGNED)
OTHER_NAME = "elsewhere.example"
DAY = 86400
_DAYS = {EXPIRED: (-60, -30), NOT_YET: (30, 60)}

_CONF = """[ca]
default_ca = here
[here]
dir = {base}
database = {base}/index
new_certs_dir = {base}/issued
rand_serial = yes
default_md = sha256
unique_subject = no
policy = any
x509_extensions = leaf
[any]
commonName = supplied
[leaf]
basicConstraints = critical,CA:false
extendedKeyUsage = serverAuth
authorityKeyIdentifier = keyid
subjectKeyIdentifier = hash
subjectAltName = {names}
[root]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[req]
distinguished_name = nobody
prompt = no
[nobody]
"""


def openssl(*arguments, **options):
    done = proc.run(["openssl", *arguments], **options)
    tap.equal(done.returncode, 0, f"openssl {arguments[0]}: {done.stderr.decode()}")
    return done.stdout


def _date(seconds):
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(seconds))


class Certificate:
    """Paths `chain` and `key` (PEM); `kind` is what is wrong with it."""

    def __init__(self, chain, key, kind):
        self.chain, self.key, self.kind = chain, key, kind
        self._public_keys = {}      # two processes each: many records want the same one

    def context(self):
        """A server's TLS context that keeps the server names it was asked for in `names`."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.chain, self.key)
        made.names = []
        made.sni_callback = lambda _sock, name, context: context.names.append(name)
        return made

    def der(self, number=0):
        """The number-th certificate of the chain; -1 is the authority's own."""
        with open(self.chain, encoding="ascii") as file:
            parts = file.read().split("-----BEGIN CERTIFICATE-----")[1:]
        text = "-----BEGIN CERTIFICATE-----" + parts[number]
        return ssl.PEM_cert_to_DER_cert(text[:text.index("-----END")] + "-----END CERTIFICATE-----")

    def public_key(self, number=0):
        """Its SubjectPublicKeyInfo, DER."""
        if number not in self._public_keys:
            pem = openssl("x509", "-inform", "DER", "-noout", "-pubkey", input=self.der(number))
            self._public_keys[number] = openssl("pkey", "-pubin", "-outform", "DER", input=pem)
        return self._public_keys[number]

    def tlsa(self, usage=3, selector=1, matching=1, wrong=False):
        """A TLSA record's data: of the leaf for usages 1 and 3, of the authority for 0 and 2."""
        number = -1 if usage in (0, 2) else 0
        data = self.public_key(number) if selector == 1 else self.der(number)
        if wrong:
            data = data[:-1] + bytes([data[-1] ^ 1])
        if matching:
            data = (hashlib.sha256 if matching == 1 else hashlib.sha512)(data).digest()
        return f"{usage} {selector} {matching} {data.hex()}"


class Authority:
    """`path` is its own certificate: what a client's CA file has to be."""

    def __init__(self, name="Small Internet CA"):
        self.base = proc.temp_dir("postern-ca-")
        os.mkdir(os.path.join(self.base, "issued"))
        self.write("index", "")
        self.path, self.key = self.at("ca.pem"), self.at("ca.key")
        self.conf("DNS:unused.example")
        self._make_key(self.key)
        openssl("req", "-x509", "-new", "-config", self.at("conf"), "-extensions", "root", "-key",
                self.key, "-out", self.path, "-days", "90", "-subj", f"/CN={name}")
        self.count = 0
        self.rival = None

    def at(self, name):
        return os.path.join(self.base, name)

    def write(self, name, text):
        with open(self.at(name), "w", encoding="ascii") as file:
            file.write(text)

    def conf(self, names):
        self.write("conf", _CONF.format(base=self.base, names=names))

    @staticmethod
    def _make_key(path):
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)
        os.chmod(path, 0o600)

    def issue(self, *hosts, kind=GOOD):
        """A certificate of that kind for these names."""
        self.count += 1
        name = f"{self.count:03}-{hosts[0].replace('*', 'any')}-{kind}"
        if kind == SELF_SIGNED:
            return Certificate(*certs.make(self.base, name, hosts=hosts), kind)
        if kind == UNTRUSTED:
            self.rival = self.rival or Authority("Nobody's CA")
            made = self.rival.issue(*hosts)
            return Certificate(made.chain, made.key, kind)
        names = (OTHER_NAME,) if kind == WRONG_NAME else hosts
        chain, key, request = (self.at(name + end) for end in (".pem", ".key", ".csr"))
        self.conf(",".join(f"DNS:{one}" for one in names))
        self._make_key(key)
        openssl("req", "-new", "-config", self.at("conf"), "-key", key, "-out", request,
                "-subj", f"/CN={names[0]}")
        begin, end = _DAYS.get(kind, (-1, 60))
        now = time.time()
        openssl("ca", "-batch", "-notext", "-config", self.at("conf"), "-keyfile", self.key,
                "-cert", self.path, "-in", request, "-out", chain, "-startdate",
                _date(now + begin * DAY), "-enddate", _date(now + end * DAY))
        with open(self.path, encoding="ascii") as own, open(chain, "a", encoding="ascii") as file:
            file.write(own.read())
        return Certificate(chain, key, kind)

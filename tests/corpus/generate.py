# SPDX-License-Identifier: MIT
"""A seeded generator of odd but real-looking messages.

Job: `messages()` gives the same list of at least MESSAGES_MIN messages for the same seed, on every
machine. Each says which ways can carry it (RFC 5321, 6152, 3030): DATA takes whole CRLF lines;
BODY=7BIT, 8BITMIME or BINARYMIME says which octets may occur.

Invariants: no bare CR, bare LF or NUL where `body` is not BINARYMIME; fewer Received lines than a
loop has. Rejected: a stored corpus of real mail (licences, privacy), and a generator without a
seed (a failure could not be repeated).
"""

import base64
import random
import re

SEED = 20210607
VARIANTS = 8
MESSAGES_MIN = 200
LINE_BYTES = 76

WORDS = ("the of and mail gateway meeting invoice attached please regards Monday quarter report "
         "server queue certificate delayed tomorrow thanks order number shipping address").split()
UNICODE = ("Grüße", "Zażółć", "Δοκιμή", "тест", "日本語", "한국어", "שלום", "مرحبا", "😀🎉", "naïve")


class Message:
    def __init__(self, name, data, utf8=False):
        self.name = name
        self.data = data
        self.utf8 = utf8
        lines_ok = not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", data)
        if not lines_ok:
            self.body = "BINARYMIME"
        elif any(byte > 127 for byte in data):
            self.body = "8BITMIME"
        else:
            self.body = "7BIT"
        self.data_can = lines_ok and (not data or data.endswith(b"\r\n"))

    def parameters(self):
        """MAIL's parameters as they are needed."""
        out = "" if self.body == "7BIT" else f" BODY={self.body}"
        return out + (" SMTPUTF8" if self.utf8 else "")


def crlf(lines):
    return b"".join((line.encode() if isinstance(line, str) else line) + b"\r\n"
                    for line in lines)


def sentence(rng, words):
    return " ".join(rng.choice(WORDS) for _ in range(words))


def paragraph(rng, lines):
    return [sentence(rng, rng.randint(3, 11)) for _ in range(lines)]


def header(rng, **more):
    lines = [f"From: Sender {rng.randint(1, 99)} <sender{rng.randint(1, 99)}@example.net>",
             "To: <someone@example.org>",
             f"Subject: {sentence(rng, 4)}",
             f"Date: Mon, {rng.randint(1, 28)} Jun 2021 1{rng.randint(0, 9)}:00:00 +0000",
             f"Message-ID: <{rng.getrandbits(64):x}@example.net>"]
    return lines + [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]


def plain(rng, _):
    return crlf(header(rng) + [""] + paragraph(rng, rng.randint(1, 40)))


def eight_bit(rng, _):
    body = [" ".join(rng.choice(UNICODE) for _ in range(rng.randint(1, 8))) for _ in range(20)]
    return crlf(header(rng, MIME_Version="1.0", Content_Type="text/plain; charset=utf-8",
                       Content_Transfer_Encoding="8bit") + [""] + body)


def latin1(rng, _):
    octets = [bytes(rng.choice(range(160, 256)) for _ in range(60)) for _ in range(10)]
    return crlf(header(rng, Content_Type="text/plain; charset=iso-8859-1") + [""] + octets)


def every_octet(rng, _):
    octets = [o for o in range(1, 256) if o not in (10, 13)]
    rng.shuffle(octets)
    return crlf(header(rng) + ["", bytes(octets[:127]), bytes(octets[127:])])


def control_octets(rng, _):
    octets = [o for o in list(range(1, 32)) + [127] if o not in (10, 13)]
    return crlf(header(rng) + ["", bytes(rng.choice(octets) for _ in range(200))])


def utf8_header(rng, _):
    lines = header(rng)
    lines[2] = "Subject: " + " ".join(rng.choice(UNICODE) for _ in range(6))
    return crlf(lines + ["", "body"])


def long_lines(rng, variant):
    length = (997, 998, 999, 1000, 1001, 4096, 16384, 70000)[variant % 8]
    return crlf(header(rng) + ["", "x" * length, "y" * (length - 1), "." + "z" * length, ""])


def long_utf8_lines(rng, variant):
    return crlf(header(rng) + ["", "".join(rng.choice(UNICODE) for _ in range(300 * variant + 50))])


def dots(rng, _):
    shapes = (".", "..", "...", ".a", "a.", " .", ". ", ".\t", "..a", "", ". .", "a", ".." * 40)
    return crlf(header(rng) + [""] + [rng.choice(shapes) for _ in range(rng.randint(1, 80))])


def dot_at_edges(rng, variant):
    """Lines around buffer sizes whose neighbour starts with a dot."""
    size = (510, 1022, 2046, 4094, 8190, 16382, 32766, 65534)[variant % 8]
    lines = []
    for delta in (-2, -1, 0, 1, 2):
        lines += ["q" * (size + delta), rng.choice((".", "..", ".x"))]
    return crlf(lines)


def only_dots(_, variant):
    return crlf(["." * count for count in range(1, variant + 3)])


def empty(_, variant):
    return b"\r\n" * variant


def header_only(rng, variant):
    return crlf(header(rng) + ([""] if variant % 2 else []))


def body_only(rng, _):
    return crlf([""] + paragraph(rng, 5))


def no_header(rng, _):
    return crlf(paragraph(rng, rng.randint(1, 30)))


def huge_header(rng, variant):
    lines = header(rng)
    for number in range(40 * (variant + 1)):
        lines.append(f"X-Long-{number}: {sentence(rng, 30)}")
        lines += [f"\t{sentence(rng, 12)}" for _ in range(rng.randint(0, 4))]
    return crlf(lines + ["", "body"])


def long_header_line(rng, variant):
    return crlf(header(rng) + ["X-Line: " + "h" * (998 << variant), "", "body"])


def folded(rng, _):
    lines = header(rng)
    lines.append("References: <a@b.example>")
    lines += [f" <{rng.getrandbits(80):x}@example.net>" for _ in range(60)]
    lines += ["X-Blank-Fold: a", " \t ", "\tb"]
    return crlf(lines + ["", "body"])


def many_received(rng, variant):
    lines = [f"Received: from h{n} by h{n + 1}; Mon, 7 Jun 2021 10:00:00 +0000"
             for n in range(4 * variant + 1)]
    return crlf(lines + header(rng) + ["", "Received: in the body does not count"] * 2)


def odd_header(rng, _):
    odd = ["Subject:", "X-Empty: ", "x-lower:y", "X_Under: s", "X-Colon::: v", "No-Space:v",
           "From  : spaced", ": no name", "no colon here", "X-Tab:\tv", "X-End: v \t "]
    rng.shuffle(odd)
    return crlf(header(rng) + odd + ["", "body"])


def blank_endings(rng, variant):
    return crlf(header(rng) + ["", "body"] + [""] * (variant * 7) + [" \t", "trailing  "])


def part(rng, depth, boundary):
    if depth == 0:
        kind = rng.randrange(3)
        if kind == 0:
            return ["Content-Type: text/plain", ""] + paragraph(rng, 3)
        if kind == 1:
            raw = base64.b64encode(rng.randbytes(rng.randint(1, 3000))).decode()
            return ["Content-Type: application/octet-stream",
                    "Content-Transfer-Encoding: base64", ""] + [
                        raw[i:i + LINE_BYTES] for i in range(0, len(raw), LINE_BYTES)]
        return ["Content-Type: text/html", "", "<html><body>", ".hidden { }", "</body></html>"]
    inner = f"{boundary}.{depth}"
    lines = [f'Content-Type: multipart/mixed; boundary="{inner}"', "", "preamble"]
    for _ in range(rng.randint(1, 3)):
        lines += [f"--{inner}"] + part(rng, depth - 1, inner)
    return lines + [f"--{inner}--", "epilogue"]


def nested_mime(rng, variant):
    return crlf(header(rng, MIME_Version="1.0") + part(rng, variant % 6 + 1, "=_b"))


def forwarded(rng, variant):
    inner = plain(rng, 0)
    for level in range(variant + 1):
        inner = crlf([f"Subject: fwd {level}", "Content-Type: message/rfc822", ""]) + inner
    return inner


def attachment(rng, variant):
    raw = base64.b64encode(rng.randbytes(30000 * (variant + 1))).decode()
    return crlf(header(rng, Content_Transfer_Encoding="base64") + [""] + [
        raw[i:i + LINE_BYTES] for i in range(0, len(raw), LINE_BYTES)])


def quoted_printable(rng, _):
    lines = ["=".join(f"{rng.randrange(256):02X}" for _ in range(20)) + "=" for _ in range(20)]
    return crlf(header(rng, Content_Transfer_Encoding="quoted-printable") + [""] + lines + ["=2E"])


def looks_like_smtp(rng, _):
    lines = ["QUIT", "RSET", "DATA", ".QUIT", "250 2.0.0 Ok", "MAIL FROM:<a@b.example>",
             "BDAT 10 LAST", "STARTTLS", "HELO x", "From here starts mbox", ">From quoted"]
    rng.shuffle(lines)
    return crlf(header(rng) + [""] + lines)


def bounce(rng, _):
    return crlf(["From: MAILER-DAEMON@example.net", "Auto-Submitted: auto-replied",
                 'Content-Type: multipart/report; report-type=delivery-status; boundary="r"', "",
                 "--r", "", "It failed.", "--r", "Content-Type: message/delivery-status", "",
                 "Reporting-MTA: dns; mx.example.net", "", "Final-Recipient: rfc822;a@b.example",
                 "Action: failed", "Status: 5.1.1", "", "--r--"])


def large(rng, variant):
    line = sentence(rng, 12)[:76]
    return crlf(header(rng) + [""] + [f"{line} {n}" for n in range(3000 * (variant + 1))])


def sized(_, variant):
    """Total sizes around powers of two, where buffers end."""
    size = (4096, 16384, 65536, 131072, 262144, 262145, 524288, 1048576)[variant % 8]
    line = b"s" * 62 + b"\r\n"
    return (line * (size // 64 + 1))[-size:] if size % 64 == 0 else b"t" * (size % 64 + 62) + \
        b"\r\n" + line * (size // 64 - 1)


def no_final_newline(rng, variant):
    return plain(rng, 0)[:-2] + (b"", b".", b"\r\n.", b"end")[variant % 4]


def binary(rng, variant):
    return crlf(header(rng, Content_Transfer_Encoding="binary") + [""]) + rng.randbytes(
        997 * 4 ** (variant % 6))


def bare_newlines(rng, variant):
    marks = (b"\n", b"\r", b"\r\r\n", b"\n\r", b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r")
    mark = marks[variant % len(marks)]
    return plain(rng, 0) + mark.join([b"a", b"b", b".", b"c"]) + b"\r\n"


def nuls(rng, variant):
    return plain(rng, 0) + b"\0" * (10 ** (variant % 5)) + b"\r\n\0.\r\n"


UTF8 = {utf8_header}
FAMILIES = (plain, eight_bit, latin1, every_octet, control_octets, utf8_header, long_lines,
            long_utf8_lines, dots, dot_at_edges, only_dots, empty, header_only, body_only,
            no_header, huge_header, long_header_line, folded, many_received, odd_header,
            blank_endings, nested_mime, forwarded, attachment, quoted_printable, looks_like_smtp,
            bounce, large, sized, no_final_newline, binary, bare_newlines, nuls)


def messages(seed=SEED):
    found = []
    for family in FAMILIES:
        for variant in range(VARIANTS):
            rng = random.Random(f"{seed}/{family.__name__}/{variant}")
            found.append(Message(f"{family.__name__.replace('_', '-')}-{variant}",
                                 family(rng, variant), family in UTF8))
    return found

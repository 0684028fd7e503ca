#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks what a compiler does not: who may include whom, sizes, formats, banned calls. Prints TAP.

Run as `make lint`. Each check is a function that yields "FILE:LINE: what is wrong".
"""
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent

# Room -> rooms whose headers it may include. main (gateway/*.c) sees them all.
MAY = {
    "base": [],
    "config": ["base"],
    "ring": ["base"],
    "tls": ["base", "config"],
    "smtp": ["base", "config"],
    "sts": ["base"],
    "policy": ["base", "config", "smtp/envelope.h"],
    "spool": ["base", "config", "ring", "smtp/envelope.h"],
    "fence": ["base", "config", "bpf/abi.h", "bpf/rules.h", "bpf/bpf.h", "bpf/libbpf.h"],
    "session": ["base", "config", "ring", "tls", "smtp", "policy", "spool", "fence", "watch"],
    "relay": ["base", "config", "ring", "tls", "smtp", "spool", "policy", "sts", "stscache", "tlsrpt"],
    "accept": ["base", "config", "ring", "policy", "fence", "session", "web"],
    "control": ["base"],
    "http": ["base"],
    "web": ["base", "config", "ring", "tls", "http", "sts", "fence"],
    "fetch": ["base"],
    "stscache": ["base", "config", "sts", "fetch"],
    "tlsrpt": ["base", "config", "sts", "fetch", "tls"],
    "watch": ["base", "config"],
}

# Header prefix -> the only room that may include it.
OWNERS = {"liburing": "ring", "openssl/": "tls", "bpf/lib": "fence", "confuse": "config",
          "lmdb": "policy", "unbound": "relay", "curl/": "fetch", "http_parser": "http", "zlib": "tlsrpt"}

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
BANNED = re.compile(r"\b(strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|strtok|alloca|system|popen)\s*\(")
# Assembled from parts, so that this file does not find itself.
LEFT_OPEN = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]) + r")\b")


def sources(*patterns):
    for pattern in patterns:
        yield from sorted(TOP.glob(pattern))


def c_files():
    yield from sources("gateway/**/*.[ch]", "tools/**/*.[ch]", "bench/**/*.[ch]", "tests/**/*.[ch]")


def lines(path):
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def where(path, number):
    return f"{path.relative_to(TOP)}:{number}"


def includes(path):
    for number, line in enumerate(lines(path), 1):
        found = re.match(r'\s*#\s*include\s+["<]([^">]+)[">]', line)
        if found:
            yield number, found.group(1)


def check_includes():
    """rooms include only downward"""
    for room, may in MAY.items():
        for path in sources(f"gateway/{room}/*.[ch]"):
            for number, name in includes(path):
                other = name.split("/")[0]
                if "/" not in name or other not in MAY and other != "bpf" or other == room:
                    continue
                if other not in may and name not in may:
                    yield f"{where(path, number)}: {room}/ may not include {name}"
                elif name.endswith("-private.h"):
                    yield f"{where(path, number)}: {name} is private to its room"


def check_owners():
    """each library has one room"""
    for path in sources("gateway/**/*.[ch]"):
        room = path.parent.name
        for number, name in includes(path):
            for prefix, owner in OWNERS.items():
                if name.startswith(prefix) and room != owner:
                    yield f"{where(path, number)}: <{name}> belongs to {owner}/"


def check_sizes():
    """files and functions stay small"""
    for path in sources("gateway/**/*.[ch]", "tools/**/*.[ch]", "bench/**/*.[ch]"):
        text = lines(path)
        if len(text) > FILE_LINES_MAX:
            yield f"{where(path, len(text))}: {len(text)} lines, at most {FILE_LINES_MAX}"
        start = None
        for number, line in enumerate(text, 1):
            if line == "{":
                start = number
            elif line == "}" and start is not None:
                if number - start > FUNCTION_LINES_MAX:
                    yield f"{where(path, start)}: function of {number - start} lines"
                start = None


def check_words():
    """nothing banned, nothing left open, every file says its licence"""
    for path in c_files():
        text = lines(path)
        if not text or "SPDX-License-Identifier:" not in text[0]:
            yield f"{where(path, 1)}: no SPDX line"
        for number, line in enumerate(text, 1):
            product = not path.is_relative_to(TOP / "tests")
            if product and BANNED.search(line) and not line.lstrip().startswith("*"):
                yield f"{where(path, number)}: {BANNED.search(line).group(1)}() is banned"
            if LEFT_OPEN.search(line):
                yield f"{where(path, number)}: left open: {line.strip()}"
            if re.search(r"typedef\s+struct", line):
                yield f"{where(path, number)}: no typedef of structs"


def run(command):
    return subprocess.run(command, cwd=TOP, capture_output=True, text=True)


def check_notes():
    """every kernel note that is named exists, every note names its test"""
    for path in [*c_files(), *sources("*.md", "gateway/man/*", "kernel-notes/*.md")]:
        for number, line in enumerate(lines(path), 1):
            for name in re.findall(r"kernel-notes/([\w.-]+\.md)", line):
                if not (TOP / "kernel-notes" / name).exists():
                    yield f"{where(path, number)}: there is no kernel-notes/{name}"
    for path in sources("kernel-notes/*.md"):
        for name in re.findall(r"tests/kernel/(\w+\.c)", path.read_text()):
            if not (TOP / "tests/kernel" / name).exists():
                yield f"{where(path, 1)}: there is no tests/kernel/{name}"


def check_format():
    """clang-format finds nothing to change"""
    done = run(["clang-format", "--dry-run", "-Werror", *map(str, c_files())])
    for line in done.stderr.splitlines():
        if "error:" in line:
            yield line.replace(str(TOP) + "/", "")


def check_manuals():
    """manual pages are clean under mandoc -Tlint"""
    pages = list(map(str, sources("gateway/man/*.[1-9]", "bench/man/*.[1-9]", "tools/man/*.[1-9]")))
    if not pages:
        yield "gateway/man: no manual pages"
        return
    done = run(["mandoc", "-Tlint", "-Wwarning", *pages])
    for line in (done.stdout + done.stderr).splitlines():
        yield line.replace(str(TOP) + "/", "")


def check_scripts():
    """scripts parse"""
    for path in sources("tools/*", "tests/**/*", ".ci/*"):
        if not path.is_file() or path.suffix in (".c", ".h"):
            continue
        first = path.read_bytes()[:64]
        if path.suffix == ".py" or first.startswith(b"#!") and b"python" in first.split(b"\n")[0]:
            try:
                compile(path.read_text(), str(path), "exec")
            except SyntaxError as error:
                yield f"{where(path, error.lineno or 1)}: {error.msg}"
        elif path.suffix == ".sh" or first.startswith(b"#!") and b"sh" in first.split(b"\n")[0]:
            shell = "bash" if b"bash" in first.split(b"\n")[0] else "sh"
            done = run([shell, "-n", str(path)])
            if done.returncode != 0:
                yield done.stderr.strip()


def main():
    checks = [check_includes, check_owners, check_sizes, check_words, check_notes, check_format,
              check_manuals, check_scripts]
    failed = 0
    print(f"1..{len(checks)}")
    for number, check in enumerate(checks, 1):
        wrong = list(check())
        failed += bool(wrong)
        print(f"{'not ok' if wrong else 'ok'} {number} - lint: {check.__doc__}", flush=True)
        for line in wrong:
            print(f"# {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

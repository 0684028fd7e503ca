# SPDX-License-Identifier: MIT
"""From the cells of bench/idle/run to IDLE.md."""

import statistics

GOALS = {"clear": 3072, "tls": 24576}   # octets a session
VM_GOALS = {"in clear": 3072, "TLS in user space": 24576, "TLS in the kernel": 8192}
TEXTS = {"clear": "in clear", "tls": "TLS in user space"}


def grown(cell, name="pss"):
    return (cell["during"][name] - cell["before"][name]) / cell["sessions"]


def mib(octets):
    return f"{octets / 1048576:.1f}"


def made(facts):
    yield f"- {facts['date']}, commit {facts['commit']}, took {facts['took_s']} s"
    yield f"- `{facts['command']}`"


def machine(facts):
    yield from made(facts)
    yield (f"- Linux {facts['kernel']}, {facts['cpus']} CPUs ({facts['cpu']}), "
           f"{mib(facts['memory'])} MiB, {facts['libc']}, {facts['openssl']}")


def machines(cells):
    """What was measured in QEMU."""
    for cell in cells:
        yield ""
        yield f"In QEMU, Linux {cell['kernel']} (memory is memory there; times are not times):"
        yield ""
        yield from made(cell["facts"])
        yield ""
        yield "| | sessions | rounds | octets a session, median | least | greatest | goal | |"
        yield "|---|---|---|---|---|---|---|---|"
        for row in cell["rows"]:
            goal, each = VM_GOALS[row["name"]], row["octets"]
            yield (f"| {row['name']} | {row['sessions']} | {len(each)} | "
                   f"{statistics.median(each):.0f} | {min(each)} | {max(each)} | {goal} | "
                   f"{'met' if max(each) <= goal else 'missed'} |")


def sessions(cells):
    """What was measured on this machine."""
    yield ""
    yield ("| | sessions | gateways | octets a session | goal | | before MiB | during MiB | "
           "after they ended MiB |")
    yield "|---|---|---|---|---|---|---|---|---|"
    for cell in cells:
        part, goal = grown(cell), GOALS[cell["phase"]]
        yield (f"| {TEXTS[cell['phase']]} | {cell['sessions']} | {cell['gateways']} | {part:.0f} | "
               f"{goal} | {'met' if part <= goal else 'missed'} | {mib(cell['before']['pss'])} | "
               f"{mib(cell['during']['pss'])} | {mib(cell['after']['pss'])} |")
    if any(cell["gateways"] > 1 for cell in cells):
        yield ""
        yield "More than one gateway: the limit of open files of a process is lower than that here."
    yield ""
    yield "Besides, in the kernel, for both ends of each connection and the load tool:"
    yield ""
    for cell in cells:
        parts = ", ".join(f"{name} {octets / cell['sessions']:.0f}"
                          for name, octets in cell["kernel"].items())
        yield f"- {TEXTS[cell['phase']]}: octets a connection: {parts}"


def idle(result):
    here = [cell for cell in result["cells"] if cell["phase"] != "vm"]
    out = ["# Memory of idle sessions", "",
           "Sessions that have said EHLO and nothing since, from many addresses, over loopback.",
           "A session's part is what the gateway's processes have grown by (PSS), divided by the",
           "number of sessions. Sockets and io_uring are the kernel's and not in it.", ""]
    if here:
        out += [*machine(here[0]["facts"]), *sessions(here)]
    out += machines([cell for cell in result["cells"] if cell["phase"] == "vm"])
    return "\n".join(out) + "\n"

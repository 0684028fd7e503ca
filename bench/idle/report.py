# SPDX-License-Identifier: MIT
"""From the cells of bench/idle/run to IDLE.md and CONSTANCY.md."""

import statistics

GOALS = {"clear": 3072, "tls": 24576}   # octets a session
VM_GOALS = {"in clear": 3072, "TLS in user space": 24576, "TLS in the kernel": 8192}
TEXTS = {"clear": "in clear", "tls": "TLS in user space"}
LAST_TENTH = 0.95
OTHERS_MAX = 0.1        # of the CPUs: the kernel's own threads take some, too; above, the machine was busy


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


def against_clients(one):
    """The gateway's CPU time against that of the load and the sink, which do the same at all times."""
    used = one["cpu_us"]
    clients = used["load"] + used["sink"]
    return used["gateway"] / clients if clients else 0.0


def times(last, first):
    return f"{last / first:.3f}" if first else "not to be had"


def constancy(result):
    cell = result["cells"][0]
    tenths = cell["tenths"]
    first, last = tenths[0], tenths[-1]
    ratio = last["rate"] / first["rate"]
    least = min(one["memory"]["pss"] for one in tenths)
    most = max(one["memory"]["pss"] for one in tenths)
    out = ["# A long run", "",
           f"{cell['messages']} messages of {cell['bytes']} octets in clear, answered 250 when on",
           "disk, relayed to a sink; the gateway's memory (PSS) and its spool at each tenth.",
           "Beside them what the machine did: CPU time a message, by who took it; the part of the",
           "CPUs that others took, the kernel's threads with them; and the control, some fixed work by",
           "this program at the same time: a synced write, and the CPU time of a digest.", ""]
    out += list(machine(cell["facts"]))
    if max(one["others"] for one in tenths) > OTHERS_MAX:
        out += ["", "**Others were busy on this machine, and not always alike: messages/s and CPU times say",
                "little by themselves; what the gateway took against its clients is the firmest.**"]
    out += ["", "| tenth | messages/s | memory MiB | spool MiB | queued | CPU us: gateway | load | "
            "sink | gateway / both | others | control: sync ms | CPU ms |", "|---" * 12 + "|"]
    for i, one in enumerate(tenths):
        used = one["cpu_us"]
        out.append(f"| {i + 1} | {one['rate']:.0f} | {mib(one['memory']['pss'])} | "
                   f"{mib(one['spool'])} | {one['queued']} | {used['gateway']:.1f} | "
                   f"{used['load']:.1f} | {used['sink']:.1f} | "
                   f"{against_clients(one):.2f} | {one['others']:.0%} | "
                   f"{one['control']['sync_ms']:.2f} | {one['control']['work_ms']:.2f} |")
    out += ["", f"- last tenth / first tenth: {ratio:.3f} "
            f"({'met' if ratio >= LAST_TENTH else 'missed'}: at least {LAST_TENTH})",
            "- the gateway's CPU time a message, last tenth / first tenth: "
            f"{times(last['cpu_us']['gateway'], first['cpu_us']['gateway'])}; the control's: "
            f"{times(last['control']['work_ms'], first['control']['work_ms'])}, its synced write "
            f"{times(last['control']['sync_ms'], first['control']['sync_ms'])}",
            "- the same against the CPU time of the load and the sink, which do the same work for each "
            f"message: {times(against_clients(last), against_clients(first))}",
            f"- memory: {mib(least)} to {mib(most)} MiB; {mib(cell['after']['memory']['pss'])} "
            f"with an empty queue",
            f"- spool with an empty queue: {mib(cell['after']['spool'])} MiB"]
    return "\n".join(out) + "\n"

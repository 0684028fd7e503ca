# SPDX-License-Identifier: MIT
"""Writes REPORT.md, compare.json and the plots of one run.

Job: tables and plain sentences about what figures.py found. Plots are drawn by gnuplot (plots.py);
without it the report says so.
"""

import json
import os

import extras
import figures as figures_
import plots
import why

FOREIGN_MAX = 0.05       # of the CPUs: above, the machine was not quiet
CAVEATS = (
    "Load, sink and servers share the CPUs of one machine: messages a second say which server leaves "
    "more of it to the load, not what it could do alone. CPU time a message is the firmer figure.",
    "CPU time is that of the server's processes and of all their children. What TCP on loopback does "
    "is charged to whoever sends, and the kernel's own threads (the journal) to nobody: the same for "
    "all servers.",
    "The servers are asked for the same: one domain, any recipient, no content checks, no lookups in "
    "DNS, relay by LMTP without TLS to the same sink. Each writes its usual log to a file.",
    "The load pipelines where a server offers it (RFC 2920), as senders do: all but OpenSMTPD offer it. "
    "C-steps shows what waiting for each reply changes.",
    "Idle servers stay running beside the one that is measured; they take next to no time.",
)
NGINX = ("nginx's mail proxy is left out: it keeps no queue and answers what the server behind it "
         "answers, so in no shape of A to F does it do what is measured.")


def shown(value, form):
    if value is None:
        return "-"
    if value["n"] == 1:
        return f"{value['median']:{form}}"
    return f"{value['median']:{form}} ({value['min']:{form}} to {value['max']:{form}})"


def table(head, rows):
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head),
            *("| " + " | ".join(str(field) for field in row) + " |" for row in rows), ""]


def rounds_text(found):
    counts = sorted({found.rounds(name) for name in found.shapes}) or [0]
    return f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def seconds_text(facts):
    """Shapes of one length together."""
    lengths = {}
    for name, seconds in facts["seconds"].items():
        lengths.setdefault(seconds, []).append(name)
    return "; ".join(f"{seconds:g} ({', '.join(names)})"
                     for seconds, names in sorted(lengths.items())) or "-"


def head_text(found):
    facts = found.result["facts"]
    foreign = figures_.spread(cell["foreign"] for cell in found.cells.values())
    yield "# Postern and others, measured"
    yield ""
    yield ("Written by `bench/compare/run`, on one machine. A figure is the median of the rounds "
           f"({rounds_text(found)}), with the least and the greatest in brackets.")
    if not facts["full"]:
        yield "This was a short run; `make bench-full` measures longer."
    yield ""
    yield from table(("what", ""), [
        ("date", facts["date"]), ("kernel", facts["kernel"]),
        ("CPU", f"{facts['cpus']} x {facts['cpu']}, {facts['memory_gib']} GiB of memory"),
        ("disk below the queues", facts["disk"]),
        ("version", facts["commit"]), ("OpenSSL", facts["openssl"]),
        ("TLS records", "kernel (kTLS) possible" if facts["ktls"] else
         "user space only: this kernel has no kTLS"),
        ("CPU time by", facts["accounting"]),
        ("command", f"`{facts['command']}`"), ("load, seconds a run", seconds_text(facts)),
        ("took", f"{facts['took_s']} s"),
        ("others' part of the CPUs meanwhile", shown(foreign, ".0%") if foreign else "-")])
    if foreign and foreign["median"] > FOREIGN_MAX:
        yield ("**Others were busy on this machine. CPU time a message is then too high for all servers, "
               "and messages a second and latencies mean little; ratios are the firmest.**")
        yield ""
    for name, why in facts["left_out"]:
        yield f"**{name} is left out: {why}**"
        yield ""


def goals_text(found):
    yield "## Goals"
    yield ""
    if not found:
        yield "None was measured in this run."
        yield ""
        return
    missed = sum(not one["met"] for one in found)
    yield f"{len(found) - missed} met, {missed} missed."
    yield ""
    yield from table(("goal", "wanted", "found", ""), [
        (one["goal"], one["wanted"], one["found"],
         "met" if one["met"] else f"**missed** {one['by']}") for one in found])


def shape_text(found, name):
    facts = found.result["facts"]
    large = name.startswith("E")
    unit, what, form = ("CPU ms a MB", "cpu_ms_a_mb", ".2f") if large \
        else ("CPU us a message", "cpu_us", ".0f")
    yield f"### {name}: {facts['shapes'][name]}"
    yield ""
    rows = []
    for peer in found.peers:
        if not found.of(name, peer, what):
            continue
        more = found.ratio(name, peer, "postern", what)
        system = found.of(name, peer, "system_part")
        rows.append((
            facts["peers"][peer]["title"], shown(found.of(name, peer, what), form),
            f"{more['median']:.1f}" if more else "-",
            f"{system['median']:.0%}" if system else "-",
            shown(found.of(name, peer, "rate"), ".1f" if large else ".0f"),
            shown(found.of(name, peer, "taken"), ".1f" if large else ".0f"),
            *(f"{found.latency(name, peer, which)['median']:.1f}" for which in figures_.PERCENTILES),
            f"{found.of(name, peer, 'memory_mib')['max']:.0f}"))
    yield from table(("server", unit, "times Postern", "of it kernel", "messages/s, relayed",
                      "messages/s, answered 250", "p50 ms", "p90", "p99", "p99.9",
                      "memory MiB (PSS)"), rows)
    yield from pooled_text(found, name)
    if name == "B":
        parts = [(facts["peers"][peer]["title"], found.of("B", peer, "resumed"))
                 for peer in found.peers]
        yield "Sessions that were resumed: " + ", ".join(
            f"{title} {part['median']:.0%}" for title, part in parts if part) + "."
        yield ""
    plot = plots.name(name)
    if plot in found.plotted:
        yield f"![{name}]({plot})"
        yield ""


def pooled_text(found, name):
    """What the percentiles rest on, where they are not medians over the rounds."""
    parts = []
    for peer in found.peers:
        pooled = found.pooled(name, peer)
        if pooled:
            p99 = found.of(name, peer, "p99")
            range_ = f", p99 of single rounds {p99['min']:.0f} to {p99['max']:.0f} ms"
            parts.append(f"{found.result['facts']['peers'][peer]['title']} {pooled['n']} messages"
                         + (range_ if p99["n"] > 1 else ""))
    if parts:
        yield "Percentiles are of all rounds' messages together: " + "; ".join(parts) + "."
        yield ""


def bare_text(found):
    if not found.result["handshakes"]:
        return
    yield "## The bare handshake"
    yield ""
    yield ("What a server takes that does nothing but a full TLS 1.3 handshake with the same "
           "certificate, by OpenSSL, and how many times that a message of shape A takes of Postern:")
    yield ""
    yield from table(("how", "CPU us", "Postern in A, times that"), [
        (text, shown(found.bare(what), ".0f"), shown(found.over_bare(what), ".2f"))
        for what, text in (
            ("load_us", "under A's load: accept, handshake, close; one process a CPU"),
            ("socket_us", "the same, one process and one client on an otherwise idle machine"),
            ("memory_us", "between two objects in memory, on an otherwise idle machine"))
        if found.bare(what)])
    yield ("The goal is against the first, the only one that is measured as Postern is: by the same load "
           "tool, with as many connections at a time, on CPUs that the load keeps busy too. In the "
           "second, each side sleeps until the other has answered, and what waking costs on an idle "
           "machine is in the figure; the third has no kernel in it.")
    yield ""


def idle_text(found):
    if not found.result["idle"]:
        return
    yield "## G: memory of idle sessions"
    yield ""
    yield ("Proportional set size of all processes of a freshly started server, with the sessions "
           "open, less the same before them. What the kernel keeps for sockets is not in it.")
    yield ""
    titles = found.result["facts"]["peers"]
    yield from table(("server", "sessions", "", "KiB each", "MiB in all", "processes"), [
        (titles[one["peer"]]["title"], one["sessions"], "TLS" if one["tls"] else "plaintext",
         f"{one['octets_each'] / 1024:.1f}", f"{one['after']['octets'] / 2**20:.0f}",
         one["after"]["processes"]) for one in found.result["idle"]])
    for one in found.result["idle"]:
        if one["peer"] == "postern" and one["sessions"] < one["wanted"]:
            yield (f"{one['wanted']} were wanted; this machine allows a process fewer open files "
                   "(`ulimit -n -H`).")
            yield ""


def million_text(found):
    cells = found.result["million"]
    if not cells:
        return
    yield f"## H: {cells[0]['count']} messages in one go"
    yield ""
    yield "4 KB, 100 a connection, STARTTLS; each run with a new server. Memory is in MiB (PSS)."
    yield ""
    rows = []
    for number, cell in enumerate(cells):
        memory = [look[1] / 2**20 for look in cell["memory"]]
        rows.append((number + 1, f"{cell['wall_s']:.0f}", f"{cell['count'] / cell['wall_s']:.0f}",
                     f"{memory[0]:.0f}", f"{max(memory):.0f}", f"{memory[-1]:.0f}",
                     cell["wrong"] or "all arrived once"))
    yield from table(("run", "seconds", "messages/s", "memory at the start", "at most", "at the end", ""),
                     rows)
    rows = []
    for what, text_ in (("rate", "messages/s"), ("cpu_us", "CPU us a message")):
        runs = found.tenths(what)
        if runs:
            rows.append([text_, *(shown(figures_.spread(values), ".0f") for values in zip(*runs))])
    yield from table(["tenth", *map(str, range(1, 11))], rows)
    if plots.name("H") in found.plotted:
        yield f"![H]({plots.name('H')})"
        yield ""
        if len(cells) > 1:
            yield "The plot is of the last run."
            yield ""


def profiles_text(found):
    kept = {name: one for name, one in found.result["profiles"].items() if one}
    if not kept:
        return
    yield "## Where Postern's CPU time goes"
    yield ""
    yield ("Samples by the clock (perf) in runs of their own; per cent of the CPU time of all its "
           "processes. `iou-wrk` are the kernel's threads for what io_uring cannot do at once.")
    yield ""
    for name, one in kept.items():
        yield f"### {name}"
        yield ""
        yield ", ".join(f"{threads}: {where} {percent:.0f} %"
                        for percent, threads, where in one["parts"] if percent >= 0.5) + "."
        yield ""
        yield from table(("%", "where", "function"), [
            (f"{percent:.1f}", where, f"`{symbol}`") for percent, where, symbol in one["symbols"]])


def settings_text(facts):
    yield "## Servers and their settings"
    yield ""
    for peer in facts["peers"].values():
        yield f"**{peer['version']}.** {peer['durable']}. Tuning:"
        yield ""
        yield from (f"- {line}" for line in peer["tuning"])
        if peer["note"]:
            yield f"- **{peer['note']}**"
        if peer["messages_max"]:
            yield f"- at most {peer['messages_max']} messages a run"
        if peer["concurrency_max"] < 1000:
            yield f"- driven by at most {peer['concurrency_max']} connections at a time"
        yield ""
    yield NGINX
    yield ""


def doubts_text(found):
    yield "## What to bear in mind"
    yield ""
    yield from (f"- {line}" for line in CAVEATS)
    for peer in found.peers:
        parts = [figures_.agreement(cell) for key, cell in found.cells.items() if key[1] == peer]
        part = figures_.spread(parts)
        if part:
            title = found.result["facts"]["peers"][peer]["title"]
            yield (f"- {title}: the sum over /proc of its processes and of children they waited for "
                   f"is {part['median']:.0%} ({part['min']:.0%} to {part['max']:.0%}) of the control "
                   "group's figure, which is the one used.")
    yield ""


def failures_text(result):
    if not result["failures"]:
        return
    yield "## What went wrong"
    yield ""
    yield "Runs that are named here are in no figure."
    yield ""
    yield from (f"- {line}" for line in result["failures"])
    yield ""


def text(found):
    result = found.result
    yield from head_text(found)
    yield from goals_text(result["goals"])
    yield from why.text(found)
    yield from bare_text(found)
    yield "## Shapes"
    yield ""
    yield ("Percentiles of latency are medians over the rounds of each round's percentile, but for F, where "
           "they are those of all rounds' messages together. Memory is the greatest of all rounds.")
    yield ""
    for name in found.shapes:
        yield from shape_text(found, name)
    if result["enters"]:
        one = result["enters"]
        yield (f"io_uring_enter calls of Postern in C, in a run of its own: {one['calls']} for "
               f"{one['messages']} messages, {one['calls'] / one['messages']:.2f} each, counted by "
               f"{one['by']}.")
        yield ""
    yield from idle_text(found)
    yield from million_text(found)
    yield from profiles_text(found)
    yield from settings_text(result["facts"])
    yield from doubts_text(found)
    yield from failures_text(result)


def as_json(result):
    """With a line for each run: histograms are long."""
    rest = json.dumps({**result, "cells": []}, indent=1)
    lines = ",\n".join("  " + json.dumps(cell) for cell in result["cells"])
    return rest.replace('"cells": []', f'"cells": [\n{lines}\n ]', 1) + "\n"


def write(folder, result):
    """All files of the report into the folder."""
    os.makedirs(folder, exist_ok=True)
    for cell in result["million"]:
        cell["tenths"] = extras.tenths(cell)
    found = figures_.Figures(result)
    result["goals"] = figures_.goals(found)
    found.plotted = plots.draw(folder, found)
    with open(os.path.join(folder, "compare.json"), "w", encoding="utf-8") as file:
        file.write(as_json(result))
    with open(os.path.join(folder, "REPORT.md"), "w", encoding="utf-8") as file:
        file.write("\n".join(text(found)).rstrip("\n") + "\n")

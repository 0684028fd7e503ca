# SPDX-License-Identifier: MIT
"""KTLS.md and ktls.svg out of the results of bench/ktls/run.

What is shown is instructions, never time. Cells that were not measured are left empty, and said.
"""

import os
import shutil
import statistics
import subprocess

import results as results_

WORDS = {"receive": "Receiving (an inbound session)", "send": "Sending (to a next hop)"}
BETTER = 0.02
BULK = 1 << 20
MISSING_MAX = 12            # cells that are named
HEAD = """# Kernel TLS in instructions

Made by `make bench-ktls` (bench/ktls/run): the gateway's process alone, user and kernel, client and next hop
left out; a stock Debian kernel under `qemu -icount shift=0`, one CPU, TLS 1.3, AES-128-GCM, loopback, Maildirs
left out (receiving ends with the 250), messages by one connection at a time.

**These are instructions, not times, and times on emulated hardware would not be times.** One that seals 16 octets
counts as much as one that adds; a cache miss, a copy's bandwidth and a change into the kernel count as nothing. So
crypto and copies weigh too little here, and every saving of copies with them. ERMS and FSRM are off, or each octet
that the kernel copies would count as an instruction.

Receiving: `one` is a connection with a full handshake and one message, `next` is each further message of a connection;
one with two messages costs both. Sending: `each` is a message that comes in clear by BDAT on a connection of its own
and goes on by TLS, over a connection to the next hop that is kept, before the next one comes.

Each connection or message is counted by itself, from rest to rest, and a round gives the mean of the middle half of
them (of 15 connections and 21 messages of 1 to 16 KiB down to two of each of 20 MiB). So what falls into a few of them
by chance is left out: a new segment of the queue (4 million instructions in this machine, where it is memory), a next
hop that is tried again, the kernel's ticks. Gateways have taken some mail before, and their addresses are not random.

A round is a boot of its own, in which all gateways run, the modes in turn; what is shown is the median of the rounds,
in brackets the least and the greatest. `best` is the cheaper of `off` and `always`; `auto` is to be within 2 % of it,
and what is not, by the medians, is called over. On a kernel whose receiving is sound `auto` is `off` for messages of
less than 64 KiB, and hands receiving over in the middle of those that have more; it sends as `off` does. `always` splices
chunks of 256 KiB and more that come by BDAT.

What an idle session costs in memory, under kernel TLS too, is in [IDLE.md](IDLE.md).
"""


def size_text(octets):
    return f"{octets >> 20} MiB" if octets >= 1 << 20 else f"{octets >> 10} KiB"


def million(count):
    digits = 3 if count < 1e7 else 2 if count < 1e8 else 1
    return f"{count / 1e6:.{digits}f}"


def figures_text(figures):
    if not figures:
        return ""
    return (f"{million(statistics.median(figures))} "
            f"({million(min(figures))} to {million(max(figures))})")


def ratio(top, bottom):
    """By the medians, and by each round: (change, least, greatest)."""
    rounds = [one / other - 1 for one, other in zip(top, bottom)]
    return statistics.median(top) / statistics.median(bottom) - 1, min(rounds), max(rounds)


def ratio_text(change):
    return f"{change[0]:+.1%} ({change[1]:+.1%} to {change[2]:+.1%})"


def judged(modes):
    """`always` against `off`, `auto` against the cheaper of the two; None where one is missing."""
    off, always, auto = (modes[mode] for mode in results_.MODES)
    gain = ratio(always, off) if off and always else None
    if not (off and always and auto):
        return gain, None
    best = min(off, always, key=statistics.median)
    return gain, ratio(auto, best)


def rows(result, direction, verb):
    """(size, kind, {mode: figures}) of a table."""
    for size in result["sizes"]:
        for kind in results_.KINDS[direction]:
            cells = {mode: results_.find(result["cells"], direction, verb, mode, size) or {}
                     for mode in results_.MODES}
            yield size, kind, {mode: cell.get(kind, []) for mode, cell in cells.items()}


def table(result, direction, verb):
    lines = ["| message | | off | always | auto | always to off | auto to best |",
             "|---|---|---:|---:|---:|---:|---:|"]
    for size, kind, modes in rows(result, direction, verb):
        gain, change = judged(modes)
        row = [size_text(size), kind, *(figures_text(modes[mode]) for mode in results_.MODES),
               ratio_text(gain) if gain else "",
               ratio_text(change) + (" (over)" if change[0] > BETTER else "") if change else ""]
        lines.append("| " + " | ".join(row) + " |")
    return lines + [""]


def places(result):
    """(words, size, {mode: figures}) of all tables."""
    for direction in results_.DIRECTIONS:
        for verb in results_.VERBS:
            for size, kind, modes in rows(result, direction, verb):
                yield f"{direction} {verb.upper()} {size_text(size)} {kind}", size, modes


def lacking(result):
    every = {*results_.DIRECTIONS, *results_.VERBS, *results_.MODES}
    left = [f"{direction} {verb.upper()} {mode} {size_text(size)} ({have} rounds)"
            for direction, verb, mode, size, have in results_.missing(result, every)]
    more = [f"{len(left) - MISSING_MAX} more cells"] if len(left) > MISSING_MAX else []
    return ", ".join(left[:MISSING_MAX] + more) or "nothing"


def verdict(result):
    """What the tables come to: within the goal or not, how chance weighs, what is missing."""
    changes, bulk, spreads = [], [], []
    for place, size, modes in places(result):
        change = judged(modes)[1]
        if change:
            changes.append((change[0], place))
        if size >= BULK and modes["auto"] and modes["off"]:
            bulk.append((ratio(modes["auto"], modes["off"])[0], place))
        spreads += [(max(figures) / min(figures) - 1, f"{place} {mode}")
                    for mode, figures in modes.items() if figures]
    over = [f"{place} {change:+.1%}" for change, place in changes if change > BETTER]
    lines = [f"- `auto` to the better mode: {len(changes) - len(over)} of {len(changes)} figures "
             f"within {BETTER:.0%}" + (f"; over: {', '.join(over)}" if over else "") +
             (f"; the greatest is {max(changes)[0]:+.1%} ({max(changes)[1]})" if changes else "")]
    if bulk:
        lines.append(f"- `auto` to `off` from {size_text(BULK)} on: {max(bulk)[0]:+.1%} "
                     f"({max(bulk)[1]}) to {min(bulk)[0]:+.1%} ({min(bulk)[1]})")
    if spreads:
        middle = statistics.median(spread for spread, _ in spreads)
        lines.append(f"- from the least round to the greatest: {middle:.1%} in the median figure, "
                     f"{max(spreads)[0]:.1%} at most ({max(spreads)[1]})")
    commits = ", ".join(result.get("commits", []))
    return lines + [f"- {result['rounds']} rounds, commit {commits}; missing: {lacking(result)}", ""]


def text(results, more):
    lines = [HEAD]
    for result in results.values():
        lines += [f"## Kernel {result['kernel']}", "", *verdict(result)]
        for direction, word in WORDS.items():
            for verb in results_.VERBS:
                lines += [f"### {word}, {verb.upper()}, million instructions", ""]
                lines += table(result, direction, verb)
    return "\n".join(lines) + more


def plot(results, path):
    """`always` and `auto` against `off`, by size. False: no gnuplot."""
    if not shutil.which("gnuplot"):
        return False
    result = next(iter(results.values()))
    tics = [f"'{size_text(size)}' {size}" for size in result["sizes"]]
    script = ["set terminal svg size 900,480 background rgb 'white'", f"set output '{path}'",
              "set logscale x 2", "set xlabel 'a message'", "set grid",
              "set ylabel 'instructions to ktls = off, %'", "set key outside",
              f"set title 'Kernel TLS, instructions (not time), Linux {result['kernel']}'",
              f"set xtics ({', '.join(tics)})"]
    curves = []
    for direction in WORDS:
        for verb in results_.VERBS:
            for mode in ("always", "auto"):
                for kind in results_.KINDS[direction]:
                    points = curve(result, direction, verb, mode, kind)
                    if not points:
                        continue
                    name = f"$c{len(curves)}"
                    script += [f"{name} << EOD", *points, "EOD"]
                    curves.append(f"{name} using 1:2 with linespoints title "
                                  f"'{direction} {verb} {mode} {kind}'")
    if curves:
        script.append("plot " + ", ".join(curves))
        subprocess.run(["gnuplot"], input="\n".join(script), text=True, check=True)
    return bool(curves)


def curve(result, direction, verb, mode, kind):
    points = []
    for size, which, modes in rows(result, direction, verb):
        if which == kind and modes["off"] and modes[mode]:
            change = ratio(modes[mode], modes["off"])
            points.append(f"{size} {100 * change[0]:.2f}")
    return points


def write(results, folder):
    plotted = plot(results, os.path.join(folder, "ktls.svg"))
    more = "\n![instructions to ktls = off](ktls.svg)\n" if plotted else ""
    with open(os.path.join(folder, "KTLS.md"), "w", encoding="utf-8") as file:
        file.write(text(results, more))

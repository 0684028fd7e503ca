# SPDX-License-Identifier: MIT
"""KTLS.md and ktls.svg out of the results of bench/ktls/run.

What is shown is instructions, never time. Cells that were not measured are left empty, and said.
"""

import os
import shutil
import subprocess

WORDS = {"receive": "Receiving (an inbound session)", "send": "Sending (to a next hop)"}
BETTER = 0.02
# What a cell may have, each in instructions.
KINDS = ("one", "two", "next", "each")
HEAD = """# Kernel TLS in instructions

Made by `make bench-ktls` (bench/ktls/run): the gateway's process alone, user and kernel, client and next hop
left out; a stock Debian kernel under `qemu -icount shift=0`, one CPU, TLS 1.3, AES-128-GCM, loopback, Maildirs
left out (receiving ends with the 250), messages by one connection at a time.

**These are instructions, not times, and times on emulated hardware would not be times.** One that seals 16 octets
counts as much as one that adds; a cache miss, a copy's bandwidth and a change into the kernel count as nothing. So
crypto and copies weigh too little here, and every saving of copies with them. ERMS and FSRM are off, or each octet
that the kernel copies would count as an instruction.

Receiving: `one` is a connection with a full handshake and one message, `two` one with two messages; `next` is each
further message of a connection (the mean of as many as the size allows, less the first, which `one` tells). Sending:
`each` is a message that comes in clear by BDAT on a connection of its own and goes on by TLS, over a connection to the
next hop that is kept, before the next one comes. `best` is the cheaper of `off` and `always`; `auto` is to be within
2 % of it.

What is the same twice differs by up to 3 %, in few cells by 5 (handshakes by the chance of signatures, writes by that
of timers; the more so the fewer messages a size has). On a kernel whose receiving is sound `auto` and `always` do the
same, but for large chunks under TLS, which only `always` splices; elsewhere the difference of their columns is
chance, and `(over)` with it. Cells come from several boots.

What an idle session costs in memory, under kernel TLS too, is in [IDLE.md](IDLE.md).
"""


def find(cells, **keys):
    for cell in cells:
        if all(cell.get(key) == value for key, value in keys.items()):
            return cell
    return None


def size_text(octets):
    return f"{octets >> 20} MiB" if octets >= 1 << 20 else f"{octets >> 10} KiB"


def million(cell, what):
    return f"{cell[what] / 1e6:.3f}" if cell else ""


def kinds(cells):
    """Which figures any of these cells have."""
    return [what for what in KINDS if any(cell and what in cell for cell in cells)]


def judged(modes, what):
    """`auto` against the cheaper of the two, and `always` against `off`."""
    off, always, auto = (modes[mode] for mode in ("off", "always", "auto"))
    gain = f"{always[what] / off[what] - 1:+.1%}" if off and always else ""
    if not (off and always and auto):
        return gain, ""
    change = auto[what] / min(off[what], always[what]) - 1
    return gain, f"{change:+.1%}" + (" (over)" if change > BETTER else "")


def table(cells, direction, verb):
    sizes = sorted({cell["size"] for cell in cells
                    if cell["direction"] == direction and cell["verb"] == verb})
    if not sizes:
        return ["Not measured.", ""]
    lines = ["| message | | off | always | auto | always to off | auto to best |",
             "|---|---|---:|---:|---:|---:|---:|"]
    for size in sizes:
        modes = {mode: find(cells, direction=direction, verb=verb, mode=mode, size=size)
                 for mode in ("off", "always", "auto")}
        for what in kinds(modes.values()):
            gain, change = judged(modes, what)
            row = [size_text(size), what] + [million(modes[m], what) for m in modes]
            lines.append("| " + " | ".join(row + [gain, change]) + " |")
    return lines + [""]


def text(results, more):
    lines = [HEAD]
    for name, result in results.items():
        lines += [f"## Kernel {result['kernel']}", ""]
        for direction, word in WORDS.items():
            for verb in ("data", "bdat"):
                lines += [f"### {word}, {verb.upper()}, million instructions", ""]
                lines += table(result["cells"], direction, verb)
    return "\n".join(lines) + more


def plot(results, path):
    """`always` and `auto` against `off`, by size. False: no gnuplot."""
    if not shutil.which("gnuplot"):
        return False
    result = next(iter(results.values()))
    script = ["set terminal svg size 900,480 background rgb 'white'", f"set output '{path}'",
              "set logscale x 2", "set xlabel 'octets of a message'", "set grid",
              "set ylabel 'instructions to ktls = off, %'", "set key outside",
              "set title 'Kernel TLS, instructions (not time)'", "set format x '%.0s%c'"]
    curves = []
    for direction in WORDS:
        for verb in ("data", "bdat"):
            for mode in ("always", "auto"):
                for what in ("one", "next", "each"):
                    points = curve(result["cells"], direction, verb, mode, what)
                    if not points:
                        continue
                    name = f"$c{len(curves)}"
                    script += [f"{name} << EOD", *points, "EOD"]
                    curves.append(f"{name} using 1:2 with linespoints title "
                                  f"'{direction} {verb} {mode} {what}'")
    if curves:
        script.append("plot " + ", ".join(curves))
        subprocess.run(["gnuplot"], input="\n".join(script), text=True, check=True)
    return bool(curves)


def curve(cells, direction, verb, mode, what):
    points = []
    for cell in sorted(cells, key=lambda one: one["size"]):
        off = find(cells, direction=direction, verb=verb, mode="off", size=cell["size"])
        if (off and what in cell and what in off and
                (cell["direction"], cell["verb"], cell["mode"]) == (direction, verb, mode)):
            points.append(f"{cell['size']} {100 * (cell[what] / off[what] - 1):.2f}")
    return points


def write(results, folder):
    plotted = plot(results, os.path.join(folder, "ktls.svg"))
    more = "\n![instructions to ktls = off](ktls.svg)\n" if plotted else ""
    with open(os.path.join(folder, "KTLS.md"), "w", encoding="utf-8") as file:
        file.write(text(results, more))

# SPDX-License-Identifier: MIT
"""Plots of a run, SVG by gnuplot: CPU time and messages a second of each shape, H over time.

Without gnuplot there are none. The least and the greatest of the rounds are drawn as error bars.
"""

import os
import shutil
import subprocess
import sys

HEAD = """set terminal svg size {width},{height} font "sans-serif,13" background "white"
set output "{output}"
set border 3
set tics nomirror
set style fill solid 0.75
set boxwidth 0.6
unset key
"""
BARS = """set multiplot layout 1,2
set xrange [-0.6:{last}]
set xtics rotate by -25
set grid ytics
set logscale y
set title "{left}"
plot $left using 1:3 with boxes lc rgb "#4477aa", "" using 1:3:4:5:xtic(2) with yerrorbars lc rgb "#222222" pt 0
set title "{right}"
plot $right using 1:3 with boxes lc rgb "#cc7744", "" using 1:3:4:5:xtic(2) with yerrorbars lc rgb "#222222" pt 0
unset multiplot
"""
TIME = """set title "messages/s at the sink, and memory"
set xlabel "seconds"
set ylabel "messages/s"
set y2label "MiB (PSS)"
set y2tics
set yrange [0:*]
set y2range [0:*]
set key bottom right
plot $rate using 1:2 with lines lc rgb "#4477aa" title "messages/s", \\
	$memory using 1:2 axes x1y2 with lines lc rgb "#cc7744" title "memory"
"""


def name(shape):
    return f"compare-{shape.lower()}.svg"


def block(title, rows):
    return f"${title} << EOD\n" + "".join(" ".join(map(str, row)) + "\n" for row in rows) + "EOD\n"


def gnuplot(folder, output, script, width=900, height=360):
    """Draws; False where gnuplot did not."""
    text = HEAD.format(width=width, height=height, output=os.path.join(folder, output)) + script
    done = subprocess.run(["gnuplot"], input=text.encode(), capture_output=True, timeout=60,
                          check=False)
    if done.returncode != 0:
        print(f"!!! gnuplot, {output}: {done.stderr.decode().strip()}", file=sys.stderr)
    return done.returncode == 0


def bars(found, shape, what):
    rows = []
    for peer in found.peers:
        value = (found.latency if what == "p99" else found.of)(shape, peer, what)
        if value:
            title = found.result["facts"]["peers"][peer]["title"]
            rows.append((len(rows), f'"{title}"', value["median"], value["min"], value["max"]))
    return rows


def draw_shape(folder, found, shape):
    left, unit = ("cpu_ms_a_mb", "CPU ms a MB") if shape.startswith("E") \
        else ("cpu_us", "CPU us a message")
    right, other = ("p99", "p99 of latency, ms") if shape == "F" else ("rate", "messages/s, relayed")
    rows = bars(found, shape, left)
    if not rows:
        return False
    return gnuplot(folder, name(shape), block("left", rows)
                   + block("right", bars(found, shape, right))
                   + BARS.format(left=f"{shape}: {unit} (less is better)",
                                 right=f"{shape}: {other}", last=len(rows) - 0.4))


def draw_million(folder, cell):
    rate = []
    for early, late in zip(cell["memory"], cell["memory"][1:]):
        rate.append((late[0], (late[2] - early[2]) / (late[0] - early[0])))
    if len(rate) < 3:
        return False
    memory = [(look[0], look[1] / 2**20) for look in cell["memory"]]
    return gnuplot(folder, name("H"), block("rate", rate) + block("memory", memory) + TIME)


def draw(folder, found):
    """The names of the plots that were drawn."""
    if not shutil.which("gnuplot"):
        print("!!! gnuplot is not there: the report has no plots", file=sys.stderr)
        return set()
    drawn = {name(shape) for shape in found.shapes if draw_shape(folder, found, shape)}
    if found.result["million"] and draw_million(folder, found.result["million"][-1]):
        drawn.add(name("H"))
    return drawn

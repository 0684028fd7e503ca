# SPDX-License-Identifier: MIT
"""From the cells of a run to figures and goals.

Every figure is a median over rounds, with the least and the greatest beside it. Ratios are taken
within a round, where the machine was the same for both, and then summed up. A goal is met or missed
by its median; a figure that was not measured is left out, never guessed, and cells in which anything
went wrong do not count.

Where cells have the histogram of latencies (F), percentiles are those of all rounds' messages together:
in seconds, a slow server gets a few hundred, and the p99 of one round is the fifth slowest of them.
"""

import math
import statistics

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99_9": 0.999}
PERCENTILES = tuple(QUANTILES)
MEASURED = ("A", "B", "C", "C-steps", "D", "E-data", "E-bdat", "F")
SMALL = ("A", "B", "C", "C-steps", "D")
BARE_FACTOR = 1.35
ENTERS_MAX = 1.5
FLAT_PERCENT = 5.0
# Shape, at most this part of Postfix's CPU time; at least so many times its messages a second.
CPU_GOALS = (("A", 8), ("B", 10), ("C", 30), ("D", 12), ("E-data", 8), ("E-bdat", 8))
RATE_GOALS = (("A", 5), ("C", 15))
F_FACTOR = 3
# TLS (kTLS), TLS (user space), plaintext: octets a session
IDLE_GOALS = {("tls", True): 8 * 1024, ("tls", False): 24 * 1024, ("plain", None): 3 * 1024}


def spread(values):
    values = [value for value in values if value is not None]
    if not values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values),
            "n": len(values)}


def cpu_s(cell):
    return cell["cpu"]["group"][0] if cell["cpu"]["group"] else cell["cpu"]["processes"]


def cpu_us(cell):
    return cpu_s(cell) * 1e6 / cell["load"]["accepted"]


def cpu_ms_a_mb(cell):
    return cpu_s(cell) * 1e3 / (cell["load"]["octets"] / 1e6)


def rate(cell):
    return cell["load"]["accepted"] / cell["wall_s"]


def taken(cell):
    """Messages a second that were answered 250, relayed or not."""
    return cell["load"]["messages_per_second"]


def latency(which):
    return lambda cell: cell["load"]["latency_us"][which] / 1000


def memory_mib(cell):
    return cell["memory"]["octets"] / 2**20


def system_part(cell):
    group = cell["cpu"]["group"]
    return group[2] / group[0] if group and group[0] else None


def agreement(cell):
    """The sum over /proc against the control group."""
    group = cell["cpu"]["group"]
    return cell["cpu"]["processes"] / group[0] if group and group[0] else None


def resumed(cell):
    return cell["load"]["resumed"] / cell["load"]["handshakes"] \
        if cell["load"]["handshakes"] else None


WHAT = {"cpu_us": cpu_us, "cpu_ms_a_mb": cpu_ms_a_mb, "rate": rate, "taken": taken,
        "memory_mib": memory_mib, "system_part": system_part, "agreement": agreement,
        "resumed": resumed, **{which: latency(which) for which in PERCENTILES}}


def pool(cells):
    """The histograms of latency of all of them as one, {"n", "max", "buckets": {upper end: count}} in
    us; None where one has none."""
    found = {"n": 0, "max": 0.0, "buckets": {}}
    for latencies in (cell["load"]["latency_us"] for cell in cells):
        if "buckets" not in latencies:
            return None
        found["max"] = max(found["max"], latencies["max"])
        for top, count in latencies["buckets"]:
            found["n"] += count
            found["buckets"][top] = found["buckets"].get(top, 0) + count
    return found if found["n"] else None


def quantile(pooled, part):
    """As postern-load has it: the upper end of the bucket that it falls into."""
    rank, seen = max(1, math.ceil(part * pooled["n"])), 0
    for top in sorted(pooled["buckets"]):
        seen += pooled["buckets"][top]
        if seen >= rank:
            return min(top, pooled["max"])
    return pooled["max"]


class Figures:
    def __init__(self, result):
        self.result = result
        self.cells = {}
        for cell in result["cells"]:
            if not cell["wrong"]:
                self.cells[(cell["shape"], cell["peer"], cell["round"])] = cell
        self.peers = [name for name in result["facts"]["peers"]
                      if any(key[1] == name for key in self.cells)]
        self.shapes = [name for name in result["facts"]["shapes"]
                       if any(key[0] == name for key in self.cells)]

    def by_round(self, shape, peer, what):
        return {number: WHAT[what](cell) for (name, other, number), cell in self.cells.items()
                if (name, other) == (shape, peer)}

    def of(self, shape, peer, what):
        return spread(self.by_round(shape, peer, what).values())

    def ratio(self, shape, over, under, what):
        """`over` divided by `under`, round by round."""
        upper, lower = self.by_round(shape, over, what), self.by_round(shape, under, what)
        return spread(upper[n] / lower[n] for n in upper if lower.get(n))

    def pooled(self, shape, peer):
        return pool(cell for key, cell in self.cells.items() if key[:2] == (shape, peer))

    def latency(self, shape, peer, which):
        """ms, as `of` has it; but of all rounds' messages together, where that can be had."""
        found, pooled = self.of(shape, peer, which), self.pooled(shape, peer)
        if found and pooled:
            found["median"] = quantile(pooled, QUANTILES[which]) / 1000
        return found

    def slower(self, shape, over, under, which):
        """How many times one's latency is the other's, with the range of single rounds."""
        found = self.ratio(shape, over, under, which)
        if found and self.pooled(shape, over) and self.pooled(shape, under):
            upper, lower = (self.latency(shape, peer, which)["median"] for peer in (over, under))
            found |= {"median": upper / lower, "pooled": True}
        return found

    def bare(self, what):
        return spread(one.get(what) for one in self.result["handshakes"] if one)

    def over_bare(self, what):
        """Postern's CPU time of a message in A against the bare handshake of its round."""
        found = self.by_round("A", "postern", "cpu_us")
        bare = dict(enumerate(self.result["handshakes"]))
        return spread(value / bare[n][what] for n, value in found.items()
                      if bare.get(n) and what in bare[n])

    def tenths(self, what):
        """Of each long run (H) in which nothing went wrong."""
        return [one["tenths"][what] for one in self.result["million"] if not one["wrong"]]

    def rounds(self, shape):
        return len({key[2] for key in self.cells if key[0] == shape})

    def bdat_to_data(self):
        data = self.by_round("E-data", "postern", "cpu_ms_a_mb")
        bdat = self.by_round("E-bdat", "postern", "cpu_ms_a_mb")
        return spread(bdat[n] / data[n] for n in bdat if n in data)


def goal(text, wanted, found, met, form="{:.1f} times"):
    """A line of the table of goals; `found` is a spread, `wanted` a number."""
    value, seen = found["median"], form.format(found["median"])
    if found["n"] > 1:
        single = "single rounds: " if found.get("pooled") else ""
        seen += f" ({single}{form.format(found['min'])} to {form.format(found['max'])})"
    factor = max(abs(value) / wanted, wanted / abs(value)) if value else 1
    return {"goal": text, "wanted": form.format(wanted), "met": met, "found": seen,
            "by": "" if met else f"by a factor of {factor:.2f}"}


def goals(figures):
    out = []
    at_least = [(shape, factor, "cpu_us", "postfix", "postern", "CPU time a message: Postfix's is "
                 "so many times Postern's") for shape, factor in CPU_GOALS]
    at_least += [(shape, factor, "rate", "postern", "postfix", "messages/s: Postern's are so many "
                  "times Postfix's") for shape, factor in RATE_GOALS]
    at_least.append(("F", F_FACTOR, "p99", "postfix", "postern",
                     "p99 of latency at half load: Postfix's is so many times Postern's"))
    for shape, factor, what, over, under, text in sorted(at_least, key=lambda one: one[0]):
        found = (figures.slower if what in QUANTILES else figures.ratio)(shape, over, under, what)
        if found and found.get("pooled"):
            text = text.replace("half load", "half load, of all rounds' messages")
        if found:
            out.append(goal(f"{shape}: {text}, at least", factor, found,
                            found["median"] >= factor))
    out += own_goals(figures)
    out += lead_goals(figures)
    return out


def own_goals(figures):
    out = []
    found = figures.over_bare("load_us")
    if found:
        out.append(goal("A: CPU time a message against the bare handshake under the same load, at most",
                        BARE_FACTOR, found, found["median"] <= BARE_FACTOR, "{:.2f} times"))
    found = figures.bdat_to_data()
    if found:
        out.append(goal("E: CPU time of BDAT against DATA, below", 1.0, found,
                        found["median"] < 1.0, "{:.2f} times"))
    enters = figures.result["enters"]
    if enters:
        out.append(goal("C: io_uring_enter calls a message, at most", ENTERS_MAX,
                        spread([enters["calls"] / enters["messages"]]),
                        enters["calls"] / enters["messages"] <= ENTERS_MAX, "{:.2f}"))
    for one in figures.result["idle"]:
        if one["peer"] == "postern":
            out.append(idle_goal(one, figures.result["facts"]["ktls"]))
    for what, text in (("rate", "messages/s"), ("cpu_us", "CPU time a message")):
        found = spread((values[-1] / values[0] - 1) * 100 for values in figures.tenths(what))
        if found:
            out.append(goal(f"H: {text} of the last tenth against the first, within", FLAT_PERCENT,
                            found, abs(found["median"]) <= FLAT_PERCENT, "{:+.1f} %"))
    return out


def idle_goal(one, ktls):
    wanted = IDLE_GOALS[("tls", ktls) if one["tls"] else ("plain", None)]
    name = ("TLS, records in " + ("the kernel" if ktls else "user space")) if one["tls"] \
        else "plaintext"
    return goal(f"G: memory of an idle session, {name}, {one['sessions']} of them, at most",
                wanted / 1024, spread([one["octets_each"] / 1024]),
                one["octets_each"] <= wanted, "{:.1f} KiB")


def lead_goals(figures):
    """Postern is to lead everybody, in A to F."""
    out = []
    for peer in figures.peers:
        if peer in ("postern", "postfix"):
            continue
        for shape in MEASURED:
            found = figures.ratio(shape, peer, "postern", "cpu_us")
            if found:
                title = figures.result["facts"]["peers"][peer]["title"]
                out.append(goal(f"{shape}: CPU time a message: {title}'s is so many times "
                                "Postern's, above", 1.0, found, found["median"] > 1.0))
    return out

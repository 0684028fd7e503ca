# SPDX-License-Identifier: MIT
"""From the rounds of bench/idle/run's phase `messages` to CONSTANCY.md.

On a shared machine one tenth may be a quarter faster than the next, whatever the gateway does. So every
figure is a median over rounds, with the least and the greatest, and beside the rates stand what the
machine's mood touches less: CPU time, that against the clients' in the same seconds, and a worn gateway
against a new one in turn.
"""

import statistics

from report import machine, mib

RATE_MIN = 0.95             # last tenth / first tenth
MEMORY_MAX = 1.05           # last tenth / fifth: what is made when it is first needed is there by then
HALF = 4                    # the fifth tenth
OTHERS_MAX = 0.1        # of the CPUs: the kernel's own threads take some, too; above, the machine was busy
SAME = ("kernel", "cpu", "cpus", "memory")


def difference(cell, messages, facts):
    """What keeps a round of an earlier run from standing beside new ones; "" if nothing does. Results
    that were written beside the sources make a version "dirty"."""
    if cell["messages"] != messages:
        return "number of messages"
    if cell["facts"]["commit"].removesuffix("-dirty") != facts["commit"].removesuffix("-dirty"):
        return "version"
    return next((key for key in SAME if cell["facts"][key] != facts[key]), "")


def shown(values, form=".3f"):
    """The median, and where they range."""
    values = list(values)
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:{form}}"
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def ratio(last, first):
    return last / first if first else 0.0


def against_clients(used):
    """The gateway's CPU time against that of the load and the sink, which do the same at all times."""
    return ratio(used["gateway"], used["load"] + used["sink"])


COLUMNS = (
    ("messages/s", lambda one: one["rate"], ".0f"),
    ("memory MiB", lambda one: one["memory"]["pss"] / 1048576, ".1f"),
    ("of it huge pages", lambda one: one["memory"]["huge"] / 1048576, ".1f"),
    ("spool MiB", lambda one: one["spool"] / 1048576, ".0f"),
    ("queued", lambda one: one["queued"], ".0f"),
    ("CPU us: gateway", lambda one: one["cpu_us"]["gateway"], ".1f"),
    ("load", lambda one: one["cpu_us"]["load"], ".1f"),
    ("sink", lambda one: one["cpu_us"]["sink"], ".1f"),
    ("gateway / both", lambda one: against_clients(one["cpu_us"]), ".2f"),
    ("others", lambda one: one["others"], ".0%"),
    ("control: sync ms", lambda one: one["control"]["sync_ms"], ".2f"),
    ("CPU ms", lambda one: one["control"]["work_ms"], ".2f"),
)
RATE = "messages/s"
CPU = "the gateway's CPU time a message"
CLIENTS = "the same against that of load and sink, which do the same work for each message"
# Last tenth / first tenth of a round.
TENTHS = (
    (RATE, lambda one: one["rate"]),
    (CPU, lambda one: one["cpu_us"]["gateway"]),
    (CLIENTS, lambda one: against_clients(one["cpu_us"])),
    ("memory, what is made at the first need included", lambda one: one["memory"]["pss"]),
    ("the control's CPU time", lambda one: one["control"]["work_ms"]),
    ("the control's synced write", lambda one: one["control"]["sync_ms"]),
)
# Worn / new, of the short runs in turn.
PAIRS = TENTHS[:3]


def last_to_first(cell, value):
    return ratio(value(cell["tenths"][-1]), value(cell["tenths"][0]))


def worn_to_new(cell, value):
    """The median of a round's pairs; None where none were made."""
    pairs = [ratio(value(pair["worn"]), value(pair["new"])) for pair in cell.get("pairs", ())]
    return statistics.median(pairs) if pairs else None


def verdict(met):
    return "met" if met else "**missed**"


def own_memory(tenth):
    """Without huge pages: the kernel makes them of small ones, and a whole one of a part, when it likes."""
    return tenth["memory"]["pss"] - tenth["memory"]["huge"]


def goals(cells):
    rates = [last_to_first(cell, TENTHS[0][1]) for cell in cells]
    sizes = [ratio(own_memory(cell["tenths"][-1]), own_memory(cell["tenths"][HALF]))
             for cell in cells]
    yield (f"- {RATE}, last tenth / first tenth: {shown(rates)}, at least {RATE_MIN}: "
           + verdict(statistics.median(rates) >= RATE_MIN))
    yield (f"- memory but huge pages, last tenth / fifth: {shown(sizes)}, at most {MEMORY_MAX}: "
           + verdict(statistics.median(sizes) <= MEMORY_MAX))
    worn = [part for part in (worn_to_new(cell, TENTHS[0][1]) for cell in cells) if part]
    if worn:
        yield (f"- {RATE}, the worn gateway / a new one, in turn: {shown(worn)}, at least {RATE_MIN}: "
               + verdict(statistics.median(worn) >= RATE_MIN))


def table(head, rows):
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    yield from ("| " + " | ".join(row) + " |" for row in rows)


def tenths(cells):
    yield from table(("tenth", *(name for name, _, _ in COLUMNS)), (
        (str(number + 1), *(shown([value(cell["tenths"][number]) for cell in cells], form)
                            for _, value, form in COLUMNS)) for number in range(10)))


def ratios(cells, kinds, of):
    """A row a kind: the median, and each round."""
    rows = []
    for name, value in kinds:
        found = [of(cell, value) for cell in cells]
        rows.append((name, shown(part for part in found if part is not None),
                     *("-" if part is None else f"{part:.3f}" for part in found)))
    yield from table(("", "median (least to greatest)",
                      *(f"round {number + 1}" for number in range(len(cells)))), rows)


def made(cells):
    for number, cell in enumerate(cells):
        facts = cell["facts"]
        yield (f"- round {number + 1}: {facts['date']}, {cell['took_s']:.0f} s, commit "
               f"{facts['commit']}, `{facts['command']}`")
    yield list(machine(cells[-1]["facts"]))[-1]


def head(cells):
    cell = cells[0]
    yield from ("# A long run", "",
                f"{cell['messages']} messages of {cell['bytes']} octets in clear, answered 250 when on",
                "disk, relayed to a sink; the gateway's memory (PSS) and its spool at each tenth. Each",
                "round begins with a new gateway and an empty spool. A figure is the median of the",
                f"rounds ({len(cells)}), with the least and the greatest.",
                "Huge pages are told apart: the gateway asks for them for its blocks, which are of one size",
                "all the time, and the kernel makes one, of 2 MiB, of what there is of it, when it likes.",
                "Beside them what the machine did: CPU time a message, by who took it; the part of the",
                "CPUs that others took, the kernel's threads with them; and the control, some fixed work by",
                "this program at the same time: a synced write, and the CPU time of a digest.", "")
    yield from made(cells)
    most = max(one["others"] for cell in cells for one in cell["tenths"])
    if most > OTHERS_MAX:
        yield from ("", f"**Others were busy on this machine ({most:.0%} of its CPUs in one tenth), and not "
                    "always alike:", "messages/s and CPU times say little by themselves; what the gateway took "
                    "against its clients,", "and the runs in turn, are the firmest.**")


def text(result):
    cells = result["cells"]
    out = [*head(cells), "", "## Goals", "", *goals(cells), "", "## Tenths", "", *tenths(cells), "",
           "Last tenth / first tenth:", "", *ratios(cells, TENTHS, last_to_first), ""]
    after = [cell["after"] for cell in cells]
    out += ["With an empty queue: memory "
            + shown((one["memory"]["pss"] / 1048576 for one in after), ".1f") + " MiB, spool "
            + shown((one["spool"] / 1048576 for one in after), ".0f") + " MiB."]
    if any(cell.get("pairs") for cell in cells):
        out += ["", "## Worn and new, in turn", "",
                "After the last tenth a new gateway is started beside the one that carried all of it, and",
                f"both get short runs in turn, {len(cells[-1]['pairs'])} each, until the last message is "
                "relayed.", "Whatever the machine does meanwhile, it does to both. Worn / new, a round the "
                "median of its pairs:", "", *ratios(cells, PAIRS, worn_to_new)]
    return "\n".join(out) + "\n"

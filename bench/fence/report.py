# SPDX-License-Identifier: MIT
"""From the cells of bench/fence/run to figures, and from figures to FENCE.md.

Every figure is a median, with the least and the greatest of the rounds beside it. Ratios are taken
within a round and then summed up: what the machine did besides differs less within a round.
A goal is met or missed by its median, and in how many rounds is said beside it; where it is missed,
what the wire alone costs is, too. A figure that was not measured is left out, never guessed.
"""

import statistics

RATE_GOAL = 0.95
DEAD_MIN = 0.97                 # the attack tool leaves the good host's at least as much
# What the rate under attack is held against. At a rate that is offered, that without any attack; at
# saturation, where the tools share a CPU, that while the same attack goes to the dead address.
KEPT = {"floods": "to_quiet", "saturation": "to_dead"}
REFUSAL_GOAL = 20
OFFERED = 0.6                   # floods: of what was reached without attack and fence
SESSION_GOAL = 1.0              # per cent
FOREIGN_MAX = 5                 # per cent of the gateways' CPU: above, the machine was not quiet
KERNEL = ("xdp", "cgroup")
# Which refusals by the gateway those in the kernel are held against: it never sees a mere SYN.
AGAINST = {"syn": "connect", "connect": "connect"}
MODE_TEXTS = {
    "xdp": "fence in the kernel, SYNs judged at the interface (XDP)",
    "cgroup": "fence in the kernel, SYNs judged at the socket (cgroup_skb)",
    "user": "the same rules in the gateway, no programs",
    "off": "no fence",
    "floor": "the attack goes to a host on the gateways' CPU where an XDP program of two "
             "instructions throws every frame away: what the wire alone takes"}
DEAD_TEXT = "the attack goes to a dead address: what the attack tool alone takes of the world's CPU"


# -- figures ------------------------------------------------------------------------------------


def spread(values):
    values = [value for value in values if value is not None]
    if not values:
        return None
    quarters = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 \
        else [values[0]] * 3
    return {"median": statistics.median(values), "min": min(values), "max": max(values),
            "quarter": quarters[0], "three_quarters": quarters[2], "n": len(values),
            "all": values}


def cpu_s(cell):
    """CPU of the gateway's host that can be told apart: its processes, its receiving thread."""
    return cell["processes_s"] + cell["receiver_s"]


def per_message(cell):
    return cpu_s(cell) * 1e6 / max(1, cell["good"]["accepted"])


def by_round(cells, **keys):
    return {cell["round"]: cell for cell in cells
            if all(cell.get(key) == value for key, value in keys.items())}


def ratios(over, under):
    return [over[n] / under[n] for n in over if under.get(n)]


def rates(cells, phase, **keys):
    return {n: cell["good"]["rate"] for n, cell in by_round(cells, phase=phase, **keys).items()}


def percent_busy(cells, part):
    return spread(100 * cell[f"{part}_s"] / cell["wall_s"] for cell in cells)


def attack_figures(cells, phase, keys):
    """One attack on one kind of fence: the good host's rate against that without the attack."""
    hit = by_round(cells, phase=phase, **keys)
    seen = list(hit.values())
    if not seen:
        return None
    now = rates(cells, phase, **keys)
    dead = rates(cells, phase, **{**keys, "at": "dead"}) or \
        rates(cells, phase, mode="off", attack=keys["attack"], at="dead")
    quiet = rates(cells, phase, mode=keys["mode"], attack=None)
    out = {"to_quiet": spread(ratios(now, quiet)), "to_dead": spread(ratios(now, dead)),
           "good_failed": sum(cell["good"]["failed"] for cell in seen),
           "attempts_a_second": spread(
               cell["flood"]["attempts"] / cell["flood"]["seconds"] for cell in seen),
           "refused_a_second": {where: spread(
               cell["refused"][where] / cell["wall_s"] for cell in seen)
               for where in ("kernel", "gateway")},
           "dead_to_quiet": spread(ratios(dead, quiet)),
           "cookies_a_second": spread(cell["cookies"] / cell["wall_s"] for cell in seen),
           "busy": percent_busy(seen, "busy"), "world": percent_busy(seen, "world")}
    return {**out, **latencies(seen), "kept": out[KEPT[phase]]}


def latencies(cells):
    return {part: spread(cell["good"][part] / 1e3 for cell in cells)
            for part in ("p50_us", "p99_us")}


def flood_figures(cells, phase, attacks):
    out = {"quiet": {}, "attacks": {}}
    modes = [mode for mode in MODE_TEXTS if rates(cells, phase, mode=mode, attack=None)]
    for mode in modes:
        seen = list(by_round(cells, phase=phase, mode=mode, attack=None).values())
        out["quiet"][mode] = {"rate": spread(cell["good"]["rate"] for cell in seen),
                              "busy": percent_busy(seen, "busy"),
                              "world": percent_busy(seen, "world"), **latencies(seen)}
    for name in attacks:
        rows = {mode: attack_figures(cells, phase, {"mode": mode, "attack": name, "at": "gateway"})
                for mode in modes}
        for at in ("floor", "dead"):
            rows[at] = attack_figures(cells, phase, {"mode": "off", "attack": name, "at": at})
        rows = {mode: row for mode, row in rows.items() if row}
        if rows:
            out["attacks"][name] = rows
    return out


def refusal_us(hit, dead, measure):
    """What the attack took on the gateway's CPU beyond the same at the dead address, a refusal."""
    refused = sum(hit["refused"].values())
    if not refused:
        return None
    return (measure(hit) - measure(dead) * hit["wall_s"] / dead["wall_s"]) * 1e6 / refused


def refusal_figures(cells):
    costs = {}
    for cell in cells:
        if cell["phase"] == "refusals" and cell["at"] == "gateway":
            dead = by_round(cells, phase="refusals", mode=cell["mode"], attack=cell["attack"],
                            at="dead").get(cell["round"])
            row = costs.setdefault((cell["attack"], cell["mode"]), {})
            row[cell["round"]] = (
                refusal_us(cell, dead, cpu_s), refusal_us(cell, dead, lambda one: one["busy_s"]),
                sum(cell["refused"].values()) / cell["wall_s"])
    out = {"costs": [], "ratios": []}
    for (attack, mode), rounds in costs.items():
        out["costs"].append({
            "attack": attack, "mode": mode, "us": spread(row[0] for row in rounds.values()),
            "busy_us": spread(row[1] for row in rounds.values()),
            "a_second": spread(row[2] for row in rounds.values())})
    for (attack, mode), rounds in costs.items():
        user = costs.get((AGAINST[attack], "user"), {})
        floor = costs.get((attack, "floor"), {})
        if mode in (*KERNEL, "floor"):
            found = [user[n][0] / row[0] for n, row in rounds.items()
                     if n in user and user[n][0] and row[0] and row[0] > 0]
            own = [row[0] - floor[n][0] for n, row in rounds.items()
                   if n in floor and row[0] and floor[n][0]]
            out["ratios"].append({"attack": attack, "mode": mode, "ratio": spread(found),
                                  "own_us": spread(own)})
    return out


def session_figures(cells):
    us = {mode: {n: per_message(cell) for n, cell in
                 by_round(cells, phase="session", mode=mode).items()} for mode in MODE_TEXTS}
    out = {"us": {mode: spread(found.values()) for mode, found in us.items() if found}}
    out["more_percent"] = {
        mode: spread((ratio - 1) * 100 for ratio in ratios(us[mode], us["off"]))
        for mode in (*KERNEL, "user") if us[mode] and us["off"]}
    out["parts"] = {mode: {part: spread(
        cell[f"{part}_s"] * 1e6 / cell["good"]["accepted"]
        for cell in by_round(cells, phase="session", mode=mode).values())
        for part in ("processes", "receiver")} for mode in out["us"]}
    return out


def timed_figures(cells, session):
    """The programs' own nanoseconds, and their share of a message's CPU."""
    out = []
    whole = (session["us"].get("off") or {}).get("median")
    for cell in cells:
        if cell["phase"] == "timed" and cell["n"]:
            ns = sum(row["ns"] for row in cell["programs"]) / cell["n"]
            share = ns / 10 / whole if whole and cell["what"] == "messages" else None
            out.append({"mode": cell["mode"], "what": cell["what"], "ns": ns,
                        "share_percent": share, "programs": [
                            {"program": row["program"], "type": row["type"],
                             "runs_each": row["runs"] / cell["n"],
                             "ns_a_run": row["ns"] / row["runs"]}
                            for row in cell["programs"] if row["runs"]]})
    return out


def foreign(cell):
    """Per cent of the gateways' CPU that was neither idle nor the gateway's."""
    return max(0.0, 100 * (cell["busy_s"] - cpu_s(cell)) / cell["wall_s"])


def figures(result):
    cells = result["cells"]
    out = {"foreign_percent": spread(foreign(cell) for cell in cells if cell.get("busy_s")),
           **{phase: flood_figures(cells, phase, result["attacks"]) for phase in KEPT},
           "refusals": refusal_figures(cells), "session": session_figures(cells)}
    out["timed"] = timed_figures(cells, out["session"])
    out["cost"] = next((cell["cost"] for cell in cells if cell["phase"] == "cost"), None)
    out["instructions"] = result.get("instructions")
    out["goals"] = goals(out)
    return out


def rounds_met(values, met):
    return f"in {sum(map(met, values['all']))} of {values['n']}"


def load_name(phase):
    return f"at {OFFERED:.0%} load" if phase == "floods" else "at saturation"


def kept_why(phase, modes):
    """What is not the fence's: the wire, and the CPU that the tools share."""
    floor, told = modes.get("floor", {}).get("kept"), []
    if floor:
        told.append(f"the wire alone leaves {floor['median']:.1%}")
    dead = next(iter(modes.values()))["dead_to_quiet"]
    if phase == "floods" and dead and dead["median"] < DEAD_MIN:
        told.append(f"the attack tool alone leaves {dead['median']:.1%}: this does not count")
    return "; ".join(told)


def kept_goals(found, phase):
    where = load_name(phase)
    for name, modes in found[phase]["attacks"].items():
        for mode in KERNEL:
            kept = modes.get(mode, {}).get("kept")
            if kept:
                yield {"goal": f"{where}, {name}: with the fence ({mode}) the good host keeps at "
                               f"least {RATE_GOAL:.0%} of its rate",
                       "found": f"{kept['median']:.1%} (least {kept['min']:.1%})",
                       "met": kept["median"] >= RATE_GOAL,
                       "rounds": rounds_met(kept, lambda one: one >= RATE_GOAL),
                       "why": kept_why(phase, modes)}


def drop_why(row):
    late = row["p50_us"]["median"]
    return (f"{row['good_failed']} of its messages failed"
            + (f", half of the others took more than {late:.0f} ms" if late else ""))


def no_drop_why(row):
    cookies = row["cookies_a_second"]["median"]
    return "the gateway stands this flood without a fence" + (
        f": its kernel answers {cookies:.0f} SYNs a second with cookies" if cookies >= 1 else "")


def drop_goals(found, phase):
    """That there is something to keep."""
    for name, modes in found[phase]["attacks"].items():
        kept = modes.get("off", {}).get("kept")
        if kept:
            drops = kept["median"] < RATE_GOAL
            yield {"goal": f"{load_name(phase)}, {name}: without a fence the good host's rate drops",
                   "found": f"to {kept['median']:.1%} (most {kept['max']:.1%})", "met": drops,
                   "rounds": rounds_met(kept, lambda one: one < RATE_GOAL),
                   "words": ("shown", "not shown"),
                   "why": (drop_why if drops else no_drop_why)(modes["off"])}


def refusal_why(found, mode, floor):
    """What is not the fence's: of the rest the kernel's clock tells."""
    own = next((one["ns"] for one in found["timed"]
                if one["mode"] == mode and one["what"] == "refusals"), None)
    told = [f"the wire alone allows {floor['median']:.1f} times"] if floor else []
    if own:
        told.append(f"the programs' own part is {own / 1000:.2f} us")
    return "; ".join(told)


def refusal_goals(found):
    rows = found["refusals"]["ratios"]
    floors = {row["attack"]: row["ratio"] for row in rows if row["mode"] == "floor"}
    for row in rows:
        if row["ratio"] and row["mode"] in KERNEL:
            floor = floors.get(row["attack"])
            yield {"goal": f"a refusal by {row['mode']} ({row['attack']}) costs at least "
                           f"{REFUSAL_GOAL} times less than one by the gateway",
                   "found": f"{row['ratio']['median']:.1f} times",
                   "met": row["ratio"]["median"] >= REFUSAL_GOAL,
                   "rounds": rounds_met(row["ratio"], lambda one: one >= REFUSAL_GOAL),
                   "why": refusal_why(found, row["mode"], floor)}


def counted_refusals(found):
    refused = (found.get("instructions") or {}).get("refused")
    for mode in KERNEL if refused else ():
        times = refused["user"] / refused[mode]
        yield {"goal": f"a refusal by {mode} costs at least {REFUSAL_GOAL} times less than one by the "
                       "gateway, by instructions",
               "found": f"{times:.1f} times", "met": times >= REFUSAL_GOAL, "rounds": "",
               "why": f"the wire alone allows {refused['user'] / refused['floor']:.1f} times"}


def xdp_why(counted, mode):
    """Native XDP on a veth copies frames, whatever the program: a network card's does not."""
    empty = counted["more_percent"].get("empty")
    if mode != "xdp" or empty is None:
        return ""
    own = counted["more_percent"]["xdp"] - empty
    return (f"an XDP program that lets everything pass costs {empty:+.2f} % on a veth, which copies "
            f"all frames for it; the fence's own are {own:+.2f} %")


def session_goals(found):
    """By instructions, which repeat; what the time says beside it seldom decides."""
    counted = found.get("instructions") or {"more_percent": {}}
    for mode in KERNEL:
        more = counted["more_percent"].get(mode)
        goal = (f"the attached fence ({mode}) costs a normal session under {SESSION_GOAL:.0f} % of "
                "its CPU")
        if more is not None:
            yield {"goal": goal + ", by instructions", "found": f"{more:+.2f} %",
                   "met": more < SESSION_GOAL, "rounds": "", "why": xdp_why(counted, mode)}
        timed = found["session"]["more_percent"].get(mode)
        if timed:
            sure = not timed["quarter"] < SESSION_GOAL <= timed["three_quarters"]
            yield {"goal": goal + ", by time", "found": f"{timed['median']:+.2f} %",
                   "met": timed["median"] < SESSION_GOAL, "rounds": "",
                   "why": "" if sure else f"the pairs do not decide: half of them are from "
                                          f"{timed['quarter']:+.1f} to "
                                          f"{timed['three_quarters']:+.1f} %"}


def goals(found):
    return [*kept_goals(found, "floods"), *drop_goals(found, "floods"),
            *kept_goals(found, "saturation"), *drop_goals(found, "saturation"),
            *refusal_goals(found), *counted_refusals(found), *session_goals(found)]


# -- text ---------------------------------------------------------------------------------------


def shown(value, form):
    if value is None:
        return "-"
    return f"{value['median']:{form}} ({value['min']:{form}} to {value['max']:{form}})"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(str(field) for field in row) + " |" for row in rows] + [""]


def head_text(result):
    facts = result["facts"]
    yield "# The fence, measured"
    yield ""
    yield ("Written by `bench/fence/run`; every figure is of one run on one machine. A figure is "
           "the median of its phase's rounds, least and greatest in brackets.")
    if result["figures"]["foreign_percent"]["median"] > FOREIGN_MAX:
        yield "**Others were busy on this machine: neither a goal met nor one missed counts.**"
    if facts["quick"]:
        yield "**This was a quick run: the figures mean nothing.**"
    yield ""
    yield from table(("what", ""), [
        ("date", facts["date"]), ("kernel", facts["kernel"]),
        ("CPU", f"{facts['cpus']} x {facts['cpu']}; one is the gateway's, the rest the world's"),
        ("version", facts["commit"]), ("command", f"`{facts['command'].strip()}`"),
        ("took", f"{facts['took_s']} s"),
        ("rounds", ", ".join(f"{phase} {n}" for phase, n in facts["rounds"].items())),
        ("good host", f"from {facts['load']['sources']} addresses, STARTTLS, half of the clients "
                      "resume sessions, connections of "
                      f"{facts['load']['messages_a_connection']} messages of 4 KiB each"),
        ("others on the gateways' CPU",
         f"{shown(result['figures']['foreign_percent'], '.1f')} % of it"),
        ("mail", f"{result['mail']['accepted']} messages answered 250, "
                 f"{result['mail']['arrived']} arrived")])


def goals_text(found):
    yield "## Goals"
    yield ""
    if not found["goals"]:
        yield "None was measured in this run."
        yield ""
        return
    yield from table(("goal", "found", "", "rounds that met it", ""), [
        (goal["goal"], goal["found"],
         goal.get("words", ("met", "**missed**"))[0 if goal["met"] else 1],
         goal["rounds"], goal["why"]) for goal in found["goals"]])


def quiet_text(quiet):
    yield from table(("without any attack", "messages/s", "p50, ms", "p99, ms",
                      "gateways' CPU", "world's CPU"), [
        (mode, shown(row["rate"], ".0f"), shown(row["p50_us"], ".1f"), shown(row["p99_us"], ".1f"),
         f"{row['busy']['median']:.0f}%", f"{row['world']['median']:.0f}%")
        for mode, row in quiet.items()])


def attacks_text(result, phase, attacks):
    head = ["attack", "fence", "kept", "attempts/s", "refused/s in the kernel", "in the gateway",
            "good messages failed", "p50, ms", "p99, ms", "gateways' CPU", "world's CPU"]
    if phase == "saturation":
        head.append("dead attack to none")
    rows = []
    for name, modes in attacks.items():
        for mode, row in modes.items():
            if mode == "dead" and phase == "saturation":
                continue                # it is what the others are held against
            refused = row["refused_a_second"] if mode not in ("dead", "floor") else {}
            rows.append([f"{name}: {result['attacks'][name]['text']}", mode,
                         shown(row["kept"], ".1%"), f"{row['attempts_a_second']['median']:.0f}",
                         *(f"{refused[where]['median']:.0f}" if refused else "-"
                           for where in ("kernel", "gateway")), row["good_failed"],
                         shown(row["p50_us"], ".1f"), shown(row["p99_us"], ".1f"),
                         f"{row['busy']['median']:.0f}%", f"{row['world']['median']:.0f}%"])
            if phase == "saturation":
                rows[-1].append(shown(row["dead_to_quiet"], ".1%"))
    yield from table(head, rows)
    modes = list(dict.fromkeys(row[1] for row in rows))
    yield from (f"- `{mode}`: {MODE_TEXTS.get(mode) or DEAD_TEXT}" for mode in modes)
    yield ""


def floods_text(result, found):
    if not found["floods"]["quiet"]:
        return
    load = result["facts"]["load"]
    reached = spread(cell["good"]["rate"] for cell in result["cells"] if cell["phase"] == "reached")
    yield f"## The good host's rate under attack, {load_name('floods')}"
    yield ""
    yield (f"The good host offers {OFFERED:.0%} of what it reached at saturation at the beginning of "
           f"the round, without fence or attack ({shown(reached, '.0f')} messages/s), in open loop: "
           "a message falls due at its time whatever became of those before, and waits where no "
           f"connection is free. It uses at most {load['offered_concurrency']} connections at a "
           "time.")
    yield ""
    yield ("*Kept* is what was answered 250 in the window of an attack, against the same without any "
           "attack in the same round. Latency is from when a message was due to its 250, by the "
           "slower half of the clients; what is late when the window ends has its say in it, but "
           "does not count as kept. The attack tool runs on the world's CPU, and goes behind the "
           "good host's (nice). Connections that are kept open fill a gateway that has no fence: its "
           "sessions_max is the default of 10,000, and whoever comes then is answered 421.")
    yield ""
    yield from quiet_text(found["floods"]["quiet"])
    yield from attacks_text(result, "floods", found["floods"]["attacks"])


def saturation_text(result, found):
    if not found["saturation"]["quiet"]:
        return
    yield "## The good host's rate under attack, at saturation"
    yield ""
    yield (f"The good host sends as fast as it is answered, over "
           f"{result['facts']['load']['concurrency']} connections at a time: both CPUs have nothing "
           "to spare, and whatever an attack takes of either is the good host's loss.")
    yield ""
    yield ("*Kept* is the rate under attack against the rate while the same attack goes to a dead "
           "address behind the same switch, so that what the attack tool takes of the machine is "
           "in both. How the dead attack compares to none at all is in the last column.")
    yield ""
    yield from quiet_text(found["saturation"]["quiet"])
    yield from attacks_text(result, "saturation", found["saturation"]["attacks"])


def refusals_text(result, found):
    if not found["refusals"]["costs"]:
        return
    yield "## What a refusal costs"
    yield ""
    yield ("CPU us of the gateway's host for one refusal: its processes and the thread that "
           "receives on its interface, less what they take while the same attack goes to the dead "
           "address. *Whole CPU* is the same by the idle time of the gateway's CPU, which has all "
           "timers and interrupts in it, to 10 ms. In the kernel a refusal is a SYN thrown away. "
           "Clients give up before they send theirs again, so that a refusal is a connection, "
           "whoever refuses; one that waits longer is refused again every second.")
    yield ""
    yield ("`floor` is a host with nothing but an XDP program of two instructions that drops all: "
           "the frame's way through the veth, and the waking up of the thread that receives it, "
           "which stands for an interrupt and is dearer than one in a virtual machine. Frames that "
           "come within 100 us share a wake-up, as with a network card; the attack tool sends each "
           "millisecond what has come due, SYNs back to back. How many share one, not the fence, is "
           "the difference between the attacks.")
    yield ""
    yield from table(("attack", "refused by", "us", "whole CPU, us", "refusals/s"), [
        (f"{row['attack']}: {result['refused'][row['attack']]}", row["mode"],
         shown(row["us"], ".2f"), shown(row["busy_us"], ".2f"),
         shown(row["a_second"], ".0f")) for row in found["refusals"]["costs"]])
    yield from table(("attack", "in the kernel", "by the gateway", "times less",
                      "us more than the floor"), [
        (row["attack"], row["mode"], AGAINST[row["attack"]], shown(row["ratio"], ".1f"),
         "-" if row["mode"] == "floor" else shown(row["own_us"], ".2f"))
        for row in found["refusals"]["ratios"]])


def session_text(result, found):
    session = found["session"]
    if not session["us"]:
        return
    yield "## What the attached fence costs a normal session"
    yield ""
    load = result["facts"]["load"]
    yield ("CPU us a message of the gateway's host, runs of equal length in turn; the difference "
           f"is of neighbouring runs. Sessions have {load['messages_a_normal_session']} messages "
           "of 4 KiB over STARTTLS, every second client resumes; budgets are wide, nothing is "
           "refused.")
    yield ""
    rows = []
    for mode, us in session["us"].items():
        more = session["more_percent"].get(mode)
        parts = session["parts"][mode]
        told = (f"{more['median']:+.2f} % ({more['quarter']:+.2f} to "
                f"{more['three_quarters']:+.2f}), {more['n']} pairs") if more else "-"
        rows.append((mode, shown(us, ".1f"), f"{parts['processes']['median']:.1f}",
                     f"{parts['receiver']['median']:.1f}", told))
    yield from table(("fence", "us a message", "in processes", "receiving",
                      "more than off: median (quartiles)"), rows)
    counted = found.get("instructions")
    if counted:
        yield (f"In instructions, which repeat (FENCE-INSTRUCTIONS.md, {counted['date']}, commit "
               f"{counted['commit']}, Linux {counted['kernel']} emulated): " + "; ".join(
                   f"{mode} {more:+.2f} %" for mode, more in counted["more_percent"].items())
               + " of the gateway's own.")
        yield ""


def timed_text(found):
    if not found["timed"]:
        return
    yield "## The programs' own time"
    yield ""
    yield ("By the kernel's own count (BPF_ENABLE_STATS), in runs of their own. The clock's own "
           "part is in each run: `not ours` below, nearly, where cases are told.")
    yield ""
    rows = []
    for one in found["timed"]:
        each = "message" if one["what"] == "messages" else "refusal"
        share = f", {one['share_percent']:.2f} % of its CPU" if one["share_percent"] else ""
        for row in one["programs"]:
            rows.append((one["mode"], each, f"{row['program']} ({row['type']})",
                         f"{row['runs_each']:.2f}", f"{row['ns_a_run']:.0f}", ""))
        rows.append((one["mode"], each, "all", "", "", f"{one['ns']:.0f}{share}"))
    yield from table(("fence", "per", "program", "runs", "ns a run", "ns in all"), rows)


def cost_text(found):
    """bench/fence/cost's lists, each a table with the keys of its rows."""
    for title, rows in (found["cost"] or {}).items():
        if rows and isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
            yield f"## bench/fence/cost: {title}"
            yield ""
            yield from table(list(rows[0]), [list(row.values()) for row in rows])


def budgets_text(result):
    yield "## Budgets in this run"
    yield ""
    yield ("Strangers' own and all strangers' together; those that behaved have ten times as much. "
           "They are made for one CPU: the defaults are larger.")
    yield ""
    for name, value in result["facts"]["budgets"].items():
        yield f"    {name.partition('.')[2]} = {value}"
    yield ""


def text(result):
    found = result["figures"]
    parts = [head_text(result), goals_text(found), floods_text(result, found),
             saturation_text(result, found),
             refusals_text(result, found), session_text(result, found), timed_text(found),
             cost_text(found), budgets_text(result)]
    return "\n".join(line for part in parts for line in part).rstrip("\n") + "\n"

# SPDX-License-Identifier: MIT
"""Adds a run to an earlier one, so that a long measurement can be made in pieces.

Rounds of both stand side by side; ratios stay within a round, so the pieces need not have been made
at the same hour. What is measured once is the newest that there is. Runs of different programs,
settings or machines are not added.
"""

import json
import os

import rig as rig_

SAME = ("commit", "kernel", "cpu", "cpus", "disk", "seconds", "shapes", "openssl")


def add(folder, new):
    """The result with what the folder has before it."""
    path = os.path.join(folder, "compare.json")
    if not os.path.exists(path):
        return new
    with open(path, encoding="utf-8") as file:
        old = json.load(file)
    for key in SAME:
        if old["facts"][key] != new["facts"][key]:
            raise rig_.Wrong(f"--add: {path} is of a run with another {key}: "
                             f"{old['facts'][key]!r}, not {new['facts'][key]!r}")
    rounds = 1 + max((cell["round"] for cell in old["cells"]), default=-1)
    for cell in new["cells"]:
        cell["round"] += rounds
    # A bare handshake stands for its round, by its place in the list.
    blank = [None] * (rounds - len(old["handshakes"]))
    return {
        "facts": joined(old["facts"], new["facts"]),
        "cells": old["cells"] + new["cells"],
        "handshakes": old["handshakes"] + blank + new["handshakes"],
        "enters": new["enters"] or old["enters"],
        "idle": new["idle"] or old["idle"],
        "profiles": {**old["profiles"], **new["profiles"]},
        "million": new["million"] or old["million"],
        "failures": old["failures"] + new["failures"]}


def joined(old, new):
    facts = dict(new)
    facts["rounds"] = max(old["rounds"], old["rounds"] + new["rounds"] * bool(
        set(new["only"]) - {"G", "H"}))
    facts["full"] = old["full"] or new["full"]
    facts["only"] = sorted({*old["only"], *new["only"]})
    facts["command"] = old["command"] + "; " + new["command"]
    facts["took_s"] = old["took_s"] + new["took_s"]
    facts["peers"] = {**old["peers"], **new["peers"]}
    facts["left_out"] = [one for one in new["left_out"] if one[0] not in facts["peers"]]
    return facts

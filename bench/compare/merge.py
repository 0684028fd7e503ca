# SPDX-License-Identifier: MIT
"""Adds a run to an earlier one, so that a long measurement can be made in pieces: by rounds, by shapes, by
servers.

Rounds of both stand side by side; ratios stay within a round, so the pieces need not have been made
at the same hour, but what is compared with each other belongs into one piece. The long runs of H stand
side by side, too; of what else is measured once, the newest counts. Runs of different programs, settings
or machines are not added: that is said before anything is measured.
"""

import json
import os

import rig as rig_

SAME = ("kernel", "cpu", "cpus", "disk", "shapes", "openssl")


def version(facts):
    """Results that were written beside the sources make a version "dirty"."""
    return facts["commit"].removesuffix("-dirty")


def differences(old, new):
    """What keeps them apart: [(what, old, new)]."""
    yield from ((key, old[key], new[key]) for key in SAME if old[key] != new[key])
    if version(old) != version(new):
        yield "version", old["commit"], new["commit"]
    for name, seconds in old["seconds"].items():
        if new["seconds"].get(name, seconds) != seconds:
            yield f"length of {name} in seconds", seconds, new["seconds"][name]
    if None not in (old["million"], new["million"]) and old["million"] != new["million"]:
        yield "number of messages of H", old["million"], new["million"]


def read(folder, facts):
    """What the folder has to add to, None if nothing."""
    path = os.path.join(folder, "compare.json")
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        old = json.load(file)
    if not isinstance(old["facts"]["seconds"], dict):
        raise rig_.Wrong(f"--add: {path} was written by an earlier version")
    for what, ours, theirs in differences(old["facts"], facts):
        raise rig_.Wrong(f"--add: {path} is of a run with another {what}: {ours!r}, not {theirs!r}")
    return old


def add(old, new):
    """A result of both; they stay as they are."""
    rounds = 1 + max((cell["round"] for cell in old["cells"]), default=-1)
    # A bare handshake stands for its round, by its place in the list.
    blank = [None] * (rounds - len(old["handshakes"]))
    return {
        "facts": joined(old["facts"], new["facts"]),
        "cells": old["cells"] + [{**cell, "round": cell["round"] + rounds} for cell in new["cells"]],
        "handshakes": old["handshakes"] + blank + new["handshakes"],
        "enters": new["enters"] or old["enters"],
        "idle": newest(old["idle"], new["idle"]),
        "profiles": {**old["profiles"], **new["profiles"]},
        "million": old["million"] + new["million"],
        "failures": old["failures"] + new["failures"]}


def newest(old, new):
    """Of each server, under TLS and in clear."""
    found = {(one["peer"], one["tls"]): one for one in [*old, *new]}
    return list(found.values())


def joined(old, new):
    facts = dict(new)
    facts["full"] = old["full"] or new["full"]
    facts["seconds"] = {**old["seconds"], **new["seconds"]}
    facts["million"] = new["million"] or old["million"]
    facts["command"] = old["command"] + "; " + new["command"]
    facts["took_s"] = old["took_s"] + new["took_s"]
    facts["peers"] = {**old["peers"], **new["peers"]}
    facts["left_out"] = [one for one in new["left_out"] if one[0] not in facts["peers"]]
    return facts

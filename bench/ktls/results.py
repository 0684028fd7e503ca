# SPDX-License-Identifier: MIT
"""What bench/ktls/run has measured so far, and what it has still to measure.

A result is of one kernel: {"kernel": release, "commits": of the gateways measured, "rounds": wanted,
"sizes": [...], "cells": [...]}. A cell
is of one direction, verb, mode and size, and has for each of its kinds a list with one figure a
round, in instructions: the mean of the middle half of that round's connections or messages. The
dearest are those in which something falls that is not of the message (a new segment of the queue, a
next hop tried again, a tick); a median would not do, as of some messages every third is dearer, by
how they lie in pages. Results are kept on disk after each figure, so a run that was stopped can be
gone on with.
"""

import json
import os
import statistics

DIRECTIONS = ("receive", "send")
VERBS = ("data", "bdat")
MODES = ("off", "always", "auto")
KINDS = {"receive": ("one", "next"), "send": ("each",)}
# A message's octets: how many connections with one message each (sending: messages), and how many
# further messages over one connection, in each round.
SIZES = {1024: (15, 21), 4096: (15, 21), 16384: (15, 21), 32768: (15, 25), 65536: (21, 31),
         262144: (9, 15), 524288: (7, 11), 1 << 20: (7, 9), 2 << 20: (5, 7),
         5 << 20: (4, 4), 20 << 20: (2, 2)}
# From one mail to the next: time for the gateway to come to rest, and to write to its log.
GAP_MS = 80
GAP_OCTETS_A_MS = 16384


def load(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def save(results, path):
    """The old file stands until the new one is whole."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
        file.write("\n")
    os.replace(path + ".new", path)


def find(cells, direction, verb, mode, size):
    place = (direction, verb, mode, size)
    for cell in cells:
        if (cell["direction"], cell["verb"], cell["mode"], cell["size"]) == place:
            return cell
    return None


def rounds_of(cell, direction):
    """How many rounds it has all its figures of."""
    return min(len(cell.get(kind, [])) for kind in KINDS[direction]) if cell else 0


def middle(counted):
    """The mean of the middle half."""
    counted = sorted(counted)
    cut = len(counted) // 4
    return round(statistics.mean(counted[cut:len(counted) - cut]))


def add(result, words, number):
    """Takes in what ktls.sh counted in round `number`; (the cell, its kind), None if it was there."""
    direction, verb, mode, size, kind, *counted = words
    cell = find(result["cells"], direction, verb, mode, int(size))
    if cell is None:
        cell = {"direction": direction, "verb": verb, "mode": mode, "size": int(size)}
        result["cells"].append(cell)
        result["cells"].sort(key=lambda one: (DIRECTIONS.index(one["direction"]),
                                              VERBS.index(one["verb"]), one["size"],
                                              MODES.index(one["mode"])))
    figures = cell.setdefault(kind, [])
    if len(figures) >= number:
        return None
    figures.append(middle(map(int, counted)))
    return cell, kind


def cell_line(size):
    connections, messages = SIZES[size]
    rate = 1000 / (GAP_MS + size / GAP_OCTETS_A_MS)
    return f"cell {size} {connections} {messages} {rate:.3f}"


def plan(result, only, number):
    """Lines for ktls.sh: what is missing for `number` rounds. The modes take turns in who is first."""
    lines = []
    for direction in DIRECTIONS:
        for verb in VERBS:
            for turn in range(len(MODES)):
                mode = MODES[(turn + number - 1) % len(MODES)]
                if not {direction, verb, mode} <= only:
                    continue
                cells = [cell_line(size) for size in result["sizes"] if rounds_of(
                    find(result["cells"], direction, verb, mode, size), direction) < number]
                if cells:
                    lines += [f"gateway {direction} {verb} {mode}", *cells]
    return lines


def missing(result, only):
    """Words on each cell that has fewer rounds than were wanted."""
    found = []
    for direction in DIRECTIONS:
        for verb in VERBS:
            for size in result["sizes"]:
                for mode in MODES:
                    cell = find(result["cells"], direction, verb, mode, size)
                    have = rounds_of(cell, direction)
                    if {direction, verb, mode} <= only and have < result["rounds"]:
                        found.append((direction, verb, mode, size, have))
    return found

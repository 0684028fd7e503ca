# SPDX-License-Identifier: MIT
"""What a run will do, counted before it begins, and about how long that takes.

Job: the cells of the rounds, and seconds by what was seen on a machine of two CPUs; only an estimate.
Not its job: to measure. Servers are asked nothing: their classes will do as well as those that run.
"""

import extras
import profiles
import shapes

DRAIN_FACTOR = 1.08         # of a run's seconds: until all is relayed, too
CELL_SECONDS = 0.4          # a run, besides: the sink's counts, an empty queue
RELAYED_LATE = 35           # messages a second that a server relays which is sent so many only
HANDSHAKE_SECONDS = 0.0016  # a bare one, measured in both ways
START_SECONDS = 2           # of a server
PROFILE_SECONDS = 6         # of a shape
IDLE_SECONDS = 3            # of G, for each server and way: start, settle, stop
IDLE_A_SECOND = 2500        # sessions opened
MESSAGES_A_SECOND = 10_000  # of H


def cells(options, peers):
    """[(shape, server)] of one round, in the shapes' order."""
    return [(shapes.SHAPES[name], peer) for name in options.only if name in shapes.SHAPES
            for peer in peers if shapes.SHAPES[name].fits(peer)]


def cell_seconds(options, shape, peer):
    if peer.messages_max:
        return peer.messages_max / RELAYED_LATE + CELL_SECONDS
    return shape.seconds(options) * DRAIN_FACTOR + CELL_SECONDS


def round_seconds(options, peers):
    took = sum(cell_seconds(options, *cell) for cell in cells(options, peers))
    if "A" in options.only:
        took += options.seconds + CELL_SECONDS + options.handshakes * HANDSHAKE_SECONDS
    return took


def warm_seconds(options, peers):
    """Before the first round counts, each server is driven a little by every shape but F."""
    return sum(options.warm * peer.warm_factor + CELL_SECONDS
               for shape, peer in cells(options, peers) if shape.name != "F")


def idle_seconds(options, peers):
    return sum(IDLE_SECONDS + count / IDLE_A_SECOND
               for _, _, count in extras.idle_kinds(peers, options.idle_smaller))


def parts(options, peers):
    """[(what, seconds)]"""
    found, each = [("servers started", START_SECONDS * len(peers))], cells(options, peers)
    if each:
        found.append((f"{options.rounds} times {len(each)} runs",
                      round_seconds(options, peers) * options.rounds + warm_seconds(options, peers)))
        found.append(("profiles", PROFILE_SECONDS * len({*profiles.SHAPES} & {*options.only})))
    if "G" in options.only:
        found.append(("idle sessions (G)", idle_seconds(options, peers)))
    if "H" in options.only:
        found.append((f"{options.million_rounds} times {options.million} messages (H)",
                      options.million_rounds * (options.million / MESSAGES_A_SECOND + START_SECONDS)))
    return found


def span(seconds):
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def rest(options, peers, done, seconds):
    """How long it takes from after so many rounds, by what these took with what was before them."""
    found = parts(options, peers)
    rounds = options.rounds * round_seconds(options, peers)
    more = sum(value for _, value in found) - rounds - warm_seconds(options, peers) \
        - START_SECONDS * len(peers)
    return span(seconds * (options.rounds - done) / done + more)


def text(options, peers):
    found = parts(options, peers)
    return (f"about {span(sum(seconds for _, seconds in found))}: "
            + ", ".join(f"{what} {span(seconds)}" for what, seconds in found))

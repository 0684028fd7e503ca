# SPDX-License-Identifier: MIT
"""Why goals were missed: sentences with this run's own figures.

Not its job: to excuse. Only what was measured stands here; what was tried, and what it brought, is
in bench/PROFILE.md.
"""

import figures as figures_

OPENSSL = ("libcrypto.so.3", "libssl.so.3")
KERNEL = ("[kernel.kallsyms]",)


def part(found, shape, places):
    """The part of Postern's CPU time in a shape that these took, by its profile; None: no profile."""
    one = found.result["profiles"].get(shape)
    return sum(percent for percent, _, where in one["parts"] if where in places) / 100 if one else None


def cpu(found, shape, factor):
    """What Postern took, and what the goal allows."""
    what, unit = ("cpu_ms_a_mb", "ms a MB") if shape.startswith("E") else ("cpu_us", "us")
    took, other = found.of(shape, "postern", what), found.of(shape, "postfix", what)
    if not took or not other or found.ratio(shape, "postfix", "postern", what)["median"] >= factor:
        return
    digits = 2 if shape.startswith("E") else 0
    allowed = other["median"] / factor
    text = (f"{shape}, CPU time: Postern took {took['median']:.{digits}f} {unit}, and with {factor} times "
            f"{allowed:.{digits}f} are allowed.")
    bare = found.bare("load_us")
    if shape == "A" and bare:
        text += (f" OpenSSL's bare handshake alone took {bare['median']:.0f} us under the same load, "
                 f"{bare['median'] / allowed:.0%} of that.")
    profile = "E-data" if shape.startswith("E") else shape
    openssl, kernel = (part(found, profile, places) for places in (OPENSSL, KERNEL))
    if openssl is not None:
        text += (f" By the profile of {profile} below OpenSSL has {openssl:.0%} of Postern's time and the kernel "
                 f"{kernel:.0%}: together {(openssl + kernel) * took['median']:.{digits}f} {unit}.")
    if shape == "B":
        text += (" The key exchange of a full handshake is there too, as it is what makes a resumed "
                 "session forward secret; what is saved is the signature and the certificate.")
    yield text


def rate(found, shape, factor):
    """Messages a second, where load, sink and server share the CPUs."""
    ours, theirs = found.of(shape, "postern", "rate"), found.of(shape, "postfix", "rate")
    took = found.of(shape, "postern", "cpu_us")
    if not ours or not theirs or found.ratio(shape, "postern", "postfix", "rate")["median"] >= factor:
        return
    whole = found.result["facts"]["cpus"] * 1e6
    rest = whole / ours["median"] - took["median"]
    yield (f"{shape}, messages/s: at {ours['median']:.0f} a second all CPUs together have "
           f"{whole / ours['median']:.0f} us for each, of which Postern took {took['median']:.0f}; the "
           f"{rest:.0f} besides are the load tool's (it does the other half of each handshake), the "
           f"sink's and idle. {factor} times Postfix's rate leaves {whole / (factor * theirs['median']):.0f} "
           "us for all of them.")


def latency(found):
    ours, theirs = (found.latency("F", peer, "p99") for peer in ("postern", "postfix"))
    if not ours or not theirs or \
            found.slower("F", "postfix", "postern", "p99")["median"] >= figures_.F_FACTOR:
        return
    rates = [found.of("F", peer, "rate")["median"] for peer in ("postern", "postfix")]
    yield (f"F: each server is sent half of its own most, Postern {rates[0]:.0f} messages a second and "
           f"Postfix {rates[1]:.0f}. The slowest hundredth (Postern {ours['median']:.0f} ms, Postfix "
           f"{theirs['median']:.0f}) are mostly first messages of connections: a handshake and six more "
           "round trips, each of which waits for a CPU that server, load and sink share.")


def text(found):
    lines = [line for shape, factor in figures_.CPU_GOALS for line in cpu(found, shape, factor)]
    lines += [line for shape, factor in figures_.RATE_GOALS for line in rate(found, shape, factor)]
    lines += latency(found)
    if not lines:
        return
    yield "### Why goals were missed"
    yield ""
    yield from (f"- {line}" for line in lines)
    yield ""
    yield ("What was tried, and what it brought: [bench/PROFILE.md](../PROFILE.md). Medians of this run; "
           "where they are near a goal, another run may fall on its other side.")
    yield ""

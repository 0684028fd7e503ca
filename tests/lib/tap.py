# SPDX-License-Identifier: MIT
"""A TAP writer and the smallest test runner that can do what the suites need.

Job: collect tests (`@test` or `add`), print the plan first, run each under a time limit, print one
`ok`/`not ok` line a test as soon as it is known, and diagnostics as `# ...` lines below it.
Not its job: summing over suites (tests/check), starting gateways (gateway.py).

Invariants: a test that does not return within its limit fails, it never hangs the suite; a test
passes only by returning; a skip always carries its reason. Whatever a suite registers with
`at_exit` runs on every way out: the end, an exception, SIGINT, SIGTERM, SIGHUP.

Rejected: unittest (no plan before the run, awkward TAP), pytest (not in the standard library).
"""

import os
import signal
import sys
import time
import traceback

# A sanitiser build and a busy machine are slower: every limit is multiplied by this.
SLOW = float(os.environ.get("POSTERN_TEST_SLOW", "1"))
LIMIT_SECONDS = 30
DIAGNOSTIC_LINES_MAX = 120

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_tests = []
_exit_hooks = []
_start_hooks = []
_end_hooks = []
_diagnosers = []
_final_checks = []


class Skip(Exception):
    """Raised by a test that cannot be run here; the text says what is then not proved."""


class TimeLimit(Exception):
    """The test's time was up."""


class Failed(AssertionError):
    """A check did not hold."""


def add(name, function, limit=LIMIT_SECONDS):
    _tests.append((name, function, limit))


def test(name, limit=LIMIT_SECONDS):
    def register(function):
        add(name, function, limit)
        return function
    return register


def at_exit(function):
    """Runs at the end of the suite, newest first, whichever way the suite ends."""
    _exit_hooks.append(function)


def on_start(function):
    """Runs before each test."""
    _start_hooks.append(function)


def on_end(function):
    """Runs after each test, whatever came of it and after that was told; may not fail."""
    _end_hooks.append(function)


def on_failure(function):
    """`function()` yields lines that help to understand a failure."""
    _diagnosers.append(function)


def final_check(name, function, limit=LIMIT_SECONDS):
    """A test that runs after all others, whatever selection was made."""
    _final_checks.append((name, function, limit))


def check(condition, message="check failed"):
    if not condition:
        raise Failed(message)


def equal(got, expected, what=""):
    if got != expected:
        before = what + ": " if what else ""
        raise Failed(f"{before}expected {shorten(expected)}, got {shorten(got)}")


def same_bytes(got, expected, what):
    """Byte for byte, with the first difference in the message."""
    if got == expected:
        return
    at = next((i for i, (a, b) in enumerate(zip(got, expected)) if a != b),
              min(len(got), len(expected)))
    low = max(0, at - 20)
    raise Failed(f"{what}: {len(got)} bytes, expected {len(expected)}; first difference at {at}: "
                 f"got ...{got[low:at + 20]!r}, expected ...{expected[low:at + 20]!r}")


def shorten(value, limit=400):
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def _on_alarm(_signum, _frame):
    raise TimeLimit()


def _on_terminate(signum, _frame):
    for number in _ENDING:      # one is enough; a second must not stop the clean-up
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + signum)


def _run_hooks():
    while _exit_hooks:
        hook = _exit_hooks.pop()
        try:
            hook()
        except Exception as error:      # the other hooks must still run
            print(f"# clean-up: {error!r}", flush=True)


def _comment(lines):
    for number, line in enumerate(lines):
        if number == DIAGNOSTIC_LINES_MAX:
            print("# ... more lines left out")
            break
        print("# " + line.replace("\n", "\n# "))


def _explain(error):
    frames = traceback.extract_tb(error.__traceback__)
    yield f"{type(error).__name__}: {error}"
    for frame in frames[-6:]:
        yield f"  {os.path.relpath(frame.filename)}:{frame.lineno} in {frame.name}: {frame.line}"
    for diagnoser in _diagnosers:
        yield from diagnoser()


def _run_one(number, name, function, limit):
    name = name.replace("#", "\\#")
    started = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, limit * SLOW)
    try:
        for hook in _start_hooks:
            hook()
        function()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Skip as skip:
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(f"ok {number} - {name} # SKIP {skip}", flush=True)
        return True
    except TimeLimit as error:
        print(f"not ok {number} - {name} (not done after {limit * SLOW:g} s)")
        _comment(_explain(error))
        sys.stdout.flush()
        return False
    except Exception as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(f"not ok {number} - {name}")
        _comment(_explain(error))
        sys.stdout.flush()
        return False
    took = time.monotonic() - started
    print(f"ok {number} - {name}" + (f" ({took:.1f} s)" if took > 2 else ""), flush=True)
    return True


def main():
    """Runs what was registered. Arguments: `-l` lists; any other selects by part of the name."""
    wanted = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    chosen = [t for t in _tests if not wanted or any(w in t[0] for w in wanted)]
    if "-l" in sys.argv[1:]:
        print("\n".join(name for name, _, _ in chosen))
        return
    for number in _ENDING:
        signal.signal(number, _on_terminate)
    signal.signal(signal.SIGALRM, _on_alarm)
    chosen += _final_checks
    print(f"1..{len(chosen)}", flush=True)
    failed = 0
    try:
        for number, (name, function, limit) in enumerate(chosen, 1):
            failed += not _run_one(number, name, function, limit)
            for hook in _end_hooks:
                hook()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        _run_hooks()
    sys.exit(1 if failed else 0)

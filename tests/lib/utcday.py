# SPDX-License-Identifier: MIT
"""Days of UTC, which what is counted of TLS goes by: suites that run over midnight.

Job: not to begin what must be counted on one day when that day is nearly over; the days that
something has lasted. Rejected: a clock of the tests' own, which no gateway, resolver or certificate
would go by.
"""

import time

from . import tap

DAY_SECONDS = 86400


def number(seconds=None):
    """The day of that time, now if None, since 1970."""
    return int(time.time() if seconds is None else seconds) // DAY_SECONDS


def date(day):
    return time.strftime("%Y-%m-%d", time.gmtime(day * DAY_SECONDS))


def since(first):
    """The days from that one to today, as dates: one of them, or two around midnight."""
    return [date(day) for day in range(first, number() + 1)]


def ahead(seconds):
    """Returns when today has at least so many seconds left; outside of a test, whose limit is less."""
    left = DAY_SECONDS - time.time() % DAY_SECONDS
    if left < seconds * tap.SLOW:
        print(f"# the day ends in {left:.0f} s: waiting for the next one", flush=True)
        time.sleep(left + 1)

"""What the agents have counted of a pool's tasks: one row of numbers for each name, which only grow.

A row has a number for each state, then two histograms, how long tasks ran and how long they waited: for each the tasks
in each bucket (not added up, the last one open), and their microseconds in all.
"""

from collections.abc import Mapping
from typing import Final

STATES: Final = ("succeeded", "failed", "retried", "revoked", "rejected")
BOUNDS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Upper bounds of the buckets, in seconds: those of the agent (celeriac_agent/tally.py)."""
BUCKETS: Final = len(BOUNDS) + 1
RAN: Final = len(STATES)
"""Where the histogram of runtimes begins in a row; its sum stands behind its buckets."""
WAITED: Final = RAN + BUCKETS + 1
WIDTH: Final = WAITED + BUCKETS + 1

Row = tuple[int, ...]
Rows = Mapping[str, Row]
"""By the name of the task; "" are those that have no row of their own."""

NOTHING: Final[Row] = (0,) * WIDTH


def ended(row: Row) -> int:
    """How many tasks have ended, whichever way."""
    return sum(row[:RAN])


def plus(one: Row, other: Row) -> Row:
    """Both together."""
    return tuple(map(int.__add__, one, other))


def since(now: Row, before: Row) -> Row:
    """What has come; all of it, where the count began anew."""
    more = tuple(map(int.__sub__, now, before))
    return now if min(more) < 0 else more

"""What was counted of the tasks of this worker, by name, until Redis has it: bounded, and added there exactly once.

Names are bounded in Redis, where all workers of a pool add to one hash (see write_counts), and here. What is beyond
stands under the empty name.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import deque
from typing import Any, NamedTuple

from .counters import Counters, Telling
from .hooks import Hooks
from .refusals import code_of, passes

SUCCEEDED, FAILED, RETRIED, REVOKED, REJECTED = STATES = ("succeeded", "failed", "retried", "revoked", "rejected")
BOUNDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)  # seconds; the last is open
RAN, WAITED = "ran", "waited"  # histograms: with the number of a bucket, and for the sum in microseconds without
MOST_NAMES = 200
LONGEST_NAME = 200  # bytes
OTHER = ""
MOST_IN_LINE = 5_000  # what is told between two beats; more is added up at once
REFUSED_SECONDS = 10.0  # from one refusal to the next try

# KEYS: the pool's hash, the number of the last batch of this process. ARGV: that of this batch, milliseconds to live of
# both, the most names, and for each name: it, how many fields follow, what and how much of each.
# All that Redis may refuse is done before the first number: a batch is added as a whole or not at all, and once.
WRITE = """
local names = tonumber(redis.call('HGET', KEYS[1], 'names')) or 0
if redis.call('GET', KEYS[2]) == ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'names', names)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[3])
local most, at = tonumber(ARGV[4]), 5
while at < #ARGV do
  local name, last = ARGV[at], at + 1 + 2 * tonumber(ARGV[at + 1])
  if name ~= '' and not redis.call('HGET', KEYS[1], 'known|' .. name) then
    if names < most then
      names = names + 1
      redis.call('HSET', KEYS[1], 'known|' .. name, 1)
    else
      name = ''
    end
  end
  for i = at + 2, last, 2 do
    local field = ARGV[i] .. '|' .. name
    local before = tonumber(redis.call('HGET', KEYS[1], field)) or 0
    redis.call('HSET', KEYS[1], field, string.format('%.0f', before + tonumber(ARGV[i + 1])))
  end
  at = last + 1
end
redis.call('HSET', KEYS[1], 'names', names)
return 1
"""
LIVES_SECONDS = 7 * 86400  # the hash, from the last write on
BATCH_SECONDS = 86400  # the number of a batch: so long it may be sent again


class Batch(NamedTuple):
    """What is added at once: numbers by what they count, by name."""

    number: int
    changes: dict[str, dict[str, int]]

    def arguments(self) -> list[Any]:
        """What the script takes."""
        said: list[Any] = [self.number, LIVES_SECONDS * 1000, BATCH_SECONDS * 1000, MOST_NAMES]
        for name, fields in self.changes.items():
            said += [name, len(fields), *(each for field in fields.items() for each in field)]
        return said


class Tally:
    """Counts from any thread; the one that beats takes the batches.

    A batch stays until Redis has answered that it has it. `tries` changes whenever Redis may have something new.
    """

    def __init__(self, hooks: Hooks, counters: Counters) -> None:
        self._hooks, self._counters = hooks, counters
        self._line: deque[tuple[Any, str, float | None]] = deque()
        self._lock = threading.Lock()
        self._changes: dict[str, dict[str, int]] = {}
        self._batch: Batch | None = None
        self._number = 0
        self._again = 0.0  # monotonic seconds
        self.tries = 0

    def ended(self, name: Any, state: str, seconds: float | None = None) -> None:
        """A task has ended so; `seconds` that it ran, None: not at all, or nobody knows."""
        self._tell(name, state, seconds)

    def waited(self, name: Any, seconds: float) -> None:
        """A task has begun, so long after it could have."""
        self._tell(name, WAITED, seconds)

    def batch(self) -> Batch | None:
        """What is to be written now: the one that was not answered, or a new one; None where there is nothing."""
        with self._lock:
            if self._batch is None:
                self._add_up()
                if self._changes:
                    self._number += 1
                    self._batch, self._changes = Batch(self._number, self._changes), {}
            if self._batch is None or time.monotonic() < self._again:
                return None
            self.tries += 1
            return self._batch

    def answered(self, batch: Batch, answer: Any) -> None:
        """Redis has it, or refuses it: then it is kept, and tried again."""
        if not isinstance(answer, Exception):
            self._hooks.regain("task-key")
            with self._lock:
                if self._batch is batch:
                    self._batch = None
            return
        if not passes(answer):
            self._again = time.monotonic() + REFUSED_SECONDS
            self._hooks.lose("task-key")
            self._counters.failed("write what it counts of tasks", Telling(f"Redis refuses it: {code_of(answer)}"))

    def _tell(self, name: Any, what: str, seconds: float | None) -> None:
        self._line.append((name, what, seconds))
        if len(self._line) > MOST_IN_LINE:
            with self._lock:
                self._add_up()

    def _add_up(self) -> None:
        """Take what is in line, in one thread at a time."""
        while True:
            try:
                name, what, seconds = self._line.popleft()
            except IndexError:
                return
            fields = self._fields_of(name)
            if what != WAITED:
                fields[what] = fields.get(what, 0) + 1
            if seconds is not None:
                histogram = WAITED if what == WAITED else RAN
                seconds = max(seconds, 0.0)
                for field, more in (
                    (f"{histogram}{bisect_left(BOUNDS, seconds)}", 1),
                    (histogram, round(seconds * 1e6)),
                ):
                    fields[field] = fields.get(field, 0) + more

    def _fields_of(self, name: Any) -> dict[str, int]:
        known = shown(name)
        if known not in self._changes and len(self._changes) >= MOST_NAMES:
            known = OTHER
        return self._changes.setdefault(known, {})


def shown(name: Any) -> str:
    """A task's name as Redis keeps it: what is none is among the others."""
    if not isinstance(name, str):
        return OTHER
    return name[:LONGEST_NAME].encode(errors="replace")[:LONGEST_NAME].decode(errors="ignore")

"""The last decisions of each pool, so that "why was it at 3 at 14:05?" has an answer. Bounded, and forgotten at an end.

Moments are those of this machine's wall clock: they are shown to people, and compared with nothing.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from celeriac.api.keys import PoolKey
from celeriac.autoscaling.outcome import Outcome
from celeriac.scaling.workload import Demand

OF_A_POOL: Final = 32
OF_ALL: Final = 16_000
"""Entries are some 0.4 KB each; where all pools have more, those go that have not changed for the longest."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision that differs from the one before; `waiting` and `running` are None where they were not known."""

    at: datetime
    replicas: int
    desired: int
    reason: str
    message: str
    waiting: int | None
    running: int | None


def _now() -> datetime:
    return datetime.now(UTC)


class Journal:
    """The entries of all pools, the oldest of each first."""

    def __init__(self, clock: Callable[[], datetime] = _now) -> None:
        self._clock = clock
        self._pools: OrderedDict[PoolKey, deque[Entry]] = OrderedDict()
        self._entries = 0

    def note(self, key: PoolKey, outcome: Outcome) -> None:
        """Take over an outcome; nothing, where it has the count and the reason of the last one."""
        demand, decision = outcome.demand, outcome.decision
        said = demand.current_replicas, decision.replicas, outcome.reason
        entries = self._pools.setdefault(key, deque())
        if entries and (entries[-1].replicas, entries[-1].desired, entries[-1].reason) == said:
            return
        known = demand if isinstance(demand, Demand) else None
        entries.append(
            Entry(
                self._clock(),
                *said,
                outcome.message,
                known.waiting if known is not None else None,
                known.at_work if known is not None else None,
            )
        )
        self._entries += 1
        self._pools.move_to_end(key)
        if len(entries) > OF_A_POOL:
            self._drop_oldest(entries)
        while self._entries > OF_ALL:
            stillest, oldest = next(iter(self._pools.items()))
            self._drop_oldest(oldest)
            if not oldest:
                del self._pools[stillest]

    def of(self, key: PoolKey) -> tuple[Entry, ...]:
        """What is remembered of a pool."""
        return tuple(self._pools.get(key, ()))

    def forget(self, key: PoolKey) -> None:
        """The pool is gone."""
        self._entries -= len(self._pools.pop(key, ()))

    def _drop_oldest(self, entries: deque[Entry]) -> None:
        entries.popleft()
        self._entries -= 1

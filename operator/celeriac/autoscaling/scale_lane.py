"""Changes of replicas that wait for their turn, in the order of need.

A change that waits is no request yet: each tick may put another in its place, or take it back. So what is sent at last
is what the latest reading asks for, and nothing grows old in line.
"""

import heapq
import itertools
import math
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from celeriac.api.keys import PoolKey
from celeriac.autoscaling.scale_writer import Change
from celeriac.cluster.slots import URGENT_AT_ONCE

SCALES_AT_ONCE: Final = URGENT_AT_ONCE
"""As many as can be under way: what waits, waits here, where it can still be changed."""

T = TypeVar("T")


def need(change: Change) -> float:
    """The part that a pool has of what it needs: the smaller, the sooner. 0 is a pool at zero with work.

    Whoever has more than it needs loses nothing by waiting.
    """
    return change.before / change.after if change.after else math.inf


@dataclass(frozen=True, slots=True)
class _Place(Generic[T]):
    """Where one pool stands: by need, then by who came first."""

    rank: tuple[float, int]
    wanted: T


class ScaleLane(Generic[T]):
    """One change for each pool at most, with whatever its writer needs."""

    def __init__(self) -> None:
        self._places: dict[PoolKey, _Place[T]] = {}
        self._line: list[tuple[tuple[float, int], PoolKey]] = []
        self._numbers = itertools.count()

    def __contains__(self, key: PoolKey) -> bool:
        """Whether a change of this pool waits."""
        return key in self._places

    def want(self, key: PoolKey, change: Change, wanted: T) -> None:
        """Let this change wait instead of the one that does; the place is kept where the need is the same."""
        rank, place = need(change), self._places.get(key)
        if place is not None and place.rank[0] == rank:
            self._places[key] = _Place(place.rank, wanted)
            return
        self._places[key] = place = _Place((rank, next(self._numbers)), wanted)
        heapq.heappush(self._line, (place.rank, key))

    def drop(self, key: PoolKey) -> None:
        """The pool wants no change any more."""
        self._places.pop(key, None)

    def clear(self) -> None:
        """Nobody does."""
        self._places.clear()
        self._line.clear()

    def take(self) -> T | None:
        """What the neediest wants; None where nobody waits."""
        while self._line:
            rank, key = heapq.heappop(self._line)
            place = self._places.get(key)
            if place is not None and place.rank == rank:
                del self._places[key]
                return place.wanted
        return None

"""The lengths of many lists from reading to reading: what did not change costs nothing."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from celeriac.brokers.redis.queries import Count, counts_of


class Counts:
    """What a row of Count queries gave last: a count, or an exception, for each queue in the order of the queries."""

    def __init__(self, queries: Sequence[Count]) -> None:
        self.queries = queries
        sizes = [len(query.keys) // query.steps for query in queries]
        self._firsts = [0, *accumulate(sizes)][: len(queries)]
        self._replies: list[Any] = [None] * len(queries)
        self.values: list[int | Exception] = [LookupError("not counted yet")] * sum(sizes)

    def note(self, replies: Sequence[Any]) -> set[int]:
        """Take over the replies to the queries; the places whose count is another now.

        Raises what Redis answered to a whole query.
        """
        changed = set()
        for number, reply in enumerate(replies):
            if isinstance(reply, Exception):
                raise reply
            if reply == self._replies[number]:
                continue
            self._replies[number] = reply
            for place, count in enumerate(counts_of(reply), self._firsts[number]):
                if self.values[place] != count:
                    self.values[place] = count
                    changed.add(place)
        return changed

    def correct(self, place: int, count: int | Exception) -> bool:
        """Take over a count of a moment later; whether it is another one."""
        if self.values[place] == count:
            return False
        self.values[place] = count
        self._replies[bisect_right(self._firsts, place) - 1] = None
        return True

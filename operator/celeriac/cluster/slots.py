"""The right to one request of the API server, in the order of need.

What starts or saves work goes first: /scale and the marks of Pods. Then what others wait for: reads, then the children
of pools. Statuses and events come last. Within one rank the first come is the first served.
"""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import IntEnum
from typing import Final

REQUESTS_AT_ONCE: Final = 32
"""Requests under way, the Lease's own aside; further ones wait. A herd of them (a thousand Secrets when the operator
starts) fills neither the event loop nor the API server's queue, and never takes the connection of a renewal."""
URGENT_AT_ONCE: Final = 24
OTHERS_AT_ONCE: Final = 28
"""Neither kind takes all: a webhook that hangs may hang for one resource alone."""
LAST_BESIDE_URGENT: Final = 4
"""Statuses and events while something urgent is under way: they cost the API server, and this process, more than it."""


class Rank(IntEnum):
    """Who goes first; the smallest."""

    URGENT = 0
    READ = 1
    WRITE = 2
    STATUS = 3
    EVENT = 4


READS: Final = frozenset({"get", "list"})
_URGENT: Final = frozenset({("patch", "deployments/scale"), ("get", "deployments/scale"), ("patch", "pods")})
_LAST: Final = {"celeryworkerpools/status": Rank.STATUS, "events": Rank.EVENT}


def rank_of(verb: str, resource: str) -> Rank:
    """The rank of a request, in Kubernetes' own words (patch, deployments/scale)."""
    if (verb, resource) in _URGENT:
        return Rank.URGENT
    if verb in READS:
        return Rank.READ
    return _LAST.get(resource, Rank.WRITE)


class Slots:
    """So many requests at once. Who waits has sent nothing, and waits as long as it takes.

    No wait is without end, since each request that was sent has a time-out.
    """

    def __init__(self) -> None:
        self._waiting: dict[bool, list[tuple[Rank, int, asyncio.Future[None]]]] = {True: [], False: []}
        self._under_way = {True: 0, False: 0}
        self._numbers = itertools.count()

    @asynccontextmanager
    async def slot(self, rank: Rank) -> AsyncIterator[None]:
        """Wait for the right to one request, and have it."""
        urgent = rank is Rank.URGENT
        await self._acquire(rank, urgent)
        try:
            yield
        finally:
            self._under_way[urgent] -= 1
            self._grant()

    async def _acquire(self, rank: Rank, urgent: bool) -> None:
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting[urgent], (rank, next(self._numbers), granted))
        self._grant()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():  # it was granted, and will not be used
                self._under_way[urgent] -= 1
                self._grant()
            raise

    def _grant(self) -> None:
        """Give what is free to those who wait, the urgent first."""
        for urgent, most in ((True, URGENT_AT_ONCE), (False, OTHERS_AT_ONCE)):
            waiting = self._waiting[urgent]
            while waiting and sum(self._under_way.values()) < REQUESTS_AT_ONCE:
                gives_way = waiting[0][0] >= Rank.STATUS and self._under_way[True]
                if self._under_way[urgent] >= (LAST_BESIDE_URGENT if gives_way else most):
                    break
                granted = heapq.heappop(waiting)[-1]
                if not granted.done():  # given up
                    self._under_way[urgent] += 1
                    granted.set_result(None)

"""Takes over what workers without the agent were given and never acknowledged, once it is old enough.

Their `unacked` hash is shared by all queues of a database and key prefix and names no worker. kombu puts its messages
back after a visibility timeout, but only a worker that uses the same hash does so: with the agent everywhere none does.
"""

import math
import time
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any, Final

from redis.asyncio import Redis

from celeriac.api.reasons import Reason
from celeriac.brokers.agents import NotAllRestored, Restored
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.redis.letters import letter_of
from celeriac.brokers.redis.moves import BATCH
from celeriac.brokers.redis.reading_plan import Share
from celeriac.brokers.redis.restore import Carried, Disposal, Hash, Held, Portion, back, carry_out, entries, tables
from celeriac.pool.model import QueueLayout

MUCH: Final = "workers without the agent left more than is moved at a time, and the rest follows: wait"
LOOK_THROUGH: Final = 5000
"""Entries that one call looks at; the next one goes on from there."""


class TakeOver:
    """Remembers how far each shared hash was looked through for which queues.

    In its oldest part may stand what belongs to others.
    """

    def __init__(self, redis: Redis, where: str) -> None:
        self._redis = redis
        self._where = where
        self._from: dict[tuple[Share, frozenset[str]], float] = {}

    async def run(
        self, layout: QueueLayout, queues: Collection[str], older_than_seconds: float, seconds: float | None = None
    ) -> Restored:
        """Put back those of `queues` that were delivered so long ago, by Redis's clock.

        Raises NotAllRestored where some of them cannot be moved, and after so many `seconds`: the next call goes on.
        """
        end = math.inf if seconds is None else time.monotonic() + seconds
        now, microseconds = await self._redis.time()
        until = now + microseconds / 1e6 - older_than_seconds
        share = Share(layout.key_prefix, layout.separator)
        place = share, frozenset(queues)
        source = Hash(share.unacked_key, f"{share.unacked_key}_index", layout)
        since = self._from.pop(place, 0.0)
        held = await self._next(source.index, since, until)
        if len(held) == LOOK_THROUGH:
            self._from[place] = held[-1].at
        total, ours = Carried(), []
        async for portion in self._portions(source, held):
            total += portion.carried
            ours += [held for held, _ in await self._ours(source, portion, queues)]
        # They are read again: nobody knows before how many of them go back, and the newest has to go first.
        async for portion in self._portions(source, ours[::-1]):
            disposals = [disposal for _, disposal in await self._ours(source, portion, queues)]
            total += await carry_out(self._redis, source, disposals, self._where)
            if time.monotonic() > end:
                self._from[place] = since  # what is left is older
                raise NotAllRestored(BrokerDoubt(Reason.BROKER_ERROR, f"{self._where}: {MUCH}"), total.restored)
        return total.result()

    async def _portions(self, source: Hash, held: Sequence[Held]) -> AsyncIterator[Portion]:
        for first in range(0, len(held), BATCH):
            async for portion in entries(self._redis, source, held[first : first + BATCH], self._where):
                yield portion

    async def _next(self, index: str, since: float, until: float) -> list[Held]:
        reply: Any = self._redis.zrangebyscore(index, since, f"({until}", start=0, num=LOOK_THROUGH, withscores=True)
        return [Held(tag, score) for tag, score in await reply]

    async def _ours(self, source: Hash, portion: Portion, queues: Collection[str]) -> list[tuple[Held, Disposal]]:
        """What is surely of these queues; everything else is left where it is."""
        bindings = await tables(self._redis, source.share, portion.found)
        disposals = []
        for held, entry in portion.found:
            letter = letter_of(entry.text)
            queue = letter.queue(bindings) if letter else None
            if letter is not None and queue is not None and queue in queues:
                disposals.append((held, back(source, held, entry, letter, queue)))
        return disposals

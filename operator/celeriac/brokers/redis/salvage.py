"""What gone processes held, as a Redis keeps it: see Salvage."""

import time
from collections.abc import Collection, Mapping, Sequence

from celeriac.brokers.agents import Process, RegisteredPool, RegistryEntry, RegistryList, Restored, Traces
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.redis import registry
from celeriac.brokers.redis.calls import calling
from celeriac.brokers.redis.client import RedisClient
from celeriac.brokers.redis.executor import Executor
from celeriac.brokers.redis.restore import restore
from celeriac.brokers.redis.takeover import TakeOver
from celeriac.brokers.redis.traces import traces
from celeriac.pool.model import QueueLayout


class RedisSalvage:
    """See Salvage."""

    def __init__(self, client: RedisClient, where: str) -> None:
        self._client = client
        self._redis = client.redis
        self._executor = Executor(client.redis, time.monotonic)
        self._where = where
        self._take_over = TakeOver(client.redis, where)
        self._kept: dict[RegistryEntry, int] = {}

    async def listed(self, registries: Collection[str]) -> Mapping[str, RegistryList]:
        """See Salvage.listed."""
        self._kept.clear()  # a look begins with it
        room = self._client.allowance.kept.room(self)
        return await calling(registry.listed(self._executor, registries, self._where, room), self._client)

    async def registered(self, entries: Collection[RegistryEntry]) -> Mapping[RegistryEntry, RegisteredPool]:
        """See Salvage.registered. A registry's name is its key prefix."""
        kept = self._client.allowance.kept
        room = kept.room(self) - sum(self._kept.values())
        found = await calling(registry.registered(self._executor, entries, self._where, room), self._client)
        self._kept.update((entry, len(pool.processes) + 1) for entry, pool in found.items())
        kept.note(self, sum(self._kept.values()))
        return found

    async def traces(self, layout: QueueLayout) -> Traces:
        """See Salvage.traces."""
        return await calling(traces(self._redis, layout), self._client)

    async def held(self, processes: Sequence[Process]) -> Sequence[int | BrokerDoubt]:
        """See Salvage.held."""
        return await calling(registry.held(self._executor, processes, self._where), self._client)

    async def restore(self, process: Process, *, died: bool) -> Restored:
        """See Salvage.restore."""
        return await calling(restore(self._redis, process, self._where, died=died, seconds=self._seconds), self._client)

    @property
    def _seconds(self) -> float | None:
        """How long messages are moved in one call: one that is cut off by its own end would not tell how many."""
        limit = self._client.allowance.call_seconds
        return limit / 2 if limit is not None else None

    async def forget_pool(self, entry: RegistryEntry) -> None:
        """See Salvage.forget_pool."""
        await calling(registry.forget_pool(self._redis, *entry), self._client)

    async def take_over(self, layout: QueueLayout, queues: Collection[str], *, older_than_seconds: float) -> Restored:
        """See Salvage.take_over."""
        return await calling(self._take_over.run(layout, queues, older_than_seconds, self._seconds), self._client)

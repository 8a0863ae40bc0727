"""Redis as a Broker: the parts of the protocol on one database's connections."""

import time
from collections.abc import Callable, Mapping

from celeriac.brokers.address import TlsMaterial
from celeriac.brokers.redis import registry
from celeriac.brokers.redis.calls import calling
from celeriac.brokers.redis.client import RedisClient
from celeriac.brokers.redis.dead_letters import RedisDeadLetters
from celeriac.brokers.redis.queue_reader import RedisQueues
from celeriac.brokers.redis.salvage import RedisSalvage
from celeriac.brokers.redis.server_identity import RESTART_HOLD_SECONDS
from celeriac.brokers.redis.url import RedisTarget
from celeriac.pool.model import QueueLayout


class RedisAgents:
    """Drain marks, in a hash that each agent reads with every report."""

    def __init__(self, client: RedisClient, where: str) -> None:
        self._redis = client.redis
        self._where = where

    async def mark(self, layout: QueueLayout, pool_uid: str, marks: Mapping[str, str | None]) -> None:
        """See AgentLink.mark."""
        await calling(registry.mark(self._redis, layout.key_prefix, pool_uid, marks), self._where)


class RedisBroker:
    """One Redis database: see Broker."""

    def __init__(
        self,
        target: RedisTarget,
        tls: TlsMaterial | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        restart_hold_seconds: float = RESTART_HOLD_SECONDS,
    ) -> None:
        """Prepare; nothing is connected. Raises BrokerDoubt (TlsFailed) for certificates that cannot be used."""
        self._client = RedisClient(target, tls)
        self.queues = RedisQueues(self._client, target.where, clock, restart_hold_seconds)
        self.agents = RedisAgents(self._client, target.where)
        self.salvage = RedisSalvage(self._client, target.where)
        self.dead_letters = RedisDeadLetters(self._client, target.where)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

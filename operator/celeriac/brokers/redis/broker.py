"""Redis as a Broker: the parts of the protocol on one database's connections."""

import time
from collections.abc import Callable, Mapping, Sequence

from celeriac.brokers.address import TlsMaterial
from celeriac.brokers.allowance import Allowance
from celeriac.brokers.dialing.dial import Dialer
from celeriac.brokers.redis import registry
from celeriac.brokers.redis.calls import calling
from celeriac.brokers.redis.client import RedisClient
from celeriac.brokers.redis.control_lists import RedisControlLists
from celeriac.brokers.redis.dead_letters import RedisDeadLetters
from celeriac.brokers.redis.names import RedisQueueNames
from celeriac.brokers.redis.queue_reader import RedisQueues
from celeriac.brokers.redis.rights import Rights
from celeriac.brokers.redis.rights_check import lacks
from celeriac.brokers.redis.salvage import RedisSalvage
from celeriac.brokers.redis.server_identity import RESTART_HOLD_SECONDS
from celeriac.brokers.redis.task_counts import RedisTaskCounts
from celeriac.brokers.redis.url import RedisTarget
from celeriac.pool.model import QueueLayout


class RedisAgents:
    """Drain marks, in a hash that each agent reads with every report."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client

    async def mark(self, layout: QueueLayout, pool_uid: str, marks: Mapping[str, str | None]) -> None:
        """See AgentLink.mark."""
        await calling(registry.mark(self._client.redis, layout.key_prefix, pool_uid, marks), self._client)


class RedisBroker:
    """One Redis database: see Broker."""

    def __init__(
        self,
        target: RedisTarget,
        dialer: Dialer,
        tls: TlsMaterial | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        restart_hold_seconds: float = RESTART_HOLD_SECONDS,
        allowance: Allowance | None = None,
    ) -> None:
        """Prepare; nothing is connected. Raises BrokerDoubt as RedisClient does."""
        self._client = RedisClient(target, dialer, tls, allowance or Allowance())
        self.queues = RedisQueues(self._client, target.where, clock, restart_hold_seconds)
        self.agents = RedisAgents(self._client)
        self.salvage = RedisSalvage(self._client, target.where)
        self.dead_letters = RedisDeadLetters(self._client, target.where)
        self.task_counts = RedisTaskCounts(self._client, target.where)
        self.names = RedisQueueNames(self._client)
        self.control_lists = RedisControlLists(self._client)

    async def lacks(self, rights: Rights) -> Sequence[str]:
        """What the user of this URL lacks of these rights, in the words of an ACL. Raises BrokerDoubt."""
        return await calling(lacks(self._client.redis, rights), self._client)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

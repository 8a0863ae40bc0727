"""Which pools are read from which broker: made anew where pools or credentials have changed, not at every tick."""

from collections.abc import Callable
from typing import Final

from celeriac.api.keys import PoolKey
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.connecting.credentials import BrokerSource, Credentials
from celeriac.pool.model import WorkerPool
from celeriac.watching.store import Store

USER: Final = "autoscaling"
"""Who it is that needs addresses and connections."""
AGAIN_SECONDS: Final = 20.0
"""The longest that a grouping stands: credentials forget who has not asked for them for a while."""


class Groups:
    """The pools of a Store by the address of their broker.

    pools      all that can be scaled
    readable   those whose broker has an address
    in_doubt   those whose broker has none, and why
    """

    def __init__(self, store: Store, credentials: Credentials, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._store = store
        self._credentials = credentials
        self._clock = clock
        self._seen: tuple[int, int] | None = None
        self._again_at = 0.0
        self.pools: dict[PoolKey, WorkerPool] = {}
        self.readable: dict[BrokerAddress, list[WorkerPool]] = {}
        self.in_doubt: list[tuple[WorkerPool, BrokerDoubt]] = []

    def clear(self) -> None:
        """Forget them: the next look groups anew."""
        self._seen = None
        self.pools, self.readable, self.in_doubt = {}, {}, []

    def follow(self) -> bool:
        """Group anew if something has changed; whether that was so."""
        self._credentials.refresh()
        seen = self._store.pools_version, self._credentials.version
        if seen == self._seen and self._clock() < self._again_at:
            return False
        self._seen, self._again_at = seen, self._clock() + AGAIN_SECONDS
        self._group()
        return True

    def _group(self) -> None:
        self.pools = {
            known.key: known.spec
            for known in self._store.pools.values()
            if isinstance(known.spec, WorkerPool) and not known.deleting
        }
        self._credentials.retain(USER, {BrokerSource.of_pool(pool) for pool in self.pools.values()})
        self.readable, self.in_doubt = {}, []
        for pool in self.pools.values():
            address = self._credentials.of_pool(pool)
            if isinstance(address, BrokerDoubt):
                self.in_doubt.append((pool, address))
            elif address is not None:
                self.readable.setdefault(address, []).append(pool)

"""What is to be read of each broker: the same list as long as neither pools nor Pods nor layouts change."""

from collections.abc import Callable, Sequence

from celeriac.api.keys import PoolKey
from celeriac.autoscaling.demand import queues_of
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.readings import QueueSet
from celeriac.pool.model import QueueLayout, WorkerPool
from celeriac.watching.store import KnownPool, Store


class QueueSets:
    """Keeps them by broker, and by pool with the revision of what is known of it."""

    def __init__(self, store: Store, learned: Callable[[KnownPool], QueueLayout | None]) -> None:
        """`learned` tells how the workers of a pool have said that its queues are laid out; None: nothing, so far."""
        self._store = store
        self._learned = learned
        self._lists: dict[BrokerAddress, tuple[int, Sequence[QueueSet]]] = {}
        self._of: dict[PoolKey, tuple[int, QueueSet]] = {}

    def clear(self) -> None:
        """Make them anew: the pools are others, or a layout was learned."""
        self._lists.clear()
        self._of.clear()

    def of(self, address: BrokerAddress, pools: Sequence[WorkerPool]) -> Sequence[QueueSet]:
        """What is to be read for these pools, which are all of one broker."""
        version, found = self._lists.get(address, (None, ()))
        if version != self._store.version:
            found = [self._of_pool(pool) for pool in pools]
            self._lists[address] = self._store.version, found
        return found

    def _of_pool(self, pool: WorkerPool) -> QueueSet:
        revision, known = self._store.revision(pool.key), self._of.get(pool.key)
        if known is None or known[0] != revision:
            there = self._store.pools.get(pool.key)
            layout = None if there is None else self._learned(there)
            known = self._of[pool.key] = revision, queues_of(pool, layout, self._store.pods(pool.key))
        return known[1]

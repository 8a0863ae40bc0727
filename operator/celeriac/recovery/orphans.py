"""Brokers that only Pods name: their pool was deleted, or has moved to another broker, while no operator looked."""

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping

from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.cluster.errors import ApiError
from celeriac.cluster.records import PodRecord
from celeriac.pool.broker import broker_reference, parse_broker_reference
from celeriac.pool.model import BrokerSpec, InvalidPool, WorkerPool
from celeriac.watching.store import Store

log = logging.getLogger(__name__)

Resolve = Callable[[str, BrokerSpec], Awaitable[BrokerAddress]]
"""The address of a broker whose Secrets are in a namespace. Raises BrokerDoubt or ApiError."""


class Orphans:
    """Finds the brokers of Pods without their pool, by the annotation that each Pod carries."""

    def __init__(self, store: Store, resolve: Resolve) -> None:
        self._store = store
        self._resolve = resolve
        self._found: dict[tuple[str, str], tuple[BrokerAddress, str]] = {}
        self._told: set[tuple[str, str]] = set()

    @property
    def places(self) -> Mapping[BrokerAddress, set[str]]:
        """Registries by broker, as the last look found them."""
        places = defaultdict(set)
        for address, registry in self._found.values():
            places[address].add(registry)
        return places

    async def look(self) -> None:
        """Go through all Pods; a broker that was found stays as it is while Pods name it."""
        current = {
            known.key: broker_reference(known.spec.broker)
            for known in self._store.pools.values()
            if isinstance(known.spec, WorkerPool) and not known.deleting
        }
        named = {
            (pod.key.namespace, pod.broker): pod
            for pod in self._store.all_pods()
            if pod.broker is not None and current.get(pod.key) != pod.broker
        }
        self._told &= named.keys()
        found = {}
        for name, pod in named.items():
            place = self._found.get(name) or await self._place(*name, pod)
            if place is not None:
                found[name] = place
        self._found = found

    async def _place(self, namespace: str, reference: str, pod: PodRecord) -> tuple[BrokerAddress, str] | None:
        """Where a Pod's broker is; None, and one line in the log, where nobody can know it (any more)."""
        try:
            broker = parse_broker_reference(reference)
            return await self._resolve(namespace, broker), broker.layout.registry
        except (InvalidPool, BrokerDoubt, ApiError) as error:
            if (namespace, reference) not in self._told:
                self._told.add((namespace, reference))
                log.warning(
                    "pool %s is gone or has moved, and the broker of its Pod %s cannot be found: what its workers"
                    " hold when they die stays there, until `celeriac evacuate` puts it back: %s",
                    *(pod.key, pod.name, error),
                )
            return None
